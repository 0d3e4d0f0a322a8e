"""Seconds a step of our loop, and of TRL's SFTTrainer, on the same rows: ours is to take a third of its time at most.

    pip install trl
    python tests/bench/step_against_trl.py [--output FILE]

On the CPU, one after the other in turns, the first step of each turn left out. Both have the same model in float32
(under bf16 autocast, both, where the CPU has it), the same adapter, the same optimizer steps over the same rows in the
same order, the same micro-batches in number and size, and no packing. That they do the same work is checked: each step
must have as many tokens, and the first one the same loss. Exits with 1 where the ratio is below 3.

TRL runs with its defaults but for what must be equal. One default is measured both ways: it checkpoints activations
(computes them twice, to hold fewer), and our loop does not. The level is for the faster way, without. What differs
then, as read in the source of trl 1.16:

- It makes micro-batches of rows as they come, padded on the right to the longest; we sort the rows of a step by length
  first, so that little is padded. (Its sampler by length shuffles rows over several steps, and has other rows in each.)
- On a CPU it multiplies every position with `lm_head`, padding and prompt too, in tiles and a second time in the
  backward pass; we multiply the positions that predict a completion's tokens. (On a CUDA GPU it skips the others too.)
- It computes entropy and token accuracy beside the loss, for its log.
- Its time starts after a step's rows are collated; ours contains that.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
from machine import RECORDS, provenance, refuse_existing, write_record
from transformers import TrainerCallback

from lorakit.data import Row, split_reviews, step_rows
from lorakit.errors import LorakitError
from lorakit.finetune import Step, TrainConfig, finetune
from lorakit.finetune.adapters import peft_config
from lorakit.models import compute_dtype, load_model

LEVEL = 3.0
TURNS = 2
STEPS = 6
OURS, THEIRS, THEIRS_CHECKPOINTED = "lorakit", "TRL", "TRL, activations checkpointed"


@dataclass(frozen=True)
class Turn:
    """One run of a loop: seconds of each step, tokens so far at each step's end, loss of the first step."""

    seconds: list[float]
    tokens: list[int]
    first_loss: float


def our_turn(config: TrainConfig, rows: Sequence[Row]) -> Turn:
    """A run of `lorakit.finetune`."""
    model, tokenizer = load_model(dtype=torch.float32, device="cpu")
    steps: list[Step] = []
    finetune(config, model, tokenizer, train=rows, held_out=rows[:1], callback=steps.append)
    ends = [0.0, *(step.seconds for step in steps)]
    return Turn([end - start for start, end in pairwise(ends)], [step.tokens for step in steps], steps[0].loss)


class Clock(TrainerCallback):
    """Times the steps of a Trainer."""

    def __init__(self):
        self.seconds: list[float] = []

    def on_step_begin(self, args, state, control, **kwargs):
        """Before the first micro-batch."""
        self.start = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        """After the optimizer's step."""
        self.seconds.append(time.perf_counter() - self.start)


def their_turn(config: TrainConfig, rows: Sequence[Row], checkpointing: bool) -> Turn:
    """A run of SFTTrainer."""
    import datasets
    from trl import SFTConfig, SFTTrainer

    datasets.disable_progress_bars()
    model, tokenizer = load_model(dtype=torch.float32, device="cpu")
    in_order = [row for step in step_rows(rows, config.rows_per_step, config.steps, config.seed) for row in step]
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            output_dir=folder,
            max_steps=config.steps,
            per_device_train_batch_size=config.micro_batch_size,
            gradient_accumulation_steps=config.gradient_accumulation_steps,
            train_sampling_strategy="sequential",
            completion_only_loss=True,
            packing=False,
            gradient_checkpointing=checkpointing,
            use_cpu=True,
            bf16=compute_dtype(model) == torch.bfloat16,
            learning_rate=config.learning_rate,
            lr_scheduler_type=config.lr_scheduler_type,
            warmup_steps=config.warmup_steps,
            max_grad_norm=config.max_grad_norm,
            seed=config.seed,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = SFTTrainer(
            model,
            arguments,
            train_dataset=datasets.Dataset.from_list(in_order),
            processing_class=tokenizer,
            peft_config=peft_config(config),
            callbacks=[clock],
        )
        trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    return Turn(clock.seconds, [int(entry["num_tokens"]) for entry in logs], float(logs[0]["loss"]))


def measure() -> dict[str, list[float]]:
    """Seconds of the steps that count, by whose they are."""
    # Without label words our loop ends a completion with the end-of-sequence token, as TRL does with every one.
    rows = [{"prompt": row["prompt"], "completion": row["completion"]} for row in split_reviews()[0]]
    seconds: dict[str, list[float]] = {OURS: [], THEIRS: [], THEIRS_CHECKPOINTED: []}
    for turn in range(TURNS):
        config = TrainConfig(steps=STEPS, seed=turn)
        turns = {
            OURS: our_turn(config, rows),
            THEIRS: their_turn(config, rows, checkpointing=False),
            THEIRS_CHECKPOINTED: their_turn(config, rows, checkpointing=True),
        }
        for name, done in turns.items():
            check_same_work(name, turns[OURS], done)
            seconds[name] += done.seconds[1:]
    return seconds


def check_same_work(name: str, ours: Turn, done: Turn) -> None:
    """Raise LorakitError where another loop had other rows, or another loss of them."""
    if done.tokens != ours.tokens or abs(done.first_loss - ours.first_loss) > 0.01 * ours.first_loss:
        raise LorakitError(
            f"{name} did other work: tokens {done.tokens}, first loss {done.first_loss:.3f}; ours {ours.tokens}, "
            f"{ours.first_loss:.3f}."
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, record; 1 where the ratio is below the level."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=RECORDS / "step_against_trl.json")
    options = parser.parse_args(arguments)
    refuse_existing(options.output)
    try:
        import trl  # noqa: F401
    except ImportError as error:
        raise LorakitError(f"trl cannot be imported ({error}): `pip install trl`; only this bench needs it.") from error
    seconds = measure()
    medians = {name: median(steps) for name, steps in seconds.items()}
    ratios = {name: medians[name] / medians[OURS] for name in (THEIRS, THEIRS_CHECKPOINTED)}
    record = {
        **provenance("trl", "accelerate", "datasets"),
        "level": LEVEL,
        "median_seconds": {name: round(value, 4) for name, value in medians.items()},
        "ratio_to_lorakit": {name: round(value, 3) for name, value in ratios.items()},
        "seconds": {name: [round(value, 4) for value in steps] for name, steps in seconds.items()},
    }
    print(record["machine"]["summary"])
    print(", ".join(f"{name} {number}" for name, number in record["versions"].items()))
    for name, value in medians.items():
        ratio = f"   {ratios[name]:.2f} times ours" if name in ratios else ""
        print(f"{name:<30}{value:>7.2f} s a step (median of {len(seconds[name])}){ratio}")
    write_record(options.output, record)
    return int(ratios[THEIRS] < LEVEL)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except LorakitError as error:
        raise SystemExit(f"step_against_trl: {error}") from None
