"""Lesson 03's checks: RMSNorm, the feed-forward half with SwiGLU, and how a transformer block is wired."""

from collections.abc import Callable
from random import Random
from typing import Any

import torch
import torch.nn.functional as F

from lorakit.checks.frame import Answer, Trial, any_of, check, judge

EXACT = torch.float64
"""For checks that subtract: what is left of two float32 that nearly cancel is rounding."""


class MadeUp:
    """A function that stands for a part of a model: (B, T, D) -> (B, T, D), each vector made of those up to it.

    What it returns lies between 0 and 1, so that no sum of it cancels.
    """

    def __init__(self, name: str, size: int, generator: torch.Generator) -> None:
        self.name = name
        self.weight = torch.randn(size, size, generator=generator)
        self.bias = torch.randn(size, generator=generator)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the function.

        Raises:
            ValueError: `x` has another shape.
        """
        if x.ndim != 3 or x.shape[-1] != len(self.weight):
            raise ValueError(f"{self.name} takes (B, T, {len(self.weight)}), and was given {tuple(x.shape)}.")
        so_far = x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None]
        return torch.sigmoid((x + so_far) @ self.weight + self.bias)

    def __repr__(self) -> str:
        return self.name


@check(
    "3.1",
    "Three steps for each vector: find how large its numbers are, divide by that, scale by gamma. Which axis of x runs "
    "along one vector?",
    "mean(dim=-1, keepdim=True) of the squares is one number a vector, and the axis that it keeps lets you divide x by "
    "it. eps is added to that mean, so before the root.",
    "With mean_square = x.pow(2).mean(dim=-1, keepdim=True), the vectors are x / (mean_square + eps).sqrt(). "
    "Multiply with gamma.",
)
def check_rms_norm(answer: Answer, draw: Random) -> None:
    """`rms_norm(x, gamma, eps) -> (..., D)`: each vector brought to a root mean square of 1, then scaled."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials, (one, other, third, fourth, fifth) = [], draw.sample(range(9, 17), 5)
    # First as many vectors as numbers in each, where what a lost axis does raises no error; at last a lone vector,
    # where counting axes from the front does.
    of_squares = [(one, one), (other, other)]
    of_batches = [(draw.randint(2, 4), draw.randint(5, 8), size) for size in (third, fourth)]
    for shapes in (of_squares, of_batches, [(fifth,)]):
        for shape, scale in zip(shapes, draw.sample([1e-5, 1e-3], len(shapes)), strict=True):
            eps = draw.choice([2, 3, 5]) * scale
            length = (draw.uniform(0.5, 2) * eps) ** 0.5  # so small that eps counts
            lengths = length * 2 ** torch.empty(*shape[:-1], 1, dtype=EXACT).uniform_(0, 3, generator=generator)
            x = lengths * (torch.randn(shape, dtype=EXACT, generator=generator) + 0.7)
            gamma = torch.empty(shape[-1], dtype=EXACT).uniform_(1.3, 4, generator=generator)
            returned = answer(x, gamma, eps)
            trials.append(
                Trial(
                    given=f"x of shape {shape}, gamma of shape {tuple(gamma.shape)} and eps = {eps:g}",
                    seen=returned,
                    expected=gamma * x / (x.square().mean(-1, keepdim=True) + eps).sqrt(),
                    mistakes=_norm_mistakes(returned, x, gamma, eps),
                )
            )
        judge(trials, "a tensor of the shape of x, each vector normed and scaled,")


