"""LoRA's figure, to scale: a frozen matrix, and the two thin ones beside it."""

from IPython.display import HTML

from lorakit.errors import LorakitError
from widgets import words
from widgets.style import BLUE, GREY, ORANGE
from widgets.svg import svg_image

WIDTH, HEIGHT = 760, 430
LONGEST = 170
"""Pixels of the widest matrix, and of B above A."""


def show_lora(in_features: int, out_features: int, r: int) -> HTML:
    """W (out x in) and, beside it, A (r x in) and B (out x r), in the same scale; raises LorakitError for no sizes."""
    for name, value in {"in_features": in_features, "out_features": out_features, "r": r}.items():
        if type(value) is not int or value < 1:
            raise LorakitError(f"{name} is {value!r}: it is a whole number of at least 1.")
    share = r * (in_features + out_features) / (in_features * out_features)
    alt = (
        f"x, with {in_features} numbers, goes through W ({out_features} by {in_features}, frozen) and through A "
        f"({r} by {in_features}) and then B ({out_features} by {r}), both trained; what they make is multiplied by "
        f"alpha / r and added. A and B have {words.fixed(100 * share, 1)} % of W's weights."
    )
    return HTML(svg_image(lora_svg(in_features, out_features, r).encode(), WIDTH, alt))


def lora_svg(in_features: int, out_features: int, r: int) -> str:
    """The drawing. x comes from below, y leaves above; a matrix is as wide as its input and as high as its output."""
    scale = LONGEST / max(in_features, out_features + r)
    wide, high, thin = (max(2.0, scale * size) for size in (in_features, out_features, r))
    left, right, bottom, top = 190, 480, 350, 60
    w_top = (bottom + top - high) / 2
    a_top, b_bottom = bottom - 40 - thin, bottom - 80 - thin
    scaled = f"× alpha / {r}"
    parts = [
        _box(left - wide / 2, w_top, wide, high, GREY, f"W: {out_features} × {in_features}", "frozen", 0),
        _box(right - wide / 2, a_top, wide, thin, ORANGE, f"A: {r} × {in_features}", "random at first", 1),
        _box(right - thin / 2, b_bottom - high, thin, high, BLUE, f"B: {out_features} × {r}", "zero at first", 1),
        _line(left, bottom, left, w_top + high),
        _line(left, w_top, left, top + 12),
        _line(left, bottom, right, bottom),
        _line(right, bottom, right, a_top + thin),
        _line(right, a_top, right, b_bottom),
        _line(right, b_bottom - high, right, top),
        _line(right, top, left + 12, top, arrow=True),
        _line(left, bottom + 30, left, bottom),
        _line(left, top - 12, left, top - 34, arrow=True),
        f'<circle cx="{left}" cy="{top}" r="12" fill="#fff" stroke="#111" stroke-width="1.5"/>',
        _text(left, top + 5, "+"),
        _text(left, bottom + 48, f"x: {in_features} numbers"),
        _text(left + 16, top - 22, f"y: {out_features} numbers", "start"),
        _text((left + right) / 2, top - 8, scaled),
        _text(
            WIDTH / 2,
            HEIGHT - 6,
            f"to scale: W has {words.count(in_features * out_features)} weights, A and B together "
            f"{words.count(r * (in_features + out_features))}",
        ),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="system-ui, sans-serif" font-size="14" fill="#111"><defs><marker id="tip" viewBox="0 0 8 8" '
        f'refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#fff"/>{"".join(parts)}</svg>'
    )


def _box(x: float, y: float, width: float, height: float, colour: str, name: str, note: str, beside: int) -> str:
    """A matrix, its name and a note: inside it, or `beside` it to the right."""
    at, anchor = (x + width + 10, "start") if beside else (x + width / 2, "middle")
    drawn = (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}" fill-opacity="0.35" '
    )
    drawn += f'stroke="{colour}" stroke-width="1.5"/>'
    return drawn + _text(at, y + height / 2 - 3, name, anchor) + _text(at, y + height / 2 + 15, note, anchor)


def _line(x1: float, y1: float, x2: float, y2: float, arrow: bool = False) -> str:
    tip = ' marker-end="url(#tip)"' if arrow else ""
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#111" stroke-width="1.5" fill="none"{tip}/>'


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
