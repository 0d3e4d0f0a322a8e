"""A class's notebooks, graded side by side: one test a submission, run by pytest-xdist (see `grade_class`)."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from lorakit.course import KEPT, MAP_PAGE, lesson_names
from lorakit.errors import LorakitError
from lorakit.grading import sandbox
from lorakit.grading.grade import MEMORY_BYTES, TIMEOUT, grade_file, not_graded
from lorakit.grading.report import Grade, Report
from lorakit.housekeeping import write_whole

PLAN = "LORAKIT_CLASS_PLAN"
ITSELF = Path(__file__)


@dataclass(frozen=True)
class Handed:
    """One notebook that was handed in."""

    learner: str
    file: Path


def find_submissions(folder: Path) -> list[Handed]:
    """Every notebook below a folder, in order, with whose it is.

    `ada/07_lora_finetune.ipynb` and `ada_07_lora_finetune.ipynb` are both ada's. What else a learner's folder of
    lessons holds is left out: solved notebooks, the map, copies that `lorakit reset` kept, and hidden files.

    Raises:
        LorakitError: there is no such folder, or no notebook in it.
    """
    if not folder.is_dir():
        raise LorakitError(f"'{folder}' is not a folder: give the one that the learners' notebooks are in.")
    files = sorted(path for path in folder.rglob("*.ipynb") if _is_handed_in(path.relative_to(folder)))
    if not files:
        raise LorakitError(f"There is no notebook (*.ipynb) in '{folder}': give the folder that the learners' are in.")
    handed = []
    for file in files:
        inner = file.relative_to(folder)
        name = inner.stem
        for lesson in lesson_names():
            name = name.replace(lesson, "").strip("_- ")
        handed.append(Handed(inner.parts[0] if len(inner.parts) > 1 else name or inner.stem, file))
    return handed


def _is_handed_in(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return not (hidden or "solutions" in path.parts or path.name == MAP_PAGE or KEPT.search(path.stem))


def grade_class(
    folder: Path, *, timeout: float = TIMEOUT, on_report: Callable[[Report], None] = lambda report: None
) -> list[Report]:
    """Grade every notebook below a folder, as many at once as there are CPU cores and memory for.

    Args:
        timeout: seconds for each notebook.
        on_report: called with each report as it comes in.

    Returns:
        The reports in the order of `find_submissions`; one that says so for each notebook that could not be graded. A
        KeyboardInterrupt ends the run and keeps the reports that are in.
    """
    handed = find_submissions(folder)
    workers = max(1, min(os.cpu_count() or 1, len(handed), int(psutil.virtual_memory().total // MEMORY_BYTES)))
    reports: dict[int, Report] = {}
    with tempfile.TemporaryDirectory(prefix="lorakit-class-", ignore_cleanup_errors=True) as scratch:
        root = Path(scratch)
        plan = {
            "handed": [[each.learner, str(each.file.absolute())] for each in handed],
            "timeout": timeout,
            "threads": max(1, (os.cpu_count() or 1) // workers),
            "results": str(root),
        }
        (root / "plan.json").write_text(json.dumps(plan))
        (root / "pytest.ini").write_text("[pytest]\n")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "xdist.plugin",
            "-n",
            str(workers),
            "--max-worker-restart=100",
        ]
        command += [f"--rootdir={root}", "-c", str(root / "pytest.ini"), str(ITSELF)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment |= {PLAN: str(root / "plan.json"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

        def collect() -> None:
            for number in set(range(len(handed))) - set(reports):
                if (result := root / f"{number}.json").exists():
                    reports[number] = _report_from(json.loads(result.read_text()), str(handed[number].file))
                    on_report(reports[number])

        with contextlib.suppress(KeyboardInterrupt):
            sandbox.run(
                command,
                root,
                root / "log.txt",
                environment,
                seconds=float("inf"),
                memory_bytes=float("inf"),
                each_tick=collect,
            )
        collect()
    lost = "The run ended before this notebook: grade it again."
    return [reports.get(number) or not_graded(each.file, each.learner, lost) for number, each in enumerate(handed)]


def _report_from(result: dict, file: str) -> Report:
    grades = [Grade(**grade) for grade in result["grades"]]
    return Report(result["lesson"], file, grades, result["notes"], result["seconds"], result["learner"])


def pytest_generate_tests(metafunc) -> None:
    """One test a submission."""
    plan = json.loads(Path(os.environ[PLAN]).read_text())
    metafunc.parametrize("number", range(len(plan["handed"])))


def test_submission(number: int) -> None:
    """Grade one submission; what comes of it is written, not asserted: no learner is a failure of the grader's."""
    plan = json.loads(Path(os.environ[PLAN]).read_text())
    learner, file = plan["handed"][number]
    report = grade_file(Path(file), learner=learner, timeout=plan["timeout"], threads=plan["threads"])
    result = Path(plan["results"]) / f"{number}.json"
    write_whole(result, lambda half: half.write_text(json.dumps(report.as_dict())))
