"""A dry run: the real training step on tensors without storage, every live byte counted as it comes and goes."""

import contextlib
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import PretrainedConfig
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from lorakit.memory.allocator import CachingAllocator
from lorakit.memory.plan import AMPERE, PAGED_FROM, Capability, TrainingPlan, library_bytes, resolve_attention
from lorakit.memory.step import STEPS, batch_of, build_model, build_optimizer, training_step

aten = torch.ops.aten


@dataclass(frozen=True)
class MemoryTrace:
    """Bytes of a training step: the most that is allocated at once, in all and by moment, and what is reserved."""

    moments: dict[str, int]
    """Peaks within forward, backward and optimizer."""
    reserved_bytes: int
    """What torch's allocator holds of the card at the end of the step."""
    model_bytes: int
    optimizer_bytes: int
    """States that stay on the card from step to step."""

    @property
    def allocated_bytes(self) -> int:
        """What torch.cuda.max_memory_allocated() would say."""
        return max(self.moments.values())


def trace_memory(config: PretrainedConfig, plan: TrainingPlan, capability: Capability = AMPERE) -> MemoryTrace:
    """The bytes of a training step by running it on torch's "meta" device: no weight and no activation is made."""
    import peft  # noqa: F401  before the counting begins: as it loads, bitsandbytes makes tensors of its own

    kernel = resolve_attention(config, plan, capability)
    allocator = CachingAllocator()
    counter = LiveBytes(allocator, workspaces(kernel, plan))
    with counter:
        model = build_model(config, plan, "meta", dry_attention(kernel))
        optimizer = dry_optimizer(model, plan, counter)
        batch = batch_of(config, plan, "meta")
        model_bytes = allocator.allocated
        allocator.empty_cache()
        for _ in range(2):  # one of the forward, one of the backward thread
            allocator.malloc(library_bytes(capability) // 2)
        before = allocator.allocated
        for _ in range(STEPS):
            counter.moments = {}
            start = allocator.allocated
            training_step(model, optimizer, batch, plan, counter.begin)
    return MemoryTrace(counter.moments, allocator.reserved, model_bytes, start - before)


class LiveBytes(TorchDispatchMode):
    """Has `allocator` make and free each storage as torch does, and notes the most within each moment."""

    def __init__(self, allocator: CachingAllocator, workspaces: Mapping[Callable, Callable[..., int]]):
        super().__init__()
        self.allocator, self.workspaces = allocator, workspaces
        self.blocks: dict[int, Any] = {}
        self.moments: dict[str, int] = {}
        self.moment = "build"
        self.counting = True

    def begin(self, moment: str) -> None:
        """From here on, peaks are those of `moment`."""
        self.moment = moment
        self.note()

    def note(self) -> None:
        """Keep what is allocated now, where it is the moment's most."""
        self.moments[self.moment] = max(self.allocator.allocated, self.moments.get(self.moment, 0))

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        """Within it, what is made is not counted."""
        self.counting = False
        yield
        self.counting = True

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default and args[0].device.type == "meta":
            return True  # asked once: "is each row one text?" (transformers' find_packed_sequence_indices); ours are
        result = func(*args, **kwargs)
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and self.counting:
                self.add(leaf)
        if func in self.workspaces:
            block = self.allocator.malloc(self.workspaces[func](*args, **kwargs))
            self.note()
            self.allocator.free(block)
        self.note()
        return result

    def add(self, tensor: torch.Tensor) -> None:
        """Count the storage of `tensor`, once, for as long as it lives."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.blocks and storage.nbytes():
            self.blocks[key] = self.allocator.malloc(storage.nbytes())
            weakref.finalize(storage, self.remove, key)

    def remove(self, key: int) -> None:
        self.allocator.free(self.blocks.pop(key))


# --- What an operation of CUDA needs for itself, which no meta kernel shows; each was seen on an H100 ---


def _size(tensor: torch.Tensor, itemsize: int | None = None) -> int:
    return tensor.numel() * (itemsize or tensor.itemsize)


def _fused_backward(grad, query, key, value, *rest, **options) -> int:
    """The gradient of q, summed in float32; with grouped heads those of k and v, for each head of a group."""
    expanded = 2 * _size(query) if key.shape[1] != query.shape[1] else 0
    return _size(query, 4) + expanded


def _dequantised(x, codes, shape, *rest, **options) -> int:
    """The layer's weight as bitsandbytes unfolds it in the forward pass; for a few tokens it takes no such copy."""
    return shape[0] * shape[1] * x.itemsize


def workspaces(kernel: str, plan: TrainingPlan) -> dict[Callable, Callable[..., int]]:
    """By operation, a function from its arguments to the bytes that it needs for itself."""
    # grad * output, in float32. CUDA's softmax reads fp16 itself, and gives its gradient in it: "meta" makes it in 32.
    share = 2 if kernel == "eager" and plan.activation_dtype == torch.float16 else 1
    found = {
        aten._scaled_dot_product_flash_attention_backward.default: _fused_backward,
        aten._scaled_dot_product_efficient_attention_backward.default: _fused_backward,
        aten._softmax_backward_data.default: lambda grad, output, *rest: _size(output) // share,
    }
    if plan.method == "qlora":
        import bitsandbytes  # noqa: F401  not at the top: a machine without it can still do LoRA

        found[torch.ops.bitsandbytes.gemm_4bit.default] = _dequantised
    return found


def dry_attention(kernel: str) -> str:
    """transformers' name of an attention on `kernel` of torch's sdpa; "meta" itself would always pick "math"."""

    def attend(module, query, key, value, attention_mask, dropout=0.0, scaling=None, **options):
        if kernel == "flash":
            result = aten._scaled_dot_product_flash_attention(query, key, value, dropout, True, scale=scaling)[0]
        else:
            result = aten._scaled_dot_product_efficient_attention(
                query, key, value, None, True, dropout, True, scale=scaling
            )[0]
        return result.transpose(1, 2).contiguous(), None

    if kernel not in ("flash", "efficient"):
        return "sdpa"
    name = f"dry_{kernel[:2]}"  # a name with "flash" in it sends transformers to look for that package
    ALL_ATTENTION_FUNCTIONS.register(name, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(name, sdpa_mask)  # which leaves the mask out where rows are not padded
    return name


def dry_optimizer(model: nn.Module, plan: TrainingPlan, counter: LiveBytes) -> torch.optim.Optimizer | None:
    """The optimizer of `plan`; of a paged one, the large states are put where torch's allocator does not see them."""
    optimizer = build_optimizer(model, plan)
    if plan.optimizer == "paged_adamw_8bit":

        def paged(weight, dtype=torch.float32):
            if weight.numel() < PAGED_FROM:
                return torch.zeros_like(weight, dtype=dtype)
            with counter.outside():
                return torch.zeros_like(weight, dtype=dtype)

        optimizer.get_state_buffer = paged
    return optimizer
