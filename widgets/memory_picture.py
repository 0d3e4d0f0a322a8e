"""The drawing of `show_memory`: cards as flags, the peak's bar, a bar a moment, a legend."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import accumulate, pairwise

from lorakit.memory import CARDS, PRESETS, Moment, TrainingPlan, estimate_memory, preset
from widgets import words
from widgets.style import BLUE, GREEN, ORANGE, PINK

GIB = 2**30
MOMENTS = tuple(moment.name for moment in estimate_memory(preset(PRESETS[0]), TrainingPlan()).moments)
PARTS = tuple(field.name.replace("_", " ").replace("quantiz", "quantis") for field in fields(Moment)[1:])
BY_SIZE = sorted(CARDS, key=lambda card: card.usable_bytes)
LETTERS = "abcdefghijk"
LETTERED = 0.02
"""Share of the axis from which on a part has room for its letter."""
COLOURS = (BLUE, "#8CB4E8", "#BFD3EE", ORANGE, "#E69F00", "#F0E442", GREEN, "#8ED1B2", PINK, "#A9A9A9")
"""Of `PARTS`: neighbours differ in lightness too."""
LEFT, WIDE = 196, 560
FLAG, BAR, MOMENT, LEGEND = 16, 40, 22, 20
"""Heights: a card's line of text, the large bar, a small one with its gap, a line of the legend."""
STYLE = """
  .lorakit-memory text { fill: var(--lorakit-ink, #111); font: 12px system-ui, sans-serif; }
  .lorakit-memory .faint { fill: var(--lorakit-faint, #555); }
  .lorakit-memory .right { text-anchor: end; }
  .lorakit-memory .middle { text-anchor: middle; }
  .lorakit-memory .strong { font-weight: 700; }
  .lorakit-memory .grid { fill: none; stroke: var(--lorakit-faint, #555); stroke-opacity: 0.3; }
  .lorakit-memory .line { fill: none; stroke: var(--lorakit-ink, #111); stroke-width: 1.3px; }
  .lorakit-memory .held { fill: none; stroke: var(--lorakit-ink, #111); stroke-dasharray: 4 3; }
  .lorakit-memory .part { stroke: var(--lorakit-ground, #fff); stroke-width: 0.5px; }
  .lorakit-memory .letter {
    fill: #111; font-size: 11px; text-anchor: middle; paint-order: stroke; stroke-width: 4px;
  }
  .lorakit-memory .white { fill: #fff; }
"""


