import random

import pytest
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig

from lorakit import LorakitError
from lorakit.lora import LINEAR_LAYERS, adapter_file_bytes, count_lora_parameters, features_per_rank, target_shapes
from lorakit.models import linear_shapes, load_model

LLAMA_2_7B = LlamaConfig()  # transformers' defaults are its sizes
LLAMA_3_8B = LlamaConfig(vocab_size=128_256, intermediate_size=14_336, num_key_value_heads=8)


def test_a_hand_worked_example():
    shapes = {"layers.0.q_proj": (10, 20), "layers.0.up_proj": (30, 5), "layers.1.q_proj": (10, 20)}
    assert features_per_rank(shapes) == 30 + 35 + 30
    assert target_shapes(shapes, ["up_proj"]) == {"layers.0.up_proj": (30, 5)}


@pytest.mark.parametrize(
    ("config", "r", "targets", "weights"),
    [
        (LLAMA_2_7B, 8, ("q_proj", "v_proj"), 32 * 8 * 4 * 4096),  # 4.2 million
        (LLAMA_2_7B, 64, LINEAR_LAYERS, 159_907_840),  # 160 million
        (LLAMA_3_8B, 8, ("q_proj", "v_proj"), 32 * 8 * (2 * 4096 + 4096 + 1024)),
    ],
)
def test_the_count_of_a_large_model_needs_its_config_alone(config, r, targets, weights):
    assert count_lora_parameters(config, r, targets) == weights


def test_a_wrong_name_is_named():
    with pytest.raises(LorakitError, match="'query' is not in this model: its linear layers are down_proj, gate_proj"):
        count_lora_parameters(LLAMA_2_7B, 8, ["q_proj", "query"])


def test_weights_and_file_are_peft_s_own(tiny, tmp_path):
    model, _ = tiny
    draw = random.Random(0)
    for i in range(12):
        r, targets = draw.choice((1, 2, 7, 8, 16, 100)), draw.sample(LINEAR_LAYERS, draw.randint(1, 7))
        adapted = get_peft_model(model, LoraConfig(r=r, target_modules=targets, task_type="CAUSAL_LM"))
        adapted.save_pretrained(tmp_path / str(i))
        assert count_lora_parameters(adapted, r, targets) == adapted.get_nb_trainable_parameters()[0]
        shapes = target_shapes(linear_shapes(adapted.unload()), targets)
        size = (tmp_path / str(i) / "adapter_model.safetensors").stat().st_size
        assert adapter_file_bytes(shapes, [r, r + 1])[0] == size


def test_a_quantised_model_and_one_with_adapters_count_as_their_base(tiny, tiny_nf4):
    plain = count_lora_parameters(tiny[0], 8, ["q_proj"])
    assert plain == 2 * 8 * (64 + 64)
    assert count_lora_parameters(tiny_nf4[0], 8, ["q_proj"]) == plain
    assert count_lora_parameters(get_peft_model(tiny[0], LoraConfig(target_modules=["q_proj"])), 8, ["q_proj"]) == plain


def test_the_default_model_s_adapter_on_disk(tmp_path):
    model, _ = load_model(device="cpu")
    adapted = get_peft_model(model, LoraConfig(r=8, target_modules=list(LINEAR_LAYERS), task_type="CAUSAL_LM"))
    adapted.save_pretrained(tmp_path)
    shapes = target_shapes(linear_shapes(adapted.unload()), LINEAR_LAYERS)
    assert adapter_file_bytes(shapes, [8]) == [(tmp_path / "adapter_model.safetensors").stat().st_size]


def test_no_adapter_is_no_file():
    assert adapter_file_bytes({}, [8, 16]) == [0, 0]
