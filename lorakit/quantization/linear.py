"""A linear layer that keeps its weights as codes, and dequantises them each time it needs them. Lessons 09 and 10."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from lorakit.errors import LorakitError
from lorakit.models import BLOCK_SIZE, linear_shapes
from lorakit.quantization.blocks import BLOCK_SIZES, QuantizedScales, QuantizedTensor, quantize


class QuantizedLinear(nn.Module):
    """`x W^T + bias` with W from codes: what LoRA wraps to be QLoRA (Dettmers et al. 2023, section 3).

    Made from a plain layer, whose bias it keeps. Its buffers are `weight`, the packed codes as in bitsandbytes'
    Linear4bit; `absmax`, the scales; and, with double quantisation, `absmax_codes` and `absmax_mean` beside those.

    Raises:
        LorakitError: what `quantize` refuses, and rows that do not divide into blocks.
    """

    def __init__(
        self, linear: nn.Linear, quant_type: str = "nf4", block_size: int = BLOCK_SIZE, double_quant: bool = False
    ):
        super().__init__()
        quantized = quantize(linear.weight, quant_type, block_size, double_quant)
        if linear.in_features % block_size:
            raise LorakitError(rows_do_not_divide(linear.in_features, block_size))
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.dtype, self.quant_type, self.block_size = quantized.dtype, quant_type, block_size
        scales = quantized.absmax
        self.register_buffer("weight", quantized.codes)
        self.register_buffer("absmax", scales.absmax if double_quant else scales)
        self.register_buffer("absmax_codes", scales.codes if double_quant else None)
        self.register_buffer("absmax_mean", scales.mean if double_quant else None)
        self.bias = linear.bias

    @property
    def quantized(self) -> QuantizedTensor:
        """Codes and scales, no copies: `quantized.dequantize()` is the weight (out_features, in_features)."""
        nested = self.absmax_codes is not None
        absmax = QuantizedScales(self.absmax_codes, self.absmax, self.absmax_mean) if nested else self.absmax
        shape = torch.Size((self.out_features, self.in_features))
        return QuantizedTensor(self.weight, absmax, shape, self.dtype, self.quant_type, self.block_size)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features), in the dtype of x or of autocast."""
        return MultiplyDequantized.apply(x, self.quantized, self.bias)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        """Move with the model, but keep the scales' bits where the model is cast to 16 bits."""
        scales = {name: buffer for name, buffer in self._buffers.items() if "absmax" in name and buffer is not None}
        super()._apply(fn, recurse)
        for name, buffer in scales.items():
            self._buffers[name] = buffer.to(self._buffers[name].device)
        return self


class MultiplyDequantized(torch.autograd.Function):
    """`x W^T + bias`, keeping the codes and not W for the backward pass, which dequantises again."""

    @staticmethod
    def forward(ctx, x: Tensor, quantized: QuantizedTensor, bias: Tensor | None) -> Tensor:
        """x (..., in_features) -> (..., out_features), in the dtype of x or of autocast, as F.linear gives it."""
        ctx.quantized = quantized
        return F.linear(x, quantized.dequantize(x.dtype), bias)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        """Gradients of x and bias; codes have none, so x need not be kept."""
        of_x = gradient @ ctx.quantized.dequantize(gradient.dtype) if ctx.needs_input_grad[0] else None
        of_bias = gradient.reshape(-1, gradient.shape[-1]).sum(0) if ctx.needs_input_grad[2] else None
        return of_x, None, of_bias


def quantize_linears(
    model: PreTrainedModel, quant_type: str = "nf4", block_size: int = BLOCK_SIZE, double_quant: bool = False
) -> PreTrainedModel:
    """Make every linear layer but the output head a `QuantizedLinear`, in place; returns the model.

    Raises:
        LorakitError: what `QuantizedLinear` refuses.
    """
    for name in linear_shapes(model):
        parent, _, last = name.rpartition(".")
        layer = QuantizedLinear(model.get_submodule(name), quant_type, block_size, double_quant)
        setattr(model.get_submodule(parent), last, layer)
    return model


def rows_do_not_divide(in_features: int, block_size: int) -> str:
    """Why a layer cannot be quantised so, and which block sizes it could have."""
    fitting = [size for size in BLOCK_SIZES if in_features % size == 0]
    way_out = f"take block_size {' or '.join(map(str, fitting))}" if fitting else "leave this layer as it is"
    return (
        f"{in_features} inputs do not divide into blocks of {block_size}, and bitsandbytes dequantises such rows "
        f"wrongly on a CPU with AVX-512: {way_out}."
    )
