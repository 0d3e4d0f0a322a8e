"""LoRA by hand, equal to peft's: outputs, gradients, files."""

import math

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tiny import TINY
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from lorakit import LorakitError
from lorakit.lora import (
    LINEAR_LAYERS,
    LoRALinear,
    apply_lora,
    count_lora_parameters,
    lora_layers,
    lora_state_dict,
    merge,
    unmerge,
)
from lorakit.models import load_model

QV = ["q_proj", "v_proj"]
ALL = list(LINEAR_LAYERS)
IDS = torch.randint(0, 97, (2, 9), generator=torch.Generator().manual_seed(0))


def llama(dtype=torch.float32):
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**TINY, vocab_size=97)).to(dtype)


def pair(base, targets, dropout=0.0, rslora=False, seed=1):
    """Our LoRA and peft's, each on a base of its own, with the same weights in A and B, none of them zero."""
    torch.manual_seed(seed)
    ours = apply_lora(base(), 4, 8, targets, dropout, rslora)
    config = LoraConfig(r=4, lora_alpha=8, lora_dropout=dropout, use_rslora=rslora, target_modules=targets)
    theirs = get_peft_model(base(), config)
    there = theirs.state_dict()
    with torch.no_grad():
        for name, weight in lora_state_dict(ours).items():
            nn.init.normal_(weight, std=0.1)
            there[name.replace(".weight", ".default.weight")].copy_(weight)
    return ours.train(), theirs.train()


def same_as_peft(ours, theirs):
    """Outputs and gradients of a step of both, with the same chance in dropout: the largest differences."""
    outputs = []
    for model in (ours, theirs):
        torch.manual_seed(5)
        outputs.append(model(IDS, labels=IDS))
        outputs[-1].loss.backward()
    gradients = {name: weight.grad for name, weight in theirs.named_parameters() if weight.requires_grad}
    apart = [
        (getattr(layer, side).grad - gradients[f"base_model.model.{name}.{side}.default.weight"]).abs().max().item()
        for name, layer in lora_layers(ours)
        for side in ("lora_A", "lora_B")
    ]
    assert len(apart) == len(gradients)
    assert outputs[0].logits.dtype == outputs[1].logits.dtype
    return (outputs[0].logits - outputs[1].logits).abs().max().item(), max(apart)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("targets", [QV, ALL], ids=["q and v", "all"])
def test_outputs_and_gradients_are_peft_s(targets, dropout, dtype):
    difference, of_gradients = same_as_peft(*pair(lambda: llama(dtype), targets, dropout))
    assert difference < 1e-5 and of_gradients < 1e-5


def test_rank_stabilised_scaling_is_peft_s():
    difference, of_gradients = same_as_peft(*pair(llama, QV, rslora=True))
    assert difference < 1e-5 and of_gradients < 1e-5


@pytest.mark.parametrize("quant_type", ["nf4", "int8"])
def test_on_a_quantised_base_too(quant_type, tiny_folder):
    def base():
        return load_model(tiny_folder, quant_type=quant_type, device="cpu")[0]

    difference, of_gradients = same_as_peft(*pair(base, ALL))
    assert difference < 1e-5 and of_gradients < 1e-5


def test_by_hand():
    base = nn.Linear(2, 1, bias=False)
    layer = LoRALinear(base, r=1, lora_alpha=3)
    with torch.no_grad():
        base.weight.copy_(torch.tensor([[1.0, 2.0]]))
        layer.lora_A.copy_(torch.tensor([[10.0, 1.0]]))
        layer.lora_B.copy_(torch.tensor([[5.0]]))
    # W x = 1 + 2 = 3; A x = 11; 3 / 1 * 5 * 11 = 165
    assert layer(torch.ones(1, 2)).tolist() == [[168.0]]
    assert layer.delta_weight().tolist() == [[150.0, 15.0]]
    assert LoRALinear(nn.Linear(2, 1), r=4, lora_alpha=8).scaling == 2
    assert LoRALinear(nn.Linear(2, 1), r=4, lora_alpha=8, use_rslora=True).scaling == 4


