"""The parts of grading. (Whole notebooks are graded in test_misbehaving.py and test_classroom.py.)"""

import csv
import json
import os
import subprocess
import sys
import time

import pytest
from graded import CORRECT, LESSON, RIGHT, STUBS, cell_of, grade, notebook_with, outcomes, running, said
from wrong_answers import wrong_answers

from lorakit.course import notebook_text
from lorakit.errors import LorakitError
from lorakit.grading import sandbox
from lorakit.grading.grade import culprit_of, grade_notebook
from lorakit.grading.graded_copy import graded_copy
from lorakit.grading.needs import Names, imports, names, needed_cells
from lorakit.grading.report import Grade, Report, table, write_csv, write_json
from lorakit.grading.submission import read_lesson, same_code, shadowed

# ----------------------------------------------------------------------------------------------- needs


@pytest.mark.parametrize(
    ("begun", "ended", "culprit"),
    [
        ([], {}, None),
        (["7.1", "7.2"], {"check-7-1": None, "ex-7-2": None}, "7.2"),  # its check was not reached
        (["7.1", "7.2"], {"check-7-1": None, "check-7-2": "time"}, "7.2"),
        (["7.1", "7.2"], {"check-7-1": None, "check-7-2": None, "training-2": "time"}, None),  # the course's own cell
        (["7.1", "7.2"], {"check-7-1": None, "check-7-2": None}, None),
    ],
)
def test_an_exercise_that_is_over_is_not_blamed_for_what_comes_after(begun, ended, culprit):
    assert culprit_of(begun, {cell: {"why": why} for cell, why in ended.items()}) == culprit


@pytest.mark.parametrize(
    ("source", "bound", "used"),
    [
        ("x = 1", {"x"}, set()),
        ("x = x + y", {"x"}, {"x", "y"}),
        ("y = 1\nx = y", {"x", "y"}, set()),
        ("import torch\ntorch.ones(n)", {"torch"}, {"n"}),
        ("import os.path as p, sys\nfrom a import b as c", {"p", "sys", "c"}, set()),
        ("def f(a, b=d):\n    local = a + outer\n    return local", {"f"}, {"outer", "d"}),
        ("class C(Base):\n    x = y", {"C"}, {"Base", "y"}),
        ("[i for i in xs if i > low]", set(), {"xs", "low"}),
        ("d = {k: [f(v, w) for w in v] for k, v in pairs}", {"d"}, {"f", "pairs"}),
        ("s = {i for i in xs} | {(last := j) for j in xs}", {"s", "last"}, {"xs"}),
        ("def f():\n    global g\n    g = 1", {"f", "g"}, set()),
        ("for a, b in pairs:\n    print(a)", {"a", "b"}, {"pairs", "a", "print"}),
        ("with open(p) as f:\n    text = f.read()", {"f", "text"}, {"open", "p", "f"}),
        ("%time x = y\n!ls {folder}", set(), {"get_ipython"}),
        ("await thing()", set(), {"thing"}),
        ("def f(:", set(), set()),
        ("x = " + " + ".join("1" for _ in range(2000)), set(), set()),  # too deep to be written out
    ],
)
def test_names(source, bound, used):
    assert names(source) == Names(frozenset(bound), frozenset(used))


def test_imports():
    code = "import torch.nn.functional as F, os.path\nfrom lorakit.checks.lesson00 import check_a as c, check_b\nx = 1"
    assert imports(code) == {
        "F": "import torch.nn.functional as F",
        "os": "import os.path",
        "c": "from lorakit.checks.lesson00 import check_a as c",
        "check_b": "from lorakit.checks.lesson00 import check_b",
    }
    assert imports("import (") == {}


def test_needed_cells_are_the_last_that_bind_each_name_and_what_these_need():
    cells = ["a = 1", "b = 2", "a = b", "train(a)", "c = a", "d = missing", "use(c)", "c = 9"]
    assert needed_cells(cells, [6]) == ([1, 2, 4, 6], [])
    assert needed_cells(cells, [3, 5]) == ([1, 2, 3, 5], [])
    assert needed_cells(cells, []) == ([], [])


def test_of_a_cell_that_imports_the_import_alone_is_needed():
    cells = ["import torch, math\ntrain()", "m = math.pi", "torch.ones(m)"]
    assert needed_cells(cells, [2]) == ([1, 2], ["import math", "import torch"])
    assert needed_cells(["import math", "math = 3", "math"], [2]) == ([1, 2], [])


