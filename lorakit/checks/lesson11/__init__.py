"""Lesson 11's checks: what lives throughout a step (`throughout`), and what comes and goes in it (`moments`)."""

from lorakit.checks.lesson11.moments import check_mlp_kept, check_peak
from lorakit.checks.lesson11.throughout import check_model_gib, check_training_bytes

__all__ = ["check_mlp_kept", "check_model_gib", "check_peak", "check_training_bytes"]
