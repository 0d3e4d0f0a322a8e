"""How long grading takes: a fast lesson beyond the time of its cells, and the notebooks of a class.

    python tests/bench/grading.py [--output FILE]

The lesson is 00. Levels: at most 10 s beyond the cells' own time, and 5 minutes for 30 notebooks on 2 cores. A third of
the class has all right, a third has untouched and wrong answers among right ones, and the rest wrong ones only. Ends
with 1 where a level is missed.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from machine import RECORDS, ROOT, provenance, refuse_existing, write_record

sys.path += [str(ROOT / "tests"), str(ROOT / "lessons")]  # the answers are those of the tests

from graded import LESSON, RIGHT, STUBS, notebook_with
from wrong_answers import wrong_answers

from lorakit.errors import LorakitError
from lorakit.grading.classroom import grade_class
from lorakit.grading.grade import grade_file

LEARNERS = 30
LEVEL_OVERHEAD_S, LEVEL_CLASS_S = 10, 300


def answers_of(learner: int) -> dict[str, str]:
    """A third of the class has all right, a third a mixture, a third all wrong."""
    wrong = {number: answers[learner % len(answers)].source for number in RIGHT if (answers := wrong_answers(number))}
    first, second, third = RIGHT
    mixture = {first: RIGHT[first], second: wrong[second], third: STUBS[third]}
    return (RIGHT, mixture, wrong)[learner % 3]


def one_lesson(folder: Path) -> dict[str, float]:
    """Seconds of `grade_file` on a notebook with every answer right, and of the exercises' own cells."""
    file = folder / f"{LESSON.name}.ipynb"
    file.write_text(json.dumps(notebook_with(RIGHT)))
    began = time.perf_counter()
    report = grade_file(file)
    seconds = time.perf_counter() - began
    cells = sum(grade.seconds for grade in report.grades)
    if report.points != report.out_of:
        raise LorakitError(f"right answers earned {report.points} of {report.out_of} points: see `lorakit grade`.")
    return {"seconds": round(seconds, 1), "cells": round(cells, 1), "beyond": round(seconds - cells, 1)}


def a_class(folder: Path) -> dict[str, float]:
    """Seconds of `grade_class` on LEARNERS notebooks."""
    for learner in range(LEARNERS):
        text = json.dumps(notebook_with(answers_of(learner)))
        (folder / f"learner{learner:02}_{LESSON.name}.ipynb").write_text(text)
    began = time.perf_counter()
    reports = grade_class(folder, on_report=lambda report: print(report.learner, report.points, flush=True))
    seconds = time.perf_counter() - began
    all_right = sum(report.points == report.out_of > 0 for report in reports)
    if all_right != LEARNERS // 3:
        raise LorakitError(f"{all_right} learners earned all points, not {LEARNERS // 3}: see `lorakit grade --class`.")
    return {"learners": LEARNERS, "seconds": round(seconds, 1)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, record; returns 1 where a level is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=RECORDS / "grading.json")
    options = parser.parse_args(arguments)
    refuse_existing(options.output)
    record = {**provenance("nbval", "pytest", "pytest-xdist")}
    print(record["machine"]["summary"])
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        record |= {"one_lesson": one_lesson(Path(first)), "class": a_class(Path(second))}
    print("one lesson", record["one_lesson"], "class", record["class"])
    write_record(options.output, record)
    return int(record["one_lesson"]["beyond"] > LEVEL_OVERHEAD_S or record["class"]["seconds"] > LEVEL_CLASS_S)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LorakitError as error:
        raise SystemExit(f"grading: {error}") from None
