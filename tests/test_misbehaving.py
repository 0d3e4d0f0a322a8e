"""Notebooks that misbehave, graded for real: a complete report in time, no point that was not earned, and a sentence.

In each, one exercise (0.2, the middle one) or the notebook itself does harm, and the others are answered rightly.
"""

import json
import os
import socket
import tempfile
import time
from copy import deepcopy

import pytest
from graded import CORRECT, RIGHT, STUBS, cell_of, grade, notebook_with, outcomes, running, said

from lorakit.grading import sandbox

LIMIT = 18.0  # a third for each exercise
MEMORY = 2**30
PATIENT = "    except BaseException:\n        pass\n"
# What stands in the cell of exercise 0.2, and what the report must say.
HARM = {
    "loops for ever": ("while True:\n    pass", "ran longer than its 6 s"),
    "loops for ever and will not be interrupted": (
        f"while True:\n    try:\n        while True:\n            pass\n{PATIENT}",
        "ran longer than its 6 s",
    ),
    "loops for ever in its function": (
        "def next_token_probability(logits, token_id):\n    while True:\n        pass",
        "ran longer than its 6 s",
    ),
    "holds the interpreter for ever": ("max(iter(int, 1))", "ran longer than its 6 s"),
    "ends the kernel": ("import os\nos._exit(0)", "ended the kernel"),
    "ends the kernel in its function": (
        "import os\ndef next_token_probability(logits, token_id):\n    os._exit(0)",
        "ended the kernel",
    ),
    "crashes": ("import ctypes\nctypes.string_at(0)", "ended the kernel"),
    "kills the grader's own process": (
        "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
        "ended the grader's own process",
    ),
    "eats all memory": ("hoard = []\nwhile True:\n    hoard.append(b'x' * 2**26)", "held more than 1.0 GiB of memory"),
    "calls sys.exit": ("import sys\nsys.exit(3)", "SystemExit: 3"),
    "calls sys.exit in its function": (
        "import sys\ndef next_token_probability(logits, token_id):\n    sys.exit(3)",
        "raised SystemExit: 3",
    ),
    "calls exit": ("exit()", "there is no `next_token_probability`"),
    "floods the output": ("while True:\n    print('x' * 10_000, flush=True)", "printed more than 10 MB"),
    "asks for input": ("input('your name? ')", "StdinNotImplementedError"),
    "has a syntax error": (
        "def next_token_probability(logits, token_id)\n    return 1",
        "no Python (expected ':' in line 1",
    ),
    "has characters that are none": ("x = '\ud800\x00'", "no Python"),
    "nests without end": ("x = " + "(" * 5000, "no Python"),
    "has another cell's indentation": ("  return 1", "no Python"),
    "defines another name": (
        RIGHT["0.2"].replace("next_token_probability", "my_probability"),
        "there is no `next_token_probability`",
    ),
    "prints the line of a correct answer": ("print('Exercise 0.2: correct.')\n" + STUBS["0.2"], ""),
    "overwrites the check": (
        "def check_next_token_probability(answer):\n    print('Exercise 0.2: correct.')\n" + STUBS["0.2"],
        "makes something else of `check_next_token_probability`",
    ),
    "overwrites the check in its module": (
        "import lorakit.checks.lesson00 as lesson\n"
        "lesson.check_next_token_probability = lambda answer: print('Exercise 0.2: correct.')\n" + STUBS["0.2"],
        "makes something else of `check_next_token_probability`",
    ),
    "overwrites what judges": (
        "import lorakit.checks.frame as frame\nframe.judge = frame.same = lambda *given: True\n"
        "def next_token_probability(logits, token_id):\n    return logits[:, 0, 0]",
        "For logits of shape",
    ),
    "overwrites what compares": (
        "import torch\ntorch.allclose = torch.equal = lambda *given, **options: True\n"
        "def next_token_probability(logits, token_id):\n    return logits[:, 0, 0]",
        "For logits of shape",
    ),
    "shadows torch": (
        "torch = 'a torch'\ndef next_token_probability(logits, token_id):\n    return torch.softmax(logits, -1)",
        "makes something else of `torch`",
    ),
    "shadows torch for everybody": (
        "import sys\nsys.modules['torch'] = torch = None\n" + STUBS["0.2"].replace("...", "return 1"),
        "makes something else of `torch`",
    ),
    "shadows the package": (
        "import sys, types\nfor name in list(sys.modules):\n    if name.startswith('lorakit'):\n"
        "        sys.modules[name] = types.ModuleType(name)\n" + STUBS["0.2"].replace("...", "return 1"),
        "",
    ),
    "writes a torch.py beside itself": (
        "open('torch.py', 'w').write('softmax = None')\n" + STUBS["0.2"].replace("...", "return 1"),
        "For logits of shape",
    ),
}


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_running(tmp_path_factory):
    """All is graded below a folder of this module's own: others may be grading, too."""
    folder = str(tmp_path_factory.mktemp("scratch"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", folder)
        yield
    assert not running(folder)


@pytest.mark.parametrize("harm", HARM)
def test_one_exercise_does_harm(harm, tmp_path):
    began = time.monotonic()
    notebook = notebook_with(RIGHT | {"0.2": HARM[harm][0]})
    report = grade(notebook, tmp_path, timeout=LIMIT, memory_bytes=MEMORY, threads=1)
    assert time.monotonic() - began < LIMIT + 60
    assert outcomes(report) | {"0.2": None} == CORRECT | {"0.2": None}
    assert outcomes(report)["0.2"] in ((0, "incorrect"), (0, "not attempted"))
    assert HARM[harm][1] in said(report)


def test_all_exercises_do_harm(tmp_path):
    report = grade(
        notebook_with({"0.1": "import os; os._exit(0)", "0.2": "while True: pass", "0.3": "exit()"}),
        tmp_path,
        timeout=LIMIT,
    )
    assert set(outcomes(report).values()) == {(0, "incorrect")}
    assert "ended the kernel" in said(report, "0.1")
    assert "ran longer" in said(report, "0.2")
    assert "there is no `weights_mib`" in said(report, "0.3")


@pytest.mark.skipif(not sandbox.cut_off(), reason="this system lets nobody take the network from a process")
def test_an_answer_has_no_network(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=5).close()  # here it is
        call = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=5)"
        report = grade(notebook_with(RIGHT | {"0.2": call}), tmp_path)
    assert "ConnectionRefusedError" in said(report, "0.2")
    assert report.points == report.out_of - 2


def test_a_process_that_an_answer_leaves_behind_is_ended(tmp_path):
    leave = (
        "import subprocess, sys\n"
        "left = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(601)'], start_new_session=True)\n"
        "assert left.poll() is None\n"
    )
    report = grade(notebook_with(RIGHT | {"0.2": leave + RIGHT["0.2"]}), tmp_path)
    assert outcomes(report) == CORRECT
    assert not running("time.sleep(601)")


# ------------------------------------------------------------------------------------- the notebook is mauled


def delete_checks(notebook):
    notebook["cells"] = [cell for cell in notebook["cells"] if not cell["id"].startswith("check-")]


def edit_check(notebook):
    cell_of(notebook, "check-0-2")["source"] = ["print('Exercise 0.2: correct.')"]


def store_a_faked_output(notebook):
    cell = cell_of(notebook, "check-0-2")
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["Exercise 0.2: correct.\n"]}]
    cell["execution_count"] = 7


