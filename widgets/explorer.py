"""Sliders that answer within a frame: the browser looks up numbers that Python has computed, and draws.

An explorer has native, labelled controls, results that a screen reader announces, and a drawing. What is set is
`explorer.value`. A subclass brings its numbers, its drawing, and a short function that puts numbers into words, twice:
`describe` here, for the picture that stands where no kernel runs, and the same in its JavaScript.

Some settings, such as a text, are a question to the kernel: a subclass names their controls in `asks`, and its `answer`
gives numbers and drawing anew. Until an answer is there, the browser goes on with the last one.
"""

import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import anywidget
import traitlets

from lorakit.errors import LorakitError
from widgets.svg import svg_image

STATIC = Path(__file__).parent / "static"
ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
WIDTH, MARGIN, LINE = 1010, 24, 26
LETTER = 7.4
"""Width of a letter on the still picture, on average."""
LONGEST = 200
"""Characters that a text may have."""


@dataclass(frozen=True)
class Control:
    """One thing to set: a "slider" (one of a scale), "one" (of a few), "many" (any of a few), or a "text" to type.

    `texts` says what the options are called; where there is none, each is called by its value.
    """

    name: str
    label: str
    kind: str
    options: Sequence[Any] = ()
    texts: Sequence[str] = ()

    def __post_init__(self):
        object.__setattr__(self, "texts", self.texts or [str(option) for option in self.options])

    def as_dict(self) -> dict:
        """What the browser needs to draw it."""
        options = [{"value": value, "text": text} for value, text in zip(self.options, self.texts, strict=True)]
        shown = {"name": self.name, "label": self.label, "kind": self.kind, "options": options}
        return shown | {"longest": LONGEST} if self.kind == "text" else shown

    def chosen(self, value: Any) -> list:
        """The options that `value` stands for, or the text; raises LorakitError where one of its parts is none."""
        if self.kind == "text":
            return [_checked_text(self.name, value)]
        wanted = list(value) if self.kind == "many" and not isinstance(value, str) else [value]
        for each in wanted:
            if each not in self.options:
                options = ", ".join(map(repr, self.options))
                raise LorakitError(f"{self.name} {each!r} is not on this control: choose from {options}.")
        return [option for option in self.options if option in wanted]

    def in_words(self, value: Any) -> str:
        """What the options that `value` stands for are called, or the text."""
        if self.kind == "text":
            return f"“{printable(value)}”"
        chosen = self.chosen(value)
        return ", ".join(text for option, text in zip(self.options, self.texts, strict=True) if option in chosen)


@dataclass(frozen=True)
class Description:
    """Numbers in words: a text for each result, by its label, and what the drawing shows.

    `lengths` are CSS variables on the drawing (`--name`), `labels` the texts of its elements with `data-text="name"`.
    """

    results: dict[str, str]
    caption: str
    lengths: dict[str, float] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