def _norm_mistakes(seen: Any, x: torch.Tensor, gamma: torch.Tensor, eps: float) -> dict[str, Any]:
    """What each likely mistake makes of the vectors, by the sentence that names it."""

    def mean(x: torch.Tensor) -> torch.Tensor:
        return x.mean(-1, keepdim=True)

    def divided(by: torch.Tensor) -> torch.Tensor:
        return gamma * x / by

    size, total = mean(x * x), (x * x).sum(-1, keepdim=True)
    rms, centred = (size + eps).sqrt(), x - mean(x)
    variances = [x.var(-1, correction=correction, keepdim=True) for correction in (0, 1)]
    deviations = [form for v in variances for form in ((v + eps).sqrt(), v.sqrt() + eps, v.sqrt())]
    axes = [(x * x).mean(axis, keepdim=True) for axis in (0, -2) if x.ndim > 1]
    return {
        "This subtracts the mean of each vector, as LayerNorm does: here only the length is changed.": any_of(
            seen, *(gamma * centred / by for by in [*deviations, rms])
        ),
        "This divides by the standard deviation, which is taken from the vector's mean: the squares are of x itself.": (
            any_of(seen, *map(divided, deviations))
        ),
        "This divides by the root of the sum of the squares: vectors of length 1 come out, and a mean is asked for.": (
            any_of(seen, *map(divided, [(total + eps).sqrt(), total.sqrt() + eps, total.sqrt().clamp(min=eps)]))
        ),
        "This adds eps to the root: it belongs to the mean, before the root is taken.": divided(size.sqrt() + eps),
        "This leaves out eps, which counts where the numbers are small.": divided(size.sqrt()),
        "This takes 1e-5 for eps: it is an argument.": divided((size + 1e-5).sqrt()),
        "This takes 1e-6 for eps: it is an argument.": divided((size + 1e-6).sqrt()),
        "This divides by the mean of the squares: its root is missing.": divided(size + eps),
        "This divides by the mean size of the numbers, without their signs: a mean of squares is asked for.": any_of(
            seen, divided(mean(x.abs()) + eps), divided(mean(x.abs()))
        ),
        "This squares the mean: each number is squared first.": any_of(
            seen, divided((mean(x) ** 2 + eps).sqrt()), divided(mean(x))
        ),
        "This leaves out gamma.": x / rms,
        "This scales by 1 + gamma, as Gemma's norm does: Llama's scales by gamma itself.": (1 + gamma) * x / rms,
        "This adds gamma: each number is multiplied by its own.": x / rms + gamma,
        "This divides by gamma: each number is multiplied by its own.": x / rms / gamma,
        "This multiplies by the root of the mean, so that large vectors grow: it is to make them alike in size.": (
            gamma * x * rms
        ),
        "This mean runs over all numbers of x: each vector has one of its own.": divided(((x * x).mean() + eps).sqrt()),
        "This mean runs across the vectors: it is to run along each, on the last axis.": any_of(
            seen, *(divided((across + eps).sqrt()) for across in axes or [size])
        ),
        "The mean squares have lost their axis, so each divides a column and not its vector: keepdim=True keeps it.": (
            divided(rms[..., 0] if x.ndim == 2 and x.shape[0] == x.shape[1] else rms)
        ),
        "These are the roots alone: x is to be divided by them.": any_of(seen, rms, rms[..., 0]),
    }


