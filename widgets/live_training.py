"""A fine-tune that is watched while it runs, and can be stopped: `show_training`."""

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import ipywidgets as ipw
from IPython import get_ipython
from IPython.display import HTML, display
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lorakit.data import Row
from lorakit.finetune import History, Step, TrainConfig, evaluate, finetune, rows_or_reviews
from lorakit.models import load_model
from widgets.kernel_messages import messages_of
from widgets.svg import svg_image
from widgets.training_picture import WIDTH, Accuracy, training_svg, training_words

IN_BETWEEN = 100
"""Held-out rows that a run is evaluated on at a quarter, a half and three quarters of its steps."""
SECONDS_A_DRAWING = 0.25
STEPS_SHOWN = 50  # of a longer run, at first; they double whenever they are full
STOP = "Stop after this step"


class LiveTraining:
    """What a fine-tune of `steps` steps shows while it runs, its Stop button, and the picture that it leaves.

    `stop` is set when the button was pressed. It may be, on a thread of the kernel's own: nothing but the button and
    this flag is touched there.
    """

    def __init__(self, steps: int, rows: int):
        self.steps, self.rows = steps, rows
        self.losses: list[tuple[int, float]] = []
        self.accuracies: list[Accuracy] = []
        self.stop = threading.Event()
        self.began = False
        self.bars: list[LiveBar] = []
        self.drawn_at = -math.inf
        self.said = ""
        self.hear = lambda: None
        self.status, self.numbers, self.picture = ipw.HTML(), ipw.HTML(), ipw.HTML()
        self.button = ipw.Button(description=STOP, icon="stop", layout=ipw.Layout(width="auto"))
        self.button.on_click(self._stop)
        self.row = ipw.HBox([self.button, self.numbers])
        self.box = ipw.VBox([self.status, self.row, self.picture])

    def _stop(self, button: ipw.Button) -> None:
        self.stop.set()
        button.description = "Stopping after this step"

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Shows the live view within the block, and in its place the picture after it, however the block ends."""
        # As ipywidgets 8 would show it: in 7 a widget shows itself, and forgets the id that the picture needs.
        view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
        bundle = {"application/vnd.jupyter.widget-view+json": view, "text/plain": "a fine-tune, while it runs"}
        place = display(bundle, raw=True, display_id=True)
        try:
            with messages_of(self.button) as self.hear:
                yield
            title = self.title("Finished")
        except KeyboardInterrupt:
            title = self.title("Interrupted")
            raise
        except BaseException as error:
            title = self.title(f"Ended by {type(error).__name__}")
            raise
        finally:
            place.update(HTML(self.image(title)))
            self.close()

    def title(self, ending: str) -> str:
        """How the run ended, and how far it came."""
        last = self.losses[-1][0] if self.losses else 0
        if last == self.steps:
            return f"{ending} after {_counted(last, 'step')}"
        ending = "Stopped" if ending == "Finished" else ending
        return f"{ending} after step {last:,} of {self.steps:,}"

    def image(self, title: str) -> str:
        """The picture of what was seen of the run; of nothing, none."""
        if not self.losses and not self.accuracies:
            return ""
        last = self.losses[-1][0] if self.losses else self.steps
        drawing = training_svg(self.losses, self.accuracies, last, title)
        words = training_words(self.losses, self.accuracies, title)
        return f'<div aria-live="polite">{svg_image(drawing.encode(), WIDTH, words)}</div>'

    def close(self) -> None:
        """Leave no widget behind, nor the parts that each has: a notebook may be saved with those that are open."""
        for widget in (self.box, self.row, self.status, self.numbers, self.picture, self.button):
            for part in (widget.layout, getattr(widget, "style", None), widget):
                if part is not None:
                    part.close()

    def bar(self, total: int, what: str, unit: str) -> "LiveBar":
        """The bar that `finetune` asks for: of the evaluation before, of the training, of the evaluation after."""
        if what == "training":
            self.began = True
            return LiveBar(self, f"Training for {_counted(total, unit)}", total, unit)
        if self.began:
            self.row.children = (self.numbers,)
        when = "after" if self.began else "before"
        return LiveBar(self, f"Evaluating on all {self.rows} held-out rows {when} training", total, unit, self.rows)

    def bar_in_between(self, total: int, what: str, unit: str) -> "LiveBar":
        """The bar of an evaluation on the first few held-out rows."""
        n = min(IN_BETWEEN, self.rows)
        return LiveBar(self, f"Evaluating on {n} held-out rows after step {self.step}", total, unit, n)

    @property
    def step(self) -> int:
        """The last step that was seen."""
        return self.losses[-1][0] if self.losses else 0

    def add_loss(self, step: Step) -> None:
        """Take in what a callback is told."""
        self.losses.append((step.step, step.loss))
        self.refresh()

    def complete(self, history: History) -> None:
        """Take in what a resumed run had done before."""
        self.losses = list(enumerate(history.losses, start=1))
        before = history.before
        if before.accuracy is not None and not any(point.step == 0 for point in self.accuracies):
            first = Accuracy(0, before.n, True, before.accuracy, before.low, before.high)
            self.accuracies.insert(0, first)

    def refresh(self) -> None:
        """Hear the button, say what has changed, and draw when it is time to."""
        self.hear()
        bar = self.bars[-1] if self.bars else None
        if bar is None:
            return
        stopping = self.stop.is_set() and self.button in self.row.children
        self.say("Stopping after this step: what was learned is kept." if stopping else f"{bar.what}.")
        if time.monotonic() - self.drawn_at < SECONDS_A_DRAWING:
            return
        self.numbers.value = bar.html() + (f" · loss {self.losses[-1][1]:.3f}" if self.losses else "")
        if self.losses or self.accuracies:
            doublings = max(math.ceil(math.log2(max(self.step, 1) / STEPS_SHOWN)), 0)
            last = min(STEPS_SHOWN * 2**doublings, self.steps)
            drawing = training_svg(self.losses, self.accuracies, last, self.title("Training"))
            self.picture.value = f'<div role="img" aria-label="Loss and accuracy so far">{drawing}</div>'
        self.drawn_at = time.monotonic()

    def say(self, words: str) -> None:
        """Announce a phase; the numbers, which change all the time, are not announced."""
        if words != self.said:
            self.said = words
            self.status.value = f'<div role="status" aria-live="polite">{escape(words)}</div>'


class LiveBar:
    """One job of a run, as `finetune` and `evaluate` drive it (see `lorakit.finetune.machine.Bar`)."""

    def __init__(self, view: LiveTraining, what: str, total: int, unit: str, n: int = 0):
        self.view, self.what, self.total, self.unit, self.n = view, what, total, unit, n
        self.done = 0
        self.times: deque[tuple[float, int]] = deque(maxlen=10)
        view.bars.append(self)
        view.refresh()

    def update(self, n: int = 1) -> None:
        self.done += n
        self.times.append((time.monotonic(), self.done))
        self.view.refresh()

    def set_postfix(self, **values) -> None:
        if "accuracy" in values:
            self.view.accuracies.append(Accuracy(self.view.step, self.n, self.n == self.view.rows, **values))
        self.view.refresh()

    def close(self) -> None:
        self.view.bars.remove(self)

    def __enter__(self) -> "LiveBar":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def html(self) -> str:
        """How far it is, and how long it has to go at the pace of the last few updates."""
        (start, first), (end, last) = (self.times[0], self.times[-1]) if self.times else ((0, 0), (0, 0))
        left = f" · {_duration((end - start) / (last - first) * (self.total - last))} left" if last > first else ""
        words = escape(f"{self.unit} {self.done:,} of {self.total:,}{left}")
        return f'<progress aria-label="{escape(self.what)}" max="{self.total}" value="{self.done}"></progress> {words}'


def show_training(
    config: TrainConfig,
    model: PreTrainedModel | PeftModel | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    train: Sequence[Row] | None = None,
    held_out: Sequence[Row] | None = None,
    output_dir: str | Path | None = None,
    resume: bool = False,
) -> History:
    """`finetune`, with the same arguments and the same result, watched: its loss, its accuracy, and a Stop button.

    The cell is busy to the end of the run, which leaves a picture. The button ends the run after the step it is in, and
    what was learned is kept; so does Kernel > Interrupt, which is the way where a notebook sends no clicks to a busy
    kernel, as in VS Code. Outside a notebook there is the text of `finetune` alone.
    """
    rows = {"train": train, "held_out": held_out}
    kept = {"output_dir": output_dir, "resume": resume}
    if not hasattr(get_ipython(), "kernel"):
        return finetune(config, model, tokenizer, **rows, **kept)
    rows["train"], rows["held_out"] = rows_or_reviews(train, held_out)
    if model is None and tokenizer is None:
        model, tokenizer = load_model(quant_type=config.quant_type, double_quant=config.double_quant)
    view = LiveTraining(config.steps, len(rows["held_out"]))
    has_accuracy = all("label_words" in row for row in rows["held_out"])
    few = rows["held_out"][:IN_BETWEEN]
    quarters = {config.steps * quarter // 4 for quarter in (1, 2, 3)} if has_accuracy else set()

    def after_step(step: Step) -> bool:
        view.add_loss(step)
        if step.step in quarters and not view.stop.is_set():
            evaluate(model, tokenizer, few, 4 * config.micro_batch_size, view.bar_in_between)
        return view.stop.is_set()

    with view.shown():
        history = finetune(config, model, tokenizer, **rows, **kept, callback=after_step, progress=view.bar)
        view.complete(history)
    return history


def _counted(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
