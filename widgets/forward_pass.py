"""Figures of one forward pass: a vector as rotation turns it, what each block adds, and what the logit lens reads."""

import math
from collections.abc import Mapping, Sequence
from html import escape

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from widgets.style import GREY, PALETTE, figure


def rotation_figure(vectors: Tensor, pairs: Sequence[int]) -> go.Figure:
    """A vector at the positions 0 to T - 1, (T, d): where its pairs (x_j, x_{j + d/2}) stand, a circle for each j."""
    T, d = vectors.shape
    fig = make_subplots(1, len(pairs), subplot_titles=[f"numbers {j} and {j + d // 2}" for j in pairs])
    round_once = [2 * math.pi * step / 90 for step in range(91)]
    for column, j in enumerate(pairs, start=1):
        points = vectors[:, [j, j + d // 2]].tolist()
        radius = math.hypot(*points[0])
        circle = {"x": [radius * math.cos(angle) for angle in round_once]}
        circle["y"] = [radius * math.sin(angle) for angle in round_once]
        fig.add_scatter(**circle, mode="lines", line={"color": GREY, "width": 1, "dash": "dot"}, row=1, col=column)
        fig.add_scatter(
            x=[x for x, _ in points],
            y=[y for _, y in points],
            mode="markers+text",
            text=_apart(points, 0.35 * radius),
            textposition="top right",
            marker={"size": 7, "color": PALETTE[0]},
            row=1,
            col=column,
        )
        around = [-1.4 * radius, 1.4 * radius]
        fig.update_xaxes(range=around, row=1, col=column)
        fig.update_yaxes(range=around, row=1, col=column, scaleanchor=f"x{column}")
    title = f"The same vector at positions 0 to {T - 1}"
    return fig.update_layout(template="lorakit", showlegend=False, title=title)


def _apart(points: Sequence[Sequence[float]], distance: float) -> list[str]:
    """The number of each point, left out where one that stands too near has its number already."""
    labels, labelled = [], []
    for number, point in enumerate(points):
        free = all(math.dist(point, other) > distance for other in labelled)
        labelled += [point] if free else []
        labels.append(str(number) if free else "")
    return labels


def by_block_figure(
    title: str, y: str, lines: Mapping[str, Sequence[float]], log: bool = False, joined: bool = True
) -> go.Figure:
    """A number for each block, from block 0 on, as one line or several, by name; not `joined`, as points alone."""
    fig = figure(title, "block", y)
    symbols, dashes = ("circle", "square", "diamond", "x"), ("solid", "dash", "dot", "dashdot")
    for i, (name, values) in enumerate(lines.items()):
        fig.add_scatter(
            y=list(values),
            name=name,
            mode="lines+markers" if joined else "markers",
            line={"color": PALETTE[i % len(PALETTE)], "dash": dashes[i % len(dashes)]},
            marker={"symbol": symbols[i % len(symbols)], "size": 6 if joined else 9},
        )
    if log:
        steps = [factor * 10**power for power in range(-3, 6) for factor in (1, 3)]
        fig.update_yaxes(type="log", tickvals=steps, ticktext=[f"{step:,g}" for step in steps])
    blocks = max(map(len, lines.values()))
    return fig.update_xaxes(range=[-0.5, blocks - 0.5]).update_layout(showlegend=len(lines) > 1)


def lens_figure(tokens: Sequence[str], likeliest: Sequence[Sequence[str]], chances: Tensor) -> go.Figure:
    """What each block's stream would say: the likeliest next token at each position, and its probability (L, T)."""
    fig = figure("What comes next, read after each block", "after the token", "block")
    fig.add_heatmap(
        z=chances.tolist(),
        text=[[escape(word) for word in row] for row in likeliest],
        texttemplate="%{text}",
        textfont={"size": 12, "color": "black"},
        x=[f"{t}: {escape(token)}" for t, token in enumerate(tokens)],  # the number keeps equal tokens apart
        colorscale=[[0, "#FFFFFF"], [1, "#56B4E9"]],
        zmin=0,
        zmax=1,
        colorbar={"title": "probability"},
    )
    return fig.update_layout(height=90 + 24 * len(likeliest)).update_yaxes(dtick=1)
