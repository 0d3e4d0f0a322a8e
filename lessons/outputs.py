"""Run a solved notebook, draw its figures, clean its outputs, and keep the data set's sentences out of them.

Used by `build.py`, and by the tests and the bench that run a lesson.
"""

import base64
import hashlib
import html
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_output

from lorakit.errors import LorakitError

PRIVATE = "(shown when you run this cell; not kept in this notebook)\n"
# What is drawn by JavaScript, and the still picture that a saved notebook needs beside it.
FIGURE, FIGURE_PICTURE = "application/vnd.plotly.v1+json", "image/png"
WIDGET, WIDGET_PICTURE = "application/vnd.jupyter.widget-view+json", "text/html"
PICTURE_WIDTH = 760  # pixels: JupyterLab shows a PNG in its own size until the mouse is on it, and cuts a wider one


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """A notebook's code cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def is_private(cell: NotebookNode) -> bool:
    """Whether the cell's outputs are not to be kept."""
    return "private-output" in cell.metadata.get("tags", [])


def fingerprint(notebook: NotebookNode) -> str:
    """A sha256 of what the outputs depend on: the code, and which of it is private."""
    # Not the set-up cell: it does nothing here, and a new repository address must not undo hours of execution.
    sources = [[cell.source, is_private(cell)] for cell in code_cells(notebook) if cell.id != "setup"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def has_outputs_of(ran: NotebookNode | None, solved: NotebookNode) -> bool:
    """Whether `ran` was executed to its end, from the code that `solved` has now."""
    return (
        ran is not None
        and ran.metadata.get("lorakit", {}).get("executed") == fingerprint(ran) == fingerprint(solved)
        and all(cell.execution_count for cell in code_cells(ran))
    )


def keep_outputs(solved: NotebookNode, ran: NotebookNode) -> None:
    """Give a fresh solved notebook the outputs, cleaned, of one that ran the same code.

    Nothing else is taken over, so no timing and no widget state gets into the metadata of notebook or cells.
    """
    for cell, old in zip(code_cells(solved), code_cells(ran), strict=True):
        cell.execution_count = old.execution_count
        cell.outputs = clean_outputs(old.outputs)
        if is_private(cell) and cell.outputs:
            cell.outputs = [new_output("stream", name="stdout", text=PRIVATE)]
    solved.metadata.setdefault("lorakit", NotebookNode()).executed = fingerprint(solved)


def client_of(notebook: NotebookNode, folder: Path | str, **options: Any) -> NotebookClient:
    """What runs a notebook in `folder`, in a fresh kernel of this Python; `options` are nbclient's own."""
    client = NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(folder)}}, **options)
    # With no folder to search for kernels, `python3` can only be the interpreter that runs this.
    client.create_kernel_manager().kernel_spec_manager = KernelSpecManager(kernel_dirs=[])
    return client


def execute(solved: NotebookNode, lesson: str, folder: Path) -> NotebookNode:
    """Run a copy of the solved notebook in `folder`, in a fresh kernel of this Python; returns the copy that ran."""
    ran, begun = deepcopy(solved), []
    client = client_of(ran, folder, on_cell_start=lambda cell, cell_index: begun.append(cell.id))
    try:
        with tempfile.TemporaryDirectory() as data:  # the author's own progress is neither shown nor changed
            client.execute(env=os.environ | {"LORAKIT_DATA": data})
    except (CellExecutionError, DeadKernelError) as error:
        reason = f"{error.ename}: {error.evalue}" if isinstance(error, CellExecutionError) else "the kernel died"
        raise LorakitError(f"{lesson}: cell {begun[-1]} failed ({reason}): mend it in the source.") from error
    for cell in code_cells(ran):
        cell.outputs = hide_machine(cell.outputs, folder.parent)
    add_pictures(ran)
    return ran


def hide_machine(outputs: list[NotebookNode], root: Path) -> list[NotebookNode]:
    """Outputs without this machine's folders, which warnings and tracebacks name."""
    text = json.dumps(outputs, ensure_ascii=False)
    text = re.sub(re.escape(tempfile.gettempdir()) + r"/ipykernel_\d+/\d+\.py", "<cell>", text)
    for folder in (str(root), sys.prefix, sys.base_prefix):
        for name in (folder, folder.replace(str(Path.home()), "~")):  # IPython shortens the home folder
            text = text.replace(f"{name}/", "")
    return nbformat.from_dict(json.loads(text))


