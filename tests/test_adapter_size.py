import random
from xml.etree import ElementTree

import pytest
import torch
from peft import LoraConfig, get_peft_model
from test_explorer import picture, texts
from transformers import GPT2Config, LlamaConfig, MistralConfig, Qwen2Config

from lorakit import LorakitError
from lorakit.finetune import TrainConfig
from lorakit.lora import LINEAR_LAYERS
from lorakit.models import empty_model, linear_shapes, load_model
from lorakit.quantization import base_bytes
from widgets import show_adapter_size
from widgets.adapter_size import ALPHAS, RANKS


def test_every_number_is_peft_s_and_the_disk_s(tiny, tmp_path):
    model, _ = tiny
    explorer, draw = show_adapter_size(model), random.Random(0)
    for i in range(10):
        r, alpha = draw.choice(RANKS), draw.choice(ALPHAS)
        targets = [module for module in LINEAR_LAYERS if draw.random() < 0.5] or ["q_proj"]
        explorer.value = {"r": r, "lora_alpha": alpha, "target_modules": targets}
        config = TrainConfig(**explorer.value)
        assert (config.r, config.lora_alpha, list(config.target_modules)) == (r, alpha, targets)
        lora = LoraConfig(r=r, lora_alpha=alpha, target_modules=targets, task_type="CAUSAL_LM")
        adapted = get_peft_model(model, lora)
        adapted.save_pretrained(tmp_path / str(i))
        file_bytes = (tmp_path / str(i) / "adapter_model.safetensors").stat().st_size
        trained, everything = adapted.get_nb_trainable_parameters()
        assert explorer.numbers["adapters"][" ".join(targets)][str(r)] == {
            "parameters": trained,
            "percent": pytest.approx(100 * trained / everything),
            "file_bytes": file_bytes,
        }
        layer = adapted.base_model.model.model.layers[0].get_submodule(
            ("self_attn." if targets[0][0] in "qkvo" else "mlp.") + targets[0]
        )
        assert explorer.numbers["scaling"][str(alpha)][str(r)] == layer.scaling["default"]
        results = explorer.describe(explorer.value).results
        assert results["Adapter parameters"] == f"{trained:,}"
        assert results["Adapter on disk"].startswith(f"{file_bytes:,} bytes")
        model = adapted.unload()


@pytest.mark.parametrize("quant_type", [None, "int8", "nf4", "fp4"])
def test_the_base_s_bytes_follow_the_quant_type(tiny_folder, quant_type):
    model, _ = load_model(tiny_folder, device="cpu")
    explorer = show_adapter_size(model, quant_type=quant_type)
    empty = empty_model(model)
    expected = base_bytes(empty.num_parameters(), linear_shapes(empty), quant_type, True, torch.float32)
    assert explorer.describe(explorer.value).results["Base in memory"].startswith(f"{expected:,} bytes")


def test_the_types_that_were_asked_for_have_their_numbers_and_others_are_named(tiny_folder):
    model, _ = load_model(tiny_folder, device="cpu")
    explorer = show_adapter_size(model, quant_types=(None, "int8"), quant_type="int8")
    assert explorer.describe(explorer.value).results["Base in memory"]
    with pytest.raises(LorakitError, match="int4"):
        show_adapter_size(model, quant_types=(None, "int4"))


def test_the_default_model_from_its_config_alone():
    explorer = show_adapter_size(LlamaConfig(vocab_size=49_152, hidden_size=576, intermediate_size=1536,
        num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True))  # fmt: skip
    assert explorer.describe(explorer.value).results == {
        "Adapter parameters": "460,800",
        "Share of all parameters": "0.341 %",
        "Adapter on disk": "1,858,776 bytes (1.77 MiB)",
        "Base in memory": "538,060,032 bytes (513.13 MiB)",
        "Scaling, alpha / r": "2",
    }
    assert explorer.title == "Adapters for LlamaForCausalLM"


def test_the_drawing_shows_adapters_where_they_sit():
    explorer = show_adapter_size(LlamaConfig(num_hidden_layers=2), r=16, target_modules=("o_proj", "k_proj"))
    svg, alt = picture(explorer)
    assert texts(svg).count("A") == texts(svg).count("B") == 2
    assert "4,096 → 11,008" in texts(svg)
    assert [node.get("data-when") for node in svg.iter() if node.get("data-when")] == [
        "target_modules=k_proj",
        "target_modules=o_proj",
    ]
    assert "One of 2 blocks. Trained are A and B, thicker with r, beside k_proj, o_proj." in alt
    assert ElementTree.fromstring(explorer.drawing).get("style") is None  # what the browser gets has no value in it
    explorer.value = {"quant_type": "nf4", "target_modules": []}
    svg, alt = picture(explorer)
    assert [node.get("data-when") for node in svg.iter() if node.get("data-when")] == ["quant_type=int8 nf4 fp4"]
    assert alt.endswith("No adapter: choose at least one layer.")


@pytest.mark.parametrize("config", [MistralConfig(num_hidden_layers=1), Qwen2Config(num_hidden_layers=1)])
def test_other_llama_type_models(config):
    explorer = show_adapter_size(config)
    assert explorer.numbers["blocks"] == 1
    assert explorer.title == f"Adapters for {type(config).__name__.removesuffix('Config')}ForCausalLM"


def test_a_start_beside_the_scale_is_on_it():
    explorer = show_adapter_size(LlamaConfig(num_hidden_layers=1), r=6, lora_alpha=11)
    assert explorer.value["r"] == 6
    assert [option["value"] for option in explorer.controls[0]["options"]][:5] == [1, 2, 4, 6, 8]
    assert explorer.describe(explorer.value).results["Scaling, alpha / r"] == "1.83333"


def test_a_lesson_may_offer_fewer_quant_types():
    explorer = show_adapter_size(LlamaConfig(num_hidden_layers=1), quant_type="nf4", quant_types=("nf4", "fp4"))
    assert TrainConfig(**explorer.value).method == "qlora"
    with pytest.raises(LorakitError, match="quant_type None is not on this control: choose from 'nf4', 'fp4'"):
        explorer.value = {"quant_type": None}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r": 0}, "r is 0: it is a whole number of at least 1"),
        ({"lora_alpha": True}, "lora_alpha is True"),
        ({"target_modules": ("q_proj", "query")}, "target_modules 'query' is not on this control"),
        ({"target_modules": "q"}, "target_modules 'q' is not on this control"),
        ({"quant_type": "int4"}, "quant_type 'int4' is not on this control"),
    ],
)
def test_a_start_that_cannot_be_meant(options, message):
    with pytest.raises(LorakitError, match=message):
        show_adapter_size(LlamaConfig(num_hidden_layers=1), **options)


def test_other_blocks_are_refused():
    with pytest.raises(LorakitError, match=r"GPT2LMHeadModel has .* only a Llama-type block can be drawn"):
        show_adapter_size(GPT2Config(n_layer=1))
    with pytest.raises(LorakitError, match="str is no causal language model's config"):
        show_adapter_size("meta-llama/Llama-2-7b-hf")
