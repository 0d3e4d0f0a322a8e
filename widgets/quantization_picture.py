"""The drawing of `show_quantization`: a ruler, the histogram under it and a bar a level, over one axis from -1 to 1."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from lorakit.quantization.codebooks import BITS
from widgets import words
from widgets.style import BLUE, ORANGE

LEFT, RIGHT = 52, 992
RULER, HILL, AXIS, BARS, BOTTOM = 44, 214, 236, 280, 430
"""Lines from top to bottom: the ruler, the histogram's floor, the axis' texts, the bars' top and their floor."""
ROOM = 37
"""Width that the text of a level takes."""
ABOUT = {
    "int8": "−127 to 127 over 127: evenly spaced; the code of −128 is never used",
    "int4": "−7 to 7 over 7: evenly spaced; the code of −8 is never used",
    "fp4": "a float of 4 bits; two codes stand for zero",
    "nf4": "quantiles of a normal distribution",
}
STYLE = f"""
  .lorakit-ruler text {{ fill: var(--lorakit-ink, #111); font: 13px ui-monospace, Menlo, Consolas, monospace; }}
  .lorakit-ruler .named {{ font-size: 11.5px; text-anchor: middle; }}
  .lorakit-ruler .words {{ font-family: system-ui, sans-serif; }}
  .lorakit-ruler .faint {{ fill: var(--lorakit-faint, #555); font-size: 12px; }}
  .lorakit-ruler .right {{ text-anchor: end; }}
  .lorakit-ruler .middle {{ text-anchor: middle; }}
  .lorakit-ruler .grid {{ fill: none; stroke: var(--lorakit-faint, #555); stroke-opacity: 0.3; }}
  .lorakit-ruler .equal {{ fill: none; stroke: var(--lorakit-ink, #111); stroke-dasharray: 5 3; }}
  .lorakit-ruler .hill {{ fill: var(--lorakit-faint, #555); fill-opacity: 0.35; }}
  .lorakit-ruler .level {{ fill: none; stroke: {ORANGE}; stroke-width: 1.5px; }}
  .lorakit-ruler .share {{ fill: {BLUE}; }}
"""


def quantization_svg(
    hills: Mapping[int, Sequence[float]], shares: Mapping[str, Mapping[int, Mapping[float, float]]]
) -> str:
    """Every histogram, ruler and bar chart; those of the quant type and block size that are set are shown.

    `hills` has the share of weights in each bin from -1 to 1, by block size; `shares` the share of weights on each
    level, rising, by quant type and block size.
    """
    middle = place(0)
    drawn = [
        f'<text class="faint words middle" x="{middle:g}" y="{AXIS + 10}">weight ÷ absmax of its block</text>',
        f'<text class="words" x="{LEFT}" y="{BARS - 10}">share of weights a level</text>',
    ]
    for half in range(-2, 3):
        x = place(half / 2)
        drawn.append(f'<path class="grid" d="M{x:g} {RULER}V{HILL}M{x:g} {BARS}V{BOTTOM}"/>')
        drawn.append(f'<text class="faint middle" x="{x:g}" y="{AXIS - 6}">{minus(f"{half / 2:g}")}</text>')
    highest = max(map(max, hills.values()))
    for block_size, bins in hills.items():
        drawn.append(f'<path class="hill" data-when="block_size={block_size}" d="{_hill(bins, highest)}"/>')
    for bits in (4, 8):  # one scale for all of 4 bits: they are to be compared
        same = [quant_type for quant_type in shares if BITS[quant_type] == bits]
        top = _round_up(
            max(share for each in same for by_level in shares[each].values() for share in by_level.values())
        )
        drawn.append(f'<g data-when="quant_type={" ".join(same)}">{_scale(top, 2**bits)}</g>')
        for quant_type in same:
            bars = "".join(
                f'<path class="share" data-when="block_size={block_size}" d="{_bars(by_level, top)}"/>'
                for block_size, by_level in shares[quant_type].items()
            )
            ruler = _ruler(quant_type, list(next(iter(shares[quant_type].values()))))
            drawn.append(f'<g data-when="quant_type={quant_type}">{bars}{ruler}</g>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1010 {BOTTOM + 8}" class="lorakit-ruler">'
        f"<style>{STYLE}</style>{''.join(drawn)}</svg>"
    )


def place(level: float) -> float:
    """Where -1 to 1 stands on the drawing."""
    return round((LEFT + RIGHT + level * (RIGHT - LEFT)) / 2, 1)


def _hill(bins: Sequence[float], highest: float) -> str:
    steps = []
    for bin_, share in enumerate(bins, start=1):
        steps.append(f"V{HILL - (HILL - RULER - 8) * share / highest:.1f}H{place(2 * bin_ / len(bins) - 1):g}")
    return f"M{LEFT} {HILL}{''.join(steps)}V{HILL}Z"


def _ruler(quant_type: str, levels: Sequence[float]) -> str:
    """A line a level through the histogram, or a tick where they are dense; a text wherever there is room."""
    dense = len(levels) > 16
    named = []
    for level in sorted(levels, key=abs):
        if all(abs(place(level) - place(other)) >= ROOM * (1 + dense) for other in named):
            named.append(level)
    drawn = [f'<text class="words" x="{LEFT}" y="14">{len(levels)} levels of {quant_type}: {ABOUT[quant_type]}</text>']
    for level in levels:
        end = HILL if not dense else RULER + 14 if level in named else RULER + 7
        drawn.append(f'<path class="level" d="M{place(level):g} {RULER - 6}V{end}"/>')
    for level in named:
        drawn.append(f'<text class="named" x="{place(level):g}" y="{RULER - 10}">{level_in_words(level)}</text>')
    return "".join(drawn)


def _bars(shares: Mapping[float, float], top: float) -> str:
    """A bar from the middle below a level to the middle above it: what lies there is rounded to the level."""
    levels = list(shares)
    edges = [-1, *((low + high) / 2 for low, high in pairwise(levels)), 1]
    bars = []
    for share, (low, high) in zip(shares.values(), pairwise(map(place, edges)), strict=True):
        gap = min(0.5, (high - low) / 8)
        bars.append(f"M{low + gap:.1f} {BOTTOM}v{-(BOTTOM - BARS) * share / top:.1f}H{high - gap:.1f}V{BOTTOM}Z")
    return "".join(bars)


def _scale(top: float, codes: int) -> str:
    drawn = []
    for quarter in range(5):
        y = BOTTOM - (BOTTOM - BARS) * quarter / 4
        share = words.number(round(100 * top * quarter / 4, 3))
        drawn.append(f'<path class="grid" d="M{LEFT} {y:g}H{RIGHT}"/>')
        drawn.append(f'<text class="faint right" x="{LEFT - 6}" y="{y + 4:g}">{share} %</text>')
    y = BOTTOM - (BOTTOM - BARS) / codes / top
    drawn.append(f'<path class="equal" d="M{LEFT} {y:.1f}H{RIGHT}"/>')
    return "".join(drawn)


def _round_up(share: float) -> float:
    """The end of a scale whose quarters are short numbers."""
    power = 10 ** math.floor(math.log10(share))
    return next(times * power for times in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if times * power >= share)


def level_in_words(level: float) -> str:
    """Two digits after the point: 0.0796 -> "0.08"."""
    return minus(f"{level:.2f}".replace("-0.00", "0.00"))


def minus(text: str) -> str:
    """With a minus sign for a hyphen."""
    return text.replace("-", "−")
