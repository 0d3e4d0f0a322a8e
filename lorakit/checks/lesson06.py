"""Lesson 06's checks: the best matrix of a rank, the output of a layer with LoRA, how A and B start, what is frozen."""

import re
from collections import defaultdict
from collections.abc import Set
from itertools import cycle, product
from random import Random
from typing import Any, NamedTuple

import torch
from torch import nn

from lorakit.checks.frame import Answer, CheckFailed, Trial, as_number, check, describe, judge
from lorakit.checks.lesson03 import any_of
from lorakit.lora import apply_lora

# Sums of products that nearly cancel would be rounding in float32.
EXACT = torch.float64


@check(
    "6.1",
    "W is a sum of outer products, one for each singular value, the largest first. Which of them are to stay?",
    "U has a column for each singular value, Vh has a row. Take the first r columns, values and rows.",
    "U[:, :r] * S[:r] multiplies each column by its singular value; then @ Vh[:r].",
)
def check_best_rank_r(answer: Answer, draw: Random) -> None:
    """`best_rank_r(W, r) -> (m, n)`: the nearest matrix of rank r."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials = []
    # First square ones, where a factor that is transposed raises no error.
    for shapes in ([(7, 7), (8, 8)], [(6, 9), (9, 6), (5, 8)]):
        for m, n in shapes:
            k = min(m, n)
            r = draw.randint(2, k - 3)
            U, _ = torch.linalg.qr(torch.randn(m, k, dtype=EXACT, generator=generator))
            V, _ = torch.linalg.qr(torch.randn(n, k, dtype=EXACT, generator=generator))
            S = torch.arange(k, 0, -1, dtype=EXACT) + 0.5 * torch.rand(k, dtype=EXACT, generator=generator)
            W = U * S @ V.T  # singular values far apart: which are the largest is never in doubt
            returned = answer(W, r)
            if isinstance(returned, tuple):
                raise CheckFailed(f"You returned {len(returned)} things: one matrix is wanted, their product.")
            trials.append(
                Trial(
                    given=f"W of shape ({m}, {n}) and r = {r}",
                    seen=returned,
                    expected=U[:, :r] * S[:r] @ V.T[:r],
                    mistakes=_rank_mistakes(returned, W, r),
                )
            )
        judge(trials, "the nearest matrix of rank r, in the shape of W,")


def _rank_mistakes(seen: Any, W: torch.Tensor, r: int) -> dict[str, Any]:
    """What each likely mistake makes of W, by the sentence that names it."""
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    m, n = W.shape
    V = Vh.T
    rows, columns = (torch.arange(size) < r for size in (m, n))
    return {
        "These are the smallest singular values: the largest hold the most.": any_of(
            seen, U[:, -r:] * S[-r:] @ Vh[-r:]
        ),
        "The r largest singular values are left out, and the others kept.": U[:, r:] * S[r:] @ Vh[r:],
        "The singular values are missing: each pair of vectors counts as much as its value says.": U[:, :r] @ Vh[:r],
        "The roots of the singular values are taken.": U[:, :r] * S[:r].sqrt() @ Vh[:r],
        "The squares of the singular values are taken.": U[:, :r] * S[:r] ** 2 @ Vh[:r],
        "Vh is transposed once more: torch gives it transposed already.": (
            U[:, :r] * S[:r] @ V[:r] if m == n else W  # elsewhere it raises an error of torch's own
        ),
        "This cuts W itself: its first rows or columns are not its best part.": any_of(
            seen, W * rows[:, None], W * columns, W * rows[:, None] * columns, W[:r], W[:, :r], W[:r, :r]
        ),
        "This is one of the factors: W is put together from both.": any_of(
            seen, U[:, :r] * S[:r], S[:r, None] * Vh[:r], U[:, :r], Vh[:r], S[:r]
        ),
        "One singular value too many is kept.": U[:, : r + 1] * S[: r + 1] @ Vh[: r + 1],
        "One singular value too few is kept.": U[:, : r - 1] * S[: r - 1] @ Vh[: r - 1],
        "All singular values are kept: this is W again.": W,
    }


@check(
    "6.2",
    "Two ways lead from x to the output: through W, and through A and then B. Both are added. Which of them is scaled?",
    "A linear layer computes x @ W.T. A is a layer too, from in_features to r, and B one from r to out_features. Which "
    "axis of A has the length r?",
    "x @ W.T + lora_alpha / r * (x @ A.T @ B.T), where r is A.shape[0].",
)
def check_lora_forward(answer: Answer, draw: Random) -> None:
    """`lora_forward(x, W, A, B, lora_alpha)`: a linear layer's output with LoRA beside it."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials = []
    # First square layers, where a matrix that is not transposed raises no error.
    for squares in ((True, True), (False, False, False)):
        for square in squares:
            inputs, outputs, tokens = draw.sample(range(7, 14), 3)
            outputs = inputs if square else outputs
            r, texts = draw.choice([3, 5]), draw.randint(2, 3)
            alpha = r * draw.choice([1.5, 2.5, 3.5])
            shapes = {"x": (texts, tokens, inputs), "W": (outputs, inputs), "A": (r, inputs), "B": (outputs, r)}
            # Above 0, so that no sum cancels.
            x, W, A, B = (
                torch.empty(shape, dtype=EXACT).uniform_(0.2, 1.5, generator=generator) for shape in shapes.values()
            )
            returned = answer(x, W, A, B, alpha)
            sizes = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            trials.append(
                Trial(
                    given=f"{sizes} and lora_alpha = {alpha}",
                    seen=returned,
                    expected=x @ W.T + alpha / r * (x @ A.T @ B.T),
                    mistakes=forward_mistakes(returned, x, W, A, B, alpha),
                )
            )
        judge(trials, "W's output and the scaled output of A and B, added,")


