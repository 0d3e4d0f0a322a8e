"""Hints, one more at each call, and solutions."""

import importlib
from collections import Counter

from lorakit.checks.frame import EXERCISES, Exercise
from lorakit.course import about_cell, load_notebook, solved_notebook
from lorakit.errors import LorakitError

_given: Counter[str] = Counter()


def find_exercise(number: str) -> Exercise:
    """What the checks know of an exercise.

    Raises:
        LorakitError: there is no such exercise.
    """
    number = str(number)  # 7.1 is as good as "7.1"
    lesson = number.partition(".")[0]
    if lesson.isdigit():
        try:
            importlib.import_module(f"lorakit.checks.lesson{int(lesson):02}")
        except ModuleNotFoundError as error:
            if error.name != f"lorakit.checks.lesson{int(lesson):02}":
                raise
    if number not in EXERCISES:
        known = [exercise for exercise in EXERCISES if exercise.partition(".")[0] == lesson]
        example = f"in lesson {lesson} there are {', '.join(known)}" if known else 'write it like hint("7.1")'
        raise LorakitError(f"There is no exercise {number!r}: {example}.")
    return EXERCISES[number]


def hint(number: str) -> None:
    """Print one more hint for an exercise, such as `hint("7.1")`: each says more than the one before."""
    exercise = find_exercise(number)
    number, hints = exercise.number, exercise.hints
    given = _given[number] = min(_given[number] + 1, len(hints))
    print(f"Hint {given} of {len(hints)}: {hints[given - 1]}")
    if given == len(hints):
        print(f'There is no further hint; solution("{number}") shows an answer.')


def solution(number: str) -> None:
    """Print an answer to an exercise, such as `solution("7.1")`: the lines of the lesson's solved notebook.

    Raises:
        LorakitError: there is no such exercise, or this copy of the course has no solutions.
    """
    number = find_exercise(number).number
    solved = load_notebook(solved_notebook(number.partition(".")[0]))
    answers = [cell.source for cell in solved.cells if about_cell(cell).get("exercise") == number]
    print(answers[0])
