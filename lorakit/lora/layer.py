"""LoRA by hand: a layer with two thin matrices beside it (Hu et al. 2021). Built in lesson 06, equal to peft's.

`LoRALinear` wraps any layer that has in_features and out_features. Around `nn.Linear` it is LoRA; around a quantised
layer it is QLoRA.
"""

import math
from collections.abc import Collection, Iterator
from itertools import chain

import torch
from torch import Tensor, nn

from lorakit.errors import LorakitError
from lorakit.lora.size import check_target_modules, is_target, module_names


class LoRALinear(nn.Module):
    """`base_layer(x) + scaling * dropout(x) A^T B^T`, where base_layer is frozen (Hu et al. 2021, section 4.1).

    lora_A is (r, in_features), drawn at random; lora_B is (out_features, r) and zero, so at first nothing changes.
    Both are float32 whatever the base is, as in peft. `scaling` is lora_alpha / r, or lora_alpha / sqrt(r) with
    `use_rslora` (Kalajdzievski 2023).

    Raises:
        LorakitError: a base without in_features and out_features, or numbers that cannot be meant.
    """

    def __init__(
        self, base_layer: nn.Module, r: int, lora_alpha: float, lora_dropout: float = 0.0, use_rslora: bool = False
    ):
        super().__init__()
        if not hasattr(base_layer, "in_features") or not hasattr(base_layer, "out_features"):
            raise LorakitError(f"{type(base_layer).__name__} has no in_features and out_features: wrap a linear layer.")
        if type(r) is not int or r < 1:
            raise LorakitError(f"r is {r!r}: it is a whole number of at least 1.")
        if not 0 <= lora_dropout < 1:
            raise LorakitError(f"lora_dropout is {lora_dropout!r}: it is a share, at least 0 and below 1.")
        self.base_layer = base_layer.requires_grad_(False)
        self.in_features, self.out_features = base_layer.in_features, base_layer.out_features
        self.scaling = lora_alpha / (math.sqrt(r) if use_rslora else r)
        self.lora_dropout = nn.Dropout(lora_dropout)
        device = next(chain(base_layer.parameters(), base_layer.buffers())).device
        self.lora_A = nn.Parameter(torch.empty(r, self.in_features, device=device))
        self.lora_B = nn.Parameter(torch.zeros(self.out_features, r, device=device))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))  # as nn.Linear starts: within 1 / sqrt(in_features)
        self.unmerged: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features), in the dtype of the base's output."""
        y = self.base_layer(x)
        if self.unmerged is not None:
            return y
        change = self.lora_dropout(x.to(self.lora_A.dtype)) @ self.lora_A.T @ self.lora_B.T
        return (y + self.scaling * change).to(y.dtype)

    def delta_weight(self) -> Tensor:
        """What is added to W in effect, scaling * B A: (out_features, in_features)."""
        return self.scaling * self.lora_B @ self.lora_A

    @torch.no_grad()
    def merge(self) -> None:
        """Add `delta_weight()` to the base's own weight: the layer then costs what it did without an adapter.

        The weight that was there is kept, since taking the delta off again would leave rounding behind; so a merged
        layer holds two of them.

        Raises:
            LorakitError: it is merged already, or the base's weight is no plain matrix of floats.
        """
        if self.unmerged is not None:
            raise LorakitError("this layer is merged already; a second time would add the change twice: unmerge first.")
        weight = self.base_layer.weight
        if not weight.is_floating_point() or weight.shape != (self.out_features, self.in_features):
            raise LorakitError(
                f"a {type(self.base_layer).__name__} stores codes and no weights to add to: dequantise it first."
            )
        self.unmerged = weight.data
        self.base_layer.weight.data = (weight + self.delta_weight()).to(weight.dtype)

    @torch.no_grad()
    def unmerge(self) -> None:
        """Put the very weight back that was there before `merge`; raises LorakitError where nothing is merged."""
        if self.unmerged is None:
            raise LorakitError("this layer is not merged: there is nothing to take back.")
        self.base_layer.weight.data, self.unmerged = self.unmerged, None


def apply_lora(
    model: nn.Module,
    r: int,
    lora_alpha: float,
    target_modules: Collection[str],
    lora_dropout: float = 0.0,
    use_rslora: bool = False,
) -> nn.Module:
    """Freeze `model` and wrap each layer that `target_modules` names, in place; returns the model.

    Raises:
        LorakitError: no name, one that no layer has, or a model that has LoRA already.
    """
    if any(True for _ in lora_layers(model)):
        raise LorakitError("this model has LoRA already: load a fresh one, or train the adapters that it has.")
    target_modules = module_names(target_modules)
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "in_features")}
    check_target_modules(layers, target_modules)
    model.requires_grad_(False)
    for name, layer in layers.items():
        if any(is_target(name, wanted) for wanted in target_modules):
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, LoRALinear(layer, r, lora_alpha, lora_dropout, use_rslora))
    return model


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRALinear]]:
    """The LoRA layers of a model, with their names."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, LoRALinear))


def merge(model: nn.Module) -> None:
    """Merge every LoRA layer of a model into its base."""
    for _, layer in lora_layers(model):
        layer.merge()


def unmerge(model: nn.Module) -> None:
    """Take every merged LoRA layer of a model apart again."""
    for _, layer in lora_layers(model):
        layer.unmerge()


def lora_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """A and B of every LoRA layer, under the names that peft saves an adapter with."""
    return {
        f"base_model.model.{name}.{side}.weight": getattr(layer, side).detach()
        for name, layer in lora_layers(model)
        for side in ("lora_A", "lora_B")
    }
