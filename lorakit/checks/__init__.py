"""Checks that teach: a learner's answer is tried on fresh random inputs, and what is wrong with it is named.

`frame` says what every check does; each lesson's checks are a module, such as `lesson07`, or a folder of modules, such
as `lesson11`.
"""

from lorakit.checks.frame import CheckFailed
from lorakit.checks.help import hint, solution
from lorakit.progress import forget_progress

__all__ = ["CheckFailed", "forget_progress", "hint", "solution"]
