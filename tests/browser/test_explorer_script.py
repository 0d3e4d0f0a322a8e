"""The explorers' JavaScript in a real browser, with no Jupyter around it: what it says is what Python says."""

import random
import time

import pytest
from test_explorer import DRAWING, EVIL, Spelled, hears
from transformers import LlamaConfig

from lorakit.lora import LINEAR_LAYERS
from widgets import show_adapter_size, show_attention, show_logits, show_tokens
from widgets.adapter_size import ALPHAS, QUANT_TYPES, RANKS, AdapterSize
from widgets.explorer import script
from widgets.logits import TEMPERATURES, TOP_KS, TOP_PS, Logits

# A model as anywidget hands it to a widget; `sent` lists what Python was told.
RENDER = """
async ([source, state]) => {
  const module = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const listeners = [];
  window.sent = [];
  window.model = {
    get: (name) => state[name],
    set: (name, value) => model.receive({ [name]: value }),
    receive: (part) => { // as Backbone does it: first all is set, then all hear of it
      const changed = Object.keys(part).filter((name) => part[name] !== state[name]);
      Object.assign(state, part);
      listeners.filter(([event]) => changed.some((name) => event === `change:${name}`)).forEach(([, hear]) => hear());
    },
    send: (content) => sent.push(content.value),
    on: (event, hear) => listeners.push([event, hear]),
    off: (event, hear) => listeners.splice(listeners.findIndex((each) => each[0] === event && each[1] === hear), 1),
    listeners,
  };
  window.remove = module.default.render({ model, el: document.body });
}
"""
READ = """
(value) => {
  model.set("value", value);
  const rows = [...document.querySelectorAll(".lorakit-results > div")].map((row) => [...row.children]);
  const parts = [...document.querySelectorAll(".lorakit-drawing [data-when]")];
  return {
    results: Object.fromEntries(rows.map(([label, text]) => [label.textContent, text.textContent])),
    caption: document.querySelector("figcaption").textContent,
    drawn: parts.filter((part) => getComputedStyle(part).display !== "none").map((part) => part.dataset.when),
    style: Object.fromEntries([...document.querySelector(".lorakit-drawing").style].map((name) =>
      [name.slice(2), Number(document.querySelector(".lorakit-drawing").style.getPropertyValue(name))])),
    labels: Object.fromEntries([...document.querySelectorAll("[data-text]")].map((part) =>
      [part.dataset.text, part.textContent])),
  };
}
"""


@pytest.fixture
def render(page):
    def rendered(source, **state):
        page.goto("about:blank")
        page.evaluate(RENDER, [source, state])

    return rendered


def state_of(explorer):
    names = ("title", "controls", "numbers", "drawing", "answered", "refused", "value")
    return {name: getattr(explorer, name) for name in names}


def test_500_random_settings_are_what_python_says(page, render):
    explorer, draw = show_adapter_size(LlamaConfig(num_hidden_layers=3, num_key_value_heads=8)), random.Random(0)
    render(AdapterSize._esm, **state_of(explorer))
    for _ in range(500):
        explorer.value = {
            "r": draw.choice(RANKS),
            "lora_alpha": draw.choice(ALPHAS),
            "target_modules": [module for module in LINEAR_LAYERS if draw.random() < 0.5],
            "quant_type": draw.choice(QUANT_TYPES),
        }
        said, expected = page.evaluate(READ, explorer.value), explorer.describe(explorer.value)
        assert said["results"] == expected.results
        assert said["caption"] == expected.caption
        still = [part.get("data-when") for part in explorer._still_drawing(expected).iter() if part.get("data-when")]
        assert said["drawn"] == still
        assert said["style"]["r"] == RANKS.index(explorer.value["r"])
    assert page.errors == []


def test_500_random_samplings_are_what_python_says(page, render, tiny):
    explorer, draw = show_logits(*tiny, "The capital", temperature=0.33), random.Random(0)
    render(Logits._esm, **state_of(explorer))
    for _ in range(500):
        explorer.value = {
            "temperature": draw.choice([0.33, *TEMPERATURES]),
            "top_k": draw.choice(TOP_KS),
            "top_p": draw.choice(TOP_PS),
        }
        said, expected = page.evaluate(READ, explorer.value), explorer.describe(explorer.value)
        assert said["results"] == expected.results
        assert said["caption"] == expected.caption
        assert said["labels"] == expected.labels
        assert {name: said["style"][name] for name in expected.lengths} == pytest.approx(expected.lengths, rel=1e-5)
    assert page.errors == []


