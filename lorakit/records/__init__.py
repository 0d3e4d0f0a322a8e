"""Measurements that take too long for a lesson: made by a command of this repository, kept as JSON, shown as recorded.

`lora_vs_qlora.json`: `python tests/bench/compare_methods.py`.
`lora_settings.json`: `python tests/bench/lora_settings.py`.
`quant_types.json`: `python tests/bench/quant_types.py`.
"""

import json
from pathlib import Path


def load_record(name: str) -> dict:
    """A record by name; it says itself on what device, with which versions and when it was made."""
    return json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
