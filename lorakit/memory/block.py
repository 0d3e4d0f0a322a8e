"""What the forward pass keeps, operation by operation as transformers and peft run them: a block, and the head."""

import torch

from lorakit.memory.allocator import block_bytes
from lorakit.memory.plan import DTYPES, TrainingPlan
from lorakit.memory.shape import Shape
from lorakit.memory.tape import Tape, Tensor
from lorakit.models import BLOCK_SIZE


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
        # CUDA's softmax reads fp16 itself, and nothing else but float32
        if self.plan.activation_dtype != torch.float16:
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
