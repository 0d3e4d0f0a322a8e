"""Claims: thresholds, verdicts, and the table; and that what the capstone says of recorded runs is so."""

import math

import pytest
import torch

from lorakit.checks.lesson12 import ACCURACY, BUDGETS_MIB, HELD_OUT, LOSS, accuracy_after, step_mib, step_plan
from lorakit.claims import (
    CANNOT_TELL,
    CLAIMS,
    CONDITIONALLY,
    FAILS,
    HOLDS,
    NOT_MEASURED,
    Case,
    Claim,
    claims_table,
    judge_case,
    measured_words,
    report,
    verdict,
)
from lorakit.finetune import TrainConfig
from lorakit.records import load_record

AT_MOST_1 = Claim("it loses little", "paired", "points", most=1)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.2, 0.9, HOLDS),
        (-3, 1, HOLDS),  # the threshold itself is allowed
        (1.1, 2, FAILS),
        (0.5, 1.5, CANNOT_TELL),
        (0.9, None, HOLDS),
        (1.01, None, FAILS),
    ],
)
def test_an_interval_on_one_side_decides_and_one_around_the_threshold_does_not(low, high, expected):
    assert judge_case(AT_MOST_1, Case("", low, high)) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(53.9, FAILS), (54, HOLDS), (66, HOLDS), (66.1, FAILS)], ids=["below", "in", "end", "above"]
)
def test_a_range_has_two_ends(value, expected):
    assert judge_case(Claim("", "", "GB", least=54, most=66), Case("", value)) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], NOT_MEASURED),
        ([(0, 0.5), (0, 1)], HOLDS),
        ([(0, 0.5), (2, 3)], CONDITIONALLY),
        ([(0, 0.5), (0, 3)], CONDITIONALLY),
        ([(2, 3), (4, 5)], FAILS),
        ([(2, 3), (0, 5)], CANNOT_TELL),
    ],
)
def test_a_verdict_is_one_word_for_all_cases(values, expected):
    assert verdict(AT_MOST_1, [Case("", *ends) for ends in values]) == expected


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({}, "none"),
        ({"most": 1}, "at most 1 point"),
        ({"most": 0.3}, "at most 0.3 points"),
        ({"least": 3}, "at least 3 points"),
        ({"least": 54, "most": 66}, "54 to 66 points"),
    ],
)
def test_a_threshold_in_words(limits, words):
    assert Claim("", "", "points", **limits).threshold == words


def test_what_was_measured_in_words():
    assert measured_words(AT_MOST_1, [Case("", 0.714, 3.49)]) == "0.71 to 3.49 points"
    assert measured_words(AT_MOST_1, [Case("", 0.5), Case("", 160.2)]) == "0.50 to 160 points; holds in 1 of 2 cases"
    assert measured_words(AT_MOST_1, [Case("", 0)]) == "0 points"
    assert measured_words(Claim("", "", source="they say so"), []) == "they say so"


def test_a_report_has_a_line_for_each_case_and_ends_in_the_verdict():
    lines = report(AT_MOST_1, [Case("on one", 0.5), Case("on the other", 0, 2)]).splitlines()
    assert lines[0] == "it loses little: at most 1 point?"
    assert [line.split() for line in lines[1:3]] == [
        ["✓", "on", "one", "0.50", "points"],
        ["?", "on", "the", "other", "0", "to", "2.00", "points"],
    ]
    assert lines[3] == "-> holds under conditions"


def test_a_grid_has_a_line_for_each_condition_and_a_column_for_each_of_its_cases():
    cases = [Case("off", 0.5), Case("off", 0, 2.5), Case("on", 3, 5), Case("on", -1, 0)]
    lines = report(AT_MOST_1, cases, ("1 row", "16 rows")).splitlines()
    assert lines == [
        "it loses little: at most 1 point?",
        "         1 row  16 rows",
        "  off   ✓ 0.50   ? 1.25",
        "  on    ✗ 4.00  ✓ -0.50",
        "-> holds under conditions",
    ]


def test_a_report_of_nothing_says_so():
    assert report(AT_MOST_1, []).splitlines() == ["it loses little: at most 1 point?", "-> not measured here"]


def test_every_claim_can_fail_or_says_what_is_known_of_it():
    for name, claim in CLAIMS.items():
        limits = [limit for limit in (claim.least, claim.most) if math.isfinite(limit)]
        assert bool(limits) != bool(claim.source), name
        assert not limits or {judge_case(claim, Case("", value)) for value in (-1e12, limits[0], 1e12)} == {
            HOLDS,
            FAILS,
        }


def test_the_table_has_a_row_for_each_claim_with_as_many_cells_as_its_head():
    for found, columns in ((None, 4), ({"fast": [Case("CPU", 1.3)]}, 5)):
        rows = claims_table(CLAIMS, found).splitlines()
        assert len(rows) == 2 + len(CLAIMS)
        assert {row.count("|") for row in rows} == {columns + 1}
    assert rows[2 + list(CLAIMS).index("fast")].endswith("| 1.30 × | **does not hold** |")
    assert rows[2 + list(CLAIMS).index("step")].endswith("| **not measured here** |")


# --- The capstone ---


def test_every_recorded_run_with_adapters_reaches_the_bar_and_an_untrained_model_does_not():
    runs = [run for run in load_record("lora_vs_qlora")["runs"] if run["method"] != "full"]
    runs += [run for run in load_record("lora_settings")["runs"].values() if not run["full"]]
    assert len(runs) == 20
    assert min(run["right"][:HELD_OUT].count("1") / HELD_OUT for run in runs) == pytest.approx(0.838, abs=5e-4)
    assert max(run["after"]["loss"] for run in runs) < LOSS
    untrained = load_record("quant_types")["runs"]["none"]
    assert untrained["right"][:HELD_OUT].count("1") / HELD_OUT < ACCURACY
    assert untrained["reviews"]["loss"] > LOSS


@pytest.mark.parametrize(
    ("settings", "within"),
    [
        ({}, False),
        ({"method": "qlora"}, False),
        ({"gradient_checkpointing": True}, True),
        ({"micro_batch_size": 2, "gradient_accumulation_steps": 4}, True),
        ({"method": "qlora", "gradient_checkpointing": True}, True),
        ({"method": "qlora", "micro_batch_size": 1, "gradient_accumulation_steps": 8}, True),
    ],
)
def test_several_ways_keep_the_budget_and_the_lessons_own_do_not(settings, within):
    taken = step_mib(step_plan(TrainConfig(**settings)))
    assert taken < BUDGETS_MIB[0] if within else taken > BUDGETS_MIB[1]


def test_the_capstone_trains_and_judges_a_config_once_and_leaves_the_random_numbers_alone(tiny_folder, monkeypatch):
    monkeypatch.setenv("LORAKIT_MODEL", tiny_folder)
    config, before = TrainConfig(steps=1, lora_alpha=3), torch.get_rng_state()
    reached = accuracy_after(config)
    assert reached.n == HELD_OUT
    assert torch.equal(torch.get_rng_state(), before)
    monkeypatch.setenv("LORAKIT_MODEL", "none")
    assert accuracy_after(config) is reached
