"""Both fine-tunes on a CUDA GPU, in bf16 and in fp16: on a tiny model, and on the shapes of the default one.

All weights are random and the tokenizer is made here, so that a GPU machine without a network can run it.
"""

import math

import pytest
import torch
from peft import PeftModel, prepare_model_for_kbit_training
from tiny import ROWS, TINY, save_llama
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lorakit.data import collate, encode
from lorakit.finetune import (
    TrainConfig,
    add_adapters,
    completion_logits,
    completion_loss,
    evaluate,
    finetune,
    require_gradients,
)
from lorakit.models import compute_dtype, load_model, weight_bytes

DEVICE = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here: these tests train on one")

SMOLLM2_135M = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "rms_norm_eps": 1e-5,
    "rope_theta": 100_000,
}
SETTINGS = {"micro_batch_size": 4, "gradient_accumulation_steps": 2, "warmup_steps": 1, "lr_scheduler_type": "constant"}


def tokenizer_of_rows():
    """One id a word."""
    texts = [row["prompt"] + word for row in ROWS for word in row["label_words"]]
    words = sorted({word for text in texts for word in text.split()})
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<pad>", "<eos>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="<eos>")


@pytest.fixture(scope="module", params=[TINY | {"vocab_size": 64}, SMOLLM2_135M], ids=["tiny", "smollm2-135m"])
def folder(request, tmp_path_factory):
    """A Llama with random weights and a tokenizer, for load_model()."""
    tokenizer = tokenizer_of_rows()
    assert len(tokenizer) <= request.param["vocab_size"]
    return save_llama(tmp_path_factory.mktemp("model"), tokenizer, request.param)


