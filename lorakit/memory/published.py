"""The closed form against what others have measured of their own code: `lorakit memory --published`.

A stack is what it does otherwise than transformers and peft. Each difference was read in its source of that time, and
nothing is fitted: what stays unexplained stays as error.
"""

import csv
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from lorakit.memory.allocator import block_bytes
from lorakit.memory.block import Block
from lorakit.memory.closed_form import HUGGING_FACE, Stack, constants_bytes, estimate_memory, weights_of
from lorakit.memory.plan import DTYPES, TrainingPlan
from lorakit.memory.presets import preset
from lorakit.memory.shape import Shape
from lorakit.memory.tape import Tape, Tensor

PATH = Path(__file__).parent.parent / "measurements" / "published.csv"
UNITS = {"GB": 10**9, "GiB": 2**30}
GIB = 2**30
CHUNK = 128
"""Tokens of a row whose logits litgpt computes at once."""


@dataclass(frozen=True)
class PublishedRow:
    """A published peak of the bytes that torch had allocated, with all the settings that decide it."""

    id: str
    stack: str
    model: str
    """A preset."""
    plan: TrainingPlan
    published_bytes: int
    source: str

    @property
    def predicted_bytes(self) -> int:
        """What torch should allocate for this plan in this stack."""
        return estimate_memory(preset(self.model), self.plan, stack=STACKS[self.stack]).allocated_bytes

    @property
    def error(self) -> float:
        """Of the prediction, as a share of what was published: above zero where it is too high."""
        return self.predicted_bytes / self.published_bytes - 1


# --- litgpt, October 2023: torch 2.1, bitsandbytes 0.41 ---


