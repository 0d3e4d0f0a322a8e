"""The training step measured: on a GPU, with random weights of the real shapes, so that nothing is downloaded."""

import gc
import time
from dataclasses import dataclass

import torch
from transformers import PretrainedConfig

from lorakit.errors import LorakitError
from lorakit.memory.plan import TrainingPlan
from lorakit.memory.step import STEPS, attention_kernel, batch_of, build_model, build_optimizer, training_step


@dataclass(frozen=True)
class Measurement:
    """What a GPU gave: peaks of torch's allocator over a step, and by its moments; the median step's seconds."""

    allocated_bytes: int
    reserved_bytes: int
    moments: dict[str, int]
    start_bytes: int
    """Allocated as the step begins: weights, optimizer states, and what the libraries keep to work in."""
    card_bytes: int
    """What the card shows as used by all: reserved, and the context of CUDA."""
    seconds_per_step: float
    tokens_per_second: float


def measure_memory(config: PretrainedConfig, plan: TrainingPlan, timed_steps: int = 3) -> Measurement:
    """Run `plan` on the GPU that is there.

    Raises:
        LorakitError: no GPU, or one that is too small.
    """
    if not torch.cuda.is_available():
        raise LorakitError("torch sees no CUDA GPU, so nothing can be measured: trace_memory() counts without one.")
    try:
        return _measure(config, plan, timed_steps)
    except torch.OutOfMemoryError as error:
        raise LorakitError(f"this plan does not fit on this GPU ({str(error).splitlines()[0]}).") from error
    finally:
        gc.collect()
        torch.cuda.empty_cache()


def _measure(config: PretrainedConfig, plan: TrainingPlan, timed_steps: int) -> Measurement:
    model = build_model(config, plan, "cuda")
    optimizer = build_optimizer(model, plan)
    batch = batch_of(config, plan, "cuda")
    gc.collect()
    torch.cuda.empty_cache()  # what building the model left behind
    torch.cuda.reset_peak_memory_stats()
    peaks = Peaks()
    seconds = []
    with attention_kernel(config, plan):
        for _ in range(STEPS + timed_steps):
            peaks = Peaks()
            start_bytes = torch.cuda.memory_allocated()
            torch.cuda.synchronize()
            start = time.perf_counter()
            training_step(model, optimizer, batch, plan, peaks.begin)
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
            peaks.end()
    median = sorted(seconds[STEPS:])[timed_steps // 2]
    free, total = torch.cuda.mem_get_info()
    return Measurement(
        allocated_bytes=max(peaks.moments.values()),
        reserved_bytes=torch.cuda.memory_reserved(),
        moments=peaks.moments,
        start_bytes=start_bytes,
        card_bytes=total - free,
        seconds_per_step=median,
        tokens_per_second=plan.micro_batch_size * plan.seq_len / median,
    )


class Peaks:
    """The allocator's peak within each moment of a step."""

    def __init__(self):
        self.moments: dict[str, int] = {}
        self.moment: str | None = None

    def begin(self, moment: str) -> None:
        self.end()
        self.moment = moment

    def end(self) -> None:
        if self.moment:
            self.moments[self.moment] = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
