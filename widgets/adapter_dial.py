"""How much of an adapter: its change multiplied by 0 to 2, and the probabilities of the next token that follow."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import torch
from peft import PeftModel
from peft.helpers import rescale_adapter_scale
from peft.tuners.lora import LoraLayer
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lorakit.errors import LorakitError
from widgets import words
from widgets.explorer import Control, Description, Explorer, printable, script
from widgets.logits import next_logits, percent
from widgets.model_text import TEXT, TEXT_CONTROL, check_model, shortened, title_of, token_text
from widgets.style import BLUE

DIALS = tuple(tenths / 10 for tenths in range(21))
BASE, TRAINED, TWICE = (DIALS.index(dial) for dial in (0, 1, 2))
SHOWN = 10
UNSCALED = {"use_dora": False, "bias": "none", "modules_to_save": None, "trainable_token_indices": None}
"""Settings of a LoraConfig that train more than the scaled change, and what they are when off."""
CHANGE_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Ways of peft to start A and B that take from the base what these hold."""


class AdapterDial(Explorer):
    """What `show_adapter_dial` returns: `value` has text and dial."""

    _esm = script("adapter_dial.js")
    asks = ("text",)

    def __init__(self, model: PeftModel, tokenizer: PreTrainedTokenizerBase, value: dict):
        self._model, self._tokenizer = model, tokenizer
        dial = Control("dial", "dial", "slider", DIALS, [words.number(each) for each in DIALS])
        super().__init__(f"An adapter's dial, on {title_of(model)}", [TEXT_CONTROL, dial], value)

    def answer(self, value: Mapping[str, Any]) -> tuple[dict, str]:
        """Numbers for every setting of the dial, and the bars and curves that they move."""
        adapter = check_adapter(self._model)
        logits = dialled_logits(self._model, self._tokenizer, value["text"])
        watched = watched_tokens(logits)
        numbers = dial_numbers(logits, watched)
        likeliest = [token_text(self._tokenizer, token_id) for token_id in logits.argmax(dim=1)]
        numbers |= {"adapter": adapter, "likeliest": dict(zip(map(words.number, DIALS), likeliest, strict=True))}
        pieces = [token_text(self._tokenizer, token_id) for token_id in watched]
        curves = list(zip(*numbers["probabilities"].values(), strict=True))
        return numbers, dial_svg(pieces, watched, curves, logits.shape[1])

    def describe(self, value: Mapping[str, Any]) -> Description:
        """The results at `value`, in words, and the lengths of the bars."""
        at, numbers = words.number(value["dial"]), self.numbers
        before, after = numbers["probabilities"]["0"], numbers["probabilities"][at]
        results = {
            "Likeliest token": f"{numbers['likeliest'][at]}, {percent(numbers['highest'][at])}",
            "Likeliest by the base": f"{numbers['likeliest']['0']}, {percent(numbers['highest']['0'])}",
            "KL divergence from the base": f"{words.fixed(numbers['divergence'][at], 3)} bits",
        }
        caption = (
            f"The change that the adapter {numbers['adapter']} makes is multiplied by {at}: 0 is the base alone, 1 the "
            "adapter as trained. Dashed: probability by the base. Solid: at this dial. On the right, each token's "
            "probability over the dial, from 0 to 100 %, with a point at this one. The KL divergence is over the "
            "whole vocabulary. “·” is a space, “⏎” a newline."
        )
        lengths = {f"before-{place}": share for place, share in enumerate(before)}
        lengths |= {f"after-{place}": share for place, share in enumerate(after)}
        labels = {f"share-{place}": percent(share) for place, share in enumerate(after)}
        return Description(results, caption, lengths, labels)


def show_adapter_dial(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, text: str = TEXT, dial: float = 1.0
) -> AdapterDial:
    """A text to type, and a dial for the model's active adapter: 0 is the base, 1 as trained, 2 twice the change.

    The next token's probabilities follow. Python runs the model once for each setting of the dial; the model is
    afterwards as it was.

    Raises:
        LorakitError: what is no causal language model with its own tokenizer and a LoRA adapter that is active and
            not merged, a text without a token, or a dial that is not 0, 0.1, ... 2.
    """
    check_model(model, tokenizer)
    check_adapter(model)
    return AdapterDial(model, tokenizer, {"text": text, "dial": dial})