@check(
    "3.2",
    "Two products side by side, one of which opens and closes the other; then one that brings the size back.",
    "gate = x @ w_gate.T and up = x @ w_up.T have F numbers a vector. silu acts on gate alone: each number times its "
    "own sigmoid.",
    "torch.nn.functional.silu(gate) * up has F numbers a vector. Multiply that with w_down.T.",
)
def check_feed_forward(answer: Answer, draw: Random) -> None:
    """`feed_forward(x, w_gate, w_up, w_down) -> (..., D)`: the feed-forward half with SwiGLU."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials, (one, other, third, fourth, fifth) = [], draw.sample(range(9, 16), 5)
    # First F = D, where a weight that is not transposed raises no error.
    turnable = [((draw.randint(3, 8), one), one), ((draw.randint(2, 3), draw.randint(3, 8), other), other)]
    others = [(third,), (draw.randint(3, 8), fourth), (draw.randint(2, 3), draw.randint(3, 8), fifth)]
    for cases in (turnable, [(shape, draw.randint(18, 30)) for shape in draw.sample(others, 3)]):
        for shape, inner in cases:
            size = shape[-1]
            x = torch.randn(shape, dtype=EXACT, generator=generator)
            w_gate, w_up = 2 * torch.randn(2, inner, size, dtype=EXACT, generator=generator) / size**0.5
            w_down = torch.randn(size, inner, dtype=EXACT, generator=generator) / inner**0.5
            returned = answer(x, w_gate, w_up, w_down)
            gate, up = x @ w_gate.T, x @ w_up.T
            trials.append(
                Trial(
                    given=f"x of shape {shape}, w_gate and w_up of shape ({inner}, {size})",
                    seen=returned,
                    expected=(F.silu(gate) * up) @ w_down.T,
                    mistakes=_feed_forward_mistakes(returned, x, w_gate, w_up, w_down),
                )
            )
        judge(trials, "a tensor of the shape of x, what the feed-forward half makes of it,")


def _feed_forward_mistakes(
    seen: Any, x: torch.Tensor, w_gate: torch.Tensor, w_up: torch.Tensor, w_down: torch.Tensor
) -> dict[str, Any]:
    """What each likely mistake makes of x, by the sentence that names it."""
    gate, up = x @ w_gate.T, x @ w_up.T
    right = (F.silu(gate) * up) @ w_down.T
    square = len(w_gate) == len(w_down)

    def turned(w_gate: torch.Tensor, w_up: torch.Tensor, w_down: torch.Tensor) -> torch.Tensor:
        return (F.silu(x @ w_gate.T) * (x @ w_up.T)) @ w_down.T if square else right

    return {
        "This puts silu on the product with w_up: the gate is the product with w_gate.": (gate * F.silu(up)) @ w_down.T,
        "This puts silu on both products: the one with w_up goes through as it is.": (F.silu(gate) * F.silu(up))
        @ w_down.T,
        "This puts silu on the product of the two: the gate goes through it alone, before they are multiplied.": F.silu(
            gate * up
        )
        @ w_down.T,
        "This puts silu on what comes out at the end: the gate goes through it, inside.": F.silu(
            (gate * up) @ w_down.T
        ),
        "This is the sigmoid alone: silu multiplies it with the number that went in.": (gate.sigmoid() * up) @ w_down.T,
        "This multiplies with the gate once more: silu has that factor in it.": (gate * F.silu(gate) * up) @ w_down.T,
        "The sigmoid's sign is the other way round: a large gate is to let through.": (gate * torch.sigmoid(-gate) * up)
        @ w_down.T,
        "This is relu, which cuts off what is below 0: silu lets a little of it through.": (gate.relu() * up)
        @ w_down.T,
        "This is gelu: it bends like silu, and gives other numbers.": any_of(
            seen, (F.gelu(gate) * up) @ w_down.T, (F.gelu(gate, approximate="tanh") * up) @ w_down.T
        ),
        "There is no silu here: the two products are multiplied as they are.": (gate * up) @ w_down.T,
        "This adds the gate to the other product: a gate multiplies.": (F.silu(gate) + up) @ w_down.T,
        "This leaves out the product with w_up: there is nothing that the gate could let through.": F.silu(gate)
        @ w_down.T,
        "This leaves out the product with w_gate: nothing decides what is let through.": any_of(
            seen, F.silu(up) @ w_down.T, up @ w_down.T
        ),
        "This leaves out w_down: F numbers come out for each vector, and D are wanted.": F.silu(gate) * up,
        "This adds x: the block does that, outside this half.": x + right,
        "No weight is transposed here: a linear layer computes x @ w.T. Where F is D, no error reports it.": turned(
            w_gate.T, w_up.T, w_down.T
        ),
        "w_gate and w_up are not transposed: a linear layer is x @ w.T. Where F is D, no error reports it.": turned(
            w_gate.T, w_up.T, w_down
        ),
        "w_down is not transposed: a linear layer computes x @ w.T. Where F is D, no error reports it.": turned(
            w_gate, w_up, w_down.T
        ),
    }


@check(
    "3.3",
    "Both halves do the same: norm a copy of the stream, put it through a function, add the result to the stream.",
    "The first half makes a new x. All that the second half does, its sum too, starts from that one.",
    "The first half is x = x + attention(norm_1(x)). The second is that line again, with norm_2 and feed_forward.",
)
def check_block(answer: Answer, draw: Random) -> None:
    """`block(x, norm_1, attention, norm_2, feed_forward) -> (B, T, D)`: one pre-norm transformer block."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials = []
    for size in draw.sample(range(4, 10), 4):
        texts, tokens = draw.randint(2, 4), draw.randint(3, 7)
        x = torch.rand(texts, tokens, size, generator=generator)  # above 0, like all that is added to it
        parts = [MadeUp(name, size, generator) for name in ("norm_1", "attention", "norm_2", "feed_forward")]
        returned = answer(x, *parts)
        trials.append(
            Trial(
                given=f"x of shape {(texts, tokens, size)}",
                seen=returned,
                expected=_block(x, *parts),
                mistakes=_block_mistakes(returned, x, *parts),
            )
        )
    judge(trials, "a tensor of the shape of x, what the block makes of it,")


