"""What the dial says is what the model gives with its adapter's scaling multiplied; at 0 that is the base."""

import math
from xml.etree import ElementTree

import pytest
import torch
from peft import IA3Config, LoraConfig, PromptTuningConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from test_explorer import EVIL, SVG, hears, picture, texts

from lorakit import LorakitError
from lorakit.models import load_model
from widgets import show_adapter_dial
from widgets.adapter_dial import BASE, DIALS, SHOWN, TRAINED, TWICE, dial_numbers, dialled_logits, watched_tokens
from widgets.logits import percent
from widgets.model_text import token_text

TEXT = "The capital of France is"


def adapted(model, **settings):
    """The model with an adapter whose change is not zero."""
    torch.manual_seed(0)
    defaults = {"r": 4, "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}
    return get_peft_model(model, LoraConfig(**defaults | settings, init_lora_weights=False)).eval()


@pytest.fixture
def dialled(tiny):
    model, tokenizer = tiny
    return adapted(model), tokenizer


def logits_of(model, tokenizer, text=TEXT):
    """Logits (V,) after a text, by the model as it is."""
    with torch.no_grad():
        return model(**tokenizer(text, return_tensors="pt")).logits[0, -1].double()


def state_of(model):
    """All that may not change: modes, what is active, merged or trained, and every scaling."""
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    return {
        "modes": [module.training for module in model.modules()],
        "active": model.active_adapters,
        "layers": [(dict(layer.scaling), layer.active_adapters, layer.disable_adapters) for layer in layers],
        "trained": [parameter.requires_grad for parameter in model.parameters()],
        "grad": torch.is_grad_enabled(),
    }


def test_the_settings_of_the_dial():
    assert len(DIALS) == 21
    assert DIALS[:4] == (0, 0.1, 0.2, 0.3)
    assert [DIALS[place] for place in (BASE, TRAINED, TWICE)] == [0, 1, 2]
    assert DIALS[-1] == 2


# ------------------------------------------------------------------------------------------------- the logits


def check_ends(model, tokenizer):
    """At 0 the base's logits, at 1 the model's own, and in between neither."""
    logits = dialled_logits(model, tokenizer, TEXT)
    trained = logits_of(model, tokenizer)
    with model.disable_adapter():
        base = logits_of(model, tokenizer)
    assert logits.dtype == torch.float64
    assert torch.equal(logits[BASE], base)
    assert torch.equal(logits[TRAINED], trained)
    assert len(logits.unique(dim=0)) == 21


def test_at_0_the_base_and_at_1_the_model(dialled):
    check_ends(*dialled)


def test_on_a_base_in_4_bits(tiny_nf4):
    model, tokenizer = tiny_nf4
    check_ends(adapted(model), tokenizer)


@pytest.mark.parametrize(
    "settings",
    [{"use_rslora": True}, {"target_modules": "all-linear"}, {"rank_pattern": {"v_proj": 2}}, {"lora_bias": True}],
)
def test_with_other_kinds_of_lora(settings, tiny):
    model, tokenizer = tiny
    check_ends(adapted(model, **settings), tokenizer)


def test_in_bf16(tiny):
    model, tokenizer = tiny
    check_ends(adapted(model.bfloat16()), tokenizer)


@pytest.mark.parametrize("dial", [0.5, 2.0])
def test_a_dial_is_another_lora_alpha(dial, tiny_folder):
    """peft computes scaling from lora_alpha when it makes a layer: 32 dialled to 0.5 is 16."""
    model, tokenizer = load_model(tiny_folder, device="cpu")
    logits = dialled_logits(adapted(model), tokenizer, TEXT)[DIALS.index(dial)]
    model, tokenizer = load_model(tiny_folder, device="cpu")
    other = adapted(model, lora_alpha=int(32 * dial))
    assert torch.equal(logits, logits_of(other, tokenizer))


@pytest.mark.filterwarnings("ignore:Model with `tie_word_embeddings=True`")
def test_an_adapter_of_the_last_layer_by_hand(tiny):
    """There the logits are W h + dial * alpha / r * B A h."""
    model, tokenizer = tiny
    hidden = []
    model.lm_head.register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0][0, -1].double()))
    logits_of(model, tokenizer)
    (h,) = hidden
    W = model.lm_head.weight.detach().double()
    model = adapted(model, r=2, lora_alpha=6, target_modules=["lm_head"])
    (layer,) = [module for module in model.modules() if isinstance(module, LoraLayer)]
    A, B = (matrix["default"].weight.detach().double() for matrix in (layer.lora_A, layer.lora_B))
    logits = dialled_logits(model, tokenizer, TEXT)
    for row, dial in zip(logits, DIALS, strict=True):
        torch.testing.assert_close(row, W @ h + dial * 3 * (B @ (A @ h)), rtol=0, atol=1e-4)
    assert (logits[TRAINED] - logits[BASE]).abs().max() > 0.1


