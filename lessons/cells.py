"""A lesson's source, in jupytext's py:percent, becomes cells with fixed ids. Used by `build.py`.

How a source is written:

- The first cell is markdown and starts with `# Title`. The build puts badges under the title, and a set-up cell next.
- `# %% exercise="7.1" points=2` makes an exercise cell, `# %% check="7.1"` the one cell that checks it. Their ids are
  `ex-7-1` and `check-7-1`, their metadata `{"lorakit": {"exercise": "7.1", "points": 2}}` and the same with `check`.
  A check gets the tag `nbval-check-output`, and no other: what it prints is compared.
- In an exercise cell, the lines from `# BEGIN SOLUTION` to `# END SOLUTION` are the solution. Lines right after BEGIN
  that start with `# STUB ` are what the learner finds in its place; without them it is `...  # your code here`.
- Any other cell's id is the slug of the last heading that opens a markdown cell, and the cell's number since then.
- Tags are nbval's four and `private-output`: outputs of such a cell, a sentence of the data set or what is the
  reader's own, are not kept.
- `--execute` puts a PNG beside each plotly figure. A widget must bring its own picture, as text/html.
- Words stand before each code cell, and a code cell has at most 25 lines.
"""

import re
from collections import Counter
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from lorakit.course import cell_id
from lorakit.errors import LorakitError

TAGS = ("nbval-ignore-output", "nbval-check-output", "nbval-skip", "raises-exception", "private-output")
MAX_LINES = 25
BLOCK = re.compile(
    r"^(?P<indent> *)# BEGIN SOLUTION\n(?P<stub>( *# STUB [^\n]*\n)*)(?P<solution>.*?)^ *# END SOLUTION$\n?",
    re.M | re.S,
)


def check_markers(file: str, text: str) -> None:
    """Refuse solution markers that do not pair up: one slip would show the learner the answer."""
    opened, in_exercise = 0, False
    for number, line in enumerate([*text.splitlines(), "# %%"], start=1):
        line, where = line.strip(), f"{file} line {number}"
        if line.startswith("# %%"):
            if opened:
                raise LorakitError(f"{file} line {opened}: `# BEGIN SOLUTION` has no `# END SOLUTION` in its cell.")
            in_exercise = "exercise=" in line
        elif line == "# BEGIN SOLUTION":
            if opened:
                raise LorakitError(f"{where}: `# BEGIN SOLUTION` stands inside that of line {opened}: end that first.")
            if not in_exercise:
                raise LorakitError(f"{where}: `# BEGIN SOLUTION` belongs in a cell that says `exercise=`.")
            opened = number
        elif line == "# END SOLUTION":
            if not opened:
                raise LorakitError(f"{where}: `# END SOLUTION` has no `# BEGIN SOLUTION` before it in its cell.")
            opened = 0
        elif re.match(r"#+\s*(begin|end)[ _-]*solution", line, re.IGNORECASE):
            raise LorakitError(f"{where}: write `{line}` as `# BEGIN SOLUTION` or `# END SOLUTION`, and nothing more.")


