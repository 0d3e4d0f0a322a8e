"""How quick our nf4 is beside bitsandbytes', on a CPU: seconds to quantise a weight, and to dequantise it.

    python tests/bench/quantizer.py [--rows N] [--columns N] [--output FILE]

Both do it in turns, in one process, on one float32 weight of random normal numbers; medians of all turns but the first.
The codes must agree, or nothing is recorded. The level: quantising takes ours at most twice as long.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import bitsandbytes.functional as bnb
import torch
from machine import RECORDS, provenance, refuse_existing, write_record

from lorakit.errors import LorakitError
from lorakit.quantization import quantize

TURNS = 12
LEVEL = 2.0


def in_turns(ways: dict[str, Callable[[], object]], turns: int = TURNS) -> dict[str, float]:
    """Median seconds of each way, all tried in turns so that a busy machine slows all of them; the first is no turn."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return {name: median(values[1:]) for name, values in seconds.items()}


def measure(rows: int, columns: int, turns: int = TURNS) -> dict:
    """Seconds of both on one weight, and how many times as long ours takes."""
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    codes, state = bnb.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    ours = quantize(weight, "nf4", double_quant=True)
    if not torch.equal(ours.codes, codes.flatten()) or not torch.equal(ours.absmax.codes, state.absmax):
        raise LorakitError("our codes are not those of bitsandbytes: run tests/test_quantization.py before this.")
    tasks = {
        "quantize": {
            "ours": lambda: quantize(weight, "nf4", double_quant=True),
            "bitsandbytes": lambda: bnb.quantize_4bit(weight, quant_type="nf4", compress_statistics=True),
        },
        "dequantize": {"ours": ours.dequantize, "bitsandbytes": lambda: bnb.dequantize_4bit(codes, state)},
    }
    found = {}
    for task, ways in tasks.items():
        seconds = in_turns(ways, turns)
        times_as_long = seconds["ours"] / seconds["bitsandbytes"]
        found[task] = {name: round(value, 4) for name, value in seconds.items()}
        found[task]["times_as_long"] = round(times_as_long, 2)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--columns", type=int, default=4096)
    parser.add_argument("--output", type=Path, default=RECORDS / "quantizer.json")
    options = parser.parse_args(arguments)
    refuse_existing(options.output)
    record = {**provenance(), "shape": [options.rows, options.columns], "dtype": "float32", "turns": TURNS}
    print(record["machine"]["summary"])
    record["seconds"] = measure(options.rows, options.columns)
    for task, found in record["seconds"].items():
        print(
            f"{task}: ours {found['ours']:.3f} s, bitsandbytes {found['bitsandbytes']:.3f} s, "
            f"{found['times_as_long']:.2f} times as long"
        )
    record["level"] = LEVEL
    record["met"] = record["seconds"]["quantize"]["times_as_long"] <= LEVEL
    print(f"at most {LEVEL:g} times as long to quantise: {'met' if record['met'] else 'NOT met'}")
    write_record(options.output, record)


if __name__ == "__main__":
    try:
        main()
    except LorakitError as error:
        raise SystemExit(f"quantizer: {error}") from None
