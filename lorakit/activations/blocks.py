"""Which models are built as the lessons say."""

from transformers import PretrainedConfig

from lorakit.errors import LorakitError

KNOWN = ("llama", "mistral", "qwen2", "qwen3")


def check_config(config: PretrainedConfig, tokens: int) -> None:
    """Raise LorakitError where a model's blocks differ from those that are written out here."""
    way_out = "take a Llama-type model, such as the default one"
    if config.model_type not in KNOWN:
        raise LorakitError(
            f"a {config.model_type!r} model is not built as the lessons say ({', '.join(KNOWN)} are): {way_out}."
        )
    rope = config.rope_parameters
    if rope["rope_type"] != "default":
        raise LorakitError(f"rope_type {rope['rope_type']!r} turns positions by another rule: {way_out}.")
    window = getattr(config, "sliding_window", None)
    if window is not None and tokens > window:
        raise LorakitError(
            f"{tokens} tokens are more than this model's sliding window of {window}: take a shorter text."
        )


def head_size(config: PretrainedConfig) -> int:
    """Numbers that a head works with."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
