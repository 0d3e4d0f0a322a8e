"""What `show_quantization` says is what `lorakit.quantization` gives, at every setting."""

import math
import random
import re
from html import unescape
from itertools import pairwise
from xml.etree import ElementTree

import pytest
import torch
from test_explorer import EVIL, SVG, picture, texts
from transformers import GPT2Config, LlamaConfig

from lorakit import LorakitError
from lorakit.models import empty_model, linear_shapes
from lorakit.quantization import BLOCK_SIZES, QuantizedLinear, base_bytes, code_book, quantize
from widgets import quantization, show_quantization
from widgets.quantization import QUANT_TYPES, histogram, percent, significant
from widgets.quantization_picture import BARS, BOTTOM, HILL, level_in_words, place

CONFIG = LlamaConfig(
    vocab_size=1000, hidden_size=192, intermediate_size=320, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, tie_word_embeddings=True,
)  # fmt: skip


def tailed(*shape):
    """Weights of which a few are large."""
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0)) ** 3


def by_hand():
    """Two rows of 32, whose int4 codes can be worked out: 7, 3, -1 and zeros over 7; -7 and 1's over 14 / 7."""
    return torch.tensor([[7, 3.4, -1] + 29 * [0], [-14] + 31 * [1.2]])


def drawn(explorer, name):
    """The paths of a class that are shown at this value."""
    svg, _ = picture(explorer)
    return [path.get("d") for path in svg.iter(f"{SVG}path") if path.get("class") == name]


# ------------------------------------------------------------------------------------------------- the numbers


def test_a_weight_worked_out_by_hand():
    explorer = show_quantization(by_hand(), quant_type="int4", block_size=32, double_quant=False)
    # Off by 0.4 once and by 2 - 1.2 = 0.8 in 31 places: 20 in squares, of 49 + 11.56 + 1 + 196 + 31 * 1.44 = 302.2.
    assert explorer.describe(explorer.value).results == {
        "Root mean square error": "0.559",  # the root of 20 / 64
        "Relative error": "25.73 %",  # the root of 20 / 302.2
        "Largest error": "0.800",
        "Bits a parameter": "5.000",  # 32 bytes of codes, 8 of scales
        "Entropy of the codes": "1.40 of 4 bits",  # 31/64, 29/64 and four of 1/64
    }
    explorer.value = {"double_quant": True}
    assert explorer.describe(explorer.value).results["Bits a parameter"] == "5.250"  # 2 bytes, 4 and 4 for the mean


def check_against_quantize(explorer, weight):
    """All results at the explorer's value."""
    quantized = quantize(weight, **explorer.value)
    bits = 8 if explorer.value["quant_type"] == "int8" else 4
    codes = quantized.codes
    if bits == 4:
        codes = torch.stack([codes >> 4, codes & 15], 1).flatten()[: weight.numel()]
    shares = codes.int().bincount(minlength=2**bits).double() / weight.numel()
    difference = quantized.dequantize(torch.float32).double() - weight.double()
    results = explorer.describe(explorer.value).results
    assert float(results["Bits a parameter"]) == pytest.approx(8 * quantized.nbytes / weight.numel(), abs=0.000501)
    relative = float(results["Relative error"].removesuffix(" %"))
    rms = difference.square().mean().sqrt().item()
    assert float(results["Root mean square error"]) == pytest.approx(rms, rel=0.0051)
    assert relative == pytest.approx(100 * (difference.norm() / weight.double().norm()).item(), abs=0.00501)
    assert float(results["Largest error"]) == pytest.approx(difference.abs().max().item(), rel=0.0051)
    entropy = torch.special.entr(shares).sum().item() / math.log(2)
    said, of = re.fullmatch(r"(.*) of (\d) bits", results["Entropy of the codes"]).groups()
    assert (float(said), int(of)) == (pytest.approx(entropy, abs=0.00501), bits)
    return quantized, shares.tolist()


