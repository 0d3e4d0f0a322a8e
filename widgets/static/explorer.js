// What every explorer shares: controls, results that are announced, a drawing. Its own file follows in the same
// module and exports `explorer(describe)`, where describe(value, numbers) puts looked-up numbers into words: results
// and a caption, and lengths and labels where the drawing has use for them.

// Numbers as widgets/words.py writes them.
const fixed = (value, digits) => (Math.floor(value * 10 ** digits + 0.5) / 10 ** digits).toFixed(digits);
const count = (number) => number.toLocaleString("en-US");
const number = (value) => String(Number(value.toPrecision(6)));
const size = (bytes) => {
  for (const [unit, unitBytes] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (bytes >= unitBytes) return `${count(bytes)} bytes (${fixed(bytes / unitBytes, 2)} ${unit})`;
  }
  return `${count(bytes)} bytes`;
};

// Text goes in as text and never as HTML: a label may hold what a learner typed.
const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

// What has not changed is not announced, nor laid out again.
const say = (part, text) => {
  if (part.textContent !== text) part.textContent = text;
};

// A slider on the places of its options. Returns what to add to the page, and how to show a value.
function slider({ label, options }, id, choose) {
  const input = element("input", { type: "range", id, min: 0, max: options.length - 1, step: 1 });
  const text = element("span", { class: "lorakit-setting", "aria-hidden": "true" });
  input.addEventListener("input", () => choose(options[input.valueAsNumber].value));
  const show = (value) => {
    const place = options.findIndex((option) => option.value === value);
    input.value = place;
    text.textContent = options[place].text;
    input.setAttribute("aria-valuetext", options[place].text);
  };
  return { node: element("div", { class: "lorakit-slider" }, element("label", { for: id }, label), input, text), show };
}

// A line to type in. Python is told when the typing pauses, or at once by Enter; ⏎ stands for a newline.
function line({ label, longest }, id, choose) {
  const input = element("input", { type: "text", id, maxlength: longest, autocomplete: "off", spellcheck: "false" });
  const choosing = (pause) => () => choose(input.value.replaceAll("⏎", "\n"), pause);
  input.addEventListener("input", choosing(300));
  input.addEventListener("change", choosing(0));
  const show = (value) => {
    const shown = value.replaceAll("\n", "⏎");
    if (input.value !== shown) input.value = shown; // where it is equal, the cursor stays
  };
  return { node: element("div", { class: "lorakit-line" }, element("label", { for: id }, label), input), show };
}

// Radio buttons (one) or check boxes (many) in a named group.
function group({ label, kind, options }, id, choose) {
  const type = kind === "one" ? "radio" : "checkbox";
  const inputs = options.map((_, i) => element("input", { type, id: `${id}-${i}`, name: id }));
  const chosen = () => options.filter((_, i) => inputs[i].checked).map((option) => option.value);
  for (const input of inputs) input.addEventListener("change", () => choose(kind === "one" ? chosen()[0] : chosen()));
  const labelled = inputs.map((input, i) =>
    element("span", { class: "lorakit-option" }, input, element("label", { for: input.id }, options[i].text)),
  );
  const show = (value) => {
    inputs.forEach((input, i) => (input.checked = [value].flat().includes(options[i].value)));
  };
  return { node: element("fieldset", {}, element("legend", {}, label), ...labelled), show };
}

const KINDS = { slider, one: group, many: group, text: line };

