import math

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from lorakit import LorakitError
from lorakit.activations import embed, forward, grouped_attention, rms_norm, rotary, run_with_cache, swiglu, unembed
from lorakit.models import load_model

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
CONFIGS = {
    "a key head for each query head": LlamaConfig(**SIZES, num_key_value_heads=4),
    "grouped heads, tied": LlamaConfig(**SIZES, num_key_value_heads=2, tie_word_embeddings=True),
    "one key head, biases": LlamaConfig(**SIZES, num_key_value_heads=1, attention_bias=True),
    "mistral, wider heads": MistralConfig(**SIZES, num_key_value_heads=2, head_dim=16),
    "qwen2": Qwen2Config(**SIZES, num_key_value_heads=2),
    "qwen3": Qwen3Config(**SIZES, num_key_value_heads=2, head_dim=16),
}
IDS = torch.randint(0, 97, (3, 9), generator=torch.Generator().manual_seed(0))
PADDED = torch.ones_like(IDS)
PADDED[0, :4] = 0  # on the left
PADDED[1, 6:] = 0  # on the right


def random_model(config):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model


def on_tokens(step, mask):
    """A step with its tokens first and what stands at padding left out."""
    tokens = step if step.dim() == 3 else step.transpose(1, 2)
    return tokens if mask is None else tokens[mask.bool()]


@pytest.mark.parametrize("mask", [None, PADDED], ids=["no padding", "padding"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_step_by_hand_is_the_model_s(config, mask):
    model = random_model(config)
    recorded, cache = run_with_cache(model, IDS, mask)
    by_hand, steps = forward(model.state_dict(), config, IDS, mask)
    with torch.no_grad():
        logits = model(IDS, attention_mask=mask).logits  # with the attention of its own choice
    for name, step in {"recorded": recorded, "by hand": by_hand}.items():
        assert (on_tokens(step, mask) - on_tokens(logits, mask)).abs().max() < 1e-5, name
    assert steps.keys() == cache.keys()
    for name, step in steps.items():
        assert step.shape == cache[name].shape, name
        assert (on_tokens(step, mask) - on_tokens(cache[name], mask)).abs().max() < 1e-5, name


def test_the_default_model():
    model, tokenizer = load_model(device="cpu", dtype=torch.float32)
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        logits = model(ids).logits
        by_hand, steps = forward(model.state_dict(), model.config, ids)
        _, cache = run_with_cache(model, ids)
    assert (by_hand - logits).abs().max() < 1e-4
    assert steps.keys() == cache.keys()
    for name, step in steps.items():
        # Single numbers of its residual stream reach 10,000, so the error is held against the largest.
        assert (step - cache[name]).abs().max() <= 1e-5 * cache[name].abs().max(), name
    assert cache["0.q"].shape == (1, 9, 5, 64)
    assert cache["29.attention"].shape == (1, 9, 5, 5)
    assert tokenizer.decode(by_hand[0, -1].argmax()) == " Paris"


def test_the_model_is_left_as_it_was_and_adapters_are_seen():
    model = random_model(CONFIGS["grouped heads, tied"])
    before = run_with_cache(model, IDS)[1]
    hooks = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())
    assert (model.config._attn_implementation, hooks) == ("sdpa", 0)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)).eval()
    _, cache = run_with_cache(adapted, IDS)
    assert cache.keys() == before.keys()
    assert (cache["0.q"] - before["0.q"]).abs().max() > 0.01
    assert torch.equal(cache["0.k"], before["0.k"])


def test_rms_norm_by_hand():
    # The mean square of 3 and 4 is 12.5.
    x, gamma = torch.tensor([3.0, 4.0]), torch.tensor([1.0, 10.0])
    assert torch.allclose(rms_norm(x, gamma, 0.0), torch.tensor([3 / 12.5**0.5, 40 / 12.5**0.5]))
    assert torch.allclose(rms_norm(5 * x, gamma, 0.0), rms_norm(x, gamma, 0.0))  # a length is forgotten
    assert rms_norm(x.bfloat16(), gamma.bfloat16(), 1e-5).dtype == torch.bfloat16


def test_rotary_turns_by_the_position():
    x = torch.randn(2, 3, 7, 8, generator=torch.Generator().manual_seed(0))
    turned = rotary(x, 10_000.0)
    assert torch.equal(turned[:, :, 0], x[:, :, 0])
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-5)
    angles = torch.arange(7)[:, None] / 10_000 ** (torch.arange(0, 8, 2) / 8)
    cos, sin = (torch.cat((f(angles), f(angles)), dim=-1)[None] for f in (torch.cos, torch.sin))
    assert torch.allclose(turned, apply_rotary_pos_emb(x, x, cos, sin)[0], atol=1e-6)
    # By hand: the point (1, 0) at position 1 turns by one radian.
    one = rotary(torch.tensor([[[[0.0, 0.0], [1.0, 0.0]]]]), 10_000.0)[0, 0, 1]
    assert one.tolist() == pytest.approx([math.cos(1), math.sin(1)])


def test_scores_depend_on_the_distance_alone():
    q, k = torch.randn(2, 1, 1, 1, 16, generator=torch.Generator().manual_seed(0)).expand(2, 1, 1, 12, 16)
    scores = (rotary(q, 100.0) @ rotary(k, 100.0).transpose(-1, -2))[0, 0]
    for distance in range(-3, 4):
        line = scores.diagonal(distance)
        assert torch.allclose(line, line[:1].expand_as(line), atol=1e-4)


def test_grouped_attention_is_torch_s_own():
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, heads, 5, 8, generator=draw) for heads in (6, 2, 2))
    seen = torch.ones(5, 5, dtype=torch.bool).tril()[None, None]
    mixed, weights = grouped_attention(q, k, v, seen)
    assert torch.allclose(mixed, F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True), atol=1e-6)
    assert torch.allclose(weights.sum(dim=-1), torch.ones(2, 6, 5))
    assert weights.triu(1).abs().max() == 0
    # The first token can look at itself alone; heads 0 to 2 take what key head 0 offers, 3 to 5 what 1 does.
    assert torch.allclose(mixed[:, :, 0], v[:, [0, 0, 0, 1, 1, 1], 0])


def test_the_other_steps_by_hand():
    table = torch.arange(6.0).view(3, 2)
    assert embed(torch.tensor([[2, 0]]), table).tolist() == [[[4.0, 5.0], [0.0, 1.0]]]
    assert unembed(torch.tensor([[[1.0, 10.0]]]), table).tolist() == [[[10.0, 32.0, 54.0]]]
    gate, up = torch.tensor([0.0, 2.0, -1.0]), torch.tensor([7.0, 3.0, 5.0])
    assert torch.allclose(swiglu(gate, up), F.silu(gate) * up)
    assert swiglu(gate, up)[0] == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (GemmaConfig(**SIZES, num_key_value_heads=2), "a 'gemma' model is not built as the lessons say"),
        (
            LlamaConfig(**SIZES, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}),
            "rope_type 'linear' turns positions by another rule",
        ),
        (MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=8), "9 tokens are more than .* window of 8"),
    ],
)
def test_a_model_that_is_built_otherwise_is_refused(config, message):
    model = random_model(config)
    with pytest.raises(LorakitError, match=message):
        run_with_cache(model, IDS)
    with pytest.raises(LorakitError, match=message):
        forward(model.state_dict(), config, IDS)