def forward_mistakes(
    seen: Any, x: torch.Tensor, W: torch.Tensor, A: torch.Tensor, B: torch.Tensor, alpha: float
) -> dict[str, Any]:
    """What each likely mistake makes of the output, by the sentence that names it."""
    (r, inputs), outputs = A.shape, len(B)
    plain, change = x @ W.T, x @ A.T @ B.T
    right = alpha / r * change
    turned = W if inputs == outputs else W.T  # where they differ, it raises an error of torch's own
    return {
        "The change is scaled by alpha: it is alpha / r.": plain + alpha * change,
        "The change is not scaled.": plain + change,
        "The change is divided by r, but alpha is left out.": plain + change / r,
        "The change is divided by alpha.": any_of(seen, plain + change / alpha, plain + r / alpha * change),
        "The change is scaled by alpha times r.": plain + alpha * r * change,
        "The change is scaled by alpha / √r: that is rsLoRA, a variant.": plain + alpha / r**0.5 * change,
        "r is one of the layer's sizes here: it is how many rows A has.": any_of(
            seen, plain + alpha / inputs * change, plain + alpha / outputs * change
        ),
        "W's own output is scaled too: only the change is.": alpha / r * (plain + change),
        "W's own output is missing: LoRA adds to it.": any_of(seen, right, change),
        "This is W's own output alone: A and B have no part in it.": plain,
        "The change is taken off: it is added.": plain - right,
        "The change is added twice.": plain + 2 * right,
        "W is not transposed: a linear layer computes x @ W.T. Where it is square, no error reports it.": x @ turned
        + right,
    }


@check(
    "6.3",
    "Two tensors, in this order: A and B. Which of them is to be zero, so that B A is?",
    "`torch.zeros(out_features, r)` is B. For A, `torch.empty(r, in_features).uniform_(low, high)` draws evenly "
    "between two numbers.",
    "The bound is in_features**-0.5; A lies between minus that and plus that. Return A, B.",
)
def check_initial_a_and_b(answer: Answer, draw: Random) -> None:
    """`initial_a_and_b(r, in_features, out_features) -> (A, B)`: A random within its bound, B zero."""
    trials = []
    for _ in range(4):
        r, inputs, outputs = draw.randint(2, 6), draw.randint(200, 300), draw.randint(310, 400)
        with torch.random.fork_rng([]):  # the learner's own random numbers stay as they are
            torch.manual_seed(draw.getrandbits(32))
            pairs = [_pair(answer(r, inputs, outputs)) for _ in range(2)]
        shapes = ((r, inputs), (outputs, r))
        right = (*shapes, True, False, False, True, True)
        trials.append(
            Trial(
                given=f"r = {r}, in_features = {inputs}, out_features = {outputs}",
                seen=_facts(pairs, inputs**-0.5),
                expected=right,
                mistakes={
                    "Both are zero: then neither gets a gradient, and nothing is ever learned.": (
                        *shapes, True, True, True, True, False,
                    ),
                    "B is not zero: the model would change before it has learned anything.": (
                        *shapes, False, False, False, True, True,
                    ),
                    "A is zero and B is not: it is the other way round.": (*shapes, False, True, True, True, False),
                    "A is the same at each call: it is drawn anew.": (*shapes, True, False, True, True, True),
                    "A goes beyond its bound, 1 / √in_features.": (*shapes, True, False, False, False, True),
                    "A does not fill its range: from -1 / √in_features to 1 / √in_features, evenly.": (
                        *shapes, True, False, False, True, False,
                    ),
                    "B comes first here: A is wanted first.": (*shapes[::-1], False, True, True, True, False),
                    "The shapes are transposed: A is (r, in_features), B is (out_features, r).": (
                        (inputs, r), (r, outputs), True, False, False, True, True,
                    ),
                },
            )
        )  # fmt: skip
    judge(trials, "a pair, A and B as LoRA starts: (shape of A, shape of B, B is zero, A is zero, …)")


