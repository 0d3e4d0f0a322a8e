"""Real LoRA and QLoRA fine-tunes: a config, one loop, the evaluation beside it. Lessons 07 and 10 walk through it.

`loop` is the place to start reading.
"""

from lorakit.finetune.adapters import add_adapters, base_fingerprint, lora_b_gradients, require_gradients
from lorakit.finetune.config import METHODS, SCHEDULES, TrainConfig
from lorakit.finetune.evaluation import Evaluation, completion_logits, completion_loss, evaluate, wilson_interval
from lorakit.finetune.loop import QUICK_EVALUATION, History, Step, finetune, learning_rate_at, rows_or_reviews

__all__ = [
    "METHODS",
    "QUICK_EVALUATION",
    "SCHEDULES",
    "Evaluation",
    "History",
    "Step",
    "TrainConfig",
    "add_adapters",
    "base_fingerprint",
    "completion_logits",
    "completion_loss",
    "evaluate",
    "finetune",
    "learning_rate_at",
    "lora_b_gradients",
    "require_gradients",
    "rows_or_reviews",
    "wilson_interval",
]
