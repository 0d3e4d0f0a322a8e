"""Run All of every lesson, as the learner gets it and solved, in a real JupyterLab: `pytest -m release -s`.

It takes most of an hour, so it is no part of an ordinary run. It tries the Python and the versions of the environment
that it runs in; `.ci/release` makes one for each that counts.
"""

import json
import platform
import re
import time
from datetime import datetime

import pytest
from lab import open_notebook, run_all, saved, wait_until_run
from lesson_memory import LEVEL_GIB, Peak
from machine import GIB, ROOT, provenance, write_record
from outputs import code_cells

from lorakit.course import fresh_notebook, lesson_names, load_notebook, notebook_text, shipped_lessons

pytestmark = [pytest.mark.release, pytest.mark.timeout(1500)]
KINDS = ("learner's", "solved")
SOLUTIONS = shipped_lessons() / "solutions"
PROGRESS_BAR = re.compile(r"[^\n]*\d+%\|[^\n]*|\s+")
"""A line of tqdm's."""


@pytest.fixture(scope="module")
def record():
    """What each notebook took; printed in sum when all is done, and kept in runs/."""
    taken = {**provenance(), "level_gib": LEVEL_GIB, "notebooks": []}
    yield taken
    for kind in KINDS:
        seconds = [each["seconds"] for each in taken["notebooks"] if each["kind"] == kind]
        print(f"\n{len(seconds)} lessons, {kind}: {sum(seconds) / 60:.1f} min on Python {platform.python_version()}")
    file = ROOT / "runs" / f"release-{platform.python_version()}-{datetime.now():%Y-%m-%d-%H%M%S}.json"
    write_record(file, taken)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lesson", lesson_names(SOLUTIONS))
def test_run_all_reaches_the_end_without_an_error_or_a_warning(lesson, kind, server, lab, page, tmp_path, record):
    notebook, solved = tmp_path / f"{lesson}.ipynb", load_notebook(SOLUTIONS / f"{lesson}.ipynb")
    if kind == "solved":
        for cell in code_cells(solved):
            cell.outputs, cell.execution_count = [], None
    notebook.write_text(notebook_text(solved if kind == "solved" else fresh_notebook(solved)), encoding="utf-8")
    open_notebook(page, lab(notebook.name))
    peak, start = Peak(), time.perf_counter()
    with peak.watch(server.kernel_pid()):
        run_all(page)
        wait_until_run(page, seconds=1200)
        seconds = time.perf_counter() - start
    gib = peak.highest[1] / GIB
    taken = {"lesson": lesson, "kind": kind, "seconds": round(seconds, 1), "peak_gib": round(gib, 3)}
    record["notebooks"].append(taken)
    print(f"\n{lesson:24} {kind:10} {seconds:6.1f} s {gib:6.2f} GiB", flush=True)

    cells = code_cells(saved(page, notebook))
    assert [cell.id for cell in cells if not cell.execution_count] == []
    outputs = [(cell.id, output) for cell in cells for output in cell.outputs]
    assert [(cell, output.evalue) for cell, output in outputs if output.output_type == "error"] == []
    said = {cell: PROGRESS_BAR.sub("", output.text) for cell, output in outputs if output.get("name") == "stderr"}
    assert {cell: text for cell, text in said.items() if text} == {}
    assert "Warning" not in json.dumps([output for _, output in outputs if output.output_type == "stream"])
    checks = [output.text for cell, output in outputs if cell.startswith("check-")]
    word = "correct" if kind == "solved" else "not attempted"
    assert [text for text in checks if word not in text] == []
    # A badge's picture that cannot be fetched without a network is no error of ours.
    assert [error for error in page.errors if "net::ERR_" not in error] == []
