"""Memory that is no longer needed, handed back: a lesson loads one model after another in one process."""

import contextlib
import ctypes
import gc


def release_memory() -> None:
    """Collect garbage, and hand its pages back: glibc keeps what was freed, and that adds up from model to model."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such call
        ctypes.CDLL("libc.so.6").malloc_trim(0)
