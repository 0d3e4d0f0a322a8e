"""LoRA at several ranks, alphas and learning rates, its variants, and full fine-tuning: what lessons 06 and 08 show.

    python tests/bench/lora_settings.py [--seed 0] [--held-out 1000] [--steps N] [--only NAME ...] [--output FILE]

The same rows in the same order for all, on one seed, each in a process of its own and judged on the same held-out
sentences. A run is kept in `runs/settings/` when it is done: the same command goes on where it was stopped. No time is
recorded, so the machine may do other work meanwhile.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from compare_methods import paired_difference, rounded, train_every_weight
from machine import GIB, ROOT, kept_run, model_name, provenance, refuse_existing, run_apart, write_record
from peft import LoraConfig, get_peft_model

from lorakit.data import HELD_OUT, split_reviews
from lorakit.errors import LorakitError
from lorakit.finetune import TrainConfig, evaluate, finetune
from lorakit.finetune.adapters import peft_config
from lorakit.finetune.machine import measured_peak
from lorakit.lora import LINEAR_LAYERS
from lorakit.models import load_model

KEPT = ROOT / "runs" / "settings"


@dataclass(frozen=True)
class Setting:
    """One run: LoRA by a config, with what peft calls its variant; or, where `full`, every weight trained."""

    config: TrainConfig = field(default_factory=TrainConfig)
    variant: dict[str, Any] = field(default_factory=dict)
    full: bool = False


def lora(
    r: int, lora_alpha: float, learning_rate: float = 2e-3, targets: Sequence[str] = ("q_proj", "v_proj"), **variant
):
    """A run with adapters."""
    return Setting(
        TrainConfig(r=r, lora_alpha=lora_alpha, learning_rate=learning_rate, target_modules=targets), variant
    )


def full(learning_rate: float) -> Setting:
    """A run that trains every weight."""
    return Setting(TrainConfig(learning_rate=learning_rate), full=True)


SETTINGS = {
    "r 8, alpha 16": lora(8, 16),
    "r 1, alpha 2": lora(1, 2),
    "r 4, alpha 8": lora(4, 8),
    "r 16, alpha 32": lora(16, 32),
    "r 64, alpha 128": lora(64, 128),
    "r 64, alpha 16": lora(64, 16),
    "r 8, alpha 4": lora(8, 4),
    "r 8, alpha 64": lora(8, 64),
    "r 8, alpha 16, lr 5e-4": lora(8, 16, 5e-4),
    "r 8, alpha 16, lr 8e-3": lora(8, 16, 8e-3),
    "r 64, alpha 16, rsLoRA": lora(64, 16, use_rslora=True),
    "r 8, alpha 16, DoRA": lora(8, 16, use_dora=True),
    "r 8, alpha 16, PiSSA": lora(8, 16, init_lora_weights="pissa"),
    "r 8, alpha 16, all linear layers": lora(8, 16, targets=LINEAR_LAYERS),
    "full, lr 2e-5": full(2e-5),
    "full, lr 1e-4": full(1e-4),
    "full, lr 5e-4": full(5e-4),
}


def run(setting: Setting, held_out: int) -> dict:
    """One fine-tune, as the record keeps it."""
    train, sentences = split_reviews()
    sentences = sentences[:held_out]
    model, tokenizer = load_model()
    config = setting.config
    with measured_peak(model.device) as peak:
        if setting.full:
            trained = model.num_parameters()
            losses = [step.loss for step in train_every_weight(config, model, tokenizer, train)]
        else:
            torch.manual_seed(config.seed)
            chosen = LoraConfig(**{**peft_config(config).to_dict(), "peft_type": None, **setting.variant})
            model = get_peft_model(model, chosen)
            trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
            losses = finetune(config, model, tokenizer, train=train, held_out=sentences[:2]).losses
    after = evaluate(model, tokenizer, sentences, 16)
    verdicts = zip(after.predictions, sentences, strict=True)
    return {
        "config": asdict(config),
        "variant": setting.variant,
        "full": setting.full,
        "trained": trained,
        "after": {name: round(getattr(after, name), 4) for name in ("accuracy", "low", "high", "loss", "n")},
        "peak_memory_bytes": peak[0],
        "right": "".join("01"[word == row["completion"]] for word, row in verdicts),
        "losses": [round(loss, 4) for loss in losses],
    }


def with_pairs(runs: dict[str, dict]) -> dict[str, dict]:
    """Each run with its accuracy minus that of the first, on the same sentences, and the 95 % interval of that."""
    first, *_ = ([mark == "1" for mark in one["right"]] for one in runs.values())
    for one in runs.values():
        one["minus_first"] = rounded(paired_difference([mark == "1" for mark in one["right"]], first))
    return runs


def table(record: dict) -> str:
    """The record for the eye."""
    lines = [record["machine"]["summary"]]
    lines.append(f"{'run':34}{'trained':>13}{'accuracy':>10}{'minus first, points':>22}{'loss':>8}{'GiB':>6}")
    for name, one in record["runs"].items():
        difference, low, high = (100 * one["minus_first"][key] for key in ("difference", "low", "high"))
        lines.append(
            f"{name:34}{one['trained']:>13,}{one['after']['accuracy']:>10.3f}"
            f"{f'{difference:+.1f} [{low:+.1f}, {high:+.1f}]':>22}{one['after']['loss']:>8.3f}"
            f"{one['peak_memory_bytes'] / GIB:>6.2f}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do the runs that are missing, then write and print the record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", type=int, default=HELD_OUT, help=f"sentences to judge on, 2 to {HELD_OUT}")
    parser.add_argument("--steps", type=int, default=TrainConfig.steps)
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="NAME")
    parser.add_argument("--output", type=Path, default=ROOT / "lorakit" / "records" / "lora_settings.json")
    options = parser.parse_args(arguments)
    if not 2 <= options.held_out <= HELD_OUT:
        parser.error(f"--held-out {options.held_out}: there are {HELD_OUT} held-out sentences, and a pair is the least")
    refuse_existing(options.output)
    runs = {}
    for name in options.only:
        given = SETTINGS[name]
        config = TrainConfig(**asdict(given.config) | {"seed": options.seed, "steps": options.steps})
        setting = Setting(config, given.variant, given.full)
        work = partial(run_apart, run, setting, options.held_out)
        runs[name] = kept_run(KEPT, name, [asdict(setting), options.held_out], work)
    record = {**provenance(), "model": model_name(), "seed": options.seed, "runs": with_pairs(runs)}
    write_record(options.output, record)
    print(table(record))


if __name__ == "__main__":
    try:
        main()
    except LorakitError as error:
        raise SystemExit(f"lora_settings: {error}") from None