class LitgptBlock(Block):
    """A block of litgpt, with adapters on q and v, in a model whose heads are not grouped."""

    def __init__(self, shape: Shape, plan: TrainingPlan, kernel: str):
        super().__init__(shape, plan, kernel)
        self.item = DTYPES[plan.dtype].itemsize  # with QLoRA too: nothing is lifted to float32

    def linear(self, tape: Tape, name: str, x: Tensor) -> Tensor:
        in_features, out_features, _ = self.shape.linears[name]
        return self.frozen(tape, x, self.tokens * out_features * self.item, in_features * out_features)

    def frozen(self, tape: Tape, x: Tensor, out_bytes: int, weights: int) -> Tensor:
        """A layer of so many weights, none of them trained."""
        if self.plan.method == "lora":
            return tape.op(out_bytes, x)
        # The MatMul4Bit of bitsandbytes 0.41 kept its input, though it did not read it. The weights were quantised
        # from float16, so they are dequantised to that, and then cast.
        return tape.op(out_bytes, x, keeps=(x,), work=weights * (2 + self.item))

    def attention(self, tape: Tape, x: Tensor) -> Tensor:
        shape, tokens, item = self.shape, self.tokens, self.item
        width = shape.heads * shape.head  # of q, of k, and of v
        y = self.frozen(tape, x, tokens * 3 * width * item, shape.hidden * 3 * width)  # one layer for the three
        change = self.change_of_q_and_v(tape, x, width)
        index = Tensor(8 * 2 * width)
        padded = tape.op(y.bytes, change, keeps=(change, index))  # index_copy, among zeros for k, keeps what it copies
        qkv = tape.op(y.bytes, y, tape.op(y.bytes, padded), passes=True)  # plus that times lora_alpha / r
        q, k, v = (tape.op(tokens * width * item, qkv) for _ in range(3))
        q, k = self.rotate(tape, q), self.rotate(tape, k)
        lse = Tensor(4 * tokens * shape.heads)
        # v is a view into qkv, which is kept whole
        out = tape.op(q.bytes, q, k, v, keeps=(q, k, qkv, lse), keeps_result=True, work=q.bytes * 4 // item)
        out = tape.op(out.bytes, out)  # torch 2.1's flash attention laid it out head by head: to token by token
        return self.linear(tape, "o_proj", out)

    def change_of_q_and_v(self, tape: Tape, x: Tensor, width: int) -> Tensor:
        """B A dropout(x), of both layers at once."""
        r, item = self.plan.r, self.item
        mask = Tensor(x.bytes // item)  # lora_dropout is 0.05: a byte for each number, beside the result
        dropped = tape.op(x.bytes, x, keeps=(mask,))
        a_grad, b_grad = block_bytes(2 * r * self.shape.hidden * item), block_bytes(2 * r * width * item)
        low = tape.op(self.tokens * 2 * r * item, dropped, keeps=(dropped,), weight_grad=a_grad)
        return tape.op(self.tokens * 2 * width * item, low, keeps=(low,), weight_grad=b_grad)


def litgpt_head(tape: Tape, shape: Shape, plan: TrainingPlan, x: Tensor, block: LitgptBlock) -> Tensor:
    """`lm_head` in chunks of 128 tokens; then all logits to float32 (Fabric's convert_output); then a loss a chunk.

    So the way back goes through all the losses first, and through `lm_head` last.
    """
    h = block.norm(tape, x)
    logits = []
    for start in range(0, plan.seq_len, CHUNK):
        tokens = plan.micro_batch_size * min(CHUNK, plan.seq_len - start)
        chunk = tape.op(tokens * shape.hidden * block.item, h)
        logits.append(block.frozen(tape, chunk, tokens * shape.vocab * block.item, shape.hidden * shape.vocab))
    wide = [tape.op(each.bytes * 4 // block.item, each) for each in logits]
    losses = [tape.op(4, tape.op(each.bytes, each, keeps_result=True)) for each in wide]
    tape.op(4, *losses)
    return Tensor(sum(each.bytes for each in wide))


def litgpt_weights(shape: Shape, plan: TrainingPlan) -> dict[str, int]:
    """With QLoRA `lm_head` is quantised too, and the rest stays in 16 bits."""
    weights = weights_of(shape, plan)
    if plan.method == "lora":
        return weights
    plain = weights_of(shape, replace(plan, method="lora", quant_type=None))
    head = shape.hidden * shape.vocab
    return {
        "base_weights": weights["base_weights"] + block_bytes(head // 2),
        "quantization_constants": weights["quantization_constants"] + constants_bytes(head, plan.double_quant),
        "other_weights": plain["other_weights"] - block_bytes(head * DTYPES[plan.dtype].itemsize),
    }


# --- torchtune, November 2024 ---


class TorchtuneBlock(Block):
    """A block of torchtune, on rows that are packed."""

    def rotate(self, tape: Tape, x: Tensor) -> Tensor:
        """In float32, each token by its place in its own text: these rows of the table are looked up, and kept."""
        table = Tensor(4 * self.tokens * self.shape.head)
        wide = self.cast(tape, x, x.bytes * 4 // self.item)
        return self.cast(tape, tape.op(wide.bytes, wide, keeps=(table,)), x.bytes)

    def fused(self, tape: Tape, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Flex attention (which keeps what flash attention does), on a copy of k and v for each head of the group."""
        if self.shape.heads != self.shape.kv_heads:
            k, v = tape.op(q.bytes, k), tape.op(q.bytes, v)
        lse = Tensor(4 * self.plan.micro_batch_size * self.shape.heads * self.plan.seq_len)
        return tape.op(q.bytes, q, k, v, keeps=(q, k, v, lse), keeps_result=True)


STACKS = {
    "litgpt": Stack(litgpt_weights, LitgptBlock, litgpt_head),
    "torchtune": replace(HUGGING_FACE, block=TorchtuneBlock),
}


# --- The rows, and their table ---


@cache
def published_rows() -> tuple[PublishedRow, ...]:
    """The rows of measurements/published.csv."""
    with PATH.open(encoding="utf-8", newline="") as lines:
        return tuple(_row(fields) for fields in csv.DictReader(lines))


def _row(fields: dict[str, str]) -> PublishedRow:
    plan = {"method": fields["method"], "dtype": "bf16"}
    plan |= {name: int(fields[name]) for name in ("micro_batch_size", "seq_len")}
    if plan["method"] != "full":
        plan |= {"r": int(fields["r"]), "target_modules": tuple(fields["target_modules"].split())}
        plan["adapter_dtype"] = fields["adapter_dtype"]
    if plan["method"] == "qlora":
        plan["double_quant"] = fields["double_quant"] == "yes"
    if fields["stack"] == "litgpt":
        # The script takes its longest row first, and its optimizer makes its states after 128 rows: at the peak there
        # are none. It holds the logits until the next step.
        plan |= {"optimizer": "none", "keep_outputs": True}
    return PublishedRow(
        id=fields["id"],
        stack=fields["stack"],
        model=fields["model"],
        plan=TrainingPlan(**plan),
        published_bytes=round(float(fields["published"]) * UNITS[fields["unit"]]),
        source=fields["source"],
    )


def published_table() -> str:
    """Predicted against published, row by row, the mean absolute error of each stack, and the sources.

    torchtune's other rows ran under torch.compile, which itself decides what is kept: they are not told from its code.
    """
    lines = [f"{'row':9}{'stack':11}{'model':14}{'step':22}{'predicted':>11}{'published':>11}{'error':>9}"]
    errors = {}
    for row in published_rows():
        plan = row.plan
        method = plan.method + (" nf4" + "-dq" * plan.double_quant if plan.method == "qlora" else "")
        step = f"{method}, {plan.micro_batch_size} x {plan.seq_len}"
        lines.append(
            f"{row.id:9}{row.stack:11}{row.model:14}{step:22}{row.predicted_bytes / GIB:7.2f} GiB"
            f"{row.published_bytes / GIB:7.2f} GiB{100 * row.error:+7.1f} %"
        )
        errors.setdefault(row.stack, []).append(abs(row.error))
    every = [error for each in errors.values() for error in each]
    lines += ["", "mean absolute error"]
    for name, each in [*errors.items(), ("all", every)]:
        lines.append(f"  {name:11}{100 * sum(each) / len(each):4.1f} %  (rows: {len(each)})")
    sources = {row.stack: row.source for row in published_rows()}
    lines += ["", "sources", *(f"  {name:11}{source}" for name, source in sources.items())]
    return "\n".join(lines)
