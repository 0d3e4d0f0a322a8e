"""Code books: the level between -1 and 1 that each code stands for. Built in lesson 09, equal to bitsandbytes'.

A code is a row of bits, and indexes the levels of its type: 16 of them for 4 bits, 256 for 8.
"""

from functools import cache

import torch
from torch import Tensor

from lorakit.errors import LorakitError

OUTERMOST = 0.9677083
"""Probability below NF4's highest quantile: 1 - (1/32 + 1/30) / 2, to the digits that bitsandbytes works with."""


def nf4_levels() -> Tensor:
    """NormalFloat: 8 quantiles of a standard normal above zero, 7 below it, and zero, over the largest (16,).

    Each level stands for about as many normally distributed weights as any other; an exact zero costs one level, so
    the two sides differ (Dettmers et al. 2023, section 3 and appendix E). The probabilities are rounded to float32, as
    bitsandbytes rounds them: the levels then agree in every bit.
    """
    above = torch.special.ndtri(torch.linspace(OUTERMOST, 0.5, 9)[:-1].double())  # falling to zero
    below = -torch.special.ndtri(torch.linspace(OUTERMOST, 0.5, 8)[:-1].double())  # rising to zero
    levels = torch.cat([below, torch.zeros(1), above.flip(0)]).float()
    return levels / levels.max()


def fp4_levels() -> Tensor:
    """A float of 1 sign bit, 2 exponent bits and 1 fraction bit, over the largest (16,), as bitsandbytes decodes it.

    The fraction counts a half; exponents 1, 2, 3 are powers 8, 4, 2 (they fall), and exponent 0 holds zero and 1/16.
    """
    normal = [(1 + fraction / 2) * 2 ** (4 - exponent) for exponent in (1, 2, 3) for fraction in (0, 1)]
    levels = torch.tensor([0, 1 / 16, *normal]) / 12
    return torch.cat([levels, -levels])


def integer_levels(bits: int) -> Tensor:
    """Whole numbers over the largest, in two's complement (2**bits,): 0 upwards, then the negative ones.

    Blocks are scaled to [-1, 1], so the lowest, -8 or -128, stands outside and is never used: codes are -7 to 7 in
    4 bits and -127 to 127 in 8 (Dettmers et al. 2023, section 2).
    """
    largest = 2 ** (bits - 1) - 1
    return torch.cat([torch.arange(largest + 1), torch.arange(-largest - 1, 0)]) / largest


def dynamic_levels() -> Tensor:
    """256 levels for scales that differ by powers of ten (Dettmers et al. 2022, section 1.3), rising.

    A decade of 10**-6 to 1 has 1, 2, 4 … 64 levels on either side of zero, each in the middle of its share of the
    decade; zero and one are levels too.
    """
    levels = [torch.tensor([0.0, 1.0])]
    for decade in range(7):
        edges = torch.linspace(0.1, 1, 2**decade + 1)
        middles = 10.0 ** (decade - 6) * ((edges[:-1] + edges[1:]) / 2)
        levels += [middles, -middles]
    return torch.cat(levels).sort().values


BITS = {"nf4": 4, "fp4": 4, "int4": 4, "int8": 8}


@cache
def code_book(quant_type: str) -> Tensor:
    """The levels of a quant type, by code (2**bits,), float32, between -1 and 1.

    Raises:
        LorakitError: another type than 'nf4', 'fp4', 'int4' and 'int8'.
    """
    if quant_type not in BITS:
        raise LorakitError(f"quant_type {quant_type!r} is unknown: use 'nf4', 'fp4', 'int4' or 'int8'.")
    if quant_type.startswith("int"):
        return integer_levels(BITS[quant_type])
    return nf4_levels() if quant_type == "nf4" else fp4_levels()


def nearest(values: Tensor, levels: Tensor) -> Tensor:
    """The code of the level nearest to each value, uint8; of two as near, the lower level.

    Values and levels are of any shape and (n,). fp4 has a zero and a minus zero: what is above zero and nearest to it
    gets minus zero, and zero itself gets zero.
    """
    order = levels.argsort(stable=True)
    rising = levels[order]
    place = torch.bucketize(values, (rising[:-1] + rising[1:]) / 2, out_int32=True)  # how many middles lie below
    return order.to(torch.uint8).index_select(0, place.flatten()).view(values.shape)