def _pair(returned: Any) -> tuple[torch.Tensor, torch.Tensor]:
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        raise CheckFailed(f"Two tensors are wanted, A and B, and you returned {describe(returned)}.")
    for name, matrix in zip("AB", returned, strict=True):
        if not isinstance(matrix, torch.Tensor) or matrix.ndim != 2:
            raise CheckFailed(f"{name} is to be a matrix, and is {describe(matrix)}.")
    return tuple(matrix.detach() for matrix in returned)


def _facts(pairs: list[tuple[torch.Tensor, torch.Tensor]], bound: float) -> tuple[Any, ...]:
    """Of two calls: shapes, whether B and A are zero, whether A is the same, stays in its bound, and fills it."""
    (A, B), (again, _) = pairs
    fills = A.max() > 0.9 * bound and A.min() < -0.9 * bound and 0.5 < A.std() / bound < 0.65  # evenly: 1 / √3
    same_again = torch.equal(A, again)
    return (
        tuple(A.shape),
        tuple(B.shape),
        not bool(B.any()),
        not bool(A.any()),
        same_again,
        bool(A.abs().max() <= bound * 1.0001),
        bool(fills or A.abs().max() > bound * 1.0001),  # what goes beyond it is named first
    )


@check(
    "6.4",
    "`model.named_parameters()` gives every parameter with its name. What do the names of A and B have in common?",
    "`weight.requires_grad_(True)` sets a parameter to be trained, with False it is frozen. Each needs one of the two: "
    "some are set the wrong way when your function gets them. `weight.numel()` is how many weights it holds.",
    'For each name and weight: `weight.requires_grad_("lora_" in name)`. Where that is True, add weight.numel() to '
    "the number that you return.",
)
def check_train_only_adapters(answer: Answer, draw: Random) -> None:
    """`train_only_adapters(model) -> int`: A and B alone are left to be trained, in place; how many weights that is."""
    trials = []
    # Whatever a model has just one of, such as an embedding, is trained in one model and frozen in another.
    ways = draw.sample(list(product([True, False], repeat=2)), 4)
    sizes = zip(draw.sample([2, 3] * 2, 4), draw.sample(range(6, 10), 4), strict=True)
    for (tied, first), (blocks, D) in zip(ways, sizes, strict=True):
        model, words = _adapted_model(draw, blocks, D, tied)
        _train_some(model, draw, first)
        start, values = _trained(model), _values(model)
        returned = answer(_handed_over(model))
        if as_number(returned) is None:
            raise CheckFailed(f"You returned a {type(returned).__name__}: how many weights are trained is one number.")
        if _values(model) != values:
            raise CheckFailed("The weights themselves are changed here: only their requires_grad is to be set.")
        weights = dict(model.named_parameters())
        adapters = {name for name in weights if "lora_" in name}
        seen = _left(returned, _trained(model), adapters)
        trials.append(
            Trial(
                given=words,
                seen=seen,
                expected=_left(_count(weights, adapters), adapters, adapters),
                mistakes=_training_mistakes(seen, model, start),
            )
        )
    judge(trials, "a model in which A and B alone are trained, and how many weights they hold,")


class Left(NamedTuple):
    """What an answer returned, and the names of the parameters that it left the wrong way."""

    count: Any
    trained: list[str]
    frozen: list[str]

    def __repr__(self) -> str:
        words = describe(self.count)
        for names, state in ((self.trained, "trained"), (self.frozen, "frozen")):
            if names:
                words += f", with {names[0]}{f' and {len(names) - 1} more' if names[1:] else ''} left {state}"
        return words


def _left(count: Any, trained: Set[str], adapters: Set[str]) -> Left:
    return Left(count, sorted(trained - adapters), sorted(adapters - trained))


