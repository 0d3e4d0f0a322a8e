"""What grading found: as a table for a person, as JSON and as CSV for a program."""

import csv
import json
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO

from lorakit.errors import LorakitError

CORRECT, INCORRECT, NOT_ATTEMPTED, NOT_GRADED = "correct", "incorrect", "not attempted", "not graded"


@dataclass(frozen=True)
class Grade:
    """One exercise of one learner."""

    exercise: str
    points: int
    """Earned: all or nothing."""
    out_of: int
    outcome: str
    """`correct`, `incorrect`, `not attempted` or `not graded`."""
    sentence: str = ""
    """What the check said, or what happened."""
    seconds: float = 0.0
    """Of the exercise's own two cells."""


@dataclass
class Report:
    """One lesson of one learner."""

    lesson: str
    file: str
    grades: list[Grade]
    notes: list[str] = field(default_factory=list)
    """What else is worth knowing about the notebook."""
    seconds: float = 0.0
    """For the whole of it."""
    learner: str = ""

    @property
    def points(self) -> int:
        """All points earned."""
        return sum(grade.points for grade in self.grades)

    @property
    def out_of(self) -> int:
        """All points there are."""
        return sum(grade.out_of for grade in self.grades)

    def as_dict(self) -> dict:
        """For JSON."""
        return asdict(self) | {"points": self.points, "out_of": self.out_of}


def table(report: Report) -> str:
    """A report for a person: a line an exercise, what was said below it, and the total."""
    who = f"{report.learner}: " if report.learner else ""
    lines = [f"{who}{report.lesson}   {report.file}", f"{'exercise':<10}{'points':>7}  {'outcome':<14}{'seconds':>8}"]
    for grade in report.grades:
        points = f"{grade.points}/{grade.out_of}"
        lines.append(f"{grade.exercise:<10}{points:>7}  {grade.outcome:<14}{grade.seconds:>8.1f}")
        lines += _indented(grade.sentence)
    points = f"{report.points}/{report.out_of}"
    lines.append(f"{'total':<10}{points:>7}  {'':<14}{report.seconds:>8.1f}")
    return "\n".join([*lines, *(line for note in report.notes for line in _indented(note, "note: "))])


def _indented(text: str, start: str = "") -> list[str]:
    lines = [line for line in text.splitlines() if line.strip()]
    return [
        wrapped
        for number, line in enumerate(lines)
        for wrapped in textwrap.wrap(line, 100, initial_indent="    " + start * (number == 0), subsequent_indent="    ")
    ]


def write_json(reports: Sequence[Report], path: Path) -> None:
    """All reports and the total, as JSON."""
    text = json.dumps(
        {
            "points": sum(report.points for report in reports),
            "out_of": sum(report.out_of for report in reports),
            "lessons": [report.as_dict() for report in reports],
        },
        indent=2,
        ensure_ascii=False,
    )
    _write(path, lambda file: file.write(text + "\n"))


def write_csv(reports: Sequence[Report], path: Path) -> None:
    """A row for each exercise of each learner."""
    head = ["learner", "lesson", "exercise", "points", "out_of", "outcome", "sentence", "seconds", "file"]
    rows = [
        (
            *(report.learner, report.lesson, grade.exercise, grade.points, grade.out_of, grade.outcome),
            " ".join([*grade.sentence.split(), *(f"[{note}]" for note in report.notes)]),
            *(f"{grade.seconds:.1f}", report.file),
        )
        for report in reports
        for grade in report.grades
    ]
    _write(path, lambda file: csv.writer(file).writerows([head, *([_plain(value) for value in row] for row in rows)]))


def _plain(value: object) -> object:
    """Text that no spreadsheet takes for a formula: a learner's own words get into the sentences."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t") else value


def check_writable(path: Path) -> None:
    """Raise LorakitError where a report could not be written: asked before a class is graded, not after."""
    _write(path, lambda file: None, mode="a")


def _write(path: Path, write: Callable[[TextIO], object], mode: str = "w") -> None:
    try:
        # backslashreplace: the name of a file need not be UTF-8
        with path.open(mode, encoding="utf-8", errors="backslashreplace", newline="") as file:
            write(file)
    except OSError as error:
        raise LorakitError(f"'{path}' could not be written ({error.strerror}): name another file.") from error
