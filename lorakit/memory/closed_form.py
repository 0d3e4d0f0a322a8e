"""The memory of a training step in closed form: from a config and a plan to bytes, with no weight and no tensor.

Lesson 11 counts them by hand first. `Block` writes down, operation by operation, what transformers and peft do; `Tape`
adds up what is kept. What is allocated is fitted to nothing: `trace_memory` runs the real step, and is the test of it.
(`reserved_bytes` and `card_bytes` add what was measured beyond it.)
"""

from collections.abc import Callable
from dataclasses import dataclass

from transformers import PretrainedConfig

from lorakit.measurements import overheads
from lorakit.memory.allocator import block_bytes
from lorakit.memory.block import Block, record_head
from lorakit.memory.plan import AMPERE, DTYPES, PAGED_FROM, Capability, TrainingPlan, library_bytes, resolve_attention
from lorakit.memory.shape import Shape, check_plan, shape_of
from lorakit.memory.tape import Tape, Tensor
from lorakit.models import BLOCK_SIZE
from lorakit.quantization import SCALES_PER_BLOCK

EIGHT_BIT_FROM = 4096
"""Weights from which on bitsandbytes keeps a tensor's states in 8 bits (min_8bit_size of its optimizers)."""


@dataclass(frozen=True)
class Moment:
    """What is alive at one moment of the step, in bytes."""

    name: str
    base_weights: int
    """The blocks' linear layers: codes where they are quantised."""
    quantization_constants: int
    other_weights: int
    """Embeddings, norms, biases, head."""
    adapters: int
    gradients: int
    optimizer_states: int
    activations: int
    """Kept for the backward pass."""
    logits: int
    """Logits, their float32 copies, their gradients."""
    working: int
    """Gradients of activations, dequantised weights, and what else an operation needs while it runs."""
    libraries: int

    @property
    def total_bytes(self) -> int:
        """All that is alive in it."""
        return sum(value for name, value in vars(self).items() if name != "name")


@dataclass(frozen=True)
class MemoryEstimate:
    """The step's moments, in their order. `allocated_bytes` is what torch.cuda.max_memory_allocated() would say."""

    moments: tuple[Moment, ...]
    paged_bytes: int
    """Of a paged optimizer's states: memory of the host, which the driver moves to the card and back as it can."""

    @property
    def peak(self) -> Moment:
        """The moment that takes most."""
        return max(self.moments, key=lambda moment: moment.total_bytes)

    @property
    def allocated_bytes(self) -> int:
        """What torch has allocated in that moment."""
        return self.peak.total_bytes

    @property
    def reserved_bytes(self) -> int:
        """What torch's allocator takes of the card: more, in the median of our measurements by the share that is in it.

        How much more depends on the order in which memory comes and goes: `trace_memory` follows that.
        """
        return round(self.allocated_bytes * overheads()[0])

    @property
    def card_bytes(self) -> int:
        """What the card shows as in use: reserved, and CUDA's context as it was measured."""
        return self.reserved_bytes + overheads()[1]


# --- 1. What lives throughout ---


