"""9.3 and 9.4: two codes a byte, and scales quantised again."""

from random import Random
from typing import Any

import torch

from lorakit.checks.frame import Answer, CheckFailed, Trial, any_of, check, describe, judge, one_tensor, tensors
from lorakit.quantization import dynamic_levels

# --- 9.3 ---


@check(
    "9.3",
    "`codes[0::2]` has the first of each pair, `codes[1::2]` the second. What makes room for four more bits below?",
    "`first << 4` moves a code four bits up, which is 16 times as much; `|` puts the second into the free bits.",
    "codes[0::2] << 4 | codes[1::2]. With + in place of |, put brackets round the shift: + binds tighter than <<.",
)
def check_pack(answer: Answer, draw: Random) -> None:
    """`pack(codes) -> (n,)`: two codes of 4 bits a byte, the first in the higher half."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials = []
    for n in draw.sample(range(5, 12), 4):
        codes = torch.randint(0, 16, (2 * n,), generator=generator).to(torch.uint8)
        codes[:4] = torch.tensor([draw.randint(8, 14), 3, 0, 15])
        returned = one_tensor(answer(codes))
        first, second = codes[0::2].int(), codes[1::2].int()
        trials.append(
            Trial(
                given=f"{2 * n} codes that start {codes[:4].tolist()}",
                seen=returned,
                expected=(16 * first + second).to(torch.uint8),
                mistakes=_pack_mistakes(returned, codes, first, second),
            )
        )
    judge(trials, "a byte for each pair of codes, (n,),")
    for trial in trials:
        if trial.seen.dtype != torch.uint8:
            raise CheckFailed(
                f"The numbers are right, but in {describe(trial.seen.dtype).removeprefix('torch.')}, where each fills "
                f"{trial.seen.element_size()} bytes and not one: torch.uint8 is wanted."
            )


def _pack_mistakes(seen: Any, codes: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> dict[str, Any]:
    """What each likely mistake makes of the codes, by the sentence that names it."""
    half = len(codes) // 2
    front, back = codes[:half].int(), codes[half:].int()
    right = 16 * first + second

    def byte_or_more(*values: torch.Tensor) -> Any:
        return any_of(seen, *(form for value in values for form in (value, value.to(torch.uint8))))

    return {
        "The halves are swapped: the first code of a pair is to be in the higher half.": byte_or_more(
            16 * second + first
        ),
        "The first half of all codes is paired with the second half: neighbours share a byte.": byte_or_more(
            16 * front + back, 16 * back + front
        ),
        "+ binds tighter than <<: `a << 4 + b` shifts by 4 + b. Put brackets round the shift, or write |.": (
            byte_or_more(first << 4 + second, codes[0::2] << 4 + codes[1::2])
        ),
        "The two codes are not moved apart: the higher one needs four free bits below it.": byte_or_more(
            first + second, first | second
        ),
        "The codes are 10 or 15 apart, not 16: four bits hold 16 codes.": byte_or_more(
            10 * first + second, 15 * first + second
        ),
        "The shift is not by 4: a code has four bits.": byte_or_more(
            8 * first + second, 8 * first | second, 32 * first + second, 32 * first | second
        ),
        "Both codes are shifted: the second is to stay in the lower half.": byte_or_more(16 * first | 16 * second),
        "The two are combined with &, which keeps only bits that both have: | keeps those of either.": byte_or_more(
            16 * first & second
        ),
        "One code of each pair is missing.": byte_or_more(16 * first, first, second),
        "Each code still has a byte of its own: two are to share one.": byte_or_more(codes.int()),
        "The bytes are in reverse order.": byte_or_more(right.flip(0)),
    }


# --- 9.4 ---


@check(
    "9.4",
    "Three steps: take the mean of all scales off, find the largest magnitude of each group, and divide by it. The "
    "codes are those of 9.2.",
    "mean = absmax.mean() is one number for all. Groups are made of absmax − mean as blocks were made of weights in "
    "9.1, and each has a largest magnitude.",
    "groups = (absmax - mean).view(-1, group_size); largest = groups.abs().amax(dim=1); the code of each quotient "
    "groups / largest[:, None] is (quotients[..., None] - levels).abs().argmin(dim=-1). Return codes, largest, mean.",
)
def check_double_quantize(answer: Answer, draw: Random) -> None:
    """`double_quantize(absmax, group_size, levels) -> (codes, largest, mean)`: scales in 8 bits."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    levels, trials = dynamic_levels(), []
    for group_size in draw.sample([16, 20, 24, 28], 3):
        absmax = _scales(generator, draw, group_size, levels)
        codes, largest, mean = tensors(answer(absmax, group_size, levels), "codes", "largest", "mean")
        seen = (codes, largest, mean.squeeze() if mean.numel() == 1 else mean)
        trials.append(
            Trial(
                given=f"{len(absmax)} scales, group_size = {group_size} and 256 levels",
                seen=seen,
                expected=(*_coded(absmax - absmax.mean(), group_size, levels)[0], absmax.mean()),
                mistakes=_double_mistakes(seen, absmax, group_size, levels),
            )
        )
    judge(trials, "codes (groups, group_size), the largest magnitude of each group (groups,), and the mean")


