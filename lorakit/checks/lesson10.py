"""Lesson 10's checks: bits of a 4-bit weight, bytes of a layer, a QLoRA layer's output, and a merge into 4 bits."""

from math import ceil
from random import Random
from typing import Any

import torch
from bitsandbytes.functional import quantize_4bit
from torch import Tensor

from lorakit.checks.frame import Answer, CheckFailed, Trial, any_of, check, judge, one_tensor
from lorakit.checks.lesson06 import forward_mistakes
from lorakit.quantization import code_book, nearest

BLOCK, SCALES = 64, 256
"""Weights that share a scale, and 8-bit scales that share a float32: bitsandbytes' defaults."""


@check(
    "10.1",
    "Take one block. How many bits are its codes, and how many bits are kept beside them? Divide by its weights.",
    "Without double quantisation a block has one scale of 32 bits. With it the scale has 8 bits, and 256 blocks share "
    "32 bits more: how many weights are that?",
    "4 + 32 / block_size without double quantisation; with it, 4 + 8 / block_size + 32 / (256 * block_size).",
)
def check_bits_per_weight(answer: Answer, draw: Random) -> None:
    """`bits_per_weight(block_size, double_quant) -> float`: a 4-bit code and its share of the scales."""
    trials = []
    cases = [(block, double) for block in draw.sample([32, 64, 128, 256, 512], 3) for double in (False, True)]
    for block, double in draw.sample(cases, len(cases)):
        scale, shared = (8, 32 / 256) if double else (32, 0)
        right, returned = 4 + (scale + shared) / block, answer(block, double)
        mistakes = {
            "This keeps the scales in 32 bits with double quantisation too: they shrink.": 4 + 32 / block,
            "This shrinks the scales without double quantisation too: they stay in float32.": 4
            + (8 + 32 / 256) / block,
            "This leaves out the float32 that 256 scales share.": 4 + scale / block,
            "This leaves out the 8 bits of a block's own scale.": 4 + (shared or scale) / block,
            "The shared float32 is spread over 256 weights: it is 256 scales that share it.": 4
            + scale / block
            + shared,
            "This adds a second level and leaves the first in 32 bits: double quantisation shrinks it.": any_of(
                returned, 4 + (32 + shared) / block, 4 + ((40 if double else 32) + shared) / block
            ),
            "This takes a block's scale for 16 bits: it is a float32.": 4 + ((8 if double else 16) + shared) / block,
            "This takes every float32 for 16 bits.": 4 + (8 + 16 / 256 if double else 16) / block,
            "This gives each weight a scale of its own: a block has one.": 4 + scale + shared,
            "This is one whole block: a single weight is asked for.": right * block,
            "This gives each scale a float32 of its own: 256 scales share one.": 4
            + (scale + (32 if double else 0)) / block,
            "This is rounded: give the number as it comes out.": round(right, 3),
            "This takes every block to have 64 weights: `block_size` says how many.": 4 + (scale + shared) / 64,
            "These are bytes: bits are asked for.": right / 8,
            "This adds the scales in bytes to codes in bits.": 4 + (scale + shared) / 8 / block,
            "This is the share of the scales alone: the code is kept too.": right - 4,
        }
        given = f"block_size = {block} and double_quant = {double}"
        trials.append(Trial(given, returned, right, mistakes))
    judge(trials, "the number of bits a weight takes")


