"""Load a model and its tokenizer: in 32 or 16 bits, or quantised by bitsandbytes."""

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from lorakit.errors import LorakitError
from lorakit.housekeeping import release_memory, return_large_blocks
from lorakit.models.devices import Choice, pick_device
from lorakit.models.find import chosen_name, locate, quiet_libraries
from lorakit.models.loaded import compute_dtype, linear_4bit_layers

QUANT_TYPES = ("nf4", "fp4", "int8")
BLOCK_SIZE = 64
"""Weights that share one scale in bitsandbytes' 4-bit layers as transformers makes them."""


def load_model(
    name: str | None = None,
    *,
    quant_type: str | None = None,
    double_quant: bool = True,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal language model and its tokenizer, and print one line that says what was picked and why.

    Args:
        name: a hub id or a folder; None takes the environment variable `LORAKIT_MODEL`, and where that is not set the
            default model, which needs no hub.
        quant_type: None, "nf4" or "fp4" (4 bits), or "int8": the linear layers but `lm_head`, through bitsandbytes.
        double_quant: quantise the scales of a 4-bit model too (Dettmers et al. 2023, section 3).
        dtype: of the weights that are not quantised; None picks what this machine computes well.
        device: "cpu", "cuda", "mps"; None picks the best that is there.

    Raises:
        LorakitError: an unknown or gated model, a wrong quant type or device, no network for a first fetch.
    """
    if quant_type not in (None, *QUANT_TYPES):
        raise LorakitError(f"quant_type {quant_type!r} is unknown: use None, 'nf4', 'fp4' or 'int8'.")
    choice = pick_device(device)
    if quant_type and choice.device.type == "mps":  # bitsandbytes fetches its Metal kernels from a hub
        if device is not None:
            raise LorakitError(
                f"quant_type {quant_type!r} needs a hub on '{device}': leave `device` out, or say 'cpu'."
            )
        choice = pick_device("cpu")
    weights_dtype = dtype or choice.dtype
    quiet_libraries()
    return_large_blocks()
    name = chosen_name(name)
    path, local_only = locate(name)
    options = {"dtype": weights_dtype, "device_map": {"": choice.device}, "local_files_only": local_only}
    if quant_type:
        half = weights_dtype if weights_dtype != torch.float32 else choice.compute_dtype
        options["quantization_config"] = _quantization(quant_type, double_quant, half)
    try:
        model = AutoModelForCausalLM.from_pretrained(path, **options)
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=local_only)
    except (OSError, ValueError, KeyError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise LorakitError(
            f"model '{name}' could not be loaded ({first_line}): name a causal language model, by hub id or by a "
            "folder with config.json, weights and tokenizer."
        ) from error
    if quant_type and choice.device.type == "cpu":
        _release_file(model)
        release_memory()
    if quant_type in ("nf4", "fp4") and choice.device.type == "cpu":
        _mend_linear_4bit(model)
    tokenizer.padding_side = "left"  # so that the last position of every row is its last token
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.eval()
    print(_describe(name, model, choice, quant_type))
    return model, tokenizer


def _quantization(quant_type: str, double_quant: bool, dtype: torch.dtype) -> BitsAndBytesConfig:
    if quant_type == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    # All three are set, since the defaults are fp4, float32 compute and no double quantisation.
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quant_type,
        bnb_4bit_use_double_quant=double_quant,
        bnb_4bit_compute_dtype=dtype,
    )


def _release_file(model: PreTrainedModel) -> None:
    """Copy what was not quantised out of the mapped weights file, which then leaves this process's memory."""
    for weight in model.parameters():
        if weight.is_floating_point():
            weight.data = weight.data.clone()


def _mend_linear_4bit(model: PreTrainedModel) -> None:
    """Two faults of bitsandbytes 0.50 on a CPU, one cured and one refused.

    Where the CPU has AVX512-BF16, the first forward pass without gradients repacks the weights for a kernel that has
    no backward pass, for good: training after that trains nothing and says nothing. And rows that do not divide into
    blocks are dequantised wrongly.
    """
    for name, module in linear_4bit_layers(model):
        module.support_avx512bf16_for_cpu = False
        if module.in_features % BLOCK_SIZE:
            raise LorakitError(
                f"layer '{name}' has {module.in_features} inputs, which do not divide into blocks of {BLOCK_SIZE}, and "
                "bitsandbytes dequantises such rows wrongly on a CPU: use a GPU, or quant_type None."
            )


def _describe(name: str, model: PreTrainedModel, choice: Choice, quant_type: str | None) -> str:
    weights = str(model.dtype).removeprefix("torch.")
    if quant_type:
        weights = f"{quant_type} linear layers, the rest {weights}"
    compute = str(compute_dtype(model)).removeprefix("torch.")
    return (
        f"{name}: {model.num_parameters() / 1e6:,.1f} M parameters · weights {weights} · computes in {compute} · "
        f"on {choice.device} ({choice.why})"
    )
