"""The README's screenshots, taken of a real JupyterLab: `python tests/browser/screenshots.py`. Written to `pictures/`.

Nothing in them is drawn by hand: each is what the course shows, for the cells below, on the machine that runs this.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from lab import JupyterLab, chromium, jupyterlab, open_notebook, run_all, small_notebook, wait_until_run

from lorakit.course import copy_lessons, shipped_lessons
from lorakit.course_map import write_map
from lorakit.progress import record_progress

PICTURES = Path(__file__).parents[2] / "pictures"
WIDE, TALL = 980, 2000
SOLVED = ("0.1", "0.2", "0.3", "1.1", "1.2", "1.3", "2.1", "2.2")
"""What the learner of the map has done."""

CHECK = (
    "import torch\n\ndef lora_forward(x, W, A, B, lora_alpha):\n    return x @ W.T + lora_alpha * (x @ A.T @ B.T)",
    "from lorakit.checks.lesson06 import check_lora_forward\n\ncheck_lora_forward(lora_forward)",
)
ATTENTION = (
    "from lorakit.models import load_model\nfrom widgets import show_attention\n\nmodel, tokenizer = load_model()",
    "show_attention(model, tokenizer, text='Then Anna gave the book to Ben, because Anna had read the book.')",
)
MEMORY = ("from widgets import show_memory\n\nshow_memory('Llama-2-7B')",)
TRAINING = (
    "from lorakit.data import split_reviews\nfrom lorakit.finetune import TrainConfig\n"
    "from lorakit.models import load_model\nfrom widgets import show_training\n\n"
    "train, held_out = split_reviews()\nmodel, tokenizer = load_model()",
    "history = show_training(TrainConfig(), model, tokenizer, train=train, held_out=held_out[:200])",
)


def cells(page: Any) -> Any:
    return page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell")


def take(page: Any, name: str, *parts: Any) -> None:
    """One picture from the top of the first of these parts of the page to the foot of the last."""
    page.add_style_tag(content=".jp-cell-toolbar, .jp-Collapser { visibility: hidden }")
    boxes = [part.bounding_box() for part in parts]
    top, foot = min(box["y"] for box in boxes), max(box["y"] + box["height"] for box in boxes)
    left, right = min(box["x"] for box in boxes), max(box["x"] + box["width"] for box in boxes)
    clip = {"x": left, "y": top, "width": right - left, "height": foot - top}
    page.screenshot(path=PICTURES / f"{name}.png", clip=clip)
    print(f"{name}.png: {(PICTURES / f'{name}.png').stat().st_size / 1024:.0f} KiB", flush=True)


def open_alone(page: Any, lab: JupyterLab, notebook: str) -> None:
    """Open a notebook in a JupyterLab that has nothing else open, the file browser folded away."""
    lab.shut_down_kernels()
    lab.forget()
    open_notebook(page, lab(notebook))
    page.keyboard.press("Control+b")


def last_output(page: Any, lab: JupyterLab, name: str, sources: tuple[str, ...]) -> Any:
    """What a notebook's last cell shows, after Run All."""
    small_notebook(lab.folder / f"{name}.ipynb", *sources)
    open_alone(page, lab, f"{name}.ipynb")
    run_all(page)
    wait_until_run(page, seconds=600)
    page.wait_for_timeout(2000)  # what is drawn in the browser comes after the cell has its number
    return cells(page).last.locator(".jp-Cell-outputWrapper")


def main() -> None:
    """Take them all."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, chromium() as browser, jupyterlab(Path(place)) as lab:
        page = browser.new_page(viewport={"width": WIDE, "height": TALL})
        take(page, "check", last_output(page, lab, "check", CHECK), cells(page).first)
        for name, sources in {"attention": ATTENTION, "memory": MEMORY, "training": TRAINING}.items():
            take(page, name, last_output(page, lab, name, sources))
        lab.forget()
        os.environ["LORAKIT_DATA"] = str(lab.folder / "data")
        for exercise in SOLVED:
            record_progress(exercise, "correct")
        record_progress("2.3", "incorrect")
        copy_lessons(shipped_lessons(), lab.folder)
        open_notebook(page, lab(write_map(lab.folder).name))
        page.keyboard.press("Control+b")
        page.wait_for_timeout(2000)
        take(page, "map", cells(page).last.locator(".jp-RenderedMarkdown"))


if __name__ == "__main__":
    main()