@pytest.mark.parametrize("shape", [(33, 65), (64, 128)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_setting_is_what_quantize_gives(shape, dtype):
    weight = torch.nn.Parameter(tailed(*shape).to(dtype))
    explorer, before = show_quantization(weight), weight.detach().clone()
    sizes = [size for size in BLOCK_SIZES if size <= weight.numel()]
    assert [option["value"] for option in explorer.controls[1]["options"]] == sizes
    for quant_type in QUANT_TYPES:
        for block_size in sizes:
            for double_quant in (False, True):
                explorer.value = {"quant_type": quant_type, "block_size": block_size, "double_quant": double_quant}
                check_against_quantize(explorer, weight.detach())
    assert torch.equal(weight, before)


def test_a_larger_weight_is_sampled_by_whole_rows(monkeypatch):
    monkeypatch.setattr(quantization, "SAMPLE", 1000)
    weight = tailed(100, 64)
    explorer = show_quantization(weight)
    check_against_quantize(explorer, weight[::7])  # 6,400 numbers: every 7th row, 15 of them
    assert " Shown are 15 of its 100 rows, at equal distances." in explorer.describe(explorer.value).caption
    whole = show_quantization(weight[:15])
    assert "Shown are" not in whole.describe(whole.value).caption


def test_the_histogram_is_of_weights_over_their_block_s_absmax():
    weight = tailed(33, 65)
    for block_size in (32, 512):
        expected = [0] * 101
        for block in weight.flatten().split(block_size):
            for scaled in (block.double() / block.abs().max()).tolist():
                expected[min(100, int((scaled + 1) * 50.5))] += 1
        found = torch.tensor(histogram(weight, block_size)) * weight.numel()
        assert found.sum().item() == pytest.approx(weight.numel())
        assert (found - torch.tensor(expected)).abs().sum() <= 4  # one at the edge of two bins may change over
    zeros = torch.cat([torch.zeros(1, 32), torch.ones(1, 32)])
    assert [histogram(zeros, 32)[bin_] for bin_ in (0, 50, 100)] == [0, 0.5, 0.5]


# ------------------------------------------------------------------------------------------------- the model


@pytest.mark.parametrize("double_quant", [False, True])
@pytest.mark.parametrize("quant_type", ["fp4", "nf4"])
def test_the_model_s_bytes_are_those_of_a_base(quant_type, double_quant):
    explorer = show_quantization(tailed(64, 192), CONFIG, quant_type, 64, double_quant)
    empty = empty_model(CONFIG)
    expected = base_bytes(empty.num_parameters(), linear_shapes(empty), quant_type, double_quant, torch.bfloat16)
    results = explorer.describe(explorer.value).results
    assert results["Model in memory"].startswith(f"{expected:,} bytes")
    assert results["Model in 16 bits"].startswith(f"{2 * empty.num_parameters():,} bytes")


@pytest.mark.parametrize(("quant_type", "block_size"), [("int8", 64), ("int4", 32), ("nf4", 32)])
def test_the_model_s_bytes_are_those_of_its_layers(quant_type, block_size):
    explorer = show_quantization(tailed(64, 192), CONFIG, quant_type, block_size)
    empty = empty_model(CONFIG)
    stored, rest = 0, empty.num_parameters()
    for in_features, out_features in linear_shapes(empty).values():
        layer = QuantizedLinear(torch.nn.Linear(in_features, out_features, bias=False), quant_type, block_size, True)
        stored += sum(buffer.nbytes for buffer in layer.buffers()) - 4  # but for the mean of the scales
        rest -= in_features * out_features
    assert explorer.describe(explorer.value).results["Model in memory"].startswith(f"{stored + 2 * rest:,} bytes")


def test_the_default_model_from_its_config_alone():
    config = LlamaConfig(vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
        num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True)  # fmt: skip
    explorer = show_quantization(tailed(64, 576), config)
    results = explorer.describe(explorer.value).results
    assert results["Model in memory"] == "111,462,576 bytes (106.30 MiB)"
    assert results["Model in 16 bits"] == "269,030,016 bytes (256.57 MiB)"
    assert results["Bits a parameter"] == "4.128"  # of 576 scales, which make 3 blocks: 2.25 would do
    assert "Model: LlamaForCausalLM, its linear layers but the output head" in explorer.describe(explorer.value).caption
    without = show_quantization(tailed(64, 576))
    assert "Model" not in " ".join(without.describe(without.value).results) + without.describe(without.value).caption


def test_rows_that_do_not_divide_into_blocks_are_named():
    explorer = show_quantization(tailed(64, 192), CONFIG)  # layers have 192 and 320 inputs
    said = {32: "", 64: "", 128: "Rows of 192 and 320", 4096: "Rows of 192 and 320"}
    for block_size, rows in said.items():
        explorer.value = {"block_size": block_size}
        caption = explorer.describe(explorer.value).caption
        assert ("do not divide" in caption, rows in caption) == (bool(rows), True)
    alone = show_quantization(tailed(64, 192), block_size=128)
    refusal = "Rows of 192 do not divide into such blocks: QuantizedLinear refuses them."
    assert refusal in alone.describe(alone.value).caption
    with pytest.raises(LorakitError, match="192 inputs do not divide into blocks of 128"):
        QuantizedLinear(torch.nn.Linear(192, 64), block_size=128)


# ------------------------------------------------------------------------------------------------- the drawing


@pytest.mark.parametrize("quant_type", QUANT_TYPES)
def test_the_ruler_has_the_levels_and_the_bars_their_shares(quant_type):
    weight = tailed(33, 65)
    explorer = show_quantization(weight, quant_type=quant_type, block_size=512)
    _, shares = check_against_quantize(explorer, weight)
    levels = sorted({level for level in code_book(quant_type).tolist() if level >= -1})
    assert len(levels) == {"int8": 255, "int4": 15, "fp4": 15, "nf4": 16}[quant_type]
    ruler = [float(re.match(r"M([\d.]+) ", path)[1]) for path in drawn(explorer, "level")]
    assert ruler == [place(level) for level in levels]

    svg, _ = picture(explorer)
    (top,) = [float(text.removesuffix(" %")) for text in texts(svg) if re.fullmatch(r"[\d.]+ %", text)][-1:]
    (bars,) = drawn(explorer, "share")
    heights = [float(height) for height in re.findall(r"v(-?[\d.]+)", bars)]
    by_level = dict.fromkeys(levels, 0)
    for level, share in zip(code_book(quant_type).tolist(), shares, strict=True):
        if level >= -1:
            by_level[level] += share
    assert sum(by_level.values()) == pytest.approx(1)
    expected = [-100 * share / top * (BOTTOM - BARS) for share in by_level.values()]
    assert heights == pytest.approx(expected, abs=0.051)
    edges = [(float(left), float(right)) for left, right in re.findall(r"M([\d.]+) [^H]*H([\d.]+)", bars)]
    for place_of, (left, right) in zip(ruler, edges, strict=True):
        assert left - 0.6 <= place_of <= right + 0.6  # a bar stands at its level


def test_the_histogram_changes_with_the_block_size_and_the_ruler_with_the_type():
    explorer = show_quantization(tailed(64, 128))
    seen = {}
    for quant_type in QUANT_TYPES:
        for block_size in (32, 4096):
            explorer.value = {"quant_type": quant_type, "block_size": block_size}
            (hill,), (bars,) = drawn(explorer, "hill"), drawn(explorer, "share")
            seen[quant_type, block_size] = hill, tuple(drawn(explorer, "level")), bars
            steps = [HILL - float(y) for y in re.findall(r"V([\d.]+)H", hill)]
            assert len(steps) == 101
            assert steps == pytest.approx([steps_of * max(steps) / max(histogram(tailed(64, 128), block_size))
                for steps_of in histogram(tailed(64, 128), block_size)], abs=0.11)  # fmt: skip
    assert len({hill for hill, _, _ in seen.values()}) == 2
    assert len({ruler for _, ruler, _ in seen.values()}) == 4
    assert len({bars for _, _, bars in seen.values()}) == 8


def test_no_two_texts_of_a_ruler_touch():
    for quant_type in QUANT_TYPES:
        svg, _ = picture(show_quantization(tailed(64, 128), quant_type=quant_type))
        named = [text for text in svg.iter(f"{SVG}text") if text.get("class") == "named"]
        ends = sorted((float(text.get("x")), 7.1 * len(text.text) / 2) for text in named)  # 11.5 px, equally wide
        assert all(x + half < next_x - next_half for (x, half), (next_x, next_half) in pairwise(ends))
        assert len(named) >= 13
        assert "0.00" in [text.text for text in named]


def test_without_a_kernel_there_is_a_picture():
    explorer = show_quantization(tailed(64, 128), CONFIG, "fp4", 128, False)
    svg, alt = picture(explorer)
    shown, described = texts(svg), explorer.describe(explorer.value)
    assert shown[:4] == ["A weight of 64 × 128 numbers, quantised", "quant type: fp4", "block size: 128",
        "double quantisation: off"]  # fmt: skip
    assert shown[4:11] == [f"{label}: {text}" for label, text in described.results.items()]
    assert [text for text in shown if "levels of" in text and text[0] == "1"] == [
        "15 levels of fp4: a float of 4 bits; two codes stand for zero"
    ]
    assert unescape(alt).endswith(described.caption)
    assert "quant type: fp4; block size: 128; double quantisation: off; Root mean square error: " in alt
    assert ElementTree.fromstring(explorer.drawing).get("style") is None  # what the browser gets has no value in it


def test_the_caption_names_the_level_that_most_weights_have():
    explorer = show_quantization(by_hand(), quant_type="int4", block_size=32)
    caption = explorer.describe(explorer.value).caption
    assert "under the 15 levels of int4." in caption
    assert "Level 0.14 has the most, 48.4 %, and −0.86 the least, 0.0 %." in caption


def test_a_model_s_name_is_text():
    config = LlamaConfig(**CONFIG.to_dict())
    config._name_or_path = f"{EVIL}\x08"
    explorer = show_quantization(tailed(64, 192), config)
    svg, alt = picture(explorer)
    assert f"Model: {EVIL}<0x08>, its linear" in explorer.describe(explorer.value).caption
    assert not list(svg.iter("img"))
    assert "&lt;img src=x" in alt


# ------------------------------------------------------------------------------------------------- what is set


def test_what_is_set_can_be_read_set_and_quantised_with():
    weight, draw = tailed(64, 128), random.Random(0)
    explorer = show_quantization(weight)
    assert explorer.value == {"quant_type": "nf4", "block_size": 64, "double_quant": True}
    for _ in range(5):
        setting = {"quant_type": draw.choice(QUANT_TYPES), "block_size": draw.choice(BLOCK_SIZES[:4])}
        explorer.value = setting
        assert explorer.value == {**setting, "double_quant": True}
        quantize(weight, **explorer.value)
    with pytest.raises(LorakitError, match="block_size 96 is not on this control: choose from 32, 64, 128"):
        explorer.value = {"block_size": 96}
    assert explorer.value == {**setting, "double_quant": True}


@pytest.mark.parametrize(
    ("weight", "options", "message"),
    [
        (torch.nn.Linear(8, 8), {}, r"Linear is no tensor: take a layer's weight, such as layer\.weight"),
        (torch.ones(64), {}, r"the weight has the shape \(64,\): take a linear layer's, which is 2-D"),
        (torch.ones(8, 8, dtype=torch.uint8), {}, r"holds torch\.uint8, and only floats are quantised"),
        (torch.ones(0, 8), {}, r"the weight is empty \(shape \(0, 8\)\)"),
        (torch.full((8, 8), torch.nan), {}, "the weight holds NaN or infinity"),
        (torch.full((8, 8), -torch.inf), {}, "the weight holds NaN or infinity"),
        (torch.zeros(8, 8), {}, "nothing but zeros in the weight, and no error to see: take one that was trained"),
        (torch.ones(4, 8), {}, r"has 32 numbers, and a block 64: take a smaller block_size or a larger weight"),
        (torch.ones(1, 31), {"block_size": 32}, r"has 31 numbers, and a block 32: .* \(of 32 numbers at least\)"),
        (torch.ones(8, 8), {"block_size": 48}, "block_size 48 is not one of 32, 64, 128"),
        (torch.ones(8, 8), {"quant_type": "int3"}, "quant_type 'int3' is not on this control: choose from 'int8', "),
        (torch.ones(8, 8), {"double_quant": "yes"}, "double_quant 'yes' is not on this control: choose from False"),
        (torch.ones(8, 8), {"config": "gpt"}, "str is no causal language model's config"),
    ],
)
def test_what_cannot_be_meant(weight, options, message):
    with pytest.raises(LorakitError, match=message):
        show_quantization(weight, **options)


def test_any_model_s_config_will_do():
    explorer = show_quantization(tailed(64, 64), GPT2Config(n_layer=1, n_embd=64, n_head=2, vocab_size=100))
    assert explorer.describe(explorer.value).results["Model in 16 bits"]


def test_numbers_in_words():
    assert [significant(value) for value in (0, 0.0000512345, 0.0182, 0.5, 12.345, 1234.5)] == [
        "0", "0.0000512", "0.0182", "0.500", "12.3", "1234"]  # fmt: skip
    assert [percent(share) for share in (0, 0.0001, 0.0005, 0.12345)] == ["0.0 %", "< 0.1 %", "0.1 %", "12.3 %"]
    assert [level_in_words(level) for level in (-1, -0.001, 0, 0.0796)] == ["−1.00", "0.00", "0.00", "0.08"]
