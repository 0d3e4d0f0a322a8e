"""9.1 and 9.2: absmax in blocks, and the nearest level of a code book."""

from random import Random
from typing import Any

import torch

from lorakit.checks.frame import Answer, CheckFailed, Trial, any_of, check, judge, one_tensor, tensors
from lorakit.quantization import code_book

EXACT = torch.float64
TINY = 1e-30
"""Divisor of a block that is all zeros."""


def _away_from_ties(generator: torch.Generator, *shape: int) -> torch.Tensor:
    """Random parts of a step, of both signs: what lies so far from a level is nearest to it, and is not on it."""
    part = torch.empty(shape, dtype=EXACT).uniform_(0.15, 0.4, generator=generator)
    return part * (2 * torch.randint(0, 2, shape, generator=generator) - 1)


# --- 9.1 ---


@check(
    "9.1",
    "`values.view(-1, block_size)` has a block in each row. Of each row you need one number. Which, and how do you "
    "scale by it so that the largest magnitude becomes 127?",
    "`blocks.abs().amax(dim=1)` is the absmax of each block. Divide each block by its own: [:, None] makes a column of "
    "them. What becomes of a block whose absmax is zero?",
    "codes = (127 * blocks / absmax.clamp(min=1e-30)[:, None]).round(). Return codes, absmax.",
)
def check_absmax_quantize(answer: Answer, draw: Random) -> None:
    """`absmax_quantize(values, block_size) -> (codes, absmax)`: int8 codes of each block, and its absmax."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials = []
    # First without a block of zeros, where a division by zero does no harm.
    for sizes, zeros in ((draw.sample([6, 8, 10, 12], 3), False), (draw.sample([6, 8, 10, 12], 2), True)):
        for block_size in sizes:
            blocks = _blocks(generator, draw, block_size, zeros)
            codes, absmax = tensors(answer(blocks.flatten(), block_size), "codes", "absmax")
            given = f"{blocks.numel()} values and block_size = {block_size}"
            if zeros and (codes.isnan().any() or absmax.isnan().any()):
                raise CheckFailed(
                    f"There is NaN in what you returned: a block of zeros is divided by its absmax, 0. Its codes are 0."
                    f"\n({given}, one block of them all zeros.)"
                )
            trials.append(
                Trial(
                    given=given,
                    seen=(codes, absmax),
                    expected=_scaled(blocks, blocks.abs().amax(1)),
                    mistakes=_absmax_mistakes((codes, absmax), blocks),
                )
            )
        judge(trials, "a pair, codes (blocks, block_size) and absmax (blocks,),")


def _blocks(generator: torch.Generator, draw: Random, block_size: int, zeros: bool) -> torch.Tensor:
    """Blocks (4, block_size), float32, whose scales lie far apart; the largest of two of them is negative."""
    n = 4
    whole = torch.randint(-110, 111, (n, block_size), generator=generator)
    whole[whole == 0] = 1
    steps = whole + _away_from_ties(generator, n, block_size)
    for row in range(n):
        steps[row, draw.randrange(block_size)] = 127 if row % 2 else -127
    scale = torch.tensor(draw.sample([0.02, 0.3, 5.0, 70.0], n), dtype=EXACT)
    blocks = (steps / 127 * scale[:, None])[draw.sample(range(n), n)]
    if zeros:
        blocks[draw.randrange(n)] = 0
    return blocks.float()


def _scaled(blocks: torch.Tensor, by: torch.Tensor, times: float = 127) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes of the blocks, scaled so that `by` (blocks,) becomes `times`, and `by`."""
    return (times * blocks / by.clamp(min=TINY)[:, None]).round(), by


