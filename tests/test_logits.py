"""What temperature, top-k and top-p leave is what transformers' own classes leave."""

import gc
import math
import random
import weakref
from xml.etree import ElementTree

import pytest
import torch
from test_explorer import SVG, hears, picture, texts
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from lorakit import LorakitError
from lorakit.models import load_model
from widgets import show_logits
from widgets.logits import (
    SHOWN,
    TEMPERATURES,
    TOP_KS,
    TOP_PS,
    kept_tokens,
    next_logits,
    percent,
    sampling_numbers,
)
from widgets.model_text import token_text


def by_transformers(logits, temperature, top_k, top_p):
    """Scores (V,) after the steps of `generate`, in its order; -inf where they cut. A step that is off is left out."""
    scores = TemperatureLogitsWarper(temperature)(None, logits[None])
    if top_k:
        scores = TopKLogitsWarper(top_k)(None, scores)
    if top_p < 1:
        scores = TopPLogitsWarper(top_p)(None, scores)
    return scores[0]


def check_against_transformers(logits, settings):
    """All numbers for some settings of logits (V,) in float64."""
    ordered = logits.sort(descending=True, stable=True)[0]
    numbers = sampling_numbers(ordered, TEMPERATURES, TOP_KS, TOP_PS)
    assert numbers["vocabulary"] == len(logits)
    for temperature, top_k, top_p in settings:
        scores = by_transformers(logits, temperature, top_k, top_p)
        expected, kept = scores.softmax(dim=0), scores.isfinite()
        before = (logits / temperature).softmax(dim=0)
        cut = numbers["cuts"][f"{temperature:g}"][str(top_k)][f"{top_p:g}"]
        assert cut["kept"] == kept.sum(), (temperature, top_k, top_p)
        assert cut["mass"] == pytest.approx(before[kept].sum().item(), rel=1e-9)
        entropy = torch.special.entr(expected).sum().item() / math.log(2)
        assert cut["entropy"] == pytest.approx(entropy, abs=1e-9)
        after = expected.sort(descending=True)[0]
        assert cut["rest"] == pytest.approx(after[SHOWN:].sum().item(), abs=1e-9)
        probabilities = numbers["probabilities"][f"{temperature:g}"]
        shown = [p / cut["mass"] if place < cut["kept"] else 0 for place, p in enumerate(probabilities)]
        assert shown == pytest.approx(after[:SHOWN].tolist(), abs=1e-9)
        assert numbers["rest"][f"{temperature:g}"] == pytest.approx(1 - sum(probabilities), abs=1e-9)


def all_settings():
    return [(temperature, k, p) for temperature in TEMPERATURES for k in TOP_KS for p in TOP_PS]


@pytest.mark.parametrize("vocabulary", [5, 60, 3000])
@pytest.mark.parametrize("spread", [0.5, 3.0])
def test_random_logits_under_every_setting(vocabulary, spread):
    logits = spread * torch.randn(vocabulary, generator=torch.Generator().manual_seed(vocabulary)).double()
    check_against_transformers(logits, all_settings())


def test_the_default_model_s_logits():
    model, tokenizer = load_model(device="cpu", dtype=torch.float32)
    draw = random.Random(0)
    for text in ("The capital of France is", "I like", "2 + 2 ="):
        check_against_transformers(next_logits(model, tokenizer, text), draw.sample(all_settings(), 80))


def test_in_float32_only_the_long_tail_of_top_p_differs():
    """`generate` works in float32: what it keeps has the same share within a thousandth of a percent."""
    logits = 2 * torch.randn(49_152, generator=torch.Generator().manual_seed(0))
    for temperature, top_k, top_p in all_settings():
        if temperature in (0.7, 1.0, 2.0) and top_k in (0, 50):
            chances = (logits.double() / temperature).softmax(dim=0)
            theirs = chances[by_transformers(logits, temperature, top_k, top_p).isfinite()].sum().item()
            ordered = logits.double().sort(descending=True)[0] / temperature
            (kept,) = kept_tokens(ordered, top_k, [top_p])
            assert ordered.softmax(dim=0)[:kept].sum().item() == pytest.approx(theirs, abs=1e-5)


