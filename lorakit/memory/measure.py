"""The training step measured: on a GPU, with random weights of the real shapes, so that nothing is downloaded."""

import gc
import time
from dataclasses import dataclass
from statistics import median

import torch
from transformers import PretrainedConfig

from lorakit.errors import LorakitError
from lorakit.memory.plan import TrainingPlan, resolve_attention
from lorakit.memory.step import STEPS, attention_kernel, batch_of, build_model, build_optimizer, training_step

TIMED_STEPS = 3


@dataclass(frozen=True)
class Measurement:
    """What a GPU gave for a step after the first two: peaks of torch's allocator in bytes, and its median time."""

    allocated_bytes: int
    """torch.cuda.max_memory_allocated() over the step."""
    reserved_bytes: int
    """torch.cuda.memory_reserved(): what the allocator holds of the card at the end."""
    card_bytes: int
    """What the card shows as in use: reserved, and the context of CUDA."""
    moments: dict[str, int]
    """The peak of allocated bytes within forward, backward and optimizer."""
    seconds_per_step: float
    tokens_per_second: float


def measure_memory(config: PretrainedConfig, plan: TrainingPlan) -> Measurement:
    """Run `plan` on the GPU that is there.

    Raises:
        LorakitError: no GPU; a plan whose attention this model or this GPU cannot run.
        torch.OutOfMemoryError: one that is too small for the plan.
    """
    if not torch.cuda.is_available():
        raise LorakitError("torch sees no CUDA GPU, so nothing can be measured: trace_memory() counts without one.")
    try:
        return _measure(config, plan)
    finally:
        gc.collect()
        torch.cuda.empty_cache()


def _measure(config: PretrainedConfig, plan: TrainingPlan) -> Measurement:
    resolve_attention(config, plan, torch.cuda.get_device_capability())  # before the model is built
    model = build_model(config, plan, "cuda")
    optimizer = build_optimizer(model, plan)
    batch = batch_of(config, plan, "cuda")
    gc.collect()
    torch.cuda.empty_cache()  # what building the model left behind
    seconds = []
    with attention_kernel(plan):
        for _ in range(STEPS + TIMED_STEPS):
            peaks = Peaks()
            torch.cuda.synchronize()
            start = time.perf_counter()
            training_step(model, optimizer, batch, plan, peaks.begin)
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
            peaks.end()
    step = median(seconds[STEPS:])
    free, total = torch.cuda.mem_get_info()
    return Measurement(
        allocated_bytes=max(peaks.moments.values()),
        reserved_bytes=torch.cuda.memory_reserved(),
        card_bytes=total - free,
        moments=peaks.moments,
        seconds_per_step=step,
        tokens_per_second=plan.micro_batch_size * plan.seq_len / step,
    )


class Peaks:
    """The allocator's peak within each moment of a step."""

    def __init__(self):
        self.moments: dict[str, int] = {}
        self.moment: str | None = None

    def begin(self, moment: str) -> None:
        """End the moment before, and begin this one."""
        self.end()
        self.moment = moment
        torch.cuda.reset_peak_memory_stats()

    def end(self) -> None:
        """Note the peak of the moment that ends."""
        if self.moment:
            self.moments[self.moment] = torch.cuda.max_memory_allocated()
