"""Numbers as the explorers write them; `static/explorer.js` has the same four, and a test compares the two."""

import math

UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def count(number: int) -> str:
    """1234567 -> "1,234,567"."""
    return f"{number:,}"


def size(size_bytes: int) -> str:
    """1858776 -> "1,858,776 bytes (1.77 MiB)"."""
    for unit, unit_bytes in UNITS:
        if size_bytes >= unit_bytes:
            return f"{size_bytes:,} bytes ({fixed(size_bytes / unit_bytes, 2)} {unit})"
    return f"{size_bytes:,} bytes"


def number(value: float) -> str:
    """At most six significant digits, with none to spare: 2.0 -> "2"."""
    return f"{value:g}"


def fixed(value: float, digits: int) -> str:
    """`digits` digits after the point; a tie goes up, as in JavaScript, and not to the even one."""
    return f"{math.floor(value * 10**digits + 0.5) / 10**digits:.{digits}f}"
