"""`show_memory`: its numbers are `estimate_memory`'s at every setting, and its words and bars are those numbers."""

import random
from dataclasses import astuple

import pytest
from test_explorer import picture, texts
from transformers import GPT2Config, LlamaConfig, MistralConfig

from lorakit import LorakitError
from lorakit.lora import LINEAR_LAYERS
from lorakit.memory import PRESETS, TrainingPlan, estimate_memory, preset
from lorakit.memory.cards import CARDS, estimate_on, find_card, fits, needed_bytes
from lorakit.memory.plan import ATTENTIONS, METHODS, OPTIMIZERS, QUANT_TYPES
from widgets import show_memory
from widgets.adapter_size import ALPHAS, RANKS
from widgets.memory import BATCHES, LENGTHS, kind_of
from widgets.memory_picture import BY_SIZE, LETTERS, MOMENTS, PARTS, short

SMALL = {"vocab_size": 1000, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2}


def at_random(draw):
    """A setting of every control."""
    return {
        "model": draw.choice(PRESETS),
        "method": draw.choice(METHODS),
        "quant_type": draw.choice(QUANT_TYPES),
        "double_quant": draw.choice((False, True)),
        "target_modules": [module for module in LINEAR_LAYERS if draw.random() < 0.5],
        "optimizer": draw.choice(OPTIMIZERS),
        "gradient_checkpointing": draw.choice((False, True)),
        "attention": draw.choice(ATTENTIONS),
        **sliders_at_random(draw),
    }


def sliders_at_random(draw):
    scales = {"r": RANKS, "lora_alpha": ALPHAS, "micro_batch_size": BATCHES, "seq_len": LENGTHS}
    return {name: draw.choice(scale) for name, scale in scales.items()}


def described(explorer, **value):
    """Its words once this is set."""
    explorer.value = value
    return explorer.describe(explorer.value)


def step(explorer):
    """The numbers that are shown."""
    value = explorer.value
    rank = None if value["method"] == "full" else value["r"]
    return explorer.numbers["steps"][str(rank)][str(value["micro_batch_size"])][str(value["seq_len"])]


def test_every_number_is_the_estimate_s():
    explorer, draw, possible = show_memory(), random.Random(0), 0
    for _ in range(20):
        explorer.value = at_random(draw)
        results = explorer.describe(explorer.value).results
        try:
            estimate = estimate_memory(explorer.config, explorer.plan)
        except LorakitError as error:
            assert step(explorer) == {"why": str(error)}
            assert results["Peak"] == f"none: {error}"
            continue
        possible += 1
        assert [astuple(moment)[1:] for moment in estimate.moments] == [*map(tuple, step(explorer)["moments"])]
        assert results["Peak"] == f"{short(estimate.peak.total_bytes)}, {estimate.peak.name}"
        assert results["nvidia-smi would show"] == short(needed_bytes(estimate))
        assert step(explorer)["paged_bytes"] == estimate.paged_bytes
    assert 5 <= possible < 20


@pytest.mark.parametrize("attention", ["sdpa", "eager", "flash"])
@pytest.mark.parametrize(("model", "method"), [("TinyLlama-1.1B", "lora"), ("Llama-3-8B", "full")])
def test_each_card_is_asked_by_its_own_kernels_and_libraries(model, method, attention):
    explorer = show_memory(model, method=method, attention=attention, seq_len=2048)
    labels = explorer.describe(explorer.value).labels
    able = []
    for place, card in enumerate(BY_SIZE):
        try:
            able += [card] if (fit := fits(estimate_on(explorer.config, explorer.plan, card), card)) else []
        except LorakitError:
            fit = False
            assert (card.name, attention) == ("T4", "flash")
            assert labels[f"card-{place}"].endswith("cannot run it")
        assert labels[f"card-{place}"].removeprefix("→ ").startswith(f"{'✓' if fit else '✗'} {card.name}, ")
    assert explorer.describe(explorer.value).results["Smallest card"] == (able[0].name if able else "none of these")
    assert sorted(BY_SIZE, key=lambda card: card.name) == sorted(CARDS, key=lambda card: card.name)


def test_a_t4_that_takes_more_says_so():
    """It has no flash attention, and TinyLlama's grouped heads leave only torch's own operations."""
    explorer = show_memory("TinyLlama-1.1B", seq_len=2048)
    taken = needed_bytes(estimate_on(explorer.config, explorer.plan, find_card("T4")))
    assert taken > 1.5 * step(explorer)["needed"]
    labels = explorer.describe(explorer.value).labels.values()
    (label,) = (text for text in labels if " T4, " in text)
    assert label.endswith(f", takes {short(taken)}")
    assert sum("takes" in text for text in labels) == 1


