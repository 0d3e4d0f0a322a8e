"""Code books as rulers over a real weight: quant type, block size and double quantisation, to be moved."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from lorakit.errors import LorakitError
from lorakit.lora import Shapes
from lorakit.models import BLOCK_SIZE, empty_model, linear_shapes
from lorakit.quantization import BLOCK_SIZES, QuantizedTensor, code_book, quantize, quantize_scales
from lorakit.quantization.blocks import check, in_blocks
from lorakit.quantization.codebooks import BITS
from lorakit.quantization.size import coded_bytes
from widgets import words
from widgets.explorer import Control, Description, Explorer, printable, script
from widgets.model_text import title_of
from widgets.quantization_picture import level_in_words, quantization_svg

QUANT_TYPES = ("int8", "int4", "fp4", "nf4")
SAMPLE = 1_000_000
"""Weights that are quantised at every setting; of a larger tensor, whole rows at equal distances."""
BINS = 101
"""Of the histogram: an odd number, so that zero is in the middle of one."""


class Quantization(Explorer):
    """What `show_quantization` returns: `value` has quant_type, block_size and double_quant, as `quantize` has them."""

    _esm = script("quantization.js")

    def describe(self, value: Mapping[str, Any]) -> Description:
        """The results at `value`, which were put into words for every setting beforehand."""
        by_block_size = self.numbers[value["quant_type"]]
        return Description(**by_block_size[str(value["block_size"])][int(value["double_quant"])])


def show_quantization(
    weight: Tensor,
    config: PretrainedConfig | PreTrainedModel | None = None,
    quant_type: str = "nf4",
    block_size: int = BLOCK_SIZE,
    double_quant: bool = True,
) -> Quantization:
    """A weight's histogram under a code book's levels, what quantising costs in error, and what it saves in bytes.

    `quantize(weight, **explorer.value)` is what is shown, so int8 is in blocks too, and not bitsandbytes' own with a
    scale a row. Errors are those of the weights dequantised in float32, with the scales' own rounding; bits a parameter
    are of codes and scales. Of a weight of more than a million numbers, whole rows at equal distances are taken.

    Args:
        weight: of a linear layer, (out_features, in_features), in any float dtype.
        config: of the whole model, or the model itself: its bytes with all linear layers but the output head stored
            so, and the rest in 16 bits. No weight of it is loaded.

    Raises:
        LorakitError: what is no 2-D tensor of finite floats, is all zeros or smaller than a block; an unknown setting;
            a config of no causal language model.
    """
    _check_weight(weight, block_size)
    rows = weight.detach()[:: -(-weight.numel() // SAMPLE)].float().cpu()
    if not torch.linalg.vector_norm(rows):
        raise LorakitError("there is nothing but zeros in the weight, and no error to see: take one that was trained.")
    model = None if config is None else empty_model(config)
    controls = [
        Control("quant_type", "quant type", "one", QUANT_TYPES),
        Control("block_size", "block size", "slider", [size for size in BLOCK_SIZES if size <= rows.numel()]),
        Control("double_quant", "double quantisation", "one", (False, True), ("off", "on")),
    ]
    value = {"quant_type": quant_type, "block_size": block_size, "double_quant": double_quant}
    for control in controls:
        control.chosen(value[control.name])  # before anything is computed
    numbers = quantization_numbers(rows, controls[1].options)
    described = in_words(numbers, len(rows), weight.shape, model)
    out_features, in_features = weight.shape
    title = f"A weight of {out_features:,} × {in_features:,} numbers, quantised"
    hills = {size: histogram(rows, size) for size in controls[1].options}
    shares = {
        each: {size: level_shares(each, pair[0]["counts"]) for size, pair in by_block_size.items()}
        for each, by_block_size in numbers.items()
    }
    return Quantization(title, controls, value, described, quantization_svg(hills, shares))


def _check_weight(weight: Any, block_size: Any) -> None:
    if not isinstance(weight, Tensor):
        raise LorakitError(f"{type(weight).__name__} is no tensor: take a layer's weight, such as layer.weight.")
    if weight.ndim != 2:
        raise LorakitError(f"the weight has the shape {tuple(weight.shape)}: take a linear layer's, which is 2-D.")
    check(weight, block_size)
    if weight.numel() < block_size:
        raise LorakitError(
            f"the weight has {weight.numel()} numbers, and a block {block_size}: take a smaller block_size or a larger "
            f"weight (of {min(BLOCK_SIZES)} numbers at least)."
        )


# --- The numbers: all 64 settings ---


def quantization_numbers(weight: Tensor, block_sizes: Sequence[int]) -> dict[str, dict[int, list[dict[str, Any]]]]:
    """Error, bits and use of codes by quant type and block size, without double quantisation and with it."""
    numbers = {}
    for quant_type in QUANT_TYPES:
        numbers[quant_type] = {}
        for block_size in block_sizes:
            plain = quantize(weight, quant_type, block_size)
            double = replace(plain, absmax=quantize_scales(plain.absmax))  # the codes are the same
            counts = code_counts(plain)
            numbers[quant_type][block_size] = [
                {**errors(weight, quantized), "bits": 8 * quantized.nbytes / weight.numel(), "counts": counts}
                for quantized in (plain, double)
            ]
    return numbers


def errors(weight: Tensor, quantized: QuantizedTensor) -> dict[str, float]:
    """Root mean square of the difference, its share of the weights' own, and the largest difference."""
    difference = quantized.dequantize().sub_(weight)
    norm, largest = torch.linalg.vector_norm(difference).item(), torch.linalg.vector_norm(difference, torch.inf).item()
    relative = norm / torch.linalg.vector_norm(weight).item()
    return {"rms": norm / math.sqrt(weight.numel()), "relative": relative, "largest": largest}


