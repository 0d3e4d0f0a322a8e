"""What the tests of grading share: lesson 00, its right answers, and notebooks made of others."""

import contextlib
import json
from pathlib import Path

import psutil

from lorakit.course import fresh_notebook, notebook_text
from lorakit.grading.grade import grade_notebook
from lorakit.grading.report import Report
from lorakit.grading.submission import read_lesson

LESSON = read_lesson("00")
RIGHT = {number: exercise.solution for number, exercise in LESSON.exercises.items()}
STUBS = {number: exercise.stub for number, exercise in LESSON.exercises.items()}
CORRECT = {number: (exercise.points, "correct") for number, exercise in LESSON.exercises.items()}


def notebook_with(answers: dict[str, str]) -> dict:
    """A learner's notebook of lesson 00 as plain JSON: the answers given, and the stubs of the other exercises."""
    notebook = fresh_notebook(LESSON.notebook)
    for cell in notebook.cells:
        number = cell.metadata.get("lorakit", {}).get("exercise")
        if number in answers:
            cell.source = answers[number]
    return json.loads(notebook_text(notebook))


def cell_of(notebook: dict, cell_id: str) -> dict:
    """The cell with an id."""
    return next(cell for cell in notebook["cells"] if cell["id"] == cell_id)


def grade(notebook: dict | bytes, folder: Path, **options) -> Report:
    """Grade a notebook, from JSON or from bytes, as a file of a folder; nothing in that folder may change."""
    file = folder / "00_start_here.ipynb"
    file.write_bytes(notebook if isinstance(notebook, bytes) else json.dumps(notebook).encode())
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    report = grade_notebook(file, LESSON, **options)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    return report


def outcomes(report: Report) -> dict[str, tuple[int, str]]:
    """Points and outcome of each exercise."""
    return {grade.exercise: (grade.points, grade.outcome) for grade in report.grades}


def said(report: Report, number: str = "") -> str:
    """All that a report says: of one exercise, or of the notebook."""
    sentences = [grade.sentence for grade in report.grades if number in ("", grade.exercise)]
    return "\n".join([*sentences, *([] if number else report.notes)])


def running(words: str) -> list[int]:
    """The ids of the processes that run and have these words in their command line."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # gone by now, or a zombie
            if words in " ".join(process.cmdline()):
                found.append(process.pid)
    return found
