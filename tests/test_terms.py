"""The index of terms: made of the lessons, whole, and refused where a term is explained nowhere."""

import re

import build
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from terms import Term, explained_in, index_text, read_terms

from lorakit import LorakitError

TABLE = build.ROOT / "lessons" / "source" / "terms.csv"
RANK = Term("rank", "秩", "How many.")


def lesson(*cells):
    return new_notebook(cells=[new_markdown_cell(cell) for cell in cells])


LESSONS = {
    "05_weights": lesson("# 05 · Weights\n\nThe rank comes later, and `**rank**` in code does not count."),
    "06_lora": lesson("# 06 · LoRA", "## What rank is\n\nA matrix of **rank** 1.", "## Again\n\nThe **rank**."),
}


def test_a_term_is_explained_where_it_first_stands_in_bold():
    assert explained_in(RANK, LESSONS) == ("06_lora", "What rank is")


@pytest.mark.parametrize("words", ["**Rank**", "**ranks**", "**`rank`**", "**rank**`.r`"])
def test_a_capital_a_plural_and_code_do_not_hide_a_term(words):
    assert explained_in(RANK, {"06_lora": lesson(f"# 06 · LoRA\n\n{words} is it.")}) == ("06_lora", "LoRA")


@pytest.mark.parametrize("words", ["rank", "*rank*", "**ranking**", "**low rank**"])
def test_what_is_not_the_term_in_bold_is_no_explanation(words):
    with pytest.raises(LorakitError, match=r"'rank' stands in bold in no lesson: explain it in one, as \*\*rank\*\*"):
        explained_in(RANK, {"06_lora": lesson(f"# 06 · LoRA\n\n{words} is it.")})


def test_code_cells_explain_nothing():
    with pytest.raises(LorakitError, match="in no lesson"):
        explained_in(RANK, {"06_lora": new_notebook(cells=[new_code_cell("# **rank**")])})


def test_a_row_of_the_index():
    rows = index_text([RANK], LESSONS).splitlines()
    assert rows[-1] == "| rank | 秩 | How many. | [06](06_lora.ipynb) · What rank is |"
    assert {row.count("|") for row in rows[-3:]} == {5}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rank,秩,\n", "'rank' wants a term, its Chinese and an explanation"),
        ("rank,秩,How many.,more\n", "'rank' wants a term, its Chinese and an explanation"),
        ("rank,秩,How many.\nRank,秩,Again.\n", "'rank' stands there twice"),
    ],
)
def test_a_table_that_is_not_whole_is_refused(tmp_path, text, words):
    (tmp_path / "terms.csv").write_text(f"term,chinese,explanation\n{text}", encoding="utf-8")
    with pytest.raises(LorakitError, match=words):
        read_terms(tmp_path / "terms.csv")


def test_every_term_of_the_course_is_short_and_has_chinese_that_is_not_only_english():
    terms = read_terms(TABLE)
    assert len(terms) > 90
    assert [term.term for term in terms if len(term.explanation.split()) > 15] == []
    plain = [term.term for term in terms if not re.search(r"[\u4e00-\u9fff]", term.chinese)]
    assert set(plain) <= {"bf16", "DoRA", "GB", "GiB", "PiSSA", "rsLoRA", "softmax", "SwiGLU"}  # their names everywhere


def test_the_index_that_is_there_is_that_of_the_lessons():
    assert (build.ROOT / "lessons" / "terms.md").read_text(encoding="utf-8") == build.fresh_index(build.ROOT)
