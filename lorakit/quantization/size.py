"""What the weights of a base fill in memory, by the quant type that they are stored in. Lesson 10 finds these bytes."""

import torch

from lorakit.errors import LorakitError
from lorakit.models import BLOCK_SIZE, QUANT_TYPES

SCALES_PER_BLOCK = 256
"""Scales that share one float32 where they are quantised in their turn (Dettmers et al. 2023, section 3)."""


def layer_bytes(
    in_features: int, out_features: int, quant_type: str | None, double_quant: bool, dtype: torch.dtype
) -> int:
    """Bytes of a linear layer's weights: codes and scales as bitsandbytes keeps them, or plain numbers in `dtype`.

    Not counted are a 4-bit layer's look-up tables (64 bytes, and 1,028 with double quantisation).
    """
    weights = in_features * out_features
    if quant_type is None:
        return weights * dtype.itemsize
    if quant_type == "int8":
        return weights + 4 * out_features  # a float32 scale a row
    if quant_type not in QUANT_TYPES:
        raise LorakitError(f"quant_type {quant_type!r} is unknown: use None, 'nf4', 'fp4' or 'int8'.")
    return coded_bytes(weights, 4, BLOCK_SIZE, double_quant)


def coded_bytes(weights: int, bits: int, block_size: int, double_quant: bool) -> int:
    """Bytes of the codes of so many weights, of 4 or 8 bits each, and of the scales of their blocks.

    Not counted is the mean that double quantisation takes off the scales (4 bytes).
    """
    codes = -(-weights * bits // 8)
    scales = -(-weights // block_size)
    if double_quant:
        return codes + scales + 4 * -(-scales // SCALES_PER_BLOCK)
    return codes + 4 * scales


def base_bytes(
    parameters: int,
    shapes: dict[str, tuple[int, int]],
    quant_type: str | None,
    double_quant: bool,
    dtype: torch.dtype,
) -> int:
    """Bytes of a base's weights as `load_model` keeps them: linear layers by `quant_type`, all the rest in `dtype`.

    Args:
        parameters: of the whole model, a tied weight once.
        shapes: (in_features, out_features) of its linear layers but `lm_head`, by name.
    """
    rest = parameters - sum(in_features * out_features for in_features, out_features in shapes.values())
    layers = (layer_bytes(*shape, quant_type, double_quant, dtype) for shape in shapes.values())
    return rest * dtype.itemsize + sum(layers)
