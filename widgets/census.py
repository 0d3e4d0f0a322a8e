"""The picture of all weights of a model by what they are there for, each area as large as their number."""

import plotly.graph_objects as go
from transformers import PretrainedConfig, PreTrainedModel

from lorakit.census import census
from lorakit.models import empty_model, model_name
from widgets import words
from widgets.style import BLUE, GREEN, GREY, ORANGE, PINK

BLOCKS = {
    "attention": (BLUE, {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "o_proj"}),
    "feed-forward": (ORANGE, {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}),
}
"""The parts of a block that hold its matrices: colour, and label by role."""


def census_figure(model: PreTrainedModel | PretrainedConfig) -> go.Figure:
    """A tree map of a Llama-type model's weights; the matrices of all its blocks are summed by role.

    A config is enough. Raises LorakitError for a model with a tensor of another role.
    """
    empty = empty_model(model)
    counts, config = census(empty), empty.config
    total, final_norm = sum(counts.values()), empty.get_decoder().norm.weight.numel()
    root, blocks = model_name(config) or type(empty).__name__, f"{config.num_hidden_layers} blocks"

    areas = [(root, "", total, "white")]
    areas.append(("embed_tokens", root, counts["embedding"], GREEN))
    if counts["head"]:
        areas.append(("lm_head", root, counts["head"], GREEN))
    areas.append(("final norm", root, final_norm, PINK))
    areas.append((blocks, root, total - counts["embedding"] - counts["head"] - final_norm, GREY))
    for part, (colour, roles) in BLOCKS.items():
        areas.append((part, blocks, sum(counts[role] for role in roles), colour))
        areas += [(label, part, counts[role], colour) for role, label in roles.items()]
    areas.append(("norms", blocks, counts["norm"] - final_norm, PINK))

    names, parents, values, colours = zip(*areas, strict=True)
    sizes = [f"{words.count(value)} · {_share(value, total)}" for value in values]
    # plotly writes only the label over an area with others in it
    labels = [f"{name}<br>{size}" if name in parents else name for name, size in zip(names, sizes, strict=True)]
    tree = go.Treemap(
        ids=names,
        labels=labels,
        parents=parents,
        values=values,
        branchvalues="total",
        customdata=names,
        text=[size.replace(" · ", "<br>") for size in sizes],
        textinfo="label+text",
        textfont={"size": 13, "color": ["white" if colour in (BLUE, GREY) else "black" for colour in colours]},
        hovertemplate="<b>%{customdata}</b><br>%{text}<extra></extra>",
        marker={"colors": colours, "line": {"color": "white", "width": 2}, "pad": {"t": 40}},  # two lines of text
        pathbar={"visible": False},
        sort=False,
    )
    caption = f"All norms together are {words.count(counts['norm'])} weights, {_share(counts['norm'], total)}."
    if not counts["head"]:
        caption += " lm_head is the same table as embed_tokens."
    title = f"{words.count(total)} weights, and what they are there for<br><sup>{caption}</sup>"
    margin = {"l": 10, "r": 10, "b": 10}
    return go.Figure(tree, layout={"template": "lorakit", "title": title, "height": 540, "margin": margin})


def _share(value: int, total: int) -> str:
    percent = 100 * value / total
    return f"{words.fixed(percent, 1)} %" if percent >= 0.05 else "less than 0.1 %"
