"""Lesson 09's checks: from values to codes (`codes`), and how codes and scales are stored (`storage`)."""

from lorakit.checks.lesson09.codes import check_absmax_quantize, check_nearest_code
from lorakit.checks.lesson09.storage import check_double_quantize, check_pack

__all__ = ["check_absmax_quantize", "check_double_quantize", "check_nearest_code", "check_pack"]
