"""The forward pass of a Llama-type model in plain torch: from a dict of tensors and a config, with no module in it."""

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PretrainedConfig

from lorakit.activations.blocks import check_config, head_size

Weights = Mapping[str, Tensor]
"""Tensors by their names in `model.state_dict()`."""


def forward(
    weights: Weights, config: PretrainedConfig, input_ids: Tensor, attention_mask: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits (B, T, V) of token ids (B, T), and every step on the way to them by name.

    `attention_mask` (B, T) is 1 for tokens and 0 for padding. Raises LorakitError for a model that is not built so.
    """
    check_config(config, input_ids.shape[1])
    x = embed(input_ids, weights["model.embed_tokens.weight"])
    cache = {"embeddings": x}
    seen = visible(input_ids, attention_mask)
    for i in range(config.num_hidden_layers):
        mine = {
            name.split(".", 3)[3]: tensor for name, tensor in weights.items() if name.startswith(f"model.layers.{i}.")
        }
        steps = block(x, mine, config, seen)
        cache |= {f"{i}.{name}": step for name, step in steps.items()}
        x = steps["residual"]
    cache["final_normed"] = rms_norm(x, weights["model.norm.weight"], config.rms_norm_eps)
    # A tied model has one table: its rows are looked up on the way in, and multiplied with on the way out.
    table = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    return unembed(cache["final_normed"], table), cache


def block(x: Tensor, weights: Weights, config: PretrainedConfig, seen: Tensor) -> dict[str, Tensor]:
    """The steps of one transformer block on the residual stream `x` (B, T, D); the last is the stream after it."""
    steps = {"normed": rms_norm(x, weights["input_layernorm.weight"], config.rms_norm_eps)}
    for name in "qkv":
        heads = split_heads(linear(steps["normed"], weights, f"self_attn.{name}_proj"), head_size(config))
        gamma = weights.get(f"self_attn.{name}_norm.weight")
        if gamma is not None:  # Qwen3 norms each head
            heads = rms_norm(heads, gamma, config.rms_norm_eps)
        steps[name] = heads
    for name in "qk":
        steps[f"{name}_rotated"] = rotary(steps[name], config.rope_parameters["rope_theta"])
    mixed, steps["attention"] = grouped_attention(steps["q_rotated"], steps["k_rotated"], steps["v"], seen)
    steps["attention_output"] = linear(join_heads(mixed), weights, "self_attn.o_proj")
    steps["residual_mid"] = x + steps["attention_output"]
    steps["normed_mid"] = rms_norm(
        steps["residual_mid"], weights["post_attention_layernorm.weight"], config.rms_norm_eps
    )
    steps["gate"] = linear(steps["normed_mid"], weights, "mlp.gate_proj")
    steps["up"] = linear(steps["normed_mid"], weights, "mlp.up_proj")
    steps["down"] = linear(swiglu(steps["gate"], steps["up"]), weights, "mlp.down_proj")
    steps["residual"] = steps["residual_mid"] + steps["down"]
    return steps


def embed(input_ids: Tensor, table: Tensor) -> Tensor:
    """Rows of the embedding table (V, D): token ids (B, T) -> (B, T, D)."""
    return table[input_ids]


def rms_norm(x: Tensor, gamma: Tensor, eps: float) -> Tensor:
    """Each vector (the last axis) brought to a root mean square of 1, then scaled by gamma (Zhang & Sennrich 2019)."""
    mean_square = x.float().pow(2).mean(dim=-1, keepdim=True)
    return gamma * (x.float() * torch.rsqrt(mean_square + eps)).to(x.dtype)


def linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    """x W^T, and a bias where the layer has one: (..., in_features) -> (..., out_features)."""
    y = x @ weights[f"{name}.weight"].T
    bias = weights.get(f"{name}.bias")  # Qwen2 has one at q, k and v
    return y if bias is None else y + bias


def split_heads(x: Tensor, d: int) -> Tensor:
    """(B, T, heads * d) -> (B, heads, T, d)."""
    return x.unflatten(-1, (-1, d)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """(B, heads, T, d) -> (B, T, heads * d)."""
    return x.transpose(1, 2).flatten(-2)


def rotary(x: Tensor, theta: float) -> Tensor:
    """Turn each head's vector by its position (Su et al. 2021): numbers j and j + d/2 are a point in a plane.

    (B, heads, T, d) -> the same. The point j of the token at position t is turned by t * theta^(-2j/d).
    """
    T, d = x.shape[-2:]
    speeds = 1.0 / theta ** (torch.arange(0, d, 2, device=x.device).float() / d)  # (d/2), radians a position
    angles = torch.arange(T, device=x.device).float()[:, None] * speeds  # (T, d/2)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def visible(input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Which token may look at which (B or 1, 1, T, T): at itself, at those before it, and never at padding."""
    T = input_ids.shape[1]
    seen = torch.ones(T, T, dtype=torch.bool, device=input_ids.device).tril()[None, None]
    return seen if attention_mask is None else seen & attention_mask.bool()[:, None, None, :]


def grouped_attention(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax attention; each key and value head serves a group of query heads (Ainslie et al. 2023).

    q (B, H, T, d), k and v (B, K, T, d), `seen` (B or 1, 1, T, T) -> mixed values (B, H, T, d), weights (B, H, T, T).
    """
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
    weights = scores.float().softmax(dim=-1).to(q.dtype)
    return weights @ v, weights


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up (Shazeer 2020)."""
    return gate * torch.sigmoid(gate) * up


def unembed(x: Tensor, table: Tensor) -> Tensor:
    """Scores of every token: (B, T, D) with lm_head's table (V, D) -> logits (B, T, V)."""
    return x @ table.T
