"""How torch's threads should wait for each other: seconds a step of LoRA, alone and beside a busy program.

    python tests/bench/waiting_threads.py [--output FILE]

GNU's OpenMP, which torch has on Linux, lets a thread spin for a while before it sleeps. Spinning is quick where every
thread has a core; beside another program it burns the time slices that the other threads wait for. Measured are its
default, no spinning at all (OMP_WAIT_POLICY=PASSIVE), and short spinning (GOMP_SPINCOUNT), each in a process of its
own, in turns; medians of all but the first step of each. `lorakit/__init__.py` sets what did best.
"""

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from machine import RECORDS, provenance, refuse_existing, run_source, write_record

from lorakit.errors import LorakitError

TURNS = 2
WAYS = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spin 1000": {"GOMP_SPINCOUNT": "1000"},
    "spin 10000": {"GOMP_SPINCOUNT": "10000"},
}
STEPS = """
import torch  # before lorakit, so that the way to wait is this process's own
from itertools import pairwise
from lorakit.data import split_reviews
from lorakit.finetune import TrainConfig, finetune
steps = []
finetune(TrainConfig(steps=6), held_out=split_reviews()[1][:1], train=split_reviews()[0], callback=steps.append)
print([after.seconds - before.seconds for before, after in pairwise(steps)])
"""


def steps(way: dict[str, str]) -> list[float]:
    """Seconds of each step but the first."""
    kept = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    return run_source(STEPS, environment=kept | way)


@contextlib.contextmanager
def busy_program() -> Iterator[None]:
    """Another program that wants one core, in a session of its own, as a browser is."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=RECORDS / "waiting_threads.json")
    options = parser.parse_args(arguments)
    refuse_existing(options.output)
    record = {**provenance(), "median_seconds_a_step": {}}
    print(record["machine"]["summary"])
    for beside, surroundings in (("alone", contextlib.nullcontext), ("beside a busy program", busy_program)):
        seconds: dict[str, list[float]] = {name: [] for name in WAYS}
        with surroundings():
            for _ in range(TURNS):
                for name, way in WAYS.items():
                    seconds[name] += steps(way)
        medians = {name: round(median(values), 3) for name, values in seconds.items()}
        record["median_seconds_a_step"][beside] = medians
        print(f"{beside}: " + ", ".join(f"{name} {value:.2f} s" for name, value in medians.items()), flush=True)
    write_record(options.output, record)


if __name__ == "__main__":
    try:
        main()
    except LorakitError as error:
        raise SystemExit(f"waiting_threads: {error}") from None
