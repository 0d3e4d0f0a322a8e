"""What of a model's config decides bytes, and whether a plan fits such a model."""

from dataclasses import dataclass

from transformers import PretrainedConfig

from lorakit.errors import LorakitError
from lorakit.lora import check_target_modules
from lorakit.memory.plan import TrainingPlan, head_dim

MODEL_TYPES = ("llama", "mistral", "qwen2", "gemma2")


@dataclass(frozen=True)
class Shape:
    """What of a config decides bytes."""

    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head: int
    layers: int
    vocab: int
    tied: bool
    attention_bias: bool
    output_bias: bool
    mlp_bias: bool
    gemma: bool
    capped: bool
    logits_capped: bool

    @property
    def linears(self) -> dict[str, tuple[int, int, bool]]:
        """(in_features, out_features, bias) of a block's linear layers."""
        hidden, inner = self.hidden, self.intermediate
        q, kv = self.heads * self.head, self.kv_heads * self.head
        return {
            "q_proj": (hidden, q, self.attention_bias),
            "k_proj": (hidden, kv, self.attention_bias),
            "v_proj": (hidden, kv, self.attention_bias),
            "o_proj": (q, hidden, self.output_bias),
            "gate_proj": (hidden, inner, self.mlp_bias),
            "up_proj": (hidden, inner, self.mlp_bias),
            "down_proj": (inner, hidden, self.mlp_bias),
        }


def shape_of(config: PretrainedConfig) -> Shape:
    """Raises LorakitError for a model type whose blocks are built otherwise."""
    if config.model_type not in MODEL_TYPES:
        raise LorakitError(
            f"model type {config.model_type!r} is not covered: the estimate knows {', '.join(MODEL_TYPES)}; "
            "trace_memory() runs any model that transformers has."
        )
    bias = config.model_type == "qwen2" or getattr(config, "attention_bias", False)
    return Shape(
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head=head_dim(config),
        layers=config.num_hidden_layers,
        vocab=config.vocab_size,
        tied=config.tie_word_embeddings,
        attention_bias=bias,
        output_bias=bias and config.model_type != "qwen2",
        mlp_bias=getattr(config, "mlp_bias", False),
        gemma=config.model_type == "gemma2",
        capped=getattr(config, "attn_logit_softcapping", None) is not None,
        logits_capped=getattr(config, "final_logit_softcapping", None) is not None,
    )


def check_plan(shape: Shape, plan: TrainingPlan) -> None:
    """Raise LorakitError where `plan` does not fit the model."""
    check_target_modules(shape.linears, plan.target_modules)
    for name in plan.target_modules:
        in_features, out_features, _ = shape.linears[name]
        if plan.r > min(in_features, out_features):
            raise LorakitError(
                f"r is {plan.r}, above the smaller side of {name!r} ({in_features} x {out_features}): there is no "
                "such rank; choose a smaller r, or leave that layer out."
            )
