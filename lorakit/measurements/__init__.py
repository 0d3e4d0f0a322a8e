"""Training steps measured on GPUs: made by `lorakit memory --measure`, kept as JSON, one file for each run of it."""

import json
from pathlib import Path

FOLDER = Path(__file__).parent


def load_measurements() -> list[dict]:
    """The records, the oldest first; there may be none.

    Each says its date, device, versions and command; its `rows` have the model (a preset of lorakit.memory), the plan
    (the fields of TrainingPlan), and what was measured (the fields of Measurement), or `does_not_fit`.
    """
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))]
    return sorted(records, key=lambda record: record["date"])
