"""The memory of a training step in closed form: from a config and a plan to bytes, with no weight and no tensor.

Lesson 11 counts them by hand first. Each function writes down, operation by operation, what transformers and peft do in
it; `Tape` adds up what is kept. Nothing here is fitted: `trace_memory` runs the real step, and is the test of it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import PretrainedConfig

from lorakit.errors import LorakitError
from lorakit.lora import check_target_modules
from lorakit.measurements import overheads
from lorakit.memory.allocator import block_bytes
from lorakit.memory.plan import AMPERE, DTYPES, Capability, TrainingPlan, head_dim, library_bytes, resolve_attention
from lorakit.memory.tape import Tape, Tensor
from lorakit.models import BLOCK_SIZE
from lorakit.quantization import SCALES_PER_BLOCK

MODEL_TYPES = ("llama", "mistral", "qwen2", "gemma2")
PAGED_FROM = 100_000
"""Weights from which on bitsandbytes pages a tensor's states (its Optimizer8bit.get_state_buffer)."""
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
        return sum(value for name, value in vars(self).items() if name != "name")


@dataclass(frozen=True)
class MemoryEstimate:
    """The step's moments, in their order. `allocated_bytes` is what torch.cuda.max_memory_allocated() would say."""

    moments: tuple[Moment, ...]
    paged_bytes: int
    """Of a paged optimizer's states: memory of the host, which the driver moves to the card and back as it can."""

    @property
    def peak(self) -> Moment:
        return max(self.moments, key=lambda moment: moment.total_bytes)

    @property
    def allocated_bytes(self) -> int:
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


@dataclass(frozen=True)
class Shape:
    """What of a config decides bytes."""

    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head: int
    layers: int
    vocab: int
    tied: bool
    attention_bias: bool
    output_bias: bool
    mlp_bias: bool
    gemma: bool
    capped: bool
    logits_capped: bool

    @property
    def linears(self) -> dict[str, tuple[int, int, bool]]:
        """(in_features, out_features, bias) of a block's linear layers."""
        hidden, inner = self.hidden, self.intermediate
        q, kv = self.heads * self.head, self.kv_heads * self.head
        return {
            "q_proj": (hidden, q, self.attention_bias),
            "k_proj": (hidden, kv, self.attention_bias),
            "v_proj": (hidden, kv, self.attention_bias),
            "o_proj": (q, hidden, self.output_bias),
            "gate_proj": (hidden, inner, self.mlp_bias),
            "up_proj": (hidden, inner, self.mlp_bias),
            "down_proj": (inner, hidden, self.mlp_bias),
        }


def shape_of(config: PretrainedConfig) -> Shape:
    """Raises LorakitError for a model type whose blocks are built otherwise."""
    if config.model_type not in MODEL_TYPES:
        raise LorakitError(
            f"model type {config.model_type!r} is not covered: the estimate knows {', '.join(MODEL_TYPES)}; "
            "trace_memory() runs any model that transformers has."
        )
    bias = config.model_type == "qwen2" or getattr(config, "attention_bias", False)
    return Shape(
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head=head_dim(config),
        layers=config.num_hidden_layers,
        vocab=config.vocab_size,
        tied=config.tie_word_embeddings,
        attention_bias=bias,
        output_bias=bias and config.model_type != "qwen2",
        mlp_bias=getattr(config, "mlp_bias", False),
        gemma=config.model_type == "gemma2",
        capped=getattr(config, "attn_logit_softcapping", None) is not None,
        logits_capped=getattr(config, "final_logit_softcapping", None) is not None,
    )


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


# --- 2. What the forward pass keeps ---


