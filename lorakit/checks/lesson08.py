"""Lesson 08's checks: an adapter merged, a batch in which each request has its own, and several combined."""

from itertools import product
from random import Random
from typing import Any

import torch

from lorakit.checks.frame import Answer, CheckFailed, Trial, any_of, check, judge, one_tensor, same

Adapter = tuple[torch.Tensor, torch.Tensor, float]
"""A, B, and alpha / r (8.2) or alpha (8.3)."""
NAMES = ["reviews", "poems", "recipes", "letters", "law", "chess"]


def _above_zero(generator: torch.Generator, *shape: int, low: float = 0.5, high: float = 1.5) -> torch.Tensor:
    """Random numbers of one sign, so that no sum of their products cancels."""
    return torch.empty(shape).uniform_(low, high, generator=generator)


@check(
    "8.1",
    "What the adapter adds to x @ W.T, a matrix added to W would add too. Which matrix is that?",
    "x @ A.T @ B.T is x @ (B @ A).T, so B @ A is what W needs, scaled as in lesson 06. How many rows does A have?",
    "The scaled change is lora_alpha / A.shape[0] * (B @ A). Add it to W.",
)
def check_merge(answer: Answer, draw: Random) -> None:
    """`merge(W, A, B, lora_alpha) -> (out_features, in_features)`: one matrix for W and its adapter."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials, changed = [], set()
    # First square layers, where a matrix that is transposed raises no error.
    for squares in ((True, True), (False, False, False)):
        for square in squares:
            inputs, outputs = draw.sample(range(7, 14), 2)
            outputs = inputs if square else outputs
            r = draw.choice([3, 5])
            alpha = r * draw.choice([1.5, 2.5, 3.5])
            W = _above_zero(generator, outputs, inputs, low=0.1, high=1)  # less than any change
            A, B = _above_zero(generator, r, inputs), _above_zero(generator, outputs, r)
            returned = answer(W, A, B, alpha)
            handed = zip("WAB", (W, A, B), answer.handed[:3], strict=True)
            changed |= {name for name, given, left in handed if given.tolist() != left.tolist()}
            trials.append(
                Trial(
                    given=f"W {tuple(W.shape)}, A {tuple(A.shape)}, B {tuple(B.shape)} and lora_alpha = {alpha}",
                    seen=returned,
                    expected=W + alpha / r * (B @ A),
                    mistakes=_merge_mistakes(returned, W, A, B, alpha),
                )
            )
        judge(trials, "W with the scaled product of B and A added, in the shape of W,")
    if changed:
        name = max(changed)  # W before the others
        raise CheckFailed(
            f"The result is right, but {name} itself is changed, in place, as `{name} += …` does: make a new matrix, "
            "and leave W, A and B as they are."
        )


def _merge_mistakes(seen: Any, W: torch.Tensor, A: torch.Tensor, B: torch.Tensor, alpha: float) -> dict[str, Any]:
    """What each likely mistake makes of W, by the sentence that names it; None where it raises an error."""
    (outputs, inputs), r = W.shape, len(A)
    change = B @ A
    right = alpha / r * change
    square = inputs == outputs
    return {
        "The change is not scaled.": W + change,
        "The change is scaled by alpha: it is alpha / r.": W + alpha * change,
        "The change is divided by r, but alpha is left out.": W + change / r,
        "The change is divided by alpha.": any_of(seen, W + r / alpha * change, W + change / alpha),
        "The change is scaled by alpha times r.": W + alpha * r * change,
        "The change is scaled by alpha / √r: that is rsLoRA, a variant.": W + alpha / r**0.5 * change,
        "alpha / r counts twice here, on A and on B.": W + (alpha / r) ** 2 * change,
        "r is one of the layer's sizes here: it is how many rows A has.": any_of(
            seen, W + alpha / inputs * change, W + alpha / outputs * change
        ),
        "The adapter is merged twice.": W + 2 * right,
        "The change is taken off: that unmerges.": W - right,
        "W itself is scaled too: only the change is.": alpha / r * (W + change),
        "This is the change alone: W is missing.": any_of(seen, right, change),
        "This is W alone: the adapter has no part in it.": W,
        "The change is transposed: it is to have W's shape. Where that is square, no error reports it.": (
            W + right.T if square else None
        ),
        "W is transposed, the change is not. Where W is square, no error reports it.": W.T + right if square else None,
        "The sum is transposed: the first axis is out_features.": (W + right).T,
    }


@check(
    "8.2",
    "W is the same for every request. What differs from one to the next, and what is there where the name is None?",
    "y = x @ W.T is right for all requests but for what their adapters add. Go through the requests one by one: x[i] "
    "belongs to names[i], and y[i] is where it goes.",
    "In `for i, name in enumerate(names)`, where name is not None: A, B, scaling = adapters[name], and "
    "scaling * (x[i] @ A.T @ B.T) is to be added to y[i]. scaling is alpha / r already.",
)
def check_mixed_batch(answer: Answer, draw: Random) -> None:
    """`mixed_batch(x, W, adapters, names) -> (N, T, out_features)`: each request through W and its own adapter."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials = []
    # First square layers, where a matrix that is not transposed raises no error, and no more requests than adapters,
    # so that counting through the adapters raises none.
    for group in ([(True, 4, 4), (True, 4, 5)], [(False, 5, 3), (False, 6, 3), (False, 7, 4)]):
        for square, requests, loaded in group:
            inputs, outputs = draw.sample(range(7, 14), 2)
            outputs = inputs if square else outputs
            r, known = draw.randint(2, 5), draw.sample(NAMES, loaded)
            adapters = {
                name: (_above_zero(generator, r, inputs), _above_zero(generator, outputs, r), scaling)
                for name, scaling in zip(known, draw.sample([0.7, 1.4, 1.9, 2.6, 3.3], loaded), strict=True)
            }
            names = _wishes(draw, known, requests)
            x = _above_zero(generator, requests, draw.randint(2, 3), inputs)
            W = _above_zero(generator, outputs, inputs)
            returned = one_tensor(answer(x, W, adapters, names))
            trials.append(
                Trial(
                    given=f"x of shape {tuple(x.shape)}, adapters {known} and names = {names}",
                    seen=returned,
                    expected=x @ W.T + _chosen(_changes(x, adapters), names),
                    mistakes=_batch_mistakes(returned, x, W, adapters, names),
                )
            )
        judge(trials, "each request's output through W and its own adapter, (N, T, out_features),")


