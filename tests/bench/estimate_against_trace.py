"""The closed form against the dry run on whole models, and what the two cost: time and memory.

    python tests/bench/estimate_against_trace.py [--plans 400] [--seed 1] [--output FILE]

The plans are those of tests/memory_plans.py, with another seed than the test has. Each dry run and each estimate is
timed; beside them, the dry run of an 8B model in a process of its own, whose peak memory is its own.
"""

import argparse
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, median

from machine import GIB, RECORDS, ROOT, provenance, refuse_existing, run_apart, write_record

sys.path.append(str(ROOT / "tests"))  # the plans are those of the tests
from memory_plans import random_plans

from lorakit.memory import TrainingPlan, estimate_memory, preset, trace_memory

OF_8B = TrainingPlan(method="qlora", micro_batch_size=1, seq_len=2048, gradient_checkpointing=True)


def compare(model: str, plan: TrainingPlan) -> dict:
    """One plan both ways, and the seconds that each took."""
    config = preset(model)
    start = time.perf_counter()
    estimate = estimate_memory(config, plan)
    estimated = time.perf_counter()
    trace = trace_memory(config, plan)
    return {
        "model": model,
        "plan": asdict(plan),
        "estimated_bytes": estimate.allocated_bytes,
        "traced_bytes": trace.allocated_bytes,
        "error": round(estimate.allocated_bytes / trace.allocated_bytes - 1, 5),
        "estimate_seconds": round(estimated - start, 6),
        "trace_seconds": round(time.perf_counter() - estimated, 3),
    }


def trace_of_8b() -> dict:
    """Seconds of a dry run of Llama-3-8B after its imports, and the most memory that its process had."""
    start = time.perf_counter()
    trace_memory(preset("Llama-3-8B"), OF_8B)
    seconds = time.perf_counter() - start
    return {
        "seconds": round(seconds, 2),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plans", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RECORDS / "estimate_against_trace.json")
    arguments = parser.parse_args()
    refuse_existing(arguments.output)
    of_8b = run_apart(trace_of_8b)
    print(f"dry run of an 8B model: {of_8b['seconds']} s, {of_8b['peak_memory_bytes'] / GIB:.2f} GiB")
    rows = [compare(model, plan) for model, plan in random_plans(arguments.plans, arguments.seed)]
    errors = [abs(row["error"]) for row in rows]
    summary = {
        "plans": len(rows),
        "mean_error": round(fmean(errors), 5),
        "median_error": round(median(errors), 5),
        "worst_error": max(errors),
        "beyond_two_percent": sum(error > 0.02 for error in errors),
        "estimate_milliseconds": round(1000 * median(row["estimate_seconds"] for row in rows), 3),
        "trace_seconds": round(median(row["trace_seconds"] for row in rows), 2),
    }
    rows.sort(key=lambda row: -abs(row["error"]))
    for row in rows[:5]:
        print(f"{row['error']:+.2%}  {row['model']}  {row['plan']}")
    print(summary)
    record = {**provenance(), "trace_of_8b": of_8b, "summary": summary, "worst": rows[:10]}
    write_record(arguments.output, record)


if __name__ == "__main__":
    main()
