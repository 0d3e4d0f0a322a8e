"""Quantise and dequantise in blocks, each with a scale of its own. Built in lesson 09, equal to bitsandbytes on a CPU.

A block of weights is divided by its largest magnitude, its absmax; each quotient is stored as the code of the nearest
level (Dettmers et al. 2023, section 2). Double quantisation stores the scales in 8 bits too (section 3).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lorakit.errors import LorakitError
from lorakit.models import BLOCK_SIZE
from lorakit.quantization.codebooks import BITS, code_book, dynamic_levels, nearest
from lorakit.quantization.size import SCALES_PER_BLOCK

BLOCK_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
TINY = 1e-38
"""Divisor of a block that is all zeros."""
GRID = 65_536


@dataclass(frozen=True, eq=False)
class QuantizedScales:
    """Scales of blocks in 8 bits: codes (blocks,) uint8, an absmax for each 256 of them, and the mean taken off."""

    codes: Tensor
    absmax: Tensor
    mean: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of codes, scales and mean."""
        return self.codes.nbytes + self.absmax.nbytes + self.mean.nbytes

    def dequantize(self) -> Tensor:
        """The scales again, rounded: (blocks,) float32."""
        values = dynamic_levels().to(self.codes.device)[self.codes.int()]
        return scale_up(values, self.absmax, SCALES_PER_BLOCK)[: self.codes.numel()] + self.mean


@dataclass(frozen=True, eq=False)
class QuantizedTensor:
    """Codes uint8, two of 4 bits in a byte, the first in the higher half; and the scale of each block.

    Blocks run along the weights as they lie in memory, row after row, and the last may be short.
    """

    codes: Tensor
    absmax: Tensor | QuantizedScales
    shape: torch.Size
    dtype: torch.dtype
    quant_type: str
    block_size: int

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales; the code book, the same for all, is not counted."""
        return self.codes.nbytes + self.absmax.nbytes

    def dequantize(self, dtype: torch.dtype | None = None) -> Tensor:
        """Level times scale of each weight, in `shape` and the dtype of the weights that went in, or in `dtype`.

        Equal to bitsandbytes' but for bf16 numbers below 1.2e-38, which it makes 0 on a CPU with AVX512-BF16.
        """
        levels = code_book(self.quant_type).to(self.codes.device)
        # Row b of this table is what byte b stands for: two levels, or one.
        table = torch.cartesian_prod(levels, levels) if BITS[self.quant_type] == 4 else levels[:, None]
        values = F.embedding(self.codes.int(), table).flatten()
        absmax = self.absmax if isinstance(self.absmax, Tensor) else self.absmax.dequantize()
        weights = scale_up(values, absmax, self.block_size)[: self.shape.numel()]
        return weights.view(self.shape).to(dtype or self.dtype)


def quantize(
    weight: Tensor, quant_type: str, block_size: int = BLOCK_SIZE, double_quant: bool = False
) -> QuantizedTensor:
    """Quantise a tensor of floats, of any shape, to 'nf4', 'fp4', 'int4' or 'int8', in blocks of `block_size`.

    Raises:
        LorakitError: an unknown quant type or block size; a tensor that holds no floats, nothing, NaN or infinity.
    """
    levels = code_book(quant_type).to(weight.device)
    check(weight, block_size)
    blocks = in_blocks(weight.detach().float().flatten(), block_size)
    absmax = blocks.abs().amax(1)
    # As bitsandbytes does it: times a reciprocal, which is quicker than a division and can differ from it in the last
    # bit. A quotient in the very middle of two levels can then go to the other one: 5 in 10,000 fp4 codes of bf16
    # weights do; of float32 weights none was seen. A last, short block is divided in earnest.
    scaled = blocks * (1 / absmax.clamp(min=TINY))[:, None]
    if weight.numel() % block_size:
        absmax[-1].clamp_(min=TINY)
        scaled[-1] = blocks[-1] / absmax[-1]
    codes = nearest(scaled, levels).flatten()
    codes = pack(codes)[: -(-weight.numel() // 2)] if BITS[quant_type] == 4 else codes[: weight.numel()]
    scales = quantize_scales(absmax) if double_quant else absmax
    return QuantizedTensor(codes, scales, weight.shape, weight.dtype, quant_type, block_size)


def quantize_scales(absmax: Tensor) -> QuantizedScales:
    """Store scales (blocks,) in 8 bits: the mean taken off, then blocks of 256 with the dynamic code book.

    Scales are positive, and without their mean the code book's signs are of use (Dettmers et al. 2023, section 3).
    """
    mean = absmax.mean()
    blocks = in_blocks(absmax - mean, SCALES_PER_BLOCK)
    largest = blocks.abs().amax(1)
    # A block of scales that all equal the mean is 0 times infinity; bitsandbytes gives it code 0, the lowest.
    scaled = (blocks * (1 / largest)[:, None]).nan_to_num(nan=-1)
    codes = nearest(on_grid(scaled), dynamic_levels().to(absmax.device)).flatten()[: absmax.numel()]
    return QuantizedScales(codes, largest, mean)


def on_grid(values: Tensor) -> Tensor:
    """Round values to the nearest of 65,536 steps from -1 to 1.

    On a CPU bitsandbytes looks the code of a scale up in a table of such steps, so near the middle of two levels it can
    settle for the farther one.
    """
    step = ((values.clamp(-1, 1) + 1) * 0.5 * (GRID - 1) + 0.5).floor()
    return -1 + 2 * step / (GRID - 1)


def pack(codes: Tensor) -> Tensor:
    """Two codes of 4 bits a byte, the first in the higher half: (2 n,) -> (n,)."""
    return codes[0::2] << 4 | codes[1::2]


def in_blocks(values: Tensor, block_size: int) -> Tensor:
    """(n,) -> (blocks, block_size); zeros fill the last block up."""
    missing = -values.numel() % block_size
    return (F.pad(values, (0, missing)) if missing else values).view(-1, block_size)


def scale_up(values: Tensor, absmax: Tensor, block_size: int) -> Tensor:
    """Multiply each block of values (n,) by its absmax (blocks,), in place where it can: (blocks * block_size,)."""
    return in_blocks(values, block_size).mul_(absmax[:, None]).flatten()


def check(weight: Tensor, block_size: int) -> None:
    """Raise LorakitError for a weight or a block size that cannot be quantised."""
    if block_size not in BLOCK_SIZES:
        raise LorakitError(f"block_size {block_size!r} is not one of {', '.join(map(str, BLOCK_SIZES))}: take one.")
    if not weight.is_floating_point():
        raise LorakitError(f"the weight holds {weight.dtype}, and only floats are quantised: convert it with .float().")
    if not weight.numel():
        raise LorakitError(f"the weight is empty (shape {tuple(weight.shape)}): there is nothing to quantise.")
    if not weight.float().isfinite().all():
        raise LorakitError("the weight holds NaN or infinity, by which no block can be scaled: mend it first.")
