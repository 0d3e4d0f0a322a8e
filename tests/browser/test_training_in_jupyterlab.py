"""A fine-tune that is watched in a notebook: Run All, and then its Stop button, by mouse and by keyboard."""

from pathlib import Path

import pytest
from lab import open_notebook, run_all, saved, small_notebook, wait_until_run
from test_in_jupyterlab import TRAIN

BEGIN, RUN, THEN, LAST = range(4)
CELLS = [
    "import sys\nsys.path.insert(0, {tests!r})\nimport torch\ntorch.set_num_threads(1)\n" + TRAIN,
    "from widgets import show_training\n"
    "history = show_training(TrainConfig(steps=100_000), model, tokenizer, train=ROWS)",
    "print('THEN', history.stopped, 0 < len(history.losses) < 100_000, history.after.n)",
    "print('LAST')",
]
STOP = "Stop after this step"


def button(page):
    return page.get_by_role("button", name=STOP)


def click(page):
    button(page).click()


def press(key):
    def press_key(page):
        button(page).focus()
        page.keyboard.press(key)

    return press_key


def interrupt(page):
    page.click('[data-command="notebook:interrupt-kernel"]')


@pytest.mark.parametrize(
    "stop", [click, press("Enter"), press("Space"), interrupt], ids=["click", "Enter", "Space", "interrupt"]
)
def test_a_run_is_watched_and_stopped(stop, lab, page, tmp_path):
    path = tmp_path / "train.ipynb"
    folders = {"tests": str(Path(__file__).parents[1]), "folder": str(tmp_path / "tiny")}
    small_notebook(path, *(cell.format(**folders) for cell in CELLS))
    open_notebook(page, lab(path.name))
    run_all(page)
    page.wait_for_selector("text=/step [1-9].* left · loss [0-9]/", timeout=120_000)
    live = page.get_by_role("img", name="Loss and accuracy so far")
    assert live.locator("polyline").evaluate("line => line.points.numberOfItems") > 0
    bar = page.get_by_role("progressbar", name="Training for 100,000 steps")
    assert int(bar.get_attribute("value")) > 0
    status = page.get_by_role("status").filter(has_text="Training for 100,000 steps.")
    assert status.get_attribute("aria-live") == "polite"
    assert "loss" not in status.inner_text()
    page.screenshot(path=str(tmp_path / "live.png"))
    stop(page)
    wait_until_run(page, seconds=60)

    image = page.locator('img[alt*="Stopped after step "]')
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 760
    assert button(page).count() == 0
    cells = saved(page, path).cells
    assert [cell.execution_count for cell in cells] == [1, 2, 3, 4]
    assert cells[THEN].outputs[0].text.strip() == "THEN True True 8"
    assert cells[LAST].outputs[0].text.strip() == "LAST"
    assert [output for output in cells[RUN].outputs if output.output_type == "error"] == []
    (picture,) = (output.data for output in cells[RUN].outputs if output.output_type == "display_data")
    assert sorted(picture) == ["text/html", "text/plain"]
    assert "widgets" not in saved(page, path).metadata
    assert page.errors == []
    page.screenshot(path=str(tmp_path / "left.png"))
