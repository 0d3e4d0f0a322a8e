"""6.4: what is trained of a model with LoRA, and what is frozen."""

import re
from collections import defaultdict
from collections.abc import Set
from itertools import cycle, product
from random import Random
from typing import Any, NamedTuple

import torch
from torch import nn

from lorakit.checks.frame import Answer, CheckFailed, Trial, any_of, as_number, check, describe, judge
from lorakit.lora import apply_lora


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
        "Everything is frozen: A and B are to be trained. (A name begins with the path of its layer.)": trained(set()),
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
