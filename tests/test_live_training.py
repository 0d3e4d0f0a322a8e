import contextlib
import hashlib
import math
import os
import queue
import re
import sys
import time
import xml.dom.minidom
from pathlib import Path
from types import SimpleNamespace

import ipywidgets as ipw
import pytest
from jupyter_client.manager import KernelManager
from test_widgets import alt, picture, texts

from lorakit import LorakitError
from lorakit.finetune import TrainConfig, evaluate, finetune
from lorakit.models import load_model
from widgets import live_training, show_training
from widgets.training_picture import Accuracy, ticks, training_svg, training_words

SMALL = {"steps": 8, "micro_batch_size": 2, "gradient_accumulation_steps": 2, "warmup_steps": 1, "lora_dropout": 0.1}
BEFORE, BETWEEN = Accuracy(0, 400, True, 0.5, 0.25, 0.75), Accuracy(20, 100, False, 0.75, 0.625, 0.875)
AFTER = Accuracy(40, 400, True, 0.875, 0.75, 1.0)


# ------------------------------------------------------------------------------------------------- the picture


def drawing(*arguments):
    return xml.dom.minidom.parseString(training_svg(*arguments))


def floats(text):
    return [float(number) for number in re.findall(r"-?[\d.]+", text)]


def scale(svg, axis, labels):
    """From a place to what an axis says of it, by two of the numbers beside the axis (the last ones so called)."""
    places = {
        node.firstChild.data: float(node.getAttribute(axis)) - (5 if axis == "y" else 0)
        for node in svg.getElementsByTagName("text")
        if not node.getAttribute("transform")
    }
    (one, two), (at_one, at_two) = map(float, labels), (places[label] for label in labels)
    return lambda place: one + (place - at_one) * (two - one) / (at_two - at_one)


def test_the_loss_is_drawn_where_the_axes_say():
    svg = drawing([(1, 4.0), (2, 1.0), (40, 2.5)], [], 40, "Finished after 40 steps")
    (line,) = svg.getElementsByTagName("polyline")
    places = floats(line.getAttribute("points"))
    step, loss = scale(svg, "x", ("0", "40")), scale(svg, "y", ("1", "4"))
    assert [step(x) for x in places[::2]] == pytest.approx([1, 2, 40], abs=0.01)
    assert [loss(y) for y in places[1::2]] == pytest.approx([4.0, 1.0, 2.5], abs=0.01)
    assert texts(svg)[0] == "Finished after 40 steps"
    assert {"loss on the rows of each step", "cross-entropy (nats a token)", "optimizer step"} <= set(texts(svg))
    assert not any("accuracy" in text for text in texts(svg))
    assert svg.documentElement.getAttribute("font-size") == "14"


def test_accuracies_are_drawn_where_the_axes_say_with_their_intervals():
    svg = drawing([(1, 4.0)], [BEFORE, BETWEEN, AFTER], 40, "Finished")
    step, accuracy = scale(svg, "x", ("0", "40")), scale(svg, "y", ("0.25", "0.75"))
    lines = [path for path in svg.getElementsByTagName("path") if path.getAttribute("class") == "whisker"]
    legend, whiskers = lines[:2], lines[2:]
    for line, point in zip(whiskers, [BEFORE, BETWEEN, AFTER], strict=True):
        x, low, high = floats(line.getAttribute("d"))
        assert step(x) == pytest.approx(point.step, abs=0.01)
        assert (accuracy(low), accuracy(high)) == pytest.approx((point.low, point.high), abs=0.001)
    discs = [floats(disc.getAttribute("cy"))[0] for disc in svg.getElementsByTagName("circle")[-2:]]
    assert [accuracy(y) for y in discs] == pytest.approx([0.5, 0.875], abs=0.001)
    # all rows and a few differ in colour, in the dashes of the whisker, and in the marker
    for all_rows, few in [legend, whiskers[:2]]:
        assert all_rows.getAttribute("stroke") != few.getAttribute("stroke")
        assert (all_rows.hasAttribute("stroke-dasharray"), few.hasAttribute("stroke-dasharray")) == (False, True)
    assert [text for text in texts(svg) if "on " in text][1:] == ["on all 400 held-out rows", "on the first 100"]
    assert {"0.500", "0.875", "accuracy (share right)", "bars: 95 % intervals"} <= set(texts(svg))


