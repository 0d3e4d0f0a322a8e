"""Lesson 04's checks: softmax at a temperature, top-p, and a verdict read from two logits."""

from itertools import accumulate, pairwise
from random import Random
from typing import Any

import torch

from lorakit.checks.frame import Answer, CheckFailed, Trial, any_of, check, judge


@check(
    "4.1",
    "Two steps, in the order in which the sentence above has them. What does the temperature act on?",
    "A temperature of 2 halves every logit, and so every difference between two. Softmax comes after that, over the "
    "axis along which the probabilities are to add up to 1.",
    "Divide first, logits / temperature, and then .softmax(dim=-1) of what comes out.",
)
def check_probabilities(answer: Answer, draw: Random) -> None:
    """`probabilities(logits, temperature) -> (..., V)`: softmax over the vocabulary at a temperature."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials = []
    below, above = draw.sample([0.4, 0.5, 0.6, 0.7, 0.8], 3), draw.sample([1.3, 1.5, 1.8, 2.0, 2.5], 3)
    # A lone list of logits at last, where counting axes from the front raises an error.
    for axes, temperatures in ((3, below[:2] + above[:1]), (2, below[2:] + above[1:2]), (1, above[2:])):
        for temperature in draw.sample(temperatures, len(temperatures)):
            shape = (*(draw.randint(3, 7) for _ in range(axes - 1)), draw.randint(10, 20))
            logits = 2 + 1.5 * torch.randn(shape, dtype=torch.float64, generator=generator)
            returned = _as_tensor(answer(logits, temperature))
            trials.append(
                Trial(
                    given=f"logits of shape {shape} and temperature = {temperature}",
                    seen=returned,
                    expected=(logits / temperature).softmax(-1),
                    mistakes=_temperature_mistakes(returned, logits, temperature),
                )
            )
        judge(trials, "a tensor of the shape of the logits, the probabilities at that temperature,")


def _temperature_mistakes(seen: Any, logits: torch.Tensor, temperature: float) -> dict[str, Any]:
    """What each likely mistake makes of the logits, by the sentence that names it."""
    scaled, plain = logits / temperature, logits.softmax(-1)
    others = [scaled.softmax(axis) for axis in (1, 0) if axis < logits.ndim - 1]
    return {
        "This multiplies by the temperature: so a high one makes the likeliest token likelier still, not less.": (
            logits * temperature
        ).softmax(-1),
        "There is no temperature in this.": plain,
        "This divides the probabilities, so they no longer add up to 1: the temperature acts on the logits.": plain
        / temperature,
        "This takes softmax twice, the temperature between: it acts on the logits, before the only one.": (
            plain / temperature
        ).softmax(-1),
        "This raises the probabilities to a power and leaves it at that: they no longer add up to 1.": plain
        ** (1 / temperature),
        "This softmax runs over the positions or the texts: it is the tokens of the vocabulary that compete.": any_of(
            seen, *(others or [scaled.softmax(-1)])
        ),
        "This softmax runs over all numbers at once: each position has probabilities of its own.": scaled.flatten()
        .softmax(0)
        .view_as(scaled),
        "These are logarithms of the probabilities.": scaled.log_softmax(-1),
        "These are logits still, divided by the temperature: they are not made into probabilities.": scaled,
        "This is exp of each logit, not yet divided by their sum.": scaled.exp(),
        "A sigmoid looks at one logit alone: how likely a token is depends on its rivals too.": scaled.sigmoid(),
    }


def _as_tensor(value: Any) -> Any:
    """A number, or a list of numbers, as a tensor."""
    numbers = value if isinstance(value, list) and value else [value]
    return torch.tensor(value) if all(isinstance(number, float) for number in numbers) else value


@check(
    "4.2",
    "Walk through the tokens from the likeliest down, and add up as you go. Where do you stop? Then put all back.",
    "`probabilities.sort(descending=True)` gives the values and where each came from; `cumsum(dim=0)` of the values is "
    "the sum up to each, itself included. A token is kept if the sum before it has not reached p yet.",
    "Keep where cumsum - value < p, and set the other values to 0. Then kept = torch.zeros_like(probabilities); "
    "kept[places] = values puts each back. Divide by kept.sum().",
)
def check_top_p(answer: Answer, draw: Random) -> None:
    """`top_p(probabilities, p) -> (V,)`: the likeliest tokens that together reach p, scaled to add up to 1."""
    trials = []
    # First those where it takes several tokens to reach p; then those where the likeliest does, as another one would.
    for several in (True, False):
        for vocab in draw.sample([7, 8] * 2, 4):
            probabilities, p = _some_probabilities(draw, vocab, several)
            returned = _as_tensor(answer(probabilities, p))
            if isinstance(returned, torch.Tensor) and returned.isnan().any():
                raise CheckFailed(
                    "This is nan, which 0 / 0 gives: no token was kept. Compare with p what the likeliest have "
                    "together, not what each has."
                )
            places = probabilities.argsort(descending=True)
            kept = int((probabilities[places].cumsum(0) < p).sum()) + 1
            trials.append(
                Trial(
                    given=f"probabilities = {[round(each, 4) for each in probabilities.tolist()]} and p = {p}",
                    seen=returned,
                    expected=_likeliest(probabilities, kept),
                    mistakes=_top_p_mistakes(returned, probabilities, p, places, kept),
                )
            )
        judge(trials, "a tensor of the probabilities that are kept, scaled and in their places, and 0 for all others,")


def _some_probabilities(draw: Random, vocab: int, several: bool) -> tuple[torch.Tensor, float]:
    """Probabilities (V,) and a p that it takes several of them to reach, or that at least two reach by themselves.

    No sum that an answer could compare with p is near it.
    """
    while True:
        p = round(draw.uniform(0.5, 0.9) if several else draw.uniform(0.2, 0.35), 2)
        sizes = [draw.expovariate(1) for _ in range(vocab)]
        values = [size / sum(sizes) for size in sizes]
        falling = sorted(values, reverse=True)
        sums = [*falling, *accumulate(falling), *accumulate(reversed(falling)), *accumulate(values)]
        kept = sum(so_far < p for so_far in accumulate(falling)) + 1
        fits = 2 <= kept < int(p * vocab) - 1 if several else falling[1] > p
        apart = all(abs(so_far - p) > 0.02 for so_far in sums)
        unlike = all(one - other > 0.005 for one, other in pairwise(falling))
        places, tokens = [values.index(value) for value in falling], list(range(vocab))
        misled = _reached(values, p, tokens).isdisjoint(_reached(values, p, places[::-1]))
        if fits and apart and unlike and misled and [places[place] for place in places] != tokens:
            return torch.tensor(values), p


def _reached(values: list[float], p: float, order: list[int]) -> set[frozenset[int]]:
    """The tokens that reach p when they are taken in this order: with the last of them, and without it."""
    count = sum(so_far < p for so_far in accumulate(values[token] for token in order)) + 1
    return {frozenset(order[:count]), frozenset(order[: count - 1])}


def _likeliest(probabilities: torch.Tensor, kept: int) -> torch.Tensor:
    """So many of the likeliest, scaled to add up to 1, and 0 for the others."""
    values, places = probabilities.topk(kept)
    return torch.zeros_like(probabilities).index_copy(0, places, values / values.sum())


def _top_p_mistakes(
    seen: Any, probabilities: torch.Tensor, p: float, places: torch.Tensor, kept: int
) -> dict[str, Any]:
    """What each likely mistake makes of the probabilities, by the sentence that names it."""
    right = _likeliest(probabilities, kept)
    unscaled = probabilities * (right > 0)
    alone = probabilities * (probabilities >= p)
    upwards = probabilities[places.flip(0)].cumsum(0) - probabilities[places.flip(0)]
    least = places.flip(0)[: int((upwards < p).sum())]

    def scaled(chosen: torch.Tensor) -> torch.Tensor:
        return probabilities * chosen / (probabilities * chosen).sum()

    def among(indices: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(probabilities).index_fill(0, indices, 1)

    return {
        "This leaves out the token that takes the sum to p: without it the sum falls short.": _likeliest(
            probabilities, kept - 1
        ),
        "This keeps one token too many: the sum had reached p before it.": _likeliest(probabilities, kept + 1),
        "This keeps each token that reaches p by itself: they are to reach it together.": any_of(
            seen, alone, alone / alone.sum()
        ),
        "What is kept does not add up to 1.": unscaled,
        "This divides by p: what is kept adds up to more than p.": unscaled / p,
        "This adds up in the order of the vocabulary: the likeliest come first.": any_of(
            seen, scaled(probabilities.cumsum(0) - probabilities < p), scaled(probabilities.cumsum(0) <= p)
        ),
        "This adds up from the least likely: the likeliest come first.": any_of(
            seen, scaled(among(least)), scaled(among(least[:-1]))
        ),
        "The numbers are right, and stand in the order of size: each is to stand in its old place.": any_of(
            seen, right[places], right[places][:kept]
        ),
        "The numbers are right, their places are not: beside the values, sorting gives where each came from.": (
            right[places][places]
        ),
        "What marks the kept ones is still sorted by size: put the marks back to their tokens' places.": any_of(
            seen, scaled(among(torch.arange(kept))), scaled(among(torch.arange(kept))[places])
        ),
        "This scales with softmax, which makes other proportions: divide by the sum of what is kept.": any_of(
            seen, unscaled.softmax(0), unscaled.where(unscaled > 0, -torch.inf).softmax(0)
        ),
        "This keeps a share p of the tokens: it is their probabilities that are to reach p.": any_of(
            seen, *(_likeliest(probabilities, max(1, int(p * len(probabilities)) + more)) for more in (0, 1))
        ),
        "These are marks for what is kept: their probabilities are wanted.": (right > 0).float(),
    }


@check(
    "4.3",
    "Which position has read the whole review and `Sentiment:`? Two of its logits count, and no other.",
    "logits[:, -1, [positive_id, negative_id]] has shape (B, 2). What makes probabilities that add up to 1 of logits?",
    "Take the softmax(dim=-1) of these two columns: it knows of no other token. Its column 0 is the positive one.",
)
def check_chance_of_positive(answer: Answer, draw: Random) -> None:
    """`chance_of_positive(logits, positive_id, negative_id) -> (B,)`: how likely the verdict is positive, of two."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials = []
    for texts in draw.sample(range(2, 8), 5):
        tokens, vocab = draw.randint(4, 8), draw.randint(12, 20)
        positive, negative = draw.sample(range(vocab), 2)
        logits = 3 + 1.5 * torch.randn(texts, tokens, vocab, generator=generator)
        for text in range(texts):  # neither undecided nor certain
            middle, apart = draw.uniform(1, 3), draw.choice([-1, 1]) * draw.uniform(0.4, 3)
            logits[text, -1, positive], logits[text, -1, negative] = middle + apart / 2, middle - apart / 2
        returned = _as_tensor(answer(logits, positive, negative))
        trials.append(
            Trial(
                given=f"logits of shape ({texts}, {tokens}, {vocab}), positive_id = {positive} and negative_id = "
                f"{negative}",
                seen=returned,
                expected=logits[:, -1, [positive, negative]].softmax(-1)[:, 0],
                mistakes=_verdict_mistakes(returned, logits, positive, negative),
            )
        )
    judge(trials, "a tensor of shape (B,), one probability for each review,")