def test_the_active_adapter_is_dialled_and_named(dialled):
    model, tokenizer = dialled
    torch.manual_seed(1)
    other = LoraConfig(r=2, target_modules=["k_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    model.add_adapter("of a kind", other)
    first = show_adapter_dial(model, tokenizer)
    assert "that the adapter default makes" in first.describe(first.value).caption
    model.set_adapter("of a kind")
    second = show_adapter_dial(model, tokenizer)
    assert "that the adapter of a kind makes" in second.describe(second.value).caption
    probabilities = logits_of(model, tokenizer).softmax(dim=0)
    assert second.numbers["highest"]["1"] == pytest.approx(probabilities.max().item())
    assert first.numbers["probabilities"]["0"] != first.numbers["probabilities"]["1"]
    assert first.numbers["highest"]["0"] == second.numbers["highest"]["0"]
    check_ends(model, tokenizer)


def test_an_adapter_that_has_not_trained_changes_nothing(tiny):
    model, tokenizer = tiny
    fresh = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    explorer = show_adapter_dial(fresh, tokenizer)
    assert set(explorer.numbers["divergence"].values()) == {0}
    assert explorer.describe(explorer.value).results["KL divergence from the base"] == "0.000 bits"


# ------------------------------------------------------------------------------------------------- the state


def test_dropout_is_off_and_the_state_stays(tiny):
    model, tokenizer = tiny
    model = adapted(model, lora_dropout=0.9).train()
    for parameter in model.parameters():
        parameter.requires_grad_(False)  # as of an adapter that was loaded to be used
    before = state_of(model)
    first = show_adapter_dial(model, tokenizer)
    again = show_adapter_dial(model, tokenizer)
    assert (first.numbers, first.drawing) == (again.numbers, again.drawing)
    assert state_of(model) == before
    assert model.training


@pytest.mark.parametrize("run", [1, 8, 21])
def test_the_state_stays_after_an_error(run, dialled):
    model, tokenizer = dialled
    model.train()
    before, runs = state_of(model), []

    def fails(*_):
        runs.append(1)
        if len(runs) == run:
            raise RuntimeError("out of memory")

    hook = model.get_base_model().lm_head.register_forward_hook(fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        dialled_logits(model, tokenizer, TEXT)
    hook.remove()
    assert len(runs) == run
    assert state_of(model) == before


def test_the_model_runs_for_a_text_and_never_for_the_dial(dialled):
    model, tokenizer = dialled
    runs = []
    model.register_forward_pre_hook(lambda *_: runs.append(1))
    explorer = show_adapter_dial(model, tokenizer, "one")
    hears(explorer, {"text": "one", "dial": 2})  # JSON has one kind of number
    assert explorer.value == {"text": "one", "dial": 2.0}
    assert isinstance(explorer.value["dial"], float)
    assert len(runs) == 21
    explorer.value = {"text": "two"}
    assert len(runs) == 42


# ------------------------------------------------------------------------------------------------- the numbers


def rows_of(base, trained, twice):
    """Logits (21, V) from probabilities: of the base, from dial 0.1 on as trained, and the last one at 2."""
    return torch.tensor([base, *[trained] * 19, twice], dtype=torch.float64).log()


def test_probabilities_and_divergence_by_hand():
    logits = rows_of([0.5, 0.25, 0.125, 0.125], [0.25, 0.5, 0.125, 0.125], [0.125, 0.5, 0.25, 0.125]) + 7
    numbers = dial_numbers(logits, [1, 0])
    assert numbers["probabilities"]["0"] == pytest.approx([0.25, 0.5, 0.25])
    assert numbers["probabilities"]["0.1"] == pytest.approx([0.5, 0.25, 0.25])
    assert numbers["probabilities"]["2"] == pytest.approx([0.5, 0.125, 0.375])
    assert [numbers["highest"][at] for at in ("0", "1.3", "2")] == pytest.approx([0.5, 0.5, 0.5])
    assert numbers["divergence"]["0"] == 0
    assert numbers["divergence"]["1"] == pytest.approx(0.25)  # 1/4 log2(1/2) + 1/2 log2(2)
    # 1/8 log2(1/4) + 1/2 log2(2) + 1/4 log2(2); from 2 to the base it would be 0.625
    assert numbers["divergence"]["2"] == pytest.approx(0.5)


def test_divergence_counts_tokens_that_are_not_shown():
    base, trained = [0.9, 0.1 * 0.75, 0.1 * 0.25], [0.9, 0.1 * 0.25, 0.1 * 0.75]
    numbers = dial_numbers(rows_of(base, trained, trained), [0])
    assert numbers["probabilities"]["1"] == pytest.approx(numbers["probabilities"]["0"])
    assert numbers["divergence"]["1"] == pytest.approx(0.1 * 0.5 * math.log2(3))


def test_a_probability_that_float64_cannot_hold_counts_as_none():
    logits = torch.zeros(21, 2).double()
    logits[1:, 1] = -2000
    assert dial_numbers(logits, [0])["divergence"]["1"] == pytest.approx(1)
    assert dial_numbers(logits.flip(0), [0])["divergence"]["2"] == pytest.approx(999 / math.log(2), rel=0.01)


def test_watched_are_the_leaders_of_all_three_in_the_base_s_order():
    logits = torch.zeros(21, 60).double()
    for place, leaders in {BASE: range(10, 20), TRAINED: range(30, 40), TWICE: (12, *range(50, 59))}.items():
        logits[place, list(leaders)] = torch.arange(20.0, 10, -1).double()
    logits[BASE, [50, 51, 30, 31, 32]] = torch.tensor([5.0, 4, 3, 2, 1]).double()
    # Rank 1: 10, 30, 12. Rank 2: 11, 31, 50. Rank 3: 12 again, 32, 51. Rank 4: 13, 33, and 52, which is one too many.
    assert watched_tokens(logits) == [10, 11, 12, 13, 50, 51, 30, 31, 32, 33]


def test_few_tokens_are_all_watched():
    logits = rows_of([0.2, 0.5, 0.3], [0.5, 0.2, 0.3], [0.3, 0.3, 0.4])
    assert watched_tokens(logits) == [1, 2, 0]


def test_results_and_bars_are_the_model_s(dialled):
    model, tokenizer = dialled
    explorer = show_adapter_dial(model, tokenizer, "one two", dial=0.7)
    assert explorer.value == {"text": "one two", "dial": 0.7}
    logits = dialled_logits(model, tokenizer, "one two")
    probabilities = logits.softmax(dim=1)
    now, base = probabilities[7], probabilities[0]
    bits = (now * (now / base).log2()).sum().item()
    described = explorer.describe(explorer.value)
    assert bits > 0.001
    assert described.results == {
        "Likeliest token": f"{token_text(tokenizer, now.argmax())}, {percent(now.max().item())}",
        "Likeliest by the base": f"{token_text(tokenizer, base.argmax())}, {percent(base.max().item())}",
        "KL divergence from the base": f"{bits:.3f} bits",
    }
    assert "is multiplied by 0.7: 0 is the base alone" in described.caption
    watched = watched_tokens(logits)
    for place, token_id in enumerate(watched):
        assert described.lengths[f"before-{place}"] == pytest.approx(base[token_id].item())
        assert described.lengths[f"after-{place}"] == pytest.approx(now[token_id].item())
        assert described.labels[f"share-{place}"] == percent(now[token_id].item())
    others = 1 - now[watched].sum().item()
    assert described.lengths[f"after-{SHOWN}"] == pytest.approx(others)
    assert described.labels[f"share-{SHOWN}"] == percent(others)
    shown = texts(ElementTree.fromstring(explorer.drawing))
    assert shown.count("") == SHOWN + 1  # where the browser writes probabilities
    for token_id in watched:
        place = shown.index(str(token_id))
        assert token_text(tokenizer, token_id).startswith(shown[place - 1].removesuffix("…"))
    assert f"the other {logits.shape[1] - SHOWN:,} tokens" in shown


def test_curves_go_through_every_setting(dialled):
    model, tokenizer = dialled
    explorer = show_adapter_dial(model, tokenizer)
    drawing = ElementTree.fromstring(explorer.drawing)
    curves = [node.get("d")[1:].split() for node in drawing.iter(f"{SVG}path") if node.get("class") == "curve"]
    points = [node for node in drawing.iter(f"{SVG}circle")]
    assert len(curves) == len(points) == SHOWN + 1
    for place, (curve, point) in enumerate(zip(curves, points, strict=True)):
        xs, ys = [float(x) for x in curve[::2]], [float(y) for y in curve[1::2]]
        assert xs == [738 + 12.5 * step for step in range(21)]
        floor = float(point.get("cy"))
        heights = [28 * shares[place] for shares in explorer.numbers["probabilities"].values()]
        assert [floor - y for y in ys] == pytest.approx(heights, abs=0.00501)
        assert float(point.get("cx")) == 738
        assert point.get("style") == (
            f"transform: translate(calc(12.5px * var(--dial)), calc(-28px * var(--after-{place})))"
        )


# ------------------------------------------------------------------------------------------------- what is refused


def test_what_has_no_adapter_to_dial_is_refused(tiny):
    model, tokenizer = tiny
    for given, message in {
        "an adapter": "str is no model",
        model: r"LlamaForCausalLM has no adapter to dial: take the PeftModel that get_peft_model\(\) or",
    }.items():
        with pytest.raises(LorakitError, match=message):
            show_adapter_dial(given, tokenizer)
    with pytest.raises(LorakitError, match="NoneType is no tokenizer"):
        show_adapter_dial(adapted(model), None)


@pytest.mark.parametrize("start", ["pissa", "olora", "pissa_niter_4"])
def test_an_adapter_whose_start_changes_the_base_is_refused(start, tiny):
    model, tokenizer = tiny
    changed = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=start))
    with pytest.raises(LorakitError, match=f"init_lora_weights='{start}', which changes the base too"):
        show_adapter_dial(changed, tokenizer)


@pytest.mark.parametrize(
    "config",
    [
        IA3Config(target_modules=["k_proj"], feedforward_modules=[], task_type="CAUSAL_LM"),
        PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"),
    ],
    ids=["ia3", "prompt tuning"],
)
def test_an_adapter_without_scaling_is_refused(config, tiny):
    model, tokenizer = tiny
    with pytest.raises(LorakitError, match="PeftModelForCausalLM has no LoRA layer in it: take one whose adapter is"):
        show_adapter_dial(get_peft_model(model, config), tokenizer)


def test_an_adapter_that_is_merged_or_off_is_refused_then_and_later(dialled):
    model, tokenizer = dialled
    explorer = show_adapter_dial(model, tokenizer)
    for spoil, mend, message in (
        (
            model.merge_adapter,
            model.unmerge_adapter,
            r"the adapter 'default' is merged into the base: call model.unmerge_adapter\(\) first",
        ),
        (
            model.disable_adapter_layers,
            model.enable_adapter_layers,
            r"the model's adapters are switched off: call model.enable_adapter_layers\(\) first",
        ),
        (
            lambda: model.base_model.set_adapter([]),
            lambda: model.set_adapter("default"),
            r"none of the adapters \['default'\] is active: call model.set_adapter\(\) first",
        ),
    ):
        spoil()
        before = state_of(model)
        with pytest.raises(LorakitError, match=message):
            show_adapter_dial(model, tokenizer)
        with pytest.raises(LorakitError, match=message):
            explorer.value = {"text": "another"}
        assert state_of(model) == before
        mend()
        show_adapter_dial(model, tokenizer)
    assert explorer.value["text"] == TEXT
    model.unload()
    with pytest.raises(LorakitError, match="has no LoRA layer in it"):
        show_adapter_dial(model, tokenizer)


@pytest.mark.parametrize(
    ("setting", "value", "off"),
    [
        ("use_dora", True, "False"),
        ("bias", "all", "'none'"),
        ("modules_to_save", ["lm_head"], "None"),
        ("trainable_token_indices", [1, 2], "None"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_an_adapter_of_which_more_would_stay_at_0_is_refused(setting, value, off, tiny):
    model, tokenizer = tiny
    message = rf"'default' has {setting}=.*, which would stay when the dial is at 0: take one with {setting}={off}"
    with pytest.raises(LorakitError, match=message):
        show_adapter_dial(adapted(model, **{setting: value}), tokenizer)


def test_logits_that_are_no_numbers_are_refused(dialled):
    model, tokenizer = dialled
    model.get_base_model().model.layers[0].self_attn.v_proj.lora_B["default"].weight.data[:] = torch.inf
    before = state_of(model)
    with pytest.raises(LorakitError, match="at dial 0 a logit after this text is nan: load the model with a wider"):
        show_adapter_dial(model, tokenizer)
    assert state_of(model) == before


def test_settings_and_texts_that_cannot_be_meant(dialled):
    explorer = show_adapter_dial(*dialled, "one")
    with pytest.raises(LorakitError, match=r"dial 0\.55 is not on this control: choose from 0\.0, 0\.1"):
        explorer.value = {"dial": 0.55}
    with pytest.raises(LorakitError, match=r"dial 2\.1 is not on this control"):
        show_adapter_dial(*dialled, dial=2.1)
    with pytest.raises(LorakitError, match="the text '' has no token"):
        explorer.value = {"text": "", "dial": 2.0}
    assert explorer.value == {"text": "one", "dial": 1.0}
    hears(explorer, {"text": "", "dial": 2.0})
    assert explorer.value == {"text": "one", "dial": 2.0}
    assert explorer.refused["why"] == "the text '' has no token: type a letter at least."


# ------------------------------------------------------------------------------------------------- the picture


def test_without_a_kernel_there_is_a_picture(dialled):
    explorer = show_adapter_dial(*dialled, dial=1.3)
    svg, alt = picture(explorer)
    shown = texts(svg)
    described = explorer.describe(explorer.value)
    assert shown[1:3] == [f"text: “{TEXT}”", "dial: 1.3"]
    assert shown[3:6] == [f"{label}: {text}" for label, text in described.results.items()]
    assert [text for text in shown if text in described.labels.values()] == list(described.labels.values())
    (drawing,) = svg.findall(f"{SVG}svg")
    assert drawing.get("style").startswith("--dial: 13; --before-0: ")
    assert f"--after-1: {described.lengths['after-1']}" in drawing.get("style")
    assert f"KL divergence from the base: {described.results['KL divergence from the base']}" in alt


def test_a_text_and_a_token_with_odd_characters_are_escaped(dialled, monkeypatch):
    model, tokenizer = dialled
    monkeypatch.setattr("widgets.adapter_dial.token_text", lambda *_: EVIL)
    explorer = show_adapter_dial(model, tokenizer, f"{EVIL}\x08\ud7ff😀")
    svg, alt = picture(explorer)
    assert texts(svg)[1] == f"text: “{EVIL}<0x08><U+D7FF>😀”"
    assert not list(svg.iter("img"))
    assert [title.text for title in ElementTree.fromstring(explorer.drawing).iter(f"{SVG}title")] == [EVIL] * SHOWN
    assert "&lt;img src=x" in alt


def test_an_adapter_s_name_is_on_one_line(tiny):
    model, tokenizer = tiny
    lora = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    explorer = show_adapter_dial(get_peft_model(model, lora, adapter_name="<b>\x08"), tokenizer)
    assert "that the adapter <b><0x08> makes" in explorer.describe(explorer.value).caption
    picture(explorer)  # parses
