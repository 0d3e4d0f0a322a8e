"""What a model that was loaded is: its dtypes, its shapes, its size; and whether it keeps its activations."""

import copy
from collections.abc import Iterator

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PretrainedConfig, PreTrainedModel

from lorakit.errors import LorakitError
from lorakit.models.devices import pick_device


def compute_dtype(model: PreTrainedModel) -> torch.dtype:
    """The dtype that `model` multiplies matrices in; where it differs from the weights', run it under autocast."""
    if getattr(model, "is_loaded_in_4bit", False):
        return next(module.compute_dtype for _, module in linear_4bit_layers(model))
    if model.dtype in (torch.float16, torch.bfloat16):
        return model.dtype
    if model.device.type == "cpu" or getattr(model, "is_loaded_in_8bit", False):
        return pick_device(model.device).compute_dtype
    return torch.float32


def quantization_of(model: torch.nn.Module) -> tuple[str | None, bool]:
    """The `quant_type` and `double_quant` that a model was loaded with, as `load_model` calls them.

    Raises:
        LorakitError: it was quantised by something else than bitsandbytes.
    """
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return None, False
    if not isinstance(config, BitsAndBytesConfig):
        raise LorakitError(
            f"this model was quantised with {type(config).__name__}: load_model() gives one to train on."
        )
    return ("int8", False) if config.load_in_8bit else (config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant)


def linear_4bit_layers(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """The 4-bit layers of a model that bitsandbytes quantised, with their names."""
    from bitsandbytes.nn import Linear4bit  # not at the top: a machine without it can still do LoRA

    return ((name, module) for name, module in model.named_modules() if isinstance(module, Linear4bit))


def empty_model(model: PreTrainedModel | PretrainedConfig) -> PreTrainedModel:
    """The same architecture with no weights in it (on torch's "meta" device): names and shapes cost nothing there."""
    config = copy.deepcopy(getattr(model, "config", model))
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config)
    except (AttributeError, ValueError) as error:
        raise LorakitError(
            f"{type(config).__name__} is no causal language model's config: pass one, as AutoConfig.from_pretrained() "
            "gives it, or a model."
        ) from error


def linear_shapes(model: PreTrainedModel) -> dict[str, tuple[int, int]]:
    """(in_features, out_features) of each linear layer but the output head, by its full name."""
    head = model.get_output_embeddings()
    return {
        name: (layer.in_features, layer.out_features)
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and layer is not head
    }


def weight_bytes(model: torch.nn.Module) -> int:
    """Bytes that the weights of `model` fill as they are stored; a tied weight counts once.

    Of a 4-bit layer these are the packed codes; the scales beside them are not among them.
    """
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())


CHECKPOINTING = {"use_reentrant": False}
"""How to checkpoint: the older way of torch wants inputs that have a gradient, and embeddings here are frozen."""


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Let `model` keep only what enters each block, and compute the block anew on the way back (Chen et al. 2016)."""
    # the newer name first: it is absent in transformers 5.15, and the older one is to go in version 6
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable(CHECKPOINTING)


def keep_activations(model: PreTrainedModel) -> None:
    """The other way round: let `model` keep all that the way back needs, as it does if nobody says anything."""
    if model.is_gradient_checkpointing:
        (getattr(model, "activation_checkpointing_disable", None) or model.gradient_checkpointing_disable)()
