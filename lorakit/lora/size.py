"""How large LoRA's adapters are, from the shapes of a model alone: weights to train, and bytes on disk.

Lesson 07 has you count them by hand.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from transformers import PretrainedConfig, PreTrainedModel

from lorakit.errors import LorakitError
from lorakit.models import empty_model, linear_shapes

Shapes = Mapping[str, tuple[int, int]]
"""(in_features, out_features) of layers, by their full names."""
LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Of a Llama-type block, by their last names."""


def count_lora_parameters(model: PreTrainedModel | PretrainedConfig, r: int, target_modules: Collection[str]) -> int:
    """Weights of the adapters at rank `r`: A is (r, in_features), B is (out_features, r) (Hu et al. 2021, section 4.1).

    A config is enough; no weight is made. Raises LorakitError for a layer name that the model does not have.
    """
    return r * features_per_rank(target_shapes(linear_shapes(empty_model(model)), target_modules))


def target_shapes(shapes: Shapes, target_modules: Collection[str]) -> dict[str, tuple[int, int]]:
    """Those layers that `target_modules` names."""
    check_target_modules(shapes, target_modules)
    return {layer: shape for layer, shape in shapes.items() if any(is_target(layer, each) for each in target_modules)}


def module_names(target_modules: Collection[str]) -> tuple[str, ...]:
    """The names in `target_modules`; raises LorakitError where there is none, or one string in place of a list."""
    if isinstance(target_modules, str) or not target_modules:
        raise LorakitError(f"target_modules is {target_modules!r}: list the names of layers, such as ['q_proj'].")
    return tuple(target_modules)


def check_target_modules(layers: Collection[str], target_modules: Collection[str]) -> None:
    """Raise LorakitError for a name that no layer has; peft itself is silent about a wrong one beside a right one."""
    for wanted in module_names(target_modules) if target_modules else ():
        if not any(is_target(layer, wanted) for layer in layers):
            has = ", ".join(sorted(set(map(last_name, layers))))
            raise LorakitError(f"target module {wanted!r} is not in this model: its linear layers are {has}.")


def is_target(layer: str, wanted: str) -> bool:
    """Whether peft takes `layer` for `wanted`: its whole name, or the end of it."""
    return layer == wanted or layer.endswith("." + wanted)


def last_name(layer: str) -> str:
    """`q_proj` of `model.layers.0.self_attn.q_proj`: what `target_modules` calls it."""
    return layer.rpartition(".")[2]


def features_per_rank(shapes: Shapes) -> int:
    """Weights that each rank costs: a row of A and a column of B for every layer."""
    return sum(in_features + out_features for in_features, out_features in shapes.values())


def adapter_file_bytes(shapes: Shapes, ranks: Sequence[int]) -> list[int]:
    """Size of peft's `adapter_model.safetensors` at each of these ranks: float32 weights after a header.

    The header (8 bytes that give its length, then JSON padded to a multiple of 8) names each tensor, its shape, and
    where its bytes begin and end: https://github.com/huggingface/safetensors, section "Format". `shapes` are those of
    the layers that have an adapter; where there are none, there is no file.
    """
    if not shapes:
        return [0] * len(ranks)
    sides = {
        f"base_model.model.{layer}.lora_{side}.weight": features
        for layer, (in_features, out_features) in shapes.items()
        for side, features in (("A", in_features), ("B", out_features))
    }
    names = sorted(sides)  # the order in the file
    features = np.array([sides[name] for name in names], dtype=np.int64)
    one = len('"":{"dtype":"F32","shape":[,],"data_offsets":[,]},')
    text = len('{"__metadata__":{"format":"pt"}}') + len(names) * one + sum(map(len, names))
    sizes = 4 * np.array(ranks, dtype=np.int64)[:, None] * features  # (ranks, tensors)
    ends = sizes.cumsum(axis=1)
    header = text + _digits(features) + _digits(ends) + _digits(ends - sizes)
    header += len(names) * np.array([len(str(r)) for r in ranks])
    return (8 + -(-header // 8) * 8 + sizes.sum(axis=1)).tolist()


def _digits(numbers: np.ndarray) -> np.ndarray:
    """How many decimal digits the whole numbers of the last axis have together."""
    return np.searchsorted(10 ** np.arange(1, 19), numbers, side="right").sum(axis=-1) + numbers.shape[-1]