def test_a_long_run_is_drawn_as_means_and_says_so():
    svg = drawing([(step, float(step)) for step in range(1, 1001)] + [(1001, math.nan)], [], 1001, "Finished")
    (line,) = svg.getElementsByTagName("polyline")
    places = floats(line.getAttribute("points"))
    assert len(places) == 2 * 334
    loss = scale(svg, "y", ("200", "1000"))
    assert [loss(y) for y in places[1::2]][:2] == pytest.approx([2, 5], abs=0.5)
    assert "loss, each point the mean of 3 steps" in texts(svg)


def test_ticks_are_round_and_cover_the_end():
    assert ticks(4.2) == [0, 1, 2, 3, 4, 5]
    assert ticks(0.01) == pytest.approx([0, 0.002, 0.004, 0.006, 0.008, 0.01])
    assert ticks(1, whole=True) == [0, 1]
    assert ticks(40, whole=True) == [0, 10, 20, 30, 40]


def test_the_picture_in_words():
    losses = [(1, 3.25), (2, 2.0), (40, 0.5)]
    assert training_words(losses, [BEFORE, BETWEEN, AFTER], "Finished after 40 steps") == (
        "Finished after 40 steps. The loss was 3.250 nats a token at step 1, and 0.500 at step 40. "
        "The accuracy before training was 0.500 on all 400 held-out rows, 95 % interval 0.250 to 0.750. "
        "The accuracy after step 20 was 0.750 on the first 100 held-out rows, 95 % interval 0.625 to 0.875. "
        "The accuracy after step 40 was 0.875 on all 400 held-out rows, 95 % interval 0.750 to 1.000."
    )


def test_what_somebody_named_is_escaped(shown, monkeypatch, tiny, rows):
    title = 'Ended by <i>"x" & </i> after step 1 of 2'
    assert texts(drawing([(1, 2.0)], [], 1, title))[0] == title
    view = live_training.LiveTraining(2, 1)
    view.bar(2, "training", '<script>"').update()
    assert "&lt;script&gt;&quot;" in view.status.value + view.numbers.value
    assert "<script" not in view.status.value + view.numbers.value
    wrong = type("<b>Wrong", (Exception,), {})
    monkeypatch.setattr(live_training, "evaluate", raises(wrong))
    with pytest.raises(wrong):
        show_training(TrainConfig(**SMALL), *tiny, train=rows)
    assert "<b" not in shown[-1]
    assert alt(shown[-1]).startswith("Ended by <b>Wrong after step 2 of 8. The loss was ")


# ------------------------------------------------------------------------------------------------- the bars


class Bar:
    """Writes down what it is told."""

    def __init__(self, *made_for):
        self.made_for, self.done, self.notes, self.closed = made_for, 0, [], False

    def update(self, n=1):
        self.done += n

    def set_postfix(self, **values):
        self.notes.append(values)

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def test_a_run_drives_the_bars_that_it_is_given(tiny, rows, capsys):
    bars = []

    def progress(*made_for):
        bars.append(Bar(*made_for))
        return bars[-1]

    history = finetune(TrainConfig(**SMALL), *tiny, train=rows, progress=progress)
    assert [bar.made_for for bar in bars] == [
        (8, "evaluating", "row"),
        (8, "training", "step"),
        (8, "evaluating", "row"),
    ]
    assert [bar.done for bar in bars] == [8, 8, 8]
    assert all(bar.closed for bar in bars)
    for bar, result in [(bars[0], history.before), (bars[2], history.after)]:
        assert bar.notes == [{"accuracy": result.accuracy, "low": result.low, "high": result.high}]
    assert bars[1].notes == [{"loss": f"{loss:.3f}"} for loss in history.losses]
    evaluate(history.model, history.tokenizer, [{"prompt": "One, two,", "completion": " three"}], progress=progress)
    assert (bars[3].notes, bars[3].closed) == ([], True)
    assert capsys.readouterr().out == ""


def test_a_bar_of_text_tells_the_accuracy_too(tiny, rows, capsys):
    result = evaluate(*tiny, rows)
    assert f"accuracy={result.accuracy:.3g}, high={result.high:.3g}, low={result.low:.3g}" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------- the run


