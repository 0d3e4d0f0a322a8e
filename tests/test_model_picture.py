import base64
import re
from html import unescape
from math import prod
from xml.etree import ElementTree

import pytest
from test_census import MODELS, config_of
from transformers import Gemma2Config, GPT2Config, LlamaConfig, Qwen3Config

from lorakit import LorakitError
from lorakit.census import census
from lorakit.models import empty_model
from widgets.model_picture import show_model

SVG = "{http://www.w3.org/2000/svg}"
TINY = config_of(LlamaConfig, 97, 32, 48, 3, 4, 2, tie_word_embeddings=False)


def config_named(name):
    kind, sizes, more, _ = MODELS[name]
    return config_of(kind, *sizes, tie_word_embeddings=more.get("tied", False))


def picture(config):
    """The SVG of the image, and its words for those who cannot see it."""
    html = show_model(config).data
    data = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', html)[1]
    return ElementTree.fromstring(base64.b64decode(data)), unescape(re.search(r'alt="([^"]*)"', html)[1])


def texts(svg):
    return [node.text for node in svg.iter(f"{SVG}text")]


def with_thousands(shape):
    return " × ".join(f"{size:,}" for size in shape)


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_has_its_name_its_shape_and_its_count(name):
    config = config_named(name)
    svg, alt = picture(config)
    written = texts(svg)
    L = config.num_hidden_layers
    for tensor, weight in empty_model(config).state_dict().items():
        block = re.match(r"model\.layers\.(\d+)\.", tensor)
        if block and block[1] != "0":
            continue
        label, shape = tensor.removeprefix("model.layers.0."), with_thousands(weight.shape)
        assert f"{label} ({shape})" in alt
        if tensor.endswith(".bias"):
            assert any(text.startswith("Counted but not drawn:") and label in text for text in written)
            continue
        below = written[written.index(label) + 1]
        if tensor == "lm_head.weight" and config.tie_word_embeddings:
            assert below == f"{shape}, counted above"
        elif weight.dim() == 1:
            assert below == f"RMSNorm: {shape} weights"
        else:
            assert below == f"{shape} = {prod(weight.shape):,}"
    assert "each name begins with model.layers.0." in written
    assert f"block {L - 1}" in written
    assert f"⋮   × {L}, each with its own weights" in written


def bill(config):
    """Number by what it is the number of."""
    written = texts(picture(config)[0])
    start = written.index("embed_tokens")
    lines = written[start : start + 10]
    return {what: int(count.replace(",", "")) for what, count in zip(lines[::2], lines[1::2], strict=True)}


@pytest.mark.parametrize("name", MODELS)
def test_the_bill_adds_up(name):
    config, total = config_named(name), MODELS[name][-1]
    *lines, last = bill(config).items()
    assert last == ("all weights", total)
    assert sum(count for _, count in lines) == total
    L, each = re.fullmatch(r"blocks: (\d+) × ([\d,]+)", lines[1][0]).groups()
    assert int(L) * int(each.replace(",", "")) == lines[1][1]
    counts = census(config)
    assert (lines[0][1], lines[3][1]) == (counts["embedding"], counts["head"])


def test_a_tied_head_is_drawn_as_the_table():
    def signs(name):
        svg, alt = picture(config_named(name))
        rects, paths = ([node.get("class") for node in svg.iter(SVG + tag)] for tag in ("rect", "path"))
        return rects.count("weight same"), paths.count("tie"), "the same table as embed_tokens" in texts(svg), alt

    *tied, alt = signs("Llama-3.2-1B")
    assert tied == [1, 1, True]
    assert "lm_head.weight (128,256 × 2,048), the same table, to logits" in alt
    *untied, alt = signs("Meta-Llama-3-8B")
    assert untied == [0, 0, False]
    assert "same table" not in alt


def test_heads_and_letters():
    svg, alt = picture(config_named("Meta-Llama-3-8B"))
    written = texts(svg)
    assert written[written.index("self_attn.q_proj.weight") + 2] == "32 query heads of 128"
    assert written[written.index("self_attn.k_proj.weight") + 2] == "8 key heads of 128"
    assert written[written.index("self_attn.v_proj.weight") + 2] == "8 value heads of 128"
    letters = " ".join(written)
    for letter in ("V = 128,256", "D = 4,096", "F = 14,336", "H = 32", "K = 8", "H / K = 4", "d = 128"):
        assert f"{letter} " in letters
    assert "LlamaForCausalLM: 8,030,261,248 weights" in written
    assert alt.startswith("The decoder of LlamaForCausalLM, 8,030,261,248 weights. Token ids (B, T)")
    assert "32 query heads and 8 key and value heads of 128 numbers" in alt


def test_weights_and_steps_differ_in_shape():
    svg, _ = picture(TINY)
    corners = {}
    for rect in svg.iter(f"{SVG}rect"):
        corners.setdefault(rect.get("class"), set()).add(rect.get("rx"))
    assert corners["weight"] == {None}
    assert corners["step"] <= {"14", "11"}
    assert {"square corners: holds weights", "round ends: only computes"} <= set(texts(svg))


def test_it_has_a_white_ground_of_its_own():
    svg, _ = picture(TINY)
    ground = next(svg.iter(f"{SVG}rect"))
    assert (ground.get("width"), ground.get("height")) == (svg.get("width"), svg.get("height"))
    assert ground.get("fill") == "#fff"


def test_the_steps_of_a_block_are_there():
    written = texts(picture(TINY)[0])
    assert written.count("rotation by position") == 2
    steps = ["q · k / √d for each pair of tokens", "causal mask, then softmax: shares", "silu", "softmax"]
    assert set(steps) <= set(written)
    gelu = config_of(LlamaConfig, 97, 32, 48, 3, 4, 2, hidden_act="gelu")
    assert "gelu(gate) × up, number by number" in texts(picture(gelu)[0])


def test_weights_without_a_box_are_named():
    config = config_of(Qwen3Config, 97, 32, 48, 3, 4, 2, head_dim=16)
    rest = "Counted but not drawn: self_attn.q_norm.weight (16), self_attn.k_norm.weight (16)."
    assert rest in texts(picture(config)[0])
    assert not any("not drawn" in text for text in texts(picture(TINY)[0]))


def test_a_name_is_escaped():
    config = config_of(LlamaConfig, 97, 32, 48, 3, 4, 2)
    config.name_or_path = 'me/<b>"{V}&'
    svg, alt = picture(config)
    assert any(text.startswith('me/<b>"{V}&: ') for text in texts(svg))
    assert alt.startswith('The decoder of me/<b>"{V}&, ')


def test_a_loaded_model_is_drawn_from_its_config(tiny_nf4):
    model, _ = tiny_nf4
    written = texts(picture(model)[0])
    assert written[written.index("mlp.down_proj.weight") + 1] == "64 × 128 = 8,192"


@pytest.mark.parametrize("config", [GPT2Config(n_layer=1), Gemma2Config(num_hidden_layers=1)])
def test_a_model_that_is_built_otherwise_is_refused(config):
    with pytest.raises(LorakitError, match=f"a '{config.model_type}' model is not built .* take a model such as Llama"):
        show_model(config)
