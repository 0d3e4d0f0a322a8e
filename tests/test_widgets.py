import base64
import json
import re
import xml.dom.minidom
from html import unescape

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lorakit.checks import forget_progress
from lorakit.course import shipped_lessons
from lorakit.finetune import Evaluation
from lorakit.progress import record_progress
from widgets import accuracy_figure, loss_figure, progress, show_course_map


def picture(html):
    """The SVG in an <img>."""
    data = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', html)[1]
    return xml.dom.minidom.parseString(base64.b64decode(data))


def texts(svg):
    return [node.firstChild.data for node in svg.getElementsByTagName("text")]


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
    svg = picture(html)
    assert svg.documentElement.getAttribute("viewBox") == "0 0 960 430"
    assert 'alt="The model from text to logits' in html
    words = " ".join(texts(svg))
    for lesson in range(13):
        assert lesson == 0 or f"{lesson:02d}" in words


@pytest.fixture
def lessons(tmp_path, monkeypatch):
    """Lesson 06 with two exercises and lesson 11 with none, of a course without solutions; nothing is recorded."""
    folder = tmp_path / "lessons"
    monkeypatch.setattr("lorakit.course.shipped_lessons", lambda: folder)
    monkeypatch.setenv("LORAKIT_DATA", str(tmp_path / "data"))
    write_lesson(folder / "06_lora.ipynb", "06 · LoRA <b>from</b> scratch", {"6.1": 1, "6.2": 3})
    write_lesson(folder / "11_memory.ipynb", "11 · Memory", {})
    return folder


def write_lesson(path, title, points):
    cells = [new_markdown_cell(f"# {title}\n\nIts promise.")]
    for exercise, worth in points.items():
        cells.append(new_code_cell("...", metadata={"lorakit": {"exercise": exercise, "points": worth}}))
        cells.append(new_code_cell("check()", metadata={"lorakit": {"check": exercise, "points": worth}}))
    path.parent.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=cells), path)


def marks(svg):
    """The state drawn beside each label; the picture's legend comes last."""
    uses = svg.getElementsByTagName("use")
    return [(use.nextSibling.firstChild.data, use.getAttribute("href")) for use in uses]


LEGEND = [("correct", "#correct"), ("tried", "#tried"), ("not tried", "#not-tried")]


def alt(html):
    return unescape(re.search(r'alt="([^"]*)"', html)[1])


def test_progress_with_nothing_recorded(lessons):
    html = progress().data
    assert alt(html) == "0 of 4 points. Lesson 06: 6.1 not tried, 6.2 not tried; Lesson 11: no exercises."
    assert marks(picture(html)) == [("6.1", "#not-tried"), ("6.2", "#not-tried"), *LEGEND]


def test_progress_draws_what_is_recorded(lessons):
    record_progress("6.1", "incorrect")
    record_progress("6.2", "correct")
    record_progress("99.1", "correct")  # of a lesson that this course has no more
    html = progress().data
    assert alt(html) == "3 of 4 points. Lesson 06: 6.1 tried, 6.2 correct; Lesson 11: no exercises."
    svg = picture(html)
    assert marks(svg) == [("6.1", "#tried"), ("6.2", "#correct"), *LEGEND]
    assert [text for text in texts(svg) if "point" in text or "no " in text] == [
        "3 of 4 points",
        "3 of 4 points",
        "no exercises",
    ]
    ground, whole, earned = (float(rect.getAttribute("width")) for rect in svg.getElementsByTagName("rect")[-3:])
    assert (ground, earned / whole) == (820, pytest.approx(3 / 4, abs=1e-3))
    forget_progress()
    assert alt(progress().data).startswith("0 of 4 points.")


def test_each_state_has_a_shape_of_its_own(lessons):
    (defs,) = picture(progress().data).getElementsByTagName("defs")
    shapes = {mark.getAttribute("id"): [shape.tagName for shape in mark.childNodes] for mark in defs.childNodes}
    assert shapes == {"correct": ["rect", "path"], "tried": ["rect", "circle"], "not-tried": ["rect"]}


def test_progress_says_where_it_is_kept_and_escapes_what_it_shows(lessons, tmp_path, monkeypatch):
    monkeypatch.setenv("LORAKIT_DATA", str(tmp_path / "a <i> & b"))
    write_lesson(lessons / "11_memory.ipynb", "11 · Memory", {'11.1"><script>': 1})
    html = progress().data
    assert alt(html).endswith('Lesson 11: 11.1"><script> not tried.')
    assert "<script" not in html
    assert f"<code>{tmp_path}/a &lt;i&gt; &amp; b/progress</code>" in html.replace("\\", "/")
    assert "<code>forget_progress()</code> from <code>lorakit.checks</code> deletes it." in html
    svg = picture(html)
    assert "LoRA <b>from</b> scratch" in texts(svg)
    assert svg.getElementsByTagName("b") == svg.getElementsByTagName("script") == []


def test_a_notebook_kept_by_a_reset_and_a_changed_one_change_no_progress(lessons):
    before = alt(progress().data)
    write_lesson(lessons / "06_lora-2026-01-01-120000.ipynb", "06 · An old copy", {"6.3": 5})
    assert alt(progress().data) == before
    write_lesson(lessons / "solutions" / "06_lora.ipynb", "06 · LoRA", {"6.1": 1, "6.2": 3})
    write_lesson(lessons / "06_lora.ipynb", "06 · LoRA", {"6.1": 1})  # the learner deleted an exercise
    assert alt(progress().data) == before


def test_many_exercises_go_on_below_and_within_the_picture(lessons):
    one_line = picture(progress().data).documentElement
    numbers = [f"11.{number}" for number in range(1, 10)]
    write_lesson(lessons / "11_memory.ipynb", "11 · " + "Every byte of it " * 9, dict.fromkeys(numbers, 1))
    svg = picture(progress().data)
    assert [label for label, _ in marks(svg)] == ["6.1", "6.2", *numbers, *dict(LEGEND)]
    uses = svg.getElementsByTagName("use")
    places = [(int(use.getAttribute("x")), int(use.getAttribute("y"))) for use in uses]
    assert len(set(places)) == len(places)
    assert max(x for x, _ in places) < 650
    assert int(svg.documentElement.getAttribute("height")) == int(one_line.getAttribute("height")) + 2 * 40
    (title,) = (text for text in texts(svg) if text.startswith("Every byte"))
    assert len(title) <= 38
    assert title.endswith(" …")


def test_every_exercise_of_the_real_lessons_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setenv("LORAKIT_DATA", str(tmp_path))
    exercises = {}
    for path in sorted(shipped_lessons().glob("*.ipynb")):
        metadata = [cell["metadata"].get("lorakit", {}) for cell in json.loads(path.read_text("utf-8"))["cells"]]
        exercises |= {found["exercise"]: found["points"] for found in metadata if "exercise" in found}
    assert {"0.1", "7.1", "10.1"} <= set(exercises)
    svg = picture(progress().data)
    assert marks(svg) == [*((number, "#not-tried") for number in exercises), *LEGEND]
    assert f"0 of {sum(exercises.values())} points" in texts(svg)
    assert "A real LoRA fine-tune" in texts(svg)
