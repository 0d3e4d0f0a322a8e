"""Sliders as a learner meets them: moved by mouse and by keyboard in JupyterLab, their values used in the next cell."""

import json
import time

import pytest
from lab import open_notebook, run_all, saved, small_notebook, wait_until_run
from test_in_jupyterlab import a_picture_of_the_end as a_picture_of_the_end

MAKE = (
    "from transformers import LlamaConfig\nfrom widgets import show_adapter_size\n"
    "config = LlamaConfig(vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,\n"
    "                     num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True)"
)
SHOW = "explorer = show_adapter_size(config)\nexplorer"
TRAIN = "from lorakit.finetune import TrainConfig\nTrainConfig(**explorer.value)"


@pytest.fixture
def explorer(lab, page, tmp_path):
    """A notebook with an explorer in it, run from top to bottom."""
    path = tmp_path / "explorer.ipynb"
    small_notebook(path, MAKE, SHOW, TRAIN)
    open_notebook(page, lab(path.name))
    run_all(page)
    wait_until_run(page, seconds=120)
    page.wait_for_selector(".lorakit-explorer", timeout=30_000)
    return path


def results(page):
    labels, texts = (page.locator(f".lorakit-results {tag}").all_inner_texts() for tag in ("dt", "dd"))
    return dict(zip(labels, texts, strict=True))


def run_last_cell(page):
    """Run the last cell once more; returns what it gave."""
    cell = page.locator(".jp-CodeCell").last
    number = cell.locator(".jp-InputPrompt").first.inner_text()
    cell.locator(".jp-InputArea-editor").click()
    page.keyboard.press("Control+Enter")
    page.wait_for_function(
        "(old) => { const now = [...document.querySelectorAll('.jp-CodeCell')].at(-1)"
        ".querySelector('.jp-InputPrompt').textContent; return now !== old && /\\d/.test(now); }",
        arg=number,
        timeout=30_000,
    )
    return cell.locator(".jp-OutputArea-output").last.inner_text()


def drag(page, slider, share):
    """Take the slider's handle where it is and let it go at a share of its width."""
    place, last = float(slider.input_value()), float(slider.get_attribute("max"))
    box = slider.bounding_box()
    handle = 16  # its middle keeps half of this from the ends
    way = box["width"] - handle
    page.mouse.move(box["x"] + handle / 2 + way * place / last, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + handle / 2 + way * share, box["y"] + box["height"] / 2, steps=20)
    page.mouse.up()


def test_what_is_set_by_mouse_and_by_keyboard_is_shown_and_trained_with(page, explorer):
    assert results(page) == {
        "Adapter parameters": "460,800",
        "Share of all parameters": "0.341 %",
        "Adapter on disk": "1,858,776 bytes (1.77 MiB)",
        "Base in memory": "538,060,032 bytes (513.13 MiB)",
        "Scaling, alpha / r": "2",
    }
    rank, alpha = page.get_by_role("slider", name="rank r"), page.get_by_role("slider", name="alpha")
    drag(page, rank, 5 / 8)
    assert rank.get_attribute("aria-valuetext") == "32"
    assert results(page)["Adapter parameters"] == "1,843,200"
    alpha.focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
    assert alpha.get_attribute("aria-valuetext") == "4"
    assert results(page)["Scaling, alpha / r"] == "0.125"
    page.keyboard.press("Tab")  # on to the check boxes, and past q_proj to k_proj
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.get_by_label("v_proj", exact=True).click()
    page.get_by_label("nf4").click()
    page.keyboard.press("ArrowRight")  # radio buttons: to the next one
    shown = results(page)
    assert shown["Adapter parameters"] == f"{30 * 32 * (576 + 576 + 576 + 192):,}"
    assert shown["Base in memory"] == "168,155,952 bytes (160.37 MiB)"
    assert page.locator("figcaption").inner_text().endswith("beside q_proj, k_proj.")
    config = run_last_cell(page)
    assert "r=32, lora_alpha=4," in config
    assert "target_modules=('q_proj', 'k_proj'), quant_type='fp4'" in config
    assert "method='qlora'" in config
    assert page.errors == []


