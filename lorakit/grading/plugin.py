"""The one module that knows nbval: a pytest plug-in that runs a graded copy and records what came of each cell.

nbval 0.11 compares a cell's outputs with those in the file, which is what grades a check. Three of its ways are
mended here, by a kernel that is watched:

- it waits for a dead kernel until the cell's time is up, and reads on for ever where a cell prints for ever;
- it gives each cell the same time limit;
- after a cell that ran out of time it runs the rest, and marks whatever fails there as expected.

So a cell that ends the kernel, the time or the patience ends the run, and says so in the record.
"""

import json
import os
import sys
import time
from collections import defaultdict, deque
from pathlib import Path
from queue import Empty
from typing import Any

import nbval.plugin
import pytest
from nbval.kernel import RunningKernel

from lorakit.course import about_cell
from lorakit.grading import sandbox

FLOOD_BYTES = 10_000_000


class Ended(Exception):
    """The run cannot go on; `why` is "time", "kernel" or "flood"."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class WatchedKernel(RunningKernel):
    """nbval's kernel, which also sees that it died, that the time is up and that the output is a flood."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.deadline = float("inf")
        self.printed = 0
        self.waiting: deque[dict] = deque()
        super().__init__(*arguments, **options)

    def begin(self, seconds: float) -> None:
        """Start a cell's clock, and its count of printed bytes."""
        self.deadline, self.printed = time.monotonic() + seconds, 0

    def get_message(self, stream: str, timeout: float | None = None) -> dict:
        """Wait for a message of a stream, "shell" or "iopub" (what cells print).

        Raises:
            Ended: the kernel is dead, the cell's time is up, or it printed too much.
            queue.Empty: there was none within `timeout` seconds.
        """
        until = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            if time.monotonic() > self.deadline:
                raise Ended("time")
            # What is printed is read as it comes: the queue is short, and what does not fit in it is lost.
            while (message := self._printed_by_now()) is not None:
                self.waiting.append(message)
            try:
                if stream == "iopub" and self.waiting:
                    return self.waiting.popleft()
                if stream == "shell":
                    return self.kc.get_shell_msg(timeout=0.05)
                time.sleep(0.01)
            except Empty:
                pass
            if not self.is_alive():
                raise Ended("kernel")
            if time.monotonic() > until:
                raise Empty

    def _printed_by_now(self) -> dict | None:
        try:
            message = self.kc.get_iopub_msg(timeout=0)
        except Empty:
            return None
        self.printed += len(str(message["content"]))
        if self.printed > FLOOD_BYTES:
            raise Ended("flood")
        return message


def command(notebook: str, record: Path, seconds: float, ini: Path) -> list[str]:
    """What runs a graded copy under nbval and this plug-in; for `record` and `seconds`, see `pytest_addoption`."""
    plugins = ["-p", __package__, "-p", "nbval.plugin", "-p", __name__]  # the package: see what it leaves out
    nbval_options = ["--nbval-lax", "--nbval-current-env"]
    ours = [f"--lorakit-record={record}", f"--lorakit-seconds={seconds}"]
    return [sys.executable, "-m", "pytest", "-q", "-c", str(ini), *plugins, *nbval_options, *ours, notebook]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where to record, and for how long an exercise's two cells may run together."""
    parser.addoption("--lorakit-record", type=Path, required=True)
    parser.addoption("--lorakit-seconds", type=float, required=True)


def pytest_configure(config: pytest.Config) -> None:
    """Put our kernel in the place of nbval's, and begin the record."""
    nbval.plugin.RunningKernel = WatchedKernel
    if os.environ.get(sandbox.CUT_OFF):
        sandbox.raise_loopback()
    config.stash[_spent] = defaultdict(float)
    config.stash[_record] = config.option.lorakit_record.open("a", encoding="utf-8")


_spent = pytest.StashKey[dict[str, float]]()
_record = pytest.StashKey[Any]()


def _note(item: pytest.Item, **facts: Any) -> None:
    record = item.config.stash[_record]
    record.write(json.dumps({"cell": item.cell.id, "exercise": exercise_of(item.cell)} | facts) + "\n")
    record.flush()


def exercise_of(cell: Any) -> str | None:
    """The exercise whose answer or check a cell is."""
    about = about_cell(cell)
    return about.get("exercise") or about.get("check")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Before a cell runs: start its clock."""
    exercise = exercise_of(item.cell)
    allowed = item.config.option.lorakit_seconds - item.config.stash[_spent][exercise] if exercise else float("inf")
    item.parent.kernel.begin(allowed)
    _note(item, event="start")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Any:
    """After a cell ran: record what came of it, and stop where nothing can follow."""
    yield
    if call.when != "call":
        return
    error = call.excinfo.value if call.excinfo else None
    why = error.why if isinstance(error, Ended) else None
    if why is None and not item.parent.kernel.is_alive():
        why = "kernel"  # nbval has its own ways to find out, some time later
    if exercise := exercise_of(item.cell):
        item.config.stash[_spent][exercise] += call.duration
    raised = next((output for output in item.test_outputs or [] if output.output_type == "error"), {})
    said = "".join(output.text for output in item.test_outputs or [] if output.output_type == "stream")
    _note(
        item,
        event="end",
        passed=error is None,
        why=why,
        ename=raised.get("ename"),
        evalue=raised.get("evalue"),
        said=said[:2000],
        points=about_cell(item.cell).get("points"),
        seconds=call.duration,
    )
    if why:
        item.session.shouldstop = why