def read_cells(file: str, lesson: int, text: str) -> list[NotebookNode]:
    """A source's cells with their final ids and metadata; solutions still stand between their markers."""
    try:
        raw_cells = jupytext.reads(text, fmt="py:percent").cells
    except nbformat.ValidationError as error:
        raise LorakitError(f"{file}: jupytext cannot read it ({error.message}): correct that header.") from error
    points = {str(raw.metadata.exercise): raw.metadata.get("points") for raw in raw_cells if "exercise" in raw.metadata}
    if not raw_cells or raw_cells[0].cell_type != "markdown" or not raw_cells[0].source.startswith("# "):
        raise LorakitError(f"{file}: its first cell must be markdown, and start with `# ` and the title.")
    cells, slug, number = [], "", 0
    for raw in raw_cells:
        first_line = raw.source.split("\n")[0]
        if raw.cell_type == "markdown" and (heading := re.match(r"#{1,6} (.+)", first_line)):
            slug, number = re.sub(r"[^a-z0-9]+", "-", heading[1].lower())[:56].strip("-"), 0
            if not slug:
                raise LorakitError(f"{file}: no cell id can be made of {first_line!r}: put a letter from a to z in it.")
        number += 1
        where = f"{file} cell {slug}-{number}"
        exercise_id, metadata = read_header(where, lesson, raw.metadata, points)
        if raw.cell_type not in (fitting := ("code",) if exercise_id else ("code", "markdown")):
            raise LorakitError(f"{where}: it is a {raw.cell_type} cell: make it {' or '.join(fitting)}.")
        new_cell = new_code_cell if raw.cell_type == "code" else new_markdown_cell
        cells.append(new_cell(raw.source.strip("\n"), id=exercise_id or f"{slug}-{number}", metadata=metadata))

    ids = Counter(["setup", *(cell.id for cell in cells)])
    if doubles := [each for each in ids if ids[each] > 1]:
        raise LorakitError(f"{file}: two cells get the id {doubles[0]}: change a heading or an exercise's number.")
    if unchecked := [exercise for exercise in points if cell_id("check", exercise) not in ids]:
        raise LorakitError(f'{file}: nothing checks exercise {unchecked[0]}: add a cell `# %% check="{unchecked[0]}"`.')
    return cells


def read_header(where: str, lesson: int, header: dict, points: dict[str, Any]) -> tuple[str | None, dict]:
    """What a `# %%` line asks for: the id (of an exercise or a check only) and the metadata to keep."""
    # The last two are jupytext's notes to itself.
    if odd := set(header) - {"tags", "exercise", "points", "check", "lines_to_next_cell", "cell_marker"}:
        raise LorakitError(f"{where}: its `# %%` line has {min(odd)} = {header[min(odd)]!r}, which means nothing here.")
    tags = header.get("tags", [])
    if unknown := set(tags) - set(TAGS):
        raise LorakitError(f"{where}: the tag {min(unknown)!r} is not known: use {', '.join(TAGS)}.")
    metadata = {"tags": tags} if tags else {}
    for kind, prefix in (("exercise", "ex"), ("check", "check")):
        if kind in header:
            exercise = header[kind]
            if not isinstance(exercise, str) or not re.fullmatch(rf"{lesson}\.[1-9]\d*", exercise):
                raise LorakitError(f'{where}: {kind}={exercise!r} must be a number like "{lesson}.1", in quotes.')
            if exercise not in points:
                raise LorakitError(f"{where}: it checks {exercise}, but there is no such exercise: correct the number.")
            if type(points[exercise]) is not int or points[exercise] < 1:
                raise LorakitError(f"{where}: exercise {exercise} has no points: add `points=1` to its `# %%` line.")
            metadata["lorakit"] = {kind: exercise, "points": points[exercise]}
            if kind == "check":
                if tags:
                    raise LorakitError(f"{where}: the check of {exercise} must have no tags of its own: remove them.")
                metadata["tags"] = ["nbval-check-output"]
            return cell_id(prefix, exercise), metadata
    return None, metadata


def solve(source: str) -> str:
    """A cell's source with its solution, without the markers."""
    return BLOCK.sub(r"\g<solution>", source).rstrip("\n")


def stub(source: str) -> str:
    """A cell's source with a stub in place of its solution."""
    return BLOCK.sub(
        lambda block: block["stub"].replace("# STUB ", "") or f"{block['indent']}...  # your code here\n", source
    ).rstrip("\n")


def check_style(file: str, notebook: NotebookNode) -> None:
    """Words before code, and not much code."""
    for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False):
        if cell.cell_type != "code":
            continue
        lines = len(cell.source.splitlines())
        if before.cell_type != "markdown":
            raise LorakitError(f"{file} cell {cell.id}: no words before this code: put a markdown cell there.")
        if not 1 <= lines <= MAX_LINES:
            raise LorakitError(f"{file} cell {cell.id}: {lines} lines of code: it must have 1 to {MAX_LINES}.")