def check_adapter(model: PeftModel) -> str:
    """The name of the adapter that is active; raises LorakitError where there is none that can be dialled."""
    if not isinstance(model, PeftModel):
        raise LorakitError(
            f"{type(model).__name__} has no adapter to dial: take the PeftModel that get_peft_model() or "
            "PeftModel.from_pretrained() gives."
        )
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    if not layers:
        raise LorakitError(f"{type(model).__name__} has no LoRA layer in it: take one whose adapter is LoRA's.")
    if merged := next((layer.merged_adapters for layer in layers if layer.merged), None):
        raise LorakitError(f"the adapter {merged[0]!r} is merged into the base: call model.unmerge_adapter() first.")
    if any(layer.disable_adapters for layer in layers):
        raise LorakitError("the model's adapters are switched off: call model.enable_adapter_layers() first.")
    if not model.active_adapters:
        raise LorakitError(f"none of the adapters {list(model.peft_config)} is active: call model.set_adapter() first.")
    for name in model.active_adapters:
        start = model.peft_config[name].init_lora_weights
        if isinstance(start, str) and start.lower().startswith(CHANGE_THE_BASE):
            raise LorakitError(
                f"the adapter {name!r} has init_lora_weights={start!r}, which changes the base too, so that at 0 the "
                "dial would not show the base: take one with init_lora_weights=True."
            )
        for setting, off in UNSCALED.items():
            if (value := getattr(model.peft_config[name], setting)) and value != off:
                raise LorakitError(
                    f"the adapter {name!r} has {setting}={value!r}, which would stay when the dial is at 0: take one "
                    f"with {setting}={off!r}."
                )
    return printable(", ".join(model.active_adapters))


def dialled_logits(model: PeftModel, tokenizer: PreTrainedTokenizerBase, text: str) -> Tensor:
    """Logits (21, V) after the last token of `text`, in float64 on the CPU: a row for each setting of the dial.

    A setting multiplies the adapter's scaling, alpha / r, in every layer.
    """
    rows = []
    for dial in DIALS:
        with rescale_adapter_scale(model, dial):
            rows.append(next_logits(model, tokenizer, text))
        if not rows[-1].isfinite().all():
            worst = rows[-1][~rows[-1].isfinite()][0].item()
            raise LorakitError(
                f"at dial {words.number(dial)} a logit after this text is {worst}: load the model with a wider dtype."
            )
    return torch.stack(rows)


def watched_tokens(logits: Tensor) -> list[int]:
    """Ids of the tokens to show, in the base's order: those that lead at 0, at 1 and at 2, the three rank by rank."""
    ranked = logits[[BASE, TRAINED, TWICE]].argsort(dim=1, descending=True, stable=True)[:, :SHOWN]
    leading = list(dict.fromkeys(ranked.T.flatten().tolist()))[:SHOWN]
    return sorted(leading, key=lambda token_id: -logits[BASE, token_id].item())


def dial_numbers(logits: Tensor, watched: Sequence[int]) -> dict[str, Any]:
    """Probabilities by the settings of the dial, from logits (21, V): of the watched tokens, then of all others.

    `highest` is the largest probability of any token. `divergence` is the Kullback-Leibler divergence (1951) from the
    base, in bits: the sum over the vocabulary of p log2(p / q), where q is the base's probability.
    """
    scores = logits.log_softmax(dim=1)
    chances = scores.exp()
    others = torch.ones(logits.shape[1], dtype=torch.bool)
    others[watched] = False
    shares = torch.cat([chances[:, watched], chances[:, others].sum(dim=1, keepdim=True)], dim=1)
    bits = (chances * (scores - scores[BASE])).sum(dim=1) / math.log(2)
    settings = list(map(words.number, DIALS))
    return {
        "probabilities": dict(zip(settings, shares.tolist(), strict=True)),
        "highest": dict(zip(settings, chances.amax(dim=1).tolist(), strict=True)),
        "divergence": dict(zip(settings, bits.tolist(), strict=True)),
    }


# --- The drawing: a row for each token that is watched, with a bar and a curve, and one for all others ---

