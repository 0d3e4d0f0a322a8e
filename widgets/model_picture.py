"""The picture of a decoder, drawn from the model at hand: its stack from token ids to probabilities, and one block."""

import textwrap
from collections.abc import Mapping
from html import escape
from math import prod
from typing import Any, NamedTuple

from IPython.display import HTML
from transformers import PretrainedConfig, PreTrainedModel

from lorakit.activations.blocks import KNOWN, head_size
from lorakit.errors import LorakitError
from lorakit.models import empty_model, model_name
from widgets import words
from widgets.style import BLUE, GREEN, GREY, ORANGE, PINK
from widgets.svg import svg_image

TABLE, FINAL_NORM, HEAD = "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"
BLOCK = "model.layers.0."


class Decoder(NamedTuple):
    """What is drawn of a model."""

    stack: Mapping[str, tuple[int, ...]]
    """Shapes of the table, the final norm and the head, by name."""
    block: Mapping[str, tuple[int, ...]]
    """Shapes of the weights of block 0, by name without `BLOCK`."""
    tied: bool
    sizes: Mapping[str, Any]
    """What stands for the letters and words in braces below."""


def show_model(model: PreTrainedModel | PretrainedConfig) -> HTML:
    """The decoder as an image: every weight by its name, its shape and its count.

    A config is enough; no weight is made. Raises LorakitError for a model that is not built as drawn.
    """
    decoder = read_decoder(model)
    return HTML(svg_image(model_svg(decoder).encode(), WIDTH, model_words(decoder)))


