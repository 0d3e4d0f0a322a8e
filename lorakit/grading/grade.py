"""Grade a learner's notebook. Read `grade_notebook` first."""

import builtins
import json
import math
import os
import secrets
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lorakit.course import cell_id, lesson_of, notebook_text
from lorakit.errors import LorakitError
from lorakit.grading import plugin, sandbox
from lorakit.grading.graded_copy import graded_copy
from lorakit.grading.needs import imports, names, plain_python
from lorakit.grading.report import CORRECT, INCORRECT, NOT_ATTEMPTED, NOT_GRADED, Grade, Report
from lorakit.grading.submission import (
    Exercise,
    Lesson,
    Submission,
    read_lesson,
    read_submission,
    same_code,
    shadowed,
)

TIMEOUT = 600.0
"""Seconds that a learner's notebook may take."""
MEMORY_BYTES = 4 * 2**30
"""Memory that all processes of a learner's notebook may hold together."""
GRACE = 20.0
"""Seconds that a run may take beyond its cells' limits: to start a kernel, and to end it."""


@dataclass(frozen=True)
class Run:
    """What came of one run of a graded copy."""

    ended: Mapping[str, Mapping[str, Any]]
    """What is recorded of each cell that came to an end, by its id."""
    culprit: str | None
    """The exercise that ended the run early, the last that was begun and not over; None where none of them did."""
    why: str | None
    """Why the run ended early: "time", "memory", "kernel", "flood" or "grader"; None where it did not."""
    sentence: str
    """The same, as it is said of the culprit."""
    words: str
    """The last line that the run itself printed."""


def grade_file(path: Path, lesson: str | None = None, *, learner: str = "", **options: Any) -> Report:
    """Grade a notebook of a lesson, or of the lesson that it says it is of; the options are `grade_notebook`'s."""
    try:
        solved = read_lesson(lesson or lesson_of(path))
    except LorakitError as error:
        return not_graded(path, learner, str(error))
    return grade_notebook(path, solved, learner=learner, **options)


def not_graded(path: Path, learner: str, why: str) -> Report:
    """The report on a notebook of which not even the lesson is known."""
    return Report("", str(path), [Grade("", 0, 0, NOT_GRADED, why)], learner=learner)


def grade_notebook(
    path: Path,
    lesson: Lesson,
    *,
    timeout: float = TIMEOUT,
    memory_bytes: float = MEMORY_BYTES,
    threads: int | None = None,
    learner: str = "",
) -> Report:
    """Grade the exercises of a lesson in a learner's notebook, which is only ever read.

    All answers run in one copy of the solved lesson. What one of them may have done to another is undone by a second
    run, alone: so is every exercise that a crash or a timeout left without an outcome, and every one that failed after
    another's answer had run.

    Args:
        timeout: seconds for the whole notebook, shared out evenly among the exercises that are attempted.
        threads: how many torch may use; None leaves that to torch.
    """
    began = time.monotonic()
    report = Report(lesson.name, str(path), [], learner=learner)
    try:
        submission = read_submission(path, lesson)
    except LorakitError as error:
        report.grades = [_grade(exercise, NOT_GRADED, str(error)) for exercise in lesson.exercises.values()]
        return report
    grades, attempted = _without_running(submission, lesson)
    limit = timeout / max(1, len(attempted))
    options = {"limit": limit, "memory_bytes": memory_bytes, "threads": threads}
    if attempted:
        run = run_copy(lesson, attempted, seconds=timeout + GRACE, **options)
        grades |= _verdicts(run, lesson, list(attempted))
        for number in _to_run_alone(list(attempted), grades):
            left = began + timeout + 2 * GRACE - time.monotonic()
            if left > 0:
                run = run_copy(lesson, {number: attempted[number]}, seconds=min(left, limit + GRACE), **options)
                grades |= _verdicts(run, lesson, [number])
            else:
                said = f"The {timeout:.0f} s for this notebook were used up before it: give more with `--timeout`."
                grades[number] = _grade(lesson.exercises[number], NOT_GRADED, said)

    report.grades = [_explained(grades[number], submission, lesson) for number in lesson.exercises]
    report.notes = submission.notes + _more_notes(report.grades, submission, attempted, lesson)
    report.seconds = time.monotonic() - began
    return report


