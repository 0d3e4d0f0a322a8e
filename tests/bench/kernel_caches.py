"""What PyTorch keeps of compiled kernels on a CPU: a fine-tune's peak memory with its caches as they are, and small.

    python tests/bench/kernel_caches.py [--output FILE]

Where a CPU multiplies in bf16, oneDNN compiles a kernel for each shape of matrix, and two caches keep these: its own,
and one in PyTorch. Sentences of many lengths make many shapes. Each run has a process of its own; a step's time is the
median of its steps. `lorakit/__init__.py` sets what is measured here.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from machine import GIB, RECORDS, provenance, refuse_existing, run_source, write_record

from lorakit.errors import LorakitError

CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
KEPT = {"as they are": dict.fromkeys(CACHES, "1024"), "32 kernels": dict.fromkeys(CACHES, "32")}
"""As they are in torch, and as lorakit sets them."""
RUN = """
import json, sys
from itertools import pairwise
from statistics import median
from lorakit.data import split_reviews
from lorakit.finetune import TrainConfig, finetune
train, held_out = split_reviews()
steps = []
history = finetune(TrainConfig(method=sys.argv[1]), train=train, held_out=held_out[:16], callback=steps.append)
seconds = round(median(after.seconds - before.seconds for before, after in pairwise(steps)), 3)
result = {"peak_memory_bytes": history.peak_memory_bytes, "seconds_per_step": seconds, "losses": history.losses}
print(json.dumps(result))
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=RECORDS / "kernel_caches.json")
    options = parser.parse_args(arguments)
    refuse_existing(options.output)
    record = {**provenance(), "runs": []}
    print(record["machine"]["summary"])
    for method in ("lora", "qlora"):
        results = {name: run_source(RUN, method, environment=os.environ | kept) for name, kept in KEPT.items()}
        losses = [result.pop("losses") for result in results.values()]
        for name, result in results.items():
            record["runs"].append({"method": method, "caches": name, "same_losses": losses[0] == losses[1], **result})
            peak, seconds = result["peak_memory_bytes"] / GIB, result["seconds_per_step"]
            print(f"{method:5}  caches {name:11}  peak {peak:.2f} GiB  {seconds:.2f} s a step", flush=True)
    write_record(options.output, record)


if __name__ == "__main__":
    try:
        main()
    except LorakitError as error:
        raise SystemExit(f"kernel_caches: {error}") from None
