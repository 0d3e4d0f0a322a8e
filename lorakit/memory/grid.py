"""The plans that `lorakit memory --measure` runs on a GPU, and the record that it writes."""

import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import torch

from lorakit.errors import LorakitError
from lorakit.finetune.machine import write_whole
from lorakit.memory.measure import measure_memory
from lorakit.memory.plan import TrainingPlan
from lorakit.memory.presets import preset

ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
MODELS = (
    "SmolLM2-135M",
    "Qwen2.5-0.5B",
    "TinyLlama-1.1B",
    "Llama-3.2-1B",
    "SmolLM2-1.7B",
    "gemma-2-2b",
    "Llama-3.2-3B",
    "Llama-2-7B",
    "Mistral-7B",
    "Llama-3-8B",
)
METHODS = (
    {"method": "full"},
    {"method": "lora"},
    {"method": "qlora"},
    {"method": "qlora", "double_quant": False},
)
CHANGES = (
    {"seq_len": 256},
    {"seq_len": 2048},
    {"seq_len": 4096, "gradient_checkpointing": True},
    {"micro_batch_size": 4},
    {"gradient_checkpointing": True},
    {"optimizer": "adamw_8bit"},
    {"optimizer": "paged_adamw_8bit"},
    {"optimizer": "sgd"},
    {"optimizer": "none"},
    {"r": 64, "target_modules": ALL_LINEAR},
    {"r": 256},
    {"adapter_dtype": "bf16"},
    {"dtype": "fp32"},
    {"dtype": "fp16"},
    {"attention": "eager"},
    {"attention": "math"},
    {"keep_outputs": True},
)
"""One thing changed at a time, from one row of 1,024 tokens."""


def grid() -> Iterator[tuple[str, TrainingPlan]]:
    """(model, plan): each method on each model; a 7B model as it is usually trained; one change at a time on a 1B."""
    start = {"micro_batch_size": 1, "seq_len": 1024}
    for method in METHODS:
        for rows, tokens in ((1, 512), (1, 2048), (4, 512)):
            yield (
                "Llama-2-7B",
                TrainingPlan(**method, micro_batch_size=rows, seq_len=tokens, gradient_checkpointing=True),
            )
    yield "Llama-2-7B", TrainingPlan(method="full", optimizer="paged_adamw_8bit", gradient_checkpointing=True, **start)
    for model in MODELS:
        for method in METHODS:
            yield model, TrainingPlan(**method, **start)
    for method in METHODS[:3]:
        for change in CHANGES:
            if method["method"] == "full" and any(name in change for name in ("r", "adapter_dtype")):
                continue
            yield "Llama-3.2-1B", TrainingPlan(**{**start, **method, **change})


def measure_grid(path: Path, command: str, tell: Callable[[str], object], minutes: float | None = None) -> dict:
    """Measure the grid and write the record after each plan: one that was stopped is gone on with.

    Args:
        path: of the record; what it holds already is not measured again.
        tell: is given a line for each plan.
        minutes: after which no new plan is begun.

    Raises:
        LorakitError: no GPU; a record of another device or of other versions.
    """
    here = provenance(command)
    record = {**here, "rows": []}
    if path.exists():
        record = json.loads(path.read_text(encoding="utf-8"))
        for name in ("device", "versions"):
            if record[name] != here[name]:
                raise LorakitError(
                    f"'{path}' was measured with {name} {record[name]}, not {here[name]}: name another file."
                )
    done = [(row["model"], row["plan"]) for row in record["rows"]]
    began = datetime.now(timezone.utc)
    for model, plan in grid():
        fields = json.loads(json.dumps(asdict(plan)))  # tuples as JSON has them
        if (model, fields) in done:
            continue
        if minutes is not None and (datetime.now(timezone.utc) - began).total_seconds() > 60 * minutes:
            break
        try:
            measured = asdict(measure_memory(preset(model), plan))
            tell(f"{model:<16}{measured['allocated_bytes'] / 2**30:8.2f} GiB  {difference(plan)}")
        except torch.OutOfMemoryError:
            measured = {"does_not_fit": True}
            tell(f"{model:<16}does not fit  {difference(plan)}")
        record["rows"].append({"model": model, "plan": fields, **measured})
        text = json.dumps(record, indent=1) + "\n"
        write_whole(path, lambda temporary, text=text: temporary.write_text(text, encoding="utf-8"))
    return record


def difference(plan: TrainingPlan) -> str:
    """The fields of a plan that are not the defaults of its method."""
    usual = asdict(TrainingPlan(method=plan.method))
    return ", ".join(f"{name}={value}" for name, value in asdict(plan).items() if value != usual[name]) or plan.method


def provenance(command: str) -> dict:
    """How a record comes about: date, device, versions, command."""
    if not torch.cuda.is_available():
        raise LorakitError("torch sees no CUDA GPU, so nothing can be measured: the records that are there stay.")
    names = ("torch", "transformers", "peft", "bitsandbytes")
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "command": command,
        "device": {
            "name": torch.cuda.get_device_name(),
            "memory_bytes": torch.cuda.get_device_properties(0).total_memory,
            "capability": list(torch.cuda.get_device_capability()),
            "cuda": torch.version.cuda,
        },
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        "rows": [],
    }