def null_the_counts(notebook):
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["execution_count"] = None


def strip_ids(notebook):
    notebook["nbformat_minor"] = 4
    for cell in notebook["cells"]:
        del cell["id"]


def double_cells(notebook):
    notebook["cells"] = [copy for cell in notebook["cells"] for copy in (cell, deepcopy(cell))]


def double_with_the_stub_last(notebook):
    double_cells(notebook)
    seen = set()
    for cell in notebook["cells"]:
        number = cell["metadata"].get("lorakit", {}).get("exercise")
        if number and number in seen:
            cell["source"] = STUBS[number]
        seen.add(number)


def reverse(notebook):
    notebook["cells"].reverse()


def raise_points(notebook):
    for cell in notebook["cells"]:
        if "lorakit" in cell["metadata"]:
            cell["metadata"]["lorakit"]["points"] = 1000


def age(notebook):
    notebook["metadata"]["lorakit"]["release"] = "0.0.1"


MAULED = {
    delete_checks: "The check cell of exercise 0.2 is gone: the course's own was used.",
    edit_check: "The check cell of exercise 0.2 was changed: the course's own was used.",
    store_a_faked_output: "The stored output of exercise 0.2 says correct; run afresh, it is incorrect.",
    null_the_counts: "For logits of shape",
    strip_ids: "For logits of shape",
    double_cells: "Exercise 0.2 has 2 cells: the last one that is filled in was graded.",
    double_with_the_stub_last: "Exercise 0.2 has 2 cells: the last one that is filled in was graded.",
    reverse: "For logits of shape",
    raise_points: "For logits of shape",
    age: "The notebook is of release 0.0.1, and was graded with",
}
WRONG = "def next_token_probability(logits, token_id):\n    return logits[:, 0, token_id]"


@pytest.mark.parametrize("maul", MAULED, ids=lambda maul: maul.__name__)
def test_the_notebook_is_mauled(maul, tmp_path):
    notebook = notebook_with(RIGHT | {"0.2": WRONG})
    maul(notebook)
    report = grade(notebook, tmp_path, threads=1)
    assert outcomes(report) == CORRECT | {"0.2": (0, "incorrect")}
    assert report.out_of == sum(points for points, _ in CORRECT.values())
    assert MAULED[maul] in said(report)


