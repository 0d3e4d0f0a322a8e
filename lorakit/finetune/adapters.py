"""Adapters beside the layers of a frozen model, by peft (Hu et al. 2021), and the guard of their gradients."""

import hashlib

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import PreTrainedModel

from lorakit.errors import LorakitError
from lorakit.finetune.config import TrainConfig
from lorakit.lora import check_target_modules
from lorakit.models import CHECKPOINTING, checkpoint_activations, keep_activations, quantization_of


def add_adapters(model: PreTrainedModel, config: TrainConfig) -> PeftModel:
    """Freeze `model` and put a fresh adapter beside each layer named in `config.target_modules`.

    B starts at zero, so the output has not changed yet. (A quantised base is first prepared for training: what is left
    in 16 bits, embeddings, norms and head, becomes float32. Take a baseline of its output after this call.) Adapters of
    an earlier call are taken off.

    Raises:
        LorakitError: a layer name that the model does not have; a base whose quantisation is not that of `config`.
    """
    check_quantization(model, config)
    _take_off_adapters(model)
    layers = [name for name, module in model.named_modules() if hasattr(module, "in_features")]
    check_target_modules(layers, config.target_modules)
    keep_activations(model)  # whatever an earlier call asked for
    if config.method == "qlora":
        model = prepare_model_for_kbit_training(model, config.gradient_checkpointing, CHECKPOINTING)
    elif config.gradient_checkpointing:
        checkpoint_activations(model)
    torch.manual_seed(config.seed)  # A is drawn at random
    return get_peft_model(model, peft_config(config))


def check_quantization(model: PreTrainedModel | PeftModel, config: TrainConfig) -> None:
    """Raise LorakitError unless the base is quantised as `config` says."""
    has, double_quant = quantization_of(model)
    if has != config.quant_type:
        raise LorakitError(
            f"method {config.method!r} with quant_type {config.quant_type!r} does not fit a base whose quant_type is "
            f"{has!r}: load_model(quant_type={config.quant_type!r}) gives the right one."
        )
    if has in ("nf4", "fp4") and double_quant != config.double_quant:
        raise LorakitError(
            f"the base was loaded with double_quant {double_quant!r} and the config has {config.double_quant!r}: make "
            "them agree."
        )


def _take_off_adapters(model: PreTrainedModel) -> None:
    """Leave the base bare: peft keeps old adapters, in use and trained, beside layers that it is not asked for now."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            if layer.merged:
                layer.unmerge()
            model.set_submodule(name, layer.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config


def peft_config(config: TrainConfig) -> LoraConfig:
    """The adapter that `config` asks for, in peft's terms."""
    return LoraConfig(
        r=config.r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=list(config.target_modules),
        task_type="CAUSAL_LM",
    )


def base_fingerprint(model: torch.nn.Module) -> str:
    """One hash of all that is not trained: weights, codes with their scales, norms, embeddings. Built in lesson 07."""
    seal = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if "lora_" not in name:
            seal.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return seal.hexdigest()[:16]


def lora_b_gradients(model: PeftModel) -> dict[str, float]:
    """Norm of the gradient at `lora_B` of the first and the last adapted layer, by name; None counts as 0."""
    weights = [
        (name, weight) for name, weight in model.named_parameters() if ".lora_B." in name and weight.requires_grad
    ]
    ends = [weights[0], weights[-1]]
    return {name: 0.0 if weight.grad is None else weight.grad.norm().item() for name, weight in ends}


def require_gradients(model: PeftModel) -> dict[str, float]:
    """Return `lora_b_gradients(model)`, taken after a backward pass.

    Raises:
        LorakitError: one of them is 0, or nothing in the model is trained.

    Why: a layer whose forward pass has no backward stops the gradient without a word, and the run goes through its
    steps and learns nothing. bitsandbytes' 4-bit kernel for CPUs with AVX512-BF16 is one (see `lorakit.models`).
    """
    if not any(weight.requires_grad for weight in model.parameters()):
        raise LorakitError(
            "every weight of this model is frozen, so there is nothing to train: peft loads an adapter frozen unless "
            "PeftModel.from_pretrained is given is_trainable=True."
        )
    norms = lora_b_gradients(model)
    for name, norm in norms.items():
        if norm == 0:
            raise LorakitError(
                f"no gradient reaches '{name}', so this fine-tune would train nothing: a layer above it has no "
                "backward pass; load the base with lorakit.models.load_model(), or try quant_type None."
            )
    return norms
