"""Lesson 06's checks: matrices of LoRA (`matrices`), and what is trained of a model (`freezing`)."""

from lorakit.checks.lesson06.freezing import check_train_only_adapters
from lorakit.checks.lesson06.matrices import (
    check_best_rank_r,
    check_initial_a_and_b,
    check_lora_forward,
    forward_mistakes,
)

__all__ = [
    "check_best_rank_r",
    "check_initial_a_and_b",
    "check_lora_forward",
    "check_train_only_adapters",
    "forward_mistakes",
]
