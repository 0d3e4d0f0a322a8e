"""`show_memory` in a real browser: at 500 settings what Python says, and moved by keyboard in JupyterLab."""

import random
import time

import pytest
from lab import open_notebook, run_all, small_notebook, wait_until_run
from test_explorer import hears
from test_explorer_script import READ, state_of
from test_explorer_script import render as render
from test_explorers_in_jupyterlab import results, run_last_cell
from test_in_jupyterlab import a_picture_of_the_end as a_picture_of_the_end
from test_memory_widget import at_random, sliders_at_random

from widgets import show_memory
from widgets.memory import Memory
from widgets.memory_picture import MOMENTS, PARTS

SHOW = "from widgets import show_memory\nexplorer = show_memory('SmolLM2-135M')\nexplorer"
USE = "print(explorer.config.hidden_size, explorer.plan)"


def heard(page, explorer):
    """The page hears what the kernel has answered."""
    names = ("numbers", "drawing", "answered", "refused", "value")
    page.evaluate("(part) => model.receive(part)", {name: getattr(explorer, name) for name in names})


def test_500_random_settings_are_what_python_says(page, render):
    explorer, draw, possible = show_memory(), random.Random(0), 0
    render(Memory._esm, **state_of(explorer))
    for _ in range(50):  # the kernel is asked 50 times, and the sliders move 10 times in each answer
        explorer.value = at_random(draw)
        heard(page, explorer)
        for _ in range(10):
            explorer.value = sliders_at_random(draw)
            said, expected = page.evaluate(READ, explorer.value), explorer.describe(explorer.value)
            assert said["results"] == expected.results
            assert said["caption"] == expected.caption
            assert said["labels"] == expected.labels
            assert {name: said["style"][name] for name in expected.lengths} == pytest.approx(expected.lengths, rel=1e-5)
            possible += expected.results["Smallest card"] != "none"
    assert 150 < possible < 500  # of both kinds enough
    assert page.errors == []


def test_a_bar_is_as_long_as_its_bytes(page, render):
    explorer = show_memory("Llama-2-7B")
    render(Memory._esm, **state_of(explorer))
    ends = page.locator(".part[style*=width]").evaluate_all("bars => bars.map((bar) => bar.getBBox().width)")
    lengths = explorer.describe(explorer.value).lengths
    rows = ["peak", *(f"m{place}" for place in range(len(MOMENTS)))]
    expected = [560 * lengths[f"{row}-{part}"] for row in rows for part in reversed(range(len(PARTS)))]
    assert ends == pytest.approx(expected, abs=0.1)


def test_a_list_that_is_asked_about_is_answered_when_it_is_the_same(page, render):
    explorer = show_memory("SmolLM2-135M")
    render(Memory._esm, **state_of(explorer))
    before = page.locator("dd").first.inner_text()
    page.get_by_role("checkbox", name="down_proj").check()
    page.wait_for_selector("text=… waiting for the kernel", timeout=2000)
    assert page.locator("dd").first.inner_text() == before
    hears(explorer, page.evaluate("model.get('value')"))
    heard(page, explorer)
    assert page.locator(".lorakit-awaited").inner_text() == ""
    assert page.locator("dd").first.inner_text() == explorer.describe(explorer.value).results["Peak"] != before
    time.sleep(0.7)
    assert page.locator(".lorakit-awaited").inner_text() == ""
    page.get_by_role("slider", name="micro-batch").press("ArrowRight")  # no question
    assert page.locator("dd").first.inner_text() != explorer.describe(explorer.value).results["Peak"]
    time.sleep(0.7)
    assert page.locator(".lorakit-awaited").inner_text() == ""
    assert page.errors == []


@pytest.fixture
def notebook(lab, page, tmp_path):
    """A notebook with the explorer in it, run from top to bottom."""
    path = tmp_path / "memory.ipynb"
    small_notebook(path, SHOW, USE)
    page.set_viewport_size({"width": 1300, "height": 1700})
    open_notebook(page, lab(path.name))
    run_all(page)
    wait_until_run(page, seconds=180)
    page.wait_for_selector(".lorakit-explorer", timeout=30_000)


