"""A text as a model reads it: its tokens, their ids, and the rows of the embedding table that the ids name."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from widgets import words
from widgets.explorer import Description, Explorer, places, script
from widgets.model_text import (
    LETTER,
    TEXT,
    TEXT_CONTROL,
    TOKENS,
    check_model,
    embedding_table,
    encode,
    shortened,
    title_of,
    token_text,
)
from widgets.style import BLUE, ORANGE

NUMBERS = 20
"""How many of a row are drawn at most."""


class Tokens(Explorer):
    """What `show_tokens` returns: `value` has text."""

    _esm = script("in_words.js")
    asks = ("text",)

    def __init__(self, model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, text: str):
        self._model, self._tokenizer = model, tokenizer
        super().__init__(f"Tokens of {title_of(model)}", [TEXT_CONTROL], {"text": text})

    def answer(self, value: Mapping[str, Any]) -> tuple[dict, str]:
        """The tokens of a text in words, and drawn with their rows."""
        text = value["text"]
        ids = encode(self._model, self._tokenizer, text)
        name, table = embedding_table(self._model)
        drawn = ids[:TOKENS]
        pieces = [token_text(self._tokenizer, token_id) for token_id in drawn]
        rows = table[drawn, :NUMBERS].detach().float().cpu()
        vocabulary, width = table.shape
        results = {
            "Characters": words.count(len(text)),
            "Bytes in UTF-8": words.count(len(text.encode())),
            "Tokens": words.count(len(ids)),
            "Embedding table": f"{words.count(vocabulary)} rows of {words.count(width)} numbers",
        }
        listed = "; ".join(f"{piece} ({token_id})" for piece, token_id in zip(pieces, drawn, strict=True))
        more = f"; and {words.count(len(ids) - TOKENS)} more, left out here" if len(ids) > TOKENS else ""
        caption = (
            f"The tokens (and their ids): {listed}{more}. “·” is a space, “⏎” a newline. Each id names a row of "
            f"{name}.weight; drawn are the first {rows.shape[1]} of its {words.count(width)} numbers, blue above 0 and "
            "orange below."
        )
        return {"results": results, "caption": caption}, tokens_svg(pieces, drawn, rows, width)

    def describe(self, value: Mapping[str, Any]) -> Description:
        """What `answer` found, in words."""
        return Description(**self.numbers)


def show_tokens(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, text: str = TEXT) -> Tokens:
    """A text to type: its tokens in order, their ids, and the first numbers of the rows that they name.

    Raises:
        LorakitError: what is no causal language model with its own tokenizer, or a text without a token.
    """
    check_model(model, tokenizer)
    return Tokens(model, tokenizer, text)


# --- The drawing: the tokens in order, and below them their rows, T of them ---

BOX, CELL, LEFT = 46, (38, 22), 182
STYLE = f"""
  .lorakit-tokens text {{ fill: var(--lorakit-ink, #111); font: 13px ui-monospace, Menlo, Consolas, monospace; }}
  .lorakit-tokens .faint {{ fill: var(--lorakit-faint, #555); font-size: 12px; }}
  .lorakit-tokens .middle {{ text-anchor: middle; }}
  .lorakit-tokens .right {{ text-anchor: end; }}
  .lorakit-tokens .number {{ font-size: 11px; text-anchor: middle; }}
  .lorakit-tokens .box {{ fill: none; stroke: var(--lorakit-ink, #111); }}
  .lorakit-tokens .above {{ fill: {BLUE}; }}
  .lorakit-tokens .below {{ fill: {ORANGE}; }}
"""


def tokens_svg(pieces: Sequence[str], ids: Sequence[int], rows: Tensor, width: int) -> str:
    """Tokens in boxes with their ids, and the first numbers of their rows (T, n) of `width`, all on one scale."""
    drawn, x, y = [], 1.0, 1
    for piece, token_id in zip(pieces, ids, strict=True):
        label = shortened(piece)
        box = LETTER * max(places(label), len(str(token_id))) + 14
        if x + box > 1008:
            x, y = 1.0, y + BOX + 8
        drawn.append(
            f'<g><title>{escape(piece)}</title><rect class="box" x="{x:.0f}" y="{y}" width="{box:.0f}" height="26" '
            f'rx="3"/><text class="middle" x="{x + box / 2:.0f}" y="{y + 18}">{escape(label)}</text>'
            f'<text class="faint middle" x="{x + box / 2:.0f}" y="{y + 41}">{token_id}</text></g>'
        )
        x += box + 6
    y += BOX + 34
    across, down = CELL
    n = rows.shape[1]
    for j in range(n):
        drawn.append(f'<text class="faint middle" x="{LEFT + across * (j + 0.5):.0f}" y="{y - 6}">{j}</text>')
    scale = rows.abs().max().item() or 1.0
    for piece, token_id, row in zip(pieces, ids, rows.tolist(), strict=True):
        drawn.append(f'<text class="faint right" x="{LEFT - 130}" y="{y + 15}">{token_id}</text>')
        drawn.append(f'<text x="{LEFT - 122}" y="{y + 15}">{escape(shortened(piece))}</text>')
        for j, number in enumerate(row):
            drawn.append(_cell(LEFT + across * j, y, number, abs(number) / scale))
        if n < width:
            drawn.append(f'<text class="faint" x="{LEFT + across * n + 8}" y="{y + 15}">… {width - 1}</text>')
        y += down
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1010 {y + 6}" class="lorakit-tokens">'
        f"<style>{STYLE}</style>{''.join(drawn)}</svg>"
    )


def _cell(x: int, y: int, number: float, share: float) -> str:
    across, down = CELL
    shown = words.fixed(abs(number), 2)
    sign = "−" if number < 0 and float(shown) else ""
    return (
        f'<g><title>{words.number(number)}</title><rect class="{"below" if number < 0 else "above"}" x="{x}" y="{y}" '
        f'width="{across - 1}" height="{down - 1}" fill-opacity="{0.65 * share:.2f}"/>'
        f'<text class="number" x="{x + across / 2:.0f}" y="{y + 15}">{sign}{shown}</text></g>'
    )
