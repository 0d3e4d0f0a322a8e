"""6.1 to 6.3: the best matrix of a rank, the output of a layer with LoRA, and how A and B start."""

from random import Random
from typing import Any, NamedTuple

import torch

from lorakit.checks.frame import Answer, CheckFailed, Trial, any_of, check, describe, judge

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
            alpha = r * draw.choice([2.5, 3.5, 4.5])
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
        "The scale is a whole number here: / divides, // drops what is left over.": plain + alpha // r * change,
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
    judge(trials, "a pair, A and B as LoRA starts,")


def _pair(returned: Any) -> tuple[torch.Tensor, torch.Tensor]:
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        raise CheckFailed(f"Two tensors are wanted, A and B, and you returned {describe(returned)}.")
    for name, matrix in zip("AB", returned, strict=True):
        if not isinstance(matrix, torch.Tensor) or matrix.ndim != 2:
            raise CheckFailed(f"{name} is to be a matrix, and is {describe(matrix)}.")
    return tuple(matrix.detach() for matrix in returned)


class _Start(NamedTuple):
    """What is compared of A and B; shown as their shapes, since the sentence before says what else is the matter."""

    A: tuple[int, ...]
    B: tuple[int, ...]
    B_is_zero: bool
    A_is_zero: bool
    A_comes_again: bool
    A_keeps_its_bound: bool
    A_fills_its_range: bool

    def __repr__(self) -> str:
        return f"A of shape {self.A} and B of shape {self.B}"


def _facts(pairs: list[tuple[torch.Tensor, torch.Tensor]], bound: float) -> _Start:
    """Of two calls: shapes, whether B and A are zero, whether A is the same, stays in its bound, and fills it."""
    (A, B), (again, _) = pairs
    fills = A.max() > 0.9 * bound and A.min() < -0.9 * bound and 0.5 < A.std() / bound < 0.65  # evenly: 1 / √3
    same_again = torch.equal(A, again)
    return _Start(
        tuple(A.shape),
        tuple(B.shape),
        not bool(B.any()),
        not bool(A.any()),
        same_again,
        bool(A.abs().max() <= bound * 1.0001),
        bool(fills or A.abs().max() > bound * 1.0001),  # what goes beyond it is named first
    )