def wait_for(page, explorer, **value):
    """Until the page shows what Python says at this value."""
    explorer.value = value
    expected = explorer.describe(explorer.value)
    shown = """(texts) => JSON.stringify(texts) === JSON.stringify(
        [...document.querySelectorAll(".lorakit-explorer :is(dd, figcaption)")].map((part) => part.textContent))"""
    page.wait_for_function(shown, arg=[*expected.results.values(), expected.caption], timeout=20_000)
    assert results(page) == expected.results
    labels = page.locator(".lorakit-drawing [data-text]").evaluate_all(
        "parts => Object.fromEntries(parts.map((part) => [part.dataset.text, part.textContent]))"
    )
    assert labels == expected.labels


def test_it_is_set_by_keyboard_and_goes_on_in_python(page, notebook):
    explorer = show_memory("SmolLM2-135M")
    wait_for(page, explorer)
    for slider in ("micro-batch", "sequence length"):
        page.get_by_role("slider", name=slider).press("ArrowRight")
    wait_for(page, explorer, micro_batch_size=8, seq_len=1024)  # in the browser alone
    alpha = page.get_by_role("slider", name="alpha")
    alpha.press("ArrowRight")
    assert alpha.get_attribute("aria-valuetext") == "32"
    wait_for(page, explorer, lora_alpha=32)
    page.get_by_role("radio", name="lora", exact=True).focus()
    page.keyboard.press("ArrowRight")
    wait_for(page, explorer, method="qlora")
    page.get_by_role("checkbox", name="o_proj").press("Space")
    wait_for(page, explorer, target_modules=["q_proj", "v_proj", "o_proj"])
    page.get_by_role("radio", name="flash").check()
    wait_for(page, explorer, attention="flash")  # which takes no float32: refused in words
    assert results(page)["Peak"].startswith("none: attention 'flash' takes 16-bit q, k and v")
    page.get_by_role("radio", name="sdpa").check()
    page.get_by_role("radio", name="TinyLlama-1.1B").check()
    page.get_by_role("group", name="gradient checkpointing").get_by_label("on").check()
    wait_for(page, explorer, model="TinyLlama-1.1B", attention="sdpa", gradient_checkpointing=True)
    assert run_last_cell(page).strip() == f"2048 {explorer.plan}"
    assert page.errors == []


def test_a_screen_reader_finds_names_and_hears_only_what_changes(page, notebook):
    tree = page.locator(".lorakit-explorer").aria_snapshot()
    for line in (
        'region "The memory of a training step"',
        'group "model"',
        'radio "SmolLM2-135M" [checked]',
        'group "method"',
        'group "double quantisation"',
        'group "target modules"',
        'checkbox "q_proj" [checked]',
        'group "gradient checkpointing"',
        'slider "rank r"',
        'slider "alpha"',
        'slider "micro-batch"',
        'slider "sequence length"',
        "Smallest card",
    ):
        assert line in tree, tree
    assert page.locator(".lorakit-results").get_attribute("aria-live") == "polite"
    page.evaluate("""() => {
        window.changed = new Set();
        const watch = (list) => list.forEach((each) => changed.add(each.target.previousSibling?.textContent));
        new MutationObserver(watch).observe(document.querySelector('.lorakit-results'),
            { childList: true, characterData: true, subtree: true });
    }""")
    page.get_by_role("slider", name="alpha").press("ArrowRight")
    assert page.evaluate("() => [...changed]") == ["Alpha"]
    assert page.errors == []


def test_it_follows_a_dark_theme(page, notebook, tmp_path):
    def lightness():
        colours = page.locator(".lorakit-memory [data-text=card-0], .lorakit-memory .strong").evaluate_all(
            "nodes => nodes.map((node) => getComputedStyle(node).fill)"
        )
        return [
            sum(float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]) / 3 for colour in colours
        ]

    page.screenshot(path=str(tmp_path / "light.png"))
    assert max(lightness()) < 80
    page.click('text="Settings" >> visible=true')
    page.hover('text="Theme" >> visible=true')
    page.click('text="JupyterLab Dark" >> visible=true')
    page.wait_for_selector('body[data-jp-theme-light="false"]', state="attached", timeout=20_000)
    time.sleep(1)
    page.screenshot(path=str(tmp_path / "dark.png"))
    assert min(lightness()) > 180