def _adapted_model(draw: Random, blocks: int, D: int, tied: bool) -> tuple[nn.ModuleDict, str]:
    """A small model with LoRA on two linear layers of each block, one with a bias and one without, and in words."""
    vocab, r = draw.randint(20, 40), draw.randint(2, 4)
    projections = draw.sample(["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"], 5)
    wrapped, biased = projections[:2], projections[1:3]
    widths = {"up_proj": (D, 2 * D + 1), "down_proj": (2 * D + 1, D)}  # A never holds a third of both

    def block() -> nn.ModuleDict:
        layers = {name: nn.Linear(*widths.get(name, (D, D)), bias=name in biased) for name in sorted(projections)}
        return nn.ModuleDict({"norm": nn.LayerNorm(D), **layers})

    with torch.random.fork_rng([]):  # the learner's own random numbers stay as they are
        torch.manual_seed(draw.getrandbits(32))
        parts = {"embed_tokens": nn.Embedding(vocab, D), "layers": nn.ModuleList(block() for _ in range(blocks))}
        model = nn.ModuleDict({**parts, "norm": nn.LayerNorm(D), "lm_head": nn.Linear(D, vocab, bias=False)})
        if tied:
            model["lm_head"].weight = model["embed_tokens"].weight
        apply_lora(model, r, 2 * r, wrapped)
    head = "tied" if tied else "not tied"
    return model, f"a model of {blocks} blocks, its head {head}, with LoRA of rank {r} on {', '.join(sorted(wrapped))}"


def _train_some(model: nn.Module, draw: Random, first: bool) -> None:
    """Train each kind of parameter in one block and freeze it in another; what a model has one of is set to `first`."""
    kinds = defaultdict(list)
    for name, weight in model.named_parameters():
        kinds[re.sub(r"\d+", "", name)].append(weight)
    for weights in kinds.values():
        for weight, trained in zip(draw.sample(weights, len(weights)), cycle([first, not first]), strict=False):
            weight.requires_grad_(trained)


def _handed_over(model: nn.Module) -> nn.Module:
    """The model, which its next deepcopy gives as it is: an answer is to change this one, not a copy."""

    def as_it_is(memo: dict) -> nn.Module:
        del model.__deepcopy__
        return model

    model.__deepcopy__ = as_it_is
    return model


def _trained(model: nn.Module) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def _values(model: nn.Module) -> dict[str, list]:
    return {name: weight.tolist() for name, weight in model.named_parameters()}


def _count(weights: dict[str, nn.Parameter], names: Set[str]) -> int:
    return sum(weights[name].numel() for name in names)


def _training_mistakes(seen: Left, model: nn.ModuleDict, start: Set[str]) -> dict[str, Left]:
    """What each likely mistake leaves trained or counts, by the sentence that names it."""
    weights = dict(model.named_parameters())
    every = set(weights)
    A, B, base, norms, biases = (
        {name for name in every if part in name} for part in (".lora_A", ".lora_B", ".base_layer.", "norm", ".bias")
    )
    embedding, head = (
        {name for name in every if weights[name] is model[part].weight} for part in ("embed_tokens", "lm_head")
    )
    adapters = A | B
    right, total = _count(weights, adapters), _count(weights, every)

    def trained(*forms: Set[str]) -> Left:
        return any_of(seen, *(_left(seen.count, form, adapters) for form in forms))

    def trained_too(*parts: Set[str]) -> Left:
        return trained(*(adapters | form for part in parts for form in (part, part & start)))

    def counted(*counts: float) -> Left:
        return any_of(seen, *(Left(count, [], []) for count in counts))

    return {
        "Nothing is changed: each parameter is trained or frozen as it was before.": trained(start),
        "Everything is frozen: A and B are to be trained.": trained(set()),
        "Everything is trained: all but A and B is to be frozen.": trained(every),
        "This is the wrong way round: A and B are frozen, and all else is trained.": trained(every - adapters),
        "An A or B that was frozen before stays frozen: both are to be set.": trained(start & adapters),
        "What was trained before still is: all but A and B is to be frozen.": trained(adapters | start),
        "One of A and B is left out: both are trained.": trained(A, B, A | B & start, B | A & start),
        "The weight inside a LoRA layer is trained too, the base_layer's: it is to stay as it is.": trained_too(
            base, base - biases
        ),
        "Layers without LoRA are trained too: freezing the base_layers is not enough.": any_of(
            seen, trained_too(every - adapters - base), trained(start - base)
        ),
        "Norms, biases, the embedding or the head are trained too: A and B alone are to be.": trained_too(
            norms, biases, embedding, head, embedding | head, norms | embedding - head
        ),
        "This counts all weights: those that are trained are asked for.": counted(
            total, total + _count(weights, embedding & head)
        ),
        "This counts the weights that are frozen: those that are trained are asked for.": counted(total - right),
        "This counts what was trained before it was set.": counted(
            _count(weights, start), _count(weights, start & adapters)
        ),
        "This counts matrices or their rows: every number in them is a weight.": counted(
            len(adapters), sum(len(weights[name]) for name in adapters)
        ),
        "This counts A alone, or B alone.": counted(_count(weights, A), _count(weights, B)),
        "Weights are counted more than once here: a module's parameters have those of its parts among them.": counted(
            sum(weights[name].numel() * (name.count(".") + 1) for name in adapters), 2 * right
        ),
        "This is a share of the weights: their number is asked for.": counted(right / total, 100 * right / total),
    }
