"""The answers in a learner's notebook, however it was mauled: no file stops the grader, and none is ever written."""

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lorakit
from lorakit.course import about_cell, cell_id, load_notebook, solved_notebook
from lorakit.errors import LorakitError
from lorakit.grading.needs import imports, names, plain_python


@dataclass(frozen=True)
class Exercise:
    """An exercise of a lesson, as the solved notebook has it."""

    number: str
    points: int
    stub: str
    solution: str
    check: str
    """The code of its check cell."""


@dataclass(frozen=True)
class Lesson:
    """A lesson, as the solved notebook has it."""

    name: str
    notebook: Any
    exercises: Mapping[str, Exercise]


@dataclass
class Submission:
    """What a learner handed in."""

    answers: dict[str, str] = field(default_factory=dict)
    """The source of each exercise's cell that the notebook has."""
    sentences: dict[str, str] = field(default_factory=dict)
    """What is to be said of an exercise whatever its outcome."""
    notes: list[str] = field(default_factory=list)
    """What is to be said of the notebook."""
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Names that other cells, or files beside the notebook, define, and where."""
    claimed: frozenset[str] = frozenset()
    """Exercises whose stored output says that they are correct."""


def read_lesson(name: str, shipped: Path | None = None) -> Lesson:
    """A lesson's exercises.

    Raises:
        LorakitError: there is no such lesson, no solution of it, or none that was executed.
    """
    path = solved_notebook(name, shipped)
    notebook = load_notebook(path)
    answers = {about["exercise"]: cell for cell in notebook.cells if "exercise" in (about := about_cell(cell))}
    checks = {about["check"]: cell for cell in notebook.cells if "check" in (about := about_cell(cell))}
    if bare := [number for number, cell in checks.items() if not cell.execution_count or not cell.outputs]:
        raise LorakitError(
            f"'{path}': the check of exercise {bare[0]} has no reference output: run `lessons/build.py --execute`."
        )
    exercises = {
        number: Exercise(
            number, cell.metadata.lorakit.points, about_cell(cell)["stub"], cell.source, checks[number].source
        )
        for number, cell in answers.items()
    }
    return Lesson(path.stem, notebook, exercises)


def read_submission(path: Path, lesson: Lesson) -> Submission:
    """The answers in a notebook: cells are found by id, or where ids are gone by metadata.

    Raises:
        LorakitError: the file is no notebook, or one of another lesson.
    """
    notebook = _read(path)
    theirs = about_cell(notebook).get("lesson", lesson.name)
    if theirs != lesson.name:
        raise LorakitError(f"'{path.name}' is the notebook of {theirs}, not of {lesson.name}: hand that one in.")
    submission = Submission()
    release = about_cell(notebook).get("release", lorakit.__version__)
    if release != lorakit.__version__:
        submission.notes.append(f"The notebook is of release {release}, and was graded with {lorakit.__version__}.")
    taken = [
        cell
        for exercise in lesson.exercises.values()
        for cell in _read_exercise(notebook["cells"], exercise, submission)
    ]
    code = [cell for cell in notebook["cells"] if cell.get("cell_type") == "code" and cell not in taken]
    for number, cell in enumerate(code, start=1):
        first = _source(cell).strip().partition("\n")[0][:40]
        submission.elsewhere |= dict.fromkeys(names(_source(cell)).bound, f"code cell {number}, `{first}`")
    for file in path.parent.glob("*.py"):
        submission.elsewhere.setdefault(file.stem, f"the file {file.name} beside the notebook")
    return submission


def _read_exercise(cells: list[dict], exercise: Exercise, submission: Submission) -> list[dict]:
    """Put what a notebook has for an exercise into `submission`; returns the exercise's own cells."""
    number, notes = exercise.number, submission.notes
    answers, checks = _cells_of(cells, number, "exercise", "ex"), _cells_of(cells, number, "check", "check")
    written = [cell for cell in answers if not same_code(_source(cell), exercise.stub)]
    if not answers:
        submission.sentences[number] = (
            "The notebook has no code cell for this exercise: `lorakit reset` gives a fresh one."
        )
    else:
        submission.answers[number] = _source((written or answers)[-1])
    if len(answers) > 1:
        notes.append(f"Exercise {number} has {len(answers)} cells: the last one that is filled in was graded.")
    if not checks:
        notes.append(f"The check cell of exercise {number} is gone: the course's own was used.")
    elif any(not same_code(_source(cell), exercise.check) for cell in checks):
        notes.append(f"The check cell of exercise {number} was changed: the course's own was used.")
    if any(f"Exercise {number}: correct." in json.dumps(cell.get("outputs", "")) for cell in checks):
        submission.claimed |= {number}
    return [*answers, *checks]


def _cells_of(cells: list[dict], number: str, key: str, prefix: str) -> list[dict]:
    own_id = cell_id(prefix, number)
    return [
        cell
        for cell in cells
        if cell.get("cell_type") == "code" and (cell.get("id") == own_id or about_cell(cell).get(key) == number)
    ]


def shadowed(answer: str, exercise: Exercise, lesson: Lesson) -> list[str]:
    """Names that the course's cells import and that an answer makes something else of, such as `torch`."""
    course: dict[str, str] = {}
    for cell in lesson.notebook.cells:
        if cell.cell_type == "code":
            course |= imports(cell.source)
    own, assigned = imports(answer), set(names(answer).bound) - names(exercise.solution).bound
    try:
        for node in ast.walk(ast.parse(plain_python(answer))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                assigned.add(node.attr)
    except SyntaxError:
        return []
    return sorted(name for name in assigned if name in course and own.get(name) != course[name])


def same_code(one: str, other: str) -> bool:
    """Whether two cells hold the same code, white space at line ends and around it aside."""
    lines, others = ([line.rstrip() for line in source.strip().splitlines()] for source in (one, other))
    return lines == others


def _read(path: Path) -> dict:
    """A notebook's raw JSON: nbformat would refuse, or silently repair, what is to be reported here."""
    try:
        notebook = json.loads(path.read_bytes())
        cells = notebook["cells"]
        if not (isinstance(cells, list) and all(isinstance(cell, dict) for cell in cells)):
            raise TypeError
    except OSError as error:
        raise LorakitError(f"'{path}' cannot be read ({error.strerror}): hand the file in again.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LorakitError(
            f"'{path.name}' is not a Jupyter notebook: save it as .ipynb and hand it in again."
        ) from error
    return notebook


def _source(cell: dict) -> str:
    source = cell.get("source", "")
    return "".join(map(str, source)) if isinstance(source, list) else str(source)
