"""LoRA, QLoRA and full fine-tuning over several seeds, judged on the same sentences: the record of lesson 10.

    python tests/bench/compare_methods.py [--seeds 0 1 2] [--held-out 1000] [--steps N] [--output FILE]

All three train on the same rows in the same order. Each run has a process of its own, so that its peak memory is its
own; a step's time is the median of the run's steps, which other work on the machine moves least. A run is kept in
`runs/compare/` when it is done: the same command goes on where it was stopped, and writes the record when all runs are
there. A kept run counts for the same settings, machine and versions only. The code is not compared: after a change of
it, delete that folder.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median, stdev

import torch
from machine import GIB, ROOT, kept_run, model_name, provenance, refuse_existing, run_apart, write_record

from lorakit.data import HELD_OUT, Row, collate, encode, length_buckets, split_reviews, step_rows
from lorakit.errors import LorakitError
from lorakit.finetune import (
    Evaluation,
    History,
    Step,
    TrainConfig,
    completion_loss,
    evaluate,
    finetune,
    learning_rate_at,
)
from lorakit.finetune.machine import measured_peak
from lorakit.models import load_model

KEPT = ROOT / "runs" / "compare"
METHODS = ("lora", "qlora", "full")
PAIRS = (("lora", "qlora"), ("full", "lora"))
"""The differences that are recorded: the first method's accuracy minus the second's."""
FULL_LEARNING_RATE = 1e-4
"""Full fine-tuning wants smaller steps than an adapter. Of the three that `lora_settings.json` has, on one seed, this
one ended with the lowest loss; 2e-5 was level with it in accuracy, and 5e-4 fell behind."""


# --- 1. The statistics ---


def mean_and_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean and its 95 % interval, low and high: 1.96 standard errors either way."""
    mean, half = fmean(values), 1.96 * stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def paired_difference(a: Sequence[bool], b: Sequence[bool]) -> tuple[float, float, float]:
    """Accuracy of `a` minus that of `b`, which judged the same sentences, with its 95 % interval.

    A sentence that both get right, or both wrong, says nothing about the difference: pairing takes its chance out.
    """
    return mean_and_interval([right_a - right_b for right_a, right_b in zip(a, b, strict=True)])


def compare(runs: Sequence[dict], a: str, b: str) -> dict:
    """Method `a` minus method `b`: by seed, and the mean over the seeds.

    The interval of the mean is over sentences: each counts once, with its mean difference over the seeds, since the
    seeds share them. How far the seeds lie apart is `sd_of_seeds`; with so few of them it has no interval.
    """
    right = {(run["method"], run["seed"]): [mark == "1" for mark in run["right"]] for run in runs}
    seeds = sorted({run["seed"] for run in runs})
    by_seed = {str(seed): paired_difference(right[a, seed], right[b, seed]) for seed in seeds}
    sentences = zip(*(zip(right[a, seed], right[b, seed], strict=True) for seed in seeds), strict=True)
    mean = mean_and_interval([fmean(one - other for one, other in sentence) for sentence in sentences])
    spread = stdev(difference for difference, _, _ in by_seed.values()) if len(seeds) > 1 else None
    return {
        "by_seed": {seed: rounded(values) for seed, values in by_seed.items()},
        "mean": {**rounded(mean), "sd_of_seeds": spread if spread is None else round(spread, 5)},
    }


def rounded(values: tuple[float, float, float]) -> dict[str, float]:
    """A difference and its interval as a record keeps them."""
    return dict(zip(("difference", "low", "high"), (round(value, 5) for value in values), strict=True))


# --- 2. Full fine-tuning ---


def train_every_weight(config: TrainConfig, model, tokenizer, rows: Sequence[Row]) -> Iterator[Step]:
    """The steps of `lorakit.finetune`, one at a time, with every weight of the model trained."""
    model.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    seen, seconds = 0, 0.0
    for index, step in enumerate(step_rows(encode(rows, tokenizer), config.rows_per_step, config.steps, config.seed)):
        start = time.perf_counter()
        learning_rate = learning_rate_at(index, config)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        tokens, loss = sum(len(row.completion) for row in step), 0.0
        for micro_batch in length_buckets(step, config.micro_batch_size):
            part = completion_loss(model, collate(micro_batch, tokenizer.pad_token_id)) / tokens
            part.backward()
            loss += part.item()
        grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm).item()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seen += sum(len(row.input_ids) for row in step)
        seconds += time.perf_counter() - start
        yield Step(index + 1, config.steps, loss, learning_rate, grad_norm, seen, seconds)


def finetune_every_weight(
    config: TrainConfig, *, train: Sequence[Row], held_out: Sequence[Row], callback: Callable[[Step], object]
) -> History:
    """As `finetune`, but with every weight trained, in float32: 16 bits would round small steps away."""
    model, tokenizer = load_model(dtype=torch.float32)
    rows_at_once = 4 * config.micro_batch_size
    with measured_peak(model.device) as peak:
        before = evaluate(model, tokenizer, held_out, rows_at_once)
        losses = []
        for step in train_every_weight(config, model, tokenizer, train):
            losses.append(step.loss)
            callback(step)
        after = evaluate(model, tokenizer, held_out, rows_at_once)
    return History(config, before, after, losses, step.seconds, step.tokens, peak[0], False, model, tokenizer)


