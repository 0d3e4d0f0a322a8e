"""Figures of a forward pass: the numbers in them."""

import math

import pytest
import torch

from lorakit.activations import rotary
from widgets.forward_pass import by_block_figure, lens_figure, rotation_figure


def test_a_rotated_vector_goes_round_a_circle():
    vectors = rotary(torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(1, 1, 10, 4), 100.0)[0, 0]
    fig = rotation_figure(vectors, pairs=[0, 1])
    assert [title.text for title in fig.layout.annotations] == ["numbers 0 and 2", "numbers 1 and 3"]
    for trace, (a, b), speed in zip(fig.data[1::2], [(1, 3), (2, 4)], [1, 0.1], strict=True):
        assert len(trace.x) == 10
        for t, (x, y) in enumerate(zip(trace.x, trace.y, strict=True)):
            assert math.hypot(x, y) == pytest.approx(math.hypot(a, b), rel=1e-5)
            assert math.atan2(y, x) == pytest.approx(
                math.remainder(math.atan2(b, a) + speed * t, 2 * math.pi), abs=1e-4
            )
    assert fig.data[1].text[:3] == ("0", "1", "2")
    assert fig.data[3].text[:5] == ("0", "", "", "", "4")  # 0.1 a step: numbers would lie on one another
    assert fig.layout.yaxis2.scaleanchor == "x2"  # else a circle would be an ellipse


def test_lines_by_block_differ_by_more_than_colour():
    fig = by_block_figure("Lengths", "length", {"stream": [1.0, 10.0], "attention": [2.0, 3.0]}, log=True)
    assert [(line.name, line.y) for line in fig.data] == [("stream", (1.0, 10.0)), ("attention", (2.0, 3.0))]
    assert fig.data[0].line.dash != fig.data[1].line.dash and fig.data[0].marker.symbol != fig.data[1].marker.symbol
    assert (fig.layout.xaxis.title.text, fig.layout.yaxis.type, fig.layout.showlegend) == ("block", "log", True)
    assert fig.layout.yaxis.ticktext[fig.layout.yaxis.tickvals.index(3000)] == "3,000"
    assert fig.data[0].mode == "lines+markers" and fig.layout.xaxis.range == (-0.5, 1.5)
    alone = by_block_figure("Chance", "probability", {"left out": [0.5]}, joined=False)
    assert alone.data[0].mode == "markers"
    assert (alone.layout.yaxis.type, alone.layout.showlegend) == (None, False)


def test_the_lens_keeps_equal_tokens_apart():
    fig = lens_figure(
        ["a", " b", "a"], [["x", "y", "z"], ["u", "<v", "w"]], torch.tensor([[0.1, 0.2, 0.3], [0, 0.5, 1]])
    )
    (heat,) = fig.data
    assert heat.x == ("0: a", "1:  b", "2: a")
    assert [list(row) for row in heat.text] == [["x", "y", "z"], ["u", "&lt;v", "w"]]
    assert [round(z, 6) for z in heat.z[0]] == [0.1, 0.2, 0.3]
