"""The bench of quant types: its arithmetic, and that it rounds the weights it says."""

import json
import math

import pytest
import quant_types
import torch
from quant_types import VARIANTS, Variant, round_weights, run, text_nats, with_pairs

from lorakit.models import linear_shapes, load_model
from lorakit.quantization import QuantizedLinear
from lorakit.records import load_record


def test_loss_and_pairs_by_hand():
    one = {"right": "1110", "nats": [(6.0, 2), (12.0, 4)], "reviews": {}}
    other = {"right": "1001", "nats": [(9.0, 2), (12.0, 4)], "reviews": {}}
    runs = with_pairs({"none": one, "other": other})
    assert runs["none"]["news"] == {
        "loss": 3.0,
        "n": 2,
        "tokens": 6,
        "minus_first": {"difference": 0, "low": 0, "high": 0},
    }
    # 3 nats more over 6 tokens. The sentences' parts are 2/6 * 3 = 1 and 0: sd sqrt(1/2), half an interval 1.96 / 2.
    assert runs["other"]["news"]["loss"] == 3.5
    wanted = {"difference": 0.5, "low": 0.5 - 0.98, "high": 0.5 + 0.98}
    assert runs["other"]["news"]["minus_first"] == pytest.approx(wanted, abs=1e-5)
    half = 1.96 * math.sqrt(11 / 12) / 2  # differences 0, -1, -1, 1
    wanted = {"difference": -0.25, "low": -0.25 - half, "high": -0.25 + half}
    assert runs["other"]["reviews"]["minus_first"] == pytest.approx(wanted, abs=1e-5)
    assert "nats" not in runs["none"]


def test_each_sentence_has_its_own_nats(tiny):
    model, tokenizer = tiny
    texts = ["one two three four five six seven", "a", "it was a joy to sit through"]
    for text, (nats, tokens) in zip(texts, text_nats(model, tokenizer, texts), strict=True):
        ids = tokenizer(text, return_tensors="pt").input_ids
        assert tokens == ids.shape[1] - 1
        log_p = model(ids).logits[0, :-1].log_softmax(-1)
        wanted = -log_p[torch.arange(tokens), ids[0, 1:]].sum().item()
        assert nats == pytest.approx(wanted, rel=0.02, abs=1e-4)  # computed in bf16 where the CPU has it


@pytest.mark.parametrize("variant", [Variant("nf4", double_quant=True), Variant("int4", 32)], ids=str)
def test_the_weights_become_those_of_quantized_layers(variant, tiny_folder):
    plain, rounded = (load_model(tiny_folder, device="cpu")[0] for _ in range(2))
    found = round_weights(rounded, variant)
    changed = squared = bits = count = 0
    for name in linear_shapes(plain):
        layer, weight = plain.get_submodule(name), rounded.get_submodule(name).weight
        codes = QuantizedLinear(layer, variant.quant_type, variant.block_size, variant.double_quant).quantized
        assert torch.equal(weight, codes.dequantize())
        changed += (weight - layer.weight).square().sum().item()
        squared += layer.weight.square().sum().item()
        bits, count = bits + 8 * codes.nbytes, count + weight.numel()
    assert found == pytest.approx({"bits": bits / count, "error": math.sqrt(changed / squared)})
    assert torch.equal(rounded.lm_head.weight, plain.lm_head.weight)


def test_a_mirrored_weight_is_another_throw_of_the_same_error(tiny_folder):
    straight, mirrored = (load_model(tiny_folder, device="cpu")[0] for _ in range(2))
    errors = [
        round_weights(straight, Variant("nf4"))["error"],
        round_weights(mirrored, Variant("nf4", mirrored=True))["error"],
    ]
    assert errors[0] == pytest.approx(errors[1], rel=0.02)
    one, other = (model.model.layers[0].self_attn.q_proj.weight for model in (straight, mirrored))
    assert (one != other).float().mean() > 0.5


def test_a_run_can_be_kept(tiny_folder, monkeypatch):
    monkeypatch.setenv("LORAKIT_MODEL", tiny_folder)
    one = run(Variant("nf4"), 4, 3)
    assert (len(one["right"]), len(one["nats"]), one["reviews"]["n"]) == (4, 3, 4)
    assert json.loads(json.dumps(one))["block_size"] == 64
    assert run(Variant(), 2, 2)["error"] == 0


def test_the_record_has_every_variant_and_its_settings():
    record = load_record("quant_types")
    assert list(record["runs"]) == list(VARIANTS)
    for name, variant in VARIANTS.items():
        run = record["runs"][name]
        assert {key: run[key] for key in quant_types.asdict(variant)} == quant_types.asdict(variant)
        assert (run["reviews"]["n"], run["news"]["n"]) == (1000, 500)