@pytest.fixture
def shown(monkeypatch):
    """A notebook that cannot be clicked: what a cell displayed, and then what stood in its place."""
    outputs = []

    def display(data, raw, display_id):
        assert (raw, display_id) == (True, True)
        outputs.append(data)
        return SimpleNamespace(update=lambda html: outputs.append(html.data))

    monkeypatch.setattr(live_training, "get_ipython", lambda: SimpleNamespace(kernel=None))
    monkeypatch.setattr(live_training, "display", display)
    return outputs


@pytest.fixture
def said(monkeypatch):
    """What a screen reader was told, one phase after the other."""
    words = []
    say = live_training.LiveTraining.say

    def note(view, sentence):
        if view.said != sentence:
            words.append(sentence)
        say(view, sentence)

    monkeypatch.setattr(live_training.LiveTraining, "say", note)
    return words


def raises(error):
    def function(*arguments, **keywords):
        raise error

    return function


def open_widgets():
    return set(getattr(ipw.widgets.widget, "_instances", None) or ipw.Widget.widgets)


def digest(folder):
    return hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("rows_in_between", [100, 3])
def test_it_trains_what_finetune_trains(rows_in_between, shown, said, monkeypatch, tiny_folder, tmp_path, rows):
    monkeypatch.setattr(live_training, "IN_BETWEEN", rows_in_between)
    config, held_out = TrainConfig(**SMALL), rows[::-1]
    base = load_model(tiny_folder, device="cpu")
    plain = finetune(config, *base, train=rows, held_out=held_out, output_dir=tmp_path / "plain")
    base, widgets = load_model(tiny_folder, device="cpu"), open_widgets()
    history = show_training(config, *base, train=rows, held_out=held_out, output_dir=tmp_path / "watched")
    assert history.losses == plain.losses
    assert (history.before, history.after, history.stopped) == (plain.before, plain.after, False)
    assert digest(tmp_path / "watched") == digest(tmp_path / "plain")
    assert history.model.training == plain.model.training
    few = min(rows_in_between, 8)
    evaluations = [f"Evaluating on {few} held-out rows after step {step}." for step in (2, 4, 6)]
    assert said == [
        "Evaluating on all 8 held-out rows before training.",
        *(line for evaluation in evaluations for line in ("Training for 8 steps.", evaluation)),
        "Training for 8 steps.",
        "Evaluating on all 8 held-out rows after training.",
    ]
    live, left = shown
    assert live["application/vnd.jupyter.widget-view+json"]["version_major"] == 2
    assert open_widgets() == widgets
    words = alt(left)
    first, last = plain.losses[0], plain.losses[-1]
    assert words.startswith(
        f"Finished after 8 steps. The loss was {first:.3f} nats a token at step 1, and {last:.3f} at step 8. "
    )
    which = "all 8" if few == 8 else "the first 3"
    assert [found for found in re.findall(r"accuracy (.*?) was [\d.]+ on (.*?) held", words)] == [
        ("before training", "all 8"),
        *((f"after step {step}", which) for step in (2, 4, 6)),
        ("after step 8", "all 8"),
    ]
    assert f"before training was {plain.before.accuracy:.3f}" in words
    assert f"after step 8 was {plain.after.accuracy:.3f}" in words
    svg = picture(left)
    assert len(floats(svg.getElementsByTagName("polyline")[0].getAttribute("points"))) == 2 * 8


def test_without_label_words_there_is_the_loss_alone(shown, said, tiny):
    free = [{"prompt": "Count to two:", "completion": " 1 2"}, {"prompt": "Say hello.", "completion": " Hello"}]
    history = show_training(TrainConfig(**SMALL), *tiny, train=free)
    assert history.after.accuracy is None
    assert not [line for line in said if "after step" in line]
    assert "accuracy" not in shown[-1] + " ".join(texts(picture(shown[-1])))


def clicked_at(call, seen):
    """Messages of a button that is clicked when they are asked for the `call`-th time."""

    @contextlib.contextmanager
    def messages_of(button):
        calls = iter(range(1, 10**6))

        def hear():
            if next(calls) == call:
                button.click()
                seen.append(button.description)

        yield hear

    return messages_of