class Explorer(anywidget.AnyWidget):
    """Controls, results and a drawing; a subclass sets `_esm = script(…)` and writes `describe`.

    In the drawing, an element with `data-when="name=a b"` is shown while the control `name` stands at a or b, and the
    CSS variable `--name` is the place of a slider on its scale, from 0. Numbers and drawing are given, or are what
    `answer` says; then the subclass names in `asks` the controls that it depends on.
    """

    _css = (STATIC / "explorer.css").read_text(encoding="utf-8")
    asks: tuple[str, ...] = ()
    title = traitlets.Unicode().tag(sync=True)
    controls = traitlets.List().tag(sync=True)
    numbers = traitlets.Dict().tag(sync=True)
    drawing = traitlets.Unicode().tag(sync=True)
    answered = traitlets.Dict().tag(sync=True)
    """The question, by the names in `asks`, that `numbers` and `drawing` answer. The three change together."""
    refused = traitlets.Dict().tag(sync=True)
    """The browser's last question without an answer: `question`, and `why`."""
    value = traitlets.Dict().tag(sync=True, echo_update=False)
    """What is set, by the names of the controls. Assign a dict to set some of it from Python."""

    def __init__(
        self, title: str, controls: Sequence[Control], value: dict, numbers: dict | None = None, drawing: str = ""
    ):
        self._controls = {control.name: control for control in controls}
        shown = [control.as_dict() for control in controls]
        value = self._kept(value)
        state = self._answer(value) if self.asks else {"numbers": numbers, "drawing": drawing}
        super().__init__(title=title, controls=shown, value=value, **state)
        self.on_msg(lambda _, content, buffers: self._hear(content["value"]))

    def _hear(self, value: dict) -> None:
        """What the browser has set. A question without an answer is refused there, and the last one stays in `value`.

        `value` changes as if the browser had synced it: nothing is sent back, which would pull at a slider that has
        gone on since.
        """
        try:
            self._ask(self._kept(value))
        except Exception as error:  # the model's too: raised in a message handler, nobody would see it
            why = str(error) if isinstance(error, LorakitError) else f"{type(error).__name__}: {error}"
            self.refused = {"question": {name: value[name] for name in self.asks}, "why": why}
        self.set_state({"value": value | self.answered})

    @traitlets.validate("value")
    def _check_value(self, proposal: dict) -> dict:
        value = self._kept(self.value | proposal["value"])
        self._ask(value)
        return value

    def _kept(self, value: Mapping[str, Any]) -> dict:
        """`value` as the controls have it; raises LorakitError where they cannot."""
        if unknown := [name for name in value if name not in self._controls]:
            raise LorakitError(f"there is no control {unknown[0]!r} here: choose from {', '.join(self._controls)}.")
        kept = {}
        for name, control in self._controls.items():
            chosen = control.chosen(value[name])
            kept[name] = chosen if control.kind == "many" else chosen[0]
        return kept

    def _ask(self, value: dict) -> None:
        """Answer what `value` asks, unless that is what was answered last."""
        if any(value[name] != asked for name, asked in self.answered.items()):
            state = self._answer(value)
            with self.hold_sync():  # one message: numbers and drawing never mismatch
                for name, part in state.items():
                    self.set_trait(name, part)

    def _answer(self, value: dict) -> dict:
        numbers, drawing = self.answer(value)
        return {"numbers": numbers, "drawing": drawing, "answered": {name: value[name] for name in self.asks}}

    def answer(self, value: Mapping[str, Any]) -> tuple[dict, str]:
        """Numbers and drawing for what the controls in `asks` are set to; LorakitError where there are none."""
        raise NotImplementedError

    def describe(self, value: Mapping[str, Any]) -> Description:
        """The results at `value`, in words."""
        raise NotImplementedError

    def still(self) -> str:
        """The explorer as it is set now, as an image in HTML: for where no kernel runs."""
        description = self.describe(self.value)
        settings = {control.label: control.in_words(self.value[name]) for name, control in self._controls.items()}
        words = "; ".join(f"{label}: {text}" for label, text in (settings | description.results).items())
        svg = still_svg(self.title, settings, description, self._still_drawing(description))
        return svg_image(svg.encode(), WIDTH, f"{self.title}. {words}. {description.caption}")

    def _still_drawing(self, description: Description) -> ElementTree.Element:
        """The drawing as it is described, without what is not shown at this value."""
        drawing = ElementTree.fromstring(self.drawing)
        for parent in list(drawing.iter()):
            for child in list(parent):
                name, _, values = child.get("data-when", "").partition("=")
                if name:
                    chosen = map(str, self._controls[name].chosen(self.value[name]))
                    if not set(chosen) & set(values.split()):
                        parent.remove(child)
        sliders = [control for control in self._controls.values() if control.kind == "slider"]
        lengths = {slider.name: slider.options.index(self.value[slider.name]) for slider in sliders}
        lengths |= description.lengths
        drawing.set("style", "; ".join(f"--{name}: {length}" for name, length in lengths.items()))
        for part in drawing.iter():
            if name := part.get("data-text"):
                part.text = description.labels[name]
        return drawing

    def _repr_mimebundle_(self, **kwargs) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return data | {"text/plain": f"{type(self).__name__}({self.value})", "text/html": self.still()}, metadata

    _ipython_display_ = None  # ipywidgets 7 has one, and it would leave the picture out


