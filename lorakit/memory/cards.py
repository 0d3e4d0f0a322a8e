"""Graphics cards, and whether a training step fits one. Lesson 11."""

import re
from dataclasses import dataclass, replace

from transformers import PretrainedConfig

from lorakit.errors import LorakitError
from lorakit.memory.closed_form import MemoryEstimate, estimate_memory
from lorakit.memory.plan import AMPERE, Capability, TrainingPlan

MIB = 2**20
USABLE_PERCENT = 97
"""What CUDA hands out of a card's memory, at least: the driver keeps the rest. (Of a T4's 15.00 GiB, torch's
out-of-memory messages name a capacity of 14.56 to 14.76.)"""


@dataclass(frozen=True)
class Card:
    """A graphics card; `memory_bytes` is the total that nvidia-smi reports, which is not quite what its name says."""

    name: str
    memory_bytes: int
    capability: Capability

    @property
    def usable_bytes(self) -> int:
        """What can be filled: USABLE_PERCENT of the memory, since the driver keeps the rest."""
        return self.memory_bytes * USABLE_PERCENT // 100

    @property
    def has_bf16(self) -> bool:
        """Whether it multiplies in bf16, as an Ampere card and later ones do."""
        return self.capability >= AMPERE


CARDS = (
    Card("T4", 15360 * MIB, (7, 5)),
    Card("RTX 3060", 12288 * MIB, (8, 6)),
    Card("RTX 4060 Ti 16GB", 16380 * MIB, (8, 9)),
    Card("L4", 23034 * MIB, (8, 9)),
    Card("A10G", 23028 * MIB, (8, 6)),
    Card("RTX 3090", 24576 * MIB, (8, 6)),
    Card("RTX 4090", 24564 * MIB, (8, 9)),
    Card("L40S", 46068 * MIB, (8, 9)),
    Card("A100 40GB", 40960 * MIB, (8, 0)),
    Card("A100 80GB", 81920 * MIB, (8, 0)),
    Card("H100", 81559 * MIB, (9, 0)),
)
"""From the T4 that Colab lends to the H100."""


def find_card(name: str) -> Card:
    """The card of that name; capitals, spaces, hyphens, underscores and "RTX" do not count.

    Raises:
        LorakitError: a name that is not in CARDS.
    """

    def plain(text: str) -> str:
        return re.sub(r"[\s_-]|rtx", "", text.lower())

    for card in CARDS:
        if plain(card.name) == plain(name):
            return card
    raise LorakitError(f"card {name!r} is unknown: use one of {', '.join(card.name for card in CARDS)}.")


def estimate_on(config: PretrainedConfig, plan: TrainingPlan, card: Card) -> MemoryEstimate:
    """The estimate of `plan` for that card, whose age decides the attention kernel and what cuBLAS keeps.

    Where a card has no bf16 of its own, bf16 becomes fp16: the same bytes, but for "eager" attention, since CUDA's
    softmax reads fp16 without a float32 copy. Raises LorakitError as `estimate_memory` does.
    """
    if not card.has_bf16:
        names = ("dtype", "adapter_dtype")
        plan = replace(plan, **{name: "fp16" for name in names if getattr(plan, name) == "bf16"})
    return estimate_memory(config, plan, card.capability)


def needed_bytes(estimate: MemoryEstimate) -> int:
    """What a card must have free: all that it would show as in use."""
    return estimate.card_bytes


def room_bytes(estimate: MemoryEstimate, card: Card) -> int:
    """What is left of the card; below 0, what it is short of."""
    return card.usable_bytes - needed_bytes(estimate)


def fits(estimate: MemoryEstimate, card: Card) -> bool:
    """Whether the card has the memory; take an estimate for this card, as `estimate_on` makes it."""
    return room_bytes(estimate, card) >= 0
