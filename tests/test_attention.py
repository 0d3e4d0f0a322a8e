"""The weights of a head are the model's own; what is said of them is counted by hand."""

from xml.etree import ElementTree

import pytest
import torch
from test_explorer import SVG, hears, picture, texts
from test_tokens import sentencepiece
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from lorakit import LorakitError
from widgets import attention, show_attention
from widgets.attention import attention_svg, describe_head
from widgets.model_text import TOKENS

TEXT = "The cat sat on the mat"


def cells(drawing):
    """What the map says of each weight, by the tokens' numbers."""
    titles = [node.text for node in ElementTree.fromstring(drawing).iter(f"{SVG}title")]
    words = [title.split() for title in titles]
    return {(int(each[0]), int(each[3])): float(each[-1]) for each in words}


def own_attentions(model, tokenizer, text):
    """(layers, H, T, T), by transformers' own eager attention."""
    model.set_attn_implementation("eager")
    with torch.no_grad():
        found = model(**tokenizer(text, return_tensors="pt"), output_attentions=True).attentions
    return torch.cat(found)


def test_every_weight_is_the_model_s(tiny):
    explorer = show_attention(*tiny, TEXT)
    expected = own_attentions(*tiny, TEXT)
    assert explorer.value == {"text": TEXT, "layer": 0, "head": 0}
    for layer in range(2):
        for head in range(4):
            explorer.value = {"layer": layer, "head": head}
            shown = cells(explorer.drawing)
            assert sorted(shown) == [(i, j) for i in range(6) for j in range(i + 1)]
            for (i, j), weight in shown.items():
                assert weight == pytest.approx(expected[layer, head, i, j].item(), abs=0.0000501)


def test_the_model_runs_once_for_a_text(tiny, monkeypatch):
    runs = []

    def counted(model, ids):
        runs.append(ids.shape[1])
        return run(model, ids)

    run = attention.run_with_cache
    monkeypatch.setattr(attention, "run_with_cache", counted)
    explorer = show_attention(*tiny, TEXT)
    explorer.value = {"layer": 1}
    hears(explorer, {"text": TEXT, "layer": 1, "head": 3})
    assert runs == [6]
    explorer.value = {"text": f"{TEXT}."}
    assert runs == [6, 7]


WEIGHTS = torch.tensor([[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.5, 0.02, 0.48]])


def test_what_is_said_of_a_head_by_hand():
    described = describe_head(WEIGHTS, ["a", "·b", "·c"], layer=7, head=4, group=3, kv_heads=3)
    assert described["results"] == {
        "Mean weight on the first token": "0.375",  # of 0.25 and 0.5: row 0 has no choice
        "Mean weight on the token itself": "0.615",  # of 0.75 and 0.48
        "Mean weight on the token before": "0.135",  # of 0.25 and 0.02
        "Key and value head": "1 (of 0 to 2), for query heads 3, 4, 5",
    }
    assert described["caption"].startswith("Layer 7, head 4. ")
    assert "The last token, 2 (·c), looks most at 0 (a): 0.50." in described["caption"]


def test_the_largest_weight_is_framed_and_small_ones_have_no_number():
    drawing = ElementTree.fromstring(attention_svg(WEIGHTS, ["a", "·b", "·c"]))
    groups = list(drawing.iter(f"{SVG}g"))
    framed = [any(node.get("class") == "most" for node in group) for group in groups]
    numbers = [next((node.text for node in group if node.get("class") == "number"), None) for group in groups]
    opacities = [float(group.find(f"{SVG}rect").get("fill-opacity")) for group in groups]
    assert framed == [True, False, True, True, False, False]
    assert numbers == ["1.00", "0.25", "0.75", "0.50", None, "0.48"]
    assert opacities == pytest.approx([0.65 * weight for weight in (1, 0.25, 0.75, 0.5, 0.02, 0.48)], abs=0.00051)
    even = ElementTree.fromstring(attention_svg(torch.full((40, 40), 1 / 40), ["a"] * 40))
    assert [node.text for node in even.iter(f"{SVG}text") if node.get("class") == "number"][-1] == "0.03"


def test_one_token_has_but_itself_to_look_at(tiny):
    explorer = show_attention(*tiny, "The")
    results = explorer.describe(explorer.value).results
    assert [results[f"Mean weight on the {where}"] for where in ("first token", "token itself", "token before")] == [
        "none: one token"
    ] * 3
    assert cells(explorer.drawing) == {(0, 0): 1.0}


def test_a_text_with_too_many_tokens_is_refused_and_the_last_map_stays(tiny):
    explorer = show_attention(*tiny, TEXT)
    message = f"the text has 25 tokens, and a map of at most {TOKENS} is drawn: shorten it."
    with pytest.raises(LorakitError, match=message):
        explorer.value = {"text": " a" * 25}
    drawing = explorer.drawing
    hears(explorer, {"text": " a" * 25, "layer": 1, "head": 2})
    assert explorer.refused == {"question": {"text": " a" * 25, "layer": 1, "head": 2}, "why": message}
    assert explorer.value == {"text": TEXT, "layer": 0, "head": 0}  # what is drawn
    assert explorer.drawing == drawing
    explorer.value = {"text": " a" * TOKENS}
    assert len(cells(explorer.drawing)) == TOKENS * (TOKENS + 1) / 2


def test_a_layer_or_head_that_is_not_there_is_refused(tiny):
    explorer = show_attention(*tiny, TEXT)
    with pytest.raises(LorakitError, match="layer 2 is not on this control: choose from 0, 1"):
        explorer.value = {"layer": 2}
    with pytest.raises(LorakitError, match="head -1 is not on this control: choose from 0, 1, 2, 3"):
        explorer.value = {"head": -1}


def test_without_a_kernel_there_is_a_picture_of_the_head(tiny):
    explorer = show_attention(*tiny, TEXT)
    explorer.value = {"layer": 1, "head": 3}
    svg, alt = picture(explorer)
    shown = texts(svg)
    assert shown[1:4] == [f"text: “{TEXT}”", "layer: 1", "head: 3"]
    assert "Key and value head: 1 (of 0 to 1), for query heads 2, 3" in shown
    assert "·cat 1" in shown  # of its row
    assert "1 ·cat" in shown  # of its column
    assert "Layer 1, head 3. A row is a token that looks" in alt


SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
}


@pytest.mark.parametrize(
    "model",
    [
        LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=1)),
        Qwen2ForCausalLM(Qwen2Config(**SIZES, num_key_value_heads=4)),
    ],
    ids=["one key head", "qwen2, a key head for each"],
)
def test_other_models_and_tokenizers(model):
    explorer = show_attention(model, sentencepiece(), "aéa")
    results = explorer.describe(explorer.value | {"head": 0}).results
    kv_heads = model.config.num_key_value_heads
    sharing = "0, 1, 2, 3" if kv_heads == 1 else "0"
    assert results["Key and value head"] == f"0 (of 0 to {kv_heads - 1}), for query heads {sharing}"
    assert "0 a" in texts(ElementTree.fromstring(explorer.drawing))
