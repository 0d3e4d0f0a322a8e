"""Memory handed back that is no longer needed, and files written whole or not at all."""

import contextlib
import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path

from lorakit.errors import LorakitError


def release_memory() -> None:
    """Collect garbage, and hand its pages back: glibc keeps what was freed.

    A lesson loads one model after another in one process, and that adds up.
    """
    gc.collect()
    _tell_glibc("malloc_trim", 0)


M_MMAP_THRESHOLD = -3
"""What glibc's malloc.h calls the size from which a block is mapped by itself."""
LARGE_BLOCK = 2**20
"""Bytes: what is smaller stays in glibc's keeping, since to map a block takes time."""


def return_large_blocks() -> None:
    """Have glibc map each block of 1 MiB or more by itself for good, so that its pages go back once it is freed.

    Left alone, glibc raises that size to what it sees freed, 32 MiB at most, and then keeps what tensors leave behind.
    What that takes: tests/bench/records/freed_blocks.json.
    """
    if "MALLOC_MMAP_THRESHOLD_" not in os.environ:  # a size of the user's own stands
        _tell_glibc("mallopt", M_MMAP_THRESHOLD, LARGE_BLOCK)


def _tell_glibc(function: str, *arguments: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such call
        getattr(ctypes.CDLL("libc.so.6"), function)(*arguments)


def write_whole(
    path: Path, write: Callable[[Path], object], way_out: str = "make room on its disk, or name another folder"
) -> None:
    """Write a file beside its place and move it there, whole or not at all.

    Raises:
        LorakitError: the system refused; it says why, and `way_out`.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        write(temporary)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch.save turns a full disk into a RuntimeError
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise LorakitError(
            f"'{path}' could not be written ({getattr(error, 'strerror', None) or error}): {way_out}."
        ) from error
