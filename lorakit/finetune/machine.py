"""What a long run asks of the machine: to be stopped cleanly, to have its memory measured, to show how far it is."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import psutil
import torch
from tqdm import tqdm


@contextlib.contextmanager
def interrupt_after_step() -> Iterator[threading.Event]:
    """Within it, the first interrupt sets the event that is yielded, and a second one is a KeyboardInterrupt again."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield asked
        return
    earlier = signal.getsignal(signal.SIGINT)

    def ask(signum, frame):
        asked.set()
        print("\nending after this step; interrupt again to end at once")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, earlier)


@contextlib.contextmanager
def measured_peak(device: torch.device) -> Iterator[list[int]]:
    """Yields a list; after the block it holds the peak memory of the block in bytes."""
    peak: list[int] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):  # Linux only: start the peak of this process anew; elsewhere it is lifelong
            Path("/proc/self/clear_refs").write_text("5")
    yield peak
    peak.append(torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _peak_resident_bytes())


def _peak_resident_bytes() -> int:
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return high_water_mark("self")


def high_water_mark(pid: int | str) -> int:
    """Most bytes that a process of Linux had resident since its mark was last set back; 0 where it has just ended.

    (`ru_maxrss` is no substitute: a process inherits that of its parent.)
    """
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:")), 0)


class Bar(Protocol):
    """What shows how far a long job is: as much of tqdm as is used here."""

    def update(self, n: int = 1) -> object: ...
    def set_postfix(self, **values: object) -> object: ...
    def close(self) -> object: ...
    def __enter__(self) -> "Bar": ...
    def __exit__(self, *error: object) -> object: ...


Progress = Callable[[int, str, str], Bar]
"""Makes the bar of a job from its total, what it is, and the unit that is counted."""


def progress_bar(total: int, what: str, unit: str) -> tqdm:
    """A bar of text, which every notebook, terminal and log can show, and which wipes itself when done."""
    return tqdm(total=total, desc=what, unit=unit, leave=False, file=sys.stdout, mininterval=0.5)
