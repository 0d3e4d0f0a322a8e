import hashlib
import json
import math
import os
import shutil
import signal
import warnings

import bitsandbytes as bnb
import pytest
import torch
import torch.nn.functional as F
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from tiny import ROWS

from lorakit import LorakitError
from lorakit.data import collate, encode
from lorakit.finetune import (
    Evaluation,
    TrainConfig,
    add_adapters,
    base_fingerprint,
    completion_loss,
    evaluate,
    finetune,
    learning_rate_at,
    loop,
    lora_b_gradients,
    require_gradients,
    wilson_interval,
)
from lorakit.finetune.adapters import peft_config
from lorakit.finetune.folder import held_by
from lorakit.models import compute_dtype, load_model

SMALL = {"steps": 6, "micro_batch_size": 2, "gradient_accumulation_steps": 2, "warmup_steps": 1, "lora_dropout": 0.1}


def config_of(method="lora", **changes):
    return TrainConfig(method=method, **{**SMALL, **changes})


def base_of(method, tiny_folder):
    return load_model(tiny_folder, quant_type="nf4" if method == "qlora" else None, device="cpu")


# ------------------------------------------------------------------------------------------------- the config


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"r": 0}, "r is 0"),
        ({"r": 2.5}, "r is 2.5"),
        ({"r": "8"}, "r is '8'"),
        ({"r": True}, "r is True"),
        ({"steps": -1}, "steps is -1"),
        ({"micro_batch_size": 0}, "micro_batch_size is 0"),
        ({"lora_alpha": 0}, "lora_alpha is 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"lora_dropout": 1.0}, "lora_dropout is 1.0"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"method": "full"}, "method 'full' is unknown: use 'lora' or 'qlora'"),
        ({"lr_scheduler_type": "step"}, "lr_scheduler_type 'step' is unknown"),
        ({"method": "qlora", "quant_type": "int4"}, "quant_type 'int4' is unknown: use 'nf4', 'fp4' or 'int8'"),
        ({"method": "lora", "quant_type": "nf4"}, "method 'qlora', not 'lora'"),
        ({"target_modules": "q_proj"}, "target_modules is 'q_proj'"),
        ({"target_modules": ()}, r"target_modules is \(\)"),
    ],
)
def test_a_config_that_cannot_be_meant_is_named(wrong, says):
    with pytest.raises(LorakitError, match=says):
        TrainConfig(**wrong)


def test_the_method_goes_by_the_quant_type_where_it_is_not_said():
    assert TrainConfig().method == "lora"
    assert TrainConfig(quant_type="fp4").method == "qlora"


def test_qlora_takes_nf4_where_nothing_is_said():
    assert TrainConfig(method="qlora").quant_type == "nf4"
    assert TrainConfig(method="qlora", quant_type="fp4").quant_type == "fp4"
    assert TrainConfig().quant_type is None


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("linear", [1 / 3, 2 / 3, 1, 3 / 4, 2 / 4, 1 / 4]),
        ("constant", [1 / 3, 2 / 3, 1, 1, 1, 1]),
        ("cosine", [1 / 3, 2 / 3, 1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
    ],
)
def test_the_learning_rate_by_hand(schedule, factors):
    config = TrainConfig(steps=6, warmup_steps=2, learning_rate=0.6, lr_scheduler_type=schedule)
    assert [learning_rate_at(index, config) for index in range(6)] == pytest.approx([0.6 * f for f in factors])


# ------------------------------------------------------------------------------------------------- adapters


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_the_output_is_unchanged_at_b_zero(method, tiny_folder, rows):
    model, tokenizer = base_of(method, tiny_folder)
    batch = collate(encode(rows, tokenizer), tokenizer.pad_token_id)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "position_ids")}
    with torch.no_grad():
        before = model(**inputs).logits
        adapted = add_adapters(model, config_of(method)).eval()
        after = adapted(**inputs).logits
    assert torch.equal(before, after)
    trainable, _ = adapted.get_nb_trainable_parameters()
    # r * (in + out) for q (64 -> 64) and v (64 -> 32, grouped heads), in 2 layers.
    assert trainable == 2 * 8 * ((64 + 64) + (64 + 32))


