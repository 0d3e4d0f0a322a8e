"""The memory of a training step as `lorakit memory` prints it: its bytes, the cards that have them, and advice."""

import textwrap

from transformers import PretrainedConfig

from lorakit.memory.advice import Verdict, judge_cards
from lorakit.memory.cards import USABLE_PERCENT, Card, estimate_on, needed_bytes, room_bytes
from lorakit.memory.closed_form import MemoryEstimate, estimate_memory
from lorakit.memory.plan import AMPERE, TrainingPlan, resolve_attention

GIB = 2**30
WIDTH = 100
SHOWN = 5
"""Proposals that an advice spells out."""


def memory_report(name: str, config: PretrainedConfig, plan: TrainingPlan, asked: Card | None) -> str:
    """The bytes of a step, which cards have them, and what makes it fit a card that is too small.

    That is the card which is `asked` for, whose age then decides the kernel, or else the first one that is too small.
    Raises LorakitError as `estimate_memory` does.
    """
    estimate = estimate_on(config, plan, asked) if asked else estimate_memory(config, plan)
    kernel = resolve_attention(config, plan, asked.capability if asked else AMPERE)
    verdicts = judge_cards(config, plan)
    too_small = [each for each in verdicts if each.too_small and asked in (None, each.card)]
    parts = [_wrapped(f"{name}: ", _described(plan)), _components(estimate, kernel), _other_moments(estimate)]
    parts += [_card_table(verdicts, plan), *map(_advice, too_small[:1])]
    return "\n\n".join(parts)


def _described(plan: TrainingPlan) -> str:
    """A plan in one line; what is as usual goes unsaid."""
    method = plan.method
    if plan.quant_type:
        method += f" ({plan.quant_type}, double quant)" if plan.double_quant else f" ({plan.quant_type})"
    if plan.target_modules:
        method += f", r = {plan.r} on {', '.join(name.removesuffix('_proj') for name in plan.target_modules)}"
    optimizer = "no optimizer" if plan.optimizer == "none" else plan.optimizer
    parts = [method, plan.dtype, f"{plan.micro_batch_size} x {plan.seq_len:,} tokens", optimizer]
    parts += [f"adapters {plan.adapter_dtype}"] * (plan.target_modules != () and plan.adapter_dtype != "fp32")
    parts += ["checkpointing"] * plan.gradient_checkpointing
    parts += [f"attention {plan.attention}"] * (plan.attention != "sdpa")
    parts += ["outputs kept"] * plan.keep_outputs
    return " · ".join(parts)


def _components(estimate: MemoryEstimate, kernel: str) -> str:
    """The largest moment, component by component."""
    peak = estimate.peak
    lines = [f"{'peak: ' + peak.name:<40}{'GiB':>9}{'share':>9}"]
    for name, size in vars(peak).items():
        if name != "name":
            label = name.replace("_", " ").replace("quantization", "quantisation")
            lines.append(f"  {label:<38}{size / GIB:>9.3f}{size / peak.total_bytes:>9.1%}")
    totals = {
        "allocated by torch": estimate.allocated_bytes,
        "reserved by its allocator, about": estimate.reserved_bytes,
        "shown by the card, about": estimate.card_bytes,
    }
    if estimate.paged_bytes:
        totals["paged: in the memory of the host"] = estimate.paged_bytes
    lines += [f"{name:<40}{size / GIB:>9.3f}" for name, size in totals.items()]
    kept = "keeps its T x T scores" if kernel in ("eager", "math") else "keeps no T x T scores"
    lines.append(f"Attention runs on the {kernel} kernel, which {kept}.")
    return "\n".join(lines)


def _other_moments(estimate: MemoryEstimate) -> str:
    """The totals of what comes before and after the peak."""
    lines = [f"{'the other moments':<40}{'GiB':>9}"]
    for moment in estimate.moments:
        if moment is not estimate.peak:
            lines.append(f"  {moment.name:<38}{moment.total_bytes / GIB:>9.3f}")
    return "\n".join(lines)


def _card_table(verdicts: list[Verdict], plan: TrainingPlan) -> str:
    """Which cards have the memory, and the cheapest of what makes a plan fit where they have not."""
    lines = [f"{'card':<19}{'GiB':>7}{'needed':>9}{'left':>9}  fits"]
    for verdict in verdicts:
        card, estimate = verdict.card, verdict.estimate
        line = f"  {card.name:<17}{card.memory_bytes / GIB:>7.2f}"
        if estimate is None:
            lines.append(f"{line}{'-':>9}{'-':>9}  no: it has no {plan.attention!r} attention")
            continue
        line += f"{needed_bytes(estimate) / GIB:>9.2f}{room_bytes(estimate, card) / GIB:>9.2f}  "
        if not verdict.too_small:
            fits = "yes"
        elif verdict.proposals:
            fits = "with " + " ".join(verdict.proposals[0].options)
        else:
            fits = "no, and no change helps"
        lines.append(_wrapped(line, fits))
    lines.append(f"The driver keeps some of a card: {USABLE_PERCENT} % of it can be filled.")
    if "bf16" in (plan.dtype, plan.adapter_dtype):
        lines.append("A T4 has no bf16 of its own and computes in fp16, which takes no more bytes.")
    return "\n".join(lines)


def _advice(verdict: Verdict) -> str:
    """The smallest changes that make a plan fit a card that is too small for it."""
    card, proposals = verdict.card, verdict.proposals
    if not proposals:
        return f"To fit the {card.name}, nothing that can be changed here is enough."
    number = len(proposals[0].options)
    how = "one change is enough" if number == 1 else f"it takes {number} changes"
    lines = [f"To fit the {card.name}, {how}. Cheapest first, with new size and price:"]
    for proposal in proposals[:SHOWN]:
        lines.append(_wrapped(f"  {proposal.needed_bytes / GIB:>6.2f} GiB  ", " ".join(proposal.options)))
        lines += [_wrapped(" " * 14 + "- ", price) for price in proposal.prices]
    if len(proposals) > SHOWN:
        lines.append(f"  and {len(proposals) - SHOWN} more, dearer")
    return "\n".join(lines)


def _wrapped(start: str, text: str) -> str:
    """`text` after `start`, and where it takes more than a line, below itself."""
    return textwrap.fill(start + text, WIDTH, subsequent_indent=" " * len(start), break_on_hyphens=False)
