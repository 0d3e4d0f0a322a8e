"""That memory which was freed leaves the process."""

import subprocess
import sys

import pytest

PROBE = """
import psutil, torch
from lorakit.housekeeping import release_memory

kept = [torch.ones(250_000) for _ in range(300)]  # 1 MB each, 300 MB; every tenth one stays
torch.ones(7_500_000)  # once something this large is freed, glibc takes smaller ones from its heap
kept += [torch.ones(250_000) for _ in range(300)]
kept = kept[::10]
before = psutil.Process().memory_info().rss
cycle = []
cycle.append((cycle, torch.ones(25_000_000)))
del cycle
release_memory()
print(before - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library here may be another one than glibc")
def test_freed_pages_go_back_and_cycles_are_collected():
    shown = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert int(shown.stdout) > 150 * 2**20


def test_another_c_library_is_no_error(monkeypatch):
    from lorakit import housekeeping

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(housekeeping.ctypes, "CDLL", missing)
    housekeeping.release_memory()


PROBE_BLOCKS = """
import sys, psutil, torch
from lorakit.housekeeping import return_large_blocks

if sys.argv[1] == "returned":
    return_large_blocks()
large = torch.ones(7_500_000)  # 30 MB: what glibc sees freed, it no longer maps by itself
del large
kept = [torch.ones(500_000) for _ in range(150)][::10]  # 2 MB each
print(psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library here may be another one than glibc")
def test_freed_tensors_go_back_at_once():
    command = [sys.executable, "-c", PROBE_BLOCKS]
    kept, returned = (
        int(subprocess.run([*command, blocks], capture_output=True, text=True, check=True).stdout)
        for blocks in ("kept", "returned")
    )
    assert kept - returned > 150 * 2**20


def test_a_size_of_the_users_own_stands(monkeypatch):
    from lorakit import housekeeping

    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "4096")
    monkeypatch.setattr(housekeeping.ctypes, "CDLL", lambda name: pytest.fail("nothing is to be set"))
    housekeeping.return_large_blocks()