def test_the_button_ends_the_run_after_its_step(shown, said, monkeypatch, tiny_folder, rows, tmp_path):
    heard = []
    monkeypatch.setattr(live_training, "messages_of", clicked_at(12, heard))
    config = TrainConfig(**SMALL | {"steps": 100})
    base = load_model(tiny_folder, device="cpu")
    history = show_training(config, *base, train=rows, output_dir=tmp_path / "run")
    assert history.stopped
    assert 0 < len(history.losses) < 10
    assert heard == ["Stopping after this step"]
    assert said[-2:] == [
        "Stopping after this step: what was learned is kept.",
        "Evaluating on all 8 held-out rows after training.",
    ]
    assert alt(shown[-1]).startswith(f"Stopped after step {len(history.losses)} of 100. The loss was ")
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    monkeypatch.setattr(live_training, "messages_of", clicked_at(0, heard))
    base = load_model(tiny_folder, device="cpu")
    whole = show_training(config, *base, train=rows, output_dir=tmp_path / "run", resume=True)
    assert whole.losses[: len(history.losses)] == history.losses
    assert alt(shown[-1]).startswith(
        f"Finished after 100 steps. The loss was {history.losses[0]:.3f} nats a token at step 1"
    )
    assert f"accuracy before training was {history.before.accuracy:.3f} on all 8" in alt(shown[-1])


@pytest.mark.parametrize(
    ("error", "ending"), [(ZeroDivisionError("x"), "Ended by ZeroDivisionError"), (KeyboardInterrupt(), "Interrupted")]
)
def test_a_run_that_fails_leaves_its_picture(error, ending, shown, monkeypatch, tiny, rows):
    monkeypatch.setattr(live_training, "evaluate", raises(error))
    widgets = open_widgets()
    with pytest.raises(type(error)):
        show_training(TrainConfig(**SMALL), *tiny, train=rows)
    assert open_widgets() == widgets
    assert alt(shown[-1]).startswith(f"{ending} after step 2 of 8. The loss was ")
    assert "accuracy before training" in alt(shown[-1])


def test_a_run_that_never_began_leaves_nothing(shown, tiny, rows, tmp_path):
    (tmp_path / "adapter_model.safetensors").write_text("")
    with pytest.raises(LorakitError, match="finished adapter"):
        show_training(TrainConfig(**SMALL), *tiny, train=rows, output_dir=tmp_path)
    assert shown[1:] == [""]


def test_outside_a_notebook_there_is_text(tiny, rows, capsys):
    history = show_training(TrainConfig(**SMALL), *tiny, train=rows)
    assert len(history.losses) == 8
    assert "loss=" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------- a real kernel

PYTHON = sys.executable
BEGIN = """
import ipywidgets as ipw
import torch
from unittest.mock import patch
from tiny import ROWS
from lorakit.finetune import TrainConfig, add_adapters
from lorakit.models import load_model
from widgets import show_training
from widgets.live_training import LiveTraining
torch.set_num_threads(1)
config = TrainConfig(steps=100_000)
model, tokenizer = load_model({folder!r}, device="cpu")
model = add_adapters(model, config)  # in advance: it is trained more than once
"""
TRAIN = "slider = ipw.IntSlider()\nhistory = show_training(config, model, tokenizer, train=ROWS)"
THEN = "print('THEN', history.stopped, 0 < len(history.losses) < 100_000, history.after.n, slider.value)"
LAST = "print('LAST', slider.value)"
FAIL = f"with patch.object(LiveTraining, 'complete', lambda *_: 1 / 0):\n    {TRAIN.splitlines()[1]}"


class Notebook:
    """As much of a notebook as is needed: cells that are queued, a button that is clicked, and what comes back."""

    def __init__(self, client, interrupt):
        self.client, self.interrupt = client, interrupt
        self.comms, self.outputs, self.running = {}, {}, []

    def run(self, source):
        """Queue a cell."""
        cell = self.client.execute(source)
        self.outputs[cell] = []
        return cell

    def send(self, model, data, subshell=None):
        """What the browser sends for the newest widget of a kind."""
        message = self.client.session.msg("comm_msg", {"comm_id": self.comms[model], "data": data})
        if subshell:
            message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)

    def click(self, subshell=None):
        self.send("ButtonModel", {"method": "custom", "content": {"event": "click"}}, subshell)

    def listen_until(self, done):
        """Take in what the kernel publishes until `done(message)`, for a minute at most."""
        deadline = time.monotonic() + 60
        while True:
            message = self.client.get_iopub_msg(timeout=max(deadline - time.monotonic(), 0))
            kind, content, cell = message["msg_type"], message["content"], message["parent_header"].get("msg_id")
            if kind == "comm_open":
                self.comms[content["data"]["state"].get("_model_name")] = content["comm_id"]
            elif kind == "execute_input":
                self.running.append(cell)
            elif kind == "stream":
                self.outputs[cell].append(content["text"])
            elif kind == "error":
                self.outputs[cell].append("\n".join(content["traceback"]))
            elif kind in ("display_data", "update_display_data"):
                where = content["transient"]["display_id"]
                self.outputs[cell].append((where, content["data"]))
            if done(message):
                return

    def listen_until_idle(self, cell):
        def idle(message):
            mine = message["parent_header"].get("msg_id") == cell
            return mine and message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"

        self.listen_until(idle)

    def listen_until_training(self):
        self.listen_until(
            lambda message: "loss" in str(message["content"].get("data", {}).get("state", {}).get("value"))
        )

    def text(self, cell):
        return "".join(part for part in self.outputs[cell] if isinstance(part, str)).strip()