def _wishes(draw: Random, known: list[str], requests: int) -> list[str | None]:
    """A name or None for each request: two adapters are wanted, neither of them the first that is known."""
    wanted = draw.sample(known[1:], 2)
    others = [wanted[1], None, *draw.choices([*wanted, None], k=requests - 3)]
    return [wanted[0], *draw.sample(others, len(others))]


def _changes(x: torch.Tensor, adapters: dict[str, Adapter]) -> dict[str | None, torch.Tensor]:
    """What each adapter would add to the whole batch, and None, which adds nothing."""
    changes = {name: scaling * (x @ A.T @ B.T) for name, (A, B, scaling) in adapters.items()}
    return {**changes, None: torch.zeros_like(next(iter(changes.values())))}


def _chosen(changes: dict[str | None, torch.Tensor], names: list[str | None]) -> torch.Tensor:
    """The change of each request by its own name: (N, T, out_features)."""
    return torch.stack([changes[name][i] for i, name in enumerate(names)])


def _batch_mistakes(
    seen: Any, x: torch.Tensor, W: torch.Tensor, adapters: dict[str, Adapter], names: list[str | None]
) -> dict[str, Any]:
    """What each likely mistake makes of the batch, by the sentence that names it; None where it raises an error."""
    plain, changes, known = x @ W.T, _changes(x, adapters), list(adapters)
    own = _chosen(changes, names)
    served = torch.tensor([name is not None for name in names])[:, None, None]
    gains = torch.tensor([adapters[name][2] if name else 1.0 for name in names])[:, None, None]
    square = W.shape[0] == W.shape[1]

    def put(names: list[str | None]) -> torch.Tensor:
        return plain + _chosen(changes, names)

    def scaled_by(scalings: dict[str, float]) -> torch.Tensor:
        rescaled = {name: (A, B, scalings[name]) for name, (A, B, _) in adapters.items()}
        return plain + _chosen(_changes(x, rescaled), names)

    def token(which: int) -> torch.Tensor:
        y = plain.clone()
        y[:, which] += own[:, which]
        return y

    # By position: starting again where the adapters end, or stopping there, for all or for those with a name only.
    again = [known[i % len(known)] for i in range(len(names))]
    stopping = [known[i] if i < len(known) else None for i in range(len(names))]
    in_turn = iter(again)
    orders = [again, stopping, [name and next(in_turn) for name in names]]
    orders += [[name and other for name, other in zip(names, each, strict=True)] for each in (again, stopping)]
    still, last = [], None
    for name in names:
        last = name or last
        still.append(last)
    all_known = sum(changes[name] for name in known)
    all_wanted, each_once = (sum(changes[name] for name in group) for group in (names, set(names)))
    row_by_row = own.sum(0)
    piled_up = torch.stack([sum(changes[name][i] for name in names[: i + 1]) for i in range(len(names))])
    first = plain.clone()
    first[0] += own[0]
    turned = {name: (B.T, A.T, scaling) for name, (A, B, scaling) in adapters.items()}
    own_turned = _chosen(_changes(x, turned), names) if square else None  # elsewhere torch's own error
    return {
        "One adapter is used for all: names[i] says which one x[i] wants.": any_of(
            seen, *(form for name in known for form in (plain + changes[name], plain + served * changes[name]))
        ),
        "A request with None gets an adapter here: it is to get W's output alone.": any_of(
            seen, put(still), *(put([name or other for name in names]) for other in known)
        ),
        "A request with None is left out: it is to get W's output.": any_of(
            seen, served * (plain + own), (plain + own)[served.flatten()]
        ),
        "Every request gets all adapters: only its own is to act on it.": any_of(
            seen,
            *(
                plain + mask * each
                for each in (all_known, all_wanted, each_once, row_by_row)
                for mask in (torch.tensor(1), served)
            ),
        ),
        "Adapters of the requests before act on it too: W is to stay as it is.": any_of(
            seen, plain + piled_up, plain + served * piled_up
        ),
        "The first request alone gets its adapter: does `return` stand in the loop?": first,
        "The adapters go by their order in the dict: they are to be looked up by name.": any_of(
            seen, *map(put, orders), put(again)[: len(known)]
        ),
        "This is the adapter of the request before, or of the one after: x[i] wants names[i].": any_of(
            seen,
            *(put(shifted) for shifted in ([names[-1], *names[:-1]], [None, *names[:-1]], [*names[1:], names[0]])),
        ),
        "The change is not scaled.": scaled_by({name: 1.0 for name in known}),
        "scaling is divided by r here: it is alpha / r already.": scaled_by(
            {name: scaling / len(A) for name, (A, _, scaling) in adapters.items()}
        ),
        "W's own output is scaled too: only the change is.": gains * plain + own,
        "W's own output is missing: an adapter adds to it.": any_of(seen, torch.where(served, own, plain), own),
        "This is W's output alone: no adapter acts on it.": plain,
        "The change is added to one token alone: it belongs to all tokens of a request.": any_of(
            seen, token(0), token(-1)
        ),
        "W is not transposed: a linear layer computes x @ W.T. Where it is square, no error reports it.": (
            any_of(seen, x @ W + own, x @ W + own_turned) if square else None
        ),
        "A and B are not transposed, and B comes first. Where the layer is square, no error reports it.": (
            plain + own_turned if square else None
        ),
        "The requests come out in another order: row i of the output belongs to request i.": _reordered(
            seen, plain + own
        ),
    }


