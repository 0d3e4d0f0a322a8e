"""11.1 and 11.2: what a model and its adapters fill, and what training them adds."""

from random import Random
from typing import Any

from lorakit.checks.frame import Answer, Trial, any_of, check, judge
from lorakit.memory.closed_form import EIGHT_BIT_FROM
from lorakit.models import BLOCK_SIZE
from lorakit.quantization import SCALES_PER_BLOCK
from lorakit.quantization.size import coded_bytes

GIB = 2**30
WHOLE = BLOCK_SIZE * SCALES_PER_BLOCK
"""Weights whose blocks, and groups of scales, are all full."""

# --- 11.1 ---


@check(
    "11.1",
    "Three parts, each a number of weights times bytes a weight. How many bytes does each part take with LoRA, and how "
    "many with QLoRA?",
    "With LoRA: 2 bytes for each weight of the base, 4 for each of the adapters. With QLoRA a weight of the linear "
    "layers takes half a byte and its share of the scales; what is not quantised is in float32 there.",
    "A block of 64 shares one float32, 4 / 64 bytes a weight; with double quantisation 1 / 64 + 4 / (64 * 256). Add "
    "linear * that, linear / 2, 4 * other and 4 * adapter, and divide by 2**30.",
)
def check_model_gib(answer: Answer, draw: Random) -> None:
    """`model_gib(linear, other, adapter, method, double_quant) -> float`: GiB of a base and its adapters."""
    trials = []
    cases = [("lora", draw.choice([True, False])), ("qlora", False), ("qlora", True), ("qlora", True)]
    for method, double in draw.sample(cases, len(cases)):
        linear = WHOLE * draw.randint(50_000, 800_000)
        other, adapter = draw.randint(10**8, 10**9), draw.randint(2 * 10**7, 2 * 10**8)
        returned = answer(linear, other, adapter, method, double)
        trials.append(
            Trial(
                given=f"linear = {linear}, other = {other}, adapter = {adapter}, method = {method!r} and "
                f"double_quant = {double}",
                seen=returned,
                expected=_model_bytes(linear, other, adapter, method, double) / GIB,
                mistakes=_model_mistakes(returned, linear, other, adapter, method, double),
            )
        )
    judge(trials, "the number of GiB that base and adapters fill")


def _model_bytes(linear: int, other: int, adapter: int, method: str, double: bool) -> int:
    if method == "lora":
        return 2 * (linear + other) + 4 * adapter
    return coded_bytes(linear, 4, BLOCK_SIZE, double) + 4 * other + 4 * adapter


def _model_mistakes(
    seen: Any, linear: int, other: int, adapter: int, method: str, double: bool
) -> dict[str, float | None]:
    """What each likely mistake makes of it, in GiB, by the sentence that names it."""
    right, quantised = _model_bytes(linear, other, adapter, method, double), method == "qlora"
    float_scales, byte_scales = 4 * linear / BLOCK_SIZE, linear / BLOCK_SIZE
    shared = 4 * byte_scales / SCALES_PER_BLOCK
    constants = (byte_scales + shared if double else float_scales) if quantised else 0

    def where_quantised(change: float) -> float:
        return (right + change if quantised else right) / GIB

    return {
        "These are GB, of 10**9 bytes each: a GiB has 2**30.": right / 10**9,
        "These are bytes: GiB are asked for.": right,
        "These are MiB: GiB are asked for.": right / 2**20,
        "The quantisation constants are left out: each block of 64 has a scale.": where_quantised(-constants),
        "This gives each code a byte of its own: two share one.": where_quantised(linear / 2),
        "What is not quantised is counted in 16 bits with QLoRA too: it has been lifted to float32.": where_quantised(
            -2 * other
        ),
        "This quantises all of the model: embeddings, head and norms stay in float32.": any_of(
            seen,
            where_quantised(other / 2 - 4 * other),
            where_quantised(other * (linear / 2 + constants) / linear - 4 * other),
        ),
        "This keeps the scales in float32 with double quantisation too: they shrink.": where_quantised(
            float_scales - constants
        ),
        "This shrinks the scales without double quantisation too: they stay in float32.": where_quantised(
            byte_scales + shared - constants
        ),
        "This leaves out the float32 that 256 scales share.": where_quantised(-shared if double else 0),
        "This gives the scale that 256 scales share one byte: it is a float32, of 4.": where_quantised(
            -3 * shared / 4 if double else 0
        ),
        "The adapters are left out: they are weights too.": (right - 4 * adapter) / GIB,
        "The adapters are counted in 16 bits: they are in float32.": (right - 2 * adapter) / GIB,
        "The adapters are quantised here: only the base is.": where_quantised(adapter / 2 - 4 * adapter),
        "This counts gradients and states with the adapters: only what the model fills is asked for.": any_of(
            seen, (right + 12 * adapter) / GIB, (right + 4 * adapter) / GIB, (right + 8 * adapter) / GIB
        ),
        "With LoRA the base is counted in float32: it is in bf16.": (
            right / GIB if quantised else (right + 2 * (linear + other)) / GIB
        ),
        "This quantises the base with LoRA too.": _model_bytes(linear, other, adapter, "qlora", double) / GIB,
        "This keeps the base in 16 bits with QLoRA too.": _model_bytes(linear, other, adapter, "lora", double) / GIB,
    }


# --- 11.2 ---


