"""The training step itself, through transformers, peft and bitsandbytes: on "meta", on "cpu" or on "cuda"."""

import contextlib
import copy
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PretrainedConfig

from lorakit.lora import check_target_modules
from lorakit.memory.plan import DTYPES, TrainingPlan, resolve_attention
from lorakit.models import CHECKPOINTING, checkpoint_activations

KERNELS = {
    "math": SDPBackend.MATH,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
}
STEPS = 2
"""The first step makes the optimizer's states: only from the second on are they there from its start."""


def build_model(config: PretrainedConfig, plan: TrainingPlan, device: str, attention: str = "sdpa") -> nn.Module:
    """The model that `plan` trains, with random weights, ready for its first step.

    `attention` is transformers' name of what runs it where the plan does not say "eager".
    """
    config = copy.deepcopy(config)
    implementation = "eager" if resolve_attention(config, plan) == "eager" else attention
    with torch.device("meta" if plan.method == "qlora" else device):
        model = AutoModelForCausalLM.from_config(config, dtype=DTYPES[plan.dtype], attn_implementation=implementation)
    model.config.use_cache = False
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    check_target_modules(names, plan.target_modules)
    if plan.method == "qlora":
        model = _quantised(model, plan, device)
    elif plan.gradient_checkpointing:
        checkpoint_activations(model)
    if plan.method != "full":
        from peft import LoraConfig, get_peft_model  # not at the top: an estimate builds no model, and needs no peft

        adapters = LoraConfig(r=plan.r, target_modules=list(plan.target_modules), task_type="CAUSAL_LM")
        model = get_peft_model(model, adapters)
        for weight in model.parameters():
            if weight.requires_grad:
                weight.data = weight.data.to(DTYPES[plan.adapter_dtype])
    return model.train()


def _quantised(model: nn.Module, plan: TrainingPlan, device: str) -> nn.Module:
    """Its linear layers but `lm_head` in 4 bits, one at a time, and the rest as peft prepares it for training."""
    from bitsandbytes import functional
    from bitsandbytes.nn import Linear4bit, Params4bit
    from peft import prepare_model_for_kbit_training
    from transformers.integrations.bitsandbytes import replace_with_bnb_linear

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=plan.quant_type,
        bnb_4bit_use_double_quant=plan.double_quant,
        bnb_4bit_compute_dtype=DTYPES[plan.dtype],
    )
    # bitsandbytes keeps the levels of quantised scales where they are first asked for: "meta" would leave them empty
    functional.name2qmap.setdefault("dynamic", functional.create_dynamic_map())
    model = replace_with_bnb_linear(model, ["lm_head"], quantization)
    for module in model.modules():
        if isinstance(module, Linear4bit):
            weight = torch.empty(module.weight.shape, dtype=DTYPES[plan.dtype], device=device)
            if device != "meta":
                weight.normal_(std=0.02)
            settings = {"compress_statistics": plan.double_quant, "quant_type": plan.quant_type}
            module.weight = Params4bit(weight, requires_grad=False, module=module, **settings)._quantize(device)
            module.support_avx512bf16_for_cpu = False  # a kernel without a backward pass (see lorakit.models)
    if device != "meta":
        _fill(model, device)
    model.is_loaded_in_4bit = True
    return prepare_model_for_kbit_training(model, plan.gradient_checkpointing, CHECKPOINTING)


def _fill(model: nn.Module, device: str) -> None:
    """Random numbers for what is still without storage: embeddings, norms, biases, head; and RoPE's frequencies."""
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if weight.device.type == "meta":
                filled = torch.empty_like(weight, device=device).normal_(std=0.02)
                setattr(module, name, nn.Parameter(filled, requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.device.type == "meta":
                module.register_buffer(name, torch.ones_like(buffer, device=device), persistent=False)
    if tied:
        model.tie_weights()


def build_optimizer(model: nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer | None:
    """The optimizer of `plan` over what is trained; None for "none", which goes forth and back and moves nothing."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if plan.optimizer == "none":
        return None
    if plan.optimizer == "sgd":
        return torch.optim.SGD(weights, lr=1e-4, foreach=True)
    if plan.optimizer == "adamw":
        return torch.optim.AdamW(weights, lr=1e-4, foreach=True)  # torch's own choice on a GPU, named for the others
    from bitsandbytes.optim import AdamW8bit, PagedAdamW8bit

    return {"adamw_8bit": AdamW8bit, "paged_adamw_8bit": PagedAdamW8bit}[plan.optimizer](weights, lr=1e-4)


def batch_of(config: PretrainedConfig, plan: TrainingPlan, device: str) -> dict[str, torch.Tensor]:
    """A micro-batch of random tokens, all of them labels: no row is padded, so that there is no mask."""
    shape = (plan.micro_batch_size, plan.seq_len)
    if device == "meta":
        tokens = torch.empty(shape, dtype=torch.int64, device=device)
    else:
        tokens = torch.randint(config.vocab_size, shape, device=device)
    return {"input_ids": tokens, "labels": tokens}


def training_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    batch: dict[str, torch.Tensor],
    plan: TrainingPlan,
    moment: Callable[[str], object] = lambda name: None,
) -> None:
    """Forward, backward, optimizer; `moment` is told the name of what begins."""
    moment("forward")
    outputs = model(**batch)
    loss = outputs.loss
    if not plan.keep_outputs:
        del outputs  # else the logits live on through the backward pass
    moment("backward")
    loss.backward()
    moment("optimizer")
    if optimizer:
        optimizer.step()
    model.zero_grad(set_to_none=True)


@contextlib.contextmanager
def attention_kernel(plan: TrainingPlan) -> Iterator[None]:
    """Within it, torch's sdpa runs on the kernel that `plan` names, and else on the one that torch picks."""
    if plan.attention in KERNELS:
        with sdpa_kernel(KERNELS[plan.attention]):
            yield
    else:
        yield
