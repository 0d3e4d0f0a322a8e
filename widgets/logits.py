"""What comes next: the likeliest tokens after a text, and what temperature, top-k and top-p make of them."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lorakit.errors import LorakitError
from widgets import words
from widgets.explorer import Control, Description, Explorer, script
from widgets.model_text import TEXT, TEXT_CONTROL, at_rest, check_model, encode, shortened, title_of, token_text
from widgets.style import BLUE

TEMPERATURES = (0.1, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0)
TOP_KS = (0, 1, 2, 3, 5, 10, 20, 50, 100, 1000)
TOP_PS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
SHOWN = 12


class Logits(Explorer):
    """What `show_logits` returns: `value` has text, temperature, top_k (0 is off) and top_p (1.0 is off)."""

    _esm = script("logits.js")
    asks = ("text",)

    def __init__(self, model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, value: dict):
        self._model, self._tokenizer = model, tokenizer
        self._scales = {
            "temperature": sorted({*TEMPERATURES, value["temperature"]}),
            "top_k": sorted({*TOP_KS, value["top_k"]}),
            "top_p": sorted({*TOP_PS, value["top_p"]}),
        }
        off = {"top_k": 0, "top_p": 1.0}
        sliders = []
        for name, label in {"temperature": "temperature", "top_k": "top-k", "top_p": "top-p"}.items():
            texts = ["off" if each == off.get(name) else words.number(each) for each in self._scales[name]]
            sliders.append(Control(name, label, "slider", self._scales[name], texts))
        super().__init__(f"The next token, by {title_of(model)}", [TEXT_CONTROL, *sliders], value)

    def answer(self, value: Mapping[str, Any]) -> tuple[dict, str]:
        """Numbers for every setting of the sliders, and the bars that they move."""
        logits, ids = next_logits(self._model, self._tokenizer, value["text"]).sort(descending=True, stable=True)
        if not logits[0].isfinite():
            raise LorakitError(f"a logit after this text is {logits[0].item()}: load the model with a wider dtype.")
        shown = ids[:SHOWN].tolist()
        pieces = [token_text(self._tokenizer, token_id) for token_id in shown]
        numbers = {"tokens": pieces, **sampling_numbers(logits, *self._scales.values())}
        return numbers, logits_svg(pieces, shown, logits[:SHOWN].tolist(), len(logits))

    def describe(self, value: Mapping[str, Any]) -> Description:
        """The results at `value`, in words, and the lengths of the bars."""
        at = words.number(value["temperature"])
        cut = self.numbers["cuts"][at][str(value["top_k"])][words.number(value["top_p"])]
        kept, mass, probabilities = cut["kept"], cut["mass"], self.numbers["probabilities"][at]
        before = [*probabilities, self.numbers["rest"][at]]
        after = [probability / mass if place < kept else 0 for place, probability in enumerate(probabilities)]
        after.append(cut["rest"])
        results = {
            "Tokens that can be drawn": f"{words.count(kept)} of {words.count(self.numbers['vocabulary'])}",
            "Their share before the cuts": percent(mass),
            "Likeliest token": f"{self.numbers['tokens'][0]}, {percent(after[0])}",
            "Entropy after the cuts": f"{words.fixed(cut['entropy'], 2)} bits",
        }
        caption = (
            f"Dashed: probability at temperature {at}. Solid: after top-k and top-p, which cut off the least likely "
            "tokens and share out the rest. “·” is a space, “⏎” a newline."
        )
        lengths = {f"before-{place}": share for place, share in enumerate(before)}
        lengths |= {f"after-{place}": share for place, share in enumerate(after)}
        labels = {
            f"share-{place}": percent(share) if place < kept else "0, cut off" for place, share in enumerate(after)
        }
        return Description(results, caption, lengths, labels)


def show_logits(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    text: str = TEXT,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Logits:
    """A text to type, and sliders for the sampling of its next token, as `model.generate` takes them.

    First the temperature, then top-k (0 is off), then top-p of what top-k left (1.0 is off). All is computed in
    float64; in `generate`'s float32 top-p may end a few tokens earlier or later in a long tail.

    Raises:
        LorakitError: what is no causal language model with its own tokenizer, a text without a token, or a setting
            that cannot be meant.
    """
    check_model(model, tokenizer)
    value = {"text": text, "temperature": temperature, "top_k": top_k, "top_p": top_p}
    _check_settings(temperature, top_k, top_p)
    return Logits(model, tokenizer, value)


def next_logits(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, text: str) -> Tensor:
    """Logits (V,) after the last token of `text`, in float64 on the CPU."""
    ids = torch.tensor([encode(model, tokenizer, text)], device=model.device)
    with at_rest(model):
        return model(ids, use_cache=False).logits[0, -1].float().cpu().double()


def sampling_numbers(
    logits: Tensor, temperatures: Sequence[float], top_ks: Sequence[int], top_ps: Sequence[float]
) -> dict[str, Any]:
    """Every number that `Logits` can show, by the settings that it depends on; `logits` (V,) in descending order.

    Both cuts keep a beginning of that order: `kept` tokens, which had the share `mass` of all probability before. The
    tokens beyond those shown have the share `rest`, before the cuts and after. Entropies are in bits.
    """
    probabilities, beyond, cuts = {}, {}, {}
    for temperature in temperatures:
        scores = logits / temperature
        chances = scores.softmax(dim=0)
        masses = chances.cumsum(dim=0)
        entropies = torch.special.entr(chances).cumsum(dim=0) / math.log(2)
        at = words.number(temperature)
        probabilities[at] = chances[:SHOWN].tolist()
        beyond[at] = chances[SHOWN:].sum().item()
        cuts[at] = {str(k): {} for k in top_ks}
        for k in top_ks:
            for top_p, kept in zip(top_ps, kept_tokens(scores, k, top_ps), strict=True):
                mass = masses[kept - 1].item()
                cuts[at][str(k)][words.number(top_p)] = {
                    "kept": kept,
                    "mass": mass,
                    "rest": chances[SHOWN:kept].sum().item() / mass,
                    "entropy": math.log2(mass) + entropies[kept - 1].item() / mass,
                }
    return {"probabilities": probabilities, "rest": beyond, "cuts": cuts, "vocabulary": len(logits)}


def kept_tokens(scores: Tensor, top_k: int, top_ps: Sequence[float]) -> list[int]:
    """How many of the scores (V,), in descending order, top-k leaves and then each top-p.

    Top-k keeps what ties with the k-th. Top-p (Holtzman et al. 2020) removes the least likely tokens of those left
    that together have at most 1 - p, and never the likeliest.
    """
    if 0 < top_k < len(scores):
        scores = scores[scores >= scores[top_k - 1]]
    tails = scores.flip(0).softmax(dim=0).cumsum(dim=0)  # from the least likely on
    allowed = 1 - torch.tensor(top_ps, dtype=scores.dtype)
    kept = len(scores) - torch.searchsorted(tails, allowed, right=True)
    return [len(scores) if p == 1 else max(1, n) for p, n in zip(top_ps, kept.tolist(), strict=True)]


def percent(share: float) -> str:
    """0.1234 -> "12.34 %"; `static/logits.js` has the same."""
    return "< 0.01 %" if 0 < share < 0.00005 else f"{words.fixed(100 * share, 2)} %"


def _check_settings(temperature: float, top_k: int, top_p: float) -> None:
    if not isinstance(temperature, int | float) or not 0.01 <= temperature <= 100:
        raise LorakitError(f"temperature {temperature!r} cannot be meant: take a number from 0.01 to 100.")
    if isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 0:
        raise LorakitError(f"top_k {top_k!r} cannot be meant: take a whole number, or 0 for no cut.")
    if not isinstance(top_p, int | float) or not 0.01 <= top_p <= 1:
        raise LorakitError(f"top_p {top_p!r} cannot be meant: take a number from 0.01 to 1, which is no cut.")


# --- The drawing: a bar for each of the likeliest tokens, and one for all others ---

TOP, ROW, BAR, LONG = 26, 26, 432, 556
STYLE = f"""
  .lorakit-logits text {{ fill: var(--lorakit-ink, #111); font: 13px ui-monospace, Menlo, Consolas, monospace; }}
  .lorakit-logits .faint {{ fill: var(--lorakit-faint, #555); font-size: 12px; }}
  .lorakit-logits .right {{ text-anchor: end; }}
  .lorakit-logits .middle {{ text-anchor: middle; }}
  .lorakit-logits .grid {{ stroke: var(--lorakit-faint, #555); stroke-opacity: 0.3; }}
  .lorakit-logits .before {{ fill: none; stroke: var(--lorakit-ink, #111); stroke-dasharray: 3 2; }}
  .lorakit-logits .after {{ fill: {BLUE}; }}
"""


def logits_svg(pieces: Sequence[str], ids: Sequence[int], logits: Sequence[float], vocabulary: int) -> str:
    """Bars whose lengths are CSS variables: --before-0 and --after-0 of the likeliest token, and so on."""
    bottom = TOP + ROW * (len(pieces) + 1)
    drawn = []
    for quarter in range(5):
        x = BAR + LONG * quarter // 4
        drawn.append(f'<path class="grid" d="M{x} {TOP - 4}V{bottom}"/>')
        drawn.append(f'<text class="faint middle" x="{x}" y="14">{25 * quarter} %</text>')
    for x, heading in {210: "id", 285: "logit", 400: "probability"}.items():
        drawn.append(f'<text class="faint right" x="{x}" y="14">{heading}</text>')
    drawn.append('<text class="faint" x="4" y="14">token</text>')
    for place, (piece, token_id, logit) in enumerate(zip(pieces, ids, logits, strict=True)):
        y = TOP + ROW * place
        shown = words.fixed(logit, 2).replace("-", "−")
        drawn.append(
            f'<g><title>{escape(piece)}</title><text x="4" y="{y + 17}">{escape(shortened(piece))}</text>'
            f'<text class="faint right" x="210" y="{y + 17}">{token_id}</text>'
            f'<text class="right" x="285" y="{y + 17}">{shown}</text>{_bar(place, y)}</g>'
        )
    others = f"the other {words.count(vocabulary - len(pieces))} tokens"
    drawn.append(f'<text class="faint" x="4" y="{bottom - ROW + 17}">{others}</text>{_bar(len(pieces), bottom - ROW)}')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1010 {bottom + 6}" class="lorakit-logits">'
        f"<style>{STYLE}</style>{''.join(drawn)}</svg>"
    )


def _bar(place: int, y: int) -> str:
    return (
        f'<text class="right" x="400" y="{y + 17}" data-text="share-{place}"></text>'
        f'<rect class="after" x="{BAR}" y="{y + 7}" height="12" style="width: calc({LONG}px * var(--after-{place}))"/>'
        f'<rect class="before" x="{BAR}" y="{y + 4}" height="18" '
        f'style="width: calc({LONG}px * var(--before-{place}))"/>'
    )
