"""How long a slider takes to show: drawn in the browser, or redrawn by the kernel in three ways.

    python tests/bench/slider_to_paint.py [--output FILE]

A real JupyterLab and a headless Chromium. A step is one arrow key on the slider's focused handle, the same for every
way. Its clock starts at the key's own time stamp (`KeyboardEvent.timeStamp`: when the browser got the key), which is
before the page or JupyterLab has seen it. It stops in the first task after the rendering of the frame that shows the
step: once the new text is in the page, `requestAnimationFrame`, and a message posted from there. So the wait for that
frame counts. What follows on other threads (raster, compositing, the screen) does not. The next key comes when the
step is shown, after a pause of random length, so that keys fall anywhere between two frames.

A first display has a JupyterLab, a kernel and a browser profile of its own each time. Its clock starts at Shift+Enter,
with `show_adapter_size` imported and the default model's config loaded by the cell before.

Levels: in the browser, 95 of 100 steps within 16 ms, and 5 times ahead of FigureWidget and of Output, at the median and
at the 95th percentile; 95 of 100 steps through the kernel to a line of text within 100 ms; each first display within
300 ms. Ends with 1 where a level is missed.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from machine import RECORDS, ROOT, provenance, refuse_existing, write_record

sys.path += [str(ROOT), str(ROOT / "tests" / "browser")]  # the hand on JupyterLab is that of the tests

from lab import VIEWPORT, chromium, jupyterlab, open_notebook, small_notebook
from transformers import AutoConfig

from lorakit.errors import LorakitError
from lorakit.models import find_model
from widgets import show_adapter_size
from widgets.adapter_size import RANKS

STEPS, DISPLAYS = 100, 10
START = 8
LEVEL_BROWSER_MS, LEVEL_AHEAD, LEVEL_KERNEL_MS, LEVEL_DISPLAY_MS = 16, 5, 100, 300

IMPORTS = """
from transformers import AutoConfig
from lorakit.models import find_model
from widgets import show_adapter_size
config = AutoConfig.from_pretrained(find_model())
"""
BROWSER = "show_adapter_size(config)"
# The same results, made by the same code: in the title of a figure, or alone.
KERNEL = """
import ipywidgets as ipw
import plotly.graph_objects as go
from IPython.display import display
from widgets.adapter_size import RANKS

explorer = show_adapter_size(config)
adapters = explorer.numbers["adapters"]["q_proj v_proj"]

def results(r):
    return "<br>".join(f"{name}: {text}" for name, text in explorer.describe(explorer.value | {"r": r}).results.items())

def colours(r):
    return ["#d55e00" if rank == r else "#0072b2" for rank in RANKS]

def figure(r):
    parameters = [adapters[str(rank)]["parameters"] for rank in RANKS]
    bars = go.Bar(x=[str(rank) for rank in RANKS], y=parameters, marker_color=colours(r))
    return go.Figure(bars, {"title": {"text": results(r), "font": {"size": 12}}, "margin": {"t": 120}, "height": 400})

slider = ipw.SelectionSlider(options=RANKS, value=8, description="rank r")
"""
FIGURE_WIDGET = """
view = go.FigureWidget(figure(slider.value))

def draw(change):
    with view.batch_update():
        view.layout.title.text = results(change.new)
        view.data[0].marker.color = colours(change.new)

slider.observe(draw, "value")
display(slider, view)
"""
OUTPUT = """
view = ipw.Output()

def draw(change=None):
    with view:
        view.clear_output(wait=True)
        figure(slider.value).show()