TOP, ROW, TALL = 26, 34, 28
BAR, LONG = 312, 380
CURVE, STEP = 738, 12.5
STYLE = f"""
  .lorakit-dial text {{ fill: var(--lorakit-ink, #111); font: 13px ui-monospace, Menlo, Consolas, monospace; }}
  .lorakit-dial .faint {{ fill: var(--lorakit-faint, #555); font-size: 12px; }}
  .lorakit-dial .right {{ text-anchor: end; }}
  .lorakit-dial .middle {{ text-anchor: middle; }}
  .lorakit-dial .grid {{ stroke: var(--lorakit-faint, #555); stroke-opacity: 0.3; }}
  .lorakit-dial .before {{ fill: none; stroke: var(--lorakit-ink, #111); stroke-dasharray: 3 2; }}
  .lorakit-dial .after {{ fill: {BLUE}; }}
  .lorakit-dial .curve {{ fill: none; stroke: {BLUE}; stroke-width: 2px; }}
  .lorakit-dial .here {{ stroke: var(--lorakit-ink, #111); transform: translateX(calc({STEP}px * var(--dial))); }}
  .lorakit-dial .point {{ fill: var(--lorakit-ink, #111); }}
"""


def dial_svg(pieces: Sequence[str], ids: Sequence[int], curves: Sequence[Sequence[float]], vocabulary: int) -> str:
    """Bars whose lengths are CSS variables, --before-0 and --after-0 of the first token and so on, and curves.

    `curves` has the 21 probabilities of each token, and last those of all others. The point on a curve is at --dial,
    the place of the slider.
    """
    bottom = TOP + ROW * len(curves)
    drawn = []
    for quarter in range(5):
        x = BAR + LONG * quarter // 4
        drawn.append(f'<path class="grid" d="M{x} {TOP - 4}V{bottom}"/>')
        drawn.append(f'<text class="faint middle" x="{x}" y="14">{25 * quarter} %</text>')
    for place, heading in {BASE: "0: base", TRAINED: "1: trained", TWICE: "2"}.items():
        x = CURVE + STEP * place
        drawn.append(f'<path class="grid" d="M{x:g} {TOP - 4}V{bottom}"/>')
        drawn.append(f'<text class="faint middle" x="{x:g}" y="14">{heading}</text>')
    for x, heading in {190: "id", 288: "probability"}.items():
        drawn.append(f'<text class="faint right" x="{x}" y="14">{heading}</text>')
    drawn.append('<text class="faint" x="4" y="14">token</text>')
    drawn.append(f'<path class="here" d="M{CURVE} {TOP - 4}V{bottom}"/>')
    for place, (piece, token_id) in enumerate(zip(pieces, ids, strict=True)):
        y = TOP + ROW * place
        drawn.append(
            f'<g><title>{escape(piece)}</title><text x="4" y="{y + 21}">{escape(shortened(piece))}</text>'
            f'<text class="faint right" x="190" y="{y + 21}">{token_id}</text>{_row(place, y, curves[place])}</g>'
        )
    others = f"the other {words.count(vocabulary - len(pieces))} tokens"
    drawn.append(f'<text class="faint" x="4" y="{bottom - ROW + 21}">{others}</text>')
    drawn.append(_row(len(pieces), bottom - ROW, curves[-1]))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1010 {bottom + 6}" class="lorakit-dial">'
        f"<style>{STYLE}</style>{''.join(drawn)}</svg>"
    )


def _row(place: int, y: int, curve: Sequence[float]) -> str:
    floor = y + ROW - 2
    points = " ".join(f"{CURVE + STEP * i:g} {floor - TALL * share:.2f}" for i, share in enumerate(curve))
    moved = f"translate(calc({STEP}px * var(--dial)), calc({-TALL}px * var(--after-{place})))"
    return (
        f'<text class="right" x="288" y="{y + 21}" data-text="share-{place}"></text>'
        f'<rect class="after" x="{BAR}" y="{y + 11}" height="12" '
        f'style="width: calc({LONG}px * var(--after-{place}))"/>'
        f'<rect class="before" x="{BAR}" y="{y + 8}" height="18" '
        f'style="width: calc({LONG}px * var(--before-{place}))"/>'
        f'<path class="grid" d="M{CURVE} {floor}H{CURVE + STEP * TWICE:g}"/><path class="curve" d="M{points}"/>'
        f'<circle class="point" cx="{CURVE}" cy="{floor}" r="4" style="transform: {moved}"/>'
    )
