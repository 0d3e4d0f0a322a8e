"""LoRA's figure, a frozen matrix and two thin ones beside it, and QLoRA's, where it is kept as codes: to scale."""

import torch
from IPython.display import HTML

from lorakit.errors import LorakitError
from lorakit.lora import LoRALinear
from lorakit.quantization import QuantizedLinear
from widgets import words
from widgets.style import BLUE, GREY, ORANGE
from widgets.svg import svg_image

WIDTH, HEIGHT = 760, 430
LONGEST = 170
"""Pixels of the widest matrix, and of B above A."""
TOP, BOTTOM = 60, 350
"""Pixels from above of the line where the two ways meet, and of that where they part."""


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
    left, right = 190, 480
    w_top = (BOTTOM + TOP - high) / 2
    parts = [
        _box(left - wide / 2, w_top, wide, high, GREY, f"W: {out_features} × {in_features}", "frozen", 0),
        *_paths(left, right, w_top, high, in_features, out_features, f"× alpha / {r}"),
        *_adapter(right, wide, high, thin, (in_features, out_features, r), ("random at first", "zero at first")),
        _text(
            WIDTH / 2,
            HEIGHT - 6,
            f"to scale: W has {words.count(in_features * out_features)} weights, A and B together "
            f"{words.count(r * (in_features + out_features))}",
        ),
    ]
    return _page(parts)


def show_qlora(layer: LoRALinear, compute_dtype: torch.dtype = torch.float32) -> HTML:
    """A QLoRA layer by what it keeps: codes and scales, A and B, and W, which is there while it is used.

    Raises:
        LorakitError: a layer that is no LoRALinear around a QuantizedLinear.
    """
    base = getattr(layer, "base_layer", None)
    if not isinstance(layer, LoRALinear) or not isinstance(base, QuantizedLinear):
        raise LorakitError(f"{type(layer).__name__} is no LoRALinear around a QuantizedLinear: pass one that is.")
    codes, scales, weight, adapter = _bytes(layer, compute_dtype)
    r = len(layer.lora_A)
    alt = (
        f"x, with {layer.in_features} numbers, goes through W ({layer.out_features} by {layer.in_features}), and "
        f"through A ({r} by {layer.in_features}) and then B ({layer.out_features} by {r}), both trained. What A and B "
        f"make is multiplied by {words.number(layer.scaling)} and added. W is kept as codes of {words.count(codes)} "
        f"bytes with scales of {words.count(scales)} bytes, and dequantised to {words.count(weight)} bytes of "
        f"{_name(compute_dtype)} only while it is used. A and B have {words.count(adapter)} bytes."
    )
    return HTML(svg_image(qlora_svg(layer, compute_dtype).encode(), WIDTH, alt))


def qlora_svg(layer: LoRALinear, compute_dtype: torch.dtype) -> str:
    """The drawing: as LoRA's, with W made anew from codes and scales; areas are in proportion to bytes."""
    inputs, outputs, r = layer.in_features, layer.out_features, len(layer.lora_A)
    codes, scales, weight, adapter = _bytes(layer, compute_dtype)
    scale = LONGEST / max(inputs, outputs + r)  # pixels a number of 4 bytes; another is as high, and less wide
    wide, high, thin = (max(2.0, scale * size) for size in (inputs, outputs, r))
    codes_wide, scales_wide, w_wide = (max(2.0, scale * each / 4 / outputs) for each in (codes, scales, weight))
    left, right, edge = 300, 525, 40
    w_top = (BOTTOM + TOP - high) / 2
    w_left, scales_left, middle = left - w_wide / 2, edge + codes_wide + 6, w_top + high / 2
    arrow = scales_left + scales_wide + 8
    scale_dtypes = " and ".join(dict.fromkeys(map(_name, _scale_dtypes(layer.base_layer))))
    dtype = _name(layer.lora_A.dtype)
    parts = [
        _rect(edge, w_top, codes_wide, high, GREY),
        _rect(scales_left, w_top, scales_wide, high, GREY),
        _text(edge - 16, w_top - 28, f"scales: {words.count(scales)} bytes,", "start"),
        _text(edge - 16, w_top - 11, scale_dtypes, "start"),
        _text(edge - 16, w_top + high + 20, f"codes: {words.count(codes)} bytes,", "start"),
        _text(edge - 16, w_top + high + 37, f"{_name(layer.base_layer.weight.dtype)}, frozen", "start"),
        _line(arrow, middle, w_left - 3, middle, arrow=True),
        _text((arrow + w_left) / 2, middle - 8, "dequantise"),
        _text((arrow + w_left) / 2, middle + 20, "level × scale"),
        _rect(w_left, w_top, w_wide, high, GREY, dashed=True),
        _text(left + 8, w_top + high + 20, f"W: {outputs} × {inputs},", "start"),
        _text(left + 8, w_top + high + 37, f"{_name(compute_dtype)}, while used", "start"),
        *_paths(left, right, w_top, high, inputs, outputs, f"× alpha / r = {words.number(layer.scaling)}"),
        *_adapter(right, wide, high, thin, (inputs, outputs, r), (f"{dtype}, trained",) * 2),
        _text(
            WIDTH / 2,
            HEIGHT - 6,
            f"areas are bytes; kept: codes and scales {words.count(codes + scales)}, A and B {words.count(adapter)}; "
            f"for a moment: W {words.count(weight)}",
        ),
    ]
    return _page(parts)