def test_an_exercise_cell_is_gone(tmp_path):
    notebook = notebook_with(RIGHT)
    notebook["cells"].remove(cell_of(notebook, "ex-0-2"))
    report = grade(notebook, tmp_path)
    assert outcomes(report) == CORRECT | {"0.2": (0, "not attempted")}
    assert "no code cell for this exercise" in said(report, "0.2")


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\xff\xfe\x00", b"[]", b"{}", b'{"cells": 3}', b'{"cells": [1]}', b"[" * 100_000]
)
def test_it_is_no_notebook(content, tmp_path):
    report = grade(content, tmp_path)
    assert set(outcomes(report).values()) == {(0, "not graded")}
    assert "is not a Jupyter notebook" in said(report, "0.1")


def test_it_is_another_lessons_notebook(tmp_path):
    notebook = notebook_with(RIGHT)
    notebook["metadata"]["lorakit"]["lesson"] = "07_lora_finetune"
    report = grade(notebook, tmp_path)
    assert set(outcomes(report).values()) == {(0, "not graded")}
    assert "is the notebook of 07_lora_finetune, not of 00_start_here" in said(report, "0.1")


def test_odd_values_in_it_stop_nothing(tmp_path):
    notebook = notebook_with(RIGHT | {"0.2": STUBS["0.2"]})
    notebook["cells"] += [
        {"cell_type": "code", "source": 7, "metadata": None, "id": None},
        {"cell_type": "code", "source": ["x = ", 1], "metadata": {"lorakit": "mine"}, "outputs": "none"},
        {"source": "no type"},
    ]
    assert outcomes(grade(notebook, tmp_path)) == CORRECT | {"0.2": (0, "not attempted")}


# --------------------------------------------------------------------------------------- helpers elsewhere


def test_an_answer_that_leans_on_another_cell_is_told_so(tmp_path):
    notebook = notebook_with(RIGHT | {"0.2": "def next_token_probability(logits, token_id):\n    return mine(logits)"})
    helper = {"cell_type": "code", "id": "h", "metadata": {}, "outputs": [], "execution_count": 1}
    notebook["cells"].insert(3, helper | {"source": "def mine(logits):\n    return 1"})
    report = grade(notebook, tmp_path)
    assert outcomes(report) == CORRECT | {"0.2": (0, "incorrect")}
    assert "It leans on `mine`, which code cell " in said(report, "0.2")
    assert "`def mine(logits):` defines: only exercise cells are graded" in said(report, "0.2")


def test_an_answer_that_leans_on_a_file_is_told_so(tmp_path):
    (tmp_path / "my_helpers.py").write_text("def mine(logits): ...")
    answer = "from my_helpers import mine\n" + RIGHT["0.2"]
    report = grade(notebook_with(RIGHT | {"0.2": answer}), tmp_path)
    assert outcomes(report) == CORRECT | {"0.2": (0, "incorrect")}
    assert "It leans on `my_helpers`, which the file my_helpers.py beside the notebook defines" in said(report, "0.2")


def test_an_answer_that_breaks_another_costs_the_other_nothing(tmp_path):
    breaks = RIGHT["0.1"] + "\n\nimport torch\ndel torch.Tensor.softmax, torch.softmax\nround = range = None"
    report = grade(notebook_with(RIGHT | {"0.1": breaks}), tmp_path)
    assert outcomes(report)["0.2"] == CORRECT["0.2"]
    assert outcomes(report)["0.3"] == CORRECT["0.3"]


def test_debug_prints_warnings_and_magics_in_a_right_answer_cost_nothing(tmp_path):
    loud = "%matplotlib --list\nimport warnings\nprint('hello')\n" + RIGHT["0.2"].replace(
        ':\n    """', ':\n    print(logits.shape); display(1); warnings.warn("hm")\n    """', 1
    )
    loud = loud.replace("%matplotlib --list", "%time 1 + 1\n!echo hello")
    assert outcomes(grade(notebook_with(RIGHT | {"0.2": loud}), tmp_path)) == CORRECT


def test_grading_leaves_the_progress_alone(tmp_path):
    from lorakit.progress import progress_folder, read_progress

    before = read_progress()
    grade(notebook_with(RIGHT), tmp_path)
    assert read_progress() == before
    assert str(progress_folder()).startswith(os.environ["LORAKIT_DATA"])


def test_json_of_the_whole_way(tmp_path):
    from lorakit.grading.report import write_json

    report = grade(notebook_with(RIGHT | {"0.2": WRONG}), tmp_path)
    write_json([report], tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text())
    assert (written["points"], written["out_of"]) == (report.points, report.out_of)
    assert [grade["outcome"] for grade in written["lessons"][0]["grades"]] == ["correct", "incorrect", "correct"]