def test_cards_of_a_kind_take_the_same():
    plans = [TrainingPlan(), TrainingPlan(method="qlora"), TrainingPlan(method="full", attention="eager")]
    for config in (preset("TinyLlama-1.1B"), preset("gemma-2-2b")):
        for plan in plans:
            taken = {}
            for card in CARDS:
                bytes_of_kind = taken.setdefault(kind_of(card.capability), set())
                bytes_of_kind.add(needed_bytes(estimate_on(config, plan, card)))
            assert [len(each) for each in taken.values()] == [1, 1, 1]


def test_trained_parameters_are_peft_s_count():
    explorer = show_memory("Llama-2-7B")
    assert described(explorer).results["Trained parameters"] == f"{32 * 2 * 8 * (4096 + 4096):,}"
    assert described(explorer, r=64, target_modules=LINEAR_LAYERS).results["Trained parameters"] == "159,907,840"
    assert described(explorer, method="full").results["Trained parameters"] == "6,738,415,616"


def test_alpha_changes_no_byte_and_the_words_say_so():
    explorer = show_memory("SmolLM2-135M", lora_alpha=1)
    before, after = described(explorer), described(explorer, lora_alpha=512)
    assert after.results.pop("Alpha") == "512 is a factor, not a weight: no byte changes"
    assert before.results.pop("Alpha") == "1 is a factor, not a weight: no byte changes"
    assert before == after


def test_what_is_not_in_use_is_named_and_changes_nothing():
    explorer = show_memory("SmolLM2-135M")
    lora = described(explorer)
    assert lora.results["Not in use"] == "quant type and double quantisation"
    assert described(explorer, quant_type="fp4", double_quant=False) == lora
    full = described(explorer, method="full")
    assert full.results["Not in use"] == "rank, alpha and target modules; quant type and double quantisation"
    assert described(explorer, r=256, target_modules=()) == full
    assert explorer.plan == TrainingPlan(method="full", double_quant=False)
    qlora = described(explorer, method="qlora", r=8, target_modules=("q_proj",))
    assert qlora.results["Not in use"] == "nothing, but nf4 and fp4 take the same bytes"
    assert described(explorer, quant_type="nf4") == qlora
    assert described(explorer, double_quant=True) != qlora


def test_the_peak_is_the_largest_moment_and_not_a_sum():
    explorer = show_memory("Llama-2-7B")
    said = described(explorer)
    totals = [sum(parts) for parts in step(explorer)["moments"]]
    assert [text for name, text in said.labels.items() if name.startswith("total-")] == [
        short(total) + (" ◄ the peak" if total == max(totals) else "") for total in totals
    ]
    assert f"the largest of them, {short(max(totals))}, and not their sum, {short(sum(totals))}." in said.caption
    last = len(PARTS) - 1
    ends = [said.lengths[f"m{place}-{last}"] for place in range(len(MOMENTS))]
    assert said.lengths[f"peak-{last}"] == max(ends) <= said.lengths["held"] <= 1
    assert ends == pytest.approx([total / max(totals) * max(ends) for total in totals])


def test_each_part_is_a_stretch_of_the_bar_with_its_letter():
    explorer = show_memory("Llama-2-7B")
    said = described(explorer)
    peak = max(step(explorer)["moments"], key=sum)
    ends = [said.lengths[f"peak-{part}"] for part in range(len(PARTS))]
    assert ends == sorted(ends)
    shares = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    assert shares == pytest.approx([size / sum(peak) * ends[-1] for size in peak])
    letters = {said.labels[f"peak-{part}"] for part in range(len(PARTS))} - {""}
    assert letters == {LETTERS[part] for part, share in enumerate(shares) if share >= 0.02} >= {"a", "g"}
    assert said.labels["part-0"] == short(peak[0])


def test_the_axis_reaches_to_the_card_that_fits_and_others_stand_at_its_end():
    explorer = show_memory("Llama-2-7B", method="qlora", micro_batch_size=1)
    said = described(explorer)
    assert said.results["Smallest card"] == BY_SIZE[0].name == "RTX 3060"
    assert [said.labels[f"tick-{quarter}"] for quarter in range(5)] == ["0 GiB", "3 GiB", "6 GiB", "9 GiB", "12 GiB"]
    assert said.lengths["card-0"] == BY_SIZE[0].usable_bytes / (12 * 2**30)
    assert (said.lengths["line-0"], said.lengths["line-1"], said.lengths["card-1"]) == (1, 0, 1)
    assert said.labels["card-1"].startswith("→ ✓ T4, ")
    said = described(explorer, model="Llama-3-70B", method="full")
    assert said.results["Smallest card"] == "none of these"
    assert all(said.lengths[f"line-{place}"] for place in range(len(BY_SIZE)))
    assert 0.5 <= said.lengths["held"] <= 1


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"r": 256, "target_modules": ["k_proj"]}, "r is 256, above the smaller side of 'k_proj' (576 x 192)"),
        ({"target_modules": []}, "target_modules is (): list the names of layers"),
        ({"attention": "efficient"}, "attention 'efficient' takes no grouped heads"),
        ({"method": "qlora", "attention": "flash"}, "attention 'flash' takes 16-bit q, k and v"),
    ],
)
def test_what_is_no_step_is_refused_in_the_error_s_own_words(value, why):
    explorer = show_memory("SmolLM2-135M")
    before = described(explorer)
    said = described(explorer, **value)
    assert said.results["Peak"].startswith(f"none: {why}")
    assert list(said.results) == list(before.results)
    assert said.results["Smallest card"] == said.results["nvidia-smi would show"] == "none"
    assert set(said.labels) == set(before.labels)
    assert set(said.lengths) == set(before.lengths)
    assert set(said.labels.values()) == {""}
    assert not any(length for name, length in said.lengths.items() if name.startswith(("peak", "m", "held")))
    picture(explorer)
    assert described(explorer, method="full", attention="sdpa").results["Peak"][0].isdigit()


