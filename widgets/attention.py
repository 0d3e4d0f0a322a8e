"""Where each token of a text looks: the attention weights of any layer and head."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lorakit.activations import run_with_cache
from lorakit.activations.blocks import check_config
from lorakit.errors import LorakitError
from widgets import words
from widgets.explorer import Control, Description, Explorer, places, script
from widgets.model_text import (
    LETTER,
    TEXT,
    TEXT_CONTROL,
    TOKENS,
    at_rest,
    check_model,
    encode,
    shortened,
    title_of,
    token_text,
)
from widgets.style import BLUE


class Attention(Explorer):
    """What `show_attention` returns: `value` has text, layer and head."""

    _esm = script("in_words.js")
    asks = ("text", "layer", "head")

    def __init__(self, model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, text: str):
        self._model, self._tokenizer = model, tokenizer
        self._recorded: tuple[str, list[str], Tensor] | None = None
        config = model.config
        controls = [
            TEXT_CONTROL,
            Control("layer", "layer", "slider", range(config.num_hidden_layers)),
            Control("head", "head", "slider", range(config.num_attention_heads)),
        ]
        super().__init__(f"Attention in {title_of(model)}", controls, {"text": text, "layer": 0, "head": 0})

    def answer(self, value: Mapping[str, Any]) -> tuple[dict, str]:
        """One head's weights in words, and as a map."""
        text, layer, head = value["text"], value["layer"], value["head"]
        if self._recorded is None or self._recorded[0] != text:
            self._recorded = text, *attention_weights(self._model, self._tokenizer, text)
        _, pieces, weights = self._recorded
        kv_heads = self._model.config.num_key_value_heads
        described = describe_head(weights[layer, head], pieces, layer, head, weights.shape[1] // kv_heads, kv_heads)
        return described, attention_svg(weights[layer, head], pieces)

    def describe(self, value: Mapping[str, Any]) -> Description:
        """What `answer` found, in words."""
        return Description(**self.numbers)


def show_attention(
    model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, text: str = TEXT
) -> Attention:
    """A text to type, and sliders for layer and head: which token looks at which, and how much.

    The model runs once for each text.

    Raises:
        LorakitError: a model whose blocks are not Llama's, or a text with no token or with more than are drawn.
    """
    check_model(model, tokenizer)
    check_config(model.config, tokens=1)
    return Attention(model, tokenizer, text)


def attention_weights(
    model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, text: str
) -> tuple[list[str], Tensor]:
    """The tokens' texts, and what every head gives (layers, H, T, T): row i says where token i looks.

    Raises LorakitError for a text with no token or with more than are drawn.
    """
    ids = encode(model, tokenizer, text)
    if len(ids) > TOKENS:
        raise LorakitError(f"the text has {len(ids)} tokens, and a map of at most {TOKENS} is drawn: shorten it.")
    with at_rest(model):
        _, cache = run_with_cache(model, torch.tensor([ids], device=model.device))
    layers = [cache[f"{i}.attention"][0].float().cpu() for i in range(model.config.num_hidden_layers)]
    return [token_text(tokenizer, token_id) for token_id in ids], torch.stack(layers)


def describe_head(
    weights: Tensor, pieces: Sequence[str], layer: int, head: int, group: int, kv_heads: int
) -> dict[str, Any]:
    """Results and caption for one head's weights (T, T). `group` query heads share a key and value head.

    The means leave out row 0, which has but itself to look at.
    """
    rows = weights[1:]
    looks = {
        "first token": rows[:, 0],
        "token itself": weights.diagonal()[1:],
        "token before": weights.diagonal(-1),
    }
    results = {
        f"Mean weight on the {where}": words.fixed(each.mean().item(), 3) if len(rows) else "none: one token"
        for where, each in looks.items()
    }
    kv_head = head // group
    sharing = ", ".join(str(kv_head * group + i) for i in range(group))
    results["Key and value head"] = f"{kv_head} (of 0 to {kv_heads - 1}), for query heads {sharing}"
    last, most = len(pieces) - 1, int(weights[-1].argmax())
    caption = (
        f"Layer {layer}, head {head}. A row is a token that looks, a column one that is looked at: itself, or one "
        "before it. A row adds up to 1, its largest weight is framed, and what is below 0.05 has no number. The last "
        f"token, {last} ({pieces[last]}), looks most at {most} ({pieces[most]}): "
        f"{words.fixed(weights[-1, most].item(), 2)}. The means are over all rows but row 0."
    )
    return {"results": results, "caption": caption}


# --- The drawing: a row for each token that looks, a column for each that is looked at ---

LEFT, WIDEST, TALL = 152, 64, 24
SLANT = 40
"""Degrees by which the columns' labels are turned."""
STYLE = f"""
  .lorakit-attention text {{ fill: var(--lorakit-ink, #111); font: 13px ui-monospace, Menlo, Consolas, monospace; }}
  .lorakit-attention .faint {{ fill: var(--lorakit-faint, #555); }}
  .lorakit-attention .right {{ text-anchor: end; }}
  .lorakit-attention .number {{ font-size: 11px; text-anchor: middle; }}
  .lorakit-attention .weight {{ fill: {BLUE}; }}
  .lorakit-attention .grid {{ fill: none; stroke: var(--lorakit-faint, #555); stroke-opacity: 0.3; }}
  .lorakit-attention .most {{ fill: none; stroke: var(--lorakit-ink, #111); stroke-width: 2px; }}
"""


def attention_svg(weights: Tensor, pieces: Sequence[str]) -> str:
    """The map of one head: weights (T, T), a cell the darker the more weight it has."""
    T = len(pieces)
    across = min(WIDEST, (920 - LEFT) // T)
    longest = LETTER * max(places(shortened(piece)) + 3 for piece in pieces)  # with its number before it
    top = round(longest * math.sin(math.radians(SLANT))) + 14
    drawn = []
    for i, piece in enumerate(pieces):
        label = f'{escape(shortened(piece))} <tspan class="faint">{i}</tspan>'
        x, y = LEFT + across * (i + 0.5), top + TALL * (i + 0.5) + 4
        drawn.append(f'<text class="right" x="{LEFT - 8}" y="{y:.0f}">{label}</text>')
        label = f'<tspan class="faint">{i}</tspan> {escape(shortened(piece))}'
        drawn.append(f'<text transform="translate({x:.0f} {top - 8}) rotate(-{SLANT})">{label}</text>')
    for i, row in enumerate(weights.tolist()):
        for j, weight in enumerate(row[: i + 1]):
            seen = f"{i} ({pieces[i]}) at {j} ({pieces[j]}): {words.fixed(weight, 4)}"
            drawn.append(_cell(LEFT + across * j, top + TALL * i, across, weight, weight == max(row), seen))
    bottom = top + TALL * T
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1010 {bottom + 6}" class="lorakit-attention">'
        f"<style>{STYLE}</style>{''.join(drawn)}</svg>"
    )


def _cell(x: float, y: float, across: float, weight: float, most: bool, seen: str) -> str:
    place = f'x="{x + 1}" y="{y + 1}" width="{across - 2}" height="{TALL - 2}"'
    number = ""
    if most or weight >= 0.05:
        number = f'<text class="number" x="{x + across / 2:.0f}" y="{y + 16}">{words.fixed(weight, 2)}</text>'
    frame = f'<rect class="{"most" if most else "grid"}" {place}/>'
    return (
        f'<g><title>{escape(seen)}</title><rect class="weight" {place} fill-opacity="{0.65 * weight:.3f}"/>'
        f"{frame}{number}</g>"
    )
