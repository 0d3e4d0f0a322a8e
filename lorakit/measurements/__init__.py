"""Training steps measured on GPUs: a JSON file for each run of `lorakit memory --measure`.

`published.csv` has what others have measured of their own code (see `lorakit.memory.published`).
"""

import json
from functools import cache
from pathlib import Path
from statistics import median

FOLDER = Path(__file__).parent


def load_measurements() -> list[dict]:
    """The records, the oldest first; there may be none.

    Each says its date, device, versions and command; its `rows` have the model (a preset of lorakit.memory), the plan
    (the fields of TrainingPlan), and what was measured (the fields of Measurement), or `does_not_fit`.
    """
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))]
    return sorted(records, key=lambda record: record["date"])


@cache
def overheads() -> tuple[float, int]:
    """Reserved over allocated, in the median of all rows, and the bytes of CUDA's context; (1.0, 0) with no record.

    The context is the least that a card had in use beyond what torch had reserved: later rows also hold the states of
    paged optimizers before them, which bitsandbytes does not give back.
    """
    rows = [row for record in load_measurements() for row in record["rows"] if "allocated_bytes" in row]
    if not rows:
        return 1.0, 0
    ratio = median(row["reserved_bytes"] / row["allocated_bytes"] for row in rows)
    return ratio, min(row["card_bytes"] - row["reserved_bytes"] for row in rows)