# --- 3. The runs ---


def config_of(method: str, seed: int, steps: int) -> TrainConfig:
    """What decides a run. Full fine-tuning takes LoRA's config, of which r, alpha and targets mean nothing to it."""
    if method == "full":
        return TrainConfig(method="lora", seed=seed, steps=steps, learning_rate=FULL_LEARNING_RATE)
    return TrainConfig(method=method, seed=seed, steps=steps)


def run(method: str, config: TrainConfig, held_out: int) -> dict:
    """One fine-tune, as the record keeps it."""
    train, sentences = split_reviews()
    sentences = sentences[:held_out]
    clock = [0.0]
    tune = finetune_every_weight if method == "full" else finetune
    history = tune(config, train=train, held_out=sentences, callback=lambda step: clock.append(step.seconds))
    if history.stopped:
        raise KeyboardInterrupt
    verdicts = zip(history.after.predictions, sentences, strict=True)
    return {
        "method": method,
        "seed": config.seed,
        "quant_type": config.quant_type,
        "learning_rate": config.learning_rate,
        "trained": sum(weight.numel() for weight in history.model.parameters() if weight.requires_grad),
        "before": _figures(history.before),
        "after": _figures(history.after),
        "first_loss": round(history.losses[0], 4),
        "last_loss": round(history.losses[-1], 4),
        "seconds": round(history.seconds, 2),
        "seconds_per_step": round(median(after - before for before, after in pairwise(clock)), 4),
        "tokens_per_second": round(history.tokens_per_second, 1),
        "peak_memory_bytes": history.peak_memory_bytes,
        "right": "".join("01"[word == row["completion"]] for word, row in verdicts),
        "losses": [round(loss, 4) for loss in history.losses],
    }


def _figures(evaluation: Evaluation) -> dict:
    names = ("accuracy", "low", "high", "loss", "n")
    return {name: round(getattr(evaluation, name), 4) for name in names}


# --- 4. The record ---


def table(record: dict) -> str:
    """The record for the eye."""
    lines = [record["machine"]["summary"]]
    lines.append(
        f"{'method':7}{'seed':>5}{'before':>8}{'after':>8}{'95 % interval':>17}{'loss':>8}{'s/step':>8}{'peak GiB':>10}"
    )
    for one in record["runs"]:
        after = one["after"]
        interval = f"[{after['low']:.3f}, {after['high']:.3f}]"
        lines.append(
            f"{one['method']:7}{one['seed']:>5}{one['before']['accuracy']:>8.3f}{after['accuracy']:>8.3f}{interval:>17}"
            f"{after['loss']:>8.3f}{one['seconds_per_step']:>8.2f}{one['peak_memory_bytes'] / GIB:>10.2f}"
        )
    lines.append("differences in points of accuracy, with 95 % intervals (paired)")
    for pair, paired in record["paired"].items():
        for name, values in {**paired["by_seed"], "mean": paired["mean"]}.items():
            difference, low, high = (100 * values[key] for key in ("difference", "low", "high"))
            lines.append(f"{pair:14}{name:>5}{difference:+8.2f}  [{low:+.2f}, {high:+.2f}]")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do the runs that are missing, then write and print the record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--held-out", type=int, default=HELD_OUT, help=f"sentences to judge on, 2 to {HELD_OUT}")
    parser.add_argument("--steps", type=int, default=TrainConfig.steps)
    parser.add_argument("--output", type=Path, default=ROOT / "lorakit" / "records" / "lora_vs_qlora.json")
    options = parser.parse_args(arguments)
    if not 2 <= options.held_out <= HELD_OUT:
        parser.error(f"--held-out {options.held_out}: there are {HELD_OUT} held-out sentences, and a pair is the least")
    refuse_existing(options.output)
    runs = []
    for seed in sorted(set(options.seeds)):
        for method in METHODS:
            asked = (method, config_of(method, seed, options.steps), options.held_out)
            settings = [asdict(asked[1]), options.held_out]
            runs.append(kept_run(KEPT, f"{method}, seed {seed}", settings, partial(run_apart, run, *asked)))
    apart = ("method", "quant_type", "seed", "learning_rate")
    common = {name: value for name, value in asdict(TrainConfig(steps=options.steps)).items() if name not in apart}
    paired = {f"{a} - {b}": compare(runs, a, b) for a, b in PAIRS}
    record = {**provenance(), "model": model_name(), "config": common, "runs": runs, "paired": paired}
    write_record(options.output, record)
    print(table(record))


if __name__ == "__main__":
    try:
        main()
    except LorakitError as error:
        raise SystemExit(f"compare_methods: {error}") from None
