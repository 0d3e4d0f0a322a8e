// show_memory: all is looked up and added; widgets/memory.py has the formulas.
const GIB = 2 ** 30;
const LETTERS = "abcdefghijk";
const LETTERED = 0.02;
const sum = (parts) => parts.reduce((total, part) => total + part, 0);
const short = (bytes) => {
  for (const [unit, unitBytes] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (bytes >= unitBytes) return `${fixed(bytes / unitBytes, 2)} ${unit}`;
  }
  return bytes ? `${bytes} bytes` : "0";
};
const differs = (needed, held) => Math.abs(needed - held) * 20 > held;

function drawn(moments, peak, held, axis, cards, texts) {
  const lengths = { held: held / axis };
  const labels = {};
  const totals = moments.map(sum);
  for (const [row, parts] of [["peak", moments[peak]], ...moments.map((each, place) => [`m${place}`, each])]) {
    let upto = 0;
    parts.forEach((bytes, part) => {
      upto += bytes;
      lengths[`${row}-${part}`] = upto / axis;
      labels[`${row}-${part}`] = bytes / axis >= LETTERED ? LETTERS[part] : "";
    });
  }
  [...moments[peak], held - totals[peak]].forEach((bytes, part) => (labels[`part-${part}`] = short(bytes)));
  totals.forEach((total, place) => {
    labels[`total-${place}`] = short(total) + (place === peak ? " ◄ the peak" : "");
  });
  cards.forEach(({ bytes }, place) => {
    const inside = bytes <= axis;
    lengths[`card-${place}`] = inside ? bytes / axis : 1;
    lengths[`line-${place}`] = Number(inside);
    labels[`card-${place}`] = inside ? texts[place] : `→ ${texts[place]}`;
  });
  for (let quarter = 0; quarter < 5; quarter++) {
    labels[`tick-${quarter}`] = `${number((axis * quarter) / 4 / GIB)} GiB`;
  }
  return { lengths, labels };
}

export default explorer((value, { steps, not_in_use, made_for, moments: names, parts, cards, axes }) => {
  const rank = value.method === "full" ? "None" : value.r;
  const step = steps[rank][value.micro_batch_size][value.seq_len];
  const results = {
    "Peak": "none",
    "nvidia-smi would show": "none",
    "Smallest card": "none",
    "Trained parameters": "none",
    "Attention runs on": "none",
    "Alpha": `${value.lora_alpha} is a factor, not a weight: no byte changes`,
    "Not in use": not_in_use,
  };
  if (step.why) {
    const nothing = names.map(() => Array(parts).fill(0));
    const { lengths, labels } = drawn(nothing, 0, 0, axes[0], cards, []);
    for (const name of Object.keys(labels)) labels[name] = "";
    return { results: { ...results, "Peak": `none: ${step.why}` }, caption: "There is no such step.", lengths, labels };
  }
  const totals = step.moments.map(sum);
  const most = Math.max(...totals);
  const held = step.needed;
  const peak = totals.indexOf(most);
  const fits = ({ kind, bytes }) => step.by_kind[kind] !== null && step.by_kind[kind] <= bytes;
  const smallest = cards.find(fits);
  const texts = cards.map((card) => {
    const need = step.by_kind[card.kind];
    const there = need === null ? ", cannot run it" : differs(need, held) ? `, takes ${short(need)}` : "";
    return `${fits(card) ? "✓" : "✗"} ${card.name}, ${short(card.bytes)}${there}`;
  });
  const axis = axes.find((each) => each >= Math.max(held, smallest?.bytes ?? 0));
  let caption =
    `Above: what is alive at the peak (${names[peak]}), and dashed what torch and CUDA hold beyond. Below: ` +
    `every moment of the step: the peak is the largest of them, ${short(most)}, and not their sum, ` +
    `${short(sum(totals))}. A vertical line is what a card can hand out: ✓ this step fits, ✗ it does not.`;
  if (step.paged_bytes) {
    caption += ` Another ${short(step.paged_bytes)} of optimizer states are paged: they live in the host.`;
  }
  if (value.seq_len > made_for) caption += ` The model was made for rows of at most ${count(made_for)} tokens.`;
  return {
    results: {
      ...results,
      "Peak": `${short(most)}, ${names[peak]}`,
      "nvidia-smi would show": short(held),
      "Smallest card": smallest?.name ?? "none of these",
      "Trained parameters": count(step.trained),
      "Attention runs on": step.kernel,
    },
    caption,
    ...drawn(step.moments, peak, held, axis, cards, texts),
  };
});