def test_a_wrong_layer_is_named_even_beside_a_right_one(tiny):
    model, _ = tiny
    with pytest.raises(LorakitError, match=r"'query' is not in this model: its linear layers are down_proj, .*q_proj"):
        add_adapters(model, TrainConfig(target_modules=("q_proj", "query")))


def test_a_base_that_does_not_fit_the_method_is_named(tiny, tiny_nf4):
    for base, config, said in [
        (
            tiny,
            {"method": "qlora"},
            r"'nf4' does not fit a base whose quant_type is None: load_model\(quant_type='nf4'",
        ),
        (tiny_nf4, {}, r"None does not fit a base whose quant_type is 'nf4': load_model\(quant_type=None\)"),
        (tiny_nf4, {"quant_type": "fp4"}, "'fp4' does not fit a base whose quant_type is 'nf4'"),
        (tiny_nf4, {"quant_type": "nf4", "double_quant": False}, "loaded with double_quant True and .* has False"),
    ]:
        with pytest.raises(LorakitError, match=said):
            add_adapters(base[0], TrainConfig(**config))


def test_adapters_of_an_earlier_call_leave_no_trace(tiny_folder):
    fresh, used = (load_model(tiny_folder, device="cpu")[0] for _ in range(2))
    add_adapters(used, config_of(target_modules=("q_proj", "down_proj"), gradient_checkpointing=True))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "You are trying to modify a model with PEFT for a second time")
        again = add_adapters(used, config_of(target_modules=("v_proj",)))
    once = add_adapters(fresh, config_of(target_modules=("v_proj",)))
    assert {name: w.tolist() for name, w in again.named_parameters() if w.requires_grad} == {
        name: w.tolist() for name, w in once.named_parameters() if w.requires_grad
    }
    assert again.state_dict().keys() == once.state_dict().keys()
    assert not again.is_gradient_checkpointing


def test_a_merged_adapter_of_an_earlier_call_is_taken_out_too(tiny_folder):
    base, _ = load_model(tiny_folder, device="cpu")
    before = {name: weight.clone() for name, weight in base.state_dict().items()}
    earlier = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False))
    earlier.merge_adapter()
    after = add_adapters(base, config_of(target_modules=("v_proj",))).unload().state_dict()
    assert after.keys() == before.keys()
    assert all(torch.allclose(after[name], weight, atol=1e-6) for name, weight in before.items())  # peft subtracts


def test_adapters_that_do_not_fit_the_config_are_named(tiny, rows):
    model, tokenizer = tiny
    adapted = add_adapters(model, config_of(r=4))
    with pytest.raises(LorakitError, match="adapters have r 4 and the config has 8"):
        finetune(config_of(), adapted, tokenizer, train=rows)
    with pytest.raises(LorakitError, match=r"adapters are on \['q_proj', 'v_proj'\] and the config has \['o_proj'\]"):
        finetune(config_of(r=4, target_modules=("o_proj",)), adapted, tokenizer, train=rows)


def test_an_adapter_of_another_name_is_trained_and_not_kept_in_a_folder(tiny_folder, tmp_path, rows):
    base, tokenizer = load_model(tiny_folder, device="cpu")
    model = get_peft_model(base, peft_config(config_of()), adapter_name="mine")
    with pytest.raises(LorakitError, match="in use is called 'mine', and output_dir keeps the one called 'default'"):
        finetune(config_of(), model, tokenizer, train=rows, output_dir=tmp_path)
    assert finetune(config_of(), model, tokenizer, train=rows).losses


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_the_fingerprint_sees_all_of_the_base_and_none_of_the_adapter(method, tiny_folder):
    model = add_adapters(base_of(method, tiny_folder)[0], config_of(method))
    sealed = base_fingerprint(model)
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    layer.lora_B["default"].weight.data.add_(1)
    assert base_fingerprint(model) == sealed
    weight = layer.base_layer.weight
    parts = (
        [weight.data]
        if method == "lora"
        else [weight.data, weight.quant_state.absmax, weight.quant_state.state2.absmax]
    )
    for part in [*parts, model.base_model.model.model.norm.weight.data]:
        kept = part.clone()
        part.view(-1)[0] += 1
        assert base_fingerprint(model) != sealed
        part.copy_(kept)
    assert base_fingerprint(model) == sealed