def _scales(generator: torch.Generator, draw: Random, group_size: int, levels: torch.Tensor) -> torch.Tensor:
    """Scales of 2 to 4 groups, none of which is nearly as near to a second level: rounding would decide."""
    n = draw.randint(2, 4)
    spread = torch.tensor(draw.sample([1.0, 1.6, 2.3, 3.1], n))[:, None]
    while True:
        absmax = (2 + spread * torch.rand(n, group_size, generator=generator)).flatten()
        _, quotients = _coded(absmax - absmax.mean(), group_size, levels)
        nearest = (quotients[..., None] - levels).abs().topk(2, largest=False).values
        if nearest.diff().min() > 6e-5:  # twice the step of the grid by which bitsandbytes looks codes up
            return absmax


def _coded(values: torch.Tensor, group_size: int, levels: torch.Tensor) -> tuple[tuple, torch.Tensor]:
    """Codes and the largest magnitude of each group; and the quotients that were coded."""
    groups = values.view(-1, group_size)
    largest = groups.abs().amax(1)
    quotients = groups / largest[:, None]
    return ((quotients[..., None] - levels).abs().argmin(-1), largest), quotients


def _double_mistakes(seen: Any, absmax: torch.Tensor, group_size: int, levels: torch.Tensor) -> dict[str, Any]:
    """What each likely mistake makes of the scales, by the sentence that names it."""
    mean = absmax.mean()
    groups = absmax.view(-1, group_size)
    middles = groups.mean(1)
    (codes, largest), quotients = _coded(absmax - mean, group_size, levels)
    plain = _coded(absmax, group_size, levels)[0]
    by_group = _coded((groups - middles[:, None]).flatten(), group_size, levels)[0]
    from_least = _coded(absmax - absmax.min(), group_size, levels)[0]
    centred = absmax - mean
    of_all = centred.abs().max().repeat(len(groups))
    for_all = (centred.view(-1, group_size) / of_all[:, None] - levels[:, None, None]).abs().argmin(0)
    signed = centred.view(-1, group_size).amax(1)
    by_signed = (centred.view(-1, group_size) / signed[:, None] - levels[:, None, None]).abs().argmin(0)
    below = torch.bucketize(quotients, levels, right=True) - 1
    other_codes = seen[0] if seen[0].shape == codes.shape else codes
    return {
        "The mean is not taken off before: all scales are positive, and half of the levels go unused.": any_of(
            seen, (*plain, mean), (*plain, torch.zeros(()))
        ),
        "A mean is taken of each group: one for all scales is wanted.": any_of(
            seen, (*by_group, middles), (*by_group, mean)
        ),
        "The smallest is taken off, and not the mean.": any_of(
            seen, (*from_least, absmax.min()), (*from_least, mean)
        ),
        "The mean is added: it is to be taken off.": (*_coded(absmax + mean, group_size, levels)[0], mean),
        "All groups share one largest magnitude here: each has its own.": any_of(
            seen, (for_all, of_all, mean), (for_all, of_all[0], mean), (for_all, of_all[:1], mean),
            (for_all, largest, mean),
        ),
        "The largest value of a group is taken: without their mean scales have signs, so it is the magnitude.": (
            by_signed, signed, mean
        ),
        "The largest magnitude is taken before the mean is off: after it, it is smaller.": any_of(
            seen, *((form, plain[1], mean) for form in ((centred.view(-1, group_size) / plain[1][:, None])[..., None]
            .sub(levels).abs().argmin(-1),))
        ),
        "These are evenly spaced codes, 127 times the quotient: those of `levels` are wanted.": any_of(
            seen, ((127 * quotients).round(), largest, mean), ((127 * quotients).round() + 127, largest, mean)
        ),
        "These are levels: their codes are wanted, the places in `levels`.": (levels[codes], largest, mean),
        "This is the level below each quotient: the nearest is wanted.": (below.clamp(min=0), largest, mean),
        "The shapes are not those wanted: codes (groups, group_size), largest (groups,).": any_of(
            seen, (codes.flatten(), largest, mean), (codes, largest[:, None], mean), (codes.flatten(), largest[:, None],
            mean)
        ),
        "The three are in another order: codes, then largest, then the mean.": any_of(
            seen, (mean, codes, largest), (codes, mean, largest), (largest, codes, mean), (mean, largest, codes)
        ),
        "The largest magnitudes and the mean are right, the codes are not. If your nearest_code of 9.2 gave them, has "
        "it passed its check?": (other_codes, largest, mean),
    }  # fmt: skip
