"""The smallest changes that make a training step fit a card that is too small for it, and what each of them costs."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations

from transformers import PretrainedConfig

from lorakit.errors import LorakitError
from lorakit.measurements import overheads
from lorakit.memory.cards import CARDS, Card, estimate_on, fits, needed_bytes
from lorakit.memory.closed_form import MemoryEstimate, estimate_memory
from lorakit.memory.plan import DTYPES, TrainingPlan
from lorakit.records import load_record

SHORTEST_ROW = 128
"""Tokens below which rows are not cut: a judgement, not arithmetic."""


def accumulation_bytes(config: PretrainedConfig, plan: TrainingPlan, estimate: MemoryEstimate) -> int:
    """What is needed beyond the `estimate` of `plan` where one step goes over several micro-batches.

    Then the gradients of earlier ones stay while the next goes forward and back. With adapters they are small; with
    full fine-tuning they are as large as the model.
    """
    gradients = max(moment.gradients for moment in estimate.moments)
    waiting = 0
    if plan.method == "full" and config.tie_word_embeddings:  # the head's waits for the embedding's, of the same table
        waiting = config.vocab_size * config.hidden_size * DTYPES[plan.dtype].itemsize
    *before, _ = estimate.moments
    most = max(moment.total_bytes - moment.gradients + waiting * (moment.gradients > 0) for moment in before)
    return max(0, most + gradients - estimate.allocated_bytes)


# --- What can be changed, and what it costs ---


@dataclass(frozen=True)
class Change:
    """One thing to change in a plan."""

    option: str
    """As the command line says it, with the changed `plan` filled in."""
    steps: Callable[[TrainingPlan], list[TrainingPlan]]
    """The changed plans, from the smallest step to the largest; none where there is nothing left to change."""
    price: Callable[[TrainingPlan, TrainingPlan], str]
    """In words, from the plan before and after."""


@dataclass(frozen=True)
class Proposal:
    """A plan that fits, and what it takes to get there: for each change its option and its price."""

    plan: TrainingPlan
    needed_bytes: int
    """With what accumulation adds, where the micro-batch is smaller than before."""
    options: tuple[str, ...]
    prices: tuple[str, ...]


def _where(applies: Callable[[TrainingPlan], bool], **settings) -> Callable[[TrainingPlan], list[TrainingPlan]]:
    return lambda plan: [replace(plan, **settings)] if applies(plan) else []


def _smaller_batches(plan: TrainingPlan) -> list[TrainingPlan]:
    """Those that divide the batch: then accumulation makes up for it to the row."""
    size = plan.micro_batch_size
    return [replace(plan, micro_batch_size=part) for part in range(size // 2, 0, -1) if size % part == 0]


def _shorter_rows(plan: TrainingPlan) -> list[TrainingPlan]:
    lengths = [plan.seq_len >> times for times in range(1, plan.seq_len.bit_length())]
    return [replace(plan, seq_len=length) for length in lengths if length >= SHORTEST_ROW]


def _accumulation(before: TrainingPlan, after: TrainingPlan) -> str:
    times = before.micro_batch_size // after.micro_batch_size
    return (
        f"gradients accumulate, and stay, over {times} times as many micro-batches for the same effective batch; each "
        "keeps the card less busy"
    )


def _checkpointing(before: TrainingPlan, after: TrainingPlan) -> str:
    # going back through a frozen layer is one product where a trained one takes two
    more = "a third" if after.method == "full" else "a half"
    return f"each block is computed forward once more: up to {more} more arithmetic"


def _eight_bits(before: TrainingPlan, after: TrainingPlan) -> str:
    return "AdamW's two states are rounded to 8 bits, with a scale for each 256 of them"


def _paged(before: TrainingPlan, after: TrainingPlan) -> str:
    paged = "the large states lie in the host's memory, and travel to the card and back at each step"
    return paged if before.optimizer == "adamw_8bit" else f"{_eight_bits(before, after)}; {paged}"


def _lost(pair: str) -> str:
    """How many points of accuracy the second of a pair lay below the first, as recorded for lesson 10."""
    mean = load_record("lora_vs_qlora")["paired"][pair]["mean"]
    points, low, high = (100 * mean[key] for key in ("difference", "low", "high"))
    return f"{points:.1f} points of accuracy lost in lesson 10's record (95 % interval {low:.1f} to {high:.1f})"


def _four_bits(before: TrainingPlan, after: TrainingPlan) -> str:
    return f"slower steps, since weights are turned back from their codes each time; {_lost('lora - qlora')}"


def _adapters(before: TrainingPlan, after: TrainingPlan) -> str:
    modules = ", ".join(after.target_modules)
    return f"only adapters learn, of rank {after.r} on {modules}; {_lost('full - lora')}"


CHANGES = (
    Change(
        "--method lora",
        _where(lambda plan: plan.method == "qlora", method="lora", quant_type=None),
        lambda before, after: f"none: a base in {after.dtype} is not rounded, and not turned back from codes each time",
    ),
    Change("--micro-batch-size {plan.micro_batch_size}", _smaller_batches, _accumulation),
    Change(
        "--gradient-checkpointing",
        _where(lambda plan: not plan.gradient_checkpointing, gradient_checkpointing=True),
        _checkpointing,
    ),
    Change(
        "--dtype bf16",
        _where(lambda plan: plan.dtype == "fp32", dtype="bf16"),
        lambda before, after: "products and the weights of the model are rounded to 8 significant bits, from 24",
    ),
    Change(
        "--double-quant",
        _where(lambda plan: plan.method == "qlora" and not plan.double_quant, double_quant=True),
        lambda before, after: "the scales of the 4-bit weights are rounded to 8 bits",
    ),
    Change(
        "--optimizer adamw_8bit", _where(lambda plan: plan.optimizer == "adamw", optimizer="adamw_8bit"), _eight_bits
    ),
    Change(
        "--optimizer paged_adamw_8bit",
        _where(lambda plan: plan.optimizer in ("adamw", "adamw_8bit"), optimizer="paged_adamw_8bit"),
        _paged,
    ),
    Change("--method qlora", _where(lambda plan: plan.method == "lora", method="qlora"), _four_bits),
    Change(
        "--seq-len {plan.seq_len}",
        _shorter_rows,
        lambda before, after: f"rows are cut: nothing is learnt from what lies beyond token {after.seq_len:,}",
    ),
    Change(
        "--method lora",
        _where(lambda plan: plan.method == "full", method="lora", r=None, target_modules=None),
        _adapters,
    ),
    Change(
        "--method qlora",
        _where(lambda plan: plan.method == "full", method="qlora", r=None, target_modules=None),
        lambda before, after: f"{_adapters(before, after)}; {_four_bits(before, after)}",
    ),
)
"""From the cheapest to the dearest: what costs nothing, then time, then rounding, then text, then the method."""


def smallest_changes(config: PretrainedConfig, plan: TrainingPlan, card: Card) -> list[Proposal]:
    """What makes a plan that does not fit `card` fit it, cheapest first; empty where nothing does.

    All proposals have the same number of changes, the smallest that suffices: single ones where there are any, else
    pairs, and so on. Of a change that comes in steps, as halving does, the first step that fits is taken; where a
    proposal has two such changes, the cheaper one goes further.
    """

    @cache
    def needed(changed: TrainingPlan) -> float:
        try:
            estimate = estimate_on(config, changed, card)
        except LorakitError:  # such as the float32 of QLoRA on "flash" attention
            return math.inf
        if changed.micro_batch_size == plan.micro_batch_size:
            return needed_bytes(estimate)
        reserved_share, _ = overheads()
        return needed_bytes(estimate) + round(reserved_share * accumulation_bytes(config, changed, estimate))

    for number in range(1, len(CHANGES) + 1):
        ranks = sorted(combinations(range(len(CHANGES)), number), key=lambda each: each[::-1])
        tried = [_propose(plan, [CHANGES[rank] for rank in each], needed, card) for each in ranks]
        if found := [proposal for proposal in tried if proposal]:
            return found
    return []


def _propose(
    plan: TrainingPlan, changes: list[Change], needed: Callable[[TrainingPlan], float], card: Card
) -> Proposal | None:
    """The first plan that fits with all these changes; the dearest is made first, and so goes as far only as needed."""
    plans = [plan]
    for change in reversed(changes):
        plans = [changed for each in plans for changed in change.steps(each)]
    for changed in plans:
        if needed(changed) <= card.usable_bytes:
            options = tuple(change.option.format(plan=changed) for change in changes)
            prices = tuple(change.price(plan, changed) for change in changes)
            return Proposal(changed, needed(changed), options, prices)
    return None


# --- All cards at once ---


@dataclass(frozen=True)
class Verdict:
    """Whether a plan fits a card, and if not, what makes it fit."""

    card: Card
    estimate: MemoryEstimate | None
    """None where the card has not the attention kernel that the plan names."""
    proposals: tuple[Proposal, ...]
    """As `smallest_changes` gives them; none where the plan fits, or where nothing helps."""

    @property
    def too_small(self) -> bool:
        """Whether the card could run the plan, had it the memory."""
        return self.estimate is not None and not fits(self.estimate, self.card)


def judge_cards(config: PretrainedConfig, plan: TrainingPlan) -> list[Verdict]:
    """A verdict on each of CARDS. Raises LorakitError for a plan that no card can run, as `estimate_memory` does."""
    estimate_memory(config, plan)
    verdicts = []
    for card in CARDS:
        try:
            estimate = estimate_on(config, plan, card)
        except LorakitError:
            verdicts.append(Verdict(card, None, ()))
            continue
        proposals = () if fits(estimate, card) else tuple(smallest_changes(config, plan, card))
        verdicts.append(Verdict(card, estimate, proposals))
    return verdicts