def _without_running(submission: Submission, lesson: Lesson) -> tuple[dict[str, Grade], dict[str, str]]:
    """The exercises that are decided by looking at them, and the answers that must be run."""
    grades, attempted = {}, {}
    for number, exercise in lesson.exercises.items():
        answer = submission.answers.get(number)
        if answer is None or same_code(answer, exercise.stub):
            grades[number] = _grade(exercise, NOT_ATTEMPTED)
            continue
        try:
            plain_python(answer)
            attempted[number] = answer
        except SyntaxError as error:
            line = f" in line {error.lineno}: {(error.text or '').strip()}" if error.lineno else ""
            said = f"The cell is no Python ({error.msg}{line})"
            grades[number] = _grade(exercise, INCORRECT, said)
    return grades, attempted


def _to_run_alone(attempted: Sequence[str], grades: Mapping[str, Grade]) -> list[str]:
    """The exercises that were not reached, and those that failed after another's answer had run."""
    failed = {number for number in attempted[1:] if number in grades and grades[number].outcome == INCORRECT}
    return [number for number in attempted if number not in grades or number in failed]


def run_copy(
    lesson: Lesson,
    answers: Mapping[str, str],
    *,
    seconds: float,
    limit: float,
    memory_bytes: float,
    threads: int | None,
) -> Run:
    """Run answers in a graded copy, in a scratch folder and a process group of their own.

    Args:
        seconds: for the whole run.
        limit: seconds for the two cells of each exercise.
    """
    with tempfile.TemporaryDirectory(prefix="lorakit-grade-", ignore_cleanup_errors=True) as scratch:
        root = Path(scratch)
        work, record, log = root / "work", root / "record.jsonl", root / "log.txt"
        for folder in (work, root / "data", root / "tmp"):
            folder.mkdir()
        seal = f" [{secrets.token_hex(8)}]"
        (work / "lesson.ipynb").write_text(notebook_text(graded_copy(lesson, answers, seal)), encoding="utf-8")
        (root / "pytest.ini").write_text("[pytest]\n")
        command = [*sandbox.cut_off(), *plugin.command("lesson.ipynb", record, limit, root / "pytest.ini")]
        ending = sandbox.run(
            command, work, log, _environment(root, threads), seconds=seconds, memory_bytes=memory_bytes
        )
        events = _events(record)
        words = log.read_text(errors="replace").strip()[-300:].splitlines()
    begun = [event["exercise"] for event in events if event["event"] == "start" and event["exercise"]]
    ended = {event["cell"]: event for event in events if event["event"] == "end"}
    why = next((end["why"] for end in ended.values() if end["why"]), None) if ending == "itself" else ending
    if why is None and any(cell not in ended for number in answers for cell in _two_cells(number)):
        why = "grader"
    culprit = culprit_of(begun, ended) if why else None
    return Run(ended, culprit, why, _why_stopped(why, limit, memory_bytes), words[-1] if words else "")


