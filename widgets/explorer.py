"""Sliders that answer within a frame: the browser looks up numbers that Python has computed, and draws.

An explorer has native, labelled controls, results that a screen reader announces, and a drawing. What is set is
`explorer.value`. A subclass brings its numbers, its drawing, and a short function that puts numbers into words, twice:
`describe` here, for the picture that stands where no kernel runs, and the same in its JavaScript.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Control:
    """One thing to set: a "slider" (one of a scale), "one" (of a few) or "many" (any of a few).

    `texts` says what the options are called; where there is none, each is called by its value.
    """

    name: str
    label: str
    kind: str
    options: Sequence[Any]
    texts: Sequence[str] = ()

    def __post_init__(self):
        object.__setattr__(self, "texts", self.texts or [str(option) for option in self.options])

    def as_dict(self) -> dict:
        """What the browser needs to draw it."""
        options = [{"value": value, "text": text} for value, text in zip(self.options, self.texts, strict=True)]
        return {"name": self.name, "label": self.label, "kind": self.kind, "options": options}

    def chosen(self, value: Any) -> list:
        """The options that `value` stands for; raises LorakitError where one of its parts is none of them."""
        wanted = list(value) if self.kind == "many" and not isinstance(value, str) else [value]
        for each in wanted:
            if each not in self.options:
                options = ", ".join(map(repr, self.options))
                raise LorakitError(f"{self.name} {each!r} is not on this control: choose from {options}.")
        return [option for option in self.options if option in wanted]

    def in_words(self, value: Any) -> str:
        """What the options that `value` stands for are called."""
        chosen = self.chosen(value)
        return ", ".join(text for option, text in zip(self.options, self.texts, strict=True) if option in chosen)


@dataclass(frozen=True)
class Description:
    """Numbers in words: a text for each result, by its label, and what the drawing shows."""

    results: dict[str, str]
    caption: str


class Explorer(anywidget.AnyWidget):
    """Controls, results and a drawing; a subclass sets `_esm = script(…)` and writes `describe`.

    In the drawing, an element with `data-when="name=a b"` is shown while the control `name` stands at a or b, and the
    CSS variable `--name` is the place of a slider on its scale, from 0.
    """

    _css = (STATIC / "explorer.css").read_text(encoding="utf-8")
    title = traitlets.Unicode().tag(sync=True)
    controls = traitlets.List().tag(sync=True)
    numbers = traitlets.Dict().tag(sync=True)
    drawing = traitlets.Unicode().tag(sync=True)
    value = traitlets.Dict().tag(sync=True, echo_update=False)
    """What is set, by the names of the controls. Assign a dict to set some of it from Python."""

    def __init__(self, title: str, controls: Sequence[Control], value: dict, numbers: dict, drawing: str):
        self._controls = {control.name: control for control in controls}
        shown = [control.as_dict() for control in controls]
        super().__init__(title=title, controls=shown, numbers=numbers, drawing=drawing, value=value)
        # As if the browser had synced it. Nothing is sent back, which would pull at a slider that has gone on since.
        self.on_msg(lambda _, content, buffers: self.set_state({"value": content["value"]}))

    @traitlets.validate("value")
    def _check_value(self, proposal: dict) -> dict:
        value = self.value | proposal["value"]
        if unknown := [name for name in value if name not in self._controls]:
            raise LorakitError(f"there is no control {unknown[0]!r} here: choose from {', '.join(self._controls)}.")
        kept = {}
        for name, control in self._controls.items():
            chosen = control.chosen(value[name])
            kept[name] = chosen if control.kind == "many" else chosen[0]
        return kept

    def describe(self, value: Mapping[str, Any]) -> Description:
        """The results at `value`, in words."""
        raise NotImplementedError

    def still(self) -> str:
        """The explorer as it is set now, as an image in HTML: for where no kernel runs."""
        description = self.describe(self.value)
        settings = {control.label: control.in_words(self.value[name]) for name, control in self._controls.items()}
        words = "; ".join(f"{label}: {text}" for label, text in (settings | description.results).items())
        svg = still_svg(self.title, settings, description, self._still_drawing())
        return svg_image(svg.encode(), WIDTH, f"{self.title}. {words}. {description.caption}")

    def _still_drawing(self) -> ElementTree.Element:
        """The drawing, without what is not shown at this value."""
        drawing = ElementTree.fromstring(self.drawing)
        for parent in list(drawing.iter()):
            for child in list(parent):
                name, _, values = child.get("data-when", "").partition("=")
                if name:
                    chosen = map(str, self._controls[name].chosen(self.value[name]))
                    if not set(chosen) & set(values.split()):
                        parent.remove(child)
        sliders = [control for control in self._controls.values() if control.kind == "slider"]
        places = {slider.name: slider.options.index(self.value[slider.name]) for slider in sliders}
        drawing.set("style", "; ".join(f"--{name}: {place}" for name, place in places.items()))
        return drawing

    def _repr_mimebundle_(self, **kwargs) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return data | {"text/plain": f"{type(self).__name__}({self.value})", "text/html": self.still()}, metadata

    _ipython_display_ = None  # ipywidgets 7 has one, and it would leave the picture out


def script(name: str) -> str:
    """The JavaScript of an explorer: what all of them share, and its own."""
    return "\n".join((STATIC / file).read_text(encoding="utf-8") for file in ("explorer.js", name))


def still_svg(title: str, settings: Mapping[str, str], description: Description, drawing: ElementTree.Element) -> str:
    """Settings, results, drawing and caption on one page, on a ground of its own."""
    lines = max(len(settings), len(description.results))
    y = 2 * MARGIN + LINE * lines + MARGIN
    _, _, width, height = map(float, drawing.get("viewBox").split())
    drawing_height = height * (WIDTH - 2 * MARGIN) / width
    total = round(y + drawing_height + LINE + MARGIN)
    for name, text in {"x": MARGIN, "y": y, "width": WIDTH - 2 * MARGIN, "height": f"{drawing_height:.0f}"}.items():
        drawing.set(name, str(text))
    drawn = [f'<text x="{MARGIN}" y="36" font-size="17" font-weight="700">{escape(title)}</text>']
    for x, pairs in ((MARGIN, settings), (WIDTH / 2, description.results)):
        for i, (label, text) in enumerate(pairs.items()):
            line = 2 * MARGIN + LINE * (i + 0.75)
            drawn.append(f'<text x="{x}" y="{line}"><tspan fill="#555">{escape(label)}: </tspan>{escape(text)}</text>')
    drawn.append(ElementTree.tostring(drawing, encoding="unicode"))
    drawn.append(f'<text x="{MARGIN}" y="{total - MARGIN}" fill="#555">{escape(description.caption)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" width="{WIDTH}" height="{total}" '
        f'font-family="system-ui, sans-serif" font-size="15" fill="#111">'
        f'<rect width="{WIDTH}" height="{total}" rx="10" fill="#fff"/>{"".join(drawn)}</svg>'
    )
