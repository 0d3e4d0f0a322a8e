"""LoRA and QLoRA over several seeds, judged on the same held-out sentences: the record that lesson 10 shows.

    python tests/bench/compare_methods.py [--seeds 0 1 2] [--held-out 1000] [--steps N] [--output FILE]

Each run has a process of its own, so that its peak memory is its own. It is kept in `runs/compare/` when it is done:
the same command goes on where it was stopped, and writes the record when all runs are there. A kept run counts for the
same settings, machine and versions only. The code is not compared: after a change of it, delete that folder.
"""

import argparse
import hashlib
import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, stdev

from machine import GIB, ROOT, describe_machine, provenance, refuse_existing, versions, write_record

from lorakit.data import HELD_OUT, split_reviews
from lorakit.errors import LorakitError
from lorakit.finetune import METHODS, Evaluation, TrainConfig, finetune
from lorakit.finetune.machine import write_whole
from lorakit.models import DEFAULT_MODEL

KEPT = ROOT / "runs" / "compare"


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


def compare(runs: Sequence[dict]) -> dict:
    """LoRA minus QLoRA: by seed, and the mean over the seeds.

    The interval of the mean is over sentences: each counts once, with its mean difference over the seeds, since the
    seeds share them. How far the seeds lie apart is `sd_of_seeds`; with so few of them it has no interval.
    """
    right = {(run["method"], run["seed"]): [mark == "1" for mark in run["right"]] for run in runs}
    seeds = sorted({run["seed"] for run in runs})
    by_seed = {str(seed): paired_difference(right["lora", seed], right["qlora", seed]) for seed in seeds}
    sentences = zip(*(zip(right["lora", seed], right["qlora", seed], strict=True) for seed in seeds), strict=True)
    mean = mean_and_interval([fmean(a - b for a, b in sentence) for sentence in sentences])
    spread = stdev(difference for difference, _, _ in by_seed.values()) if len(seeds) > 1 else None
    return {
        "by_seed": {seed: _rounded(values) for seed, values in by_seed.items()},
        "mean": {**_rounded(mean), "sd_of_seeds": spread if spread is None else round(spread, 5)},
    }


def _rounded(values: tuple[float, float, float]) -> dict:
    return dict(zip(("difference", "low", "high"), (round(value, 5) for value in values), strict=True))


# --- 2. The runs ---


def run(config: TrainConfig, held_out: int) -> dict:
    """One fine-tune, as the record keeps it."""
    train, sentences = split_reviews()
    sentences = sentences[:held_out]
    history = finetune(config, train=train, held_out=sentences)
    if history.stopped:
        raise KeyboardInterrupt
    verdicts = zip(history.after.predictions, sentences, strict=True)
    return {
        "method": config.method,
        "seed": config.seed,
        "quant_type": config.quant_type,
        "before": _figures(history.before),
        "after": _figures(history.after),
        "first_loss": round(history.losses[0], 4),
        "last_loss": round(history.losses[-1], 4),
        "seconds": round(history.seconds, 2),
        "seconds_per_step": round(history.seconds / len(history.losses), 4),
        "tokens_per_second": round(history.tokens_per_second, 1),
        "peak_memory_bytes": history.peak_memory_bytes,
        "right": "".join("01"[word == row["completion"]] for word, row in verdicts),
        "losses": [round(loss, 4) for loss in history.losses],
    }


def _figures(evaluation: Evaluation) -> dict:
    names = ("accuracy", "low", "high", "loss", "n")
    return {name: round(getattr(evaluation, name), 4) for name in names}


def run_apart(config: TrainConfig, held_out: int) -> dict:
    """`run` in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(run, config, held_out).result()


def kept_run(config: TrainConfig, held_out: int) -> dict:
    """The run from the folder of kept ones, done first where it is not there."""
    settings = [asdict(config), held_out, model_name(), describe_machine(), versions()]
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    path = KEPT / f"{config.method}-seed{config.seed}-{digest}.json"
    if not path.exists():
        print(f"{config.method}, seed {config.seed}", flush=True)
        result = run_apart(config, held_out)
        KEPT.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda temporary: temporary.write_text(json.dumps(result)))
    return json.loads(path.read_text())


def model_name() -> str:
    """The model that load_model() takes."""
    return os.environ.get("LORAKIT_MODEL") or DEFAULT_MODEL


# --- 3. The record ---


def table(record: dict) -> str:
    """The record for the eye."""
    lines = [record["machine"]["summary"]]
    lines.append(f"{'method':7}{'seed':>5}{'before':>8}{'after':>8}{'95 % interval':>17}{'s/step':>8}{'peak GiB':>10}")
    for one in record["runs"]:
        after = one["after"]
        interval = f"[{after['low']:.3f}, {after['high']:.3f}]"
        lines.append(
            f"{one['method']:7}{one['seed']:>5}{one['before']['accuracy']:>8.3f}{after['accuracy']:>8.3f}{interval:>17}"
            f"{one['seconds_per_step']:>8.2f}{one['peak_memory_bytes'] / GIB:>10.2f}"
        )
    lines.append("LoRA minus QLoRA, in points of accuracy, with 95 % intervals (paired)")
    pairs = {f"seed {seed}": pair for seed, pair in record["paired"]["by_seed"].items()}
    for name, pair in {**pairs, "mean": record["paired"]["mean"]}.items():
        difference, low, high = (100 * pair[key] for key in ("difference", "low", "high"))
        lines.append(f"{name:8}{difference:+6.2f}  [{low:+.2f}, {high:+.2f}]")
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
    configs = [
        TrainConfig(method=method, seed=seed, steps=options.steps)
        for seed in sorted(set(options.seeds))
        for method in METHODS
    ]
    runs = [kept_run(config, options.held_out) for config in configs]
    common = {name: value for name, value in asdict(configs[0]).items() if name not in ("method", "quant_type", "seed")}
    record = {**provenance(), "model": model_name(), "config": common, "runs": runs, "paired": compare(runs)}
    write_record(options.output, record)
    print(table(record))


if __name__ == "__main__":
    try:
        main()
    except LorakitError as error:
        raise SystemExit(f"compare_methods: {error}") from None
