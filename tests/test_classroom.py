"""A class's notebooks, graded side by side, and the `lorakit grade` command."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from graded import CORRECT, LESSON, RIGHT, STUBS, notebook_with, outcomes, said

from lorakit.errors import LorakitError
from lorakit.grading.classroom import find_submissions, grade_class

POINTS = sum(points for points, _ in CORRECT.values())


def hand_in(path: Path, notebook: dict | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(notebook if isinstance(notebook, str) else json.dumps(notebook))


def lorakit(*arguments, cwd):
    command = [sys.executable, "-m", "lorakit", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"})


def test_whose_a_notebook_is(tmp_path):
    for name in [
        "ada/00_start_here.ipynb",
        "bob_00_start_here.ipynb",
        "cleo/week 1/07_lora_finetune.ipynb",
        "dan.ipynb",
    ]:
        hand_in(tmp_path / name, "")
    hand_in(tmp_path / "ada" / ".ipynb_checkpoints" / "00_start_here-checkpoint.ipynb", "")
    hand_in(tmp_path / "00_start_here.ipynb", "")
    for name in [  # what else is in a learner's folder of lessons
        "ada/solutions/00_start_here.ipynb",
        "ada/course_map.ipynb",
        "ada/00_start_here-2026-11-28-101500.ipynb",
        "__MACOSX/ada/._00_start_here.ipynb",
    ]:
        hand_in(tmp_path / name, "")
    found = {str(each.file.relative_to(tmp_path)): each.learner for each in find_submissions(tmp_path)}
    assert found == {
        "00_start_here.ipynb": "00_start_here",
        "ada/00_start_here.ipynb": "ada",
        "bob_00_start_here.ipynb": "bob",
        "cleo/week 1/07_lora_finetune.ipynb": "cleo",
        "dan.ipynb": "dan",
    }


def test_a_folder_without_notebooks_is_named(tmp_path):
    with pytest.raises(LorakitError, match=r"There is no notebook \(\*\.ipynb\) in '.*': give the folder"):
        find_submissions(tmp_path)
    with pytest.raises(LorakitError, match="is not a folder"):
        find_submissions(tmp_path / "nothing")


def test_one_learners_failure_touches_no_others_score(tmp_path):
    """Beside right answers: a killed grader, an endless loop, no notebook, stubs, another lesson, an unknown one."""
    kill_all = (
        "import os, signal, psutil\nfor parent in psutil.Process().parents()[:-1]:\n"
        "    if 'pytest' in ' '.join(parent.cmdline()) and parent.pid != os.getpid():\n"
        "        os.kill(parent.pid, signal.SIGKILL)\n        break\n"
    )
    for learner, notebook in {
        "ada": notebook_with(RIGHT),
        "bob": notebook_with(RIGHT | {"0.1": kill_all}),
        "cleo": notebook_with(RIGHT | {"0.3": "while True: pass"}),
        "dan": "not a notebook",
        "eve": notebook_with(STUBS),
        "zoe": notebook_with(RIGHT),
    }.items():
        hand_in(tmp_path / learner / "00_start_here.ipynb", notebook)
    hand_in(tmp_path / "fay.ipynb", "{}")
    seen = []
    reports = grade_class(tmp_path, timeout=30, on_report=lambda report: seen.append(report.learner))
    by_learner = {report.learner: report for report in reports}
    assert sorted(seen) == sorted(by_learner) == ["ada", "bob", "cleo", "dan", "eve", "fay", "zoe"]
    assert outcomes(by_learner["ada"]) == outcomes(by_learner["zoe"]) == CORRECT
    assert outcomes(by_learner["bob"]) == CORRECT | {"0.1": (0, "incorrect")}
    assert outcomes(by_learner["cleo"]) == CORRECT | {"0.3": (0, "incorrect")}
    assert set(outcomes(by_learner["dan"]).values()) == {(0, "not graded")}
    assert set(outcomes(by_learner["eve"]).values()) == {(0, "not attempted")}
    assert "Nothing says which lesson" in said(by_learner["fay"])


def test_the_command_grades_lessons_of_which_one_is_broken(tmp_path):
    hand_in(tmp_path / "00_start_here.ipynb", notebook_with(RIGHT))
    hand_in(tmp_path / "07_lora_finetune.ipynb", "not a notebook")
    done = lorakit("grade", "--json", "report.json", cwd=tmp_path)
    assert done.returncode == 1
    assert f" {POINTS}/{POINTS} " in done.stdout
    assert "is not a Jupyter notebook" in done.stdout
    written = json.loads((tmp_path / "report.json").read_text())
    assert {"00_start_here", "07_lora_finetune"} <= {lesson["lesson"] for lesson in written["lessons"]}
    assert written["points"] == POINTS


def test_the_command_ends_with_0_where_all_is_right(tmp_path):
    hand_in(tmp_path / "mine" / "00_start_here.ipynb", notebook_with(RIGHT))
    done = lorakit("grade", "mine/00_start_here.ipynb", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "grading mine/00_start_here.ipynb …\n")
    assert done.stdout.count("correct") == len(RIGHT)


def test_the_command_grades_a_class(tmp_path):
    hand_in(tmp_path / "class" / "ada_00_start_here.ipynb", notebook_with(RIGHT))
    hand_in(tmp_path / "class" / "bob_00_start_here.ipynb", notebook_with(STUBS))
    done = lorakit("grade", "--class", "class", "--csv", "class.csv", cwd=tmp_path)
    assert done.returncode == 1
    assert sorted(done.stderr.splitlines()) == [
        f"ada: 00_start_here   {POINTS}/{POINTS}",
        f"bob: 00_start_here   0/{POINTS}",
    ]
    rows = list(csv.DictReader((tmp_path / "class.csv").open()))
    assert [(row["learner"], row["exercise"], row["points"], row["outcome"]) for row in rows] == [
        *[("ada", number, str(points), "correct") for number, (points, _) in CORRECT.items()],
        *[("bob", number, "0", "not attempted") for number in CORRECT],
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["grade", "99"], "There is no lesson '99': choose from"),
        (["grade", "--class", "class", "00"], "leave out '00'"),
        (["grade", "--class", "nowhere"], "'nowhere' is not a folder"),
        (["grade", "gone.ipynb"], "There is no notebook 'gone.ipynb'"),
        (["grade", "--class", "class", "--csv", "no/out.csv"], "'no/out.csv' could not be written"),
    ],
)
def test_a_wrong_call_is_one_sentence(arguments, said, tmp_path):
    done = lorakit(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_help_warns():
    done = lorakit("grade", "--help", cwd=".")
    assert "Grading runs the code of the notebooks it is given" in " ".join(done.stdout.split())
    assert done.returncode == 0


def test_an_interrupted_class_keeps_what_was_graded(tmp_path):
    for number in range(4):
        hand_in(tmp_path / f"learner{number}_00_start_here.ipynb", notebook_with(RIGHT))

    keys = iter([KeyboardInterrupt])

    def stop(report):
        for key in keys:  # once, as a person would
            raise key

    began = time.monotonic()
    reports = grade_class(tmp_path, on_report=stop)
    done = [report for report in reports if report.lesson]
    assert 1 <= len(done) < 4
    assert all(report.points == POINTS for report in done)
    lost = [report for report in reports if not report.lesson]
    assert "The run ended before this notebook" in said(lost[0])
    assert time.monotonic() - began < 60
    assert LESSON.name == done[0].lesson
