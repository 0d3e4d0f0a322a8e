"""The index of terms, English and Chinese: `lessons/terms.md`, made from the lessons and `source/terms.csv`.

The table says what a term is in a few words; where it is explained, the lessons say: there it stands in **bold**.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from lorakit.errors import LorakitError

HEAD = """\
# Index of terms

Each term, in English and in Chinese (中文), where the course explains it: there it stands in bold. Made by
`python lessons/build.py` from the lessons.

| term | 中文 | in a few words | explained in |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Term:
    """A row of the table."""

    term: str
    chinese: str
    explanation: str


def read_terms(path: Path) -> list[Term]:
    """The terms of a table, in the order of the alphabet.

    Raises:
        LorakitError: a row is not whole, or a term stands there twice.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [str(row["term"]).lower() for row in rows]
    for row, name in zip(rows, names, strict=True):
        if set(row) != {"term", "chinese", "explanation"} or not all(row.values()):
            raise LorakitError(f"{path.name}: the row of {row['term']!r} wants a term, its Chinese and an explanation.")
        if names.count(name) > 1:
            raise LorakitError(f"{path.name}: {row['term']!r} stands there twice: remove one.")
    return sorted((Term(**row) for row in rows), key=lambda term: term.term.lower())


def index_text(terms: Sequence[Term], lessons: Mapping[str, NotebookNode]) -> str:
    """The index in markdown; the lessons by name, in their order.

    Raises:
        LorakitError: a term stands in bold in no lesson.
    """
    rows = [(term, *explained_in(term, lessons)) for term in terms]
    return HEAD + "".join(
        f"| {term.term} | {term.chinese} | {term.explanation} | [{lesson[:2]}]({lesson}.ipynb) · {section} |\n"
        for term, lesson, section in rows
    )


def explained_in(term: Term, lessons: Mapping[str, NotebookNode]) -> tuple[str, str]:
    """The lesson, and the heading in it, below which a term first stands in bold."""
    bold = re.compile(rf"(?<!`)\*\*`?{re.escape(term.term)}`?s?\*\*", re.IGNORECASE)
    for name, notebook in lessons.items():
        section = ""
        for cell in notebook.cells:
            if cell.cell_type != "markdown":
                continue
            for paragraph in cell.source.split("\n"):
                if heading := re.match(r"#{1,6} (.+)", paragraph):
                    section = heading[1].removeprefix(f"{name[:2]} · ")
            if bold.search(" ".join(cell.source.split())):
                return name, section
    raise LorakitError(f"terms.csv: {term.term!r} stands in bold in no lesson: explain it in one, as **{term.term}**.")
