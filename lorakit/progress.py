"""How far the learner is, kept between sittings: a small file for each exercise in the user's data folder."""

import contextlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from lorakit import course

if TYPE_CHECKING:
    from nbformat import NotebookNode

STATES = {"correct": "correct", "incorrect": "tried"}
"""What is said of an exercise, by the outcome that was recorded; of any other it is "not tried"."""


@dataclass(frozen=True)
class ExerciseProgress:
    """One exercise, and how far the learner is with it."""

    number: str
    points: int
    state: str
    """ "correct", "tried" or "not tried"."""


@dataclass(frozen=True)
class LessonProgress:
    """One lesson and its exercises."""

    name: str
    """Such as "06_lora"."""
    title: str
    exercises: Sequence[ExerciseProgress]

    @property
    def number(self) -> str:
        return self.name[:2]


def progress_folder() -> Path:
    """Where progress is kept: below `LORAKIT_DATA`, or below the user's data folder of this system."""
    return Path(os.environ.get("LORAKIT_DATA") or platformdirs.user_data_dir("lorakit")).expanduser() / "progress"


def record_progress(exercise: str, outcome: str) -> None:
    """Keep the outcome ("correct", "incorrect") of an exercise; one that was once correct stays so."""
    file = progress_folder() / exercise
    with contextlib.suppress(OSError):  # a full or read-only disk must not turn a right answer into an error
        if read_progress().get(exercise) != "correct":
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(outcome)


def read_progress() -> dict[str, str]:
    """The outcome of each exercise that was tried, by its number."""
    try:
        files = [file for file in sorted(progress_folder().iterdir()) if re.fullmatch(r"\d+\.\d+", file.name)]
        return {file.name: file.read_text(encoding="utf-8", errors="replace") for file in files}
    except OSError:
        return {}


def forget_progress() -> None:
    """Delete what is kept of the learner's progress."""
    shutil.rmtree(progress_folder(), ignore_errors=True)


def lesson_progress(lesson: str, notebook: "NotebookNode", outcomes: Mapping[str, str]) -> LessonProgress:
    """How far a lesson is: its notebook says what there is to do, `outcomes` what was recorded of it."""
    heading = notebook.cells[0].source.split("\n")[0]
    found = map(course.about_cell, notebook.cells)
    points = {about["exercise"]: about["points"] for about in found if "exercise" in about}
    return LessonProgress(
        lesson,
        heading.removeprefix("# ").removeprefix(f"{lesson[:2]} · "),
        [ExerciseProgress(name, points[name], STATES.get(outcomes.get(name), "not tried")) for name in points],
    )


def course_progress() -> list[LessonProgress]:
    """Every lesson that came with this package, and what is recorded of it."""
    shipped, outcomes = course.shipped_lessons(), read_progress()
    rows = []
    for lesson in course.lesson_names(shipped):
        solved, learner = shipped / "solutions" / f"{lesson}.ipynb", shipped / f"{lesson}.ipynb"
        # In a clone the learner's notebook may have been changed; a copy without solutions has no other.
        notebook = course.load_notebook(solved if solved.exists() else learner)
        rows.append(lesson_progress(lesson, notebook, outcomes))
    return rows


def count_points(lessons: Sequence[LessonProgress]) -> tuple[int, int]:
    """The points earned in these lessons, and those that there are."""
    exercises = [exercise for lesson in lessons for exercise in lesson.exercises]
    earned = sum(exercise.points for exercise in exercises if exercise.state == "correct")
    return earned, sum(exercise.points for exercise in exercises)


def points_words(lessons: Sequence[LessonProgress]) -> str:
    """Such as "3 of 4 points"."""
    earned, total = count_points(lessons)
    return f"{earned} of {total} point{'' if total == 1 else 's'}"
