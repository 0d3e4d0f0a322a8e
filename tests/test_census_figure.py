import pytest
from test_census import MODELS, config_of
from transformers import GPT2Config

from lorakit import LorakitError
from lorakit.census import census
from widgets.census import census_figure


def drawn(name):
    """The tree map of one of MODELS, and its census."""
    kind, sizes, more, _ = MODELS[name]
    config = config_of(kind, *sizes, tie_word_embeddings=more.get("tied", False))
    fig = census_figure(config)
    (tree,) = fig.data
    return fig, tree, census(config)


def test_every_area_is_a_count():
    fig, tree, counts = drawn("Meta-Llama-3-8B")
    assert dict(zip(tree.ids, tree.values, strict=True)) == {
        "LlamaForCausalLM": 8_030_261_248,
        "embed_tokens": counts["embedding"],
        "lm_head": counts["head"],
        "final norm": 4096,
        "32 blocks": 32 * 218_112_000,
        "attention": counts["q"] + counts["k"] + counts["v"] + counts["o"],
        "q_proj": counts["q"],
        "k_proj": counts["k"],
        "v_proj": counts["v"],
        "o_proj": counts["o"],
        "feed-forward": counts["gate"] + counts["up"] + counts["down"],
        "gate_proj": counts["gate"],
        "up_proj": counts["up"],
        "down_proj": counts["down"],
        "norms": 2 * 32 * 4096,
    }
    assert fig.layout.title.text == (
        "8,030,261,248 weights, and what they are there for<br>"
        "<sup>All norms together are 266,240 weights, less than 0.1 %.</sup>"
    )


@pytest.mark.parametrize("name", MODELS)
def test_what_an_area_holds_fills_it(name):
    _, tree, counts = drawn(name)
    assert tree.branchvalues == "total"
    sizes = dict(zip(tree.ids, tree.values, strict=True))
    assert sizes[tree.ids[0]] == sum(counts.values())
    held = {}
    for parent, value in zip(tree.parents, tree.values, strict=True):
        held[parent] = held.get(parent, 0) + value
    assert held.pop("") == sizes[tree.ids[0]]
    assert {parent: sizes[parent] for parent in held} == held


def test_labels_say_count_and_share():
    _, tree, _ = drawn("Meta-Llama-3-8B")
    labels, texts = (dict(zip(tree.ids, each, strict=True)) for each in (tree.labels, tree.text))
    assert labels["32 blocks"] == "32 blocks<br>6,979,584,000 · 86.9 %"  # an area with others in it shows no text
    assert (labels["q_proj"], texts["q_proj"]) == ("q_proj", "536,870,912<br>6.7 %")
    assert texts["final norm"] == "4,096<br>less than 0.1 %"
    assert tree.textinfo == "label+text"
    assert tree.hovertemplate == "<b>%{customdata}</b><br>%{text}<extra></extra>"
    assert tree.customdata == tree.ids


def test_a_tied_head_has_no_area_and_is_named():
    fig, tree, _ = drawn("Llama-3.2-1B")
    assert "lm_head" not in tree.ids
    assert "lm_head is the same table as embed_tokens." in fig.layout.title.text
    shares = dict(zip(tree.ids, tree.text, strict=True))
    assert shares["embed_tokens"] == "262,668,288<br>21.3 %"


def test_a_loaded_model_is_called_as_the_learner_calls_it(tiny, tiny_folder):
    (tree,) = census_figure(tiny[0]).data
    assert tree.ids[0] == tiny_folder.replace("\\", "/").rpartition("/")[2]


def test_another_type_of_model_is_refused():
    with pytest.raises(LorakitError, match="take a model such as Llama"):
        census_figure(GPT2Config(n_layer=1))
