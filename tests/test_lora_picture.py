"""LoRA's figure and QLoRA's: what is in them, and that they are to scale."""

from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from lorakit import LorakitError
from lorakit.lora import LoRALinear
from lorakit.quantization import QuantizedLinear
from widgets.lora_picture import lora_svg, qlora_svg, show_lora, show_qlora

SVG = "{http://www.w3.org/2000/svg}"


def test_the_matrices_are_to_scale_and_named():
    page, w, a, b = ElementTree.fromstring(lora_svg(400, 800, 80)).iter(f"{SVG}rect")
    sizes = [(float(box.get("width")), float(box.get("height"))) for box in (w, a, b)]
    (wide, high), (a_wide, a_high), (b_wide, b_high) = sizes
    assert high == pytest.approx(2 * wide, abs=0.1) and (a_wide, b_high) == (wide, high)
    assert a_high == b_wide == pytest.approx(wide / 5, abs=0.1)
    text = " ".join(element.text or "" for element in ElementTree.fromstring(lora_svg(400, 800, 80)).iter(f"{SVG}text"))
    for part in ("W: 800 × 400", "A: 80 × 400", "B: 800 × 80", "x: 400", "y: 800", "× alpha / 80", "96,000"):
        assert part in text, part
    assert float(page.get("height")) > float(a.get("y")) + a_high


@pytest.mark.parametrize("shape", [(576, 576, 8), (576, 192, 8), (1536, 576, 256), (4096, 4096, 1), (64, 64, 64)])
def test_b_stands_over_a_and_both_between_the_ends(shape):
    _, _, a, b = ElementTree.fromstring(lora_svg(*shape)).iter(f"{SVG}rect")
    assert float(b.get("y")) >= 60
    assert float(b.get("y")) + float(b.get("height")) < float(a.get("y"))
    assert float(a.get("y")) + float(a.get("height")) < 350


def test_it_says_in_words_what_it_shows():
    assert "A and B have 2.8 % of W" in show_lora(576, 576, 8).data


def test_a_rank_that_cannot_be_meant_is_refused():
    with pytest.raises(LorakitError, match="r is 0"):
        show_lora(576, 576, 0)


def qlora(inputs, outputs, r, double_quant=True):
    return LoRALinear(QuantizedLinear(nn.Linear(inputs, outputs, bias=False), "nf4", 64, double_quant), r, 2 * r)


@pytest.mark.parametrize(("dtype", "itemsize"), [(torch.float32, 4), (torch.bfloat16, 2)])
def test_areas_are_in_proportion_to_the_bytes_that_the_layer_has(dtype, itemsize):
    layer = qlora(512, 256, 64, double_quant=False)
    svg = ElementTree.fromstring(qlora_svg(layer, dtype))
    _, *boxes = svg.iter(f"{SVG}rect")
    areas = [float(box.get("width")) * float(box.get("height")) for box in boxes]
    base = layer.base_layer
    sizes = [base.weight.nbytes, base.absmax.nbytes, 512 * 256 * itemsize, layer.lora_A.nbytes, layer.lora_B.nbytes]
    assert [area / areas[3] for area in areas] == pytest.approx([size / sizes[3] for size in sizes], rel=0.03)
    assert [box.get("stroke-dasharray") is not None for box in boxes] == [False, False, True, False, False]


def test_it_names_each_part_with_its_dtype_and_bytes():
    layer = qlora(576, 576, 8)
    svg = ElementTree.fromstring(qlora_svg(layer, torch.bfloat16))
    text = " | ".join(element.text or "" for element in svg.iter(f"{SVG}text"))
    base = layer.base_layer
    scales = base.absmax_codes.nbytes + base.absmax.nbytes + base.absmax_mean.nbytes
    for part in (
        f"codes: {base.weight.nbytes:,} bytes, | uint8, frozen",
        f"scales: {scales:,} bytes, | uint8 and float32",
        "W: 576 × 576, | bfloat16, while used",
        "× alpha / r = 2",
        "A: 8 × 576 | float32, trained | B: 576 × 8 | float32, trained",
        f"kept: codes and scales {base.weight.nbytes + scales:,}, A and B 36,864; for a moment: W 663,552",
    ):
        assert part in text, part
    plain = qlora_svg(qlora(576, 576, 8, double_quant=False), torch.float32)
    assert ">scales: 20,736 bytes,<" in plain and ">float32<" in plain and "uint8 and float32" not in plain


@pytest.mark.parametrize("shape", [(576, 576, 8), (576, 192, 8), (1536, 576, 64), (64, 64, 64), (4096, 1024, 1)])
def test_no_part_of_the_figure_leaves_it_or_covers_another(shape):
    _, codes, scales, w, a, b = ElementTree.fromstring(qlora_svg(qlora(*shape), torch.float32)).iter(f"{SVG}rect")

    def ends(box):
        return float(box.get("x")), float(box.get("x")) + float(box.get("width"))

    assert 0 < ends(codes)[0] < ends(codes)[1] < ends(scales)[0] < ends(scales)[1] < ends(w)[0] - 100
    assert ends(w)[1] < min(ends(a)[0], ends(b)[0]) and max(ends(a)[1], ends(b)[1]) < 620
    assert float(b.get("y")) + float(b.get("height")) < float(a.get("y"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(576, 576, 8), (576, 192, 8), (1536, 576, 256), (64, 64, 64), (4096, 1024, 1)])
def test_no_label_of_qlora_stands_on_a_box(shape, dtype):
    svg = ElementTree.fromstring(qlora_svg(qlora(*shape), dtype))
    _, *boxes = svg.iter(f"{SVG}rect")
    places = [[float(box.get(name)) for name in ("x", "y", "width", "height")] for box in boxes]
    for text in svg.iter(f"{SVG}text"):
        long, x, y = 0.55 * 14 * len(text.text), float(text.get("x")), float(text.get("y"))
        start = x if text.get("text-anchor") == "start" else x - long / 2
        for left, top, wide, high in places:
            beside = start + long < left or left + wide < start
            assert beside or y + 3 < top or top + high < y - 11, text.text


def test_it_says_qlora_in_words_too_and_refuses_another_layer():
    assert "kept as codes of 165,888 bytes" in show_qlora(qlora(576, 576, 8)).data
    for layer in (nn.Linear(4, 4), LoRALinear(nn.Linear(4, 4), 2, 2)):
        with pytest.raises(LorakitError, match="no LoRALinear around a QuantizedLinear"):
            show_qlora(layer)
