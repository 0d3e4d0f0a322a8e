"""What the capstone's answers learn: each fine-tune that the tests of its check need, trained and judged, for real.

    python tests/bench/capstone_runs.py [--output FILE]

A run takes minutes, and its check is tried with many seeds: `tests/test_checks.py` looks the results up in the record.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from machine import RECORDS, provenance, refuse_existing, write_record

from lorakit.checks.lesson12 import accuracy_after
from lorakit.errors import LorakitError
from lorakit.finetune import TrainConfig

RUNS = (
    {"method": "qlora", "quant_type": "nf4", "gradient_checkpointing": True},  # the lesson's own solution
    {"gradient_checkpointing": True},
    {"micro_batch_size": 2, "gradient_accumulation_steps": 4},
    {"gradient_checkpointing": True, "steps": 1},  # within the budget, and not trained enough
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=RECORDS / "capstone_runs.json")
    options = parser.parse_args(arguments)
    refuse_existing(options.output)
    record = {**provenance(), "runs": []}
    print(record["machine"]["summary"])
    for settings in RUNS:
        reached = accuracy_after(TrainConfig(**settings))
        record["runs"].append({"settings": settings, "after": asdict(replace(reached, predictions=None))})
        print(settings, reached, sep="\n", flush=True)
    write_record(options.output, record)


if __name__ == "__main__":
    try:
        main()
    except LorakitError as error:
        raise SystemExit(f"capstone_runs: {error}") from None
