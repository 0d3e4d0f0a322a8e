"""Every byte of a training step: predicted in closed form, counted in a dry run, measured on a GPU. Lesson 11."""

from lorakit.memory.closed_form import MemoryEstimate, Moment, estimate_memory
from lorakit.memory.measure import Measurement, measure_memory
from lorakit.memory.plan import TrainingPlan, resolve_attention
from lorakit.memory.presets import PRESETS, preset
from lorakit.memory.trace import MemoryTrace, trace_memory

__all__ = [
    "PRESETS",
    "Measurement",
    "MemoryEstimate",
    "MemoryTrace",
    "Moment",
    "TrainingPlan",
    "estimate_memory",
    "measure_memory",
    "preset",
    "resolve_attention",
    "trace_memory",
]