@pytest.mark.parametrize("show", [show_tokens, show_attention])
def test_what_python_says_in_words_is_shown(show, page, render, tiny):
    explorer = show(*tiny, EVIL)
    render(script("in_words.js"), **state_of(explorer))
    said, expected = page.evaluate(READ, explorer.value), explorer.describe(explorer.value)
    assert (said["results"], said["caption"]) == (expected.results, expected.caption)
    assert page.locator("img").count() == 0
    assert page.errors == []


class TestAText:
    """Typed in a browser whose kernel is this test."""

    @pytest.fixture
    def explorer(self, render):
        explorer = Spelled("abc")
        render(Spelled._esm, **state_of(explorer))
        return explorer

    @pytest.fixture
    def text(self, page, explorer):
        box = page.get_by_role("textbox", name="your text")
        box.press("End")
        return box

    def answer(self, page, explorer, value):
        """What the kernel sends when it has heard `value`."""
        hears(explorer, value)
        names = ("numbers", "drawing", "answered", "refused")
        page.evaluate("(part) => model.receive(part)", {name: getattr(explorer, name) for name in names})

    def test_python_is_told_once_when_the_typing_pauses_and_at_once_by_enter(self, page, text):
        assert text.input_value() == "abc"
        assert text.get_attribute("maxlength") == "200"
        text.press_sequentially("def", delay=20)
        assert page.evaluate("model.get('value').text") == "abcdef"
        assert page.evaluate("sent") == []
        page.wait_for_function("sent.length > 0", timeout=2000)
        assert page.evaluate("sent") == [{"text": "abcdef", "n": 1}]
        text.press("g")
        text.press("Enter")
        page.wait_for_function("sent.length > 1", timeout=200)
        assert page.evaluate("sent.at(-1).text") == "abcdefg"
        time.sleep(0.5)
        assert page.evaluate("sent.length") == 2  # and not again

    def test_a_slider_has_its_say_while_a_text_is_typed(self, page, text):
        text.press("d")
        page.get_by_role("slider").press("ArrowRight")
        # Leaving the line tells Python at once, and so may come before the slider's step or with it.
        page.wait_for_function("sent.length > 0 && sent.at(-1).n === 2", timeout=2000)
        assert page.evaluate("sent.at(-1)") == {"text": "abcd", "n": 2}

    def test_it_says_quietly_that_it_waits_and_shows_the_last_answer(self, page, explorer, text):
        waits = page.locator(".lorakit-awaited")
        text.fill("abcd")
        assert waits.inner_text() == ""
        page.wait_for_selector("text=… waiting for the kernel", timeout=2000)
        assert waits.get_attribute("role") == "status"
        assert page.locator("figcaption").inner_text() == "abc"
        self.answer(page, explorer, {"text": "abcd", "n": 1})
        assert waits.inner_text() == ""
        assert page.locator("figcaption").inner_text() == "abcd"

    def test_an_answer_to_an_earlier_text_leaves_the_newer_one_alone(self, page, explorer, text):
        text.fill("abcd")
        text.fill("abcde")
        self.answer(page, explorer, {"text": "abcd", "n": 1})
        assert text.input_value() == "abcde"
        assert page.evaluate("model.get('value').text") == "abcde"
        assert page.locator("figcaption").inner_text() == "abcd"  # an answer is shown as what it is
        page.wait_for_selector("text=… waiting for the kernel", timeout=2000)
        self.answer(page, explorer, {"text": "abcde", "n": 1})
        assert page.locator("figcaption").inner_text() == "abcde"
        assert page.locator(".lorakit-awaited").inner_text() == ""

    def test_it_says_why_there_is_no_answer_until_the_text_changes(self, page, explorer, text):
        why = page.locator(".lorakit-refused")
        text.fill("q")
        self.answer(page, explorer, {"text": "q", "n": 1})
        assert why.inner_text() == "there is a q: take another letter. Still shown is the last answer."
        assert why.get_attribute("role") == "status"
        assert text.input_value() == "q"
        assert page.locator("figcaption").inner_text() == "abc"
        time.sleep(0.7)
        assert page.locator(".lorakit-awaited").inner_text() == ""
        text.fill("abc")  # what is answered already
        assert why.inner_text() == ""

    def test_a_newline_that_python_set_stands_as_a_sign_and_stays(self, page, explorer, text):
        explorer.value = {"text": "a\nb"}
        page.evaluate("(state) => model.receive(state)", state_of(explorer))
        assert text.input_value() == "a⏎b"
        text.press("End")
        text.press("c")
        assert page.evaluate("model.get('value').text") == "a\nbc"

    def test_the_cursor_stays_where_the_typing_is(self, page, explorer, text):
        text.focus()
        page.keyboard.press("Home")
        page.keyboard.type("12")
        assert text.input_value() == "12abc"

    def test_markup_is_text(self, page, explorer, text):
        text.fill(EVIL)
        self.answer(page, explorer, {"text": EVIL, "n": 1})
        assert page.locator("img").count() == 0
        assert page.locator("figcaption").inner_text() == EVIL
        assert page.errors == []