def weights_of(shape: Shape, plan: TrainingPlan) -> dict[str, int]:
    """Bytes of the model's tensors that are not adapters."""
    item = DTYPES[plan.dtype].itemsize
    other_item = plan.activation_dtype.itemsize  # lifted to float32 by prepare_model_for_kbit_training
    base = constants = biases = 0
    for in_features, out_features, bias in shape.linears.values():
        weights = in_features * out_features
        if plan.method == "qlora":
            base += block_bytes(-(-weights // 2))  # two codes a byte
            constants += constants_bytes(weights, plan.double_quant)
        else:
            base += block_bytes(weights * item)
        # a 4-bit layer takes its bias back to what it computes in (bitsandbytes' Linear4bit.forward)
        biases += block_bytes(out_features * item) if bias else 0
    norms = (4 if shape.gemma else 2) * block_bytes(shape.hidden * other_item)
    tables = (1 if shape.tied else 2) * block_bytes(shape.vocab * shape.hidden * other_item)
    other = shape.layers * (norms + biases) + block_bytes(shape.hidden * other_item) + tables
    return {
        "base_weights": shape.layers * base,
        "quantization_constants": shape.layers * constants,
        "other_weights": other,
    }


def constants_bytes(weights: int, double_quant: bool) -> int:
    """Scales and look-up tables of one 4-bit layer, as bitsandbytes' QuantState keeps them."""
    scales = -(-weights // BLOCK_SIZE)
    code = block_bytes(16 * 4)
    if not double_quant:
        return code + block_bytes(4 * scales)
    nested = -(-scales // SCALES_PER_BLOCK)
    return code + block_bytes(scales) + block_bytes(4 * nested) + block_bytes(256 * 4) + block_bytes(4)  # table, mean


def trained_tensors(shape: Shape, plan: TrainingPlan) -> list[tuple[int, int]]:
    """(how many, weights of each) of the tensors that are trained."""
    if plan.method != "full":
        found = []
        for name in plan.target_modules:
            in_features, out_features, _ = shape.linears[name]
            found += [(shape.layers, plan.r * in_features), (shape.layers, plan.r * out_features)]
        return found
    found = [(shape.layers, i * o) for i, o, _ in shape.linears.values()]
    found += [(shape.layers, o) for _, o, bias in shape.linears.values() if bias]
    found += [((4 if shape.gemma else 2) * shape.layers + 1, shape.hidden)]
    return [*found, (1 if shape.tied else 2, shape.vocab * shape.hidden)]


def optimizer_bytes(tensors: list[tuple[int, int]], plan: TrainingPlan) -> tuple[int, int, int]:
    """(states that stay, states that are paged, workspace of the step) of the optimizer."""
    item = trained_item(plan)
    if plan.optimizer in ("none", "sgd"):
        return 0, 0, 0
    if plan.optimizer == "adamw":  # two states in the weight's own dtype, and one root of them all while it steps
        states = sum(count * 2 * (block_bytes(weights * item)) for count, weights in tensors)
        return states, 0, states // 2
    stay = paged = 0
    for count, weights in tensors:
        if weights < EIGHT_BIT_FROM:
            stay += count * 2 * block_bytes(4 * weights)
            continue
        if plan.optimizer == "paged_adamw_8bit" and weights >= PAGED_FROM:
            paged += count * 2 * weights
        else:
            stay += count * 2 * block_bytes(weights)
        stay += count * 2 * block_bytes(4 * -(-weights // 256))  # a float32 scale for 256 of them
    return stay, paged, 0


def trained_item(plan: TrainingPlan) -> int:
    """Bytes of a trained weight, of its gradient, and of a state of AdamW."""
    return DTYPES[plan.dtype if plan.method == "full" else plan.adapter_dtype].itemsize


# --- 2. The moments of the step ---


@dataclass(frozen=True)
class Stack:
    """Whose code takes the step. `lorakit.memory.published` has others."""

    weights: Callable[[Shape, TrainingPlan], dict[str, int]]
    block: type[Block]
    head: Callable[[Tape, Shape, TrainingPlan, Tensor, Block], Tensor]


HUGGING_FACE = Stack(weights_of, Block, record_head)
"""transformers, peft and bitsandbytes."""


def estimate_memory(
    config: PretrainedConfig, plan: TrainingPlan, capability: Capability = AMPERE, stack: Stack = HUGGING_FACE
) -> MemoryEstimate:
    """Bytes of a training step, moment by moment; the peak is the largest moment, not the sum of all there is.

    Raises:
        LorakitError: a model type that is not covered, a layer that the model does not have, a rank above a layer's
            dimensions, or an attention that cannot run it.
    """
    shape = shape_of(config)
    kernel = resolve_attention(config, plan, capability)
    check_plan(shape, plan)
    weights = stack.weights(shape, plan)
    tensors = trained_tensors(shape, plan)
    gradients = sum(count * block_bytes(size * trained_item(plan)) for count, size in tensors)
    adapters = 0 if plan.method == "full" else gradients
    states, paged, stepping = optimizer_bytes(tensors, plan)

    block = stack.block(shape, plan, kernel)
    width = block.tokens * shape.hidden * block.item
    first, later, head = Tape(), Tape(), Tape()
    x0 = Tensor(width, grad=plan.method == "full")
    x1 = Tensor(width, grad=block.record(first, x0).grad)
    block.record(later, x1)
    x2 = Tensor(width, grad=True)
    logits = stack.head(head, shape, plan, x2, block)

    shared = 2 * block_bytes(plan.seq_len * shape.head * block.item)  # cos and sin
    if kernel == "eager":  # a mask for each row, and Gemma 2 has two kinds of it
        shared += (2 if shape.gemma else 1) * plan.micro_batch_size * plan.seq_len**2 * block.item
    result = 4 * block.tokens * shape.vocab  # of log_softmax, which the head's tape keeps
    float_copy = result if logits.bytes < result else 0
    held = logits.bytes if plan.keep_outputs else 0
    head_kept = stored_bytes(head) - result
    if plan.gradient_checkpointing:
        kept = shape.layers * width + shared
        kept_by_later = stored_bytes(later) - (width if x1 in later.uses else 0)
        kept_by_first = width + shared + stored_bytes(first) - (width if x0 in first.uses else 0)
    else:
        kept = stored_bytes(first) + (shape.layers - 1) * stored_bytes(later) + shared
        kept_by_later, kept_by_first = 0, stored_bytes(first) + shared
    in_head, head_grads = head.backward(4)
    in_later, later_grads = later.backward(width)
    in_first, _ = first.backward(width)
    table = block_bytes(shape.vocab * shape.hidden * block.item)
    # where embedding and head are one table, its two gradients and their sum are there at once
    summing = 2 * table if plan.method == "full" and shape.tied else 0

    throughout = {**weights, "adapters": adapters, "optimizer_states": states, "libraries": library_bytes(capability)}

    def moment(name, activations, gradients=0, logits=0, working=0) -> Moment:
        return Moment(
            name=name, activations=activations, gradients=gradients, logits=logits, working=working, **throughout
        )

    moments = (
        moment("loss", kept + head_kept, logits=logits.bytes + float_copy + result),
        moment("back through the loss", kept + head_kept, logits=held + result + in_head),
        moment("back through the last block", kept + kept_by_later, head_grads, held, width + in_later),
        moment(
            "back through the first block",
            kept_by_first,
            head_grads + (shape.layers - 1) * later_grads,
            held,
            width + in_first,
        ),
        moment("back through the embedding", 0, gradients, held, summing + width),
        moment("optimizer", 0, gradients, held, stepping),
    )
    return MemoryEstimate(moments, paged)


def stored_bytes(tape: Tape) -> int:
    """What the allocator gives for all that a tape keeps."""
    return sum(block_bytes(tensor.bytes) for tensor in tape.uses)
