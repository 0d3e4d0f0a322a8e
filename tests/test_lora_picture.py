"""LoRA's figure: what is in it, and that it is to scale."""

from xml.etree import ElementTree

import pytest

from lorakit import LorakitError
from widgets.lora_picture import lora_svg, show_lora

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
