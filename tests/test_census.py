import pytest
from peft import LoraConfig, get_peft_model
from transformers import Gemma2Config, GPT2Config, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from lorakit import LorakitError
from lorakit.census import ROLES, census, role_of
from lorakit.models import empty_model


def config_of(kind, V, D, F, L, H, K, **more):
    return kind(
        vocab_size=V,
        hidden_size=D,
        intermediate_size=F,
        num_hidden_layers=L,
        num_attention_heads=H,
        num_key_value_heads=K,
        **more,
    )


def closed_form(V, D, F, L, H, K, tied=False, biases=False):
    """What a Llama of these sizes has, on paper."""
    keys, bias = K * D // H, int(biases)
    return {
        "embedding": V * D,
        "q": L * (D * D + bias * D),
        "k": L * (D * keys + bias * keys),
        "v": L * (D * keys + bias * keys),
        "o": L * D * D,
        "gate": L * D * F,
        "up": L * D * F,
        "down": L * D * F,
        "norm": (2 * L + 1) * D,
        "head": 0 if tied else V * D,
    }


# the sizes in the models' own config.json
MODELS = {
    "Meta-Llama-3-8B": (LlamaConfig, (128256, 4096, 14336, 32, 32, 8), {}, 8_030_261_248),
    "Llama-2-7b": (LlamaConfig, (32000, 4096, 11008, 32, 32, 32), {}, 6_738_415_616),
    "Llama-3.2-1B": (LlamaConfig, (128256, 2048, 8192, 16, 32, 8), {"tied": True}, 1_235_814_400),
    "Llama 70B": (LlamaConfig, (128256, 8192, 28672, 80, 64, 8), {}, 70_553_706_496),
    "Mistral-7B-v0.1": (MistralConfig, (32000, 4096, 14336, 32, 32, 8), {}, 7_241_732_096),
    "Qwen2.5-0.5B": (Qwen2Config, (151936, 896, 4864, 24, 14, 2), {"tied": True, "biases": True}, 494_032_768),
}


@pytest.mark.parametrize(("kind", "sizes", "more", "total"), MODELS.values(), ids=MODELS)
def test_the_census_of_real_models(kind, sizes, more, total):
    config = config_of(kind, *sizes, tie_word_embeddings=more.get("tied", False))
    counts = census(config)
    assert tuple(counts) == ROLES
    assert counts == closed_form(*sizes, **more)
    assert sum(counts.values()) == total == empty_model(config).num_parameters()


def test_qwen3_norms_each_head():
    sizes = (100, 64, 96, 3, 4, 2)
    counts = census(config_of(Qwen3Config, *sizes, head_dim=16, tie_word_embeddings=False))
    assert counts == closed_form(*sizes) | {"norm": (2 * 3 + 1) * 64 + 3 * (16 + 16)}


@pytest.mark.parametrize("loaded", ["tiny", "tiny_nf4"])
def test_a_model_with_its_adapters_counts_as_its_base(loaded, request):
    model, _ = request.getfixturevalue(loaded)
    config = model.config
    expected = closed_form(config.vocab_size, 64, 128, 2, 4, 2, tied=True)
    assert census(model) == expected
    assert census(get_peft_model(model, LoraConfig(task_type="CAUSAL_LM"))) == expected


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("model.embed_tokens.weight", "embedding"),
        ("model.layers.3.self_attn.q_proj.weight", "q"),
        ("model.layers.3.self_attn.k_proj.bias", "k"),
        ("model.layers.3.self_attn.v_proj.weight", "v"),
        ("model.layers.3.self_attn.o_proj.weight", "o"),
        ("model.layers.30.mlp.gate_proj.weight", "gate"),
        ("model.layers.30.mlp.up_proj.weight", "up"),
        ("model.layers.30.mlp.down_proj.weight", "down"),
        ("model.layers.0.input_layernorm.weight", "norm"),
        ("model.layers.0.post_attention_layernorm.weight", "norm"),
        ("model.layers.0.self_attn.q_norm.weight", "norm"),
        ("model.layers.0.self_attn.k_norm.weight", "norm"),
        ("model.norm.weight", "norm"),
        ("lm_head.weight", "head"),
    ],
)
def test_role_of(name, role):
    assert role_of(name) == role


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight",
        "model.layers.0.self_attn.q_proj.weight.absmax",
        "model.layers.0.self_attn.q_proj.SCB",
        "model.layers.0.mlp.gate.weight",
        "weight",
        "",
    ],
)
def test_a_name_without_a_role_is_said(name):
    with pytest.raises(LorakitError, match=r"has none of the roles .* take a model such as Llama") as error:
        role_of(name)
    assert repr(name) in str(error.value)


@pytest.mark.parametrize(
    ("config", "tensor"),
    [
        (GPT2Config(n_layer=1), "transformer.wte.weight"),
        (Gemma2Config(num_hidden_layers=1), "model.layers.0.pre_feedforward_layernorm.weight"),
    ],
)
def test_a_model_of_another_type_is_refused(config, tensor):
    with pytest.raises(LorakitError, match=f"tensor '{tensor}' has none of the roles"):
        census(config)
