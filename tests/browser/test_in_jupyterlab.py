"""Lessons as a learner meets them: opened in JupyterLab, run from the menu, looked at."""

import json
import shutil
from pathlib import Path

import pytest
from lab import open_notebook, run_all, saved, small_notebook, wait_until_run

from lorakit.course import copy_lessons
from lorakit.course_map import write_map

LESSONS = Path(__file__).parents[2] / "lessons"


def test_lesson_00_runs_from_top_to_bottom_with_its_stubs_unfilled(lab, page, tmp_path):
    notebook = tmp_path / "00_start_here.ipynb"
    shutil.copy(LESSONS / notebook.name, notebook)
    open_notebook(page, lab(notebook.name))
    run_all(page)
    wait_until_run(page, seconds=300)
    outputs = [output for cell in saved(page, notebook).cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error"] == []
    text = json.dumps(outputs)
    assert "' Paris'" in text
    assert "(1, 5, 49152)" in text
    assert text.count(": not attempted yet.") == 3
    pictures = page.locator('img[src^="data:image/svg+xml"]').evaluate_all("images => images.map(i => i.naturalWidth)")
    assert len(pictures) == 2  # the map of the course, and how far the learner is
    assert min(pictures) > 0


def test_the_map_of_the_course_opens_drawn_and_leads_to_a_lesson(lab, page, tmp_path, monkeypatch):
    monkeypatch.setenv("LORAKIT_DATA", str(tmp_path / "data"))  # of a learner who has done nothing yet
    copy_lessons(LESSONS, tmp_path)
    open_notebook(page, lab(write_map(tmp_path).name))
    row = page.locator(".jp-RenderedMarkdown tr", has_text="00 · ")
    row.wait_for(timeout=60_000)
    assert "○ 0.1" in row.inner_text().replace("\xa0", " ")
    picture = page.locator('.jp-RenderedMarkdown img[alt^="The model from text"]')
    page.wait_for_function("image => image.naturalWidth > 0", arg=picture.element_handle())
    row.locator("a").click()
    page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell", timeout=60_000)


def test_figures_are_drawn_and_small(lab, page, tmp_path):
    path = tmp_path / "figures.ipynb"
    small_notebook(
        path,
        "from lorakit.finetune import Evaluation\nfrom widgets import accuracy_figure, loss_figure\n"
        "loss_figure({'LoRA': [3.0, 2.0, 1.0]}).show()",
        "before, after = Evaluation(400, 6.0, 0.8, 0.76, 0.84), Evaluation(400, 0.3, 0.9, 0.87, 0.93)\n"
        "accuracy_figure({'before': before, 'after': after}).show()",
    )
    open_notebook(page, lab(path.name))
    run_all(page)
    wait_until_run(page, seconds=120)
    page.wait_for_selector(".js-plotly-plot .xtitle", timeout=30_000)
    assert page.locator(".js-plotly-plot .xtitle").all_text_contents() == [
        "optimizer step",
        "accuracy (share of right verdicts)",
    ]
    saved(page, path)
    assert path.stat().st_size < 100_000


TRAIN = """
from tiny import ROWS, save_tiny_model
from lorakit.finetune import TrainConfig, finetune
from lorakit.models import load_model
model, tokenizer = load_model(save_tiny_model({folder!r}), device="cpu")
print("loaded")
"""


def test_the_stop_button_ends_a_fine_tune_after_its_step(lab, page, tmp_path):
    path = tmp_path / "train.ipynb"
    folder = str(Path(__file__).parents[1])
    small_notebook(
        path,
        f"import sys\nsys.path.insert(0, {folder!r})" + TRAIN.format(folder=str(tmp_path / "tiny")),
        "history = finetune(TrainConfig(steps=100_000), model, tokenizer, train=ROWS)",
        "print('STOPPED', history.stopped, 0 < len(history.losses) < 100_000, history.after.n)",
    )
    open_notebook(page, lab(path.name))
    run_all(page)
    page.wait_for_selector("text=/training:.*step/", timeout=120_000)
    page.click('[data-command="notebook:interrupt-kernel"]')
    wait_until_run(page, seconds=60)
    text = json.dumps([cell.outputs for cell in saved(page, path).cells])
    assert "STOPPED True True 8" in text, text[-2000:]
    assert "KeyboardInterrupt" not in text


@pytest.fixture(autouse=True)
def a_picture_of_the_end(request, page, tmp_path):
    """Keep a screenshot beside the test's files, to look at."""
    yield
    page.screenshot(path=str(tmp_path / f"{request.node.name}.png"))