def test_cuts_by_hand():
    scores = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64).log()
    assert kept_tokens(scores, 0, [0.35, 0.65, 0.85, 0.95, 1.0]) == [1, 2, 3, 4, 4]
    assert kept_tokens(scores, 2, [0.5, 0.6, 1.0]) == [1, 2, 2]  # of 4/7 and 3/7
    assert kept_tokens(scores, 1, [0.01, 1.0]) == [1, 1]
    assert kept_tokens(scores, 1000, [1.0]) == [4]
    tied = torch.tensor([2.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    assert kept_tokens(tied, 2, [1.0]) == [3]  # as transformers' own: what ties with the second stays
    assert by_transformers(tied, 1.0, 2, 1.0).isfinite().sum() == 3


def test_results_and_bars_are_the_model_s(tiny):
    model, tokenizer = tiny
    explorer = show_logits(model, tokenizer, "one two", temperature=0.4, top_k=5, top_p=0.9)
    assert explorer.value == {"text": "one two", "temperature": 0.4, "top_k": 5, "top_p": 0.9}
    with torch.no_grad():
        logits = model(**tokenizer("one two", return_tensors="pt")).logits[0, -1].double()
    expected = by_transformers(logits, 0.4, 5, 0.9).softmax(dim=0)
    bits = torch.special.entr(expected).sum().item() / math.log(2)
    described = explorer.describe(explorer.value)
    kept, likeliest = int((expected > 0).sum()), int(logits.argmax())
    before = (logits / 0.4).softmax(dim=0)
    assert described.results == {
        "Tokens that can be drawn": f"{kept} of {len(logits):,}",
        "Their share before the cuts": percent(before[expected > 0].sum().item()),
        "Likeliest token": f"{token_text(tokenizer, likeliest)}, {percent(expected.max().item())}",
        "Entropy after the cuts": f"{bits:.2f} bits",
    }
    order = logits.argsort(descending=True)
    for place, token_id in enumerate(order[:SHOWN]):
        assert described.lengths[f"before-{place}"] == pytest.approx(before[token_id].item())
        assert described.lengths[f"after-{place}"] == pytest.approx(expected[token_id].item())
        said = percent(expected[token_id].item()) if place < kept else "0, cut off"
        assert described.labels[f"share-{place}"] == said
    assert described.labels[f"share-{SHOWN}"] == "0, cut off"
    assert described.lengths[f"before-{SHOWN}"] == pytest.approx(before[order[SHOWN:]].sum().item())
    shown = texts(ElementTree.fromstring(explorer.drawing))
    for place, token_id in enumerate(order[:SHOWN]):
        piece, shown_id, logit = shown[9 + 4 * place :][:3]
        assert token_text(tokenizer, token_id).startswith(piece.removesuffix("…"))
        assert int(shown_id) == token_id
        assert float(logit.replace("−", "-")) == pytest.approx(logits[token_id].item(), abs=0.00501)
    assert f"the other {len(logits) - SHOWN:,} tokens" in shown


def test_nothing_cut_leaves_every_token(tiny):
    explorer = show_logits(*tiny)
    results = explorer.describe(explorer.value).results
    vocabulary = f"{tiny[0].config.vocab_size:,}"
    assert results["Tokens that can be drawn"] == f"{vocabulary} of {vocabulary}"
    assert results["Their share before the cuts"] == "100.00 %"
    lengths = explorer.describe(explorer.value).lengths
    assert sum(length for name, length in lengths.items() if name.startswith("after")) == pytest.approx(1)
    explorer.value = {"top_k": 1}
    assert explorer.describe(explorer.value).results["Entropy after the cuts"] == "0.00 bits"


def test_the_model_runs_for_a_text_and_never_for_a_slider(tiny, monkeypatch):
    model, tokenizer = tiny
    runs = []
    model.register_forward_pre_hook(lambda *_: runs.append(1))
    explorer = show_logits(model, tokenizer, "one")
    hears(explorer, {"text": "one", "temperature": 2, "top_k": 3, "top_p": 0.5})  # JSON has one kind of number
    assert explorer.value == {"text": "one", "temperature": 2.0, "top_k": 3, "top_p": 0.5}
    assert isinstance(explorer.value["temperature"], float)
    assert len(runs) == 1
    explorer.value = {"text": "two"}
    assert len(runs) == 2


def test_no_output_of_the_model_is_kept(tiny):
    model, tokenizer = tiny
    outputs = []
    model.register_forward_hook(lambda *each: outputs.append(weakref.ref(each[-1].logits)))
    explorer = show_logits(model, tokenizer, "one two")
    gc.collect()
    assert [output() for output in outputs] == [None]
    assert next_logits(model, tokenizer, "one two").untyped_storage().nbytes() == 8 * model.config.vocab_size
    assert not any(isinstance(each, torch.Tensor) for each in vars(explorer).values())


def test_a_start_beside_the_scales_is_on_them(tiny):
    explorer = show_logits(*tiny, temperature=0.33, top_k=7, top_p=0.92)
    sliders = {control["name"]: [option["value"] for option in control["options"]] for control in explorer.controls[1:]}
    assert sliders == {
        "temperature": sorted([*TEMPERATURES, 0.33]),
        "top_k": sorted([*TOP_KS, 7]),
        "top_p": sorted([*TOP_PS, 0.92]),
    }
    assert explorer.controls[2]["options"][0] == {"value": 0, "text": "off"}
    assert explorer.controls[3]["options"][-1] == {"value": 1.0, "text": "off"}
    assert "at temperature 0.33." in explorer.describe(explorer.value).caption


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "temperature 0 cannot be meant: take a number from 0.01 to 100"),
        ({"temperature": "hot"}, "temperature 'hot' cannot be meant"),
        ({"top_k": -1}, "top_k -1 cannot be meant: take a whole number, or 0 for no cut"),
        ({"top_k": 2.0}, "top_k 2.0 cannot be meant"),
        ({"top_p": 0}, "top_p 0 cannot be meant: take a number from 0.01 to 1, which is no cut"),
        ({"top_p": 1.5}, "top_p 1.5 cannot be meant"),
        ({"top_p": None}, "top_p None cannot be meant"),
    ],
)
def test_a_setting_that_cannot_be_meant(options, message, tiny):
    with pytest.raises(LorakitError, match=message):
        show_logits(*tiny, **options)