def test_a_screen_reader_finds_names_and_hears_results(page, explorer):
    tree = page.locator(".lorakit-explorer").aria_snapshot()
    for line in (
        'region "Adapters for LlamaForCausalLM"',
        'slider "rank r"',
        'slider "alpha"',
        'group "target modules"',
        'checkbox "q_proj" [checked]',
        'group "base"',
        'radio "float32" [checked]',
        "definition: 460,800",
    ):
        assert line in tree, tree
    controls = page.locator(".lorakit-explorer input")
    assert controls.count() == 2 + 7 + 4
    named = controls.evaluate_all("inputs => inputs.map((input) => input.labels.length && input.labels[0].htmlFor)")
    assert named == controls.evaluate_all("inputs => inputs.map((input) => input.id)")
    assert page.locator(".lorakit-results").get_attribute("aria-live") == "polite"
    rows = page.locator(".lorakit-results > div")
    assert rows.evaluate_all("rows => rows.map((row) => row.getAttribute('aria-atomic'))") == ["true"] * 5
    # Only what changes is touched, so only that is announced.
    page.evaluate("""() => {
        window.changed = new Set();
        const watch = (list) => list.forEach((each) => changed.add(each.target.previousSibling?.textContent));
        new MutationObserver(watch).observe(document.querySelector('.lorakit-results'),
            { childList: true, characterData: true, subtree: true });
    }""")
    page.get_by_role("slider", name="alpha").press("ArrowRight")
    assert page.evaluate("() => [...changed]") == ["Scaling, alpha / r"]
    assert page.errors == []


def test_a_slider_leaves_jupyterlab_its_other_keys(page, explorer):
    page.get_by_role("slider", name="rank r").press("ArrowRight")
    outputs = [output for cell in saved(page, explorer).cells for output in cell.outputs]
    assert "TrainConfig" in json.dumps(outputs)  # Ctrl+S saved
    (shown,) = [output for output in outputs if "application/vnd.jupyter.widget-view+json" in output.get("data", {})]
    assert shown.data["text/html"].startswith('<img src="data:image/svg+xml;base64,')


def test_what_is_set_while_a_cell_runs_reaches_the_next_one(page, explorer):
    """Also the last of several steps, though the kernel has had no time for the first."""
    rank = page.get_by_role("slider", name="rank r")
    page.locator(".jp-CodeCell").last.locator(".jp-InputArea-editor").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("import time\ntime.sleep(5)")
    page.keyboard.press("Shift+Enter")  # runs, and puts a new cell below
    for _ in range(3):
        rank.press("ArrowRight")
    page.locator(".jp-CodeCell").last.locator(".jp-InputArea-editor").click()
    page.keyboard.insert_text("explorer.value['r']")
    page.keyboard.press("Control+Enter")
    wait_until_run(page, seconds=30)
    assert page.locator(".jp-CodeCell").last.locator(".jp-OutputArea-output").last.inner_text() == "64"
    page.locator(".jp-CodeCell").last.locator(".jp-InputArea-editor").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("explorer.value = {'r': 2}")  # and the other way round
    page.keyboard.press("Control+Enter")
    page.wait_for_selector('.lorakit-explorer input[aria-valuetext="2"]', timeout=10_000)
    assert results(page)["Adapter parameters"] == "115,200"


def test_after_a_restart_it_says_so_and_works_when_run_again(page, explorer):
    page.click('text="Kernel" >> visible=true')
    page.click('text="Restart Kernel…" >> visible=true')
    page.click('.jp-Dialog button:has-text("Restart")')
    page.wait_for_selector("text=/Not connected: run this cell again/", timeout=30_000)
    page.get_by_role("slider", name="rank r").press("ArrowRight")
    assert results(page)["Adapter parameters"] == "921,600"  # it still draws
    assert page.errors == []
    run_all(page)
    wait_until_run(page, seconds=120)
    page.wait_for_selector(".lorakit-lost:empty", state="attached", timeout=30_000)
    page.get_by_role("slider", name="rank r").press("ArrowLeft")
    assert "r=4," in run_last_cell(page)
    assert page.errors == []


def test_it_follows_a_dark_theme(page, explorer, tmp_path):
    def colours():
        return page.locator(".lorakit-explorer, .lorakit-block .name >> nth=0").evaluate_all(
            "nodes => nodes.map((node) => getComputedStyle(node)[node.tagName === 'text' ? 'fill' : 'color'])"
        )

    def lightness(colour):
        return sum(float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]) / 3

    assert all(lightness(colour) < 80 for colour in colours())
    page.click('text="Settings" >> visible=true')
    page.hover('text="Theme" >> visible=true')
    page.click('text="JupyterLab Dark" >> visible=true')
    page.wait_for_selector('body[data-jp-theme-light="false"]', state="attached", timeout=20_000)
    time.sleep(1)
    page.screenshot(path=str(tmp_path / "dark.png"))
    assert all(lightness(colour) > 180 for colour in colours())
