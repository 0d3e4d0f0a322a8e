"""Lesson 12's checks: a verdict from an interval, and which method fits (`verdicts`), and the capstone (`capstone`)."""

from lorakit.checks.lesson12.capstone import (
    ACCURACY,
    BUDGETS_MIB,
    HELD_OUT,
    LOSS,
    ROW_TOKENS,
    ROWS,
    TOLERANCE,
    accuracy_after,
    check_capstone,
    step_mib,
    step_plan,
)
from lorakit.checks.lesson12.verdicts import check_method_for, check_verdict

__all__ = [
    "ACCURACY",
    "BUDGETS_MIB",
    "HELD_OUT",
    "LOSS",
    "ROWS",
    "ROW_TOKENS",
    "TOLERANCE",
    "accuracy_after",
    "check_capstone",
    "check_method_for",
    "check_verdict",
    "step_mib",
    "step_plan",
]
