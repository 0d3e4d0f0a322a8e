"""The page that `lorakit lab` opens at: the map of the course, with how far the learner is on it."""

from collections.abc import Sequence
from pathlib import Path

from lorakit.course import MAP_PAGE, MAP_PICTURE, TERMS, notebook_text
from lorakit.progress import LessonProgress, count_points, course_progress, points_words

MARKS = {"correct": "✓", "tried": "◐", "not tried": "○"}


def map_text(lessons: Sequence[LessonProgress]) -> str:
    """The page in markdown: the picture, the lesson to go on with, and a row for each lesson."""
    rows = [f"| [{_title(lesson)}]({lesson.name}.ipynb) | {_marks(lesson)} | {_points(lesson)} |" for lesson in lessons]
    return f"""# The course, and how far you are

**{points_words(lessons)}.** {_go_on(lessons)}

![The model from text to logits, with the lesson that opens each part]({MAP_PICTURE})

| lesson | exercises | points |
|---|---|---|
{chr(10).join(rows)}

{", ".join(f"{mark} {state}" for state, mark in MARKS.items())}. In a lesson, `progress()` shows the same at any time.
A word that you forgot? See the [index of terms]({TERMS}). (`lorakit lab` writes this page anew each time it starts:
keep no notes of yours in it.)
"""


def write_map(folder: Path) -> Path:
    """Write the page into a folder of lessons, as a notebook of one cell: JupyterLab shows its text drawn, not typed.

    Raises:
        OSError: the folder cannot be written.
    """
    from nbformat.v4 import new_markdown_cell, new_notebook

    cell = new_markdown_cell(map_text(course_progress()), id="course-map")
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    page = folder / MAP_PAGE
    page.write_text(notebook_text(new_notebook(cells=[cell], metadata=kernel)), encoding="utf-8")
    return page


def _go_on(lessons: Sequence[LessonProgress]) -> str:
    """The first lesson that has points to earn."""
    for lesson in lessons:
        earned, total = count_points([lesson])
        if earned < total:
            word = "Go on with" if count_points(lessons)[0] else "Start with"
            return f"{word} [{_title(lesson)}]({lesson.name}.ipynb)."
    return "All of it is done."


def _title(lesson: LessonProgress) -> str:
    return f"{lesson.number} · {lesson.title}"


def _marks(lesson: LessonProgress) -> str:
    return " ".join(f"{MARKS[exercise.state]}&nbsp;{exercise.number}" for exercise in lesson.exercises)


def _points(lesson: LessonProgress) -> str:
    return points_words([lesson]) if lesson.exercises else "no exercises"
