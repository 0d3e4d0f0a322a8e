"""What LoRA adds to a model, and what its base fills: rank, alpha, target modules and quant type, to be moved."""

from collections.abc import Collection, Mapping, Sequence
from html import escape
from itertools import chain, combinations
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from lorakit.errors import LorakitError
from lorakit.lora import LINEAR_LAYERS, Shapes, adapter_file_bytes, features_per_rank, last_name, target_shapes
from lorakit.models import empty_model, linear_shapes, model_name, pick_device
from lorakit.quantization import base_bytes
from widgets import words
from widgets.explorer import Control, Description, Explorer, scale_with, script
from widgets.style import BLUE, ORANGE

RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ALPHAS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
QUANT_TYPES = (None, "int8", "nf4", "fp4")


class AdapterSize(Explorer):
    """What `show_adapter_size` returns: `value` has r, lora_alpha, target_modules and quant_type, as `TrainConfig`."""

    _esm = script("adapter_size.js")

    def describe(self, value: Mapping[str, Any]) -> Description:
        """The results at `value`, in words."""
        r, alpha, targets = value["r"], value["lora_alpha"], value["target_modules"]
        adapter = self.numbers["adapters"][" ".join(targets)][str(r)]
        results = {
            "Adapter parameters": words.count(adapter["parameters"]),
            "Share of all parameters": f"{words.fixed(adapter['percent'], 3)} %",
            "Adapter on disk": words.size(adapter["file_bytes"]),
            "Base in memory": words.size(self.numbers["base"][str(value["quant_type"])]),
            "Scaling, alpha / r": words.number(self.numbers["scaling"][str(alpha)][str(r)]),
        }
        if not targets:
            return Description(results, "No adapter: choose at least one layer.")
        blocks, beside = self.numbers["blocks"], ", ".join(targets)
        return Description(results, f"One of {blocks} blocks. Trained are A and B, thicker with r, beside {beside}.")


def show_adapter_size(
    model: PreTrainedModel | PretrainedConfig,
    *,
    r: int = 8,
    lora_alpha: int = 16,
    target_modules: Collection[str] = ("q_proj", "v_proj"),
    quant_type: str | None = None,
    quant_types: Sequence[str | None] = QUANT_TYPES,
) -> AdapterSize:
    """Sliders for an adapter and its base; `TrainConfig(**explorer.value)` trains with what they are set to.

    Shown are the weights to train as peft makes them, their share of all, the bytes of peft's adapter file, the bytes
    of the base's weights as `load_model` keeps them here, the scaling alpha / r, and where in a block adapters sit.

    Args:
        model: a model, or its config alone (`AutoConfig.from_pretrained(name)`): no weight is loaded.
        quant_types: those to choose from for the base; None is not quantised.

    Raises:
        LorakitError: a start value that cannot be meant, or a model whose blocks are not Llama's.
    """
    empty = empty_model(model)
    shapes = linear_shapes(empty)
    _check_blocks(shapes, type(empty).__name__)
    dtype = pick_device().dtype
    plain = str(dtype).removeprefix("torch.")
    controls = [
        Control("r", "rank r", "slider", scale_with(RANKS, r, "r")),
        Control("lora_alpha", "alpha", "slider", scale_with(ALPHAS, lora_alpha, "lora_alpha")),
        Control("target_modules", "target modules", "many", LINEAR_LAYERS),
        Control("quant_type", "base", "one", quant_types, [plain if each is None else each for each in quant_types]),
    ]
    value = {"r": r, "lora_alpha": lora_alpha, "target_modules": target_modules, "quant_type": quant_type}
    name = model_name(empty.config) or type(empty).__name__
    ranks, alphas = (control.options for control in controls[:2])
    numbers = adapter_numbers(shapes, empty.num_parameters(), ranks, alphas, dtype, quant_types)
    return AdapterSize(f"Adapters for {name}", controls, value, numbers, block_svg(shapes, quant_types, plain))


def adapter_numbers(
    shapes: Shapes,
    parameters: int,
    ranks: Sequence[int],
    alphas: Sequence[int],
    dtype: torch.dtype,
    quant_types: Sequence[str | None],
) -> dict[str, Any]:
    """Every number that `AdapterSize` can show, by the settings that it depends on."""
    per_module = {module: target_shapes(shapes, [module]) for module in LINEAR_LAYERS}
    adapters = {}
    for targets in chain.from_iterable(combinations(LINEAR_LAYERS, size) for size in range(len(LINEAR_LAYERS) + 1)):
        adapted = {layer: shape for module in targets for layer, shape in per_module[module].items()}
        per_rank = features_per_rank(adapted)
        adapters[" ".join(targets)] = {
            str(r): {
                "parameters": r * per_rank,
                "percent": 100 * r * per_rank / (parameters + r * per_rank),
                "file_bytes": file_bytes,
            }
            for r, file_bytes in zip(ranks, adapter_file_bytes(adapted, ranks), strict=True)
        }
    return {
        "adapters": adapters,
        "base": {str(each): base_bytes(parameters, shapes, each, True, dtype) for each in quant_types},
        "scaling": {str(alpha): {str(r): alpha / r for r in ranks} for alpha in alphas},
        "blocks": len(per_module["q_proj"]),
    }