class Block:
    """One block of the model, written down on a tape."""

    def __init__(self, shape: Shape, plan: TrainingPlan, kernel: str):
        self.shape, self.plan, self.kernel = shape, plan, kernel
        self.tokens = plan.micro_batch_size * plan.seq_len
        self.item = plan.activation_dtype.itemsize
        self.full = plan.method == "full"

    def record(self, tape: Tape, x: Tensor) -> Tensor:
        """x -> x + attention(norm(x)) -> that + mlp(norm(that))."""
        shape, width = self.shape, self.tokens * self.shape.hidden * self.item
        h = self.attention(tape, self.norm(tape, x))
        x = tape.op(width, x, self.norm(tape, h) if shape.gemma else h, passes=True)
        h = self.mlp(tape, self.norm(tape, x))
        return tape.op(width, x, self.norm(tape, h) if shape.gemma else h, passes=True)

    def norm(self, tape: Tape, x: Tensor) -> Tensor:
        """RMSNorm, which computes in float32 whatever comes in."""
        size, wide = self.tokens * self.shape.hidden, 4 * self.tokens * self.shape.hidden
        weight_grad = block_bytes(self.shape.hidden * self.item) if self.full else 0
        x32 = self.cast(tape, x, wide)
        root = tape.op(4 * self.tokens, x32, keeps=(x32,), keeps_result=True, work=2 * wide)  # of the mean of squares
        h = tape.op(wide, x32, keeps=(x32, root), work=wide)
        if self.shape.gemma:  # multiplied in float32, by 1 + weight
            h = tape.op(wide, h, keeps=(h,) if self.full else (), weight_grad=weight_grad, work=wide * self.full)
            return self.cast(tape, h, size * self.item)
        h = self.cast(tape, h, size * self.item)
        return tape.op(h.bytes, h, keeps=(h,) if self.full else (), weight_grad=weight_grad, work=h.bytes * self.full)

    def cast(self, tape: Tape, x: Tensor, size: int) -> Tensor:
        """To a dtype in which it has `size` bytes; the same tensor where it has that already."""
        return x if x.bytes == size else tape.op(size, x)

    def linear(self, tape: Tape, name: str, x: Tensor) -> Tensor:
        """A linear layer, and the adapter beside it."""
        plan, tokens, item = self.plan, self.tokens, self.item
        in_features, out_features, bias = self.shape.linears[name]
        size = tokens * out_features * item
        adapted = name in plan.target_modules
        if self.full:
            weight_grad = block_bytes(in_features * out_features * item) + (
                block_bytes(out_features * item) if bias else 0
            )
            return tape.op(size, x, keeps=(x,), weight_grad=weight_grad)
        if plan.method == "lora":
            y = tape.op(size, x)
        else:  # into the dtype that it computes in, and back; on the way back the weight is dequantised once more
            compute = DTYPES[plan.dtype].itemsize
            weight = in_features * out_features * compute + 4 * -(-in_features * out_features // BLOCK_SIZE)
            narrow = self.cast(tape, x, tokens * in_features * compute)
            y = self.cast(tape, tape.op(tokens * out_features * compute, narrow, work=weight), size)
            if adapted:
                y = tape.op(size, y, passes=True)  # peft clones it
        if not adapted:
            return y
        dtype, adapter = plan.activation_dtype, DTYPES[plan.adapter_dtype]
        wide = tokens * out_features * adapter.itemsize
        if adapter != dtype:
            x = tape.op(tokens * in_features * adapter.itemsize, x)
        a_grad, b_grad = (block_bytes(plan.r * side * adapter.itemsize) for side in (in_features, out_features))
        low = tape.op(tokens * plan.r * adapter.itemsize, x, keeps=(x,), weight_grad=a_grad)
        change = tape.op(wide, tape.op(wide, low, keeps=(low,), weight_grad=b_grad))  # times lora_alpha / r
        if plan.method == "qlora":
            return tape.op(size, y, self.cast(tape, change, size), passes=True)
        together = tokens * out_features * torch.promote_types(dtype, adapter).itemsize
        return self.cast(tape, tape.op(together, y, change, passes=True), size)

    def attention(self, tape: Tape, x: Tensor) -> Tensor:
        """q, k, v, the kernel, o."""
        q, k, v = (self.linear(tape, name, x) for name in ("q_proj", "k_proj", "v_proj"))
        q, k = self.rotate(tape, q), self.rotate(tape, k)
        kernel = {"eager": self.eager, "math": self.math}.get(self.kernel, self.fused)
        return self.linear(tape, "o_proj", kernel(tape, q, k, v))

    def rotate(self, tape: Tape, x: Tensor) -> Tensor:
        """RoPE: x * cos + rotate_half(x) * sin."""
        straight = tape.op(x.bytes, x)
        turned = tape.op(x.bytes, tape.op(x.bytes, x, work=x.bytes))
        return tape.op(x.bytes, straight, turned, passes=True)

    def fused(self, tape: Tape, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Flash or memory-efficient attention: its T x T scores are never whole (Dao et al. 2022, section 3.1)."""
        lse = Tensor(4 * self.plan.micro_batch_size * self.shape.heads * self.plan.seq_len)
        work = q.bytes * 4 // self.item  # the gradient of q is summed in float32
        if self.shape.heads != self.shape.kv_heads:
            work += 2 * q.bytes  # and those of k and v are made for each head of a group
        return tape.op(q.bytes, q, k, v, keeps=(q, k, v, lse), keeps_result=True, work=work)

    def math(self, tape: Tape, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """torch's own operations, in float32: softmax(q k^T) keeps its T x T result."""
        wide = 4 * self.tokens * self.shape.heads * self.shape.head
        square = 4 * self.plan.micro_batch_size * self.shape.heads * self.plan.seq_len**2
        q, k, v = (self.cast(tape, each, each.bytes * 4 // self.item) for each in (q, k, v))
        if self.shape.heads != self.shape.kv_heads:  # one copy for each head of the group
            k, v = tape.op(wide, k), tape.op(wide, v)
        q, k = tape.op(wide, q), tape.op(wide, k)  # each times the root of the scale
        p = tape.op(square, self.product(tape, square, q, k), keeps_result=True, work=square)
        out = self.product(tape, wide, p, v)
        return self.cast(tape, out, wide * self.item // 4)

    def eager(self, tape: Tape, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """transformers' own lines: scores in the model's dtype, softmax in float32, and a copy of it in that dtype."""
        size = self.tokens * self.shape.heads * self.shape.head * self.item
        square = self.plan.micro_batch_size * self.shape.heads * self.plan.seq_len**2
        if self.shape.heads != self.shape.kv_heads:
            k, v = tape.op(size, k), tape.op(size, v)
        q = tape.op(size, q)  # made contiguous
        scores = self.product(tape, square * self.item, q, k)
        scores = tape.op(square * self.item, scores)  # times the scale
        if self.shape.capped:  # cap * tanh(scores / cap)
            scores = tape.op(scores.bytes, scores)
            scores = tape.op(scores.bytes, tape.op(scores.bytes, scores, keeps_result=True))
        scores = tape.op(scores.bytes, scores, passes=True)  # plus the mask
        if (
            self.plan.activation_dtype != torch.float16
        ):  # CUDA's softmax reads fp16 itself, and nothing else but float32
            scores = self.cast(tape, scores, 4 * square)
        p = tape.op(4 * square, scores, keeps_result=True, work=4 * square)
        p = self.cast(tape, p, square * self.item)
        return self.product(tape, size, p, v)

    def product(self, tape: Tape, size: int, a: Tensor, b: Tensor) -> Tensor:
        """a times b: the gradient of each takes the other."""
        return tape.op(size, a, b, keeps=[other for one, other in ((a, b), (b, a)) if one.grad])

    def mlp(self, tape: Tape, x: Tensor) -> Tensor:
        """down(activation(gate(x)) * up(x))."""
        gate = self.linear(tape, "gate_proj", x)
        active = tape.op(gate.bytes, gate, keeps=(gate,))
        up = self.linear(tape, "up_proj", x)
        return self.linear(tape, "down_proj", self.product(tape, gate.bytes, active, up))


def record_head(tape: Tape, shape: Shape, plan: TrainingPlan, x: Tensor, block: Block) -> Tensor:
    """The last norm, `lm_head`, and the loss; returns the logits as the model's outputs hold them."""
    full = plan.method == "full"
    count = block.tokens * shape.vocab
    h = block.norm(tape, x)
    weight_grad = block_bytes(shape.vocab * shape.hidden * block.item) if full else 0
    logits = tape.op(count * block.item, h, keeps=(h,) if full else (), weight_grad=weight_grad)
    if shape.logits_capped:  # cap * tanh(logits / cap)
        logits = tape.op(logits.bytes, logits)
        logits = tape.op(logits.bytes, tape.op(logits.bytes, logits, keeps_result=True))
    wide = block.cast(tape, logits, 4 * count)
    tape.op(4, tape.op(4 * count, wide, keeps_result=True))  # log_softmax, then the mean over the labels
    return logits


# --- 3. The moments of the step ---


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


def check_plan(shape: Shape, plan: TrainingPlan) -> None:
    """Raise LorakitError where `plan` does not fit the model."""
    check_target_modules(shape.linears, plan.target_modules)
    for name in plan.target_modules:
        in_features, out_features, _ = shape.linears[name]
        if plan.r > min(in_features, out_features):
            raise LorakitError(
                f"r is {plan.r}, above the smaller side of {name!r} ({in_features} x {out_features}): there is no "
                "such rank; choose a smaller r, or leave that layer out."
            )
