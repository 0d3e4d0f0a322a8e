"""Figures of a training step's memory: what is there at each moment, a real step as it goes, predicted and measured."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from lorakit.memory import Moment
from widgets.style import BLUE, GREEN, GREY, ORANGE, PINK, figure

MIB, GIB = 2**20, 2**30
GROUPS = {
    "weights": (BLUE, "", ("base_weights", "quantization_constants", "other_weights")),
    "adapters, gradients, states": (PINK, "/", ("adapters", "gradients", "optimizer_states")),
    "activations": (ORANGE, "\\", ("activations",)),
    "logits": (GREEN, "x", ("logits",)),
    "while it works": (GREY, ".", ("working", "libraries")),
}
"""What is drawn as one: colour, hatching (colour is never the only sign), and the fields of a Moment."""
SYMBOLS = ("circle", "diamond", "x", "square", "cross", "triangle-up")
POINTS = 400
"""A step's thousands of allocations are drawn as the most and the least of so many equal parts."""


def moments_figure(moments: Mapping[str, Moment], title: str) -> go.Figure:
    """Moments by name, from top to bottom, each a bar of what is there; the largest says so."""
    fig = figure(title, "GiB", "")
    for name, (colour, shape, parts) in GROUPS.items():
        sizes = [sum(getattr(moment, part) for part in parts) / GIB for moment in moments.values()]
        fig.add_bar(
            y=list(moments),
            x=sizes,
            name=name,
            orientation="h",
            marker={"color": colour, "pattern": {"shape": shape, "fillmode": "overlay", "size": 6}},
            hovertemplate="%{y}<br>" + name + ": %{x:.3f} GiB<extra></extra>",
        )
    totals = [moment.total_bytes / GIB for moment in moments.values()]
    texts = [f" {total:.2f}" + (", the largest" if total == max(totals) else "") for total in totals]
    fig.add_scatter(
        x=totals,
        y=list(moments),
        mode="text",
        text=texts,
        textposition="middle right",
        showlegend=False,
        hoverinfo="skip",
    )
    fig.update_xaxes(range=[0, 1.3 * max(totals)]).update_yaxes(autorange="reversed", automargin=True)
    height = 240 + 34 * len(moments)
    legend = {"orientation": "h", "xref": "container", "x": 0, "yref": "container", "y": 0, "traceorder": "normal"}
    return fig.update_layout(barmode="stack", legend=legend, height=height, margin={"b": 120})


def step_figure(
    seconds: Sequence[float], live_bytes: Sequence[int], begins: Mapping[str, float], predicted: Mapping[str, int]
) -> go.Figure:
    """A measured step: bytes alive after each allocation and release, dashed what was predicted, all beyond its start.

    Args:
        begins: when each part of the step begins, in the seconds of the first argument.
        predicted: bytes by the name of a moment, each a dashed line.
    """
    fig = figure("One training step, measured", "seconds", "MiB beyond those at its start")
    chosen = thinned(live_bytes, POINTS)
    x, y = [seconds[i] for i in chosen], [live_bytes[i] / MIB for i in chosen]
    fig.add_scatter(x=x, y=y, mode="lines", line={"color": BLUE, "shape": "hv"}, fill="tozeroy", name="measured")
    for name, moment_bytes in predicted.items():
        line = {"color": ORANGE, "dash": "dash", "width": 1.5}
        fig.add_hline(
            y=moment_bytes / MIB, line=line, annotation_text=f"predicted: {name}", annotation_position="top left"
        )
    for name, begin in begins.items():
        fig.add_vline(
            x=begin, line={"color": GREY, "dash": "dot"}, annotation_text=name, annotation_position="bottom right"
        )
    top = max(*y, *(each / MIB for each in predicted.values()))
    return fig.update_yaxes(range=[0, 1.12 * top]).update_layout(height=420)


def thinned(values: Sequence[float], parts: int) -> list[int]:
    """Places of the least and the most of each of so many equal parts, in order, and of the last: no peak is lost."""
    size = -(-len(values) // parts)
    kept = {len(values) - 1}
    for start in range(0, len(values), size):
        part = range(start, min(start + size, len(values)))
        kept |= {min(part, key=values.__getitem__), max(part, key=values.__getitem__)}
    return sorted(kept)


def measured_figure(points: Sequence[tuple[str, str, int, int]]) -> go.Figure:
    """Predicted against measured: on the line they are equal.

    Args:
        points: a name, the group that it belongs to, bytes predicted and bytes measured.
    """
    fig = figure("Predicted and measured on a GPU", "predicted (GiB)", "measured (GiB)")
    ends = [
        edge(size for *_, predicted, measured in points for size in (predicted, measured)) / GIB for edge in (min, max)
    ]
    line = {"color": GREY, "width": 1}
    fig.add_scatter(x=ends, y=ends, mode="lines", line=line, name="equal", hoverinfo="skip")
    colours = (BLUE, ORANGE, GREEN, PINK)
    for number, group in enumerate(dict.fromkeys(group for _, group, *_ in points)):
        mine = [(name, predicted / GIB, measured / GIB) for name, of, predicted, measured in points if of == group]
        names, x, y = zip(*mine, strict=True)
        fig.add_scatter(
            x=x,
            y=y,
            mode="markers",
            name=group,
            text=names,
            marker={"symbol": SYMBOLS[number % len(SYMBOLS)], "size": 9, "color": colours[number % len(colours)]},
            hovertemplate="%{text}<br>predicted %{x:.2f} GiB<br>measured %{y:.2f} GiB<extra></extra>",
        )
    ticks = [0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128]
    axis = {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    return fig.update_xaxes(**axis).update_yaxes(**axis).update_layout(height=480)
