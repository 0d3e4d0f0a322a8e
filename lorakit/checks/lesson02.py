"""Lesson 02's checks: cutting vectors into heads, turning pairs, shared key heads, and causal attention weights."""

import math
from itertools import permutations
from random import Random
from typing import Any

import torch

from lorakit.checks.frame import Answer, Trial, any_of, check, judge, one_tensor


@check(
    "2.1",
    "Take one token's vector: which of its numbers belong to head 0, which to head 1? Cut it there, before you move "
    "anything.",
    "Two steps. Give the last axis two axes in its stead, heads and d: `unflatten` or `view` do that. Then bring the "
    "axes into the wanted order, with `transpose`: no `view` can do that.",
    "x.unflatten(-1, (n_heads, -1)) has shape (B, T, n_heads, d). Exchange its axes 1 and 2.",
)
def check_split_heads(answer: Answer, draw: Random) -> None:
    """`split_heads(x, n_heads) -> (B, n_heads, T, d)`: each head's own table of T rows."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials = []
    for _ in range(5):
        texts, tokens, heads, d = draw.sample(range(2, 8), 4)
        x = torch.randn(texts, tokens, heads * d, generator=generator)
        returned = one_tensor(answer(x, heads))
        cut = x.unflatten(-1, (heads, d))
        trials.append(
            Trial(
                given=f"x of shape {tuple(x.shape)} and n_heads = {heads}",
                seen=returned,
                expected=cut.transpose(1, 2),
                mistakes={name: any_of(returned, *forms) for name, forms in _head_mistakes(x, cut).items()},
            )
        )
    judge(trials, "a tensor of shape (B, n_heads, T, d)")


def _head_mistakes(x: torch.Tensor, cut: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    """What each likely mistake makes of x, in its several forms, by the sentence that names it.

    Args:
        cut: x as (B, T, n_heads, d).
    """
    texts, tokens, heads, d = cut.shape
    right = cut.transpose(1, 2)
    dealt, turned = x.unflatten(-1, (d, heads)), x.transpose(1, 2)
    of_heads_first = [
        right.permute(order) for order in permutations(range(4)) if order not in [(0, 1, 2, 3), (0, 2, 1, 3)]
    ]
    return {
        "The shape is right, but a head's rows hold numbers of other tokens: `view` and `reshape` move no axis, they "
        "cut the same row of numbers in other places.": [
            x.reshape(texts, heads, tokens, d),
            turned.reshape(texts, heads, tokens, d),
        ],
        "The vectors are cut as they should be, but T comes before the heads.": [cut],
        "The numbers are dealt out to the heads in turn: those of one head lie side by side.": [
            dealt.permute(0, 3, 1, 2)
        ],
        "`n_heads` is taken for the size of a head: it is how many there are.": [dealt.transpose(1, 2), dealt],
        "The numbers are cut as they should be, but the axes B, n_heads, T, d are in another order.": of_heads_first,
        "The heads have no axis of their own: they are joined to the texts or the tokens.": [
            right.flatten(1, 2),
            right.flatten(0, 1),
            right.transpose(0, 1).flatten(0, 1),
            cut.flatten(1, 2),
        ],
        "This is one head alone.": [right[:, 0], right[:, -1], right[:, :1]],
        "This is one text alone: x holds several.": [right[0], right[-1], right[:1]],
    }


@check(
    "2.2",
    "Which two numbers are a pair? Cut x into a first half and a second half along its last axis: a pair has one "
    "number in each, at the same place.",
    "`a, b = x.chunk(2, dim=-1)` are the halves, of shape (B, heads, T, d/2). `angles.cos()` has shape (T, d/2), and "
    "so lies on the last two axes of a by itself.",
    "The two new halves are a * cos - b * sin and b * cos + a * sin, both from the old a and b. torch.cat((…, …), "
    "dim=-1) puts one behind the other.",
)
def check_rotate(answer: Answer, draw: Random) -> None:
    """`rotate(x, angles) -> (B, heads, T, d)`: the points (x_j, x_{j + d/2}), each turned by its position's angle."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials = []
    # First as many heads as tokens, where an angle for each head raises no error; then fewer.
    for fewer in ([0, 0], draw.sample([1, 1, 2], 3)):
        for by in fewer:
            texts, tokens, half = 2, draw.choice([5, 7, 9]), draw.choice([3, 4])
            # Numbers of nearly one size, and angles near a multiple of 90°: in no sum do two terms cancel, so that an
            # answer in float32 is as good as exact.
            x = _some(1, 1.3, (texts, tokens - by, tokens, 2 * half), generator)
            x *= _some_integers(0, 2, x.shape, generator) * 2 - 1
            angles = _some(0.05, 0.2, (tokens, half), generator) * draw.choice([1, -1])
            angles += _some_integers(-4, 5, angles.shape, generator) * math.pi / 2
            returned = one_tensor(answer(x, angles))
            trials.append(
                Trial(
                    given=f"x of shape {tuple(x.shape)} and angles of shape {tuple(angles.shape)}",
                    seen=returned,
                    expected=_turned(x, angles),
                    mistakes={name: any_of(returned, *forms) for name, forms in _turn_mistakes(x, angles).items()},
                )
            )
        judge(trials, "a tensor of the shape of x, each pair of numbers turned by its angle,")


