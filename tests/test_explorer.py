"""The base of every explorer, on one that doubles a number and on one that asks the kernel about a text."""

import re
from base64 import b64decode
from xml.etree import ElementTree

import anywidget
import pytest

from lorakit import LorakitError
from widgets import words
from widgets.explorer import LONGEST, Control, Description, Explorer, places, printable, script

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "<img src=x onerror=alert(1)> & co"
DRAWING = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 50"><text data-when="kind=a None">a or none</text>'
    '<g><text data-when="parts=x">x</text><text data-when="parts=y">y</text></g><text>always</text></svg>'
)
SPELLED = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 50"><text data-text="word">as yet nothing</text>'
    '<rect height="9" style="width: calc(1px * var(--bar))"/></svg>'
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


class Spelled(Explorer):
    """Counts the letters of a text; those after the `from_`th are drawn as a bar."""

    _esm = script("in_words.js").replace(
        "numbers);", "({ results: { Letters: numbers.text }, caption: numbers.text }));"
    )
    asks = ("text",)

    def __init__(self, text="abc"):
        self.asked = []
        controls = [Control("text", "your text", "text"), Control("n", "a number", "slider", (1, 2))]
        super().__init__("Spelled", controls, {"text": text, "n": 1})

    def answer(self, value):
        self.asked.append(value["text"])
        if value["text"] == "q":
            raise LorakitError("there is a q: take another letter.")
        if value["text"] == "x":
            raise RuntimeError("out of memory")
        return {"letters": len(value["text"]), "text": value["text"]}, SPELLED

    def describe(self, value):
        letters = self.numbers["letters"]
        return Description(
            {"Letters": str(letters)}, "", {"bar": letters / value["n"]}, {"word": printable(self.numbers["text"])}
        )


def hears(explorer, value):
    """What the browser sends."""
    content = {"data": {"method": "custom", "content": {"value": value}}}
    explorer._handle_msg({"content": content, "buffers": []})


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
    hears(explorer, {"n": 1, "kind": "a", "parts": ["y"]})
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


def test_a_text_is_answered_when_it_changes_and_only_then():
    explorer = Spelled()
    assert (explorer.numbers["letters"], explorer.answered, explorer.drawing) == (3, {"text": "abc"}, SPELLED)
    explorer.value = {"n": 2}
    explorer.value = {"text": "abc"}
    assert explorer.asked == ["abc"]
    explorer.value = {"text": "abcd"}
    assert explorer.asked == ["abc", "abcd"]
    assert explorer.value == {"text": "abcd", "n": 2}
    assert explorer.describe(explorer.value).results == {"Letters": "4"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (5, r"text 5 is no text: give a str of at most 200 characters\."),
        ("a" * (LONGEST + 1), r"text has 201 characters, and at most 200 fit here: shorten it\."),
        ("q", r"there is a q: take another letter\."),
    ],
)
def test_a_text_that_cannot_be_answered_is_refused_and_nothing_changes(text, message):
    explorer = Spelled()
    with pytest.raises(LorakitError, match=message):
        explorer.value = {"text": text, "n": 2}
    assert explorer.value == {"text": "abc", "n": 1}
    assert explorer.answered == {"text": "abc"}
    assert explorer.refused == {}
    with pytest.raises(LorakitError, match=message):
        Spelled(text)


def test_an_answer_is_one_message_and_sends_no_value_back(monkeypatch):
    explorer, held, sent = Spelled(), [], []
    explorer.observe(lambda change: held.append((change["name"], explorer._holding_sync)), ["numbers", "answered"])
    monkeypatch.setattr(explorer, "_send", lambda message, buffers=None: sent.append({*message["state"]}))
    hears(explorer, {"text": "abcd", "n": 2})
    assert explorer.value == {"text": "abcd", "n": 2}
    assert held == [("numbers", True), ("answered", True)]
    assert sent in ([{"numbers", "answered"}], [])  # ipywidgets 7 sends nothing where there is no kernel


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("q", "there is a q: take another letter."),
        ("a" * (LONGEST + 1), "text has 201 characters, and at most 200 fit here: shorten it."),
        ("x", "RuntimeError: out of memory"),  # nobody sees what is raised in a message handler
    ],
)
def test_the_browser_is_told_why_there_is_no_answer_and_the_rest_is_set(text, why):
    explorer = Spelled()
    hears(explorer, {"text": text, "n": 2})
    assert explorer.refused == {"question": {"text": text}, "why": why}
    assert explorer.value == {"text": "abc", "n": 2}  # the text that the numbers are about
    assert explorer.numbers["letters"] == 3
    hears(explorer, {"text": "ab", "n": 1})
    assert explorer.answered == {"text": "ab"}
    assert explorer.value == {"text": "ab", "n": 1}


def test_lengths_and_labels_are_in_the_picture():
    explorer = Spelled(EVIL)
    explorer.value = {"n": 2}
    svg, alt = picture(explorer)
    (drawing,) = svg.findall(f"{SVG}svg")
    assert drawing.get("style") == f"--n: 1; --bar: {len(EVIL) / 2}"
    assert texts(drawing) == [EVIL]
    assert texts(svg)[1] == f"your text: “{EVIL}”"
    assert "&lt;img src=x" in alt
    assert explorer.drawing == SPELLED


def test_a_long_text_has_several_lines_in_the_picture():
    words_of_text = ["capital"] * 20
    svg, _ = picture(Spelled(" ".join(words_of_text)))
    text = list(svg.iter(f"{SVG}text"))[1]
    lines = [text[0].text + text[0].tail, *(line.text for line in text[1:])]
    assert " ".join(lines) == f"your text: “{' '.join(words_of_text)}”"
    assert len(lines) == 3
    assert max(map(len, lines)) * 7.4 < 505 - 24
    below = [node for node in svg.iter(f"{SVG}svg")][1]
    assert float(below.get("y")) >= float(text.get("y")) + 26 * 2


def test_every_character_can_be_seen_and_is_xml():
    assert printable("a b\nc") == "a b⏎c"
    assert printable("\x00\t\r\x7f") == "<0x00><0x09><0x0D><0x7F>"
    assert printable("é日😀") == "é日😀"
    assert printable("\u202e\ud800\ufffe") == "<U+202E><U+D800><U+FFFE>"
    picture(Spelled("\x08\ufffe\u202e"))  # parses
    assert places("ab日😀") == 6


def test_numbers_in_words():
    assert words.count(1_234_567) == "1,234,567"
    assert [words.number(value) for value in (2.0, 0.0625, 1 / 7)] == ["2", "0.0625", "0.142857"]
    assert [words.fixed(value, 2) for value in (0.125, 0.375, 2, 0.341)] == ["0.13", "0.38", "2.00", "0.34"]
    assert words.size(999) == "999 bytes"
    assert words.size(1_858_776) == "1,858,776 bytes (1.77 MiB)"
    assert words.size(3 * 2**30) == "3,221,225,472 bytes (3.00 GiB)"