const explorer = (describe) => ({
  render({ model, el }) {
    const id = `lorakit-${Math.random().toString(36).slice(2)}`; // the same explorer may be shown twice
    // Python is told a moment after the frame is drawn: what a message sets off in JupyterLab would hold up that frame.
    // Not by save_changes(), which holds a second step back while the kernel is busy with a cell: a next cell that waits
    // already would then run before it, with what was set a step earlier.
    let live = true; // whether there is a kernel to tell
    let waiting;
    const tell = () => {
      waiting = undefined;
      if (live) model.send({ value: model.get("value") });
    };
    const controls = {};
    for (const control of model.get("controls")) {
      const choose = (value, pause) => {
        model.set("value", { ...model.get("value"), [control.name]: value }); // this draws
        if (pause !== undefined) waiting = clearTimeout(waiting); // typed: count from the last key
        waiting ??= setTimeout(tell, pause ?? 20);
      };
      controls[control.name] = KINDS[control.kind](control, `${id}-${control.name}`, choose);
    }

    const results = element("dl", { class: "lorakit-results", "aria-live": "polite" });
    const rows = {};
    const row = (label) => {
      rows[label] = element("dd");
      // Atomic: where a result changes, its label is announced with it.
      results.append(element("div", { "aria-atomic": "true" }, element("dt", {}, label), rows[label]));
      return rows[label];
    };

    const drawing = element("div", { class: "lorakit-drawing", "aria-hidden": "true" }); // the caption says it in words
    const caption = element("figcaption");
    const awaited = element("span", { class: "lorakit-awaited", role: "status" });
    const refusal = element("p", { class: "lorakit-refused", role: "status" });
    let drawn;
    let patience;

    // A question is put by the settings that `answered` names. An answer to an earlier one is shown as what it is, and
    // never touches what is set now.
    const answer = (value) => {
      const answered = model.get("answered") ?? {};
      const refused = model.get("refused") ?? {};
      const same = (one, other) => JSON.stringify(one) === JSON.stringify(other); // of "many", a list
      const is = (question) => Object.entries(question).every(([name, asked]) => same(value[name], asked));
      const open = !is(answered);
      const why = open && refused.why && is(refused.question) ? `${refused.why} Still shown is the last answer.` : "";
      say(refusal, why);
      clearTimeout(patience);
      if (open && !why && live) patience = setTimeout(() => say(awaited, "… waiting for the kernel"), 500);
      else say(awaited, "");
      return answered;
    };

    const show = () => {
      const set = model.get("value");
      for (const [name, control] of Object.entries(controls)) control.show(set[name]);
      const value = { ...set, ...answer(set) }; // what the numbers are about
      if (drawn !== model.get("drawing")) {
        drawn = model.get("drawing");
        drawing.innerHTML = drawn; // made by Python, which escapes what is in it
      }
      const description = describe(value, model.get("numbers"));
      for (const [label, text] of Object.entries(description.results)) {
        say(rows[label] ?? row(label), text);
      }
      for (const part of drawing.querySelectorAll("[data-when]")) {
        const [name, values] = part.dataset.when.split("=");
        const shown = [value[name]].flat().map((each) => String(each ?? "None"));
        part.style.display = values.split(" ").some((each) => shown.includes(each)) ? "" : "none";
      }
      for (const { name, kind, options } of model.get("controls")) {
        const place = options.findIndex((option) => option.value === value[name]);
        if (kind === "slider") drawing.style.setProperty(`--${name}`, place);
      }
      for (const [name, length] of Object.entries(description.lengths ?? {})) {
        drawing.style.setProperty(`--${name}`, length);
      }
      for (const [name, text] of Object.entries(description.labels ?? {})) {
        for (const part of drawing.querySelectorAll(`[data-text="${name}"]`)) say(part, text);
      }
      say(caption, description.caption);
    };

    const heading = element("div", { class: "lorakit-heading" });
    heading.append(element("span", { class: "lorakit-title", id }, model.get("title")), awaited);
    const settings = element("div", { class: "lorakit-settings" }, ...Object.values(controls).map(({ node }) => node));
    const page = element("section", { class: "lorakit-explorer", "aria-labelledby": id }, heading, settings);
    page.append(refusal, results, element("figure", {}, drawing, caption));
    el.append(page);
    // Numbers and drawing come with `answered`, in one message, and are all in place when the first of these is called.
    const events = ["change:value", "change:answered", "change:refused"];
    for (const event of events) model.on(event, show);
    show();

    // Without its kernel it still draws, but what is set does not reach Python.
    const lost = element("p", { class: "lorakit-lost", role: "status" });
    heading.after(lost);
    function connection() {
      // Backbone calls this with its own model as `this`, which knows whether the line to the kernel is up.
      live = this.comm_live;
      lost.textContent = live ? "" : "Not connected: run this cell again, so that what you set counts.";
      show();
    }
    model.on("comm_live_update", connection);

    // An arrow key moves the slider. JupyterLab, which listens at the document, would take it to the next cell.
    const keep = (event) => {
      const shift = event.shiftKey && event.key.length > 1; // a capital letter is typed; Shift+Enter runs the cell
      const modified = event.ctrlKey || event.metaKey || event.altKey || shift; // Ctrl+S still saves
      if (page.contains(event.target) && !modified) event.stopPropagation();
    };
    window.addEventListener("keydown", keep, true);
    return () => {
      window.removeEventListener("keydown", keep, true);
      clearTimeout(patience);
      for (const event of events) model.off(event, show);
      model.off("comm_live_update", connection);
    };
  },
});
