"""The explorers' JavaScript in a real browser, with no Jupyter around it: what it says is what Python says."""

import random

import pytest
from test_explorer import DRAWING, EVIL
from transformers import LlamaConfig

from widgets import show_adapter_size
from widgets.adapter_size import ALPHAS, BLOCK, QUANT_TYPES, RANKS, AdapterSize
from widgets.explorer import script

# A model as anywidget hands it to a widget; `sent` lists what Python was told.
RENDER = """
async ([source, state]) => {
  const module = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const listeners = [];
  window.sent = [];
  window.model = {
    get: (name) => state[name],
    set: (name, value) => { state[name] = value; listeners.forEach((listener) => listener()); },
    send: (content) => sent.push(content.value),
    on: (event, listener) => event.startsWith('change') && listeners.push(listener),
    off: (event, listener) => listeners.splice(listeners.indexOf(listener), 1),
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
    place: getComputedStyle(document.querySelector(".lorakit-drawing")).getPropertyValue("--r"),
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
    return {name: getattr(explorer, name) for name in ("title", "controls", "numbers", "drawing", "value")}


def test_500_random_settings_are_what_python_says(page, render):
    explorer, draw = show_adapter_size(LlamaConfig(num_hidden_layers=3, num_key_value_heads=8)), random.Random(0)
    render(AdapterSize._esm, **state_of(explorer))
    for _ in range(500):
        explorer.value = {
            "r": draw.choice(RANKS),
            "lora_alpha": draw.choice(ALPHAS),
            "target_modules": [module for module in BLOCK if draw.random() < 0.5],
            "quant_type": draw.choice(QUANT_TYPES),
        }
        said, expected = page.evaluate(READ, explorer.value), explorer.describe(explorer.value)
        assert said["results"] == expected.results
        assert said["caption"] == expected.caption
        still = [part.get("data-when") for part in explorer._still_drawing().iter() if part.get("data-when")]
        assert said["drawn"] == still
        assert int(said["place"]) == RANKS.index(explorer.value["r"])
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
