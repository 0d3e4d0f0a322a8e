"""The closed form against published measurements: the facts, the errors, and the stacks' differences by hand."""

import csv
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from lorakit.memory import PRESETS, TrainingPlan, estimate_memory, preset
from lorakit.memory.block import Block
from lorakit.memory.closed_form import HUGGING_FACE
from lorakit.memory.published import (
    PATH,
    STACKS,
    LitgptBlock,
    TorchtuneBlock,
    litgpt_head,
    litgpt_weights,
    published_rows,
    published_table,
)
from lorakit.memory.shape import shape_of
from lorakit.memory.tape import Tape, Tensor

LITGPT = [row for row in published_rows() if row.stack == "litgpt"]


# --- 1. The facts ---


def test_every_fact_of_every_row_is_there():
    with PATH.open(encoding="utf-8", newline="") as lines:
        for fields in csv.DictReader(lines):
            unused = {"full": {"double_quant", "r", "target_modules", "adapter_dtype"}, "lora": {"double_quant"}}
            empty = {name for name, value in fields.items() if not value}
            assert empty == unused.get(fields["method"], set()), fields["id"]
            assert fields["source"].startswith("github.com/")
    rows = published_rows()
    assert len({row.id for row in rows}) == len(rows) == 8
    assert {row.model for row in rows} <= set(PRESETS)
    assert {row.stack for row in rows} == set(STACKS)


def test_units_are_what_the_stacks_printed():
    published = {row.id: row.published_bytes for row in published_rows()}
    assert published["LITRT11"] == 21_300_000_000  # litgpt divides by 1e9
    assert published["TT3B01"] == 60 * 2**30  # torchtune by 2 ** 30


def test_litgpt_is_written_down_for_the_plans_that_it_has():
    for row in LITGPT:
        shape = shape_of(preset(row.model))
        assert row.plan.target_modules == ("q_proj", "v_proj")
        assert shape.heads == shape.kv_heads


# --- 2. The errors ---


@pytest.mark.parametrize("row", published_rows(), ids=lambda row: row.id)
def test_each_row_is_told_within_1_percent(row):
    assert abs(row.error) <= 0.01


def test_the_differences_of_the_stacks_are_what_tells_them():
    plain = [
        abs(estimate_memory(preset(row.model), row.plan, stack=HUGGING_FACE).allocated_bytes / row.published_bytes - 1)
        for row in published_rows()
    ]
    assert min(plain) > 0.02
    assert sum(plain) / len(plain) > 0.05


def test_the_table_names_every_row_stack_and_source():
    table = published_table()
    for row in published_rows():
        line = next(line for line in table.splitlines() if line.startswith(row.id))
        assert row.stack in line and row.model in line
        assert f"{row.predicted_bytes / 2**30:.2f} GiB" in line
        assert f"{row.published_bytes / 2**30:.2f} GiB" in line
        assert f"{100 * row.error:+.1f} %" in line
        assert row.source in table
    mean = sum(abs(row.error) for row in LITGPT) / len(LITGPT)
    assert f"  litgpt     {100 * mean:4.1f} %  (rows: 7)" in table