def _check_blocks(shapes: Shapes, model: str) -> None:
    has = sorted({last_name(layer) for layer in shapes})
    if has != sorted(LINEAR_LAYERS):
        raise LorakitError(
            f"{model} has the linear layers {', '.join(has) or 'of none'}, and only a Llama-type block can be drawn "
            f"({', '.join(LINEAR_LAYERS)}): take a model such as Llama, Mistral, Qwen2 or SmolLM2."
        )


# --- The drawing: one block, its seven linear layers, and an adapter beside each ---

WEIGHT = (120, 38)
PLACES = {
    "q_proj": (112, 12),
    "k_proj": (112, 96),
    "v_proj": (112, 180),
    "o_proj": (366, 96),
    "gate_proj": (616, 54),
    "up_proj": (616, 138),
    "down_proj": (846, 96),
}
STREAM = 306
STYLE = f"""
  .lorakit-block text {{
    fill: var(--lorakit-ink, #111); text-anchor: middle; font-family: system-ui, sans-serif; font-size: 12px;
  }}
  .lorakit-block .name {{ font-weight: 700; font-size: 13px; }}
  .lorakit-block .wire, .lorakit-block .box {{ fill: none; stroke: var(--lorakit-ink, #111); stroke-width: 1.3px; }}
  .lorakit-block .box {{ fill: var(--lorakit-ground, #fff); }}
  .lorakit-block .codes {{ fill: none; stroke-dasharray: 4 3; stroke: var(--lorakit-ground, #fff); stroke-width: 2px; }}
  .lorakit-block .stream {{ stroke-width: 3px; }}
  .lorakit-block .bypass {{ fill: none; stroke: {ORANGE}; stroke-width: 1.5px; }}
  .lorakit-block .a, .lorakit-block .b {{ height: calc(3px + 2px * var(--r)); }}
  .lorakit-block .a {{ fill: {ORANGE}; }}
  .lorakit-block .b {{ fill: {BLUE}; }}
"""


def block_svg(shapes: Shapes, quant_types: Sequence[str | None], plain: str) -> str:
    """One transformer block from left to right, over its residual stream. Weights are (in_features, out_features)."""
    first = {}
    for layer, shape in shapes.items():
        first.setdefault(last_name(layer), shape)
    hidden = first["q_proj"][0]
    drawn = [
        _wire(f"M8 {STREAM}H1008", "stream"),
        _wire(f"M1000 {STREAM - 6}l9 6l-9 6"),
        f'<text x="500" y="{STREAM + 22}">residual stream, {hidden:,} numbers a token</text>',
        # attention
        _wire(f"M30 {STREAM}V115H30M79 115H94M94 31V199M94 31H112M94 115H112M94 199H112"),
        _wire("M232 31H250V115M232 115H262M232 199H250V115M340 115H366M486 115H504V296"),
        _step(11, 96, 68, "RMSNorm"),
        _step(262, 96, 78, "attention"),
        # feed-forward
        _wire(f"M536 {STREAM}V115M585 115H600M600 73V157M600 73H616M600 157H616"),
        _wire("M736 73H754V115M736 157H754V115H764M830 115H846M966 115H978V296"),
        _step(517, 96, 68, "RMSNorm"),
        _step(764, 96, 66, "SiLU, ×"),
        _plus(504),
        _plus(978),
    ]
    for module, (x, y) in PLACES.items():
        drawn.append(_layer(module, x, y, first[module]))
    codes = [each for each in quant_types if each is not None]
    if codes:
        dashes = "".join(_weight("codes", *place) for place in PLACES.values())
        drawn.append(f'<g data-when="quant_type={" ".join(codes)}">{dashes}</g>')
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1016 340" class="lorakit-block">'
        f"<style>{STYLE}</style>{''.join(drawn)}</svg>"
    )


def _layer(module: str, x: int, y: int, shape: tuple[int, int]) -> str:
    width, height = WEIGHT
    middle, bypass = x + width / 2, y + height + 16
    return (
        f"{_weight('box', x, y)}"
        f'<text class="name" x="{middle}" y="{y + 16}">{escape(module)}</text>'
        f'<text x="{middle}" y="{y + 31}">{shape[0]:,} → {shape[1]:,}</text>'
        f'<g data-when="target_modules={escape(module)}">'
        f'<path class="bypass" d="M{x - 6} {y + height / 2}V{bypass + 2}H{x + width + 6}V{y + height / 2}"/>'
        f'<rect class="a" x="{x + 8}" y="{bypass}" width="48"/><rect class="b" x="{x + 64}" y="{bypass}" width="48"/>'
        f'<text x="{x + 32}" y="{bypass - 3}">A</text><text x="{x + 88}" y="{bypass - 3}">B</text></g>'
    )


def _weight(look: str, x: int, y: int) -> str:
    return f'<rect class="{look}" x="{x}" y="{y}" width="{WEIGHT[0]}" height="{WEIGHT[1]}" rx="3"/>'


def _wire(path: str, more: str = "") -> str:
    return f'<path class="{f"wire {more}".strip()}" d="{path}"/>'


def _step(x: int, y: int, width: int, name: str) -> str:
    return (
        f'<rect class="box" x="{x}" y="{y}" width="{width}" height="38" rx="19"/>'
        f'<text x="{x + width / 2}" y="{y + 23}">{name}</text>'
    )


def _plus(x: int) -> str:
    return (
        f'<circle class="box" cx="{x}" cy="{STREAM}" r="9"/>'
        f'<path class="wire" d="M{x - 5} {STREAM}h10M{x} {STREAM - 5}v10"/>'
    )
