"""What fills a card in a training step: model, method, rank, batch and length, to be moved against the cards' sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel

from lorakit.errors import LorakitError
from lorakit.lora import LINEAR_LAYERS
from lorakit.memory import PRESETS, TrainingPlan, estimate_memory, preset, resolve_attention
from lorakit.memory.cards import CARDS, Card, estimate_on, needed_bytes
from lorakit.memory.closed_form import trained_tensors
from lorakit.memory.plan import AMPERE, ATTENTIONS, METHODS, OPTIMIZERS, QUANT_TYPES, Capability, library_bytes
from lorakit.memory.shape import shape_of
from lorakit.models import model_name
from widgets import words
from widgets.adapter_size import ALPHAS, RANKS
from widgets.explorer import Control, Description, Explorer, scale_with, script
from widgets.memory_picture import BY_SIZE, GIB, MOMENTS, PARTS, lengths_and_labels, memory_svg, short

BATCHES = (1, 2, 4, 8, 16)
LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192)
MODEL = "Llama-2-7B"
START = {
    "method": "lora",
    "quant_type": "nf4",
    "double_quant": True,
    "r": 8,
    "lora_alpha": 16,
    "target_modules": ("q_proj", "v_proj"),
    "micro_batch_size": 4,
    "seq_len": 512,
    "optimizer": "adamw",
    "gradient_checkpointing": False,
    "attention": "sdpa",
}
AXES = tuple(sorted(step * 2**power * GIB for step in (8, 12) for power in range(30)))
"""Ends that the axis of bytes can have: a quarter of each is a round number of GiB."""


def kind_of(capability: Capability) -> tuple[bool, int]:
    """What of a card a step's bytes depend on: cards of one kind all take the same."""
    return capability >= AMPERE, library_bytes(capability)


KINDS = {kind_of(card.capability): card for card in CARDS}
"""A card of each kind."""


class Memory(Explorer):
    """What `show_memory` returns: `value` is what is set, `config` and `plan` the same for `estimate_memory`."""

    _esm = script("memory.js")
    asks = (
        "model",
        "method",
        "quant_type",
        "double_quant",
        "target_modules",
        "optimizer",
        "gradient_checkpointing",
        "attention",
    )

    def __init__(self, configs: Mapping[str, PretrainedConfig], value: dict):
        self._configs = configs
        off_on = {"options": (False, True), "texts": ("off", "on")}
        controls = [
            Control("model", "model", "one", tuple(configs)),
            Control("method", "method", "one", METHODS),
            Control("quant_type", "quant type", "one", QUANT_TYPES),
            Control("double_quant", "double quantisation", "one", **off_on),
            Control("target_modules", "target modules", "many", LINEAR_LAYERS),
            Control("optimizer", "optimizer", "one", OPTIMIZERS),
            Control("gradient_checkpointing", "gradient checkpointing", "one", **off_on),
            Control("attention", "attention", "one", ATTENTIONS),
        ]
        sliders = {
            "r": ("rank r", RANKS),
            "lora_alpha": ("alpha", ALPHAS),
            "micro_batch_size": ("micro-batch", BATCHES),
            "seq_len": ("sequence length", LENGTHS),
        }
        for name, (label, scale) in sliders.items():
            controls.append(Control(name, label, "slider", scale_with(scale, value[name], name)))
        self._scales = {control.name: control.options for control in controls if control.kind == "slider"}
        super().__init__("The memory of a training step", controls, value)

    @property
    def config(self) -> PretrainedConfig:
        """Of the model that is set."""
        return self._configs[self.value["model"]]

    @property
    def plan(self) -> TrainingPlan:
        """What is set, but the model and alpha; raises LorakitError where it is no plan, such as LoRA of no layer."""
        return plan_of(self.value)

    def answer(self, value: Mapping[str, Any]) -> tuple[dict, str]:
        """Bytes for every setting of the sliders, and the bars that they move."""
        scales = (self._scales[name] for name in ("r", "micro_batch_size", "seq_len"))
        return memory_numbers(self._configs[value["model"]], value, *scales), memory_svg()

    def describe(self, value: Mapping[str, Any]) -> Description:
        """The results at `value`, in words, and the lengths of the bars."""
        numbers, cards = self.numbers, self.numbers["cards"]
        rank = "None" if value["method"] == "full" else str(value["r"])
        step = numbers["steps"][rank][str(value["micro_batch_size"])][str(value["seq_len"])]
        results = {
            "Peak": "none",
            "nvidia-smi would show": "none",
            "Smallest card": "none",
            "Trained parameters": "none",
            "Attention runs on": "none",
            "Alpha": f"{value['lora_alpha']} is a factor, not a weight: no byte changes",
            "Not in use": numbers["not_in_use"],
        }
        if "why" in step:
            results["Peak"] = f"none: {step['why']}"
            nothing = [[0] * len(PARTS)] * len(MOMENTS)
            lengths, labels = lengths_and_labels(nothing, 0, 0, AXES[0], cards, [""] * len(cards))
            return Description(results, "There is no such step.", lengths, dict.fromkeys(labels, ""))
        totals = [sum(parts) for parts in step["moments"]]
        most, held = max(totals), step["needed"]
        peak = totals.index(most)
        fitting, texts = [], []
        for card in cards:
            need = step["by_kind"][card["kind"]]
            fits = need is not None and need <= card["bytes"]
            fitting += [card] if fits else []
            there = ", cannot run it" if need is None else f", takes {short(need)}" if differs(need, held) else ""
            texts.append(f"{'✓' if fits else '✗'} {card['name']}, {short(card['bytes'])}{there}")
        results |= {
            "Peak": f"{short(most)}, {MOMENTS[peak]}",
            "nvidia-smi would show": short(held),
            "Smallest card": fitting[0]["name"] if fitting else "none of these",
            "Trained parameters": words.count(step["trained"]),
            "Attention runs on": step["kernel"],
        }
        axis = next(each for each in AXES if each >= max(held, fitting[0]["bytes"] if fitting else 0))
        caption = (
            f"Above: what is alive at the peak ({MOMENTS[peak]}), and dashed what torch and CUDA hold beyond. Below: "
            f"every moment of the step: the peak is the largest of them, {short(most)}, and not their sum, "
            f"{short(sum(totals))}. A vertical line is what a card can hand out: ✓ this step fits, ✗ it does not."
        )
        if step["paged_bytes"]:
            caption += f" Another {short(step['paged_bytes'])} of optimizer states are paged: they live in the host."
        if value["seq_len"] > numbers["made_for"]:
            caption += f" The model was made for rows of at most {words.count(numbers['made_for'])} tokens."
        return Description(results, caption, *lengths_and_labels(step["moments"], peak, held, axis, cards, texts))