def _absmax_mistakes(seen: Any, blocks: torch.Tensor) -> dict[str, Any]:
    """What each likely mistake makes of the blocks, by the sentence that names it."""
    n, block_size = blocks.shape
    absmax, largest, least = blocks.abs().amax(1), blocks.amax(1), blocks.amin(1)
    codes, _ = _scaled(blocks, absmax)
    divisor = absmax.clamp(min=TINY)[:, None]
    quotients = blocks / divisor
    unrounded = (127 * quotients, 127 * blocks / divisor, blocks / (divisor / 127))  # 127 itself may come out below it
    span = largest - least
    of_all = blocks.abs().max().repeat(n)
    mixed = blocks.flatten().view(block_size, n).T  # every n-th value: block after block is wanted

    def with_own(codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return codes, absmax

    return {
        "The codes are cut off towards zero: the nearest whole number is wanted.": any_of(
            seen, *(with_own(each.trunc()) for each in unrounded)
        ),
        "The codes are rounded down: the nearest whole number is wanted.": any_of(
            seen, *(with_own(each.floor()) for each in unrounded), with_own(127 * blocks // divisor)
        ),
        "The codes are rounded up: the nearest whole number is wanted.": any_of(
            seen, *(with_own(each.ceil()) for each in unrounded)
        ),
        "The codes are not rounded: whole numbers are wanted.": with_own(127 * quotients),
        "All values share one scale here: each block has its own.": any_of(
            seen,
            (_scaled(blocks, of_all)[0], of_all),
            (_scaled(blocks, of_all)[0], of_all[0]),
            (_scaled(blocks, of_all)[0], of_all[:1]),
            (_scaled(blocks, of_all)[0], absmax),
        ),
        "The largest value is taken: it is the largest magnitude, and signs do not count.": any_of(
            seen, _scaled(blocks, largest), (_scaled(blocks, largest)[0], absmax)
        ),
        "This reaches 128: 8 bits with a sign hold −128 to 127, so the largest code is 127.": any_of(
            seen, *(with_own(_scaled(blocks, absmax, times)[0]) for times in (128, 128.5))
        ),
        "This scales to 255 or 256: half of the codes are for negative numbers.": any_of(
            seen, *(with_own(_scaled(blocks, absmax, times)[0]) for times in (255, 256))
        ),
        "This scales to 7, as 4 bits do: 8 bits reach 127.": with_own(_scaled(blocks, absmax, 7)[0]),
        "The quotients are not multiplied by 127: they lie between −1 and 1, and three codes are left of 255.": (
            with_own(quotients.round())
        ),
        "This divides by the range, largest less smallest: it is the absmax.": any_of(
            seen, *(pair for times in (127, 254, 255) for pair in _both(blocks, span, times, absmax))
        ),
        "This counts from the smallest value, with a zero point: absmax keeps zero where it is.": any_of(
            seen, *(pair for times in (127, 254, 255) for pair in _both(blocks - least[:, None], span, times, absmax))
        ),
        "This multiplies by the absmax: values are divided by it.": with_own((127 * blocks * absmax[:, None]).round()),
        "The signs are lost: a negative value has a negative code.": with_own(codes.abs()),
        "The codes are in uint8, where a negative number becomes 256 more: with a sign they fit int8.": with_own(
            codes.where(codes >= 0, codes + 256)
        ),
        "Values that lie next to each other make a block: these were taken from all over.": any_of(
            seen, _scaled(mixed, mixed.abs().amax(1)), (mixed / absmax[:, None], absmax)
        ),
        "The step of a block is returned, absmax / 127: its absmax is wanted.": (codes, absmax / 127),
        "The pair is turned round: codes come first.": (absmax, codes),
        "absmax is to have the shape (blocks,), and the codes (blocks, block_size).": any_of(
            seen, (codes, absmax[:, None]), (codes.flatten(), absmax), (codes.flatten(), absmax[:, None])
        ),
    }


def _both(values: torch.Tensor, by: torch.Tensor, times: float, absmax: torch.Tensor) -> list[tuple[Any, Any]]:
    """The codes of values scaled by `by`, with that and with the absmax as their scale."""
    codes, _ = _scaled(values, by, times)
    return [(codes, by), (codes, absmax)]


# --- 9.2 ---


@check(
    "9.2",
    "How far is a value from each level? With 16 levels that makes 16 distances a value, and one of them is the least.",
    "`values[:, None] - levels` has a row for each value and a column for each level. A distance has no sign.",
    "(values[:, None] - levels).abs().argmin(dim=1): where two are the same, argmin gives the first.",
)
def check_nearest_code(answer: Answer, draw: Random) -> None:
    """`nearest_code(values, levels) -> (n,)`: the code of the level nearest to each value."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials = []
    # First levels that rise with their codes, where a search in sorted levels goes well.
    for books in (("nf4", "nf4"), ("int4", "fp4", "fp4")):
        for book, count in zip(books, draw.sample(range(17, 24), len(books)), strict=True):
            levels = code_book(book)
            values = _between(generator, levels, count)
            returned = one_tensor(answer(values, levels))
            trials.append(
                Trial(
                    given=f"{len(values)} values and the levels of {book}",
                    seen=returned,
                    expected=(values[:, None] - levels).abs().argmin(1),
                    mistakes=_nearest_mistakes(returned, values, levels),
                )
            )
        judge(trials, "a code for each value, (n,),")


def _between(generator: torch.Generator, levels: torch.Tensor, count: int) -> torch.Tensor:
    """Values near levels, zero among them, on either side: (count,), never in the middle of two levels."""
    rising = levels.unique()  # -0.0 and 0.0 are one
    zero = (rising == 0).nonzero().item()
    some = torch.randint(1, len(rising) - 1, (count - 3,), generator=generator)
    places = torch.cat([torch.tensor([zero, zero, zero - 2]), some])
    parts = _away_from_ties(generator, count)
    parts[0], parts[1] = parts[0].abs(), -parts[1].abs()
    gaps = torch.where(parts > 0, rising[places + 1] - rising[places], rising[places] - rising[places - 1])
    values = (rising[places] + parts * gaps).float()
    return values[torch.randperm(count, generator=generator)]


def _nearest_mistakes(seen: Any, values: torch.Tensor, levels: torch.Tensor) -> dict[str, Any]:
    """What each likely mistake makes of the values, by the sentence that names it."""
    apart = values[:, None] - levels
    right = apart.abs().argmin(1)
    rising, order = levels.sort(stable=True)
    place = torch.bucketize(values, rising)  # the first level that is not below
    two_zeros = [code for code, level in enumerate(levels.tolist()) if level == 0][1:]
    minus_zero = [torch.where(right == 0, torch.tensor(code), right) for code in two_zeros]
    for code in two_zeros:
        minus_zero += [torch.where((right == 0) & side, torch.tensor(code), right) for side in (values > 0, values < 0)]
    ranks = order.argsort()
    middles = (levels[:-1] + levels[1:]) / 2
    return {
        "This is the level below each value: the nearest may be the one above.": order[place - 1],
        "This is the level above each value: the nearest may be the one below.": order[place],
        "These are levels: their codes are wanted, the places in `levels`.": levels[right],
        "The code is taken of the level that is farthest away.": apart.abs().argmax(1),
        "The distance keeps its sign, so that the largest or the lowest level always wins.": any_of(
            seen, apart.argmin(1), apart.argmax(1)
        ),
        "Signs are lost: −0.5 is far from 0.5.": any_of(
            seen,
            (values.abs()[:, None] - levels.abs()).abs().argmin(1),
            (values[:, None] - levels.abs()).abs().argmin(1),
            (values.abs()[:, None] - levels).abs().argmin(1),
        ),
        "This counts through the sorted levels: a code is the place in `levels` as they were given.": any_of(
            seen, ranks[right], *(ranks[each] for each in minus_zero)
        ),
        "This looks among the middles of levels that do not rise: only in a sorted list does that find the nearest.": (
            any_of(seen, torch.bucketize(values, middles), (values[:, None] > middles).sum(1))
        ),
        "This is fp4's minus zero: of two levels that are equally near, the one with the lower code is wanted.": (
            any_of(seen, *minus_zero) if minus_zero else right
        ),
        "Codes count from 0: these are off by one.": any_of(seen, right + 1, right - 1),
        "This gives the nearest value of each level: it is the nearest level of each value.": apart.abs().argmin(0),
        "This is one number: each value has a code of its own.": any_of(
            seen, apart.abs().argmin(), apart.abs().amin(1).argmin(), apart.abs().amin(0).argmin()
        ),
    }
