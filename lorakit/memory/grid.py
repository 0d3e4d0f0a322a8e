"""The plans that `lorakit memory --measure` runs on a GPU, and the record that it writes."""

import json
import platform
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import torch

from lorakit.errors import LorakitError
from lorakit.housekeeping import write_whole
from lorakit.lora import LINEAR_LAYERS
from lorakit.measurements import FOLDER
from lorakit.memory.measure import measure_memory
from lorakit.memory.plan import TrainingPlan
from lorakit.memory.presets import preset

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
BASES = (
    {"method": "full"},
    {"method": "lora"},
    {"method": "qlora"},
    {"method": "qlora", "double_quant": False},
)
ONE_AT_A_TIME = (
    {"seq_len": 256},
    {"seq_len": 2048},
    {"seq_len": 4096, "gradient_checkpointing": True},
    {"micro_batch_size": 4},
    {"gradient_checkpointing": True},
    {"optimizer": "adamw_8bit"},
    {"optimizer": "paged_adamw_8bit"},
    {"optimizer": "sgd"},
    {"optimizer": "none"},
    {"r": 64, "target_modules": LINEAR_LAYERS},
    {"r": 256},
    {"adapter_dtype": "bf16"},
    {"dtype": "fp32"},
    {"dtype": "fp16"},
    {"attention": "eager"},
    {"attention": "math"},
    {"keep_outputs": True},
)
"""One thing changed at a time, from one row of 1,024 tokens."""


def grid() -> list[tuple[str, TrainingPlan]]:
    """(model, plan): a 7B model as it is usually trained; each method on each model; one change at a time on a 1B.

    Paged optimizers come last: bitsandbytes does not give their states back, and the card shows them ever after.
    """
    return sorted(_plans(), key=lambda pair: pair[1].optimizer.startswith("paged"))


def _plans() -> Iterator[tuple[str, TrainingPlan]]:
    start = {"micro_batch_size": 1, "seq_len": 1024}
    for base in BASES:
        for rows, tokens in ((1, 512), (1, 2048), (4, 512)):
            yield (
                "Llama-2-7B",
                TrainingPlan(**base, micro_batch_size=rows, seq_len=tokens, gradient_checkpointing=True),
            )
    yield "Llama-2-7B", TrainingPlan(method="full", optimizer="paged_adamw_8bit", gradient_checkpointing=True, **start)
    for model in MODELS:
        for base in BASES:
            yield model, TrainingPlan(**base, **start)
    for base in BASES[:3]:
        for change in ONE_AT_A_TIME:
            if base["method"] == "full" and any(name in change for name in ("r", "adapter_dtype")):
                continue
            yield "Llama-3.2-1B", TrainingPlan(**{**start, **base, **change})


def measure_grid(path: Path | None, tell: Callable[[str], object]) -> Path:
    """Measure the grid, and write the record after each plan: a run that was stopped is gone on with.

    Args:
        path: of the record, of which what it holds already is not measured again; None names one by the GPU.
        tell: is given a line for each plan.

    Raises:
        LorakitError: no GPU; a file that is no such record, or one of another device or of other versions.
    """
    record = provenance()
    path = path or FOLDER / f"{slug(record['device']['name'])}.json"
    if path.exists():
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
            _ = [earlier[name] for name in ("device", "versions", "rows")]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LorakitError(f"'{path}' is no record of such a run: name another file with `--output`.") from error
        for name in ("device", "versions"):
            if earlier[name] != record[name]:
                raise LorakitError(
                    f"'{path}' was measured with {name} {earlier[name]}, not {record[name]}: name another file with "
                    "`--output`."
                )
        record = earlier
    done = [(row["model"], row["plan"]) for row in record["rows"]]
    for model, plan in grid():
        fields = json.loads(json.dumps(asdict(plan)))  # tuples as JSON has them
        if (model, fields) in done:
            continue
        try:
            measured = asdict(measure_memory(preset(model), plan))
            tell(f"{model:<16}{measured['allocated_bytes'] / 2**30:8.2f} GiB  {difference(plan)}")
        except torch.OutOfMemoryError:
            measured = {"does_not_fit": True}
            tell(f"{model:<16}does not fit  {difference(plan)}")
        record["rows"].append({"model": model, "plan": fields, **measured})
        text = json.dumps(record, indent=1) + "\n"
        write_whole(path, lambda temporary, text=text: temporary.write_text(text, encoding="utf-8"))
    tell(f"written: {path}")
    return path


def difference(plan: TrainingPlan) -> str:
    """The fields of a plan that are not the defaults of its method."""
    usual = asdict(TrainingPlan(method=plan.method))
    return ", ".join(f"{name}={value}" for name, value in asdict(plan).items() if value != usual[name]) or plan.method


def slug(name: str) -> str:
    """A name as a file's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def provenance() -> dict:
    """How a record comes about: date, device, versions, command; and no row yet."""
    if not torch.cuda.is_available():
        raise LorakitError("torch sees no CUDA GPU, so nothing can be measured: the records that are there stay.")
    names = ("torch", "transformers", "peft", "bitsandbytes")
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "command": "lorakit memory --measure",
        "device": {
            "name": torch.cuda.get_device_name(),
            "memory_bytes": torch.cuda.get_device_properties(0).total_memory,
            "capability": list(torch.cuda.get_device_capability()),
            "cuda": torch.version.cuda,
        },
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        "rows": [],
    }
