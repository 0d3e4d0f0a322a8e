"""The exercises of all lessons, the wrong answers that their checks are to name, and other answers that are right.

A file, such as `tests/wrong/ex_7_1.py`, holds the wrong answers to one exercise. Each is the code of a whole cell
below a line `# %% its name -> a fragment of the message meant for it`. It runs where torch and math are imported.
`tests/right/ex_7_1.py` holds answers that are right and are not the lesson's, each below a line `# %% its name`.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import build

WRONG, RIGHT = Path(__file__).parent / "wrong", Path(__file__).parent / "right"
WRONG_HEADER = re.compile(r"^# %% (?P<name>.+?) -> (?P<message>.+)$", re.M)
RIGHT_HEADER = re.compile(r"^# %% (?P<name>.+)$", re.M)


@dataclass(frozen=True)
class WrongAnswer:
    """A wrong answer to an exercise, and what its check is to say of it."""

    exercise: str
    name: str
    message: str
    source: str


@dataclass(frozen=True)
class ExerciseCells:
    """An exercise as a lesson has it: the stub, the solution, and the cell that checks it."""

    stub: str
    solution: str
    check: str


@lru_cache
def exercise_cells() -> dict[str, ExerciseCells]:
    """Every exercise of every lesson, by its number."""
    found = {}
    for source in sorted((build.ROOT / "lessons" / "source").glob("*.py")):
        learner, solved = build.make_notebooks(source, "https://github.com/owner/name")
        cells = {cell.id: cell.source for cell in learner.cells}
        for cell in build.code_cells(solved):
            if number := cell.metadata.get("lorakit", {}).get("exercise"):
                check = cells[cell.id.replace("ex-", "check-", 1)]
                found[number] = ExerciseCells(cells[cell.id], cell.source, check)
    return found


def exercises() -> list[str]:
    """The number of every exercise, in the lessons' order."""
    return list(exercise_cells())


def wrong_answers(exercise: str) -> list[WrongAnswer]:
    """The wrong answers to an exercise; none if there are none yet."""
    file = WRONG / f"ex_{exercise.replace('.', '_')}.py"
    if not file.exists():
        return []
    _, *parts = WRONG_HEADER.split(file.read_text(encoding="utf-8"))
    return [
        WrongAnswer(exercise, name, message, source.strip())
        for name, message, source in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    ]


def right_answers(exercise: str) -> dict[str, str]:
    """Other right answers to an exercise, by their names; none if there are none yet."""
    file = RIGHT / f"ex_{exercise.replace('.', '_')}.py"
    _, *parts = RIGHT_HEADER.split(file.read_text(encoding="utf-8")) if file.exists() else [""]
    return {name: source.strip() for name, source in zip(parts[::2], parts[1::2], strict=True)}