# ------------------------------------------------------------------------------------------------- the loss


@pytest.fixture
def in_float32(monkeypatch):
    """Matrices multiplied in float32 on a CPU with bf16 of its own too, where they agree to three digits alone."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)


@pytest.mark.usefixtures("in_float32")
def test_the_loss_is_that_of_transformers(tiny, rows):
    model, tokenizer = tiny
    batch = collate(encode(rows, tokenizer), tokenizer.pad_token_id)
    with torch.no_grad():
        theirs = model(**batch).loss  # a mean over the completions' tokens
        ours = completion_loss(model, batch)
    assert ours.item() == pytest.approx(theirs.item() * len(rows), rel=1e-5)


@pytest.mark.usefixtures("in_float32")
def test_the_loss_of_free_text_is_that_of_transformers(tiny):
    model, tokenizer = tiny
    free = [
        {"prompt": "Say hello.", "completion": " Hello there, you."},
        {"prompt": "Count to two:", "completion": " 1 2"},
    ]
    examples = encode(free, tokenizer)
    batch = collate(examples, tokenizer.pad_token_id)
    tokens = sum(len(example.input_ids) - example.prompt_length for example in examples)
    with torch.no_grad():
        assert completion_loss(model, batch).item() == pytest.approx(model(**batch).loss.item() * tokens, rel=1e-5)


@pytest.mark.usefixtures("in_float32")
def test_small_micro_batches_give_the_adapter_of_a_large_one(tiny_folder):
    rows = [*ROWS[:4], {"prompt": "Say more.", "completion": " It went on and on for hours and hours."}] * 2
    adapters = []
    for micro, accumulate in [(8, 1), (2, 4)]:
        model, tokenizer = load_model(tiny_folder, device="cpu")
        config = config_of(micro_batch_size=micro, gradient_accumulation_steps=accumulate, lora_dropout=0.0, steps=3)
        history = finetune(config, model, tokenizer, train=rows, held_out=rows)
        adapters.append((history.losses, [p for p in model.parameters() if p.requires_grad]))
    (one_losses, one), (many_losses, many) = adapters
    assert one_losses == pytest.approx(many_losses, rel=1e-5)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one, many, strict=True))


def test_checkpointed_activations_give_the_same_gradients(tiny_folder, rows):
    norms = []
    for checkpointing in (False, True):
        model, tokenizer = load_model(tiny_folder, device="cpu")
        adapted = add_adapters(model, config_of(gradient_checkpointing=checkpointing)).train()
        torch.manual_seed(0)
        completion_loss(adapted, collate(encode(rows, tokenizer), tokenizer.pad_token_id)).backward()
        norms.append(list(lora_b_gradients(adapted).values()))
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)


# ------------------------------------------------------------------------------------------------- evaluation


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    # By hand for 8 of 10: centre (0.8 + 0.19207) / 1.38415, half 1.95996 / 1.38415 * sqrt(0.016 + 0.0096036).
    [(8, 10, 0.49016, 0.94332), (0, 10, 0.0, 0.27754), (10, 10, 0.72246, 1.0)],
)
def test_the_interval_by_hand(right, n, low, high):
    assert wilson_interval(right, n) == pytest.approx((low, high), abs=1e-4)


def score(model, tokenizer, prompt, word):
    """Log-probability of `word` after `prompt`, token by token, without padding or batching."""
    start = tokenizer(prompt).input_ids
    ids = tokenizer(prompt + word).input_ids
    with torch.no_grad():
        logs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(logs[i - 1, ids[i]].item() for i in range(len(start), len(ids)))


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("words", [(" bad", " good"), (" abominable", " splendiferous", " fine")])
def test_verdicts_and_loss_are_those_of_plain_scoring(tiny, rows, words):
    model, tokenizer = tiny
    rows = [{**row, "label_words": words, "completion": words[i % len(words)]} for i, row in enumerate(rows)]
    scores = [[score(model, tokenizer, row["prompt"], word) for word in words] for row in rows]
    result = evaluate(model, tokenizer, rows, micro_batch_size=3)
    assert result.predictions == [words[s.index(max(s))] for s in scores]
    tokens = sum(len(tokenizer(word).input_ids) for word in (row["completion"] for row in rows))
    right = [s[words.index(row["completion"])] for s, row in zip(scores, rows, strict=True)]
    assert result.loss == pytest.approx(-sum(right) / tokens, rel=1e-4)
    share = sum(p == row["completion"] for p, row in zip(result.predictions, rows, strict=True)) / len(rows)
    assert result.accuracy == share
    assert (result.low, result.high) == wilson_interval(round(share * len(rows)), len(rows))


def test_free_text_has_a_loss_and_no_accuracy(tiny):
    model, tokenizer = tiny
    result = evaluate(model, tokenizer, [{"prompt": "One, two,", "completion": " three"}])
    assert result.accuracy is None
    assert result.predictions is None
    assert result.loss > 0


def test_evaluation_leaves_the_mode_as_it_was(tiny, rows):
    model, tokenizer = tiny
    for training in (True, False):
        model.train(training)
        evaluate(model, tokenizer, rows)
        assert model.training is training


# ------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_a_small_problem_is_learned_and_the_base_is_untouched(method, tiny_folder, rows):
    model, tokenizer = base_of(method, tiny_folder)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    config = config_of(
        method, steps=30, learning_rate=1e-2, lora_dropout=0.0, target_modules=("q_proj", "v_proj", "down_proj")
    )
    history = finetune(config, model, tokenizer, train=rows)
    assert history.after.accuracy == 1.0
    assert history.after.loss < 0.6 * history.before.loss
    assert len(history.losses) == 30
    assert history.losses[-1] < 0.6 * history.losses[0]
    assert history.tokens_per_second > 0
    assert history.peak_memory_bytes > 0
    assert not history.stopped
    after = history.model.unload().state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_the_adapter_is_pefts_own(tiny_folder, tmp_path, rows):
    model, tokenizer = load_model(tiny_folder, device="cpu")
    history = finetune(config_of(), model, tokenizer, train=rows, output_dir=tmp_path / "run")
    base, _ = load_model(tiny_folder, device="cpu")
    loaded = PeftModel.from_pretrained(base, tmp_path / "run").eval()
    batch = collate(encode(rows, tokenizer), tokenizer.pad_token_id)
    with torch.no_grad():
        assert torch.equal(completion_loss(loaded, batch), completion_loss(history.model.eval(), batch))
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "history.json",
    ]
    record = json.loads((tmp_path / "run" / "history.json").read_text())
    assert record["losses"] == history.losses
    assert record["config"]["r"] == 8
    assert record["after"]["accuracy"] == history.after.accuracy


def digest(folder):
    return hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize(("how", "compute"), [("stopped", "float32"), ("killed", "float32"), ("killed", "bf16")])
def test_resume_gives_the_same_adapter_bit_for_bit(method, how, compute, tiny_folder, tmp_path, rows, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": compute == "bf16"})
    config = config_of(method)
    whole = finetune(config, *base_of(method, tiny_folder), train=rows, output_dir=tmp_path / "whole")

    class Killed(Exception):
        pass

    def at_step_3(step):
        if step.step == 3 and how == "killed":  # one step after the checkpoint: that step is done again
            raise Killed
        return step.step == 3

    parts = {"train": rows, "output_dir": tmp_path / "parts", "checkpoint_every": 2}
    if how == "killed":
        with pytest.raises(Killed):
            finetune(config, *base_of(method, tiny_folder), callback=at_step_3, **parts)
    else:
        assert finetune(config, *base_of(method, tiny_folder), callback=at_step_3, **parts).stopped
        assert digest(tmp_path / "parts") != digest(tmp_path / "whole")
    torch.manual_seed(12345)  # what happened in between must not matter
    rest = finetune(config, *base_of(method, tiny_folder), resume=True, **parts)
    assert digest(tmp_path / "parts") == digest(tmp_path / "whole")
    assert rest.losses == whole.losses
    assert (rest.before, rest.after, rest.tokens) == (whole.before, whole.after, whole.tokens)
    assert not (tmp_path / "parts" / "checkpoint.pt").exists()


def test_what_fails_after_the_last_step_loses_nothing(tiny_folder, tmp_path, rows, monkeypatch):
    def fail_the_second_time(*arguments):
        if done:
            raise KeyboardInterrupt
        done.append(real(*arguments))
        return done[0]

    done, real, run = [], loop.evaluate, {"train": rows, "output_dir": tmp_path / "run"}
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop, "evaluate", fail_the_second_time)
        finetune(config_of(), *base_of("lora", tiny_folder), **run)
    rest = finetune(config_of(), *base_of("lora", tiny_folder), resume=True, **run)
    whole = finetune(config_of(), *base_of("lora", tiny_folder), train=rows)
    assert (rest.losses, rest.after) == (whole.losses, whole.after)
    assert held_by(tmp_path / "run") == "finished adapter"


def test_the_seed_decides_and_nothing_else(tiny_folder, tmp_path, rows):
    for name, seed in [("a", 0), ("b", 0), ("c", 1)]:
        finetune(config_of(seed=seed), *base_of("lora", tiny_folder), train=rows, output_dir=tmp_path / name)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")


def test_a_checkpoint_of_another_run_is_refused(tiny_folder, tmp_path, rows):
    run = {"train": rows, "output_dir": tmp_path / "run"}
    finetune(config_of(), *base_of("lora", tiny_folder), callback=lambda step: step.step == 2, **run)
    with pytest.raises(LorakitError, match=r"holds an unfinished run: resume it \(resume=True\)"):
        finetune(config_of(), *base_of("lora", tiny_folder), **run)
    with pytest.raises(LorakitError, match="made with r 8, not 4"):
        finetune(config_of(r=4), *base_of("lora", tiny_folder), resume=True, **run)
    with pytest.raises(LorakitError, match="made with other rows"):
        finetune(config_of(), *base_of("lora", tiny_folder), resume=True, **{**run, "train": rows[:5]})
    with pytest.raises(LorakitError, match="made with other rows, to train or to judge on"):
        finetune(config_of(), *base_of("lora", tiny_folder), resume=True, held_out=rows[:5], **run)
    other = shutil.copytree(tiny_folder, tmp_path / "other")
    with pytest.raises(LorakitError, match="or with another model"):
        finetune(config_of(), *base_of("lora", other), resume=True, **run)
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"half")
    with pytest.raises(LorakitError, match=r"checkpoint .* cannot be read"):
        finetune(config_of(), *base_of("lora", tiny_folder), resume=True, **run)


def test_a_finished_adapter_is_never_overwritten(tiny_folder, tmp_path, rows):
    run = {"train": rows, "output_dir": tmp_path / "run"}
    finetune(config_of(), *base_of("lora", tiny_folder), **run)
    kept = digest(tmp_path / "run")
    for resume in (False, True):
        with pytest.raises(LorakitError, match="holds a finished adapter, which is never overwritten"):
            finetune(config_of(seed=1), *base_of("lora", tiny_folder), resume=resume, **run)
    assert digest(tmp_path / "run") == kept


@pytest.mark.parametrize(
    ("files", "held"),
    [
        ([], None),
        (["history.json", "README.md"], None),
        (["adapter_config.json"], "finished adapter"),  # the other file may be in another format
        (["adapter_model.safetensors"], "finished adapter"),
        (["adapter_config.json", "adapter_model.safetensors"], "finished adapter"),
        (["checkpoint.pt"], "unfinished run"),
        (["adapter_config.json", "adapter_model.safetensors", "checkpoint.pt"], "unfinished run"),
    ],
)
def test_what_a_folder_holds(tmp_path, rows, files, held):
    for name in files:
        (tmp_path / name).write_text("precious")
    assert held_by(tmp_path) == held
    assert held_by(tmp_path / "missing") is None
    if held:
        with pytest.raises(LorakitError, match=f"holds an? {held}"):
            finetune(config_of(), train=rows, output_dir=tmp_path)


def test_an_interrupt_ends_the_run_after_its_step(tiny, rows, tmp_path):
    def interrupt(step):
        if step.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    history = finetune(config_of(), *tiny, train=rows, callback=interrupt, output_dir=tmp_path / "run")
    assert history.stopped
    assert len(history.losses) == 2
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    assert load_file(tmp_path / "run" / "adapter_model.safetensors")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_callback_sees_every_step(tiny, rows):
    seen = []
    history = finetune(config_of(), *tiny, train=rows, callback=seen.append)
    assert [step.step for step in seen] == [1, 2, 3, 4, 5, 6]
    assert [step.loss for step in seen] == history.losses
    assert [step.learning_rate for step in seen] == [learning_rate_at(i, config_of()) for i in range(6)]
    assert seen[-1].tokens == history.tokens


def test_what_cannot_be_trained_on_is_named(tiny, tmp_path):
    with pytest.raises(LorakitError, match="0 rows"):
        finetune(config_of(), *tiny, train=[])
    with pytest.raises(LorakitError, match=r"row 0 has \d+ tokens, and this model reads 256"):
        finetune(config_of(), *tiny, train=[{"prompt": "word " * 300, "completion": " end"}])
    with pytest.raises(LorakitError, match="checkpoint_every is 0"):
        finetune(config_of(), *tiny, train=ROWS, checkpoint_every=0)
    with pytest.raises(LorakitError, match="name it as output_dir"):
        finetune(config_of(), *tiny, train=ROWS, resume=True)
    with pytest.raises(LorakitError, match="pass both"):
        finetune(config_of(), tiny[0], train=ROWS)
    (tmp_path / "file").write_text("")
    with pytest.raises(LorakitError, match="cannot be made"):
        finetune(config_of(), *tiny, train=ROWS, output_dir=tmp_path / "file" / "run")


def test_a_full_disk_keeps_the_older_checkpoint(tiny, rows, tmp_path, monkeypatch):
    def full_at_4(state, path):
        if len(state["losses"]) == 4:
            raise RuntimeError("PytorchStreamWriter failed writing file: No space left on device")
        real(state, path)

    real = torch.save
    monkeypatch.setattr(torch, "save", full_at_4)
    with pytest.raises(LorakitError, match=r"checkpoint.pt' could not be written .*make room"):
        finetune(config_of(), *tiny, train=rows, output_dir=tmp_path, checkpoint_every=2)
    assert len(torch.load(tmp_path / "checkpoint.pt", weights_only=True)["losses"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


# ------------------------------------------------------------------------------------------------- the gradient guard


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_bf16_arithmetic_trains_float32_adapters(method, tiny_folder, rows, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    model, tokenizer = base_of(method, tiny_folder)
    assert compute_dtype(model) == torch.bfloat16
    assert model.dtype == torch.float32
    seen = []
    model.model.layers[0].mlp.up_proj.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    history = finetune(config_of(method, steps=15, learning_rate=1e-2), model, tokenizer, train=rows)
    assert set(seen) == {torch.bfloat16} if method == "lora" else {torch.float32, torch.bfloat16}
    assert history.losses[-1] < 0.8 * history.losses[0]
    assert {weight.dtype for weight in history.model.parameters() if weight.requires_grad} == {torch.float32}


@pytest.fixture
def kernel_without_backward(monkeypatch):
    """bitsandbytes' forward pass for repacked weights, as a CPU with AVX512-BF16 has it: right values, no backward.

    The kernel there writes its result from C; here it is a torch operator like it, with no autograd registered.
    """
    library = torch.library.Library("lorakit_test", "FRAGMENT")
    library.define("gemv(Tensor a, Tensor weight) -> Tensor")

    @torch.no_grad()
    def gemv(a, weight):
        return F.linear(a, weight).clone()

    library.impl("gemv", gemv, "CPU")

    def gemv_4bit(a, packed, out=None, state=None):
        return torch.ops.lorakit_test.gemv(a, bnb.functional.dequantize_4bit(packed.view(-1, 1), state).to(a.dtype))

    monkeypatch.setattr(bnb.functional, "gemv_4bit", gemv_4bit)
    yield
    library._destroy()


def repack(model):
    """What the first forward pass without gradients does there (the mark alone: the layout is the kernel's affair)."""
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.weight.quant_state.packing_format_for_cpu = True


@pytest.mark.filterwarnings("ignore:.*autograd kernel was not registered")
def test_the_silent_case_is_caught_before_the_first_step(tiny_folder, rows, kernel_without_backward):
    model, tokenizer = load_model(tiny_folder, quant_type="nf4", device="cpu")
    sound = evaluate(model, tokenizer, rows)
    adapted = add_adapters(model, config_of("qlora"))
    repack(model)
    assert evaluate(adapted, tokenizer, rows).loss == pytest.approx(sound.loss, rel=1e-5)  # forward, nothing is seen
    adapted.train()
    completion_loss(adapted, collate(encode(rows, tokenizer), tokenizer.pad_token_id)).backward()  # and this neither
    assert list(lora_b_gradients(adapted).values()) == [0.0, 0.0]
    with pytest.raises(LorakitError, match=r"no gradient reaches '.*layers\.0\.self_attn\.q_proj\.lora_B"):
        require_gradients(adapted)
    adapted.zero_grad()
    steps = []
    with pytest.raises(LorakitError, match="would train nothing"):
        finetune(config_of("qlora"), adapted, tokenizer, train=rows, callback=steps.append)
    assert steps == []


@pytest.mark.filterwarnings("ignore:.*autograd kernel was not registered")
def test_the_silent_case_is_caught_after_an_evaluation_in_the_midst(tiny_folder, rows, kernel_without_backward):
    model, tokenizer = load_model(tiny_folder, quant_type="nf4", device="cpu")

    def evaluate_at_2(step):
        if step.step == 2:
            evaluate(model, tokenizer, rows)
            repack(model)

    with pytest.raises(LorakitError, match="would train nothing"):
        finetune(config_of("qlora"), model, tokenizer, train=rows, callback=evaluate_at_2)


@pytest.mark.skipif(not bnb.functional.has_avx512bf16(), reason="this CPU has no AVX512-BF16, so nothing is repacked")
@pytest.mark.filterwarnings("ignore:.*autograd kernel was not registered")
def test_uncured_an_evaluation_stops_the_training_on_this_cpu(tiny_folder, rows):
    model, tokenizer = load_model(tiny_folder, quant_type="nf4", device="cpu")
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = True  # as bitsandbytes sets it
    adapted = add_adapters(model, config_of("qlora"))
    evaluate(adapted, tokenizer, rows)
    with pytest.raises(LorakitError, match="would train nothing"):
        finetune(config_of("qlora"), adapted, tokenizer, train=rows)


@pytest.mark.parametrize("quant_type", ["nf4", "fp4", "int8"])
def test_cured_gradients_reach_both_ends_after_an_evaluation(tiny_folder, rows, quant_type):
    model, tokenizer = load_model(tiny_folder, quant_type=quant_type, device="cpu")
    adapted = add_adapters(model, config_of("qlora", quant_type=quant_type))
    evaluate(adapted, tokenizer, rows)
    adapted.train()
    completion_loss(adapted, collate(encode(rows, tokenizer), tokenizer.pad_token_id)).backward()
    norms = require_gradients(adapted)
    assert [name.split(".layers.")[1].removesuffix(".lora_B.default.weight") for name in norms] == [
        "0.self_attn.q_proj",
        "1.self_attn.v_proj",
    ]
    assert all(norm > 0 for norm in norms.values())


def test_an_evaluation_reads_well():
    assert str(Evaluation(400, 0.3, 0.9, 0.86, 0.93, [])) == "accuracy 0.900 [0.860, 0.930], loss 0.300 on 400 rows"
    assert str(Evaluation(3, 2.0)) == "loss 2.000 on 3 rows"
