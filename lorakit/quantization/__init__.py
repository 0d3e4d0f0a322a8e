"""Quantisation by hand: code books, blocks and a linear layer (lesson 09), and what a base fills in memory (lesson 10).

A weight of 4 bits is a code, and stands for a level of its code book times the scale of its block.
"""

from lorakit.quantization.blocks import BLOCK_SIZES, QuantizedScales, QuantizedTensor, quantize, quantize_scales
from lorakit.quantization.codebooks import code_book, dynamic_levels, nearest
from lorakit.quantization.linear import QuantizedLinear, quantize_linears
from lorakit.quantization.size import SCALES_PER_BLOCK, base_bytes, layer_bytes

__all__ = [
    "BLOCK_SIZES",
    "SCALES_PER_BLOCK",
    "QuantizedLinear",
    "QuantizedScales",
    "QuantizedTensor",
    "base_bytes",
    "code_book",
    "dynamic_levels",
    "layer_bytes",
    "nearest",
    "quantize",
    "quantize_linears",
    "quantize_scales",
]