def test_numbers_are_written_as_python_writes_them(page, render):
    """Ties too: 2**17 bytes are 0.125 MiB."""
    from widgets import words

    values = [2**17, 2**20 + 2**17, 3 * 2**17 + 2**20, 1023, 1024, 1025, 2**30 - 1, 2**40, 540_000_001]
    source = script("adapter_size.js") + "\nwindow.words = { size, fixed, number, count };"
    explorer = show_adapter_size(LlamaConfig(num_hidden_layers=1))
    render(source, **state_of(explorer))
    assert page.evaluate("(values) => values.map(words.size)", values) == [words.size(value) for value in values]
    assert page.evaluate("(values) => values.map(words.count)", values) == [words.count(value) for value in values]
    shares = [draw / 97 for draw in range(200)] + [0.125, 0.0625, 2.0]
    assert page.evaluate("(values) => values.map((value) => words.fixed(value, 3))", shares) == [
        words.fixed(value, 3) for value in shares
    ]
    scalings = [alpha / r for alpha in (1, 7, 16, 100, 512) for r in (1, 3, 6, 8, 100, 256)]
    assert page.evaluate("(values) => values.map(words.number)", scalings) == [words.number(each) for each in scalings]


def test_text_that_a_learner_typed_is_shown_and_never_run(page, render):
    """Wherever text can come from: title, labels, options, results, caption."""
    render(
        script("adapter_size.js").partition("export default")[0]
        + "export default explorer((value, numbers) => "
        + "({ results: { [numbers.evil]: numbers.evil }, caption: numbers.evil }));",
        title=EVIL,
        controls=[
            {"name": "n", "label": EVIL, "kind": "slider", "options": [{"value": 1, "text": EVIL}]},
            {"name": "m", "label": EVIL, "kind": "many", "options": [{"value": EVIL, "text": EVIL}]},
        ],
        numbers={"evil": EVIL},
        drawing=DRAWING.replace("data-when", "data-not-used"),
        value={"n": 1, "m": [EVIL]},
    )
    assert page.locator("img").count() == 0
    assert page.locator(".lorakit-explorer").inner_text().count(EVIL) == 8
    assert page.errors == []


def test_a_control_tells_python_and_a_removed_view_lets_go(page, render):
    explorer = show_adapter_size(LlamaConfig(num_hidden_layers=1))
    render(AdapterSize._esm, **state_of(explorer))
    page.get_by_role("slider", name="rank r").fill("5")
    page.get_by_role("checkbox", name="down_proj").check()
    page.get_by_role("radio", name="nf4").check()
    page.wait_for_function("sent.at(-1)?.quant_type === 'nf4'")
    assert (
        page.evaluate("sent.at(-1)")
        == page.evaluate("model.get('value')")
        == {
            "r": 32,
            "lora_alpha": 16,
            "target_modules": ["q_proj", "v_proj", "down_proj"],
            "quant_type": "nf4",
        }
    )
    assert page.evaluate("() => { remove(); return model.listeners.length; }") == 0
