"""The picture of a fine-tune: the loss after each step, and below it the accuracies with their intervals."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

import plotly.io as pio

from widgets.style import BLUE, ORANGE

WIDTH, LEFT, RIGHT = 760, 84, 24
LOSS_TOP, LOSS_HEIGHT = 66, 200
ACCURACY_TOP, ACCURACY_HEIGHT = LOSS_TOP + LOSS_HEIGHT + 66, 150
INSET = 12  # room for a marker at either end of the steps
MOST_POINTS = 400
TEXT = pio.templates["lorakit"].layout.font.size
HALO = 'stroke="#fff" stroke-width="4" paint-order="stroke"'  # a number stays readable where it meets a line


class Accuracy(NamedTuple):
    """An accuracy after a step, with its 95 % interval, on the first `n` held-out rows; `whole` where those are all."""

    step: int
    n: int
    whole: bool
    accuracy: float
    low: float
    high: float


def training_svg(
    losses: Sequence[tuple[int, float]], accuracies: Sequence[Accuracy], last_step: int, title: str
) -> str:
    """The loss after each step, and below it the accuracies where there are any; the axis of steps ends at the last."""

    def x(step: float) -> float:
        return LEFT + INSET + (WIDTH - LEFT - RIGHT - 2 * INSET) * step / last_step

    drawn = [f'<text x="{LEFT}" y="26" font-weight="700">{escape(title)}</text>', *_losses(losses, x)]
    bottom = LOSS_TOP + LOSS_HEIGHT
    if accuracies:
        drawn += _accuracies(accuracies, x)
        bottom = ACCURACY_TOP + ACCURACY_HEIGHT
    for tick in ticks(last_step, whole=True):
        if tick <= last_step:
            drawn.append(f'<text x="{x(tick):.1f}" y="{bottom + 20}" text-anchor="middle">{tick:,.0f}</text>')
    drawn.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{bottom + 44}" text-anchor="middle">optimizer step</text>')
    height = bottom + 56
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'style="max-width: 100%; height: auto" font-family="system-ui, sans-serif" font-size="{TEXT}" fill="#111">'
        f'<rect width="{WIDTH}" height="{height}" rx="10" fill="#fff"/>{"".join(drawn)}</svg>'
    )


def training_words(losses: Sequence[tuple[int, float]], accuracies: Sequence[Accuracy], title: str) -> str:
    """What the picture shows, for those who cannot see it."""
    sentences = [title]
    if losses:
        (first, loss), (last, least) = losses[0], losses[-1]
        sentences.append(f"The loss was {loss:.3f} nats a token at step {first}, and {least:.3f} at step {last}")
    for point in accuracies:
        when = f"after step {point.step}" if point.step else "before training"
        rows = f"{'all' if point.whole else 'the first'} {point.n} held-out rows"
        interval = f"95 % interval {point.low:.3f} to {point.high:.3f}"
        sentences.append(f"The accuracy {when} was {point.accuracy:.3f} on {rows}, {interval}")
    return ". ".join(sentences) + "."


def ticks(end: float, whole: bool = False) -> list[float]:
    """Round numbers from 0 to the first that is not below `end`, about five; whole ones for things that are counted."""
    rough = max(end, 1e-6) / 5
    power = 10 ** math.floor(math.log10(rough))
    apart = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    apart = max(apart, 1) if whole else apart
    return [i * apart for i in range(math.ceil(end / apart - 1e-9) + 1)]


def _losses(losses: Sequence[tuple[int, float]], x: Callable[[float], float]) -> list[str]:
    points, mean_of = _thinned(losses)
    grid = ticks(max([0.01, *(loss for _, loss in points)]))

    def y(loss: float) -> float:
        return LOSS_TOP + LOSS_HEIGHT * (1 - loss / grid[-1])

    caption = "loss on the rows of each step" if mean_of == 1 else f"loss, each point the mean of {mean_of} steps"
    places = [f"{x(step):.1f},{y(loss):.1f}" for step, loss in points]
    drawn = [
        *_panel(LOSS_TOP, LOSS_HEIGHT, [(y(tick), f"{tick:g}") for tick in grid], "cross-entropy (nats a token)"),
        f'<path d="M{LEFT} {LOSS_TOP - 17}h26" stroke="{BLUE}" stroke-width="2"/>',
        f'<text x="{LEFT + 34}" y="{LOSS_TOP - 12}">{caption}</text>',
        f'<polyline points="{" ".join(places)}" fill="none" stroke="{BLUE}" stroke-width="2"/>',
    ]
    for step, loss in points[-1:]:  # a line of one point is not seen
        drawn.append(f'<circle cx="{x(step):.1f}" cy="{y(loss):.1f}" r="3.5" fill="{BLUE}"/>')
    return drawn


def _accuracies(accuracies: Sequence[Accuracy], x: Callable[[float], float]) -> list[str]:
    def y(accuracy: float) -> float:
        return ACCURACY_TOP + ACCURACY_HEIGHT * (1 - accuracy)

    grid = [(y(tick), f"{tick:g}") for tick in (0, 0.25, 0.5, 0.75, 1)]
    drawn = _panel(ACCURACY_TOP, ACCURACY_HEIGHT, grid, "accuracy (share right)")
    drawn += _legend(ACCURACY_TOP - 20, accuracies)
    for point in accuracies:
        at, height = x(point.step), y(point.accuracy)
        drawn += [_whisker(at, y(point.low), y(point.high), point.whole), _marker(at, height, point.whole)]
        if point.whole:
            side, anchor = (-10, "end") if at > WIDTH / 2 else (10, "start")
            where = f'x="{at + side:.1f}" y="{height + 5:.1f}" text-anchor="{anchor}"'
            drawn.append(f"<text {where} {HALO}>{point.accuracy:.3f}</text>")
    return drawn


def _thinned(losses: Sequence[tuple[int, float]]) -> tuple[list[tuple[float, float]], int]:
    """At most MOST_POINTS, each the mean of as many steps as are returned beside them; without overflows."""
    finite = [point for point in losses if math.isfinite(point[1])]
    size = math.ceil(len(finite) / MOST_POINTS) or 1
    groups = [finite[i : i + size] for i in range(0, len(finite), size)]
    return [tuple(sum(values) / len(values) for values in zip(*group, strict=True)) for group in groups], size


def _panel(top: int, height: int, lines: Sequence[tuple[float, str]], title: str) -> list[str]:
    """The ground of a panel: a line across for each tick, and what is measured upwards."""
    drawn = []
    for y, label in lines:
        drawn.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e5e5e5"/>')
        drawn.append(f'<text x="{LEFT - 10}" y="{y + 5:.1f}" text-anchor="end">{label}</text>')
    middle = top + height / 2
    turned = f'x="26" y="{middle}" text-anchor="middle" transform="rotate(-90 26 {middle})"'
    return [*drawn, f"<text {turned}>{title}</text>"]


def _legend(y: int, accuracies: Sequence[Accuracy]) -> list[str]:
    drawn, x = [], LEFT + 6
    for whole, n in sorted({(point.whole, point.n) for point in accuracies}, reverse=True):
        words = f"on all {n} held-out rows" if whole else f"on the first {n}"
        drawn += [_whisker(x, y - 9, y + 9, whole), _marker(x, y, whole)]
        drawn.append(f'<text x="{x + 14}" y="{y + 5}">{words}</text>')
        x += 220
    right = f'x="{WIDTH - RIGHT}" y="{y + 5}" text-anchor="end"'
    return [*drawn, f"<text {right}>bars: 95 % intervals</text>"]


def _whisker(x: float, one: float, other: float, whole: bool) -> str:
    """Solid for an accuracy on all rows, dashed for one on a few."""
    colour, dashes = (BLUE, "") if whole else (ORANGE, ' stroke-dasharray="3 2"')
    line = f'<path class="whisker" d="M{x:.1f} {one:.1f}V{other:.1f}" stroke="{colour}" stroke-width="2"{dashes}/>'
    ends = "".join(f"M{x - 5:.1f} {y:.1f}h10" for y in (one, other))
    return f'{line}<path d="{ends}" stroke="{colour}" stroke-width="2"/>'


def _marker(x: float, y: float, whole: bool) -> str:
    """A disc for an accuracy on all rows, an open diamond for one on a few."""
    if whole:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{BLUE}"/>'
    return f'<path d="M{x - 6:.1f} {y:.1f}l6 -6 6 6 -6 6z" fill="#fff" stroke="{ORANGE}" stroke-width="2"/>'