@check(
    "10.2",
    "Count three things apart: the codes, the scales, and with double quantisation the scales of the scales.",
    "All weights of a layer stand in one long line, cut into blocks of 64. What is left at the end needs a scale too. "
    "The scales are cut up in the same way, into groups of 256. math.ceil rounds up.",
    "n = in_features * out_features; scales = ceil(n / 64). Codes fill ceil(n / 2) bytes. Without double quantisation "
    "add 4 * scales, with it add scales + 4 * ceil(scales / 256).",
)
def check_layer_bytes(answer: Answer, draw: Random) -> None:
    """`layer_bytes(in_features, out_features, double_quant) -> int`: bytes of codes and scales, at blocks of 64."""
    trials = []
    cases = [(double, ends) for double in (True, False) for ends in ("odd", "even", "full")]
    for double, ends in draw.sample(cases, len(cases)):
        inputs, outputs = _sizes(draw, ends)
        n = inputs * outputs
        codes, scales = ceil(n / 2), ceil(n / BLOCK)
        average = n / 2 + (n / BLOCK + 4 * n / BLOCK / SCALES if double else 4 * n / BLOCK)
        right = stored_bytes(inputs, outputs, double)

        def size(codes=codes, scales=scales, groups=None, double=double) -> int:
            groups = ceil(scales / SCALES) if groups is None else groups
            return codes + scales + 4 * groups if double else codes + 4 * scales

        mistakes = {
            "These are the codes alone: their scales are kept too.": codes,
            "This gives each code a byte of its own: two share one.": size(codes=n),
            "This keeps the scales in float32 with double quantisation too: they shrink.": size(double=False),
            "This shrinks the scales without double quantisation too: they stay in float32.": size(double=True),
            "This leaves out the scales of the scales.": size(groups=0),
            "This leaves the scales in float32 beside their own scales: double quantisation shrinks them.": (
                size(scales=4 * scales, groups=ceil(scales / SCALES)) if double else right
            ),
            "This spreads the scales evenly, as an average does: a block that is not full has a whole scale.": average,
            "This leaves out all blocks that are not full: they are stored too.": size(
                n // 2, n // BLOCK, n // BLOCK // SCALES
            ),
            "The last block of weights is left out where it is not full: it has a scale too.": size(scales=n // BLOCK),
            "The last group of scales is left out where it is not full: it has a scale too.": size(
                groups=scales // SCALES
            ),
            "An odd number of codes leaves half a byte over: it is stored as a whole one.": size(codes=n // 2),
            "This has half a byte in it where the number of codes is odd: it is stored as a whole one.": size(
                codes=n / 2
            ),
            "This fills the last block up with codes: only its scale is whole.": size(codes=scales * BLOCK // 2),
            "This adds a block even where the last one is full.": size(scales=n // BLOCK + 1),
            "This adds a group of scales even where the last one is full.": size(groups=scales // SCALES + 1),
            "This rounds an average up: what is left over at each end is stored whole.": ceil(average),
            "This cuts an average down: what is left over at each end is stored whole.": int(average),
            "This starts a new block at every row of W: a block runs on into the next row.": size(
                scales=outputs * ceil(inputs / BLOCK)
            ),
            "This starts a new block at every column of W: blocks run along, over the ends of rows.": size(
                scales=inputs * ceil(outputs / BLOCK)
            ),
            "The scales of the scales are counted by weights: it is 256 scales that share one.": size(
                groups=ceil(n / SCALES)
            ),
            "This takes a float32 to fill one byte.": codes + scales + (ceil(scales / SCALES) if double else 0),
            "This takes a float32 to fill 2 bytes.": codes
            + (scales + 2 * ceil(scales / SCALES) if double else 2 * scales),
            "These are bits: bytes are asked for.": 8 * right,
            "This adds the scales in bits to codes in bytes.": codes + 8 * (right - codes),
        }
        given = f"in_features = {inputs}, out_features = {outputs}, double_quant = {double}"
        trials.append(Trial(given, answer(inputs, outputs, double), right, mistakes))
    judge(trials, "the number of bytes")


def _sizes(draw: Random, ends: str) -> tuple[int, int]:
    """The sizes of a layer: with a last block and a last group of scales that are full, or neither of them.

    Where they are not, the number of weights is odd or even.
    """
    if ends == "full":
        return BLOCK * 4 * draw.randint(1, 2), BLOCK * draw.randint(1, 4)
    while True:
        inputs, outputs = draw.randint(70, 120), draw.randint(300, 500)
        n = inputs * outputs
        if n % 2 == (ends == "odd") and n % BLOCK and 20 < ceil(n / BLOCK) % SCALES < SCALES - 20:
            return inputs, outputs


def stored_bytes(in_features: int, out_features: int, double_quant: bool) -> int:
    """Bytes of codes and scales that bitsandbytes itself keeps for a layer."""
    codes, state = quantize_4bit(
        torch.ones(out_features, in_features), blocksize=BLOCK, compress_statistics=double_quant, quant_type="nf4"
    )
    return codes.nbytes + state.absmax.nbytes + (state.state2.absmax.nbytes if double_quant else 0)


@check(
    "10.3",
    "Three steps: bytes become codes, codes become numbers, and then it is lesson 06's layer. How does a byte hold two "
    "codes, and which of the two comes first?",
    "packed >> 4 is the higher half of each byte, packed & 15 the lower one. torch.stack([…], dim=1).flatten() puts "
    "the two in turns. levels[codes.long()] looks the levels up, and .view(-1, 64) is one row a block.",
    "W = (levels[codes.long()].view(-1, 64) * absmax[:, None]).view(out_features, in_features), with the sizes from B "
    "and A. Then x @ W.T + lora_alpha / r * (x @ A.T @ B.T).",
)
def check_qlora_forward(answer: Answer, draw: Random) -> None:
    """`qlora_forward(x, packed, absmax, levels, A, B, lora_alpha)`: a layer with LoRA on a base of 4-bit codes."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials = []
    # First square layers, where a matrix that is not transposed raises no error.
    for shapes in ([(64, 64), (64, 64)], [(128, 64), (64, 192), (192, 128)]):
        for inputs, outputs in shapes:
            r = draw.choice([3, 5])
            alpha = r * draw.choice([2.5, 3.5, 4.5])
            packed = torch.randint(256, (outputs * inputs // 2,), dtype=torch.uint8, generator=generator)
            # Above 0, so that no sum cancels; levels of its own, since a code book may be any.
            x, A, B = (
                torch.empty(shape).uniform_(0.2, 1.5, generator=generator)
                for shape in ((draw.randint(2, 3), inputs), (r, inputs), (outputs, r))
            )
            levels = torch.empty(16).uniform_(0.05, 1, generator=generator).sort().values
            absmax = torch.empty(2 * len(packed) // BLOCK).uniform_(2, 60, generator=generator)
            returned = one_tensor(answer(x, packed, absmax, levels, A, B, alpha))
            sizes = f"x {tuple(x.shape)}, {len(packed)} bytes of codes, A {tuple(A.shape)}, B {tuple(B.shape)}"
            W = _weight(_unpacked(packed), absmax, levels, outputs)
            mistakes = {
                **_dequantise_mistakes(returned, x, packed, absmax, levels, A, B, alpha),
                **forward_mistakes(returned, x, W, A, B, alpha),
            }
            expected = x @ W.T + alpha / r * (x @ A.T @ B.T)
            trials.append(Trial(f"{sizes} and lora_alpha = {alpha}", returned, expected, mistakes))
        judge(trials, "the output of the dequantised base and the scaled output of A and B, added,")


def _unpacked(packed: Tensor) -> Tensor:
    """Two codes a byte, the first in the higher half: (n,) -> (2 n,)."""
    return torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()


def _weight(codes: Tensor, absmax: Tensor, levels: Tensor, rows: int) -> Tensor:
    """Level times scale: (n,) -> (rows, n / rows)."""
    return (levels[codes].view(-1, BLOCK) * absmax[:, None]).view(rows, -1)


def _dequantise_mistakes(
    seen: Any, x: Tensor, packed: Tensor, absmax: Tensor, levels: Tensor, A: Tensor, B: Tensor, alpha: float
) -> dict[str, Any]:
    """What each likely mistake with codes and scales makes of the output, by the sentence that names it."""
    codes, change = _unpacked(packed), alpha / len(A) * (x @ A.T @ B.T)
    high, low = packed.long() >> 4, packed.long() & 15

    def base(codes: Tensor = codes, absmax: Tensor = absmax, levels: Tensor = levels) -> Tensor:
        return x @ _weight(codes, absmax, levels, len(B)).T + change

    one_for_all = (absmax.max(), absmax.mean(), absmax[0], absmax[-1])
    numbers = (torch.arange(16.0), torch.arange(-8.0, 8), torch.arange(-8.0, 8) / 7, torch.linspace(-1, 1, 16))
    turns = _weight(codes, torch.ones_like(absmax), levels, len(B)) * absmax.repeat(BLOCK).view(len(B), -1)
    return {
        "The two halves of a byte are swapped: the first code is in the higher one.": base(
            torch.stack([low, high], dim=1).flatten()
        ),
        "All higher halves come first here, then all lower ones: a byte's two codes are neighbours.": any_of(
            seen, base(torch.cat([high, low])), base(torch.cat([low, high]))
        ),
        "The levels are not multiplied by their scales.": base(absmax=torch.ones_like(absmax)),
        "One scale is used for all weights: each block of 64 has its own.": any_of(
            seen, *(base(absmax=each.expand(len(absmax))) for each in one_for_all)
        ),
        "The scales go round weight by weight: one scale is for 64 weights in a row.": x @ turns.T + change,
        "The levels are divided by their scales: that was done when the codes were made.": base(absmax=1 / absmax),
        "The codes themselves are taken for numbers: each is the place of a level in `levels`.": any_of(
            seen, *(base(levels=each) for each in numbers)
        ),
        "These are NF4's own levels: take those in `levels`.": base(levels=code_book("nf4")),
    }


@check(
    "10.4",
    "A sum of codes means nothing. What do the codes stand for, to what can the change be added, and how do numbers "
    "become codes again?",
    "Dequantise as in 10.3, add lora_alpha / r * (B @ A), and cut the sum into blocks of 64. Each block has a new "
    "largest magnitude, by which it is divided.",
    "With blocks = (W + lora_alpha / A.shape[0] * (B @ A)).view(-1, 64) and absmax = blocks.abs().amax(1): the codes "
    "are ((blocks / absmax[:, None])[..., None] - levels).abs().argmin(-1), in the shape that they had.",
)
def check_merge_into_4_bits(answer: Answer, draw: Random) -> None:
    """`merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha) -> (codes, absmax)`, with all codes unpacked."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials = []
    for shapes in ([(64, 64), (64, 64)], [(128, 8), (64, 12), (192, 5)]):
        for inputs, outputs in shapes:
            r = draw.choice([3, 5])
            alpha = r * draw.choice([1.5, 2.5, 3.5])
            given = _merge_case(generator, inputs, outputs, r, alpha)
            codes, absmax, levels, A, B = given
            returned = answer(*given, alpha)
            if not isinstance(returned, tuple | list) or len(returned) != 2:
                raise CheckFailed("Two things are to be returned: the new codes, in the shape of the old, and absmax.")
            sizes = f"codes {tuple(codes.shape)}, absmax {tuple(absmax.shape)}, A {tuple(A.shape)}, B {tuple(B.shape)}"
            W = _weight(codes.flatten(), absmax, levels, outputs)
            expected = _requantised(W + alpha / r * (B @ A), levels)
            mistakes = _merge_mistakes(returned, *given, alpha)
            trials.append(Trial(f"{sizes} and lora_alpha = {alpha}", returned, expected, mistakes))
        judge(trials, "the merged layer's codes, and the scale of each of its blocks,")


def _merge_case(generator: torch.Generator, inputs: int, outputs: int, r: int, alpha: float) -> list[Tensor]:
    """Codes, scales, levels, A and B of a layer of which no merged weight lies near the middle of two levels."""
    while True:
        between = torch.empty(14).uniform_(-0.95, 0.95, generator=generator).sort().values
        levels = torch.cat([torch.tensor([-1.0]), between, torch.tensor([1.0])])
        codes = torch.randint(16, (outputs, inputs), generator=generator)
        codes[:, ::BLOCK] = 15 * torch.randint(2, codes[:, ::BLOCK].shape, generator=generator)  # absmax is in a block
        absmax = torch.empty(codes.numel() // BLOCK).uniform_(0.5, 2, generator=generator)
        A, B = (torch.randn(shape, generator=generator) for shape in ((r, inputs), (outputs, r)))
        A, B = A * 0.3, B * 0.3 / alpha**0.5
        merged = _weight(codes.flatten(), absmax, levels, outputs) + alpha / r * (B @ A)
        blocks = merged.view(-1, BLOCK)
        scaled = blocks / blocks.abs().amax(1, keepdim=True)
        if ((scaled[..., None] - (levels[:-1] + levels[1:]) / 2).abs() > 3e-6).all():
            return [codes, absmax, levels, A, B]


def _requantised(weight: Tensor, levels: Tensor, absmax: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The codes, in the shape of a weight, and the scales of its blocks of 64: the largest magnitudes, or `absmax`."""
    blocks = weight.reshape(-1, BLOCK)
    absmax = blocks.abs().amax(1) if absmax is None else absmax
    return nearest(blocks / absmax[:, None], levels).view(weight.shape), absmax


def _merge_mistakes(
    seen: Any, codes: Tensor, absmax: Tensor, levels: Tensor, A: Tensor, B: Tensor, alpha: float
) -> dict[str, Any]:
    """What each likely mistake makes of the layer, by the sentence that names it; None where it raises an error."""
    change, rows = B @ A, len(B)
    right = alpha / len(A) * change
    W = _weight(codes.flatten(), absmax, levels, rows)
    merged = W + right
    new_codes, new_absmax = _requantised(merged, levels)
    old_scaled, _ = _requantised(merged, levels, absmax)
    delta = _requantised(right, levels)
    scaled = merged.view(-1, BLOCK) / new_absmax[:, None]
    below = torch.bucketize(scaled, levels, right=True).view(codes.shape) - 1
    pairs = new_codes.flatten()[0::2] << 4 | new_codes.flatten()[1::2]
    largest = merged.abs().max()
    whole, _ = _requantised(merged, levels, largest.expand(len(absmax)))

    def plus(change: Tensor) -> tuple[Tensor, Tensor]:
        return _requantised(W + change, levels)

    return {
        "The change is added to the codes, which are places in `levels` and no numbers: dequantise first.": any_of(
            seen, _requantised(codes + right, levels), ((codes + right).round().clamp(0, 15), absmax)
        ),
        "The change is added to the levels: the scales of the blocks are missing there.": _requantised(
            levels[codes] + right, levels
        ),
        "The old scales are kept: the sum has other largest magnitudes, block by block.": (old_scaled, absmax),
        "The codes belong to the old scales, and the new ones are returned.": (old_scaled, new_absmax),
        "The codes belong to the new scales, and the old ones are returned.": (new_codes, absmax),
        "One scale is used for the whole layer: each block of 64 has its own.": any_of(
            seen, *((whole, scale) for scale in (largest.expand(len(absmax)), largest, largest[None]))
        ),
        "The largest number of a block is taken for its scale: the largest magnitude is meant.": _requantised(
            merged, levels, merged.view(-1, BLOCK).amax(1)
        ),
        "The change is rounded to 4 bits on its own before it is added: only the sum is rounded.": plus(
            _weight(delta[0].flatten().long(), delta[1], levels, rows)
        ),
        "This is the change alone, in codes: it is to be added to the base.": delta,
        "These are the old codes and scales: nothing has been merged.": (codes, absmax),
        "This is the lower of the two levels around a number: the nearer one is wanted.": (below, new_absmax),
        "This is the upper of the two levels around a number: the nearer one is wanted.": any_of(
            seen,
            ((below + 1).clamp(max=15), new_absmax),
            (torch.bucketize(scaled, levels).view(codes.shape), new_absmax),
        ),
        "These are the levels themselves: their places are the codes.": (levels[new_codes.long()], new_absmax),
        "The sum is not divided by the scale of its block before the nearest level is sought.": (
            nearest(merged, levels),
            new_absmax,
        ),
        "The change is divided by in_features: alpha is divided by r, the number of A's rows.": plus(
            alpha / A.shape[1] * change
        ),
        "Two codes share a byte here: each is to be a number of its own.": any_of(
            seen, *((packed, new_absmax) for packed in (pairs, pairs.view(-1, BLOCK // 2), pairs.view(rows, -1)))
        ),
        "absmax has an axis of length 1 left over: one scale for each block is wanted.": (
            new_codes,
            new_absmax[:, None],
        ),
        "The change is scaled by alpha: it is alpha / r.": plus(alpha * change),
        "The change is not scaled.": plus(change),
        "The change is divided by r, but alpha is left out.": plus(change / len(A)),
        "The change is taken off: it is added.": plus(-right),
        "The change is transposed. Where the layer is square, no error reports it.": (
            plus(right.T) if codes.shape[0] == codes.shape[1] else None
        ),
        "This is the merged matrix itself: its codes are wanted.": any_of(
            seen, (merged, new_absmax), (merged, absmax), (merged.view(-1, BLOCK), new_absmax)
        ),
        "The two are in the wrong order: the codes come first.": (new_absmax, new_codes),
        "The codes have another shape: the old one is (out_features, in_features).": any_of(
            seen, (new_codes.flatten(), new_absmax), (new_codes.view(-1, BLOCK), new_absmax)
        ),
    }
