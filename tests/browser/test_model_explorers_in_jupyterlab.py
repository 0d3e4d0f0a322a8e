"""The explorers that ask the model, as a learner meets them: a text typed, sliders moved, the numbers Python's own."""

from pathlib import Path

import pytest
from lab import open_notebook, run_all, small_notebook, wait_until_run
from test_explorers_in_jupyterlab import run_last_cell
from test_in_jupyterlab import a_picture_of_the_end as a_picture_of_the_end

from widgets import show_attention, show_logits, show_tokens

MAKE = (
    "import sys\nsys.path.insert(0, {tests!r})\nimport torch\ntorch.set_num_threads(1)\n"
    "from lorakit.models import load_model\nfrom widgets import show_attention, show_logits, show_tokens\n"
    "model, tokenizer = load_model({folder!r}, device='cpu')"
)
SHOW = ["tokens", "attention", "logits"]
VALUES = "print(tokens.value, attention.value, logits.value, sep='\\n')"


@pytest.fixture
def notebook(lab, page, tmp_path, tiny_folder):
    """One notebook with all three, run from top to bottom."""
    path = tmp_path / "explorers.ipynb"
    make = MAKE.format(tests=str(Path(__file__).parents[1]), folder=tiny_folder)
    shown = [f"{name} = show_{name}(model, tokenizer)\n{name}" for name in SHOW]
    small_notebook(path, make, *shown, VALUES)
    page.set_viewport_size({"width": 1200, "height": 2600})
    open_notebook(page, lab(path.name))
    run_all(page)
    wait_until_run(page, seconds=120)
    page.wait_for_selector(".lorakit-explorer >> nth=2", timeout=30_000)


def widget(page, name):
    return page.locator(".lorakit-explorer").nth(SHOW.index(name))


def results(widget):
    labels, texts = (widget.locator(f".lorakit-results {tag}").all_inner_texts() for tag in ("dt", "dd"))
    return dict(zip(labels, texts, strict=True))


def write(widget, text):
    """Type a text over the old one, in capital and small letters, and let the typing pause."""
    box = widget.get_by_role("textbox", name="text")
    box.click()
    box.press("Control+a")
    box.press_sequentially(text, delay=5)
    assert box.input_value() == text


def wait_for_results(page, name, expected):
    """Until a widget shows what Python says."""
    shown = """([i, texts]) => {
        const explorer = document.querySelectorAll(".lorakit-explorer")[i];
        const said = [...explorer.querySelectorAll("dd, figcaption")].map((part) => part.textContent);
        return JSON.stringify(said) === JSON.stringify(texts);
    }"""
    texts = [*expected.results.values(), expected.caption]
    page.wait_for_function(shown, arg=[SHOW.index(name), texts], timeout=20_000)
    assert results(widget(page, name)) == expected.results


def test_texts_are_typed_and_sliders_moved(page, notebook, tiny):
    text = "Then A NEW <b>text</b>"
    for name, show in zip(SHOW, (show_tokens, show_attention, show_logits), strict=True):
        explorer = show(*tiny)
        wait_for_results(page, name, explorer.describe(explorer.value))
        write(widget(page, name), text)
        explorer.value = {"text": text}
        wait_for_results(page, name, explorer.describe(explorer.value))
        assert widget(page, name).locator("b").count() == 0

        if name == "tokens":
            boxes = widget(page, name).locator(".box + text")
            assert boxes.all_text_contents()[:3] == ["Then", "·A", "·NEW"]
        if name == "attention":
            before = widget(page, name).locator(".weight").evaluate_all("cells => cells.map(c => c.outerHTML)")
            widget(page, name).get_by_role("slider", name="layer").press("ArrowRight")
            widget(page, name).get_by_role("slider", name="head").press("ArrowRight")
            widget(page, name).get_by_role("slider", name="head").press("ArrowRight")
            explorer.value = {"layer": 1, "head": 2}
            wait_for_results(page, name, explorer.describe(explorer.value))
            after = widget(page, name).locator(".weight").evaluate_all("cells => cells.map(c => c.outerHTML)")
            assert len(before) == len(after)
            assert before != after
        if name == "logits":
            for slider, key in {"temperature": "ArrowLeft", "top-k": "End", "top-p": "ArrowLeft"}.items():
                widget(page, name).get_by_role("slider", name=slider).press(key)
            explorer.value = {"temperature": 0.9, "top_k": 1000, "top_p": 0.95}
            described = explorer.describe(explorer.value)
            wait_for_results(page, name, described)
            shares = widget(page, name).locator("[data-text]").all_text_contents()
            assert shares == list(described.labels.values())
            widths = widget(page, name).locator(".after").evaluate_all("bars => bars.map((bar) => bar.getBBox().width)")
            lengths = [length for bar, length in described.lengths.items() if bar.startswith("after")]
            assert widths == pytest.approx([556 * length for length in lengths], abs=0.1)
    printed = run_last_cell(page)
    assert printed.strip().split("\n") == [
        str({"text": text}),
        str({"text": text, "layer": 1, "head": 2}),
        str({"text": text, "temperature": 0.9, "top_k": 1000, "top_p": 0.95}),
    ]
    assert page.errors == []


def test_a_text_that_is_too_long_is_refused_in_words_and_a_value_comes_from_python(page, notebook):
    attention = widget(page, "attention")
    write(attention, "a " * 30)
    attention.locator(".lorakit-refused", has_text="tokens, and a map of at most 24 is drawn: shorten it.").wait_for()
    assert attention.locator(".weight").count() == 15  # the last map
    page.locator(".jp-CodeCell").last.locator(".jp-InputArea-editor").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("attention.value = {'text': 'one\\ntwo', 'layer': 1}\nattention.value")
    run_last_cell(page)
    attention.locator('input[type=range][aria-valuetext="1"]').wait_for()
    assert attention.get_by_role("textbox").input_value() == "one⏎two"
    assert attention.locator(".weight").count() == 6
    assert attention.locator(".lorakit-refused").inner_text() == ""
    assert page.errors == []


def test_a_screen_reader_finds_names(page, notebook, tiny_folder):
    model = Path(tiny_folder).name
    names = {
        "tokens": [f'region "Tokens of {model}"', 'textbox "text"', "definition: 49,152 rows of 64 numbers", "status"],
        "attention": [f'region "Attention in {model}"', 'textbox "text"', 'slider "layer"', 'slider "head"'],
        "logits": [
            f'region "The next token, by {model}"',
            'textbox "text"',
            'slider "temperature"',
            'slider "top-k"',
            'slider "top-p"',
            "Likeliest token",
        ],
    }
    for name, lines in names.items():
        tree = widget(page, name).aria_snapshot()
        for line in lines:
            assert line in tree, tree
        assert widget(page, name).locator(".lorakit-results").get_attribute("aria-live") == "polite"
        figure = widget(page, name).locator("figcaption").inner_text()
        assert "·" in figure  # the drawing in words
    top_k = widget(page, "logits").get_by_role("slider", name="top-k")
    assert top_k.get_attribute("aria-valuetext") == "off"
    assert page.errors == []
