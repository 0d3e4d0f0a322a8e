"""The memory model: by hand, against the dry run, and the dry run against what a CPU really allocates."""

import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from itertools import pairwise

import pytest
import torch
from memory_plans import MODELS, random_plans
from torch.profiler import ProfilerActivity, profile
from transformers import Gemma2Config, GPT2Config, LlamaConfig, MistralConfig, OPTConfig, Qwen2Config

from lorakit import LorakitError
from lorakit.finetune import TrainConfig, add_adapters
from lorakit.lora import count_lora_parameters
from lorakit.memory import (
    PRESETS,
    TrainingPlan,
    estimate_memory,
    measure_memory,
    preset,
    resolve_attention,
    trace_memory,
)
from lorakit.memory.allocator import CachingAllocator, block_bytes
from lorakit.memory.closed_form import constants_bytes
from lorakit.memory.plan import library_bytes
from lorakit.memory.step import attention_kernel, batch_of, build_model, build_optimizer, training_step
from lorakit.memory.tape import Tape, Tensor
from lorakit.memory.trace import LiveBytes, dry_attention, dry_optimizer
from lorakit.models import load_model, weight_bytes

MIB = 2**20
SMALL = {
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 2000,
    "tie_word_embeddings": True,
}


# --- 1. The plan ---


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"method": "prefix"}, "method 'prefix' is unknown: use one of full, lora, qlora"),
        ({"dtype": "int4"}, "dtype 'int4' is unknown"),
        ({"optimizer": "lion"}, "optimizer 'lion' is unknown"),
        ({"attention": "flash3"}, "attention 'flash3' is unknown"),
        ({"seq_len": -1}, "seq_len is -1: it is a whole number of at least 1"),
        ({"micro_batch_size": 0}, "micro_batch_size is 0"),
        ({"micro_batch_size": True}, "micro_batch_size is True"),
        ({"r": 0}, "r is 0"),
        ({"method": "full", "r": 8}, "method 'full' has no adapters, but r is 8"),
        ({"target_modules": "q_proj"}, "target_modules is 'q_proj': list the names"),
        ({"quant_type": "nf4"}, "quant_type 'nf4' quantises the base, which is method 'qlora'"),
        ({"method": "qlora", "quant_type": "int4"}, "quant_type 'int4' is unknown"),
        ({"gradient_checkpointing": "yes"}, "gradient_checkpointing is 'yes'"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(wrong, said):
    with pytest.raises(LorakitError) as error:
        TrainingPlan(**wrong)
    assert said in str(error.value)


def test_defaults_follow_the_method():
    assert TrainingPlan() == TrainingPlan(method="lora", r=8, target_modules=("q_proj", "v_proj"))
    assert TrainingPlan(method="qlora").quant_type == "nf4"
    full = TrainingPlan(method="full")
    assert (full.r, full.target_modules) == (None, ())
    assert hash(full) == hash(replace(full))


@pytest.mark.parametrize(
    ("model", "plan", "said"),
    [
        ("SmolLM2-135M", {"target_modules": ("q_prj",)}, "target module 'q_prj' is not in this model"),
        ("SmolLM2-135M", {"r": 200}, "r is 200, above the smaller side of 'v_proj' (576 x 192)"),
        ("Mistral-7B", {"seq_len": 8192}, "attends to 4096 tokens back"),
        ("gemma-2-2b", {"attention": "flash"}, "cannot cap its scores, and gemma2 caps them"),
        ("SmolLM2-135M", {"attention": "efficient"}, "takes no grouped heads"),
        ("SmolLM2-135M", {"method": "qlora", "attention": "flash"}, "takes 16-bit q, k and v"),
    ],
)
def test_a_plan_that_does_not_fit_the_model_is_refused(model, plan, said):
    with pytest.raises(LorakitError) as error:
        estimate_memory(preset(model), TrainingPlan(**plan))
    assert said in str(error.value)


def test_a_model_type_that_is_not_covered_is_refused():
    with pytest.raises(LorakitError, match="model type 'gpt2' is not covered"):
        estimate_memory(GPT2Config(), TrainingPlan())
    with pytest.raises(LorakitError, match="model 'Llama-9B' is none of the presets"):
        preset("Llama-9B")


def test_a_dry_run_takes_a_model_that_the_estimate_does_not_cover():
    config = OPTConfig(vocab_size=64, hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4)
    plan = TrainingPlan(micro_batch_size=1, seq_len=16)
    assert trace_memory(config, plan).allocated_bytes > trace_memory(config, replace(plan, seq_len=8)).allocated_bytes


def test_a_target_that_is_named_twice_counts_once():
    twice, once = (TrainingPlan(target_modules=("q_proj",) * times) for times in (2, 1))
    assert twice == once


def test_what_sdpa_is_depends():
    grouped, plain, capped = preset("Llama-3.2-1B"), preset("Llama-2-7B"), preset("gemma-2-2b")
    lora, qlora = TrainingPlan(), TrainingPlan(method="qlora")
    assert resolve_attention(grouped, lora) == resolve_attention(plain, lora) == "flash"
    assert resolve_attention(grouped, qlora) == "math"
    assert resolve_attention(plain, qlora) == "efficient"
    assert resolve_attention(plain, lora, (7, 5)) == "efficient"  # a T4 has no flash attention
    assert resolve_attention(grouped, lora, (7, 5)) == "math"
    assert resolve_attention(capped, lora) == "eager"


# --- 2. By hand ---


def test_a_tape_by_hand():
    # y = x w, w trained (keeps x); z = relu(y) (keeps its result); x wants no gradient.
    tape = Tape()
    x = Tensor(100)
    y = tape.op(40, x, keeps=(x,), weight_grad=10)
    tape.op(40, y, keeps_result=True)
    assert tape.kept_bytes == 140
    # Back through relu: the gradient of y, 40 beyond the start; its own 40 go, and what it kept, 40. Then those of w.
    assert tape.backward(40) == (40, 10)


def test_a_tape_keeps_nothing_where_no_gradient_comes():
    tape = Tape()
    x = Tensor(100)
    assert not tape.op(100, x, keeps=(x,)).grad
    assert tape.kept_bytes == 0
    assert tape.backward(100) == (0, 0)


def test_a_sum_hands_its_gradient_on():
    tape = Tape()
    x = Tensor(100, grad=True)
    f = tape.op(100, x, keeps=(x,))
    tape.op(100, x, f, passes=True)
    # The gradient (100, there at the start) is that of x and of f; f's own gives x another 100, which are added to it.
    assert tape.backward(100) == (100, 0)


def test_the_constants_of_a_4_bit_layer_by_hand():
    weights = 64 * 256 * 512  # 131,072 blocks, 512 groups of scales
    assert constants_bytes(weights, double_quant=False) == 512 + 4 * 131_072
    assert constants_bytes(weights, double_quant=True) == 512 + 131_072 + 4 * 512 + 1024 + 512
    assert 8 * 4 * 131_072 / weights == 0.5  # bits a weight, as lesson 09 has them


def test_adam_by_hand():
    config, start = LlamaConfig(**SMALL), {"micro_batch_size": 1, "seq_len": 16}
    parameters = sum(weight.numel() for weight in build_model(config, TrainingPlan(method="full"), "meta").parameters())
    peak = estimate_memory(config, TrainingPlan(method="full", dtype="fp32", **start)).moments[-1]
    assert peak.gradients == pytest.approx(4 * parameters, rel=0.01)
    assert peak.optimizer_states == 2 * peak.gradients
    assert peak.base_weights + peak.other_weights == peak.gradients


def test_a_block_by_hand():
    assert [block_bytes(size) for size in (1, 512, 513, MIB)] == [512, 512, 1024, MIB]
    assert block_bytes(11 * MIB) == 12 * MIB  # a segment of its own, of which 1 MiB is not split off
    assert block_bytes(10 * MIB + 512) == 10 * MIB + 512  # of this one nearly 2 MiB are
    assert block_bytes(4 * MIB) == 4 * MIB  # five fill a segment of 20 MiB
    assert block_bytes(13 * MIB // 2) == 13 * MIB // 2 + MIB // 6  # three leave 0.5 MiB


def test_the_allocator_by_hand():
    allocator = CachingAllocator()
    small = [allocator.malloc(100) for _ in range(3)]
    assert (allocator.allocated, allocator.reserved) == (3 * 512, 2 * MIB)
    large = allocator.malloc(5 * MIB)
    assert (large.size, allocator.reserved) == (5 * MIB, 22 * MIB)
    rest = allocator.malloc(14 * MIB + 100)  # of the 15 MiB left, less than 1 MiB would be left over
    assert (rest.size, allocator.reserved) == (15 * MIB, 22 * MIB)
    assert allocator.malloc(21 * MIB).size == 22 * MIB  # its segment is rounded up, and 1 MiB is not split off
    assert allocator.reserved == 44 * MIB
    for block in (large, rest, *small):
        allocator.free(block)
    assert allocator.allocated == 22 * MIB
    assert allocator.malloc(20 * MIB).size == 20 * MIB  # the neighbours have joined
    assert allocator.reserved == 44 * MIB
    allocator.empty_cache()
    assert allocator.reserved == 42 * MIB


def test_cublas_workspace_by_card():
    assert library_bytes((8, 0)) == 2 * 8_519_680
    assert library_bytes((9, 0)) == 2 * 32 * MIB


# --- 3. Against what the libraries make ---


@pytest.mark.parametrize("name", PRESETS[:7])
def test_weights_and_adapters_are_as_many_as_the_model_has(name):
    config = preset(name)
    plan = TrainingPlan(r=4, target_modules=("k_proj", "down_proj"))
    peak = estimate_memory(config, plan).peak
    model = build_model(config, plan, "meta")
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert peak.adapters == pytest.approx(4 * trained, rel=0.01)
    assert trained == count_lora_parameters(config, 4, plan.target_modules)
    base = sum(weight.numel() for weight in model.parameters() if not weight.requires_grad)
    assert peak.base_weights + peak.other_weights == pytest.approx(2 * base, rel=0.01)


def test_a_base_in_4_bits_is_as_large_as_the_one_that_trains(tiny_folder):
    model, _ = load_model(tiny_folder, quant_type="nf4", dtype=torch.bfloat16, device="cpu")
    adapted = add_adapters(model, TrainConfig(method="qlora"))
    peak = estimate_memory(model.config, TrainingPlan(method="qlora", micro_batch_size=1, seq_len=8)).peak
    ours = peak.base_weights + peak.other_weights + peak.adapters
    assert ours == pytest.approx(weight_bytes(adapted), rel=0.01)


def real_peak(config, plan):
    """Most bytes that a CPU's allocator gave beyond those at the start of the second step, by torch's profiler."""
    model = build_model(config, plan, "cpu")
    optimizer, batch = build_optimizer(model, plan), batch_of(config, plan, "cpu")
    with attention_kernel(plan):
        training_step(model, optimizer, batch, plan)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            training_step(model, optimizer, batch, plan)
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        most = max(most, live)
    return most


class Exact:
    """Counts each tensor as what it is, which is what a CPU's allocator does."""

    def __init__(self):
        self.allocated = 0

    def malloc(self, size):
        self.allocated += size
        return size

    def free(self, size):
        self.allocated -= size


def dry_peak(config, plan):
    """The same by the dry run, without what is CUDA's own."""
    counter = LiveBytes(Exact(), {})
    with counter:
        model = build_model(config, plan, "meta", dry_attention(resolve_attention(config, plan)))
        optimizer, batch = dry_optimizer(model, plan, counter), batch_of(config, plan, "meta")
        training_step(model, optimizer, batch, plan)
        start, counter.moments = counter.allocator.allocated, {}
        training_step(model, optimizer, batch, plan, counter.begin)
    return max(counter.moments.values()) - start


CONFIGS = (LlamaConfig, MistralConfig, Qwen2Config, Gemma2Config)


@pytest.mark.parametrize("config_class", CONFIGS, ids=lambda each: each.model_type)
@pytest.mark.parametrize(
    "plan",
    [
        {"method": "full"},
        {"method": "full", "dtype": "fp32", "optimizer": "sgd", "keep_outputs": True},
        {"method": "lora"},
        {"method": "lora", "gradient_checkpointing": True, "adapter_dtype": "bf16"},
        {"method": "lora", "attention": "eager", "target_modules": ("o_proj", "gate_proj", "down_proj")},
        {"method": "qlora"},
        {"method": "qlora", "gradient_checkpointing": True, "double_quant": False, "quant_type": "fp4"},
    ],
    ids=lambda plan: "-".join(map(str, plan.values())),
)
def test_the_dry_run_counts_what_a_cpu_allocates(config_class, plan):
    config = config_class(**SMALL, head_dim=32)
    plan = TrainingPlan(**{"attention": "eager" if config_class is Gemma2Config else "math", **plan}, seq_len=128)
    assert dry_peak(config, plan) == pytest.approx(real_peak(config, plan), rel=0.01)


# --- 4. The closed form against the dry run ---


def test_the_closed_form_is_the_dry_run_within_two_percent():
    """On 400 random plans; of the models three blocks, since all but the first are alike."""
    plans = random_plans(400)
    taken = Counter(f"{name}={value}" for _, plan in plans for name, value in asdict(plan).items())
    choices = {name: count for name, count in taken.items() if name.split("=")[0] not in ("target_modules", "r")}
    assert min(choices.values()) >= 20, choices
    assert {model for model, _ in plans} == set(MODELS)
    errors = []
    for model, plan in plans:
        config = preset(model)
        config.num_hidden_layers = 3
        if hasattr(config, "layer_types"):
            config.layer_types = config.layer_types[:3]
        errors.append(estimate_memory(config, plan).allocated_bytes / trace_memory(config, plan).allocated_bytes - 1)
    worst = max(range(len(plans)), key=lambda i: abs(errors[i]))
    print(f"worst of {len(plans)}: {errors[worst]:+.2%}, {plans[worst]}")
    assert abs(errors[worst]) < 0.02


def test_each_moment_is_what_its_parts_add_up_to():
    estimate = estimate_memory(preset("Llama-3-8B"), TrainingPlan(method="qlora"))
    for moment in estimate.moments:
        parts = {name: value for name, value in vars(moment).items() if name != "name"}
        assert all(type(value) is int and value >= 0 for value in parts.values())
        assert moment.total_bytes == sum(parts.values())
    assert estimate.allocated_bytes == max(moment.total_bytes for moment in estimate.moments)


def test_what_makes_it_smaller_and_what_changes_nothing():
    config = preset("Llama-2-7B")

    def size(**changes):
        return estimate_memory(config, TrainingPlan(**{"method": "qlora", "seq_len": 1024, **changes})).allocated_bytes

    assert size(gradient_checkpointing=True) < size()
    assert size(double_quant=True) < size(double_quant=False)
    assert size(quant_type="nf4") == size(quant_type="fp4")
    assert size(keep_outputs=True) > size()
    for smaller, larger in pairwise([1, 8, 64, 256]):
        assert size(r=smaller) < size(r=larger)
    for smaller, larger in pairwise([128, 256, 512, 1024, 2048]):
        assert size(seq_len=smaller) < size(seq_len=larger)
    full = {"method": "full", "gradient_checkpointing": True}
    assert size(**full, optimizer="sgd") < size(**full, optimizer="adamw_8bit") < size(**full)
    paged = estimate_memory(config, TrainingPlan(method="full", optimizer="paged_adamw_8bit"))
    assert paged.paged_bytes == pytest.approx(2 * 6_738_415_616, rel=0.01)


def test_qlora_can_take_more_than_lora():
    config = preset("SmolLM2-135M")
    lora, qlora = (estimate_memory(config, TrainingPlan(method=method)).allocated_bytes for method in ("lora", "qlora"))
    assert qlora > 1.5 * lora


def test_after_a_dry_run_a_base_can_still_be_quantised(tiny_folder):
    """bitsandbytes keeps the levels of quantised scales on the device that asks first: not on "meta", please."""
    code = (
        "from lorakit.memory import TrainingPlan, preset, trace_memory\n"
        "from lorakit.models import load_model\n"
        "trace_memory(preset('SmolLM2-135M'), TrainingPlan('qlora', micro_batch_size=1, seq_len=16))\n"
        f"load_model({tiny_folder!r}, quant_type='nf4', double_quant=True, device='cpu')\n"
    )
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr


def test_an_estimate_needs_no_peft_and_a_dry_run_does_not_count_what_loading_it_makes():
    code = (
        "import sys\n"
        "from lorakit.memory import TrainingPlan, estimate_memory, preset, trace_memory\n"
        "config, plan = preset('SmolLM2-135M'), TrainingPlan(micro_batch_size=1, seq_len=16)\n"
        "estimate_memory(config, plan)\n"
        "assert {'peft', 'bitsandbytes'}.isdisjoint(sys.modules)\n"
        "assert trace_memory(config, plan) == trace_memory(config, plan)\n"
    )
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr


def test_the_trace_of_a_model_that_would_never_fit():
    """70B, every weight in float32: over a terabyte, counted here without a weight."""
    plan = TrainingPlan(method="full", dtype="fp32", micro_batch_size=1)
    trace = trace_memory(preset("Llama-3-70B"), plan)
    assert trace.allocated_bytes > 16 * 70_553_706_496
    assert estimate_memory(preset("Llama-3-70B"), plan).allocated_bytes == pytest.approx(
        trace.allocated_bytes, rel=0.01
    )
    assert trace.reserved_bytes >= trace.allocated_bytes


def test_without_a_gpu_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(LorakitError, match="torch sees no CUDA GPU"):
        measure_memory(preset("SmolLM2-135M"), TrainingPlan())
