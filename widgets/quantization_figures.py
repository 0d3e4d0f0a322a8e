"""Number formats in one picture: a box for each bit, and what range and steps the bits make."""

from dataclasses import dataclass

import torch
from IPython.display import HTML

from widgets.style import BLUE, GREEN, GREY, ORANGE
from widgets.svg import svg_image

WIDTH, ROW, LEFT, TOP, BOX = 800, 46, 84, 50, 13


@dataclass(frozen=True)
class Format:
    """A number format: its bits by what they are there for, in order, and what to know of it."""

    name: str
    bits: dict[str, int]
    note: str


COLOURS = {"sign": GREY, "exponent": BLUE, "fraction": ORANGE, "number": GREEN, "code": GREEN}
LETTERS = {"sign": "s", "exponent": "e", "fraction": "f", "number": "n", "code": "c"}
"""In each box, since colour is never the only sign."""


def number_formats() -> list[Format]:
    """The formats that weights are kept in; ranges and steps are torch's own."""
    floats = []
    for name, dtype, exponent in (
        ("float32", torch.float32, 8),
        ("bf16", torch.bfloat16, 8),
        ("fp16", torch.float16, 5),
    ):
        info = torch.finfo(dtype)
        bits = {"sign": 1, "exponent": exponent, "fraction": info.bits - 1 - exponent}
        floats.append(Format(name, bits, f"up to {info.max:.3g}; step at 1: {info.eps:.2g}"))
    return [
        *floats,
        Format("int8", {"sign": 1, "number": 7}, "−127 to 127, times a scale that many weights share"),
        Format("fp4", {"sign": 1, "exponent": 2, "fraction": 1}, "15 different levels, times such a scale"),
        Format("nf4", {"code": 4}, "16 levels from a table, times such a scale"),
    ]


def show_number_formats() -> HTML:
    """The picture, for a notebook."""
    said = "; ".join(
        f"{each.name}: {', '.join(f'{count} {part}' for part, count in each.bits.items())} bits, {each.note}"
        for each in number_formats()
    )
    return HTML(svg_image(formats_svg().encode(), WIDTH, said))


def formats_svg() -> str:
    """The drawing: a format a row, a box a bit, one scale for all."""
    formats = number_formats()
    height = TOP + ROW * len(formats) + 8
    parts = [_legend()]
    for row, each in enumerate(formats):
        y, bit = TOP + ROW * row, 0
        parts.append(_text(LEFT - 10, y + 15, each.name, "end"))
        for part, count in each.bits.items():
            for _ in range(count):
                parts.append(_box(LEFT + BOX * bit, y, part))
                bit += 1
        words = f"{bit} bits · {each.note}"
        if bit > 8:  # below its boxes; the short ones have room beside them
            parts.append(_text(LEFT, y + 34, words, "start", 12))
        else:
            parts.append(_text(LEFT + BOX * bit + 12, y + 15, words, "start", 12))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="14" fill="#111">'
        f'<rect width="{WIDTH}" height="{height}" rx="10" fill="#fff"/>{"".join(parts)}</svg>'
    )


def _legend() -> str:
    parts, x = [], LEFT
    for part in ("sign", "exponent", "fraction", "number", "code"):
        meaning = {"number": "whole number", "code": "place in a table"}.get(part, part)
        parts += [_box(x, 14, part), _text(x + BOX + 6, 28, meaning, "start", 12)]
        x += 44 + 8 * len(meaning)
    return "".join(parts)


def _box(x: float, y: float, part: str) -> str:
    colour = COLOURS[part]
    drawn = f'<rect class="{part}" x="{x}" y="{y}" width="{BOX}" height="20" fill="{colour}" fill-opacity="0.3" '
    return f'{drawn}stroke="{colour}"/>' + _text(x + BOX / 2, y + 14, LETTERS[part], "middle", 10)


def _text(x: float, y: float, text: str, anchor: str, size: int = 14) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}">{text}</text>'
