"""Figures of a fine-tune: the loss as it fell, and accuracies with the intervals that belong to them."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from lorakit.finetune import Evaluation
from widgets.style import PALETTE, figure


def loss_figure(runs: Mapping[str, Sequence[float]]) -> go.Figure:
    """Training loss of one or more runs, by name, after each optimizer step."""
    fig = figure("Loss on the rows of each step", "optimizer step", "cross-entropy (nats a token)")
    dashes = ("solid", "dash", "dot", "dashdot")  # colour is never the only sign
    for i, (name, losses) in enumerate(runs.items()):
        line = {"color": PALETTE[i % len(PALETTE)], "dash": dashes[i % len(dashes)]}
        fig.add_scatter(x=list(range(1, len(losses) + 1)), y=list(losses), name=name, mode="lines", line=line)
    return fig.update_yaxes(rangemode="tozero").update_layout(showlegend=True)


def accuracy_figure(evaluations: Mapping[str, Evaluation]) -> go.Figure:
    """Accuracies by name, each with its 95 % interval."""
    sizes = sorted({evaluation.n for evaluation in evaluations.values()})
    on = " and ".join(str(size) for size in sizes)
    fig = figure(f"Accuracy on {on} held-out sentences, with 95 % intervals", "accuracy (share of right verdicts)", "")
    values = list(evaluations.values())
    fig.add_scatter(
        x=[value.accuracy for value in values],
        y=list(evaluations),
        mode="markers+text",
        text=[f"{value.accuracy:.3f}" for value in values],
        textposition="top center",
        marker={"size": 11},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [value.high - value.accuracy for value in values],
            "arrayminus": [value.accuracy - value.low for value in values],
        },
    )
    # from top to bottom, with room for the number above the first point
    fig.update_xaxes(range=[0.5, 1.0]).update_yaxes(range=[len(values) - 0.5, -0.7])
    return fig.update_layout(height=140 + 60 * len(values))
