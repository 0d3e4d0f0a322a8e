"""What a quantised weight is, and that it is bitsandbytes' in every bit."""

import math

import bitsandbytes.functional as bnb
import pytest
import torch
import torch.nn.functional as F
from bitsandbytes.nn import Linear4bit, Linear8bitLt

from lorakit import LorakitError
from lorakit.lora import count_lora_parameters
from lorakit.models import empty_model, linear_shapes, load_model, weight_bytes
from lorakit.quantization import (
    BLOCK_SIZES,
    base_bytes,
    code_book,
    dynamic_levels,
    layer_bytes,
    nearest,
    quantize,
    quantize_scales,
)
from lorakit.quantization.blocks import on_grid
from lorakit.quantization.size import coded_bytes

TYPES = ["nf4", "fp4", "int4", "int8"]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def test_hand_worked_examples():
    # 100 x 30 weights: 1500 bytes of codes, 47 blocks (the last not full), 1 group of scales
    assert layer_bytes(100, 30, "nf4", True, torch.float32) == 1500 + 47 + 4
    assert layer_bytes(100, 30, "fp4", False, torch.float32) == 1500 + 47 * 4
    assert layer_bytes(100, 30, "int8", True, torch.float32) == 3000 + 30 * 4
    assert layer_bytes(100, 30, None, True, torch.float32) == 12_000
    assert layer_bytes(100, 30, None, True, torch.bfloat16) == 6_000
    assert layer_bytes(3, 3, "nf4", False, torch.float32) == 5 + 4  # an odd number of codes


@pytest.mark.parametrize("double_quant", [False, True])
@pytest.mark.parametrize("quant_type", TYPES)
def test_bytes_of_blocks_are_those_of_a_quantised_tensor(quant_type, double_quant):
    assert coded_bytes(100 * 30, 8, 32, False) == 3000 + 94 * 4
    assert coded_bytes(100 * 300, 4, 64, True) == 15_000 + 469 + 2 * 4
    bits = 8 if quant_type == "int8" else 4
    for block_size in BLOCK_SIZES:
        for shape in [(1, 1), (3, 3), (33, 65), (300, 100)]:
            quantized = quantize(torch.randn(shape), quant_type, block_size, double_quant)
            weights = quantized.shape.numel()
            # and the mean of the scales
            assert quantized.nbytes == coded_bytes(weights, bits, block_size, double_quant) + 4 * double_quant


def test_an_unknown_quant_type_is_named():
    with pytest.raises(LorakitError, match="quant_type 'int4' is unknown"):
        layer_bytes(64, 64, "int4", True, torch.float32)


def bytes_of(model):
    """All that a loaded base keeps: its weights as they are stored, and the scales beside them."""
    size = weight_bytes(model)
    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            state = layer.weight.quant_state
            size += state.absmax.nbytes + (state.state2.absmax.nbytes if state.nested else 0)
        elif isinstance(layer, Linear8bitLt):
            size += layer.weight.SCB.nbytes
    return size


@pytest.mark.parametrize(
    ("quant_type", "double_quant"), [(None, True), ("int8", True), ("nf4", True), ("nf4", False), ("fp4", True)]
)
def test_a_loaded_base_fills_just_these_bytes(tiny_folder, quant_type, double_quant):
    model, _ = load_model(tiny_folder, quant_type=quant_type, double_quant=double_quant, device="cpu")
    empty = empty_model(model)
    found = base_bytes(empty.num_parameters(), linear_shapes(empty), quant_type, double_quant, torch.float32)
    assert found == bytes_of(model)


def test_the_default_model_in_nf4():
    model, _ = load_model(quant_type="nf4", device="cpu")
    empty = empty_model(model)
    assert empty.num_parameters() == 134_515_008
    assert base_bytes(134_515_008, linear_shapes(empty), "nf4", True, torch.float32) == bytes_of(model)
    assert count_lora_parameters(model, 8, ["q_proj", "v_proj"]) == 460_800


# --- code books ---


def test_the_code_books_are_bitsandbytes_in_every_bit():
    for quant_type in ("nf4", "fp4"):
        assert torch.equal(code_book(quant_type), bnb.get_4bit_type(quant_type, device="cpu"))
    assert torch.equal(dynamic_levels(), bnb.create_dynamic_map())


