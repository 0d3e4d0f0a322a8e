"""Every byte of a training step: predicted in closed form, counted in a dry run, measured on a GPU. Lesson 11."""

from lorakit.memory.advice import Proposal, Verdict, judge_cards, smallest_changes
from lorakit.memory.cards import CARDS, Card, estimate_on, find_card, fits
from lorakit.memory.closed_form import MemoryEstimate, Moment, estimate_memory
from lorakit.memory.measure import Measurement, measure_memory
from lorakit.memory.plan import TrainingPlan, resolve_attention
from lorakit.memory.presets import PRESETS, find_config, preset
from lorakit.memory.trace import MemoryTrace, trace_memory

__all__ = [
    "CARDS",
    "PRESETS",
    "Card",
    "Measurement",
    "MemoryEstimate",
    "MemoryTrace",
    "Moment",
    "Proposal",
    "TrainingPlan",
    "Verdict",
    "estimate_memory",
    "estimate_on",
    "find_card",
    "find_config",
    "fits",
    "judge_cards",
    "measure_memory",
    "preset",
    "resolve_attention",
    "smallest_changes",
    "trace_memory",
]