@pytest.mark.parametrize("lesson", ["07", "10"])
def test_a_lesson_that_trains_is_graded_without_training(lesson):
    lesson = read_lesson(lesson)
    copy = graded_copy(lesson, {number: exercise.solution for number, exercise in lesson.exercises.items()}, "")
    assert not [cell for cell in copy.cells if "show_training(" in cell.source or "load_model(" in cell.source]
    assert [cell for cell in lesson.notebook.cells if "show_training(" in cell.source]
    uses = {"7.3": "def mended_and_broken(truth, before, after):\n    return history.losses"}
    if lesson.name.startswith("07"):  # what the training made is made when it is used
        assert [cell for cell in graded_copy(lesson, uses, "").cells if "show_training(" in cell.source]


def test_every_lessons_reference_answers_are_graded_correct(tmp_path):
    for name in ("07", "10"):
        lesson = read_lesson(name)
        file = tmp_path / f"{name}.ipynb"
        file.write_text(notebook_text(lesson.notebook))  # the solved notebook, handed in
        report = grade_notebook(file, lesson)
        assert report.points == report.out_of > 0, table(report)
        assert report.notes == []


# ------------------------------------------------------------------------------------------ graded copy


def test_check_cells_keep_counts_and_references_that_end_in_the_seal():
    copy = graded_copy(LESSON, {"0.2": "mine = 1"}, " [abc]")
    assert [cell.id for cell in copy.cells if cell.id.startswith(("ex-", "check-"))] == ["ex-0-2", "check-0-2"]
    check = copy.cells[-1]
    assert check.execution_count
    assert [output.text for output in check.outputs] == ["Exercise 0.2: correct. [abc]\n"]
    assert "nbval-check-output" in check.metadata.tags
    assert [cell.source for cell in copy.cells if cell.id == "ex-0-2"] == ["mine = 1"]
    assert all(not cell.outputs for cell in copy.cells[:-1])
    assert cell_of(json.loads(json.dumps(LESSON.notebook)), "check-0-2")["outputs"][0]["text"].endswith("correct.\n")


def test_without_its_count_nbval_passes_a_check_that_fails(tmp_path):
    """Why a solved notebook without counts is refused: nbval's own doing, with the very copy that is graded."""
    copy = graded_copy(LESSON, {"0.2": "next_token_probability = len"}, " [abc]")
    for count, status in ((3, 1), (None, 0)):
        check = copy.cells[-1]
        check.execution_count, check.outputs = count, check.outputs if count else []
        check.source = "print('FAIL')"
        path = tmp_path / "copy.ipynb"
        path.write_text(json.dumps(copy))
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--nbval-lax",
            "--nbval-current-env",
            "-c",
            os.devnull,
            str(path),
        ]
        assert subprocess.run(command, capture_output=True, cwd=tmp_path).returncode == status


def test_a_solved_notebook_without_reference_outputs_is_refused(tmp_path):
    solved = json.loads(json.dumps(LESSON.notebook))
    (tmp_path / "solutions").mkdir()
    (tmp_path / "00_start_here.ipynb").write_text("")
    for key, value in (("execution_count", None), ("outputs", [])):
        cell = cell_of(solved, "check-0-2")
        kept, cell[key] = cell[key], value
        (tmp_path / "solutions" / "00_start_here.ipynb").write_text(json.dumps(solved))
        with pytest.raises(LorakitError, match=r"the check of exercise 0\.2 has no reference output"):
            read_lesson("00", tmp_path)
        cell[key] = kept


# ------------------------------------------------------------------------------------------- submission


def test_code_is_the_same_whatever_the_white_space_at_its_ends():
    assert same_code("\na = 1  \nb = 2\n\n", "a = 1\nb = 2")
    assert not same_code("a = 1\n b = 2", "a = 1\nb = 2")


def test_shadowed_names():
    exercise = LESSON.exercises["0.2"]
    for answer, found in [
        ("torch = 1", ["torch"]),
        ("import torch", []),
        ("import numpy as torch", ["torch"]),
        ("mine = 1", []),
        ("check_next_token_probability = len", ["check_next_token_probability"]),
        ("import lorakit.checks.lesson00 as c\nc.check_logits_shape = len", ["check_logits_shape"]),
        ("def f(:", []),
    ]:
        assert shadowed(answer, exercise, LESSON) == found, answer


# ----------------------------------------------------------------------------------------------- report

