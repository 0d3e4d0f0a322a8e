import base64
import re
import xml.dom.minidom

import pytest

from lorakit.finetune import Evaluation
from widgets import accuracy_figure, loss_figure, show_course_map


def test_the_loss_figure_draws_each_run():
    fig = loss_figure({"LoRA": [3.0, 2.0, 1.0], "QLoRA": [4.0, 2.5]})
    lora, qlora = fig.data
    assert (list(lora.x), list(lora.y), lora.name) == ([1, 2, 3], [3.0, 2.0, 1.0], "LoRA")
    assert (list(qlora.x), list(qlora.y), qlora.name) == ([1, 2], [4.0, 2.5], "QLoRA")
    assert lora.line.color != qlora.line.color
    assert lora.line.dash != qlora.line.dash  # colour is never the only sign
    assert fig.layout.xaxis.title.text == "optimizer step"
    assert fig.layout.yaxis.title.text == "cross-entropy (nats a token)"


def test_the_accuracy_figure_draws_the_intervals():
    fig = accuracy_figure(
        {"before": Evaluation(400, 6.0, 0.8, 0.75, 0.84), "after": Evaluation(400, 0.3, 0.9, 0.87, 0.92)}
    )
    (points,) = fig.data
    assert list(points.x) == [0.8, 0.9]
    assert list(points.y) == ["before", "after"]
    assert list(points.error_x.array) == pytest.approx([0.04, 0.02])
    assert list(points.error_x.arrayminus) == pytest.approx([0.05, 0.03])
    assert "400 held-out" in fig.layout.title.text
    assert list(fig.layout.yaxis.range) == [1.5, -0.7]  # the first at the top, its number not cut off


def test_the_map_is_an_image_with_words_for_those_who_cannot_see_it():
    html = show_course_map().data
    data = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', html)[1]
    svg = xml.dom.minidom.parseString(base64.b64decode(data))
    assert svg.documentElement.getAttribute("viewBox") == "0 0 960 430"
    assert 'alt="The model from text to logits' in html
    words = " ".join(node.firstChild.data for node in svg.getElementsByTagName("text"))
    for lesson in range(13):
        assert lesson == 0 or f"{lesson:02d}" in words
