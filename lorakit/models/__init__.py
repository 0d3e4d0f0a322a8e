"""A real language model and its tokenizer: found, fetched, loaded. Lesson 00 opens it; start reading at `load`.

devices  what to compute on, and in which dtypes
find     where a model comes from: through pip, from a folder, from the hub
load     `load_model`: in 32 or 16 bits, or quantised by bitsandbytes
loaded   what a model that was loaded is: dtypes, shapes, bytes
"""

from lorakit.models.devices import Choice, pick_device
from lorakit.models.find import (
    DEFAULT_MODEL,
    KNOWN_MODELS,
    MODEL_SOURCE,
    KnownModel,
    fetch_default_model,
    find_model,
    model_name,
    suggest_models,
)
from lorakit.models.load import BLOCK_SIZE, QUANT_TYPES, load_model
from lorakit.models.loaded import (
    CHECKPOINTING,
    checkpoint_activations,
    compute_dtype,
    empty_model,
    keep_activations,
    linear_shapes,
    quantization_of,
    weight_bytes,
)

__all__ = [
    "BLOCK_SIZE",
    "CHECKPOINTING",
    "DEFAULT_MODEL",
    "KNOWN_MODELS",
    "MODEL_SOURCE",
    "QUANT_TYPES",
    "Choice",
    "KnownModel",
    "checkpoint_activations",
    "compute_dtype",
    "empty_model",
    "fetch_default_model",
    "find_model",
    "keep_activations",
    "linear_shapes",
    "load_model",
    "model_name",
    "pick_device",
    "quantization_of",
    "suggest_models",
    "weight_bytes",
]
