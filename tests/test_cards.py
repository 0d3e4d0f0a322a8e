"""Which card a training step fits, and what makes it fit: each proposal is checked by an estimate of its own."""

import random
from dataclasses import fields, replace

import pytest
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, LlamaConfig

from lorakit.errors import LorakitError
from lorakit.measurements import overheads
from lorakit.memory import PRESETS, TrainingPlan, estimate_memory, preset
from lorakit.memory.advice import CHANGES, accumulation_bytes, judge_cards, smallest_changes
from lorakit.memory.allocator import CachingAllocator
from lorakit.memory.cards import CARDS, Card, estimate_on, find_card, fits, needed_bytes, room_bytes
from lorakit.memory.plan import AMPERE, library_bytes, resolve_attention
from lorakit.memory.step import batch_of, build_model, training_step
from lorakit.memory.trace import LiveBytes, dry_attention, dry_optimizer, workspaces
from lorakit.records import load_record

MIB = 2**20
SMALL = preset("SmolLM2-135M")
TINYLLAMA = preset("TinyLlama-1.1B")


def card_of(usable, capability=(8, 6)):
    """A card of which so many bytes can be filled, to within one."""
    return Card("test", -(-usable * 100 // 97), capability)


def changed_fields(before, after):
    return {field.name for field in fields(before) if getattr(before, field.name) != getattr(after, field.name)}


# --- cards ---


def test_a_card_that_is_a_little_too_small_and_one_that_is_just_large_enough():
    estimate = estimate_memory(SMALL, TrainingPlan())
    needed = needed_bytes(estimate)
    large, small = card_of(needed), card_of(needed - 2)
    assert fits(estimate, large) and 0 <= room_bytes(estimate, large) <= 1
    assert not fits(estimate, small) and -2 <= room_bytes(estimate, small) < 0


def test_the_driver_keeps_three_percent():
    assert find_card("T4").usable_bytes == 15_622_943_539  # 15,360 MiB are 16,106,127,360 bytes, and 97 % of that


def test_cards_go_from_t4_to_h100_and_are_about_as_large_as_their_names_say():
    assert (CARDS[0].name, CARDS[-1].name) == ("T4", "H100")
    assert len({card.name for card in CARDS}) == len(CARDS)
    sold_as = [16, 12, 16, 24, 24, 24, 24, 48, 40, 80, 80]  # GB or GiB, which the sellers do not tell apart
    for card, size in zip(CARDS, sold_as, strict=True):
        assert 0.93 * size <= card.memory_bytes / 2**30 <= size, card


@pytest.mark.parametrize("name", ["RTX 4060 Ti 16GB", "rtx-4060-ti-16gb", "RTX_4060TI 16gb", "4060 ti 16gb"])
def test_a_card_is_found_by_its_name_however_it_is_written(name):
    assert find_card(name) is CARDS[2]


@pytest.mark.parametrize("name", ["A100", "V100", "", "T44"])
def test_an_unknown_card_is_named_with_those_there_are(name):
    with pytest.raises(LorakitError, match=f"card '{name}' is unknown: use one of T4, .* A100 40GB, .* H100"):
        find_card(name)


def test_a_t4_has_no_flash_attention_and_an_h100_a_larger_workspace():
    plan = TrainingPlan()
    t4, l4, h100 = (estimate_on(SMALL, plan, find_card(name)).allocated_bytes for name in ("T4", "L4", "H100"))
    assert t4 > l4 + 4 * 4 * 9 * 512**2 * 30  # micro-batch x float32 x heads x T x T x blocks: the math kernel's
    assert h100 - l4 == 2 * (32768 - 8320) * 1024  # of cuBLAS, see library_bytes


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_bf16_is_fp16_on_a_t4_which_takes_the_same_bytes(method):
    for adapter_dtype in ("fp32", "bf16"):
        plan = TrainingPlan(method=method, adapter_dtype=adapter_dtype)
        assert estimate_on(TINYLLAMA, plan, find_card("T4")) == estimate_memory(TINYLLAMA, plan, (7, 5))


def test_but_for_eager_attention_which_takes_fewer():
    gemma, plan = preset("gemma-2-2b"), TrainingPlan(seq_len=2048)
    on_t4, in_bf16 = estimate_on(gemma, plan, find_card("T4")), estimate_memory(gemma, plan, (7, 5))
    assert on_t4 == estimate_memory(gemma, replace(plan, dtype="fp16"), (7, 5))
    fewer = [ours.total_bytes < theirs.total_bytes for ours, theirs in zip(on_t4.moments, in_bf16.moments, strict=True)]
    assert dict(zip([moment.name for moment in on_t4.moments], fewer, strict=True))["back through the last block"]


# --- changes ---


def single_changes(plan):
    """Every plan that is one change away, written down without looking at CHANGES: by what is changed, in steps."""
    batches = [n for n in range(plan.micro_batch_size - 1, 0, -1) if plan.micro_batch_size % n == 0]
    lengths = []
    while (lengths or [plan.seq_len])[-1] // 2 >= 128:
        lengths.append((lengths or [plan.seq_len])[-1] // 2)
    found = {
        "micro_batch_size": [replace(plan, micro_batch_size=n) for n in batches],
        "seq_len": [replace(plan, seq_len=n) for n in lengths],
    }
    if not plan.gradient_checkpointing:
        found["gradient_checkpointing"] = [replace(plan, gradient_checkpointing=True)]
    if plan.dtype == "fp32":
        found["dtype"] = [replace(plan, dtype="bf16")]
    if plan.method == "qlora" and not plan.double_quant:
        found["double_quant"] = [replace(plan, double_quant=True)]
    better = {"adamw": ["adamw_8bit", "paged_adamw_8bit"], "adamw_8bit": ["paged_adamw_8bit"]}
    for optimizer in better.get(plan.optimizer, []):
        found[optimizer] = [replace(plan, optimizer=optimizer)]
    adapters = {"r": None, "target_modules": None} if plan.method == "full" else {}
    for method in {"full": ["lora", "qlora"], "lora": ["qlora"], "qlora": ["lora"]}[plan.method]:
        found[method] = [replace(plan, method=method, quant_type=None, **adapters)]
    return found


def needed(config, plan, changed, card):
    """Bytes that a changed plan needs on a card; a smaller batch accumulates."""
    estimate = estimate_on(config, changed, card)
    smaller = changed.micro_batch_size < plan.micro_batch_size
    return needed_bytes(estimate) + smaller * round(overheads()[0] * accumulation_bytes(config, changed, estimate))


def random_settings(count):
    """Models, plans, and cards that each plan is too large for."""
    draw = random.Random(11)
    while count:
        config = preset(draw.choice(PRESETS))
        plan = TrainingPlan(
            method=(method := draw.choice(["full", "lora", "qlora"])),
            dtype=draw.choice(["fp32", "bf16", "bf16"]),
            double_quant=draw.random() < 0.5,
            r=None if method == "full" else draw.choice([4, 64]),
            micro_batch_size=draw.choice([1, 2, 4, 6, 7]),
            seq_len=draw.choice([100, 512, 1000, 2048]),
            optimizer=draw.choice(["adamw", "adamw_8bit", "paged_adamw_8bit", "sgd"]),
            gradient_checkpointing=draw.random() < 0.3,
        )
        capability = draw.choice([(7, 5), (8, 9), (9, 0)])
        size = needed_bytes(estimate_on(config, plan, Card("", 0, capability)))
        yield config, plan, card_of(int(size * draw.choice([0.98, 0.7, 0.4, 0.2])), capability)
        count -= 1


SETTINGS = list(random_settings(60))


def test_each_proposal_fits_by_an_estimate_of_its_own():
    lengths = set()
    for config, plan, card in SETTINGS:
        for proposal in smallest_changes(config, plan, card):
            assert fits(estimate_on(config, proposal.plan, card), card)
            assert proposal.needed_bytes == needed(config, plan, proposal.plan, card) <= card.usable_bytes
            assert len(proposal.options) == len(proposal.prices)
            lengths.add(len(proposal.options))
    assert lengths >= {1, 2, 3}  # else less was tried than it seems


def test_no_single_change_that_fits_is_missing_and_each_goes_only_as_far_as_needed():
    for config, plan, card in SETTINGS:
        fitting = [
            next((each for each in steps if needed(config, plan, each, card) <= card.usable_bytes), None)
            for steps in single_changes(plan).values()
        ]
        proposals = smallest_changes(config, plan, card)
        assert {proposal.plan for proposal in proposals if len(proposal.options) == 1} == set(fitting) - {None}
        assert any(fitting) == any(len(proposal.options) == 1 for proposal in proposals)


def test_pairs_are_tried_only_where_no_single_change_is_enough_and_none_is_missing():
    pairs = 0
    for config, plan, card in SETTINGS:
        proposals = smallest_changes(config, plan, card)
        if not proposals or len(proposals[0].options) != 2:
            continue
        pairs += 1
        expected = set()
        for first, steps in single_changes(plan).items():
            for one in steps:
                for second, further in single_changes(one).items():
                    if any(needed(config, plan, two, card) <= card.usable_bytes for two in further):
                        expected.add(frozenset((first, second)))
        found = {frozenset(map(kind_of, proposal.options)) for proposal in proposals}
        assert found == {pair for pair in expected if len(pair) == 2 and not redundant(plan, pair)}
    assert pairs > 5


def kind_of(option):
    """The name that single_changes gives to what an option changes."""
    name, _, value = option.removeprefix("--").replace("-", "_").partition(" ")
    return value if name in ("method", "optimizer") else name


def redundant(plan, pair):
    """Two changes of one field, of which the second alone leads to the same plan."""
    return pair == {"adamw_8bit", "paged_adamw_8bit"} or pair == {"lora", "qlora"}


def test_a_proposal_changes_what_its_options_name_and_nothing_else():
    touches = {
        "--method": {"method", "quant_type", "r", "target_modules"},
        "--micro-batch-size": {"micro_batch_size"},
        "--seq-len": {"seq_len"},
        "--gradient-checkpointing": {"gradient_checkpointing"},
        "--double-quant": {"double_quant"},
        "--optimizer": {"optimizer"},
        "--dtype": {"dtype"},
    }
    seen = set()
    for config, plan, card in SETTINGS:
        for proposal in smallest_changes(config, plan, card):
            names = {option.split()[0] for option in proposal.options}
            allowed = set().union(*(touches[name] for name in names))
            assert changed_fields(plan, proposal.plan) <= allowed
            assert len(names) == len(proposal.options)
            for option in proposal.options:
                name, _, value = option.removeprefix("--").partition(" ")
                assert str(getattr(proposal.plan, name.replace("-", "_"))) == (value or "True")
            seen |= names
    assert seen == set(touches)


ROUNDED_AT_MOST = ["micro_batch_size", "gradient_checkpointing", "dtype", "double_quant", "adamw_8bit"]
ROUNDED_AT_MOST += ["paged_adamw_8bit"]
CHEAPEST_FIRST = {
    "full": [*ROUNDED_AT_MOST, "seq_len", "lora", "qlora"],
    "lora": [*ROUNDED_AT_MOST, "qlora", "seq_len"],
    "qlora": ["lora", *ROUNDED_AT_MOST, "seq_len"],
}


def test_proposals_come_cheapest_first_by_the_dearest_of_their_changes():
    ways = 0
    for config, plan, card in SETTINGS:
        order = CHEAPEST_FIRST[plan.method]
        proposals = smallest_changes(config, plan, card)
        ranks = [sorted((order.index(kind_of(option)) for option in p.options), reverse=True) for p in proposals]
        assert ranks == sorted(ranks)
        ways += len(ranks) > 1
    assert ways > 20


def test_a_smaller_card_needs_no_fewer_changes():
    plan = TrainingPlan(method="full", dtype="fp32", seq_len=2048)
    numbers = []
    for usable in (needed_bytes(estimate_memory(TINYLLAMA, plan)) * share // 1000 for share in range(981, 0, -35)):
        proposals = smallest_changes(TINYLLAMA, plan, card_of(usable))
        numbers.append(len(proposals[0].options) if proposals else len(CHANGES) + 1)
    assert numbers == sorted(numbers)
    assert numbers[0] == 1 and numbers[-1] > len(CHANGES)


def test_nothing_is_proposed_where_no_change_helps():
    assert smallest_changes(preset("Llama-3-70B"), TrainingPlan(method="full"), find_card("L4")) == []


def test_a_batch_is_split_into_equal_parts_so_that_accumulation_makes_up_for_it():
    plan = TrainingPlan(micro_batch_size=6)
    smaller = {size: replace(plan, micro_batch_size=size) for size in (3, 2, 1)}
    enough = {size: needed(SMALL, plan, changed, find_card("L4")) for size, changed in smaller.items()}
    for size, usable in enough.items():
        proposals = {option: price for p in smallest_changes(SMALL, plan, card_of(usable)) for option, price in
                     zip(p.options, p.prices, strict=True)}  # fmt: skip
        assert f"over {6 // size} times as many micro-batches" in proposals[f"--micro-batch-size {size}"]
    only = smallest_changes(SMALL, replace(plan, micro_batch_size=5), card_of(enough[3]))
    assert [option for p in only for option in p.options if "batch" in option] == ["--micro-batch-size 1"]


def test_rows_are_not_cut_below_128_tokens():
    for seq_len, shortest in {1000: 125, 512: 128, 255: 127}.items():
        plan = TrainingPlan(micro_batch_size=1, seq_len=seq_len, gradient_checkpointing=True, optimizer="none")
        enough = needed_bytes(estimate_memory(TINYLLAMA, replace(plan, seq_len=shortest)))
        found = [p.options for p in smallest_changes(TINYLLAMA, plan, card_of(enough))]
        assert (("--seq-len 128",) in found) == (shortest == 128)
        assert not any(f"--seq-len {n}" in options for options in found for n in range(128))


def test_of_two_changes_that_come_in_steps_the_cheaper_one_goes_further():
    plan = TrainingPlan(micro_batch_size=8, seq_len=512, gradient_checkpointing=True, optimizer="none")
    ways = [replace(plan, micro_batch_size=size, seq_len=length) for size, length in ((1, 256), (2, 128))]
    card = card_of(max(needed(TINYLLAMA, plan, way, find_card("L4")) for way in ways))
    found = {proposal.options: proposal.plan for proposal in smallest_changes(TINYLLAMA, plan, card)}
    assert found["--micro-batch-size 1", "--seq-len 256"] == ways[0]
    assert not any("--seq-len 128" in options and "--micro-batch-size 2" in options for options in found)


def test_a_small_model_takes_less_with_its_base_in_16_bits_and_is_told_so_first():
    plan = TrainingPlan(method="qlora")
    enough = needed_bytes(estimate_memory(SMALL, replace(plan, method="lora", quant_type=None)))
    assert enough < needed_bytes(estimate_memory(SMALL, plan))
    first = smallest_changes(SMALL, plan, card_of(enough))[0]
    assert first.options == ("--method lora",)
    assert first.prices[0].startswith("none: ")


def test_a_change_that_the_named_attention_cannot_run_is_not_proposed():
    plan = TrainingPlan(attention="flash", seq_len=128, micro_batch_size=1)
    llama = preset("Llama-2-7B")
    found = smallest_changes(llama, replace(plan, attention="sdpa"), card_of(8 * 2**30))
    assert [proposal.options for proposal in found] == [("--method qlora",)]
    assert smallest_changes(llama, plan, card_of(8 * 2**30)) == []


# --- accumulation ---


def dry_accumulation(config, plan):
    """Bytes allocated at most in the second of two steps over three micro-batches each, by a dry run."""
    kernel = resolve_attention(config, plan)
    allocator = CachingAllocator()
    counter = LiveBytes(allocator, workspaces(kernel, plan))
    with counter:
        model = build_model(config, plan, "meta", dry_attention(kernel))
        optimizer, batch = dry_optimizer(model, plan, counter), batch_of(config, plan, "meta")
        for _ in range(2):
            allocator.malloc(library_bytes(AMPERE) // 2)
        for _ in range(2):
            counter.moments = {}
            counter.begin("step")
            for _ in range(3):
                model(**batch).loss.backward()
            optimizer.step()
            model.zero_grad(set_to_none=True)
    return counter.moments["step"]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {"method": "full", "optimizer": "adamw_8bit"},
        {"method": "full", "optimizer": "adamw_8bit", "gradient_checkpointing": True},
        {"method": "full", "micro_batch_size": 1, "seq_len": 32, "optimizer": "adamw_8bit"},
        {"method": "lora", "r": 64},
    ],
)
def test_gradients_that_stay_between_micro_batches_are_counted(tied, settings):
    sizes = {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 3, "num_attention_heads": 16}
    config = LlamaConfig(vocab_size=16384, tie_word_embeddings=tied, **sizes)
    plan = TrainingPlan(**settings)
    estimate = estimate_memory(config, plan)
    found = estimate.allocated_bytes + accumulation_bytes(config, plan, estimate)
    assert 0.97 < found / dry_accumulation(config, plan) < 1.03


def test_a_smaller_batch_of_full_fine_tuning_needs_room_for_them():
    plan = TrainingPlan(method="full", optimizer="sgd")
    estimate = estimate_memory(TINYLLAMA, replace(plan, micro_batch_size=2))
    more = round(overheads()[0] * accumulation_bytes(TINYLLAMA, plan, estimate))  # more is reserved than allocated
    assert more > 2**30
    for usable, enough in {needed_bytes(estimate) + more: True, needed_bytes(estimate) + more // 2: False}.items():
        found = [proposal.options for proposal in smallest_changes(TINYLLAMA, plan, card_of(usable))]
        assert (("--micro-batch-size 2",) in found) == enough
        assert (("--micro-batch-size 1",) in found) == (not enough)


# --- prices ---


def prices_of(plan):
    """Of all single changes: each is tried on a card that it just fits."""
    found = {}
    for steps in single_changes(plan).values():
        for changed in steps:
            card = card_of(needed(TINYLLAMA, plan, changed, find_card("L4")))
            for proposal in smallest_changes(TINYLLAMA, plan, card):
                if proposal.plan == changed:
                    found[proposal.options[0]] = proposal.prices[0]
    return found


def test_points_of_accuracy_are_those_of_the_record():
    paired = load_record("lora_vs_qlora")["paired"]
    lost = {pair: f"{100 * paired[pair]['mean']['difference']:.1f} points" for pair in paired}
    assert lost["lora - qlora"] in prices_of(TrainingPlan())["--method qlora"]
    full = prices_of(TrainingPlan(method="full"))
    assert lost["full - lora"] in full["--method lora"]
    assert "of rank 8 on q_proj, v_proj" in full["--method lora"]
    assert lost["full - lora"] in full["--method qlora"] and lost["lora - qlora"] in full["--method qlora"]


def test_the_price_of_a_paged_optimizer_has_the_rounding_where_that_is_new():
    full = TrainingPlan(method="full", optimizer="adamw")
    assert "rounded to 8 bits" in prices_of(full)["--optimizer adamw_8bit"]
    paged = prices_of(full)["--optimizer paged_adamw_8bit"]
    assert "rounded to 8 bits" in paged and "; the large states lie in the host's memory" in paged
    rounded = prices_of(replace(full, optimizer="adamw_8bit"))["--optimizer paged_adamw_8bit"]
    assert rounded.startswith("the large states lie in the host's memory")


@pytest.mark.parametrize(
    ("method", "most", "says"), [("full", 4 / 3, "up to a third"), ("lora", 3 / 2, "up to a half")]
)
def test_checkpointing_costs_as_much_arithmetic_as_its_price_says(method, most, says):
    blocks = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=64, tie_word_embeddings=True, **blocks)
    plan = TrainingPlan(method=method, dtype="fp32", micro_batch_size=1, seq_len=32, optimizer="none")
    counts = []
    for each in (plan, replace(plan, gradient_checkpointing=True)):
        model, batch = build_model(config, each, "cpu").train(), batch_of(config, each, "cpu")
        with FlopCounterMode(display=False) as counter:
            training_step(model, None, batch, each)
        counts.append(counter.get_total_flops())
    assert 0.7 * (most - 1) < counts[1] / counts[0] - 1 < most - 1
    assert says in prices_of(TrainingPlan(method=method))["--gradient-checkpointing"]


# --- all cards ---


def test_the_verdict_on_each_card():
    plan = TrainingPlan(method="qlora", r=16, seq_len=2048)
    verdicts = judge_cards(TINYLLAMA, plan)
    assert tuple(verdict.card for verdict in verdicts) == CARDS
    for verdict in verdicts:
        assert verdict.estimate == estimate_on(TINYLLAMA, plan, verdict.card)
        assert verdict.too_small == (room_bytes(verdict.estimate, verdict.card) < 0)
        expected = smallest_changes(TINYLLAMA, plan, verdict.card) if verdict.too_small else []
        assert list(verdict.proposals) == expected
    assert [verdict.card.name for verdict in verdicts if not verdict.too_small] == ["A100 80GB", "H100"]


def test_a_card_without_the_attention_is_not_too_small():
    verdicts = judge_cards(TINYLLAMA, TrainingPlan(attention="flash"))
    assert [(each.card.name, each.too_small, each.proposals) for each in verdicts if each.estimate is None] == [
        ("T4", False, ())
    ]


@pytest.mark.parametrize(
    ("config", "plan", "says"),
    [
        (GPT2Config(), TrainingPlan(), "model type 'gpt2' is not covered"),
        (SMALL, TrainingPlan(r=1000), "r is 1000, above the smaller side of 'q_proj'"),
        (SMALL, TrainingPlan(target_modules=("query",)), "target module 'query' is not in this model"),
        (TINYLLAMA, TrainingPlan(attention="efficient"), "'efficient' takes no grouped heads"),
    ],
)
def test_a_plan_that_no_card_can_run_is_an_error(config, plan, says):
    with pytest.raises(LorakitError, match=says):
        judge_cards(config, plan)