def test_settings_and_texts_from_python(tiny):
    explorer = show_logits(*tiny, "one")
    with pytest.raises(LorakitError, match=r"temperature 0\.65 is not on this control: choose from 0\.1, 0\.2"):
        explorer.value = {"temperature": 0.65}
    with pytest.raises(LorakitError, match="the text '' has no token"):
        explorer.value = {"text": "", "temperature": 2.0}
    assert explorer.value["temperature"] == 1.0
    hears(explorer, {"text": "", "temperature": 2.0, "top_k": 0, "top_p": 1.0})
    assert explorer.value == {"text": "one", "temperature": 2.0, "top_k": 0, "top_p": 1.0}
    assert explorer.refused["why"] == "the text '' has no token: type a letter at least."


def test_logits_that_are_no_numbers_are_refused(tiny):
    model, tokenizer = tiny
    model.get_input_embeddings().weight.data[tokenizer("one").input_ids] = float("nan")
    with pytest.raises(LorakitError, match="a logit after this text is nan: load the model with a wider dtype"):
        show_logits(model, tokenizer, "one")


def test_without_a_kernel_there_is_a_picture_of_the_bars(tiny):
    explorer = show_logits(*tiny, temperature=0.1, top_k=2)
    svg, alt = picture(explorer)
    shown = texts(svg)
    assert shown[1:5] == ["text: “The capital of France is”", "temperature: 0.1", "top-k: 2", "top-p: off"]
    assert shown.count("0, cut off") == SHOWN + 1 - 2
    likeliest = explorer.describe(explorer.value).results["Likeliest token"]
    assert likeliest.rpartition(", ")[2] in shown
    (drawing,) = svg.findall(f"{SVG}svg")
    assert f"--after-1: {explorer.describe(explorer.value).lengths['after-1']}" in drawing.get("style")
    assert "Tokens that can be drawn: 2 of " in alt


def test_shares_in_words():
    assert [percent(share) for share in (0, 1e-7, 0.00004999, 0.00005, 0.123456, 1)] == [
        "0.00 %",
        "< 0.01 %",
        "< 0.01 %",
        "0.01 %",
        "12.35 %",
        "100.00 %",
    ]