def add_pictures(notebook: NotebookNode) -> None:
    """Put a PNG beside each plotly figure that is kept: not every reader runs plotly's JavaScript."""
    kept = [output.get("data", {}) for cell in code_cells(notebook) if not is_private(cell) for output in cell.outputs]
    figures = [data for data in kept if FIGURE in data]
    for data, png in zip(figures, draw([data[FIGURE] for data in figures]), strict=True):
        data[FIGURE_PICTURE] = base64.b64encode(png).decode()


def draw(figures: list[dict]) -> list[bytes]:
    """Plotly figures, each as the bytes of a PNG, all drawn by one Chromium."""
    if not figures:
        return []
    import kaleido  # here, since a plain build draws nothing
    from kaleido.errors import ChromeNotFoundError

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.png" for number in range(len(figures))]
        jobs = [
            {"fig": figure, "path": path, "opts": {"width": PICTURE_WIDTH}}
            for figure, path in zip(figures, paths, strict=True)
        ]
        try:  # without MathJax, which would be fetched from the web
            kaleido.write_fig_from_object_sync(jobs, cancel_on_error=True, kopts={"mathjax": False})
        except ChromeNotFoundError as error:
            raise LorakitError(
                "No Chromium was found to draw the figures' PNGs with: install it (`apt-get install chromium`, or "
                "`kaleido_get_chrome`), or set BROWSER_PATH to its program."
            ) from error
        return [path.read_bytes() for path in paths]


def cells_without_picture(notebook: NotebookNode, live: str, picture: str) -> list[str]:
    """The ids of the cells that keep an output of MIME type `live` with none of MIME type `picture` beside it."""
    return [
        cell.id
        for cell in code_cells(notebook)
        if not is_private(cell)
        and any(live in output.get("data", {}) and picture not in output.data for output in cell.outputs)
    ]


def clean_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs as a reader wants them: one stream for many, progress bars at their end, no widget without its kernel."""
    cleaned: list[NotebookNode] = []
    for output in deepcopy(outputs):
        if output.output_type == "stream" and cleaned and cleaned[-1].get("name") == output.name:
            cleaned[-1].text += output.text
            continue
        if "data" in output:
            output.data = {mime: data for mime, data in output.data.items() if "jupyter.widget-" not in mime}
        cleaned.append(output)
    for output in cleaned:
        if output.output_type == "stream":
            # A carriage return goes back to the start of the line: what was written last is what is seen.
            output.text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in output.text.split("\n"))
    return [output for output in cleaned if output.get("data", True) and output.get("text", "-").strip()]


def cells_with_sentences(notebook: NotebookNode, sentences: Iterable[str]) -> list[str]:
    """The ids of the cells that hold one of the sentences of at least 20 characters, in words, code or outputs."""
    hunted = {squash(sentence) for sentence in sentences if len(sentence) >= 20}
    hunted = {sentence for sentence in hunted if len(sentence) >= 12}  # a row of dots would be found everywhere
    found = []
    for cell in notebook.cells:
        text = json.dumps([cell.source, cell.get("outputs", [])], ensure_ascii=False)
        # Twice, with HTML tags and without: a sentence may stand in an attribute, or be cut up by tags.
        seen = squash(text) + " " + squash(re.sub(r"</?[a-zA-Z][^<>]*>", "", text))
        if any(sentence in seen for sentence in hunted):
            found.append(cell.id)
    return found


def squash(text: str) -> str:
    """Plain letters and digits alone: spaces, quotes, accents, escapes and token marks then hide no sentence."""
    text = re.sub(r"[A-Za-z0-9+/]{200,}", " ", text)  # an encoded picture, not prose
    text = re.sub(r"\\+(u[0-9a-f]{4}|x[0-9a-f]{2}|[nrt])", " ", html.unescape(text).lower())
    return re.sub(r"[^a-z0-9]+", "", text)


def review_sentences() -> list[str]:
    """Every sentence of the data set: fetched once, then from the cache."""
    from lorakit.data import load_reviews  # here, since a plain build needs neither the data nor what reads them

    return [review.text for review in load_reviews()]