def _verdict_mistakes(seen: Any, logits: torch.Tensor, positive: int, negative: int) -> dict[str, Any]:
    """What each likely mistake makes of the logits, by the sentence that names it."""
    everywhere = logits[:, :, [positive, negative]].softmax(-1)  # (B, T, 2)
    both, of_all = everywhere[:, -1], logits.softmax(-1)[:, -1]
    right, plus, minus = both[:, 0], logits[:, -1, positive], logits[:, -1, negative]
    return {
        "This softmax runs over the whole vocabulary: only two tokens are possible.": of_all[:, positive],
        "This is the probability of the negative token.": both[:, 1],
        "This takes softmax twice: first over the vocabulary, then of those probabilities.": (
            of_all[:, [positive, negative]].softmax(-1)[:, 0]
        ),
        "This is what the two tokens have together: the positive one's part of it is wanted.": (
            of_all[:, [positive, negative]].sum(-1)
        ),
        "These are all positions of the last review: the last position of each review is asked for.": everywhere[
            -1, :, 0
        ],
        "This is the mean over the positions: only the last has read the whole text.": everywhere[..., 0].mean(1),
        "This is the first position: it has read one token, not the review.": everywhere[:, 0, 0],
        "This is the last position but one: it has not read all of `Sentiment:`.": everywhere[:, -2, 0],
        "This is every position: only what follows the whole text is asked for.": everywhere[..., 0],
        "This divides a logit by the sum of the two: logits can be negative, so softmax takes their exp.": plus
        / (plus + minus),
        "This is the difference of the logits: it is no probability yet.": any_of(seen, plus - minus, minus - plus),
        "This is the difference of two probabilities.": any_of(
            seen, 2 * right - 1, of_all[:, positive] - of_all[:, negative]
        ),
        "These are odds, how many times as likely one token is as the other: a probability is wanted.": any_of(
            seen, (plus - minus).exp(), (minus - plus).exp()
        ),
        "This is the sigmoid of one logit alone: how likely a token is depends on the other too.": any_of(
            seen, plus.sigmoid(), minus.sigmoid()
        ),
        "This is the logarithm of the probability.": right.log(),
        "This says which of the two is likelier: how likely is wanted.": any_of(
            seen, (plus > minus).float(), (plus < minus).float()
        ),
        "This softmax runs over the reviews: they have nothing to do with one another.": any_of(
            seen, plus.softmax(0), logits[:, -1].softmax(0)[:, positive]
        ),
        "These are both probabilities: the positive token's is wanted.": any_of(seen, both, both.flip(-1)),
        "This is the first review alone: each has a probability of its own.": any_of(seen, right[0], right[:1]),
        "This is the last review alone: each has a probability of its own.": any_of(seen, right[-1], right[-1:]),
        "This is the mean over the reviews: each has a probability of its own.": right.mean(),
        "The numbers are right, but an axis of length 1 is left over.": any_of(seen, right[:, None], right[None]),
    }