def _bytes(layer: LoRALinear, compute_dtype: torch.dtype) -> tuple[int, int, int, int]:
    """Bytes of codes, of scales, of W in `compute_dtype`, and of A and B."""
    quantized = layer.base_layer.quantized
    weight = layer.in_features * layer.out_features * compute_dtype.itemsize
    return quantized.codes.nbytes, quantized.absmax.nbytes, weight, layer.lora_A.nbytes + layer.lora_B.nbytes


def _scale_dtypes(base: QuantizedLinear) -> list[torch.dtype]:
    """The dtypes that scales are kept in, with double quantisation those of their codes first."""
    return [buffer.dtype for buffer in (base.absmax_codes, base.absmax) if buffer is not None]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _page(parts: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="system-ui, sans-serif" font-size="14" fill="#111"><defs><marker id="tip" viewBox="0 0 8 8" '
        f'refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#fff"/>{"".join(parts)}</svg>'
    )


def _paths(
    left: float, right: float, w_top: float, high: float, in_features: int, out_features: int, scaled: str
) -> list[str]:
    """How x gets to y through W at `left`; and what leads to A and from B at `right`."""
    return [
        _line(left, BOTTOM, left, w_top + high),
        _line(left, w_top, left, TOP + 12),
        _line(left, BOTTOM, right, BOTTOM),
        _line(right, TOP, left + 12, TOP, arrow=True),
        _line(left, BOTTOM + 30, left, BOTTOM),
        _line(left, TOP - 12, left, TOP - 34, arrow=True),
        f'<circle cx="{left}" cy="{TOP}" r="12" fill="#fff" stroke="#111" stroke-width="1.5"/>',
        _text(left, TOP + 5, "+"),
        _text(left, BOTTOM + 48, f"x: {in_features} numbers"),
        _text(left + 16, TOP - 22, f"y: {out_features} numbers", "start"),
        _text((left + right) / 2, TOP + 20, scaled),
    ]


def _adapter(
    right: float, wide: float, high: float, thin: float, sizes: tuple[int, int, int], notes: tuple[str, str]
) -> list[str]:
    """A, above it B, and the lines that join them to x and y."""
    in_features, out_features, r = sizes
    a_top, b_bottom = BOTTOM - 40 - thin, BOTTOM - 80 - thin
    return [
        _box(right - wide / 2, a_top, wide, thin, ORANGE, f"A: {r} × {in_features}", notes[0], 1),
        _box(right - thin / 2, b_bottom - high, thin, high, BLUE, f"B: {out_features} × {r}", notes[1], 1),
        _line(right, BOTTOM, right, a_top + thin),
        _line(right, a_top, right, b_bottom),
        _line(right, b_bottom - high, right, TOP),
    ]


def _box(x: float, y: float, width: float, height: float, colour: str, name: str, note: str, beside: int) -> str:
    """A matrix, its name and a note: inside it, or `beside` it to the right."""
    at, anchor = (x + width + 10, "start") if beside else (x + width / 2, "middle")
    drawn = _rect(x, y, width, height, colour)
    return drawn + _text(at, y + height / 2 - 3, name, anchor) + _text(at, y + height / 2 + 15, note, anchor)


def _rect(x: float, y: float, width: float, height: float, colour: str, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}" '
        f'fill-opacity="{0.12 if dashed else 0.35}" stroke="{colour}" stroke-width="1.5"{dashes}/>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, arrow: bool = False) -> str:
    tip = ' marker-end="url(#tip)"' if arrow else ""
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#111" stroke-width="1.5" fill="none"{tip}/>'


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
