"""What is predicted for a GPU is what it allocates; the whole grid is measured by `lorakit memory --measure`."""

import pytest
import torch

from lorakit.lora import LINEAR_LAYERS
from lorakit.memory import TrainingPlan, estimate_memory, measure_memory, preset, trace_memory

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

PLANS = [
    ("SmolLM2-135M", {"method": "full"}),
    ("SmolLM2-135M", {"method": "lora"}),
    ("SmolLM2-135M", {"method": "qlora"}),
    ("SmolLM2-135M", {"method": "lora", "attention": "eager", "keep_outputs": True}),
    ("SmolLM2-135M", {"method": "full", "optimizer": "paged_adamw_8bit"}),
    ("Qwen2.5-0.5B", {"method": "qlora", "gradient_checkpointing": True, "seq_len": 1024}),
    ("Llama-3.2-1B", {"method": "lora", "target_modules": LINEAR_LAYERS, "r": 64, "optimizer": "adamw_8bit"}),
    ("SmolLM2-1.7B", {"method": "qlora", "double_quant": False, "micro_batch_size": 1, "seq_len": 2048}),
    ("gemma-2-2b", {"method": "lora", "micro_batch_size": 1}),
]


@pytest.mark.parametrize(("model", "plan"), PLANS, ids=lambda each: each if isinstance(each, str) else None)
def test_predicted_is_allocated(model, plan):
    config, plan = preset(model), TrainingPlan(**plan)
    try:
        measured = measure_memory(config, plan)
    except torch.OutOfMemoryError:
        pytest.skip("this GPU is too small for the plan")
    capability = torch.cuda.get_device_capability()
    trace = trace_memory(config, plan, capability)
    assert trace.allocated_bytes == pytest.approx(measured.allocated_bytes, rel=0.02)
    assert estimate_memory(config, plan, capability).allocated_bytes == pytest.approx(
        measured.allocated_bytes, rel=0.02
    )
    assert trace.moments["forward"] == pytest.approx(measured.moments["forward"], rel=0.03)
    assert measured.allocated_bytes <= measured.reserved_bytes <= measured.card_bytes
