"""All that decides the memory of a training step, in one frozen object."""

from dataclasses import dataclass

import torch
from transformers import PretrainedConfig

from lorakit.errors import LorakitError
from lorakit.lora import module_names

METHODS = ("full", "lora", "qlora")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
QUANT_TYPES = ("nf4", "fp4")
OPTIMIZERS = ("adamw", "adamw_8bit", "paged_adamw_8bit", "sgd", "none")
ATTENTIONS = ("sdpa", "eager", "math", "efficient", "flash")

Capability = tuple[int, int]
"""Of a card, as torch.cuda.get_device_capability() gives it."""
AMPERE: Capability = (8, 0)
PAGED_FROM = 100_000
"""Weights from which on bitsandbytes pages a tensor's states (its Optimizer8bit.get_state_buffer)."""


@dataclass(frozen=True)
class TrainingPlan:
    """One optimizer step on one micro-batch of rows that are all `seq_len` tokens long, without padding or autocast.

    Raises:
        LorakitError: a value that cannot be meant, named in the message.
    """

    method: str = "lora"
    """"full" trains every weight, "lora" adapters beside a plain base, "qlora" adapters beside a 4-bit base."""
    dtype: str = "bf16"
    """Of the weights; with "qlora" of what a 4-bit layer computes in, since the rest is lifted to float32."""
    quant_type: str | None = None
    """Of a "qlora" base: "nf4" (taken where None is given) or "fp4"."""
    double_quant: bool = True
    r: int | None = None
    """Rank of the adapters; None takes 8, and with "full" there is none."""
    target_modules: tuple[str, ...] | None = None
    """Layers with an adapter; None takes q_proj and v_proj, and with "full" there are none."""
    adapter_dtype: str = "fp32"
    micro_batch_size: int = 4
    seq_len: int = 512
    optimizer: str = "adamw"
    gradient_checkpointing: bool = False
    attention: str = "sdpa"
    """The attention kernel; "sdpa" is whatever torch picks (see `resolve_attention`)."""
    keep_outputs: bool = False
    """Whether the loop still holds the model's outputs, and so the logits, while it goes backward."""

    def __post_init__(self):
        choices = {"method": METHODS, "dtype": DTYPES, "adapter_dtype": DTYPES}
        choices |= {"optimizer": OPTIMIZERS, "attention": ATTENTIONS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise LorakitError(f"{name} {getattr(self, name)!r} is unknown: use one of {', '.join(known)}.")
        for name in ("double_quant", "gradient_checkpointing", "keep_outputs"):
            if type(getattr(self, name)) is not bool:
                raise LorakitError(f"{name} is {getattr(self, name)!r}: it is True or False.")
        if self.method == "full":
            if self.r is not None or self.target_modules:
                raise LorakitError(
                    f"method 'full' has no adapters, but r is {self.r!r} and target_modules is "
                    f"{self.target_modules!r}: leave both out, or use method 'lora'."
                )
            object.__setattr__(self, "target_modules", ())
        else:
            object.__setattr__(self, "r", 8 if self.r is None else self.r)
            modules = ("q_proj", "v_proj") if self.target_modules is None else self.target_modules
            once = dict.fromkeys(module_names(modules))  # as peft takes them
            object.__setattr__(self, "target_modules", tuple(once))
        if self.method != "qlora" and self.quant_type is not None:
            raise LorakitError(f"quant_type {self.quant_type!r} quantises the base, which is method 'qlora'.")
        if self.method == "qlora":
            object.__setattr__(self, "quant_type", self.quant_type or "nf4")
            if self.quant_type not in QUANT_TYPES:
                raise LorakitError(f"quant_type {self.quant_type!r} is unknown: use 'nf4' or 'fp4'.")
        for name in ("r", "micro_batch_size", "seq_len"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise LorakitError(f"{name} is {value!r}: it is a whole number of at least 1.")

    @property
    def activation_dtype(self) -> torch.dtype:
        """Of the residual stream, and so of q, k and v: float32 once embeddings and norms have been lifted to it."""
        return torch.float32 if self.method == "qlora" else DTYPES[self.dtype]


def resolve_attention(config: PretrainedConfig, plan: TrainingPlan, capability: Capability = AMPERE) -> str:
    """The kernel that a plan's attention runs on: "eager", "math", "efficient" or "flash".

    What "sdpa" is depends. Flash attention takes 16 bits only, and a card of compute capability 8.0 or more (on Hopper
    torch takes cuDNN's in its place, which keeps the same). The memory-efficient kernel takes float32 too, but no
    grouped heads. What neither takes falls to the math kernel, which keeps its T x T matrices. transformers leaves
    the grouping to the kernel where there is no mask and head_dim is at most 256 (its `use_gqa_in_sdpa`). A model that
    caps its attention scores (Gemma 2) runs on "eager", since no sdpa kernel caps.

    Raises:
        LorakitError: a kernel that cannot run this model in these dtypes; rows longer than the model's window.
    """
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    if window and plan.seq_len > window:
        raise LorakitError(
            f"seq_len is {plan.seq_len}, and {config.model_type} attends to {window} tokens back: beyond that it takes "
            "a mask, which is not covered; choose a seq_len up to that."
        )
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    kv_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    grouped = config.num_attention_heads != kv_heads and head_dim(config) <= 256
    flash = plan.activation_dtype != torch.float32 and head_dim(config) <= 256 and capability >= AMPERE
    if capped and plan.attention not in ("sdpa", "eager"):
        raise LorakitError(
            f"attention {plan.attention!r} cannot cap its scores, and {config.model_type} caps them: use 'eager'."
        )
    if plan.attention == "flash" and not flash:
        raise LorakitError(
            f"attention 'flash' takes 16-bit q, k and v of at most 256 numbers a head on a card of compute capability "
            f"8.0 or more; here they are {plan.activation_dtype} of {head_dim(config)} on {capability}: use 'sdpa'."
        )
    if plan.attention == "efficient" and grouped:
        raise LorakitError(
            f"attention 'efficient' takes no grouped heads, and this model has {config.num_attention_heads} heads on "
            f"{kv_heads} pairs of keys and values: use 'sdpa', or 'math'."
        )
    if plan.attention != "sdpa":
        return plan.attention
    if capped:
        return "eager"
    return "flash" if flash else "math" if grouped else "efficient"


def head_dim(config: PretrainedConfig) -> int:
    """Numbers in the query of one head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def library_bytes(capability: Capability) -> int:
    """What cuBLAS keeps to work in, from its first product on: once for the forward and once for the backward thread.

    torch asks for 4096 KiB x 2 + 16 KiB x 8, and for 4096 KiB x 8 on Hopper and Blackwell's data-centre cards
    (aten/src/ATen/cuda/CublasHandlePool.cpp, parseChosenWorkspaceSize).
    """
    kib = 4096 * 8 if capability[0] in (9, 10) else 4096 * 2 + 16 * 8
    return 2 * kib * 1024
