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
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such call
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place and move it there, whole or not at all."""
    temporary = path.with_name(path.name + ".partial")
    try:
        write(temporary)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch.save turns a full disk into a RuntimeError
        temporary.unlink(missing_ok=True)
        raise LorakitError(
            f"'{path}' could not be written ({error}): make room on its disk, or name another folder."
        ) from error