def read_decoder(model: PreTrainedModel | PretrainedConfig) -> Decoder:
    """Shapes and sizes of a model whose blocks are Llama's; raises LorakitError for another."""
    empty = empty_model(model)
    config = empty.config
    if config.model_type not in KNOWN:
        raise LorakitError(
            f"a {config.model_type!r} model is not built as it would be drawn ({', '.join(KNOWN)} are): take a model "
            "such as Llama, Mistral, Qwen2 or SmolLM2."
        )
    shapes = {name: tuple(weight.shape) for name, weight in empty.state_dict().items()}
    block = {name.removeprefix(BLOCK): shape for name, shape in shapes.items() if name.startswith(BLOCK)}
    d = head_size(config)
    H, K = (block[f"self_attn.{each}_proj.weight"][0] // d for each in "qk")
    sizes = {
        "V": shapes[TABLE][0],
        "D": shapes[TABLE][1],
        "F": block["mlp.up_proj.weight"][0],
        "H": H,
        "K": K,
        "group": H // K,
        "d": d,
        "L": config.num_hidden_layers,
        "last": config.num_hidden_layers - 1,
        "each": sum(map(prod, block.values())),
        "total": empty.num_parameters(),
        "name": model_name(config) or type(empty).__name__,
        "activation": config.hidden_act,
    }
    tied = empty.get_output_embeddings().weight is empty.get_input_embeddings().weight
    return Decoder({name: shapes[name] for name in (TABLE, FINAL_NORM, HEAD)}, block, tied, sizes)


def model_words(decoder: Decoder) -> str:
    """What the picture shows, for those who cannot see it."""
    table, norm, head = (f"{name} ({_shape(shape)})" for name, shape in decoder.stack.items())
    parts = ", ".join(f"{name} ({_shape(shape)})" for name, shape in decoder.block.items())
    head += ", the same table," if decoder.tied else ""
    return (
        f"The decoder of {{name}}, {{total:,}} weights. Token ids (B, T) take their rows of the table {table}, pass "
        f"{{L}} blocks of {{each:,}} weights each, the final norm {norm}, and {head} to logits (B, T, V), of which "
        "softmax makes probabilities. A block reads the residual stream and adds to it twice: attention with {H} query "
        f"heads and {{K}} key and value heads of {{d}} numbers, then the feed-forward half. Its weights: {parts}."
    ).format(**decoder.sizes)


# --- The drawing: coordinates first; the stack is on the left, one block on the right ---

WIDTH, HEIGHT = 1000, 972
WEIGHTS = {  # name: centre, top, width, colour, what it is for
    TABLE: (165, 138, 230, GREEN, "a row for each token known"),
    FINAL_NORM: (165, 374, 230, PINK, "RMSNorm"),
    HEAD: (165, 444, 230, GREEN, "a score from each row"),
    "input_layernorm.weight": (682, 132, 250, PINK, "RMSNorm"),
    "self_attn.q_proj.weight": (484, 198, 186, BLUE, "{H} query heads of {d}"),
    "self_attn.k_proj.weight": (682, 198, 186, BLUE, "{K} key heads of {d}"),
    "self_attn.v_proj.weight": (880, 198, 186, BLUE, "{K} value heads of {d}"),
    "self_attn.o_proj.weight": (682, 478, 230, BLUE, "from H · d numbers to D"),
    "post_attention_layernorm.weight": (682, 566, 250, PINK, "RMSNorm"),
    "mlp.gate_proj.weight": (562, 632, 220, ORANGE, "from D numbers to F"),
    "mlp.up_proj.weight": (802, 632, 220, ORANGE, "from D numbers to F"),
    "mlp.down_proj.weight": (682, 814, 230, ORANGE, "from F numbers to D"),
}
STEPS = (  # centre, top, width, words
    (165, 566, 120, "softmax"),
    (484, 282, 150, "rotation by position"),
    (682, 282, 150, "rotation by position"),
    (583, 332, 384, "q · k / √d for each pair of tokens"),
    (583, 380, 384, "causal mask, then softmax: shares"),
    (682, 430, 582, "the values v, mixed by these shares"),
    (562, 716, 150, "{activation}"),
    (682, 766, 460, "{activation}(gate) × up, number by number"),
)
ARROWS = (
    "M165,118V138", "M165,198V224", "M165,344V374", "M165,418V444", "M165,504V526", "M165,546V566", "M165,594V614",
    "M352,154H557", "M682,176V198", "M682,187H484V198", "M682,187H880V198",  # attention
    "M484,258V282", "M682,258V282", "M880,258V430", "M484,310V332", "M682,310V332",
    "M583,360V380", "M583,408V430", "M682,458V478", "M567,508H364",
    "M352,588H557", "M682,610V621H562V632", "M682,621H802V632",  # feed-forward
    "M562,692V716", "M562,744V766", "M802,692V766", "M682,794V814", "M567,844H364",
)  # fmt: skip
TEXTS = (  # x, y, class, words
    (24, 32, "title", "{name}: {total:,} weights"),
    (24, 56, "", "B texts of T tokens · V = {V:,} tokens known · D = {D:,} numbers a token · F = {F:,} numbers inside "
     "feed-forward"),
    (24, 75, "", "H = {H} query heads · K = {K} key and value heads; query heads to each: H / K = {group} · "
     "d = {d} numbers a head"),
    (165, 112, "middle", "token ids (B, T)"),
    (173, 216, "", "x (B, T, D)"),
    (165, 241, "middle", "block 0"),
    (165, 257, "middle", "{each:,} weights"),
    (165, 289, "middle", "⋮   × {L}, each with its own weights"),
    (165, 321, "middle", "block {last}"),
    (165, 337, "middle", "{each:,} weights"),
    (173, 364, "", "x (B, T, D)"),
    (165, 541, "middle", "logits (B, T, V)"),
    (165, 630, "middle", "probabilities of the next token (B, T, V)"),
    (376, 114, "part", "Block 0, opened: {each:,} weights"),
    (972, 114, "end", "each name begins with model.layers.0."),
    (376, 146, "", "x (B, T, D)"),
    (492, 276, "", "q (B, H, T, d)"),
    (690, 276, "", "k (B, K, T, d)"),
    (888, 276, "", "v (B, K, T, d)"),
    (591, 375, "", "scores (B, H, T, T)"),
    (690, 473, "", "(B, H, T, d)"),
    (376, 500, "", "attention adds (B, T, D)"),
    (376, 580, "", "x (B, T, D)"),
    (570, 710, "", "gate (B, T, F)"),
    (810, 710, "", "up (B, T, F)"),
    (690, 809, "", "(B, T, F)"),
    (376, 836, "", "feed-forward adds (B, T, D)"),
    (376, 890, "", "x (B, T, D), on to the next block"),
    (76, 806, "", "square corners: holds weights"),
    (76, 840, "", "round ends: only computes"),
    (76, 873, "", "what flows, and its shape"),
    (24, 924, "", "A matrix has the shape rows × columns: a projection takes a number for each column, and gives one "
     "for each row."),
)  # fmt: skip
GROUND = f"""
  <rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#fff"/>
  <path d="M280 224L320 94V896L280 264z" fill="#eee"/>
  <rect x="320" y="90" width="666" height="812" rx="8" fill="#fafafa" stroke="#bbb"/>
  <path d="M352 104V876" stroke="#bbb" stroke-width="12"/><path d="M338 874h28l-14 18z" fill="#bbb"/>
  <text transform="rotate(-90 339 330)" x="339" y="330" class="middle">the residual stream</text>
  <rect class="weight" x="50" y="224" width="230" height="40" fill="{GREY}" stroke="{GREY}"/>
  <rect class="weight" x="50" y="304" width="230" height="40" fill="{GREY}" stroke="{GREY}"/>
  <rect class="weight" x="24" y="790" width="40" height="22" fill="{GREY}" stroke="{GREY}"/>
  <rect class="step" x="24" y="824" width="40" height="22" rx="11"/>
  <circle class="step" cx="352" cy="508" r="11"/><path d="M346 508h12M352 502v12" stroke="#111"/>
  <circle class="step" cx="352" cy="844" r="11"/><path d="M346 844h12M352 838v12" stroke="#111"/>
  <path class="arrow" d="M24 869H62"/><path d="M24 743H300" stroke="#111"/>
"""
STYLE = """
  text { font-family: system-ui, sans-serif; font-size: 12px; fill: #111; }
  .middle { text-anchor: middle; } .end { text-anchor: end; }
  .title { font-size: 17px; font-weight: 700; } .part { font-size: 14px; font-weight: 700; }
  .name { font-family: ui-monospace, monospace; font-size: 11.5px; }
  .weight { stroke-width: 2px; fill-opacity: 0.13; } .same { fill: #fff; stroke-dasharray: 6 4; }
  .step { fill: #fff; stroke: #111; stroke-width: 1.2px; }
  .arrow, .tie { fill: none; stroke: #111; stroke-width: 1.4px; } .arrow { marker-end: url(#tip); }
  .tie { stroke-dasharray: 6 4; }
"""
TIP = (
    '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0 L8 4 L0 8 z" fill="#111"/></marker>'
)


def model_svg(decoder: Decoder) -> str:
    """The picture, on a white ground of its own."""
    drawn = [
        *(f'<path class="arrow" d="{arrow}"/>' for arrow in ARROWS),
        *(_weight(name, decoder) for name in WEIGHTS),
        *(_step(x, y, width, text.format(**decoder.sizes)) for x, y, width, text in STEPS),
        *(_text(x, y, text.format(**decoder.sizes), look) for x, y, look, text in TEXTS),
        *_bill(decoder),
        *_rest(decoder),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">'
        f"<style>{STYLE}</style><defs>{TIP}</defs>{GROUND}{''.join(drawn)}</svg>"
    )


def _weight(name: str, decoder: Decoder) -> str:
    """A box that holds weights; that of a tied head is dashed, and bound to the table."""
    x, y, width, colour, use = WEIGHTS[name]
    shape = {**decoder.stack, **decoder.block}[name]
    look, tie, use = "weight", "", use.format(**decoder.sizes)
    lines = [f"{_shape(shape)} = {words.count(prod(shape))}", use]
    if len(shape) == 1:
        lines = [f"{use}: {_shape(shape)} weights"]
    if name == HEAD and decoder.tied:
        look, tie = "weight same", '<path class="tie" d="M50 474H32V168H50"/>'
        lines = [f"{_shape(shape)}, counted above", "the same table as embed_tokens"]
    box = f'x="{x - width / 2}" y="{y}" width="{width}" height="{28 + 16 * len(lines)}"'
    below = "".join(_text(x, y + 35 + 16 * i, line, "middle") for i, line in enumerate(lines))
    named = _text(x, y + 18, name, "middle name")
    return f'{tie}<rect class="{look}" {box} fill="{colour}" stroke="{colour}"/>{named}{below}'


def _step(x: int, y: int, width: int, text: str) -> str:
    """A step that computes and holds no weights."""
    box = f'x="{x - width / 2}" y="{y}" width="{width}" height="28" rx="14"'
    return f'<rect class="step" {box}/>{_text(x, y + 18, text, "middle")}'


def _bill(decoder: Decoder) -> list[str]:
    """The number of all weights, line by line."""
    lines = [
        ("embed_tokens", prod(decoder.stack[TABLE])),
        ("blocks: {L} × {each:,}".format(**decoder.sizes), decoder.sizes["L"] * decoder.sizes["each"]),
        ("norm", prod(decoder.stack[FINAL_NORM])),
        ("lm_head, the same table", 0) if decoder.tied else ("lm_head", prod(decoder.stack[HEAD])),
        ("all weights", decoder.sizes["total"]),
    ]
    heights = (676, 696, 716, 736, 760)
    return [
        _text(24, y, what) + _text(300, y, words.count(count), "end")
        for y, (what, count) in zip(heights, lines, strict=True)
    ]


def _rest(decoder: Decoder) -> list[str]:
    """Weights of a block that have no box, such as Qwen2's biases."""
    rest = ", ".join(f"{name} ({_shape(shape)})" for name, shape in decoder.block.items() if name not in WEIGHTS)
    lines = textwrap.wrap(f"Counted but not drawn: {rest}.", 138) if rest else []
    return [_text(24, 941 + 17 * i, line) for i, line in enumerate(lines)]


def _text(x: int, y: int, text: str, look: str = "") -> str:
    return f'<text x="{x}" y="{y}" class="{look}">{escape(text)}</text>'


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(words.count, shape))