def test_nf4_levels_are_quantiles_of_a_normal():
    levels = code_book("nf4")
    largest = torch.special.ndtri(torch.tensor(1 - (1 / 32 + 1 / 30) / 2))
    below = torch.special.ndtr(levels * largest)  # the share of normal weights below each level
    assert levels[7] == 0 and levels[0] == -1 and levels[15] == 1
    torch.testing.assert_close(below[:8].diff(), torch.full((7,), below[7].sub(below[0]).item() / 7))
    torch.testing.assert_close(below[7:].diff(), torch.full((8,), below[15].sub(below[7]).item() / 8))


def test_integer_levels_are_evenly_spaced_and_reach_one_on_both_sides():
    assert (code_book("int4") * 7).round().int().tolist() == [*range(8), *range(-8, 0)]
    assert (code_book("int8") * 127).round().int().tolist() == [*range(128), *range(-128, 0)]


# --- quantise and dequantise ---


def test_a_block_by_hand():
    weight = torch.zeros(32)
    weight[:4] = torch.tensor([8.0, -4.0, 0.0, 1.0])
    found = quantize(weight, "nf4", block_size=32)
    # Over 8: 1, -0.5, 0, 0.125. Nearest in NF4: 1 (code 15), -0.525 (2), 0 (7) and 0.161 (9), since 0.125 is above the
    # middle of 0.080 and 0.161.
    assert found.absmax.tolist() == [8]
    assert found.codes.tolist() == [0xF2, 0x79] + [0x77] * 14
    assert found.dequantize()[:5].tolist() == pytest.approx([8, -4.200584, 0, 1.287442, 0])
    assert found.nbytes == 16 + 4


@pytest.mark.parametrize("quant_type", ["int4", "int8"])
def test_integers_by_hand(quant_type):
    weight = torch.tensor([7.0, -7.0, 2.6, -2.6] + [0.0] * 29)  # a block of 32, and one of its own for the last
    found = quantize(weight, quant_type, block_size=32)
    if quant_type == "int4":
        assert found.codes.tolist() == [0x79, 0x3D] + [0] * 15  # 7, -7, 3, -3, in two's complement
        assert found.dequantize()[:4].tolist() == pytest.approx([7, -7, 3, -3])
    else:
        assert found.codes.view(torch.int8).tolist() == [127, -127, 47, -47] + [0] * 29  # 127 * 2.6 / 7 = 47.2
    assert found.dequantize().shape == weight.shape