def show_memory(model: str | PretrainedConfig | PreTrainedModel | None = None, **settings: Any) -> Memory:
    """Sliders for a training step, its peak against the cards' memory, and every moment that it could be.

    `estimate_memory(explorer.config, explorer.plan)` gives the same bytes in Python; `explorer.value` has the fields of
    `TrainingPlan` by their names, and lora_alpha, which changes no byte.

    Args:
        model: to start from: a name in PRESETS, a config, or a model, of which only the config is read.
        settings: what else to start from, by the names in `value`, such as method="qlora" or seq_len=2048. All that has
            no control is as in `TrainingPlan()`.

    Raises:
        LorakitError: a model that is not covered, or a setting that cannot be meant.
    """
    configs = {name: preset(name) for name in PRESETS}
    name = MODEL if model is None else model
    if isinstance(model, str):
        preset(model)
    elif model is not None:
        config = getattr(model, "config", model)
        if not isinstance(config, PretrainedConfig):
            raise LorakitError(f"{type(model).__name__} is no model: pass one, its config, or a name in PRESETS.")
        shape_of(config)
        name = model_name(config) or type(config).__name__.removesuffix("Config")
        configs = {name: config} | {each: other for each, other in configs.items() if each != name}
    return Memory(configs, {"model": name} | START | settings)


# --- The numbers: of one model and method, for every setting of the sliders ---


def plan_of(value: Mapping[str, Any]) -> TrainingPlan:
    """The plan that is set; what its method has no use for is left out."""
    shared = ("method", "double_quant", "micro_batch_size", "seq_len", "optimizer", "gradient_checkpointing")
    plan = {name: value[name] for name in (*shared, "attention")}
    if value["method"] != "full":
        plan |= {"r": value["r"], "target_modules": tuple(value["target_modules"])}
    if value["method"] == "qlora":
        plan["quant_type"] = value["quant_type"]
    return TrainingPlan(**plan)


def memory_numbers(
    config: PretrainedConfig, value: Mapping[str, Any], ranks: Sequence[int], batches: Sequence[int], lengths: Sequence
) -> dict[str, Any]:
    """Every number that `Memory` can show of a model, by rank ("None" where there is no adapter), batch and length."""
    full = value["method"] == "full"
    steps = {
        str(None if full else r): {
            str(batch): {
                str(length): step_numbers(config, {**value, "r": r, "micro_batch_size": batch, "seq_len": length})
                for length in lengths
            }
            for batch in batches
        }
        for r in (ranks[:1] if full else ranks)
    }
    unused = ["rank, alpha and target modules"] if full else []
    unused += ["quant type and double quantisation"] if value["method"] != "qlora" else []
    return {
        "steps": steps,
        "not_in_use": "; ".join(unused) or "nothing, but nf4 and fp4 take the same bytes",
        "made_for": config.max_position_embeddings,
        "moments": MOMENTS,
        "parts": len(PARTS),
        "cards": [
            {"name": card.name, "bytes": card.usable_bytes, "kind": list(KINDS).index(kind_of(card.capability))}
            for card in BY_SIZE
        ],
        "axes": AXES,
    }


def step_numbers(config: PretrainedConfig, value: Mapping[str, Any]) -> dict[str, Any]:
    """One step's bytes: by moment and part on an A100, in all on each kind of card; or "why" there is no such step."""
    try:
        plan = plan_of(value)
        estimate = estimate_memory(config, plan)
    except LorakitError as error:
        return {"why": str(error)}
    needed, drawn = needed_bytes(estimate), kind_of(AMPERE)
    return {
        "moments": [astuple(moment)[1:] for moment in estimate.moments],
        "needed": needed,
        "by_kind": [needed if kind == drawn else needed_on(config, plan, card) for kind, card in KINDS.items()],
        "paged_bytes": estimate.paged_bytes,
        "kernel": resolve_attention(config, plan),
        "trained": sum(tensors * weights for tensors, weights in trained_tensors(shape_of(config), plan)),
    }


def needed_on(config: PretrainedConfig, plan: TrainingPlan, card: Card) -> int | None:
    """What such a card must have free; None where its kernels cannot run the step."""
    try:
        return needed_bytes(estimate_on(config, plan, card))
    except LorakitError:
        return None


def differs(needed: int, held: int) -> bool:
    """Whether a card takes visibly more or less than the bar."""
    return abs(needed - held) * 20 > held
