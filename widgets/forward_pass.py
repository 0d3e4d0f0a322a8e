"""Figures of one forward pass: a vector as rotation turns it, what each block adds, and what the logit lens reads."""

from collections.abc import Mapping, Sequence
from html import escape

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from widgets.style import PALETTE, figure


def rotation_figure(vectors: Tensor, pairs: Sequence[int]) -> go.Figure:
    """A vector at the positions 0 to T - 1, (T, d): where its pairs (x_j, x_{j + d/2}) stand, a circle for each j."""
    T, d = vectors.shape
    fig = make_subplots(1, len(pairs), subplot_titles=[f"numbers {j} and {j + d // 2}" for j in pairs])
    for column, j in enumerate(pairs, start=1):
        x, y = vectors[:, j].tolist(), vectors[:, j + d // 2].tolist()
        fig.add_scatter(
            x=x,
            y=y,
            mode="lines+markers+text",
            text=[str(t) if t < 8 else "" for t in range(T)],  # position; the later ones would lie on one another
            textposition="top right",
            line={"color": PALETTE[0], "width": 1, "dash": "dot"},
            marker={"size": 7},
            row=1,
            col=column,
        )
        reach = 1.25 * max(map(abs, x + y))
        fig.update_xaxes(range=[-reach, reach], row=1, col=column)
        fig.update_yaxes(range=[-reach, reach], row=1, col=column, scaleanchor=f"x{column}")
    fig.update_layout(template="lorakit", showlegend=False, title="The same vector at positions 0, 1, 2, …")
    return fig


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
        x=[f"{t}: {escape(token)}" for t, token in enumerate(tokens)],  # the number keeps equal tokens apart
        colorscale=[[0, "#FFFFFF"], [1, "#56B4E9"]],
        zmin=0,
        zmax=1,
        colorbar={"title": "probability"},
    )
    return fig.update_layout(height=90 + 24 * len(likeliest)).update_yaxes(dtick=1)
