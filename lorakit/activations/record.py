"""What a model of transformers' computes on the way to its logits, by name."""

import contextlib
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

from lorakit.activations.blocks import check_config, head_size
from lorakit.activations.by_hand import split_heads

RECORDING = "lorakit_recording"
"""The name of an attention function that keeps what it is given and what it finds."""


@torch.no_grad()
def run_with_cache(
    model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits (B, T, V) of token ids (B, T), and every step on the way (see `lorakit.activations` for their names).

    The model computes as ever, but for attention written out step by step. It is left as it was.

    Raises:
        LorakitError: a model whose blocks are not Llama's.
    """
    check_config(model.config, input_ids.shape[1])
    cache: dict[str, Tensor] = {}
    with _recording(model, cache):
        logits = model(input_ids, attention_mask=attention_mask, use_cache=False).logits
    return logits, cache


@contextlib.contextmanager
def _recording(model: PreTrainedModel, cache: dict[str, Tensor]) -> Iterator[None]:
    """Within it, each pass of `model` leaves its steps in `cache`."""

    def keep(name: str, module, inputs, output) -> None:
        cache[name] = output

    def keep_input(name: str, module, inputs) -> None:
        cache[name] = inputs[0]

    def keep_heads(name: str, module, inputs, output) -> None:
        cache[name] = split_heads(output, head_size(model.config))

    def keep_normed_heads(name: str, module, inputs, output) -> None:
        cache[name] = output.transpose(1, 2)

    base = model.get_decoder()  # of the model beneath, where peft has wrapped it
    hooks = [
        base.embed_tokens.register_forward_hook(partial(keep, "embeddings")),
        base.norm.register_forward_hook(partial(keep, "final_normed")),
    ]
    for i, layer in enumerate(base.layers):
        attention, mlp = layer.self_attn, layer.mlp
        modules = {
            "normed": layer.input_layernorm,
            "attention_output": attention.o_proj,
            "normed_mid": layer.post_attention_layernorm,
            "gate": mlp.gate_proj,
            "up": mlp.up_proj,
            "down": mlp.down_proj,
            "residual": layer,
        }
        hooks += [module.register_forward_hook(partial(keep, f"{i}.{name}")) for name, module in modules.items()]
        hooks.append(layer.post_attention_layernorm.register_forward_pre_hook(partial(keep_input, f"{i}.residual_mid")))
        for name in "qkv":
            hooks.append(getattr(attention, f"{name}_proj").register_forward_hook(partial(keep_heads, f"{i}.{name}")))
            if norm := getattr(attention, f"{name}_norm", None):  # Qwen3 norms each head, and so overwrites the above
                hooks.append(norm.register_forward_hook(partial(keep_normed_heads, f"{i}.{name}")))
    earlier = model.config._attn_implementation
    AttentionInterface.register(RECORDING, partial(_attention, cache))
    AttentionMaskInterface.register(RECORDING, eager_mask)
    try:
        model.set_attn_implementation(RECORDING)
        yield
    finally:
        model.set_attn_implementation(earlier)
        AttentionInterface.register(RECORDING, partial(_attention, {}))  # transformers keeps it: let go of the cache
        for hook in hooks:
            hook.remove()


def _attention(cache: dict[str, Tensor], module, q, k, v, mask, *, scaling: float, **ignored):
    """transformers' own eager attention; a hook cannot see the rotated q and k, which are no module's output."""
    group = q.shape[1] // k.shape[1]
    scores = q @ k.repeat_interleave(group, dim=1).transpose(-1, -2) * scaling
    if mask is not None:
        scores = scores + mask
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(q.dtype)
    cache |= {f"{module.layer_idx}.{name}": step for name, step in {"q_rotated": q, "k_rotated": k}.items()}
    cache[f"{module.layer_idx}.attention"] = weights
    return (weights @ v.repeat_interleave(group, dim=1)).transpose(1, 2).contiguous(), weights
