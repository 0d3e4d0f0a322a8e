"""Peak memory and time of the solved lessons, each run from top to bottom in a fresh kernel: do they fit on Binder?

    python tests/bench/lesson_memory.py [NOTEBOOK ...] [--output FILE]

Without a name, all of `lessons/solutions/`. The memory is what the kernel and its children have resident, looked at
every 50 ms, pages that they share counted twice; and the kernel's own high-water mark, for what comes and goes in
between. (A fine-tune sets that mark back, to measure itself, so it is read again and again too.) Exits with 1 where a
lesson takes more than 1.7 GiB: Binder gives 2, and Jupyter itself needs some. No notebook is written to.
"""

import argparse
import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import psutil
from machine import GIB, RECORDS, ROOT, provenance, refuse_existing, write_record

from lorakit.errors import LorakitError
from lorakit.finetune.machine import high_water_mark

sys.path.append(str(ROOT / "lessons"))  # the lessons' workshop is a folder of scripts, as this is
from outputs import client_of

LEVEL_GIB = 1.7
INTERVAL = 0.05


@dataclass
class Peak:
    """The most memory of a kernel, by the cell that ran when it was seen."""

    cell: str = "(start)"
    seen: dict[str, int] = field(default_factory=dict)

    @contextlib.contextmanager
    def watch(self, pid: int) -> Iterator[None]:
        """Look every 50 ms, in a thread, until the block is over."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(INTERVAL):
                self.seen[self.cell] = max(self.seen.get(self.cell, 0), memory_of(pid))

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    @property
    def highest(self) -> tuple[str, int]:
        """Cell and bytes."""
        return max(self.seen.items(), key=lambda item: item[1])


def memory_of(pid: int) -> int:
    """Resident bytes of a process and its children, or its high-water mark where that is more."""
    resident = peak = 0
    with contextlib.suppress(psutil.Error):
        kernel = psutil.Process(pid)
        for process in (kernel, *kernel.children(recursive=True)):
            with contextlib.suppress(psutil.Error):  # a child that has just ended
                resident += process.memory_info().rss
    with contextlib.suppress(OSError):  # not Linux, or the kernel is gone
        peak = high_water_mark(pid)
    return max(resident, peak)


def measure(path: Path) -> dict:
    """Run a notebook in a fresh kernel of this Python, in an empty folder, and watch it."""
    peak = Peak()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as watching:
        client = client_of(
            nbformat.read(path, as_version=4),
            folder,
            on_notebook_start=lambda notebook: watching.enter_context(peak.watch(client.km.provisioner.pid)),
            on_cell_execute=lambda cell, cell_index: setattr(peak, "cell", cell.id),
        )
        start = time.perf_counter()
        client.execute()
        seconds = time.perf_counter() - start
    cell, highest = peak.highest
    return {"lesson": path.stem, "peak_gib": round(highest / GIB, 3), "seconds": round(seconds, 1), "cell": cell}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, record; 1 where a lesson is over the level."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebooks", type=Path, nargs="*", metavar="NOTEBOOK")
    parser.add_argument("--output", type=Path, default=RECORDS / "lesson_memory.json")
    options = parser.parse_args(arguments)
    refuse_existing(options.output)
    notebooks = options.notebooks or sorted((ROOT / "lessons" / "solutions").glob("*.ipynb"))
    if not notebooks:
        raise LorakitError("lessons/solutions holds no notebook: run `python lessons/build.py` first.")
    record = {**provenance(), "level_gib": LEVEL_GIB, "lessons": []}
    print(record["machine"]["summary"])
    print(f"{'lesson':<28}{'peak GiB':>9}{'seconds':>9}  most memory in cell")
    for path in notebooks:
        lesson = measure(path)
        record["lessons"].append(lesson)
        over = "  OVER THE LEVEL" if lesson["peak_gib"] > LEVEL_GIB else ""
        print(
            f"{lesson['lesson']:<28}{lesson['peak_gib']:>9.2f}{lesson['seconds']:>9.1f}  {lesson['cell']}{over}",
            flush=True,
        )
    write_record(options.output, record)
    return int(any(lesson["peak_gib"] > LEVEL_GIB for lesson in record["lessons"]))


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except LorakitError as error:
        raise SystemExit(f"lesson_memory: {error}") from None