def _reordered(seen: Any, right: torch.Tensor) -> Any:
    """What was returned, if its rows are the right ones in another order."""
    if getattr(seen, "shape", None) != right.shape:
        return None
    return seen if all(any(same(row, other) for row in seen) for other in right) else None


@check(
    "8.3",
    "Each adapter has a change of its own, a whole matrix. What is added up: their A's and B's, or these matrices?",
    "An adapter's own change is lora_alpha / r * (B @ A), with its own r. Multiply that by its weight, and add only "
    "then.",
    "Go through both lists with `for (A, B, lora_alpha), weight in zip(adapters, weights)`. Each time add "
    "weight * lora_alpha / A.shape[0] * (B @ A) to the sum.",
)
def check_combine(answer: Answer, draw: Random) -> None:
    """`combine(adapters, weights) -> (out_features, in_features)`: the weighted sum of the adapters' changes."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials = []
    # First adapters of one rank, where adding A's to A's raises no error.
    for counts in ((2, 3), (3, 2, 4)):
        for n in counts:
            inputs, outputs = draw.sample([7, 11, 13, 17], 2)  # primes: never n times a rank
            ranks = [draw.randint(2, 6)] * n if counts == (2, 3) else draw.sample(range(2, 7), n)
            scalings = draw.sample([1.5, 2.2, 2.9, 3.6], n)
            weights = draw.sample([0.23, 0.41, 0.67, 1.37, 1.61], n)
            if n == 4:  # one of them is to be unlearned, a small one, so that the sum stays far from zero
                weights = [-0.23, *draw.sample([0.41, 0.67, 1.37, 1.61], 3)]
                draw.shuffle(weights)
            adapters = [
                (_above_zero(generator, r, inputs), _above_zero(generator, outputs, r), round(r * scaling, 1))
                for r, scaling in zip(ranks, scalings, strict=True)
            ]
            returned = answer(adapters, weights)
            if isinstance(returned, list | tuple):
                raise CheckFailed(f"You returned {len(returned)} things: one matrix is wanted, the sum of the changes.")
            trials.append(
                Trial(
                    given=f"{n} adapters of ranks {ranks} for a layer of {outputs} × {inputs}, weights = {weights}",
                    seen=returned,
                    expected=sum(
                        weight * alpha / len(A) * (B @ A)
                        for (A, B, alpha), weight in zip(adapters, weights, strict=True)
                    ),
                    mistakes=_combine_mistakes(returned, adapters, weights),
                )
            )
        judge(trials, "the weighted sum of the changes, in the shape of the layer's weight,")


def _combine_mistakes(seen: Any, adapters: list[Adapter], weights: list[float]) -> dict[str, Any]:
    """What each likely mistake makes of the adapters, by the sentence that names it; None where it raises an error."""
    changes = [B @ A for A, B, _ in adapters]
    ranks, alphas = [len(A) for A, _, _ in adapters], [alpha for _, _, alpha in adapters]
    outputs, inputs = changes[0].shape
    both = list(zip(alphas, ranks, strict=True))
    scalings = [alpha / r for alpha, r in both]

    def total(scalings: list[float], weights: list[float] = weights) -> torch.Tensor:
        return sum(w * scaling * change for w, scaling, change in zip(weights, scalings, changes, strict=True))

    right, n = total(scalings), len(adapters)
    parts = [w * scaling * change for w, scaling, change in zip(weights, scalings, changes, strict=True)]
    ends = [(weights[i], *both[i]) for i in (0, -1)]
    return {
        "A's are added to A's and B's to B's, and multiplied after: each A then meets the others' B's as well.": any_of(
            seen, *(_sums_multiplied(adapters, weights, scalings) if len(set(ranks)) == 1 else [None])
        ),
        "The weights are left out.": total(scalings, [1] * n),
        "The changes are not scaled: each has its alpha / r.": total([1] * n),
        "The changes are scaled by alpha: it is alpha / r.": total(alphas),
        "The changes are divided by r, but alpha is left out.": total([1 / r for r in ranks]),
        "The changes are divided by alpha.": any_of(
            seen, total([r / alpha for alpha, r in both]), total([1 / alpha for alpha in alphas])
        ),
        "The changes are scaled by alpha / √r: that is rsLoRA, a variant.": total([a / r**0.5 for a, r in both]),
        "r is one of the layer's sizes here: it is how many rows A has.": any_of(
            seen, total([alpha / inputs for alpha in alphas]), total([alpha / outputs for alpha in alphas])
        ),
        "One adapter's r or alpha is used for all: each has its own.": any_of(
            seen,
            *(total([alpha / r] * n) for _, alpha, r in ends),
            *(total([alpha / other for alpha in alphas]) for _, _, other in ends),
            *(total([other / r for r in ranks]) for _, other, _ in ends),
        ),
        "One weight is used for all: each adapter has its own.": any_of(
            seen, *(total(scalings, [weight] * n) for weight, _, _ in ends)
        ),
        "The weight is on A and on B, so it counts twice.": any_of(
            seen, total(scalings, [w * w for w in weights]), total([s * s for s in scalings], [w * w for w in weights])
        ),
        "alpha / r is on A and on B, so it counts twice.": total([scaling**2 for scaling in scalings]),
        "This is a mean over the adapters: their sum is wanted.": right / n,
        "This divides by the sum of the weights: they are to count as they are.": right / sum(weights),
        "This is one adapter's change alone: all of them count.": any_of(
            seen, *parts, *(scaling * change for scaling, change in zip(scalings, changes, strict=True)), *changes
        ),
        "These are the changes one by one: their sum is wanted.": torch.stack(parts),
        "The sum is transposed: the first axis is out_features.": right.T,
    }


def _sums_multiplied(adapters: list[Adapter], weights: list[float], scalings: list[float]) -> list[torch.Tensor]:
    """Sums of A's and of B's, of one rank, multiplied: with all that can stand before an A or a B, or outside."""
    both = [w * scaling for w, scaling in zip(weights, scalings, strict=True)]
    factors = [[1] * len(weights), weights, scalings, both, [w**0.5 for w in weights], [f**0.5 for f in both]]
    sums_of_a, sums_of_b = (
        [sum(f * adapter[which] for f, adapter in zip(each, adapters, strict=True)) for each in factors]
        for which in (0, 1)
    )
    outside = (1, scalings[0], scalings[-1], sum(scalings) / len(scalings))
    return [scale * (B @ A) for B, A, scale in product(sums_of_b, sums_of_a, outside)]
