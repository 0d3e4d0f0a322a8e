"""What glibc keeps of freed tensors: the peak of loading a model in 4 bits, and of a fine-tune, with and without it.

    python tests/bench/freed_blocks.py [--output FILE]

`load_model` has glibc hand back each block of 1 MiB or more as soon as it is freed. Each run has a process of its
own: the model in nf4 twice, one after the other, then twelve steps of LoRA. A step's time is the median of its steps.
With and without it take turns, three times: a machine's speed drifts.
"""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
from machine import GIB, RECORDS, provenance, refuse_existing, run_apart, write_record

from lorakit import models
from lorakit.data import split_reviews
from lorakit.errors import LorakitError
from lorakit.finetune import TrainConfig, finetune
from lorakit.finetune.machine import measured_peak
from lorakit.housekeeping import release_memory


def run(blocks: str) -> dict:
    """Peak memory of two loads and of a fine-tune, in bytes, a step's seconds, and the losses; in a process apart."""
    if blocks == "kept":
        models.return_large_blocks = lambda: None
    loads = []
    for _ in range(2):
        with measured_peak(torch.device("cpu")) as peak:
            model = models.load_model(quant_type="nf4", dtype=torch.bfloat16, device="cpu")
        loads.append(peak[0])
        del model
        release_memory()
    train, held_out = split_reviews()
    steps = []
    history = finetune(TrainConfig(steps=12), train=train, held_out=held_out[:16], callback=steps.append)
    return {
        "load_peaks": loads,
        "finetune_peak": history.peak_memory_bytes,
        "seconds_per_step": round(median(after.seconds - before.seconds for before, after in pairwise(steps)), 3),
        "losses": history.losses,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=RECORDS / "freed_blocks.json")
    options = parser.parse_args(arguments)
    refuse_existing(options.output)
    record = {**provenance(), "runs": []}
    print(record["machine"]["summary"])
    results = [(blocks, run_apart(run, blocks)) for _ in range(3) for blocks in ("kept", "returned")]
    losses = [result.pop("losses") for _, result in results]
    record["same_losses"] = all(each == losses[0] for each in losses)
    for blocks, result in results:
        record["runs"].append({"large_blocks": blocks, **result})
        first, second, finetune = (peak / GIB for peak in (*result["load_peaks"], result["finetune_peak"]))
        print(f"large blocks {blocks:8}  loads {first:.2f} and {second:.2f} GiB  LoRA {finetune:.2f} GiB", end="  ")
        print(f"{result['seconds_per_step']:.2f} s a step")
    write_record(options.output, record)


if __name__ == "__main__":
    try:
        main()
    except LorakitError as error:
        raise SystemExit(f"freed_blocks: {error}") from None
