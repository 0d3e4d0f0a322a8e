"""How far the learner is: a row for each lesson, a mark for each exercise, and the points earned."""

import math
import textwrap
from collections.abc import Sequence
from html import escape

from IPython.display import HTML

from lorakit.progress import LessonProgress, count_points, course_progress, points_words, progress_folder
from widgets.style import BLUE, GREEN, GREY, ORANGE
from widgets.svg import svg_image

# Each state has its own shape, drawn and not typed: not every font has a tick.
MARKS = {
    "correct": f'<rect width="22" height="22" rx="5" fill="{GREEN}"/><path d="M5.5 11.5 9.5 15.5 16.5 7" fill="none" '
    'stroke="#fff" stroke-width="2.8" stroke-linecap="round" stroke-linejoin="round"/>',
    "tried": f'<rect x="1" y="1" width="20" height="20" rx="4" fill="#fdf1e2" stroke="{ORANGE}" stroke-width="2"/>'
    f'<circle cx="11" cy="11" r="4.5" fill="{ORANGE}"/>',
    "not tried": f'<rect x="1" y="1" width="20" height="20" rx="4" fill="#fff" stroke="{GREY}" stroke-width="1.6"/>',
}
WIDTH, MARGIN, ROW = 820, 24, 40
MARKS_AT, MARK_STEP, MARKS_A_LINE = 380, 76, 4
LONGEST_TITLE = 38
NO_EXERCISES = "no exercises"


def progress_words(lessons: Sequence[LessonProgress]) -> str:
    """What the picture shows, for those who cannot see it."""
    rows = []
    for lesson in lessons:
        marks = ", ".join(f"{exercise.number} {exercise.state}" for exercise in lesson.exercises)
        rows.append(f"Lesson {lesson.number}: {marks or NO_EXERCISES}")
    return f"{points_words(lessons)}. {'; '.join(rows)}."


def progress_svg(lessons: Sequence[LessonProgress]) -> str:
    """The picture, on a ground of its own: it can be read on a light page and on a dark one."""
    earned, total = count_points(lessons)
    right, inner = WIDTH - MARGIN, WIDTH - 2 * MARGIN
    drawn = [
        f'<text x="{MARGIN}" y="36" font-size="17" font-weight="700">Your progress</text>',
        f'<text x="{right}" y="36" font-size="17" font-weight="700" text-anchor="end">{points_words(lessons)}</text>',
        f'<rect x="{MARGIN}" y="50" width="{inner}" height="8" rx="4" fill="#e5e5e5"/>',
        f'<rect x="{MARGIN}" y="50" width="{inner * earned / max(total, 1):.1f}" height="8" rx="4" fill="{GREEN}"/>',
    ]
    y = 72
    for lesson in lessons:
        drawn += _row(lesson, y)
        y += ROW * max(1, math.ceil(len(lesson.exercises) / MARKS_A_LINE))
        drawn.append(f'<path d="M{MARGIN} {y}H{right}" stroke="#e5e5e5"/>')
    drawn += [_mark(state, MARGIN + 104 * i, y + 14, state) for i, state in enumerate(MARKS)]
    marks = "".join(f'<g id="{_id(state)}">{mark}</g>' for state, mark in MARKS.items())
    height = y + 50
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="15" fill="#111"><defs>{marks}</defs>'
        f'<rect width="{WIDTH}" height="{height}" rx="10" fill="#fff"/>{"".join(drawn)}</svg>'
    )


def progress() -> HTML:
    """Draw how far you are in the course: run this again after an exercise to see it change."""
    lessons = course_progress()
    return HTML(
        svg_image(progress_svg(lessons).encode(), WIDTH, progress_words(lessons))
        + f"<p>Kept in <code>{escape(str(progress_folder()))}</code>; "
        "<code>forget_progress()</code> from <code>lorakit.checks</code> deletes it.</p>"
    )


def _row(lesson: LessonProgress, y: int) -> list[str]:
    title = escape(textwrap.shorten(lesson.title, LONGEST_TITLE, placeholder=" …"))
    base = y + 25
    points = points_words([lesson]) if lesson.exercises else NO_EXERCISES
    drawn = [
        f'<text x="{MARGIN}" y="{base}" font-weight="700" fill="{BLUE}">{escape(lesson.number)}</text>',
        f'<text x="{MARGIN + 34}" y="{base}">{title}</text>',
        f'<text x="{WIDTH - MARGIN}" y="{base}" text-anchor="end">{points}</text>',
    ]
    for i, exercise in enumerate(lesson.exercises):
        line, column = divmod(i, MARKS_A_LINE)
        drawn.append(_mark(exercise.state, MARKS_AT + MARK_STEP * column, y + 9 + ROW * line, exercise.number))
    return drawn


def _mark(state: str, x: int, y: int, label: str) -> str:
    words = f'<text x="{x + 29}" y="{y + 16}" font-size="14">{escape(label)}</text>'
    return f'<use href="#{_id(state)}" x="{x}" y="{y}"/>{words}'


def _id(state: str) -> str:
    return state.replace(" ", "-")