@check(
    "11.2",
    "What is there for each trained weight besides itself, and what for a frozen one? Go through the trained tensors "
    "one at a time: the optimizer looks at each alone.",
    "A gradient of `width` bytes a weight, whatever the optimizer is. AdamW has two states beside it, and SGD none. In "
    "8 bits each of the two is a byte a weight, and a float32 for each 256.",
    "For each n in trained: width * n for the gradient; plus 2 * width * n with adamw; with adamw_8bit "
    "2 * (n + 4 * n / 256) where n is at least 4096, and 2 * 4 * n below that.",
)
def check_training_bytes(answer: Answer, draw: Random) -> None:
    """`training_bytes(frozen, trained, width, optimizer) -> int`: bytes of gradients and of optimizer states."""
    trials = []
    # The plain optimizers first: what is wrong with a gradient is said before anything of 8 bits.
    for optimizers in (("sgd", "adamw"), ("adamw_8bit",)):
        cases = [(optimizer, width) for optimizer in optimizers for width in (2, 4)]
        for optimizer, width in draw.sample(cases, len(cases)):
            large = [32_768 * draw.randint(1, 9) for _ in range(draw.randint(2, 4))]
            small = [256 * draw.randint(2, 15) for _ in range(draw.randint(1, 3))]
            sizes = [*large, *small, EIGHT_BIT_FROM]  # and the very first size that is kept in 8 bits
            trained = draw.sample(sizes, len(sizes))
            frozen = draw.randint(10**6, 10**8)
            returned = answer(frozen, trained, width, optimizer)
            trials.append(
                Trial(
                    given=f"frozen = {frozen}, trained = {trained}, width = {width} and optimizer = {optimizer!r}",
                    seen=returned,
                    expected=width * sum(trained) + _states(trained, width, optimizer),
                    mistakes=_training_mistakes(returned, frozen, trained, width, optimizer),
                )
            )
        judge(trials, "the number of bytes of gradients and optimizer states")


def _states(trained: list[int], width: int, optimizer: str) -> int:
    """Bytes of the states, tensor by tensor."""
    return sum(_of_tensor(n, width, optimizer) for n in trained)


def _of_tensor(weights: int, width: int, optimizer: str) -> int:
    if optimizer == "sgd":
        return 0
    if optimizer == "adamw":
        return 2 * width * weights
    return 2 * (weights + 4 * -(-weights // 256)) if weights >= EIGHT_BIT_FROM else 2 * 4 * weights


def _training_mistakes(
    seen: Any, frozen: int, trained: list[int], width: int, optimizer: str
) -> dict[str, float | None]:
    """What each likely mistake makes of it, by the sentence that names it."""
    count, states = sum(trained), _states(trained, width, optimizer)
    gradients = width * count
    right = gradients + states
    adamw, eight_bits = optimizer == "adamw", optimizer == "adamw_8bit"
    small = sum(n for n in trained if n < EIGHT_BIT_FROM)
    large = count - small

    def in_8_bits(change: float) -> float:
        return right + change if eight_bits else right

    at_the_limit = 8 * EIGHT_BIT_FROM - _of_tensor(EIGHT_BIT_FROM, width, "adamw_8bit")
    return {
        "A tensor of exactly 4,096 weights has its states in 8 bits too: at least 4,096 it says.": in_8_bits(
            at_the_limit
        ),
        "Gradients of frozen weights are counted: they get none.": any_of(
            seen, right + width * frozen, right + 4 * frozen, right + 2 * frozen
        ),
        "Frozen weights are given states too: the optimizer never sees them.": any_of(
            seen,
            right + _of_tensor(frozen, width, optimizer),
            right + width * frozen + _of_tensor(frozen, width, optimizer),
        ),
        "Adam's two states are forgotten.": gradients,
        "AdamW keeps two states for each weight: this counts one.": gradients + states / 2,
        "The gradients are left out.": states,
        "Gradients have the dtype of their weights: here they always take 4 bytes.": right + (4 - width) * count,
        "The root that AdamW takes as it steps is counted: it is to be left out here.": (
            right + gradients if adamw else right
        ),
        "The trained weights themselves are counted too: only what training adds is asked for.": right + gradients,
        "This gives SGD states: it needs none here.": right if states else right + 2 * gradients,
        "AdamW's states have the dtype of their weights: here they always take 4 bytes.": (
            gradients + 8 * count if adamw else right
        ),
        "AdamW is counted in 8 bits: those are adamw_8bit's.": (
            gradients + _states(trained, width, "adamw_8bit") if adamw else right
        ),
        "adamw_8bit is counted like adamw: most of its states take a byte.": in_8_bits(2 * gradients - states),
        "This keeps the states of small tensors in 8 bits too: below 4,096 weights they are float32.": in_8_bits(
            2 * (small + 4 * small / 256) - 8 * small
        ),
        "The states of small tensors are counted in the dtype of their weights: with adamw_8bit they are float32.": (
            in_8_bits((2 * width - 8) * small)
        ),
        "The scales of the 8-bit states are left out: each 256 share a float32.": in_8_bits(-8 * large / 256),
        "This counts one scale for both states: each has its own.": in_8_bits(-4 * large / 256),
        "A scale is a float32 of 4 bytes: this counts 1.": in_8_bits(-6 * large / 256),
        "The gradients are counted in 8 bits: only the states are.": in_8_bits((1 - width) * count),
    }
