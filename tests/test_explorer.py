"""The base of every explorer, on one that doubles a number."""

import re
from base64 import b64decode
from xml.etree import ElementTree

import anywidget
import pytest

from lorakit import LorakitError
from widgets import words
from widgets.explorer import Control, Description, Explorer

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "<img src=x onerror=alert(1)> & co"
DRAWING = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 50"><text data-when="kind=a None">a or none</text>'
    '<g><text data-when="parts=x">x</text><text data-when="parts=y">y</text></g><text>always</text></svg>'
)


class Doubled(Explorer):
    _esm = "export default { render() {} }"

    def describe(self, value):
        return Description({"Twice": str(2 * value["n"])}, f"It is {value['n']}.")


def doubled(title="Doubled"):
    controls = [
        Control("n", "a number", "slider", (1, 2, 4)),
        Control("kind", "kind", "one", (None, "a", "b"), ("none", "a", "b")),
        Control("parts", "parts", "many", ("x", "y", "z")),
    ]
    return Doubled(title, controls, {"n": 2, "kind": None, "parts": ["x"]}, {}, DRAWING)


def picture(explorer):
    data, _ = explorer._repr_mimebundle_()
    image = r'<img src="data:image/svg\+xml;base64,([^"]+)" width="1010" .* alt="(.*)">'
    found = re.fullmatch(image, data["text/html"])
    return ElementTree.fromstring(b64decode(found[1])), found[2]


def texts(svg):
    return ["".join(node.itertext()) for node in svg.iter(f"{SVG}text")]


def test_what_is_set_can_be_read_and_set():
    explorer = doubled()
    assert explorer.value == {"n": 2, "kind": None, "parts": ["x"]}
    explorer.value = {"n": 4}  # the rest stays
    assert explorer.value == {"n": 4, "kind": None, "parts": ["x"]}
    explorer.value = {"parts": ("z", "x"), "kind": "b"}
    assert explorer.value == {"n": 4, "kind": "b", "parts": ["x", "z"]}  # in the order in which they are shown
    explorer.value = {"parts": []}
    assert explorer.value["parts"] == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"n": 3}, r"n 3 is not on this control: choose from 1, 2, 4\."),
        ({"kind": "c"}, r"kind 'c' is not on this control: choose from None, 'a', 'b'\."),
        ({"parts": ["x", "w"]}, r"parts 'w' is not on this control: choose from 'x', 'y', 'z'\."),
        ({"parts": "xy"}, r"parts 'xy' is not on this control"),
        ({"m": 1}, r"there is no control 'm' here: choose from n, kind, parts\."),
    ],
)
def test_what_cannot_be_set_is_refused_and_nothing_changes(value, message):
    explorer = doubled()
    with pytest.raises(LorakitError, match=message):
        explorer.value = value
    assert explorer.value == {"n": 2, "kind": None, "parts": ["x"]}


def test_a_message_of_the_browser_sets_it_and_nothing_is_sent_back(monkeypatch):
    explorer, told, sent = doubled(), [], []
    explorer.observe(lambda change: told.append(change["new"]["n"]), "value")
    monkeypatch.setattr(explorer, "_send", lambda message, buffers=None: sent.append(message))
    message = {"method": "custom", "content": {"value": {"n": 1, "kind": "a", "parts": ["y"]}}}
    explorer._handle_msg({"content": {"data": message}, "buffers": []})
    assert explorer.value == {"n": 1, "kind": "a", "parts": ["y"]}
    assert told == [1]
    assert sent == []


def test_without_a_kernel_there_is_a_picture_of_what_is_set():
    explorer = doubled()
    explorer.value = {"n": 4, "parts": ["y"]}
    svg, alt = picture(explorer)
    shown = texts(svg)
    assert shown[:5] == ["Doubled", "a number: 4", "kind: none", "parts: y", "Twice: 8"]
    assert shown[5:] == ["a or none", "y", "always", "It is 4."]
    assert alt == "Doubled. a number: 4; kind: none; parts: y; Twice: 8. It is 4."
    (drawing,) = svg.findall(f"{SVG}svg")
    assert drawing.get("style") == "--n: 2"  # its place on the scale


def test_the_bundle_has_the_widget_the_picture_and_plain_text():
    data, _ = doubled()._repr_mimebundle_()
    assert data["text/plain"] == "Doubled({'n': 2, 'kind': None, 'parts': ['x']})"
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert Doubled._ipython_display_ is None
    assert issubclass(Doubled, anywidget.AnyWidget)


def test_what_a_learner_typed_is_text_in_the_picture():
    svg, alt = picture(doubled(EVIL))
    assert texts(svg)[0] == EVIL
    assert alt.startswith("&lt;img src=x onerror=alert(1)&gt; &amp; co. ")
    assert not list(svg.iter("img"))


def test_numbers_in_words():
    assert words.count(1_234_567) == "1,234,567"
    assert [words.number(value) for value in (2.0, 0.0625, 1 / 7)] == ["2", "0.0625", "0.142857"]
    assert [words.fixed(value, 2) for value in (0.125, 0.375, 2, 0.341)] == ["0.13", "0.38", "2.00", "0.34"]
    assert words.size(999) == "999 bytes"
    assert words.size(1_858_776) == "1,858,776 bytes (1.77 MiB)"
    assert words.size(3 * 2**30) == "3,221,225,472 bytes (3.00 GiB)"
