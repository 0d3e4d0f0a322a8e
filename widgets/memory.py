"""What fills a card in a training step: model, method, rank, batch and length, to be moved against the cards' sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from itertools import accumulate, pairwise
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel

from lorakit.errors import LorakitError
from lorakit.memory import PRESETS, Moment, TrainingPlan, estimate_memory, preset, resolve_attention
from lorakit.memory.cards import CARDS, Card, estimate_on, needed_bytes
from lorakit.memory.closed_form import trained_tensors
from lorakit.memory.plan import AMPERE, ATTENTIONS, METHODS, OPTIMIZERS, QUANT_TYPES, Capability, library_bytes
from lorakit.memory.shape import shape_of
from lorakit.models import model_name
from widgets import words
from widgets.adapter_size import ALPHAS, BLOCK, RANKS
from widgets.explorer import Control, Description, Explorer, script
from widgets.style import BLUE, GREEN, ORANGE, PINK

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
MOMENTS = tuple(moment.name for moment in estimate_memory(preset(MODEL), TrainingPlan()).moments)
PARTS = tuple(field.name.replace("_", " ").replace("quantiz", "quantis") for field in fields(Moment)[1:])
GIB = 2**30
AXES = tuple(sorted(step * 2**power * GIB for step in (8, 12) for power in range(30)))
"""Ends that the axis of bytes can have: a quarter of each is a round number of GiB."""
BY_SIZE = sorted(CARDS, key=lambda card: card.usable_bytes)


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
            Control("target_modules", "target modules", "many", BLOCK),
            Control("optimizer", "optimizer", "one", OPTIMIZERS),
            Control("gradient_checkpointing", "gradient checkpointing", "one", **off_on),
            Control("attention", "attention", "one", ATTENTIONS),
            Control("r", "rank r", "slider", _with(RANKS, value["r"])),
            Control("lora_alpha", "alpha", "slider", _with(ALPHAS, value["lora_alpha"])),
            Control("micro_batch_size", "micro-batch", "slider", _with(BATCHES, value["micro_batch_size"])),
            Control("seq_len", "sequence length", "slider", _with(LENGTHS, value["seq_len"])),
        ]
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
            lengths, labels = _drawn([[0] * len(PARTS)] * len(MOMENTS), 0, 0, AXES[0], cards, [""] * len(cards))
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
        return Description(results, caption, *_drawn(step["moments"], peak, held, axis, cards, texts))


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


def _with(scale: Sequence[int], start: int) -> Sequence[int]:
    """The scale, and the value to start from."""
    if type(start) is not int or start < 1:
        raise LorakitError(f"{start!r} cannot be set: rank, alpha, batch and length are whole numbers of at least 1.")
    return sorted({*scale, start})


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


# --- In words, and as lengths ---


def short(size_bytes: int) -> str:
    """2886218752 -> "2.69 GiB"."""
    for unit, unit_bytes in words.UNITS:
        if size_bytes >= unit_bytes:
            return f"{words.fixed(size_bytes / unit_bytes, 2)} {unit}"
    return f"{size_bytes} bytes" if size_bytes else "0"


def differs(needed: int, held: int) -> bool:
    """Whether a card takes visibly more or less than the bar."""
    return abs(needed - held) * 20 > held


def _drawn(
    moments: Sequence[Sequence[int]], peak: int, held: int, axis: int, cards: Sequence[Mapping], texts: Sequence[str]
) -> tuple[dict[str, float], dict[str, str]]:
    """Lengths, as shares of the axis, and labels of the drawing."""
    lengths, labels = {"held": held / axis}, {}
    totals = [sum(parts) for parts in moments]
    for row, parts in {"peak": moments[peak], **{f"m{place}": parts for place, parts in enumerate(moments)}}.items():
        for part, (size, upto) in enumerate(zip(parts, accumulate(parts), strict=True)):
            lengths[f"{row}-{part}"] = upto / axis
            labels[f"{row}-{part}"] = LETTERS[part] if size / axis >= LETTERED else ""
    for part, size in enumerate((*moments[peak], held - totals[peak])):
        labels[f"part-{part}"] = short(size)
    for place, total in enumerate(totals):
        labels[f"total-{place}"] = short(total) + (" ◄ the peak" if place == peak else "")
    for place, (card, text) in enumerate(zip(cards, texts, strict=True)):
        inside = card["bytes"] <= axis
        lengths |= {f"card-{place}": card["bytes"] / axis if inside else 1, f"line-{place}": int(inside)}
        labels[f"card-{place}"] = text if inside else f"→ {text}"
    for quarter in range(5):
        labels[f"tick-{quarter}"] = f"{words.number(axis * quarter / 4 / GIB)} GiB"
    return lengths, labels


# --- The drawing: cards as flags, the peak's bar, a bar a moment, a legend ---

LETTERS = "abcdefghijk"
LETTERED = 0.02
"""Share of the axis from which on a part has room for its letter."""
COLOURS = (BLUE, "#8CB4E8", "#BFD3EE", ORANGE, "#E69F00", "#F0E442", GREEN, "#8ED1B2", PINK, "#A9A9A9")
"""Of `PARTS`: neighbours differ in lightness too."""
LEFT, WIDE = 196, 560
FLAG, BAR, MOMENT, LEGEND = 16, 40, 22, 20
"""Heights: a card's line of text, the large bar, a small one with its gap, a line of the legend."""
STYLE = """
  .lorakit-memory text { fill: var(--lorakit-ink, #111); font: 12px system-ui, sans-serif; }
  .lorakit-memory .faint { fill: var(--lorakit-faint, #555); }
  .lorakit-memory .right { text-anchor: end; }
  .lorakit-memory .middle { text-anchor: middle; }
  .lorakit-memory .strong { font-weight: 700; }
  .lorakit-memory .grid { fill: none; stroke: var(--lorakit-faint, #555); stroke-opacity: 0.3; }
  .lorakit-memory .line { fill: none; stroke: var(--lorakit-ink, #111); stroke-width: 1.3px; }
  .lorakit-memory .held { fill: none; stroke: var(--lorakit-ink, #111); stroke-dasharray: 4 3; }
  .lorakit-memory .part { stroke: var(--lorakit-ground, #fff); stroke-width: 0.5px; }
  .lorakit-memory .letter {
    fill: #111; font-size: 11px; text-anchor: middle; paint-order: stroke; stroke-width: 4px;
  }
  .lorakit-memory .white { fill: #fff; }
"""


