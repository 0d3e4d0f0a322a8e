"""Figures of memory: bars that add up to the moments, a step whose peak is not thinned away, points that are data."""

from dataclasses import fields

import pytest

from lorakit.memory import Moment, TrainingPlan, estimate_memory, preset
from widgets import measured_figure, moments_figure, step_figure
from widgets.memory_figures import GIB, GROUPS, MIB, thinned

ESTIMATE = estimate_memory(preset("SmolLM2-135M"), TrainingPlan("qlora"))
MOMENTS = {moment.name: moment for moment in ESTIMATE.moments}


def test_every_part_of_a_moment_is_drawn_once():
    drawn = [part for _, _, parts in GROUPS.values() for part in parts]
    assert sorted(drawn) == sorted(field.name for field in fields(Moment) if field.name != "name")


def test_the_bars_of_a_moment_add_up_to_it_and_the_largest_says_so():
    fig = moments_figure(MOMENTS, "title")
    *bars, totals = fig.data
    assert fig.layout.barmode == "stack"
    assert [bar.name for bar in bars] == list(GROUPS)
    assert all(list(bar.y) == list(MOMENTS) for bar in bars)
    for number, moment in enumerate(MOMENTS.values()):
        assert sum(bar.x[number] for bar in bars) == pytest.approx(moment.total_bytes / GIB)
        assert totals.text[number].startswith(f" {moment.total_bytes / GIB:.2f}")
    assert [name for name, text in zip(MOMENTS, totals.text, strict=True) if "largest" in text] == [ESTIMATE.peak.name]


def test_colour_is_not_the_only_sign():
    *bars, _ = moments_figure(MOMENTS, "title").data
    assert len({bar.marker.pattern.shape for bar in bars}) == len({bar.marker.color for bar in bars}) == len(GROUPS)


def test_a_step_is_drawn_with_its_peak_its_end_and_what_was_predicted():
    live = [7 * MIB] * 5000
    live[3210], live[-1] = 90 * MIB, 3 * MIB
    seconds = [number / 1000 for number in range(5000)]
    fig = step_figure(seconds, live, {"forward": 0.0, "backward": 2.5}, {"peak": 88 * MIB})
    (line,) = fig.data
    points = list(zip(line.x, line.y, strict=True))
    assert (3.21, 90) in points and points[-1] == (4.999, 3)
    assert list(line.x) == sorted(line.x) and len(points) <= 801
    assert fig.layout.yaxis.range[1] > 90
    heights = {shape.y0 for shape in fig.layout.shapes if shape.y0 == shape.y1}
    begins = {shape.x0 for shape in fig.layout.shapes if shape.x0 == shape.x1}
    assert (heights, begins) == ({88}, {0.0, 2.5})
    assert {note.text for note in fig.layout.annotations} == {"predicted: peak", "forward", "backward"}


def test_thinning_keeps_every_extreme_in_order():
    assert thinned([5, 1, 9, 2, 2, 2, 0, 4], 2) == [
        1,
        2,
        6,
        7,
    ]  # least and most of 5, 1, 9, 2 and of 2, 2, 0, 4, and the last
    assert thinned([3], 400) == [0]
    assert thinned([1, 2, 3], 400) == [0, 1, 2]


def test_predicted_and_measured_points_are_the_given_ones():
    points = [("a", "lora", GIB, 2 * GIB), ("b", "qlora", 3 * GIB, 4 * GIB), ("c", "lora", 5 * GIB, 6 * GIB)]
    line, lora, qlora = measured_figure(points).data
    assert list(line.x) == list(line.y) == [1, 6]
    assert (lora.name, list(lora.x), list(lora.y), list(lora.text)) == ("lora", [1, 5], [2, 6], ["a", "c"])
    assert (qlora.name, list(qlora.x), list(qlora.y)) == ("qlora", [3], [4])
    assert lora.marker.symbol != qlora.marker.symbol
