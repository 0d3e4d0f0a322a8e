"""What the weights of a Llama-type model are there for, counted from its tensors. Lesson 05 counts them by hand."""

from transformers import PretrainedConfig, PreTrainedModel

from lorakit.errors import LorakitError
from lorakit.models import empty_model

ROLES = ("embedding", "q", "k", "v", "o", "gate", "up", "down", "norm", "head")
_ROLE_OF_MODULE = {
    "embed_tokens": "embedding",
    "q_proj": "q",
    "k_proj": "k",
    "v_proj": "v",
    "o_proj": "o",
    "gate_proj": "gate",
    "up_proj": "up",
    "down_proj": "down",
    "input_layernorm": "norm",
    "post_attention_layernorm": "norm",
    "q_norm": "norm",  # Qwen3 norms each head
    "k_norm": "norm",
    "norm": "norm",
    "lm_head": "head",
}


def census(model: PreTrainedModel | PretrainedConfig) -> dict[str, int]:
    """Number of weights by role, over all blocks; a bias counts with its weight, and a tied `lm_head` has 0.

    A config is enough; no weight is made. Adapters are left out: of a model that peft has wrapped, the base is counted.

    Raises:
        LorakitError: a model with a tensor that has none of these roles.
    """
    counts = dict.fromkeys(ROLES, 0)
    for name, weight in empty_model(model).named_parameters():  # which names a shared tensor once
        counts[role_of(name)] += weight.numel()
    return counts


def role_of(name: str) -> str:
    """The role of a tensor by its name in `model.state_dict()`, such as "q" of model.layers.3.self_attn.q_proj.weight.

    Raises:
        LorakitError: a name that fits no role.
    """
    module, _, kind = name.rpartition(".")
    role = _ROLE_OF_MODULE.get(module.rpartition(".")[2])
    if role is None or kind not in ("weight", "bias"):
        raise LorakitError(
            f"tensor {name!r} has none of the roles of a Llama-type model's weights ({', '.join(ROLES)}): take a model "
            "such as Llama, Mistral, Qwen2 or SmolLM2, without adapters."
        )
    return role