Function = Callable[[torch.Tensor], torch.Tensor]


def _block(
    x: torch.Tensor, norm_1: Function, attention: Function, norm_2: Function, feed_forward: Function
) -> torch.Tensor:
    x = x + attention(norm_1(x))
    return x + feed_forward(norm_2(x))


def _block_mistakes(
    seen: Any, x: torch.Tensor, norm_1: Function, attention: Function, norm_2: Function, feed_forward: Function
) -> dict[str, Any]:
    """What each likely mistake makes of x, by the sentence that names it."""

    def plain(x: torch.Tensor) -> torch.Tensor:
        return x

    attended = attention(norm_1(x))
    middle = x + attended
    right = middle + feed_forward(norm_2(middle))
    post = norm_1(x + attention(x))
    both_normed = norm_1(x) + attention(norm_1(x))
    fed_first = [x + feed_forward(norm(x)) for norm in (norm_2, norm_1)]
    return {
        "The first half's sum is missing: what the attention made is to be added to x.": attended
        + feed_forward(norm_2(attended)),
        "The second half's sum is missing: what the feed-forward made is to be added to what came in.": feed_forward(
            norm_2(middle)
        ),
        "Nothing is added in either half: each is to add to the stream, not to replace it.": feed_forward(
            norm_2(attended)
        ),
        "This norms each sum, as the first transformers did: here each half norms what it reads, and no more.": (
            norm_2(post + feed_forward(post))
        ),
        "This norms what each half has made: it is to norm what the half reads.": _block(
            x, plain, lambda x: norm_1(attention(x)), plain, lambda x: norm_2(feed_forward(x))
        ),
        "The stream itself is normed here: only the copy that a half reads is, and its result is added to the rest.": (
            any_of(
                seen,
                norm_2(both_normed) + feed_forward(norm_2(both_normed)),
                both_normed + feed_forward(norm_2(both_normed)),
                norm_2(middle) + feed_forward(norm_2(middle)),
            )
        ),
        "Both halves read the same x: the feed-forward comes after the attention, and reads the sum.": x
        + attended
        + feed_forward(norm_2(x)),
        "The second half adds to the x that came into the block: what the attention added is lost.": x
        + feed_forward(norm_2(middle)),
        "The feed-forward reads what the attention made, without the x that it is added to.": middle
        + feed_forward(norm_2(attended)),
        "This adds the x that came into the block twice: the first sum has it already.": x + right,
        "There is no norm in the first half: the attention reads the normed x.": _block(
            x, plain, attention, norm_2, feed_forward
        ),
        "There is no norm in the second half: the feed-forward reads the normed sum.": _block(
            x, norm_1, attention, plain, feed_forward
        ),
        "There is no norm in either half: each reads a normed copy.": _block(x, plain, attention, plain, feed_forward),
        "norm_1 is in both halves: each has a norm of its own.": _block(x, norm_1, attention, norm_1, feed_forward),
        "norm_2 is in both halves: each has a norm of its own.": _block(x, norm_2, attention, norm_2, feed_forward),
        "The two norms are swapped.": _block(x, norm_2, attention, norm_1, feed_forward),
        "The feed-forward comes first here: the attention does.": any_of(
            seen, fed_first[0] + attention(norm_1(fed_first[0])), fed_first[1] + attention(norm_2(fed_first[1]))
        ),
        "This is the first half alone.": middle,
        "This is the second half alone.": fed_first[0],
        "This is what the first half adds: x itself, and the second half, are missing.": attended,
    }
