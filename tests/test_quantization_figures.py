"""The picture of number formats: a box for each bit, and torch's own ranges and steps."""

from xml.etree import ElementTree

import pytest
import torch

from lorakit.quantization import code_book
from widgets.quantization_figures import LETTERS, formats_svg, number_formats, show_number_formats

SVG = "{http://www.w3.org/2000/svg}"


def drawn():
    """Boxes of the rows, legend left out: (part, x, y), and all texts."""
    tree = ElementTree.fromstring(formats_svg())
    _, *boxes = tree.iter(f"{SVG}rect")  # the first is the page
    boxes = [(box.get("class"), float(box.get("x")), float(box.get("y"))) for box in boxes]
    return [box for box in boxes if box[2] > 40], [text.text for text in tree.iter(f"{SVG}text")]


def test_a_box_for_each_bit():
    boxes, texts = drawn()
    rows = {}
    for part, x, y in boxes:
        rows.setdefault(y, []).append((x, part))
    assert [len(row) for row in rows.values()] == [32, 16, 16, 8, 4, 4]
    for row, each in zip(rows.values(), number_formats(), strict=True):
        assert [part for _, part in sorted(row)] == [part for part, count in each.bits.items() for _ in range(count)]
        assert len({x for x, _ in row}) == len(row)
        assert each.name in texts and any(each.note in text for text in texts)
    assert [text for text in texts if text in LETTERS.values()].count("f") == 23 + 7 + 10 + 1 + 1  # one in the legend


def test_what_is_drawn_is_what_the_bits_can_do():
    bits = {each.name: each.bits for each in number_formats()}
    notes = {each.name: each.note for each in number_formats()}
    for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        exponent, fraction = bits[name]["exponent"], bits[name]["fraction"]
        assert torch.finfo(dtype).eps == 2.0**-fraction
        assert torch.finfo(dtype).max == (2 - 2.0**-fraction) * 2.0 ** (2 ** (exponent - 1) - 1)
    assert notes["fp16"] == "up to 6.55e+04; step at 1: 0.00098"
    assert len(code_book("fp4").unique()) == 15 and len(code_book("nf4").unique()) == 16


def test_everything_is_inside_the_picture():
    tree = ElementTree.fromstring(formats_svg())
    width, height = float(tree.get("width")), float(tree.get("height"))
    for text in tree.iter(f"{SVG}text"):
        longest = len(text.text) * float(text.get("font-size")) * 0.62
        x, anchor = float(text.get("x")), text.get("text-anchor")
        assert x - {"start": 0, "middle": longest / 2, "end": longest}[anchor] >= 0
        assert x + {"start": longest, "middle": longest / 2, "end": 0}[anchor] <= width
        assert float(text.get("y")) <= height


@pytest.mark.parametrize("part", ["float32: 1 sign, 8 exponent, 23 fraction bits", "nf4: 4 code bits"])
def test_it_says_in_words_what_it_shows(part):
    assert part in show_number_formats().data
