"""Random training plans, for what is to hold for all of them."""

import random

from lorakit.errors import LorakitError
from lorakit.lora import LINEAR_LAYERS
from lorakit.memory import TrainingPlan, estimate_memory, preset
from lorakit.memory.plan import ATTENTIONS, DTYPES, METHODS, OPTIMIZERS, QUANT_TYPES

MODELS = (
    "SmolLM2-135M",
    "Qwen2.5-0.5B",
    "TinyLlama-1.1B",
    "Llama-3.2-1B",
    "SmolLM2-1.7B",
    "gemma-2-2b",
    "Llama-2-7B",
    "Mistral-7B",
)


def random_plan(rng: random.Random) -> TrainingPlan:
    """Any plan at all, of up to 8 x 2,048 tokens."""
    options = {
        "method": rng.choice(METHODS),
        "dtype": rng.choice([*DTYPES, "bf16"]),
        "micro_batch_size": rng.choice([1, 2, 4, 8]),
        "seq_len": rng.choice([100, 256, 512, 1024, 2048]),
        "optimizer": rng.choice(OPTIMIZERS),
        "gradient_checkpointing": rng.random() < 0.5,
        "attention": rng.choice([*ATTENTIONS, "efficient", "efficient"]),
        "keep_outputs": rng.random() < 0.3,
    }
    if options["method"] != "full":
        options |= {
            "r": rng.choice([1, 4, 8, 16, 64, 128]),
            "target_modules": tuple(rng.sample(LINEAR_LAYERS, rng.randint(1, len(LINEAR_LAYERS)))),
            "adapter_dtype": rng.choice(list(DTYPES)),
        }
    if options["method"] == "qlora":
        options |= {"quant_type": rng.choice(QUANT_TYPES), "double_quant": rng.random() < 0.5}
    return TrainingPlan(**options)


def random_plans(count: int, seed: int = 0) -> list[tuple[str, TrainingPlan]]:
    """(model, plan) pairs that the model can run."""
    rng, found = random.Random(seed), []
    while len(found) < count:
        model, plan = rng.choice(MODELS), random_plan(rng)
        try:
            estimate_memory(preset(model), plan)
        except LorakitError:  # such as an attention kernel that takes no float32
            continue
        found.append((model, plan))
    return found