def memory_svg() -> str:
    """The bars, whose lengths are CSS variables from 0 to 1, and the places of all texts."""
    bar = FLAG * len(BY_SIZE) + 6
    moments = bar + BAR + 14
    axis = moments + MOMENT * len(MOMENTS) + 2
    legend = axis + 34
    drawn = []
    for quarter in range(5):
        x = LEFT + WIDE * quarter / 4
        drawn.append(f'<path class="grid" d="M{x:g} {bar}V{axis}"/>')
        drawn.append(f'<text class="faint middle" x="{x:g}" y="{axis + 14}" data-text="tick-{quarter}"></text>')
    drawn.append(f'<text class="right strong" x="{LEFT - 10}" y="{bar + 24}">at the peak</text>')
    drawn.append(
        f'<rect class="held" x="{LEFT}" y="{bar}" height="{BAR}" style="width: calc({WIDE}px * var(--held))"/>'
    )
    for place, name in enumerate(MOMENTS):
        y = moments + MOMENT * place + 12
        drawn.append(f'<text class="right" x="{LEFT - 10}" y="{y}">{name}</text>')
        drawn.append(f'<text x="{LEFT + WIDE + 10}" y="{y}" data-text="total-{place}"></text>')
    rows = [("peak", bar, BAR), *((f"m{place}", moments + MOMENT * place, 16) for place in range(len(MOMENTS)))]
    drawn += [_bar(*row) for row in rows]
    for place in range(len(BY_SIZE)):
        y = FLAG * place
        drawn.append(
            f'<g style="transform: translateX(calc({WIDE}px * var(--card-{place})))">'
            f'<path class="line" style="opacity: var(--line-{place})" d="M{LEFT} {y + 2}V{axis}"/>'
            f'<text x="{LEFT + 5}" y="{y + 12}" data-text="card-{place}"></text></g>'
        )
    drawn += [_letters(*row) for row in rows]
    for place, name in enumerate((*PARTS, "held beyond: allocator, CUDA")):
        x, y = 10 + 340 * (place // 4), legend + LEGEND * (place % 4)
        drawn.append(_key(place, x, y) + f'<text x="{x + 26}" y="{y + 11}">{name}</text>')
        drawn.append(f'<text class="right" x="{x + 285}" y="{y + 11}" data-text="part-{place}"></text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1010 {legend + 4 * LEGEND}" class="lorakit-memory">'
        f"<style>{STYLE}</style>{''.join(drawn)}</svg>"
    )


def _bar(row: str, y: int, height: int) -> str:
    """Parts one upon the other, each from 0 to where it ends: the first comes last, and lies on top."""
    rects = [
        f'<rect class="part" x="{LEFT}" y="{y}" height="{height}" fill="{colour}" '
        f'style="width: calc({WIDE}px * var(--{row}-{part}))"/>'
        for part, colour in enumerate(COLOURS)
    ]
    return "".join(reversed(rects))


def _letters(row: str, y: int, height: int) -> str:
    """In the middle of each part, over the cards' lines."""
    ends = ["0", *(f"var(--{row}-{part})" for part in range(len(COLOURS)))]
    return "".join(
        f'<text class="{_letter(part)}" stroke="{colour}" x="{LEFT}" y="{y + height // 2 + 4}" '
        f'style="transform: translateX(calc({WIDE // 2}px * ({start} + {end})))" data-text="{row}-{part}"></text>'
        for part, (colour, (start, end)) in enumerate(zip(COLOURS, pairwise(ends), strict=True))
    )


def _key(part: int, x: int, y: int) -> str:
    """A part's colour and letter."""
    if part == len(COLOURS):
        return f'<rect class="held" x="{x}" y="{y}" width="18" height="14"/>'
    return (
        f'<rect class="part" x="{x}" y="{y}" width="18" height="14" fill="{COLOURS[part]}"/>'
        f'<text class="{_letter(part)}" x="{x + 9}" y="{y + 11}">{LETTERS[part]}</text>'
    )


def _letter(part: int) -> str:
    return "letter white" if COLOURS[part] == BLUE else "letter"