def culprit_of(begun: Sequence[str], ended: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The exercise in whose cells a run came to its early end; None where that was in a cell of the course's own."""
    if not begun:
        return None
    check = ended.get(cell_id("check", begun[-1]))
    return None if check and not check["why"] else begun[-1]


def _environment(root: Path, threads: int | None) -> dict[str, str]:
    """This process's environment, with nothing of the user's own set-up that would reach into the run."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "LORAKIT_CLASS_"))
    }
    environment |= {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "LORAKIT_DATA": str(root / "data"),
        "TMPDIR": str(root / "tmp"),
        "IPYTHONDIR": str(root / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(root / "runtime"),
        "JUPYTER_CONFIG_DIR": str(root / "config"),
    }
    if sandbox.cut_off():
        environment |= {sandbox.CUT_OFF: "1", "HF_HUB_OFFLINE": "1"}
    if threads:
        environment |= {"OMP_NUM_THREADS": str(threads)}
    return environment


def _events(record: Path) -> list[dict]:
    events = []
    for line in record.read_text().splitlines() if record.exists() else []:
        try:
            events.append(json.loads(line))
        except ValueError:
            break  # the run was killed in the middle of a line
    return events


def _two_cells(number: str) -> tuple[str, str]:
    return cell_id("ex", number), cell_id("check", number)


def _verdicts(run: Run, lesson: Lesson, numbers: Sequence[str]) -> dict[str, Grade]:
    """The grades that a run of these exercises decides; none for one that it did not get to, if it had company."""
    grades, alone = {}, len(numbers) == 1
    own_cells = {cell for number in numbers for cell in _two_cells(number)}
    broken = [cell for cell, end in run.ended.items() if cell not in own_cells and not end["passed"]]
    for number in numbers:
        exercise = lesson.exercises[number]
        answer, check = (run.ended.get(cell) for cell in _two_cells(number))
        if number == run.culprit:
            grades[number] = _grade(exercise, INCORRECT, run.sentence, answer, check)
        elif check is not None:
            grades[number] = _verdict(exercise, answer, check)
            if broken and alone and grades[number].outcome == INCORRECT:
                why = run.ended[broken[0]]["evalue"]
                said = f"The course's own cell `{broken[0]}` failed ({why}): run `lorakit doctor`."
                grades[number] = _grade(exercise, NOT_GRADED, said, answer, check)
        elif alone:
            said = f"The run ended before this exercise ({run.why}): {run.words}"
            grades[number] = _grade(exercise, NOT_GRADED, said)
    return grades


def _verdict(exercise: Exercise, answer: Mapping[str, Any] | None, check: Mapping[str, Any]) -> Grade:
    """What a check that came to its end decides."""
    if check["passed"]:
        return _grade(exercise, CORRECT, "", answer, check)
    if check["said"].startswith(f"Exercise {exercise.number}: not attempted"):
        return _grade(exercise, NOT_ATTEMPTED, "", answer, check)
    if check["ename"] == "CheckFailed":
        return _grade(exercise, INCORRECT, check["evalue"], answer, check)
    if check["ename"] == "NameError" and not (answer and answer["ename"]):
        for name in names(exercise.solution).bound:
            if f"'{name}'" in check["evalue"]:
                said = f"After its cell there is no `{name}`: keep that name, and let the cell run to its end."
                return _grade(exercise, INCORRECT, said, answer, check)
    said = f"The check did not end as it must. It said: {check['said'] or 'nothing'}"
    for cell in (check, answer):  # what the answer's own cell raised comes first
        if cell and cell["ename"]:
            said = f"The code stopped with {cell['ename']}: {cell['evalue']}"
    return _grade(exercise, INCORRECT, said, answer, check)


def _why_stopped(why: str | None, limit: float, memory_bytes: float) -> str:
    return {
        "time": f"It ran longer than its {limit:.0f} s, and was stopped: is there a loop that never ends?",
        "memory": f"It held more than {memory_bytes / 2**30:.1f} GiB of memory, and was stopped.",
        "flood": "It printed more than 10 MB, and was stopped.",
        "kernel": "It ended the kernel: by a crash, `os._exit` or `exit()`, or for want of memory.",
    }.get(why or "", "It ended the grader's own process.")


def _grade(exercise: Exercise, outcome: str, sentence: str = "", *cells: Mapping[str, Any] | None) -> Grade:
    points = exercise.points if outcome == CORRECT else 0
    seconds = math.fsum(cell["seconds"] for cell in cells if cell)
    return Grade(exercise.number, points, exercise.points, outcome, sentence, seconds)


def _explained(grade: Grade, submission: Submission, lesson: Lesson) -> Grade:
    """A grade whose sentence also says what the notebook itself shows: a cell that is gone, a helper elsewhere."""
    sentences = [submission.sentences.get(grade.exercise, "")]
    if grade.outcome in (INCORRECT, NOT_GRADED) and (answer := submission.answers.get(grade.exercise)):
        sentences += [
            f"It leans on `{name}`, which {submission.elsewhere[name]} defines: only exercise cells are graded, so "
            "define it in this one."
            for name in leans_on(answer, grade.exercise, submission, lesson)
        ]
    sentence = "\n".join(filter(None, [*sentences, grade.sentence]))
    return replace(grade, sentence=sentence)


def leans_on(answer: str, number: str, submission: Submission, lesson: Lesson) -> list[str]:
    """Names that an answer uses and that only the learner's own other cells or files define."""
    known = set(dir(builtins)) | {"get_ipython", "display"}
    for cell in lesson.notebook.cells:
        if cell.get("id") == cell_id("ex", number):
            break
        if cell.cell_type == "code":
            known |= names(cell.source).bound
    modules = {statement.split()[1].partition(".")[0] for statement in imports(answer).values()}
    used = names(answer).used | modules
    return sorted(name for name in used - known if name in submission.elsewhere)


def _more_notes(
    grades: Iterable[Grade], submission: Submission, attempted: Mapping[str, str], lesson: Lesson
) -> list[str]:
    """What is worth saying about answers that reach beyond their own cell, and about stored outputs."""
    notes = [
        f"Exercise {number} makes something else of {', '.join(f'`{name}`' for name in taken)}: the other exercises "
        "were graded without that."
        for number, answer in attempted.items()
        if (taken := shadowed(answer, lesson.exercises[number], lesson))
    ]
    for grade in grades:
        if grade.exercise in submission.claimed and grade.outcome != CORRECT:
            notes.append(
                f"The stored output of exercise {grade.exercise} says correct; run afresh, it is {grade.outcome}."
            )
    return notes
