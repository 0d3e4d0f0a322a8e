"""A model's config; of the well-known ones with no hub: facts of their published config.json."""

from transformers import AutoConfig, PretrainedConfig

from lorakit.errors import LorakitError
from lorakit.models import find_model, model_name

_FIELDS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "tie_word_embeddings",
    "max_position_embeddings",
)
_SHAPES = {
    "SmolLM2-135M": ("llama", 576, 1536, 30, 9, 3, 64, 49152, True, 8192),
    "SmolLM2-360M": ("llama", 960, 2560, 32, 15, 5, 64, 49152, True, 8192),
    "Qwen2.5-0.5B": ("qwen2", 896, 4864, 24, 14, 2, 64, 151936, True, 32768),
    "TinyLlama-1.1B": ("llama", 2048, 5632, 22, 32, 4, 64, 32000, False, 2048),
    "Llama-3.2-1B": ("llama", 2048, 8192, 16, 32, 8, 64, 128256, True, 131072),
    "Qwen2.5-1.5B": ("qwen2", 1536, 8960, 28, 12, 2, 128, 151936, True, 131072),
    "SmolLM2-1.7B": ("llama", 2048, 8192, 24, 32, 32, 64, 49152, True, 8192),
    "gemma-2-2b": ("gemma2", 2304, 9216, 26, 8, 4, 256, 256000, True, 8192),
    "Llama-3.2-3B": ("llama", 3072, 8192, 28, 24, 8, 128, 128256, True, 131072),
    "Llama-2-7B": ("llama", 4096, 11008, 32, 32, 32, 128, 32000, False, 4096),
    "Mistral-7B": ("mistral", 4096, 14336, 32, 32, 8, 128, 32000, False, 32768),
    "Qwen2.5-7B": ("qwen2", 3584, 18944, 28, 28, 4, 128, 152064, False, 131072),
    "Llama-3-8B": ("llama", 4096, 14336, 32, 32, 8, 128, 128256, False, 8192),
    "Llama-2-13B": ("llama", 5120, 13824, 40, 40, 40, 128, 32000, False, 4096),
    "Llama-3-70B": ("llama", 8192, 28672, 80, 64, 8, 128, 128256, False, 8192),
}
PRESETS = tuple(_SHAPES)
"""Their names, from the smallest to the largest."""


def preset(name: str) -> PretrainedConfig:
    """The config of a model by its name in PRESETS.

    Raises:
        LorakitError: a name that is not among them.
    """
    if name not in _SHAPES:
        raise LorakitError(f"model {name!r} is none of the presets: use one of {', '.join(PRESETS)}.")
    model_type, *values = _SHAPES[name]
    return AutoConfig.for_model(model_type, **dict(zip(_FIELDS, values, strict=True)))


def find_config(model: str | None) -> tuple[str, PretrainedConfig]:
    """Name and config of a model: one of PRESETS, or what transformers finds in a folder or on the hub.

    Raises:
        LorakitError: there is no such model, or its config cannot be read.
    """
    if known := {name.lower(): name for name in PRESETS}.get((model or "").lower()):
        return known, preset(known)
    try:
        path = find_model(model)
    except LorakitError as error:
        raise LorakitError(f"{error} These are known without a hub: {', '.join(PRESETS)}.") from error
    try:
        config = AutoConfig.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        raise LorakitError(
            f"the config of model '{model or path}' could not be read ({str(error).strip().splitlines()[0]}): name a "
            f"causal language model, or one of {', '.join(PRESETS)}."
        ) from error
    return model_name(config), config