def test_rows_beyond_a_window_are_refused_and_beyond_what_a_model_was_made_for_told():
    window = MistralConfig(**SMALL, num_attention_heads=4, num_key_value_heads=2, sliding_window=4096)
    explorer = show_memory(window, seq_len=4096)
    assert explorer.title == "The memory of a training step"
    assert explorer.value["model"] == "Mistral"
    assert "The model was made for" not in described(explorer).caption
    assert described(explorer, seq_len=8192).results["Peak"].startswith("none: seq_len is 8192, and mistral attends")
    told = "The model was made for rows of at most 2,048 tokens."
    assert described(explorer, model="TinyLlama-1.1B").caption.endswith(told)
    assert told not in described(explorer, seq_len=2048).caption


def test_paged_states_are_told_where_they_are():
    explorer = show_memory("SmolLM2-1.7B", method="full")
    assert "paged" not in described(explorer, optimizer="adamw_8bit").caption
    said = described(explorer, optimizer="paged_adamw_8bit")
    paged = estimate_memory(explorer.config, explorer.plan).paged_bytes
    assert said.caption.endswith(f"Another {short(paged)} of optimizer states are paged: they live in the host.")


def test_a_loaded_model_is_among_the_presets(tiny, tiny_folder):
    model, _ = tiny
    explorer = show_memory(model)
    name = tiny_folder.name if hasattr(tiny_folder, "name") else str(tiny_folder).rpartition("/")[2]
    assert explorer.value["model"] == name
    assert [option["value"] for option in explorer.controls[0]["options"]] == [name, *PRESETS]
    assert explorer.config is model.config
    estimate = estimate_memory(model.config, explorer.plan)
    assert described(explorer).results["Peak"].startswith(short(estimate.allocated_bytes))
    explorer.value = {"model": "SmolLM2-135M"}
    assert explorer.config.hidden_size == 576


def test_the_plan_goes_on_in_python():
    settings = {"method": "qlora", "quant_type": "fp4", "r": 16, "target_modules": ("k_proj", "q_proj"), "seq_len": 256}
    explorer = show_memory("Llama-3-8B", **settings)
    expected = TrainingPlan(**settings | {"target_modules": ("q_proj", "k_proj")})
    assert explorer.plan == expected
    explorer.value = {"target_modules": []}
    with pytest.raises(LorakitError, match="list the names of layers"):
        _ = explorer.plan


def test_a_start_beside_the_scale_is_on_it():
    explorer = show_memory("SmolLM2-135M", r=6, seq_len=300, micro_batch_size=3, lora_alpha=11)
    assert explorer.plan == TrainingPlan(r=6, seq_len=300, micro_batch_size=3)
    assert described(explorer).results["Trained parameters"] == f"{30 * 6 * (576 + 576 + 576 + 192):,}"


def test_without_a_kernel_there_is_a_picture():
    svg, alt = picture(show_memory("Llama-2-7B", lora_alpha=32))
    shown = texts(svg)
    assert {"model: Llama-2-7B", "Alpha: 32 is a factor, not a weight: no byte changes", *MOMENTS, *PARTS} <= {*shown}
    assert any(text.endswith("◄ the peak") for text in shown)
    assert "Smallest card: A100 40GB" in alt
    assert "✓ this step fits, ✗ it does not." in alt


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("Llama-9", {}, "model 'Llama-9' is none of the presets"),
        (GPT2Config(n_layer=1), {}, "model type 'gpt2' is not covered"),
        (7, {}, r"int is no model: pass one, its config, or a name in PRESETS\."),
        (None, {"rank": 8}, "there is no control 'rank' here: choose from model, method"),
        (None, {"r": 0}, "r is 0: it is a whole number of at least 1"),
        (None, {"seq_len": True}, "seq_len is True"),
        (None, {"method": "dora"}, "method 'dora' is not on this control"),
        (None, {"target_modules": "q"}, "target_modules 'q' is not on this control"),
        (LlamaConfig(**SMALL), {"quant_type": "int8"}, "quant_type 'int8' is not on this control"),
    ],
)
def test_a_start_that_cannot_be_meant(model, settings, message):
    with pytest.raises(LorakitError, match=message):
        show_memory(model, **settings)
