"""How far the learner is, in numbers and words, and the page that shows it on the map of the course."""

import re
from pathlib import Path

import pytest

from lorakit.course import MAP_PICTURE, lesson_names, load_notebook, shipped_lessons
from lorakit.course_map import map_text, write_map
from lorakit.progress import ExerciseProgress, LessonProgress, count_points, points_words, record_progress


def lesson(number, *states):
    exercises = [ExerciseProgress(f"{int(number)}.{i}", i, state) for i, state in enumerate(states, start=1)]
    return LessonProgress(f"{number}_name", f"Lesson {number}", exercises)


def test_points_by_hand():
    lessons = [lesson("06", "correct", "tried", "correct"), lesson("07", "not tried")]
    assert count_points(lessons) == (1 + 3, 1 + 2 + 3 + 1)
    assert points_words(lessons) == "4 of 7 points"
    assert points_words(lessons[1:]) == "0 of 1 point"


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ((["not tried"], ["not tried"]), "Start with [06 · Lesson 06](06_name.ipynb)."),
        ((["correct", "tried"], ["not tried"]), "Go on with [06 · Lesson 06](06_name.ipynb)."),
        ((["correct"], ["not tried"]), "Go on with [07 · Lesson 07](07_name.ipynb)."),
        (([], ["not tried"]), "Start with [07 · Lesson 07](07_name.ipynb)."),
        ((["correct"], ["correct"]), "All of it is done."),
    ],
)
def test_the_page_names_the_lesson_to_go_on_with(states, words):
    page = map_text([lesson(number, *each) for number, each in zip(("06", "07"), states, strict=True)])
    assert words in page


def test_the_page_has_a_row_for_each_lesson_with_a_mark_for_each_exercise():
    rows = map_text([lesson("06", "correct", "tried", "not tried"), lesson("07")]).splitlines()
    assert "| [06 · Lesson 06](06_name.ipynb) | ✓&nbsp;6.1 ◐&nbsp;6.2 ○&nbsp;6.3 | 1 of 6 points |" in rows
    assert "| [07 · Lesson 07](07_name.ipynb) |  | no exercises |" in rows
    assert f"]({MAP_PICTURE})" in "".join(rows)


def test_the_page_of_the_real_course_shows_what_is_recorded_and_links_to_what_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("LORAKIT_DATA", str(tmp_path / "data"))
    assert "**0 of " in write_map(tmp_path).read_text(encoding="utf-8")
    record_progress("0.1", "correct")
    page = load_notebook(write_map(tmp_path)).cells[0].source
    assert "✓&nbsp;0.1" in page and "○&nbsp;0.2" in page
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert {f"{name}.ipynb" for name in lesson_names()} < set(links)
    assert [link for link in links if not Path(shipped_lessons(), link).exists()] == []