def test_the_readme_says_what_the_table_says():
    readme = " ".join((Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8").split())
    errors = [abs(row.error) for row in published_rows()]
    mean = 100 * sum(errors) / len(errors)
    assert f"seven rows of litgpt and one of torchtune to {mean:.1f} % in the mean" in readme


# --- 3. litgpt ---


def small_litgpt(method: str, rows: int = 1, tokens: int = 16) -> tuple[LitgptBlock, TrainingPlan]:
    """2 heads of 16 numbers, in a model that is 32 wide."""
    config = preset("Llama-2-7B")
    config.update({"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2})
    config.update({"head_dim": 16, "vocab_size": 100})
    plan = TrainingPlan(method, r=4, adapter_dtype="bf16", micro_batch_size=rows, seq_len=tokens)
    return LitgptBlock(shape_of(config), plan, "flash"), plan


def litgpt_attention(x: torch.Tensor, weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """What litgpt computes up to the attention's output, for 2 heads, in torch's operations: x (1, T, D)."""
    _, tokens, width = x.shape
    head = width // 2
    dropped, _ = torch.native_dropout(x, 0.05, True)
    change = F.conv1d(F.linear(dropped, a).mT, b[..., None], groups=2).mT  # (1, T, 2D)
    places = torch.tensor([i for i in range(3 * width) if i // head % 3 != 1])  # q, k, v of a head, then of the next
    padded = torch.zeros(tokens, 3 * width, dtype=x.dtype).index_copy(1, places, change[0])
    qkv = F.linear(x, weight) + 2.0 * padded
    q, k, v = qkv.view(1, tokens, 2, 3, head).permute(3, 0, 2, 1, 4)  # each (1, heads, T, head)
    half = head // 2
    turn = [torch.cat((-each[..., half:], each[..., :half]), dim=-1) for each in (q, k)]
    q, k = q * 0.6 + turn[0] * 0.8, k * 0.6 + turn[1] * 0.8
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def test_litgpts_attention_keeps_what_autograd_keeps():
    block, _ = small_litgpt("lora")
    torch.manual_seed(0)
    x = torch.randn(1, 16, 32, dtype=torch.bfloat16, requires_grad=True) * 1
    weight = torch.randn(96, 32, dtype=torch.bfloat16)
    a, b = (torch.randn(*size, dtype=torch.bfloat16, requires_grad=True) for size in ((8, 32), (64, 4)))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        litgpt_attention(x, weight, a, b)
    seeds = 8  # of the kernel's dropout, which there is none of
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in kept}
    for parameter in (weight, a, b):
        storages.pop(parameter.untyped_storage().data_ptr())
    tape = Tape()
    block.attention(tape, Tensor(x.nbytes, grad=True))
    assert sum(size for size in storages.values() if size > seeds) == tape.kept_bytes


def test_litgpts_attention_by_hand():
    # 16 tokens, D = 32, r = 4, 2 heads, bf16.
    mask, dropped, low = 16 * 32, 2 * 16 * 32, 2 * 16 * 2 * 4
    change, index, qkv = 2 * 16 * 64, 8 * 64, 2 * 16 * 96
    q = k = out = 2 * 16 * 32
    lse = 4 * 16 * 2
    lora, qlora = Tape(), Tape()
    small_litgpt("lora")[0].attention(lora, Tensor(2 * 16 * 32, grad=True))
    by_hand = mask + dropped + low + change + index + qkv + q + k + out + lse
    assert lora.kept_bytes == by_hand == 10_624
    # bitsandbytes 0.41 keeps the input of the layer of q, k and v, and that of o_proj, which is the output in order.
    small_litgpt("qlora")[0].attention(qlora, Tensor(2 * 16 * 32, grad=True))
    assert qlora.kept_bytes == by_hand + 2 * (2 * 16 * 32)


def test_litgpts_head_by_hand():
    # 2 chunks of 128 tokens, D = 32, V = 100.
    block, plan = small_litgpt("qlora", tokens=256)
    tape = Tape()
    logits = litgpt_head(tape, block.shape, plan, Tensor(2 * 256 * 32, grad=True), block)
    assert logits.bytes == 4 * 256 * 100
    norm, h, log_softmax = 4 * 256 * 32 + 4 * 256, 2 * 256 * 32, 4 * 256 * 100
    assert tape.kept_bytes == norm + h + log_softmax
    # A loss at a time: the gradients of log_softmax's result and of the logits, of 128 tokens. The latter stay, but in
    # the place of what was kept for them.
    assert tape.backward(4) == (2 * 4 * 128 * 100, 0)


def test_litgpts_head_dequantises_its_weights_when_the_losses_are_done():
    block, plan = small_litgpt("qlora", tokens=8)
    tape = Tape()
    litgpt_head(tape, block.shape, plan, Tensor(2 * 8 * 32, grad=True), block)
    log_softmax, logits_grad, input_grad = 4 * 8 * 100, 2 * 8 * 100, 2 * 8 * 32
    in_float16, in_bf16 = 2 * 32 * 100, 2 * 32 * 100
    start = 4  # the gradient of the loss, which is there when it begins, and gone by then
    assert tape.backward(4) == (in_float16 + in_bf16 + logits_grad + input_grad - log_softmax - start, 0)


def test_litgpt_quantises_its_head_and_lifts_nothing():
    shape = shape_of(preset("Llama-2-7B"))
    plan = TrainingPlan("qlora", double_quant=False, adapter_dtype="bf16")
    ours, theirs = HUGGING_FACE.weights(shape, plan), litgpt_weights(shape, plan)
    head = 4096 * 32000
    assert theirs["base_weights"] - ours["base_weights"] == head // 2
    assert theirs["quantization_constants"] - ours["quantization_constants"] == 512 + 4 * head // 64
    # The table and 65 norms in 16 bits.
    assert theirs["other_weights"] == pytest.approx(2 * (head + 65 * 4096), rel=1e-3)


# --- 4. torchtune ---


def test_torchtune_keeps_each_heads_k_and_v_and_its_rows_of_the_table():
    shape = shape_of(preset("Llama-3.2-3B"))
    plan = TrainingPlan("full", micro_batch_size=2, seq_len=64)
    kept = []
    for kind in (TorchtuneBlock, Block):
        tape = Tape()
        kind(shape, plan, "flash").record(tape, Tensor(2 * 128 * 3072, grad=True))
        kept.append(tape.kept_bytes)
    # 24 heads in the place of 8, of 128 numbers in bf16, for k and v; 64 cosines and 64 sines in float32 for q and k.
    assert kept[0] - kept[1] == 128 * (2 * 2 * (24 - 8) * 128 + 2 * 4 * 128)