@pytest.fixture(params=[torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def dtype(request):
    if request.param == torch.bfloat16 and not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("this GPU has no bf16 of its own")
    return request.param


@pytest.fixture(params=["lora", "qlora"])
def method(request):
    if request.param == "qlora":
        pytest.importorskip("bitsandbytes")
    return request.param


@pytest.fixture
def load(folder, method, dtype):
    """Gives a fresh base and its tokenizer."""
    return lambda: load_model(folder, quant_type="nf4" if method == "qlora" else None, dtype=dtype, device=DEVICE)


def batch_of(tokenizer):
    return collate(encode(ROWS, tokenizer), tokenizer.pad_token_id)


def adapter_of(model):
    return torch.cat([weight.detach().float().flatten() for weight in model.parameters() if weight.requires_grad])


def base_of(model, method):
    """Copies of what must not change: of a LoRA base all, of a 4-bit base the codes and their scales."""
    if method == "lora":
        return {name: value.clone() for name, value in model.state_dict().items()}
    from bitsandbytes.nn import Linear4bit

    layers = {name: module for name, module in model.named_modules() if isinstance(module, Linear4bit)}
    codes = {f"{name}.codes": layer.weight.data.clone() for name, layer in layers.items()}
    return codes | {f"{name}.absmax": layer.weight.quant_state.absmax.clone() for name, layer in layers.items()}


def test_the_model_is_where_and_what_it_should_be(load, method, dtype):
    model, _ = load()
    assert model.device.type == DEVICE
    assert compute_dtype(model) == dtype
    if method == "qlora":
        codes = base_of(model, method)
        assert len(codes) == 2 * 7 * model.config.num_hidden_layers
        assert all(value.dtype == torch.uint8 for name, value in codes.items() if name.endswith(".codes"))


@torch.no_grad()
def test_the_output_is_unchanged_at_b_zero(load, method):
    model, tokenizer = load()
    model.requires_grad_(False)  # as it will be: torch takes another kernel for a weight that wants a gradient
    before, _ = completion_logits(model, batch_of(tokenizer))
    adapted = add_adapters(model, TrainConfig(method=method)).eval()
    after, _ = completion_logits(adapted, batch_of(tokenizer))
    if method == "lora":
        assert torch.equal(before, after)
    with adapted.disable_adapter():  # what was prepared for QLoRA, without the adapters
        assert torch.equal(completion_logits(adapted, batch_of(tokenizer))[0], after)
    for name, weight in adapted.named_parameters():
        if ".lora_B." in name:
            weight.fill_(0.1)
    assert not torch.allclose(completion_logits(adapted, batch_of(tokenizer))[0], after, atol=1e-2)


def test_gradients_reach_both_ends_after_an_evaluation(load, method, dtype):
    model, tokenizer = load()
    adapted = add_adapters(model, TrainConfig(method=method))
    evaluate(adapted, tokenizer, ROWS)
    adapted.train()
    scaler = torch.amp.GradScaler(DEVICE, init_scale=1024.0, enabled=dtype == torch.float16)
    scaler.scale(completion_loss(adapted, batch_of(tokenizer))).backward()
    norms = require_gradients(adapted)
    last = model.config.num_hidden_layers - 1
    assert [name.split(".layers.")[1].removesuffix(".lora_B.default.weight") for name in norms] == [
        "0.self_attn.q_proj",
        f"{last}.self_attn.v_proj",
    ]
    assert all(0 < norm < math.inf for norm in norms.values())


def test_a_small_problem_is_learned_and_the_base_is_untouched(load, method):
    model, tokenizer = load()
    base = base_of(model, method)
    config = TrainConfig(
        method=method, steps=25, learning_rate=1e-2, target_modules=("q_proj", "v_proj", "down_proj"), **SETTINGS
    )
    history = finetune(config, model, tokenizer, train=ROWS)
    assert all(math.isfinite(loss) for loss in history.losses)
    assert history.losses[-1] < 0.5 * history.losses[0]
    assert history.after.loss < 0.5 * history.before.loss
    assert history.peak_memory_bytes > weight_bytes(history.model)
    after = base_of(history.model.unload(), method)
    assert base.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in base.items())


def test_plain_peft_loads_the_adapter(load, method, tmp_path):
    config = TrainConfig(method=method, steps=4, learning_rate=1e-2, **SETTINGS)
    history = finetune(config, *load(), train=ROWS, output_dir=tmp_path / "run")
    base, tokenizer = load()
    if method == "qlora":
        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
    loaded = PeftModel.from_pretrained(base, tmp_path / "run").eval()
    with torch.no_grad():
        ours, _ = completion_logits(history.model.eval(), batch_of(tokenizer))
        theirs, _ = completion_logits(loaded, batch_of(tokenizer))
        with loaded.disable_adapter():
            without, _ = completion_logits(loaded, batch_of(tokenizer))
    moved = (ours - without).abs().max()
    assert (ours - theirs).abs().max() < 0.05 * moved


def test_fp16_scales_its_loss_and_resume_goes_on(load, method, dtype, tmp_path):
    config = TrainConfig(method=method, steps=6, learning_rate=1e-2, lora_dropout=0.1, **SETTINGS)
    whole = finetune(config, *load(), train=ROWS)
    parts = {"train": ROWS, "output_dir": tmp_path / "run"}
    stopped = finetune(config, *load(), callback=lambda step: step.step == 3, **parts)
    assert stopped.stopped
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    if dtype == torch.float16:
        assert state["scaler"]["scale"] > 1
        assert state["scaler"]["_growth_tracker"] > 0  # steps that no overflow threw away
    else:
        assert state["scaler"] == {}
    half = adapter_of(stopped.model)
    torch.manual_seed(12345)  # what happened in between must not matter
    rest = finetune(config, *load(), resume=True, **parts)
    assert rest.losses[:3] == stopped.losses
    assert rest.losses == pytest.approx(whole.losses, rel=0.02)
    assert rest.tokens == whole.tokens
    # A GPU adds in no fixed order, so not bit for bit: what is off must be small beside what the last steps did.
    end, wanted = adapter_of(rest.model), adapter_of(whole.model)
    assert (end - wanted).norm() < 0.1 * (half - wanted).norm()