def memory_svg() -> str:
    """The bars, whose lengths are CSS variables from 0 to 1, and the places of all texts."""
    bar = FLAG * len(BY_SIZE) + 6
    moments = bar + BAR + 14
    axis = moments + MOMENT * len(MOMENTS) + 2
    legend = axis + 34
    drawn = []
    for quarter in range(5):
        x = LEFT + WIDE * quarter / 4
        drawn.append(f'<path class="grid" d="M{x:g} {bar}V{axis}"/>')
        drawn.append(f'<text class="faint middle" x="{x:g}" y="{axis + 14}" data-text="tick-{quarter}"></text>')
    drawn.append(f'<text class="right strong" x="{LEFT - 10}" y="{bar + 24}">at the peak</text>')
    drawn.append(
        f'<rect class="held" x="{LEFT}" y="{bar}" height="{BAR}" style="width: calc({WIDE}px * var(--held))"/>'
    )
    for place, name in enumerate(MOMENTS):
        y = moments + MOMENT * place + 12
        drawn.append(f'<text class="right" x="{LEFT - 10}" y="{y}">{name}</text>')
        drawn.append(f'<text x="{LEFT + WIDE + 10}" y="{y}" data-text="total-{place}"></text>')
    rows = [("peak", bar, BAR), *((f"m{place}", moments + MOMENT * place, 16) for place in range(len(MOMENTS)))]
    drawn += [_bar(*row) for row in rows]
    for place in range(len(BY_SIZE)):
        y = FLAG * place
        drawn.append(
            f'<g style="transform: translateX(calc({WIDE}px * var(--card-{place})))">'
            f'<path class="line" style="opacity: var(--line-{place})" d="M{LEFT} {y + 2}V{axis}"/>'
            f'<text x="{LEFT + 5}" y="{y + 12}" data-text="card-{place}"></text></g>'
        )
    drawn += [_letters(*row) for row in rows]
    for place, name in enumerate((*PARTS, "held beyond: allocator, CUDA")):
        x, y = 10 + 340 * (place // 4), legend + LEGEND * (place % 4)
        drawn.append(_key(place, x, y) + f'<text x="{x + 26}" y="{y + 11}">{name}</text>')
        drawn.append(f'<text class="right" x="{x + 285}" y="{y + 11}" data-text="part-{place}"></text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1010 {legend + 4 * LEGEND}" class="lorakit-memory">'
        f"<style>{STYLE}</style>{''.join(drawn)}</svg>"
    )


def _bar(row: str, y: int, height: int) -> str:
    """Parts one upon the other, each from 0 to where it ends: the first comes last, and lies on top."""
    rects = [
        f'<rect class="part" x="{LEFT}" y="{y}" height="{height}" fill="{colour}" '
        f'style="width: calc({WIDE}px * var(--{row}-{part}))"/>'
        for part, colour in enumerate(COLOURS)
    ]
    return "".join(reversed(rects))


def _letters(row: str, y: int, height: int) -> str:
    """In the middle of each part, over the cards' lines."""
    ends = ["0", *(f"var(--{row}-{part})" for part in range(len(COLOURS)))]
    return "".join(
        f'<text class="{_letter(part)}" stroke="{colour}" x="{LEFT}" y="{y + height // 2 + 4}" '
        f'style="transform: translateX(calc({WIDE // 2}px * ({start} + {end})))" data-text="{row}-{part}"></text>'
        for part, (colour, (start, end)) in enumerate(zip(COLOURS, pairwise(ends), strict=True))
    )


def _key(part: int, x: int, y: int) -> str:
    """A part's colour and letter."""
    if part == len(COLOURS):
        return f'<rect class="held" x="{x}" y="{y}" width="18" height="14"/>'
    return (
        f'<rect class="part" x="{x}" y="{y}" width="18" height="14" fill="{COLOURS[part]}"/>'
        f'<text class="{_letter(part)}" x="{x + 9}" y="{y + 11}">{LETTERS[part]}</text>'
    )


def _letter(part: int) -> str:
    return "letter white" if COLOURS[part] == BLUE else "letter"


def lengths_and_labels(
    moments: Sequence[Sequence[int]], peak: int, held: int, axis: int, cards: Sequence[Mapping], texts: Sequence[str]
) -> tuple[dict[str, float], dict[str, str]]:
    """Lengths, as shares of the axis, and labels of the drawing."""
    lengths, labels = {"held": held / axis}, {}
    totals = [sum(parts) for parts in moments]
    for row, parts in {"peak": moments[peak], **{f"m{place}": parts for place, parts in enumerate(moments)}}.items():
        for part, (size, upto) in enumerate(zip(parts, accumulate(parts), strict=True)):
            lengths[f"{row}-{part}"] = upto / axis
            labels[f"{row}-{part}"] = LETTERS[part] if size / axis >= LETTERED else ""
    for part, size in enumerate((*moments[peak], held - totals[peak])):
        labels[f"part-{part}"] = short(size)
    for place, total in enumerate(totals):
        labels[f"total-{place}"] = short(total) + (" ◄ the peak" if place == peak else "")
    for place, (card, text) in enumerate(zip(cards, texts, strict=True)):
        inside = card["bytes"] <= axis
        lengths |= {f"card-{place}": card["bytes"] / axis if inside else 1, f"line-{place}": int(inside)}
        labels[f"card-{place}"] = text if inside else f"→ {text}"
    for quarter in range(5):
        labels[f"tick-{quarter}"] = f"{words.number(axis * quarter / 4 / GIB)} GiB"
    return lengths, labels


def short(size_bytes: int) -> str:
    """2886218752 -> "2.69 GiB"."""
    for unit, unit_bytes in words.UNITS:
        if size_bytes >= unit_bytes:
            return f"{words.fixed(size_bytes / unit_bytes, 2)} {unit}"
    return f"{size_bytes} bytes" if size_bytes else "0"