REPORT = Report(
    "07_lora_finetune",
    "ada/07.ipynb",
    [
        Grade("7.1", 2, 2, "correct", "", 0.25),
        Grade("7.2", 0, 3, "incorrect", "=SUM(A1) was returned.\nTry again.", 1.5),
    ],
    ["A note."],
    9.0,
    "ada",
)


def test_table():
    assert table(REPORT).splitlines() == [
        "ada: 07_lora_finetune   ada/07.ipynb",
        "exercise   points  outcome        seconds",
        "7.1           2/2  correct            0.2",
        "7.2           0/3  incorrect          1.5",
        "    =SUM(A1) was returned.",
        "    Try again.",
        "total         2/5                     9.0",
        "    note: A note.",
    ]


def test_csv_has_a_row_an_exercise_and_no_formula_in_it(tmp_path):
    write_csv([REPORT], tmp_path / "class.csv")
    sentence = "'=SUM(A1) was returned. Try again. [A note.]"
    rows = list(csv.reader((tmp_path / "class.csv").open(encoding="utf-8", newline="")))
    assert rows == [
        ["learner", "lesson", "exercise", "points", "out_of", "outcome", "sentence", "seconds", "file"],
        ["ada", "07_lora_finetune", "7.1", "2", "2", "correct", "[A note.]", "0.2", "ada/07.ipynb"],
        ["ada", "07_lora_finetune", "7.2", "0", "3", "incorrect", sentence, "1.5", "ada/07.ipynb"],
    ]


def test_json_has_all_and_a_total(tmp_path):
    write_json([REPORT, REPORT], tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (written["points"], written["out_of"]) == (4, 10)
    assert written["lessons"][0]["grades"][1]["sentence"] == "=SUM(A1) was returned.\nTry again."
    assert written["lessons"][0]["points"] == 2
    with pytest.raises(LorakitError, match=r"could not be written .*: name another file"):
        write_json([REPORT], tmp_path / "no folder" / "report.json")


# ---------------------------------------------------------------------------------------------- sandbox


def sandboxed(code, tmp_path, seconds=20.0, memory_bytes=2**40):
    command = [sys.executable, "-c", code]
    ending = sandbox.run(
        command, tmp_path, tmp_path / "log", dict(os.environ), seconds=seconds, memory_bytes=memory_bytes
    )
    return ending, (tmp_path / "log").read_text()


def test_a_command_ends_itself_or_by_time_or_by_memory(tmp_path):
    assert sandboxed("print('hello')", tmp_path) == ("itself", "hello\n")
    began = time.monotonic()
    assert sandboxed("while True: pass", tmp_path, seconds=1)[0] == "time"
    assert sandboxed("x = b'x' * 2**29\nwhile True: pass", tmp_path, memory_bytes=2**28)[0] == "memory"
    assert time.monotonic() - began < 15


def test_whatever_a_command_started_ends_with_it(tmp_path):
    sleep = "[sys.executable, '-c', 'import time; time.sleep(600)']"
    code = f"import subprocess, sys; subprocess.Popen({sleep}, start_new_session=True)"
    began = time.monotonic()
    assert sandboxed(code, tmp_path)[0] == "itself"
    assert time.monotonic() - began < 15
    assert not running("time.sleep(600)")


# ------------------------------------------------------------------------- wrong answers, the whole way


@pytest.mark.parametrize("place", [0, -1])
def test_wrong_answers_go_the_whole_way(place, tmp_path):
    wrong = {number: wrong_answers(number)[place] for number in LESSON.exercises}
    report = grade(notebook_with({number: answer.source for number, answer in wrong.items()}), tmp_path)
    assert set(outcomes(report).values()) == {(0, "incorrect")}
    for number, answer in wrong.items():
        assert answer.message in said(report, number)


def test_untouched_stubs_are_not_attempted_and_nothing_is_run(tmp_path):
    began = time.monotonic()
    report = grade(notebook_with(STUBS), tmp_path)
    assert set(outcomes(report).values()) == {(0, "not attempted")}
    assert time.monotonic() - began < 1
    touched = {number: stub + "\n\nmine = 1" for number, stub in STUBS.items()}
    assert set(outcomes(grade(notebook_with(touched), tmp_path)).values()) == {(0, "not attempted")}


def test_all_right(tmp_path):
    report = grade(notebook_with(RIGHT), tmp_path)
    assert outcomes(report) == CORRECT
    assert report.notes == []
    assert said(report) == "\n" * (len(RIGHT) - 1)