def script(name: str) -> str:
    """The JavaScript of an explorer: what all of them share, and its own."""
    return "\n".join((STATIC / file).read_text(encoding="utf-8") for file in ("explorer.js", name))


def scale_with(scale: Sequence[int], start: int, name: str) -> list[int]:
    """The scale of a slider, and the value to start from."""
    if type(start) is not int or start < 1:
        raise LorakitError(f"{name} is {start!r}: it is a whole number of at least 1.")
    return sorted({*scale, start})


def printable(text: str) -> str:
    """`text` on one line that XML can hold: a newline as ⏎, a character that cannot be seen by its number."""
    shown = text.replace("\n", "⏎")
    return "".join(each if each.isprintable() else _by_number(ord(each)) for each in shown)


def places(text: str) -> int:
    """Places that `text` takes where all letters are equally wide; Chinese ones and emoji take two."""
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def _by_number(character: int) -> str:
    return f"<0x{character:02X}>" if character < 0x80 else f"<U+{character:04X}>"


def _checked_text(name: str, text: Any) -> str:
    if not isinstance(text, str):
        raise LorakitError(f"{name} {text!r} is no text: give a str of at most {LONGEST} characters.")
    if len(text) > LONGEST:
        raise LorakitError(f"{name} has {len(text)} characters, and at most {LONGEST} fit here: shorten it.")
    return text


def still_svg(title: str, settings: Mapping[str, str], description: Description, drawing: ElementTree.Element) -> str:
    """Settings, results, drawing and caption on one page, on a ground of its own."""
    words = [f'<text x="{MARGIN}" y="36" font-size="17" font-weight="700">{escape(title)}</text>']
    column = WIDTH / 2 - 2 * MARGIN
    bottom = top = 2 * MARGIN
    for x, pairs in ((MARGIN, settings), (WIDTH / 2, description.results)):
        y = top
        for label, text in pairs.items():
            first, *more = _wrapped(text, column - MARGIN / 2, taken=len(label) + 2)
            words.append(_lines([f'<tspan fill="#555">{escape(label)}: </tspan>{first}', *more], x, y, "#111"))
            y += LINE * (1 + len(more))
        bottom = max(bottom, y)
    _, _, width, height = map(float, drawing.get("viewBox").split())
    drawing_height = height * (WIDTH - 2 * MARGIN) / width
    y = bottom + MARGIN
    for name, text in {"x": MARGIN, "y": y, "width": WIDTH - 2 * MARGIN, "height": f"{drawing_height:.0f}"}.items():
        drawing.set(name, str(text))
    words.append(ElementTree.tostring(drawing, encoding="unicode"))
    caption = _wrapped(description.caption, WIDTH - 2 * MARGIN)
    words.append(_lines(caption, MARGIN, y + drawing_height, "#555"))
    total = round(y + drawing_height + LINE * len(caption) + MARGIN)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" width="{WIDTH}" height="{total}" '
        f'font-family="system-ui, sans-serif" font-size="15" fill="#111">'
        f'<rect width="{WIDTH}" height="{total}" rx="10" fill="#fff"/>{"".join(words)}</svg>'
    )


def _wrapped(text: str, width: float, taken: int = 0) -> list[str]:
    """Lines of `text`, escaped; of the first, so many letters are taken."""
    letters = int(width / LETTER * len(text) / max(1, places(text)))
    first, *more = textwrap.wrap(text, max(1, letters), initial_indent=" " * taken) or [""]
    return [escape(line) for line in (first[taken:], *more)]


def _lines(lines: Sequence[str], x: float, y: float, fill: str) -> str:
    more = "".join(f'<tspan x="{x}" dy="{LINE}">{line}</tspan>' for line in lines[1:])
    return f'<text x="{x}" y="{y + LINE * 0.75:.0f}" fill="{fill}">{lines[0]}{more}</text>'
