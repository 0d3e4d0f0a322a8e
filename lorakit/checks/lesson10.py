"""Lesson 10's checks: the bits that a 4-bit weight really takes, and the bytes that bitsandbytes keeps for a layer."""

from math import ceil
from random import Random

import torch
from bitsandbytes.functional import quantize_4bit

from lorakit.checks.frame import Answer, Trial, check, judge

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
        right = 4 + (scale + shared) / block
        trials.append(
            Trial(
                given=f"block_size = {block} and double_quant = {double}",
                seen=answer(block, double),
                expected=right,
                mistakes={
                    "This keeps the scales in 32 bits with double quantisation too: they shrink.": 4 + 32 / block,
                    "This shrinks the scales without double quantisation too: they stay in float32.": 4
                    + (8 + 32 / 256) / block,
                    "This leaves out the float32 that 256 scales share.": 4 + scale / block,
                    "This leaves out the 8 bits of a block's own scale.": 4 + (shared or scale) / block,
                    "The shared float32 is spread over 256 weights: it is 256 scales that share it.": 4
                    + scale / block
                    + shared,
                    "This adds a second level and leaves the first in 32 bits: double quantisation shrinks it.": 4
                    + (32 + shared) / block,
                    "This takes a block's scale for 16 bits: it is a float32.": 4
                    + ((8 if double else 16) + shared) / block,
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
                },
            )
        )
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
        of_scales = 4 * ceil(scales / SCALES)
        average = n / 2 + (n / BLOCK + 4 * n / BLOCK / SCALES if double else 4 * n / BLOCK)
        right = stored_bytes(inputs, outputs, double)

        def size(codes=codes, scales=scales, of_scales=of_scales, double=double) -> int:
            return codes + scales + of_scales if double else codes + 4 * scales

        trials.append(
            Trial(
                given=f"in_features = {inputs}, out_features = {outputs}, double_quant = {double}",
                seen=answer(inputs, outputs, double),
                expected=right,
                mistakes={
                    "These are the codes alone: their scales are kept too.": codes,
                    "This gives each code a byte of its own: two share one.": size(codes=n),
                    "This keeps the scales in float32 with double quantisation too: they shrink.": size(double=False),
                    "This shrinks the scales without double quantisation too: they stay in float32.": size(double=True),
                    "This leaves out the scales of the scales.": size(of_scales=0),
                    "This leaves the scales in float32 beside their own scales: double quantisation shrinks them.": (
                        size(scales=4 * scales) if double else right
                    ),
                    "This spreads the scales evenly, as an average does: a block that is not full has a whole scale.": (
                        average
                    ),
                    "This leaves out all blocks that are not full: they are stored too.": size(
                        n // 2, n // BLOCK, 4 * (n // BLOCK // SCALES)
                    ),
                    "The last block of weights is left out where it is not full: it has a scale too.": size(
                        scales=n // BLOCK, of_scales=4 * ceil(n // BLOCK / SCALES)
                    ),
                    "The last group of scales is left out where it is not full: it has a scale too.": size(
                        of_scales=4 * (scales // SCALES)
                    ),
                    "An odd number of codes leaves half a byte over: it is stored as a whole one.": size(codes=n // 2),
                    "This has half a byte in it where the number of codes is odd: it is stored as a whole one.": size(
                        codes=n / 2
                    ),
                    "This fills the last block up with codes: only its scale is whole.": size(
                        codes=scales * BLOCK // 2
                    ),
                    "This adds a block even where the last one is full.": size(
                        scales=n // BLOCK + 1, of_scales=4 * ceil((n // BLOCK + 1) / SCALES)
                    ),
                    "This adds a group of scales even where the last one is full.": size(
                        of_scales=4 * (scales // SCALES + 1)
                    ),
                    "This rounds an average up: what is left over at each end is stored whole.": ceil(average),
                    "This cuts an average down: what is left over at each end is stored whole.": int(average),
                    "This starts a new block at every row of W: a block runs on into the next row.": size(
                        scales=outputs * ceil(inputs / BLOCK),
                        of_scales=4 * ceil(outputs * ceil(inputs / BLOCK) / SCALES),
                    ),
                    "This starts a new block at every column of W: blocks run along, over the ends of rows.": size(
                        scales=inputs * ceil(outputs / BLOCK),
                        of_scales=4 * ceil(inputs * ceil(outputs / BLOCK) / SCALES),
                    ),
                    "The scales of the scales are counted by weights: it is 256 scales that share one.": size(
                        of_scales=4 * ceil(n / SCALES)
                    ),
                    "This takes a float32 to fill one byte.": codes + scales + (of_scales // 4 if double else 0),
                    "This takes a float32 to fill 2 bytes.": codes
                    + (scales + of_scales // 2 if double else 2 * scales),
                    "These are bits: bytes are asked for.": 8 * right,
                    "This adds the scales in bits to codes in bytes.": codes + 8 * (right - codes),
                },
            )
        )
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