slider.observe(draw, "value")
display(slider, view)
draw()
"""
TEXT = """
view = ipw.HTML(results(slider.value))
slider.observe(lambda change: setattr(view, "value", results(change.new)), "value")
display(slider, view)
"""
NATIVE, HANDLE = ".lorakit-explorer input[type=range] >> nth=0", ".noUi-handle"
WAYS = {  # what the second cell runs, the slider's handle, and where the results stand
    "in the browser": (BROWSER, NATIVE, ".lorakit-results"),
    "FigureWidget": (KERNEL + FIGURE_WIDGET, HANDLE, ".gtitle"),
    "Output": (KERNEL + OUTPUT, HANDLE, ".gtitle"),
    "kernel to text": (KERNEL + TEXT, HANDLE, ".widget-html-content"),
}

# Takes the time of the next press of `key`, and of what it leads to: the `text` in the page, then the frame with it.
WATCH = """
([key, place, text]) => {
  const notebook = document.querySelector(".jp-Notebook");
  window.step = new Promise((resolve) => {
    let pressed;
    const press = (event) => {
      if (event.key !== key) return;
      pressed = event.timeStamp;
      window.removeEventListener("keydown", press, true);
    };
    window.addEventListener("keydown", press, true);
    const observer = new MutationObserver(() => {
      if (pressed === undefined || !notebook.querySelector(place)?.textContent.includes(text)) return;
      observer.disconnect();
      const page = performance.now() - pressed;
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => resolve({ page, frame: performance.now() - pressed });
      requestAnimationFrame(() => port2.postMessage(null));
    });
    observer.observe(notebook, { childList: true, characterData: true, subtree: true });
  });
}
"""


@contextmanager
def notebook(browser: Any, *cells: str) -> Iterator[Any]:
    """A page with these cells in a JupyterLab and a browser profile of its own; the first cell has run."""
    with tempfile.TemporaryDirectory() as folder, jupyterlab(Path(folder)) as address:
        small_notebook(Path(folder) / "slider.ipynb", *cells)
        page = browser.new_page(viewport=VIEWPORT)
        open_notebook(page, address("slider.ipynb"))
        page.locator(".jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Shift+Enter")
        page.wait_for_selector('.jp-CodeCell .jp-InputPrompt:has-text("[1]:")', timeout=120_000)
        page.wait_for_timeout(1000)  # until JupyterLab has come to rest
        yield page
        page.close()


def timed(page: Any, keys: str, place: str, text: str) -> dict[str, float]:
    """Milliseconds from these keys until `text` is at `place` in the page, and until the frame with it."""
    page.evaluate(WATCH, [keys.rpartition("+")[2], place, text])
    page.keyboard.press(keys)
    return page.evaluate("step")


def walk(start: int, steps: int) -> Iterator[tuple[str, int]]:
    """Keys, and the rank that each leads to: up the scale, down, and up again."""
    place, way = RANKS.index(start), 1
    for _ in range(steps):
        if not 0 <= place + way < len(RANKS):
            way = -way
        place += way
        yield "ArrowRight" if way > 0 else "ArrowLeft", RANKS[place]


def steps_of(browser: Any, way: str, texts: dict[int, str]) -> dict[str, float]:
    """Steps of one slider, summed up."""
    cell, handle, place = WAYS[way]
    pauses = random.Random(0)
    with notebook(browser, IMPORTS, cell) as page:
        timed(page, "Shift+Enter", place, texts[START])
        page.wait_for_timeout(1000)
        page.focus(handle)
        times = []
        for key, rank in walk(START, STEPS):
            page.wait_for_timeout(pauses.uniform(100, 200))
            times.append(timed(page, key, place, texts[rank]))
    return {
        f"{until}_{name}_ms": round(percentile([time[until] for time in times], percent), 1)
        for until in ("page", "frame")
        for name, percent in (("p50", 50), ("p95", 95), ("max", 100))
    }


def first_displays(browser: Any, text: str) -> dict[str, Any]:
    """The explorer's first display, each time in a kernel and a page that have shown none."""
    times = []
    for _ in range(DISPLAYS):
        with notebook(browser, IMPORTS, BROWSER) as page:
            times.append(round(timed(page, "Shift+Enter", ".lorakit-results", text)["frame"], 1))
    return {"median_ms": median(times), "max_ms": max(times), "ms": times}


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest of `values` that at least so many percent of them do not exceed."""
    return sorted(values)[-(-percent * len(values) // 100) - 1]


def verdicts(ways: dict[str, dict[str, float]], first: dict[str, Any]) -> list[dict[str, Any]]:
    """Each level with what was measured: the first must be at most, and `times ahead` at least, the level."""
    ours = ways["in the browser"]
    levels = [
        ("in the browser, 95 of 100 steps, ms", ours["frame_p95_ms"], LEVEL_BROWSER_MS),
        ("kernel to text, 95 of 100 steps, ms", ways["kernel to text"]["frame_p95_ms"], LEVEL_KERNEL_MS),
        ("first display, the longest, ms", first["max_ms"], LEVEL_DISPLAY_MS),
    ]
    found = [{"what": what, "measured": value, "level": level, "met": value <= level} for what, value, level in levels]
    for way in ("FigureWidget", "Output"):
        for name in ("p50", "p95"):
            ahead = ways[way][f"frame_{name}_ms"] / ours[f"frame_{name}_ms"]
            what = f"times ahead of {way}, {name}"
            found.append({"what": what, "measured": round(ahead, 1), "level": LEVEL_AHEAD, "met": ahead >= LEVEL_AHEAD})
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, record; 1 where a level is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=RECORDS / "slider_to_paint.json")
    options = parser.parse_args(arguments)
    refuse_existing(options.output)
    record = {**provenance("anywidget", "ipywidgets", "plotly", "jupyterlab", "ipykernel"), "ways": {}}
    explorer = show_adapter_size(AutoConfig.from_pretrained(find_model()))
    texts = {r: explorer.describe(explorer.value | {"r": r}).results["Adapter parameters"] for r in RANKS}
    print(f"{'ms from key to frame':<24}{'p50':>8}{'p95':>8}{'max':>8}")
    with chromium() as browser:
        record["versions"]["chromium"] = browser.version
        for way in WAYS:
            times = record["ways"][way] = steps_of(browser, way, texts)
            print(
                f"{way:<24}{times['frame_p50_ms']:>8}{times['frame_p95_ms']:>8}{times['frame_max_ms']:>8}", flush=True
            )
        first = record["first_display"] = first_displays(browser, texts[START])
        print(f"{'first display':<24}{first['median_ms']:>8}{'':>8}{first['max_ms']:>8}")
    record["load"] = psutil.getloadavg()
    record["levels"] = verdicts(record["ways"], first)
    for level in record["levels"]:
        met = "met" if level["met"] else "MISSED"
        print(f"{level['what']:<40}{level['measured']:>8}  level {level['level']:>4}  {met}")
    write_record(options.output, record)
    return int(not all(level["met"] for level in record["levels"]))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LorakitError as error:
        raise SystemExit(f"slider_to_paint: {error}") from None