def test_at_first_nothing_changes_and_only_b_has_a_gradient():
    plain, ours = llama().eval(), apply_lora(llama(), 4, 8, QV).eval()
    assert torch.equal(ours(IDS).logits, plain(IDS).logits)
    ours(IDS, labels=IDS).loss.backward()
    for _, layer in lora_layers(ours):
        assert layer.lora_A.grad.abs().max() == 0 < layer.lora_B.grad.abs().max()
        assert layer.lora_A.abs().max() <= 1 / math.sqrt(layer.in_features)
    trained = [name for name, weight in ours.named_parameters() if weight.requires_grad]
    assert all("lora_" in name for name in trained)
    assert sum(weight.numel() for weight in ours.parameters() if weight.requires_grad) == count_lora_parameters(
        llama(), 4, QV
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_merged_and_taken_apart_again(dtype):
    ours, _ = pair(lambda: llama(dtype), ALL)
    ours.eval()
    weights = {name: layer.base_layer.weight.clone() for name, layer in lora_layers(ours)}
    apart = ours(IDS).logits
    merge(ours)
    for name, layer in lora_layers(ours):
        expected = (weights[name] + layer.delta_weight()).to(dtype)
        assert torch.equal(layer.base_layer.weight, expected) and layer.base_layer.weight.dtype == dtype
    merged = ours(IDS).logits
    assert (merged - apart).abs().max() < (1e-4 if dtype == torch.float32 else 0.3)
    assert not torch.equal(merged, llama(dtype).eval()(IDS).logits)
    unmerge(ours)
    for name, layer in lora_layers(ours):
        assert torch.equal(layer.base_layer.weight, weights[name])
    assert torch.equal(ours(IDS).logits, apart)


def test_an_adapter_saved_by_either_loads_in_the_other(tmp_path):
    ours, theirs = pair(llama, QV)
    theirs.save_pretrained(tmp_path / "theirs")
    assert load_file(tmp_path / "theirs" / "adapter_model.safetensors").keys() == lora_state_dict(ours).keys()
    save_file(lora_state_dict(ours), tmp_path / "theirs" / "adapter_model.safetensors")
    loaded = PeftModel.from_pretrained(llama(), tmp_path / "theirs").eval()
    assert torch.equal(loaded(IDS).logits, ours.eval()(IDS).logits)
    fresh = apply_lora(llama(), 4, 8, QV).eval()
    fresh_weights = lora_state_dict(fresh)
    for name, weight in load_file(tmp_path / "theirs" / "adapter_model.safetensors").items():
        fresh_weights[name].copy_(weight)
    assert torch.equal(fresh(IDS).logits, ours(IDS).logits)


def test_a_small_problem_that_learns():
    torch.manual_seed(0)
    base, x = nn.Linear(8, 8, bias=False), torch.randn(64, 8)
    target = x @ (base.weight.detach() + torch.outer(torch.randn(8), torch.randn(8))).T  # a change of rank 1
    before = base.weight.detach().clone()
    layer = LoRALinear(base, r=1, lora_alpha=1)
    optimizer = torch.optim.Adam([layer.lora_A, layer.lora_B], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(layer(x), target)
        loss.backward()
        optimizer.step()
    assert loss < 1e-3 < nn.functional.mse_loss(base(x), target)
    assert torch.equal(base.weight, before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LoRALinear(nn.ReLU(), 4, 8), "ReLU has no in_features"),
        (lambda: LoRALinear(nn.Linear(2, 2), 0, 8), "r is 0: it is a whole number"),
        (lambda: LoRALinear(nn.Linear(2, 2), 4, 8, 1.5), r"lora_dropout is 1\.5"),
        (lambda: apply_lora(llama(), 4, 8, ["q"]), "target module 'q' is not in this model"),
        (lambda: apply_lora(llama(), 4, 8, "q_proj"), "target_modules is 'q_proj': list the names"),
        (lambda: apply_lora(llama(), 4, 8, []), r"target_modules is \[\]: list the names"),
        (lambda: apply_lora(apply_lora(llama(), 4, 8, QV), 4, 8, QV), "has LoRA already"),
        (lambda: unmerge(apply_lora(llama(), 4, 8, QV)), "not merged"),
    ],
)
def test_what_cannot_be_meant_is_refused(make, message):
    with pytest.raises(LorakitError, match=message):
        make()


def test_merging_twice_is_refused():
    ours = apply_lora(llama(), 4, 8, QV)
    merge(ours)
    with pytest.raises(LorakitError, match="merged already"):
        merge(ours)


def test_merging_into_codes_is_refused(tiny_nf4):
    ours = apply_lora(tiny_nf4[0], 4, 8, QV)
    with pytest.raises(LorakitError, match="Linear4bit stores codes"):
        merge(ours)
