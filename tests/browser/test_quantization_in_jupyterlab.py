"""`show_quantization` in a real browser: at every setting what Python says, and moved by keyboard in JupyterLab."""

import itertools

import pytest
from lab import open_notebook, run_all, small_notebook, wait_until_run
from test_explorer_script import READ, state_of
from test_explorer_script import render as render
from test_explorers_in_jupyterlab import results, run_last_cell
from test_in_jupyterlab import a_picture_of_the_end as a_picture_of_the_end

from lorakit.quantization import BLOCK_SIZES
from widgets import show_quantization
from widgets.quantization import QUANT_TYPES, Quantization

MAKE = (
    "import torch\nfrom transformers import LlamaConfig\nfrom lorakit.quantization import quantize\n"
    "from widgets import show_quantization\ntorch.set_num_threads(1)\n"
    "weight = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))\n"
    "config = LlamaConfig(vocab_size=1000, hidden_size=128, intermediate_size=256, num_hidden_layers=2,\n"
    "                     num_attention_heads=4, num_key_value_heads=2)"
)
SHOW = "explorer = show_quantization(weight, config)\nexplorer"
USE = "print(explorer.value, quantize(weight, **explorer.value).nbytes)"
SHOWN = """() => [...document.querySelectorAll(".lorakit-drawing [data-when]")]
    .filter((part) => !part.closest('[style*="display: none"]')).map((part) => part.dataset.when)"""


@pytest.fixture
def explorer():
    """What the cells make, in Python."""
    made = {}
    exec(MAKE, made)
    return show_quantization(made["weight"], made["config"])


def test_every_setting_is_what_python_says(page, render, explorer):
    render(Quantization._esm, **state_of(explorer))
    for quant_type, block_size, double_quant in itertools.product(QUANT_TYPES, BLOCK_SIZES, (False, True)):
        explorer.value = {"quant_type": quant_type, "block_size": block_size, "double_quant": double_quant}
        said, expected = page.evaluate(READ, explorer.value), explorer.describe(explorer.value)
        assert said["results"] == expected.results
        assert said["caption"] == expected.caption
        still = [part.get("data-when") for part in explorer._still_drawing(expected).iter() if part.get("data-when")]
        assert page.evaluate(SHOWN) == still
        assert len(still) == 4  # a histogram; a scale; a ruler, and its bars
    assert page.errors == []


def test_it_is_set_by_keyboard_heard_and_quantised_with(lab, page, tmp_path, explorer):
    path = tmp_path / "quantization.ipynb"
    small_notebook(path, MAKE, SHOW, USE)
    page.set_viewport_size({"width": 1200, "height": 1500})
    open_notebook(page, lab(path.name))
    run_all(page)
    wait_until_run(page, seconds=120)
    page.wait_for_selector(".lorakit-explorer", timeout=30_000)
    assert results(page) == explorer.describe(explorer.value).results

    tree = page.locator(".lorakit-explorer").aria_snapshot()
    for line in (
        'region "A weight of 64 × 128 numbers, quantised"',
        'group "quant type"',
        'radio "nf4" [checked]',
        'slider "block size"',
        'group "double quantisation"',
        'radio "on" [checked]',
        'definition: "4.133"',  # 8 * (128 + 4 + 4) / 8192 more than 4
    ):
        assert line in tree, tree
    assert page.locator(".lorakit-results").get_attribute("aria-live") == "polite"

    page.get_by_role("radio", name="nf4").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # by fp4 to int4
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    slider = page.get_by_role("slider", name="block size")
    assert slider.get_attribute("aria-valuetext") == "256"
    explorer.value = {"quant_type": "int4", "block_size": 256, "double_quant": False}
    described = explorer.describe(explorer.value)
    assert results(page) == described.results
    assert page.locator("figcaption").inner_text() == described.caption
    assert page.evaluate(SHOWN) == [
        "block_size=256", "quant_type=int4 fp4 nf4", "quant_type=int4", "block_size=256"]  # fmt: skip
    assert run_last_cell(page).strip() == f"{explorer.value} {64 * 128 // 2 + 32 * 4}"
    assert page.errors == []