def _some(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.empty(shape).uniform_(low, high, generator=generator)


def _some_integers(low: int, high: int, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.randint(low, high, shape, generator=generator)


def _turned(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()), dim=-1)


def _turn_mistakes(x: torch.Tensor, angles: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    """What each likely mistake makes of x, in its several forms, by the sentence that names it."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    new_a, new_b = _turned(x, angles).chunk(2, dim=-1)
    even, odd = x[..., 0::2], x[..., 1::2]
    of_neighbours = even * cos - odd * sin, odd * cos + even * sin
    for_neighbours = angles.repeat_interleave(2, dim=-1)  # (T, d), where number i has the angle i // 2

    def join(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return torch.cat((first, second), dim=-1)

    return {
        "This pairs each number with its neighbour: the partner of number j is d/2 places away.": [
            torch.stack(of_neighbours, dim=-1).flatten(-2),
            join(*of_neighbours),
        ],
        "This turns clockwise.": [join(a * cos + b * sin, b * cos - a * sin)],
        "This turns one coordinate and leaves the other: a point moves in both.": [join(new_a, b), join(a, new_b)],
        "One coordinate is made from the other after that had changed: both are made from the old ones.": [
            join(new_a, b * cos + new_a * sin),
            join(a * cos - new_b * sin, new_b),
        ],
        "sin and cos have changed places.": [join(a * sin - b * cos, b * sin + a * cos)],
        "Both coordinates have the same sign before sin: that is no turn, it changes a point's distance from 0.": [
            join(a * cos + b * sin, b * cos + a * sin),
            join(a * cos - b * sin, b * cos - a * sin),
        ],
        "In one coordinate sin and cos are exchanged.": [
            join(new_a, b * sin + a * cos),
            join(a * sin - b * cos, new_b),
        ],
        "Each head has an angle of its own here: it is the position that says which.": [
            _turned(x, angles[: x.shape[1], None])
        ],
        "One position's angles turn all tokens: each position has its own.": [
            _turned(x, angles[0]),
            _turned(x, angles[-1]),
        ],
        "One angle of a position turns all its pairs: each pair has its own.": [
            _turned(x, angles[:, :1]),
            _turned(x, angles[:, -1:]),
        ],
        "The angles are laid out as for neighbours: number j and number j + d/2 turn by the same one.": [
            x * for_neighbours.cos() + join(-b, a) * for_neighbours.sin()
        ],
        "Nothing is turned: this is x.": [x],
        "The halves are put together in the wrong order: the first coordinates come first.": [join(new_b, new_a)],
        "The turned halves are put together in turn, a number of one and a number of the other: in x one half comes "
        "after the other.": [torch.stack((new_a, new_b), dim=-1).flatten(-2)],
        "The halves are put together along another axis than they were cut.": [
            torch.cat((new_a, new_b), dim=axis) for axis in (0, 1, 2)
        ],
        "The halves lie on an axis of their own: the last axis is to have all d numbers again.": [
            torch.stack((new_a, new_b), dim=axis) for axis in (0, 1, 2, 3, 4)
        ],
        "The angles are taken for degrees: they are in radians.": [_turned(x, angles.deg2rad())],
        "This is one half of the numbers: both are to come out.": [new_a, new_b],
    }


@check(
    "2.3",
    "Write down, for 6 query heads and 2 key heads, which key head each query head is to find: 6 numbers. How often "
    "does each key head come up?",
    "Each key head is needed n_heads / K times, and its copies stand side by side. `repeat` writes the whole row of "
    "heads again and again; another function repeats each one in its place.",
    "`k.repeat_interleave(times, dim=…)` repeats each entry of one axis in its place: that of the heads, which is axis "
    "1. `times` is n_heads // k.shape[1].",
)
def check_share_heads(answer: Answer, draw: Random) -> None:
    """`share_heads(k, n_heads) -> (B, n_heads, T, d)`: in place h the key head of query head h."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials = []
    for _ in range(5):
        # Fewer heads share one than there are: so h // K, which is not the group that h is in, raises no error.
        heads = draw.randint(3, 5)
        times = draw.randint(2, heads - 1)
        texts, tokens, d = draw.sample([size for size in range(2, 9) if size not in (heads, times, heads * times)], 3)
        k = torch.randn(texts, heads, tokens, d, generator=generator)
        returned = one_tensor(answer(k, heads * times))
        trials.append(
            Trial(
                given=f"k of shape {tuple(k.shape)} and n_heads = {heads * times}",
                seen=returned,
                expected=k.repeat_interleave(times, dim=1),
                mistakes={name: any_of(returned, *forms) for name, forms in _sharing_mistakes(k, times).items()},
            )
        )
    judge(trials, "a tensor of shape (B, n_heads, T, d), in place h the key head of query head h,")


def _sharing_mistakes(k: torch.Tensor, times: int) -> dict[str, list[torch.Tensor]]:
    """What each likely mistake makes of k, in its several forms, by the sentence that names it."""
    texts, heads, tokens, d = k.shape
    n_heads = heads * times
    flat = k.repeat_interleave(times)
    copies = k[:, :, None].expand(-1, -1, times, -1, -1)  # (B, K, n_heads / K, T, d)
    return {
        "The heads follow one another and then start again: query heads that share a key head stand side by side.": [
            k.repeat(1, times, 1, 1)
        ],
        "Each key head comes up three times, whatever n_heads is: the factor is n_heads / K.": [
            k.repeat_interleave(3, dim=1)
        ],
        "All query heads have the same key head.": [
            k[:, at : at + 1].expand(-1, n_heads, -1, -1) for at in (0, heads - 1)
        ],
        "Another axis than that of the heads was repeated.": [
            form
            for axis in (0, 2, 3)
            for form in (k.repeat_interleave(times, dim=axis), torch.cat([k] * times, dim=axis))
        ],
        "Nothing is shared out: this is k.": [k],
        "Each key head stands here as often as there are query heads: they share it in groups.": [
            k.repeat_interleave(n_heads, dim=1),
            k.repeat(1, n_heads, 1, 1),
        ],
        "Each key head stands here as often as there are key heads: how many query heads share one?": [
            k.repeat_interleave(heads, dim=1),
            k.repeat(1, heads, 1, 1),
        ],
        "Query head h finds key head h // K here: K is how many key heads there are, not how many share one.": [
            k[:, torch.arange(n_heads) // heads]
        ],
        "The copies lie on an axis of their own: all query heads lie on one.": [
            copies,
            copies.transpose(1, 2),
            torch.stack([k] * times),
        ],
        "Without `dim`, `repeat_interleave` makes one long row of all numbers, and repeats each of them.": [
            flat,
            flat.view(texts, n_heads, tokens, d),
        ],
        "The shape is right, but the copies were joined across axes: `reshape` keeps the order of all numbers.": [
            torch.stack([k] * times).reshape(texts, n_heads, tokens, d),
            torch.stack([k] * times, dim=3).reshape(texts, n_heads, tokens, d),
            torch.cat([k] * times, dim=3).reshape(texts, n_heads, tokens, d),
        ],
    }


@check(
    "2.4",
    "Four steps: all dot products, the scale, the mask, the softmax. A token that is hidden has to drop out before the "
    "softmax, so that the others share the whole weight.",
    "k.transpose(-1, -2) makes q @ … of shape (B, H, T, T): row i has the scores of query i. A score of minus infinity "
    "becomes a weight of 0, as exp(-inf) is 0.",
    "torch.ones(T, T, dtype=torch.bool).triu(1) is True where the key is later than the query. Give it to "
    'scores.masked_fill(…, float("-inf")), then take softmax over the last axis.',
)
def check_attention_weights(answer: Answer, draw: Random) -> None:
    """`attention_weights(q, k) -> (B, H, T, T)`: causal softmax attention."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials = []
    for d in draw.sample(range(8, 14), 5):
        texts, heads, tokens = *draw.sample([2, 3, 4], 2), draw.randint(5, 7)
        # No negative numbers: a sum that nearly cancels would be rounding, in float32.
        q, k = (_some(0.1, 2.2, (texts, heads, tokens, d), generator) for _ in "qk")
        returned = _comparable(one_tensor(answer(q, k)))
        trials.append(
            Trial(
                given=f"q and k of shape {tuple(q.shape)}",
                seen=returned,
                expected=_hidden(q @ k.transpose(-1, -2) / d**0.5, _later(tokens)).softmax(-1),
                mistakes={
                    name: any_of(returned, *map(_comparable, forms)) for name, forms in _weight_mistakes(q, k).items()
                },
            )
        )
    judge(trials, "a tensor of shape (B, H, T, T), the weights of the tokens that each token may look at,")


def _comparable(value: Any) -> Any:
    """A tensor with numbers in the place of nan and -inf, which do not equal themselves."""
    return value.nan_to_num(nan=-1.0) if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def _later(tokens: int, first: int = 1) -> torch.Tensor:
    """(T, T), True where the key stands at least `first` places after the query."""
    return torch.ones(tokens, tokens, dtype=torch.bool).triu(first)


def _hidden(scores: torch.Tensor, hidden: torch.Tensor, score: float = -math.inf) -> torch.Tensor:
    return scores.masked_fill(hidden, score)


def _weight_mistakes(q: torch.Tensor, k: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    """What each likely mistake makes of q and k, in its several forms, by the sentence that names it."""
    texts, heads, tokens, d = q.shape
    dots = q @ k.transpose(-1, -2)
    scores, later, itself, earlier = dots / d**0.5, _later(tokens), _later(tokens, 0), ~_later(tokens, 0)
    masked, seen = _hidden(scores, later), ~later

    def weights(scores: torch.Tensor) -> torch.Tensor:
        return _hidden(scores, later).softmax(-1)

    return {
        "The scores are not scaled.": [weights(dots)],
        "The scores are divided by d: its root is missing.": [weights(dots / d)],
        "The scores are multiplied by √d.": [weights(dots * d**0.5)],
        "The scores are divided by the root of another size: d is the length of one query.": [
            weights(dots / size**0.5) for size in (tokens, heads, texts, heads * d)
        ],
        "The weights are divided by √d after the softmax, so they do not add up to 1: it is the scores that are "
        "scaled.": [weights(dots) / d**0.5],
        "There is no mask: each token looks at those after it too.": [scores.softmax(-1)],
        "The mask is the wrong way round: each token looks at those after it.": [
            _hidden(scores, hidden, score).softmax(-1) for hidden in (earlier, ~later) for score in (-math.inf, -1e9)
        ],
        "The mask hides each token from itself too.": [
            _hidden(scores, itself).softmax(-1),
            _hidden(scores, itself, -1e9).softmax(-1),
            _hidden(scores, itself).softmax(-1).nan_to_num(),
        ],
        "The mask lets each token look at the one after it.": [_hidden(scores, _later(tokens, 2)).softmax(-1)],
        "The mask comes after the softmax: what was given to hidden tokens is lost, and rows do not add up to 1.": [
            scores.softmax(-1) * seen
        ],
        "A hidden token's score is 0 here: that is a score like others, and its exp is 1.": [
            (scores * seen).softmax(-1)
        ],
        "This softmax does not run over the keys: each row is to add up to 1.": [
            masked.softmax(axis) for axis in (-2, 1, 0)
        ],
        "Queries and keys are exchanged: a row belongs to a query.": [
            weights(scores.transpose(-1, -2)),
            weights(scores).transpose(-1, -2),
        ],
        "These are scores: there is no softmax.": [scores, masked, scores * seen, dots],
        "This is exp of the scores, not yet divided by the sum of its row.": [masked.exp(), scores.exp()],
        "This divides the scores by their sum: softmax takes exp of them first.": [
            scores * seen / (scores * seen).sum(-1, keepdim=True)
        ],
    }