@pytest.fixture(scope="module")
def notebook(tiny_folder):
    """A kernel of PYTHON that has run the first cell."""
    tests = Path(__file__).parent
    manager = KernelManager(kernel_name="python3")
    manager.kernel_spec.argv[0] = PYTHON
    manager.start_kernel(env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (tests, tests.parent)))})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        notebook = Notebook(client, manager.interrupt_kernel)
        notebook.listen_until_idle(notebook.run(BEGIN.format(folder=tiny_folder)))
        yield notebook
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def subshell_of(client):
    """A thread of the kernel that takes messages while a cell is busy, as JupyterLab asks for; None in ipykernel 6."""
    client.control_channel.send(client.session.msg("create_subshell_request", {}))
    try:
        return client.get_control_msg(timeout=5)["content"].get("subshell_id")
    except queue.Empty:
        return None


@pytest.mark.parametrize("how", ["click", "click on a subshell", "interrupt"])
def test_a_busy_cell_hears_the_button_and_the_next_cells_wait(how, notebook):
    subshell = subshell_of(notebook.client) if how == "click on a subshell" else None
    if how == "click on a subshell" and subshell is None:
        pytest.skip("ipykernel 6 has no subshells")
    train = notebook.run(TRAIN)
    notebook.listen_until_training()
    then = notebook.run(THEN)
    notebook.send("IntSliderModel", {"method": "update", "state": {"value": 7}, "buffer_paths": []})
    last = notebook.run(LAST)
    if how == "interrupt":
        notebook.interrupt()
    else:
        notebook.click(subshell)
        notebook.click(subshell)  # once more, and nothing is broken
    notebook.listen_until_idle(last)
    assert notebook.running[-3:] == [train, then, last]
    # the slider's message kept its turn too: it is not handled before the cell that it came after
    assert notebook.text(then) == "THEN True True 8 0"
    assert notebook.text(last) == "LAST 7"
    told = "ending after this step; interrupt again to end at once" if how == "interrupt" else ""
    assert notebook.text(train) == told
    (live, view), (left, html) = [part for part in notebook.outputs[train] if not isinstance(part, str)]
    assert live == left
    assert "application/vnd.jupyter.widget-view+json" in view
    assert sorted(html) == ["text/html", "text/plain"]
    assert re.match(r"Stopped after step [\d,]+ of 100,000\. The loss was ", alt(html["text/html"]))
    # afterwards a widget's messages are handled in the ordinary way
    notebook.send("IntSliderModel", {"method": "update", "state": {"value": 9}, "buffer_paths": []})
    after = notebook.run(LAST)
    notebook.listen_until_idle(after)
    assert notebook.text(after) == "LAST 9"


def test_when_the_cell_fails_the_queued_cells_are_dropped_as_ever(notebook):
    train = notebook.run(FAIL)
    notebook.listen_until_training()
    queued = notebook.run("print('never')")
    notebook.click()
    notebook.listen_until_idle(queued)
    assert "ZeroDivisionError" in notebook.text(train)
    assert alt(notebook.outputs[train][-2][1]["text/html"]).startswith("Ended by ZeroDivisionError after step ")
    assert notebook.text(queued) == ""
    assert queued not in notebook.running
    # ipykernel 6 goes on dropping for a moment after the last queued cell: the learner's next one may come too early
    deadline = time.monotonic() + 60
    alive = None
    while alive not in notebook.running:
        assert time.monotonic() < deadline, "the kernel drops every cell"
        alive = notebook.run("print('alive')")
        notebook.listen_until_idle(alive)
    assert notebook.text(alive) == "alive"