@pytest.mark.parametrize("quant_type", TYPES)
@pytest.mark.parametrize("shape", [(24, 64), (7, 5), (3, 4, 5), (1,)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_no_weight_is_off_by_more_than_half_the_widest_gap(quant_type, shape, dtype):
    torch.manual_seed(0)
    weight = torch.randn(shape).to(dtype)
    for block_size in (32, 128):
        found = quantize(weight, quant_type, block_size)
        assert found.dequantize().shape == shape and found.dequantize().dtype == dtype
        levels = code_book(quant_type).sort().values
        scale = found.absmax.repeat_interleave(block_size)[: weight.numel()].view(shape)
        off = (found.dequantize(torch.float32) - weight.float()).abs() / scale
        assert off.max() <= levels[levels >= -1].diff().max() / 2 + 1e-6


@pytest.mark.parametrize("quant_type", TYPES)
def test_a_block_times_a_power_of_two_changes_its_scale_alone(quant_type):
    torch.manual_seed(0)
    blocks, powers = torch.randn(20, 64), 2.0 ** torch.randint(-20, 20, (20, 1))
    plain, scaled = quantize(blocks, quant_type), quantize(blocks * powers, quant_type)
    assert torch.equal(scaled.codes, plain.codes)
    assert torch.equal(scaled.absmax, plain.absmax * powers.flatten())
    assert torch.equal(scaled.dequantize(), plain.dequantize() * powers)


@pytest.mark.parametrize("quant_type", TYPES)
def test_what_was_rounded_once_stays(quant_type):
    torch.manual_seed(0)
    once = quantize(torch.randn(10, 64), quant_type).dequantize()
    # The largest of a block is a level of its own, so the scale stays, and with it every level.
    assert torch.equal(quantize(once, quant_type).dequantize(), once)


def test_smaller_blocks_and_better_levels_are_nearer_to_normal_weights():
    torch.manual_seed(0)
    weight = torch.randn(256, 4096)

    def error(quant_type, block_size):
        return (quantize(weight, quant_type, block_size).dequantize() - weight).square().mean().item()

    for quant_type in TYPES:
        errors = [error(quant_type, size) for size in BLOCK_SIZES]
        assert errors == sorted(errors)
    assert error("int8", 64) < error("nf4", 64) < error("int4", 64) < error("fp4", 64)


# --- equal to bitsandbytes ---


def draws(count):
    """Weights of many kinds, (count,) float32."""
    generator = torch.Generator().manual_seed(0)
    normal, other = torch.randn(2, count, generator=generator)
    yield "normal", normal
    yield "Student's t, 2 degrees of freedom", normal / torch.empty(count).exponential_(1, generator=generator).sqrt()
    yield "Cauchy", normal / other
    yield "constant", torch.full((count,), 0.3)
    yield "negative constant", torch.full((count,), -0.3)
    yield "zeros", torch.zeros(count)
    yield "minus zeros", -torch.zeros(count)
    yield "some blocks of zeros", normal * (torch.arange(count) // 300 % 2)
    yield "around the least normal float", normal * 1e-38
    yield "below it", normal * 1e-42
    yield "eighths, with many ties", (normal * 8).round() / 8


def flushed(weight):
    """What a CPU with AVX512-BF16 leaves of bf16 weights: zeros up to the least normal one, before it rounds."""
    if weight.dtype != torch.bfloat16 or not bnb.has_avx512bf16():
        return weight
    return weight.where(weight.abs() > torch.finfo(weight.dtype).smallest_normal, 0)


def assert_is_bitsandbytes(weight, quant_type, block_size, double_quant):
    ours = quantize(weight, quant_type, block_size, double_quant)
    codes, state = bnb.quantize_4bit(
        weight, blocksize=block_size, quant_type=quant_type, compress_statistics=double_quant
    )
    assert torch.equal(ours.codes, codes.flatten())
    if double_quant:
        assert torch.equal(ours.absmax.codes, state.absmax)
        assert torch.equal(ours.absmax.absmax, state.state2.absmax)
        assert torch.equal(ours.absmax.mean, state.offset)
    else:
        assert torch.equal(ours.absmax, state.absmax)
    with torch.compiler.set_stance("force_eager"):  # for odd sizes it compiles, which takes seconds
        theirs = bnb.dequantize_4bit(codes, state).view(weight.shape)
    assert torch.equal(flushed(ours.dequantize()), flushed(theirs)) and ours.dequantize().dtype == theirs.dtype
    return ours


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("double_quant", [False, True], ids=["plain", "double"])
@pytest.mark.parametrize("quant_type", ["nf4", "fp4"])
def test_codes_scales_and_weights_are_bitsandbytes(quant_type, double_quant, dtype):
    tried = 0
    # Whole blocks, a short last one, an odd number of weights, and fewer of them than a block holds.
    for block_size, count in ((64, 64 * 300), (32, 32 * 9 + 12), (128, 128 * 5 + 1), (2048, 5001), (256, 63), (64, 1)):
        for _, weight in draws(count):
            weight = weight.to(dtype)
            if weight.isfinite().all():  # Cauchy's tails overflow float16
                assert_is_bitsandbytes(weight, quant_type, block_size, double_quant)
                tried += 1
    assert tried >= 60


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
@pytest.mark.parametrize("quant_type", ["nf4", "fp4"])
def test_every_block_size_of_bitsandbytes(quant_type, block_size):
    torch.manual_seed(0)
    for weight in (torch.randn(6, 4096), torch.randn(3 * 4096 + 77)):
        for double_quant in (False, True):
            ours = assert_is_bitsandbytes(weight, quant_type, block_size, double_quant)
            assert ours.nbytes == -(-weight.numel() // 2) + ours.absmax.nbytes


@pytest.mark.parametrize("quant_type", ["nf4", "fp4"])
def test_ties_go_where_bitsandbytes_sends_them(quant_type):
    levels = code_book(quant_type).sort().values
    middles = (levels[:-1] + levels[1:]) / 2
    up, down = torch.tensor(math.inf), torch.tensor(-math.inf)
    weight = torch.ones(64)
    weight[:45] = torch.cat([middles, middles.nextafter(up), middles.nextafter(down)])
    assert_is_bitsandbytes(weight, quant_type, 64, False)
    found = quantize(weight, quant_type).dequantize()
    assert torch.equal(found[:15], levels[:-1])  # a tie takes the lower level
    assert torch.equal(found[15:30], levels[1:]) and torch.equal(found[30:45], levels[:-1])


def test_fp4_gives_what_is_just_above_zero_its_minus_zero():
    weight = torch.ones(64)
    weight[:4] = torch.tensor([0.0, -0.0, 1e-4, -1e-4])
    assert assert_is_bitsandbytes(weight, "fp4", 64, False).codes[:2].tolist() == [0x00, 0x80]


def test_times_a_reciprocal_is_not_divided_by():
    torch.manual_seed(0)
    weight = torch.randn(256, 256).bfloat16()
    blocks = weight.float().view(-1, 64)
    divided = nearest(blocks / blocks.abs().amax(1, keepdim=True), code_book("fp4")).flatten()
    ours = assert_is_bitsandbytes(weight, "fp4", 64, False)
    differ = ((divided[0::2] << 4 | divided[1::2]) != ours.codes).sum().item()
    assert 0 < differ < 0.002 * weight.numel()


def test_codes_of_scales_are_bitsandbytes_where_the_grid_decides():
    generator = torch.Generator().manual_seed(0)
    scales = torch.empty(200_003).log_normal_(generator=generator)
    ours = quantize_scales(scales)
    theirs, state = bnb.quantize_blockwise(scales - scales.mean(), blocksize=256)
    assert torch.equal(ours.codes, theirs) and torch.equal(ours.absmax, state.absmax)
    assert torch.equal(ours.dequantize(), bnb.dequantize_blockwise(theirs, state) + scales.mean())
    # Around every place where the grid goes from one code to the next, 40 floats on either side.
    steps = -1 + 2 * torch.arange(65_536) / 65_535
    changes = nearest(steps, dynamic_levels()).int().diff().nonzero().flatten()
    up = down = (steps[changes] + steps[changes + 1]) / 2
    around = [up]
    for _ in range(40):
        up, down = up.nextafter(torch.tensor(2.0)), down.nextafter(torch.tensor(-2.0))
        around += [up, down]
    blocks = F.pad(torch.cat(around), (0, -len(changes) * 81 % 255)).view(-1, 255)
    blocks = F.pad(blocks, (1, 0), value=1.0).flatten()  # each with a one, so that it is scaled by one
    theirs, _ = bnb.quantize_blockwise(blocks, blocksize=256)
    assert torch.equal(nearest(on_grid(blocks), dynamic_levels()), theirs)
    values = torch.linspace(-1, 1, 100_001)
    off_grid = nearest(values, dynamic_levels()) != nearest(on_grid(values), dynamic_levels())
    assert 0 < off_grid.sum() < 0.01 * len(values)


def test_the_real_weights_are_bitsandbytes():
    model, _ = load_model(device="cpu")
    for name in ("layers.0.self_attn.q_proj", "layers.11.mlp.gate_proj", "layers.29.mlp.down_proj"):
        weight = model.model.get_submodule(name).weight.detach()
        for dtype in DTYPES:
            for quant_type in ("nf4", "fp4"):
                for double_quant in (False, True):
                    assert_is_bitsandbytes(weight.to(dtype), quant_type, 64, double_quant)


def test_rows_that_do_not_divide_into_blocks():
    """With AVX-512 bitsandbytes 0.50 takes the wrong scales for such rows; elsewhere it takes the right ones."""
    torch.manual_seed(0)
    weight = torch.randn(8, 576)
    codes, state = bnb.quantize_4bit(weight, blocksize=128, quant_type="nf4")
    ours = quantize(weight, "nf4", 128)
    assert torch.equal(ours.codes, codes.flatten())
    assert (ours.dequantize() - weight).abs().mean() < 0.1
    right = torch.equal(ours.dequantize(), bnb.dequantize_4bit(codes, state))
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        assert right
    elif right:
        pytest.fail(
            "bitsandbytes dequantises rows rightly now that do not divide into blocks: lorakit/models/load.py and "
            "lorakit/quantization/linear.py need not refuse them any more"
        )


# --- what is refused ---


@pytest.mark.parametrize(
    ("weight", "options", "message"),
    [
        (torch.ones(64), {"quant_type": "nf3"}, "quant_type 'nf3' is unknown: use 'nf4', 'fp4', 'int4' or 'int8'"),
        (torch.ones(64), {"block_size": 48}, "block_size 48 is not one of 32, 64, 128"),
        (torch.ones(64).int(), {}, r"holds torch\.int32, and only floats"),
        (torch.tensor([1.0, math.nan]), {}, "holds NaN or infinity"),
        (torch.tensor([1.0, -math.inf]), {}, "holds NaN or infinity"),
        (torch.tensor([1e39], dtype=torch.float64), {}, "holds NaN or infinity"),  # more than float32 can hold
        (torch.empty(0, 64), {}, r"empty \(shape \(0, 64\)\)"),
    ],
    ids=["type", "block", "integers", "NaN", "infinity", "overflow", "empty"],
)
def test_what_cannot_be_quantised_is_refused(weight, options, message):
    with pytest.raises(LorakitError, match=message):
        quantize(weight, **{"quant_type": "nf4", **options})
