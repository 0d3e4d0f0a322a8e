"""All that decides a fine-tune, in one frozen object."""

import math
from dataclasses import dataclass

from lorakit.errors import LorakitError
from lorakit.lora import module_names
from lorakit.models import QUANT_TYPES

METHODS = ("lora", "qlora")
SCHEDULES = ("linear", "cosine", "constant")


@dataclass(frozen=True)
class TrainConfig:
    """All that decides a fine-tune; the same config on the same rows gives the same adapter on a CPU.

    `micro_batch_size` rows are held in memory at once; `gradient_accumulation_steps` of them make one optimizer step.
    The effective change of a weight is `lora_alpha / r * B @ A` (Hu et al. 2021, section 4.1).

    Raises:
        LorakitError: a value that cannot be meant, named in the message.
    """

    method: str | None = None
    """What the base is: "lora" or "qlora"; None goes by `quant_type`."""
    r: int = 8
    lora_alpha: float = 16
    lora_dropout: float = 0.0
    target_modules: tuple[str, ...] = ("q_proj", "v_proj")
    quant_type: str | None = None
    """Of the base: None for "lora"; "nf4" (taken where None is given), "fp4" or "int8" for "qlora"."""
    double_quant: bool = True
    steps: int = 40
    micro_batch_size: int = 4
    gradient_accumulation_steps: int = 2
    learning_rate: float = 2e-3
    lr_scheduler_type: str = "linear"
    warmup_steps: int = 3
    max_grad_norm: float = 1.0
    gradient_checkpointing: bool = False
    seed: int = 0

    def __post_init__(self):
        for name in ("r", "steps", "micro_batch_size", "gradient_accumulation_steps"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise LorakitError(f"{name} is {value!r}: it is a whole number of at least 1.")
        if type(self.warmup_steps) is not int or self.warmup_steps < 0:
            raise LorakitError(f"warmup_steps is {self.warmup_steps!r}: it is a whole number of at least 0.")
        for name in ("lora_alpha", "learning_rate", "max_grad_norm"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise LorakitError(f"{name} is {value!r}: it is a number above 0.")
        if not isinstance(self.lora_dropout, (int, float)) or not 0 <= self.lora_dropout < 1:
            raise LorakitError(f"lora_dropout is {self.lora_dropout!r}: it is a share, at least 0 and below 1.")
        if self.method is None:
            object.__setattr__(self, "method", "qlora" if self.quant_type else "lora")
        if self.method not in METHODS:
            raise LorakitError(f"method {self.method!r} is unknown: use 'lora' or 'qlora'.")
        if self.lr_scheduler_type not in SCHEDULES:
            raise LorakitError(f"lr_scheduler_type {self.lr_scheduler_type!r} is unknown: use one of {SCHEDULES}.")
        if self.method == "lora" and self.quant_type is not None:
            raise LorakitError(
                f"quant_type {self.quant_type!r} quantises the base, which is method 'qlora', not 'lora'."
            )
        if self.method == "qlora":
            object.__setattr__(self, "quant_type", self.quant_type or "nf4")
            if self.quant_type not in QUANT_TYPES:
                raise LorakitError(f"quant_type {self.quant_type!r} is unknown: use 'nf4', 'fp4' or 'int8'.")
        object.__setattr__(self, "target_modules", module_names(self.target_modules))

    @property
    def rows_per_step(self) -> int:
        """Rows that one optimizer step averages over."""
        return self.micro_batch_size * self.gradient_accumulation_steps