def code_counts(quantized: QuantizedTensor) -> Tensor:
    """How many weights have each code (2**bits,)."""
    of_bytes = torch.bincount(quantized.codes.int(), minlength=256)
    if BITS[quantized.quant_type] == 8:
        return of_bytes
    pairs = of_bytes.view(16, 16)  # (higher half, lower half)
    counts = pairs.sum(1) + pairs.sum(0)
    if quantized.shape.numel() % 2:
        counts[quantized.codes[-1].item() & 15] -= 1  # the last lower half is nobody's
    return counts


def level_shares(quant_type: str, counts: Tensor) -> dict[float, float]:
    """The share of weights on each level from -1 to 1, rising; fp4's zero and minus zero are one level."""
    shares = {level: 0.0 for level in sorted(code_book(quant_type).tolist()) if level >= -1}
    for level, share in zip(code_book(quant_type).tolist(), (counts / counts.sum()).tolist(), strict=True):
        if level in shares:  # the lowest integer is never used
            shares[level] += share
    return shares


def histogram(weight: Tensor, block_size: int) -> list[float]:
    """The share of weights in each of `BINS` bins from -1 to 1, each weight divided by its block's absmax."""
    blocks = in_blocks(weight.flatten(), block_size)
    scaled = (blocks / blocks.abs().amax(1, keepdim=True)).nan_to_num(0).flatten()[: weight.numel()]
    return (torch.histc(scaled, BINS, -1, 1) / weight.numel()).tolist()


# --- The numbers in words ---


def in_words(
    numbers: Mapping[str, Mapping[int, list]], rows: int, shape: torch.Size, model: PreTrainedModel | None
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Results and caption for every setting, as `Description` takes them, from so many rows of the weight's shape."""
    shapes, parameters, about = {}, 0, ""
    if rows < shape[0]:
        about = f" Shown are {words.count(rows)} of its {words.count(shape[0])} rows, at equal distances."
    if model is not None:
        shapes, parameters = linear_shapes(model), model.num_parameters()
        name = printable(title_of(model))
        about += f" Model: {name}, its linear layers but the output head stored so, the rest in 16 bits."
    in_features = {shape[1], *(inputs for inputs, _ in shapes.values())}
    described = {}
    for quant_type, by_block_size in numbers.items():
        described[quant_type] = {str(block_size): [] for block_size in by_block_size}
        for block_size, pair in by_block_size.items():
            refused = rows_that_do_not_divide(in_features, block_size)
            for double_quant, setting in enumerate(pair):
                results = results_in_words(quant_type, setting)
                if parameters:
                    stored = model_bytes(parameters, shapes, quant_type, block_size, bool(double_quant))
                    results |= {"Model in memory": words.size(stored), "Model in 16 bits": words.size(2 * parameters)}
                caption = caption_in_words(quant_type, block_size, setting["counts"]) + refused + about
                described[quant_type][str(block_size)].append({"results": results, "caption": caption})
    return described


def results_in_words(quant_type: str, setting: Mapping[str, Any]) -> dict[str, str]:
    """What one setting gives, by its label."""
    shares = setting["counts"] / setting["counts"].sum()
    entropy = torch.special.entr(shares.double()).sum().item() / math.log(2)
    return {
        "Root mean square error": significant(setting["rms"]),
        "Relative error": f"{words.fixed(100 * setting['relative'], 2)} %",
        "Largest error": significant(setting["largest"]),
        "Bits a parameter": words.fixed(setting["bits"], 3),
        "Entropy of the codes": f"{words.fixed(entropy, 2)} of {BITS[quant_type]} bits",
    }


def caption_in_words(quant_type: str, block_size: int, counts: Tensor) -> str:
    """What the drawing shows at this setting."""
    shares = level_shares(quant_type, counts)
    most, least = max(shares, key=shares.get), min(shares, key=shares.get)
    return (
        f"Above: the weights, each divided by the largest magnitude in its block of {block_size}, under the "
        f"{len(shares)} levels of {quant_type}. Each block's largest stands at −1 or 1. Below: the share of weights "
        f"that each level stands for, as wide as what is rounded to it; dashed is an equal share for each of "
        f"{len(counts)} codes. Level {level_in_words(most)} has the most, {percent(shares[most])}, and "
        f"{level_in_words(least)} the least, {percent(shares[least])}. The relative error is over the weights' "
        "own root mean square."
    )


def rows_that_do_not_divide(in_features: set[int], block_size: int) -> str:
    """A sentence about rows that blocks do not fit, or nothing."""
    odd = [words.count(each) for each in sorted(in_features) if each % block_size]
    if not odd:
        return ""
    return f" Rows of {' and '.join(odd)} do not divide into such blocks: QuantizedLinear refuses them."


def model_bytes(parameters: int, shapes: Shapes, quant_type: str, block_size: int, double_quant: bool) -> int:
    """Bytes of a model whose linear layers, of these shapes, are quantised in blocks; the rest is in 16 bits."""
    linear = [in_features * out_features for in_features, out_features in shapes.values()]
    stored = sum(coded_bytes(weights, BITS[quant_type], block_size, double_quant) for weights in linear)
    return 2 * (parameters - sum(linear)) + stored


def significant(value: float) -> str:
    """Three significant digits, and no exponent: 0.0000512."""
    if not value:
        return "0"
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


def percent(share: float) -> str:
    """0.1234 -> "12.3 %"; what is there is never called nothing."""
    return "< 0.1 %" if 0 < share < 0.0005 else f"{words.fixed(100 * share, 1)} %"
