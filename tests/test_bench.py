"""The benches' own arithmetic, and that they measure what they say."""

import json
import math
import sys
from dataclasses import asdict

import compare_methods
import lesson_memory
import lora_settings
import machine
import nbformat
import pytest
import quantizer
import slider_to_paint
from nbformat.v4 import new_code_cell, new_notebook

from lorakit import LorakitError
from lorakit.data import split_reviews
from lorakit.finetune import TrainConfig, finetune
from lorakit.models import load_model
from lorakit.quantization import quantize


def test_the_paired_difference_by_hand():
    # Differences 0, 1, 1, 0: mean 1/2, variance 4 * (1/2)^2 / 3 = 1/3, half an interval 1.96 * sqrt(1/3) / sqrt(4).
    half = 1.96 * math.sqrt(1 / 3) / 2
    wanted = (0.5, 0.5 - half, 0.5 + half)
    assert compare_methods.paired_difference([True] * 3 + [False], [True, False, False, False]) == pytest.approx(wanted)
    # Turned round, the sign turns; sentences that both get right, or both wrong, leave the mean's sign alone.
    other = compare_methods.paired_difference([True, False, False, False], [True] * 3 + [False])
    assert other == pytest.approx((-0.5, -0.5 - half, -0.5 + half))
    assert compare_methods.paired_difference([True, False] * 5, [True, False] * 5) == (0, 0, 0)


def test_a_pair_must_have_judged_the_same_sentences():
    with pytest.raises(ValueError, match="shorter"):
        compare_methods.paired_difference([True, False, True], [True, False])


def run_of(method, seed, right):
    figures = {"accuracy": right.count("1") / len(right), "low": 0.1, "high": 0.9, "loss": 0.5, "n": len(right)}
    return {
        "method": method,
        "seed": seed,
        "before": figures,
        "after": figures,
        "right": right,
        "seconds_per_step": 2.0,
        "peak_memory_bytes": 2**30,
    }


def test_one_method_minus_another_by_hand():
    runs = [
        run_of("lora", 0, "1110"),
        run_of("qlora", 0, "1000"),
        run_of("lora", 1, "1100"),
        run_of("qlora", 1, "1010"),
    ]
    paired = compare_methods.compare(runs, "lora", "qlora")
    # Seed 0 as above; seed 1 has the differences 0, 1, -1, 0: mean 0, variance 2/3.
    half = 1.96 * math.sqrt(1 / 3) / 2
    assert paired["by_seed"]["0"] == pytest.approx({"difference": 0.5, "low": 0.5 - half, "high": 0.5 + half}, abs=1e-5)
    half = 1.96 * math.sqrt(2 / 3) / 2
    assert paired["by_seed"]["1"] == pytest.approx({"difference": 0, "low": -half, "high": half}, abs=1e-5)
    # Sentence by sentence over both seeds: 0, 1, 0, 0: mean 1/4, variance 3/4 / 3. The seeds lie at 1/2 and 0.
    half = 1.96 * math.sqrt(1 / 4) / 2
    wanted = {"difference": 0.25, "low": 0.25 - half, "high": 0.25 + half, "sd_of_seeds": 0.5 / math.sqrt(2)}
    assert paired["mean"] == pytest.approx(wanted, abs=1e-5)
    other = compare_methods.compare(runs, "qlora", "lora")["mean"]
    assert other["difference"] == -0.25 and other["low"] == -paired["mean"]["high"]


@pytest.mark.parametrize("method", compare_methods.METHODS)
def test_each_method_trains_what_it_says_and_its_step_is_the_middle_one(method, tiny_folder, monkeypatch):
    monkeypatch.setenv("LORAKIT_MODEL", tiny_folder)
    config = compare_methods.config_of(method, seed=1, steps=3)
    one = compare_methods.run(method, config, 4)
    a_and_b = 2 * config.r * ((64 + 64) + (64 + 32))  # 2 layers, q: 64 -> 64, v: 64 -> 32
    everything = load_model(tiny_folder, device="cpu")[0].num_parameters()
    assert one["trained"] == (everything if method == "full" else a_and_b)
    assert (one["method"], one["seed"], one["quant_type"]) == (method, 1, "nf4" if method == "qlora" else None)
    assert one["learning_rate"] == (1e-4 if method == "full" else 2e-3)
    assert (len(one["losses"]), len(one["right"]), one["before"]["n"], one["after"]["n"]) == (3, 4, 4, 4)
    assert one["right"].count("1") / 4 == one["after"]["accuracy"]
    assert 0 < one["seconds_per_step"] < one["seconds"] and one["peak_memory_bytes"] > 0
    json.dumps(one)


def test_full_fine_tuning_sees_the_rows_of_lora_in_their_order_and_moves_every_weight(tiny_folder, monkeypatch):
    monkeypatch.setenv("LORAKIT_MODEL", tiny_folder)
    train, held_out = split_reviews()
    before = {name: weight.clone() for name, weight in load_model(tiny_folder, device="cpu")[0].named_parameters()}
    config = compare_methods.config_of("full", seed=0, steps=3)
    full, lora = [], []
    history = compare_methods.finetune_every_weight(config, train=train, held_out=held_out[:2], callback=full.append)
    finetune(TrainConfig(steps=3), train=train, held_out=held_out[:2], callback=lora.append)
    assert full[0].loss == pytest.approx(lora[0].loss, rel=1e-3)  # nothing has moved yet
    assert [step.tokens for step in full] == [step.tokens for step in lora]
    assert [step.learning_rate for step in full] == pytest.approx([step.learning_rate / 20 for step in lora])
    assert all((weight != before[name]).any() for name, weight in history.model.named_parameters())


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """The runs that are asked for, without their training; the first call of the fourth one is cut off."""
    asked = []

    def run_apart(work, method, config, held_out):
        assert work is compare_methods.run
        asked.append((method, config.seed, config.steps, held_out))
        if len(asked) == 4:
            raise KeyboardInterrupt
        return run_of(method, config.seed, {"lora": "1110", "qlora": "1100", "full": "1111"}[method])

    monkeypatch.setattr(compare_methods, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(compare_methods, "run_apart", run_apart)
    return asked


def test_what_was_cut_off_goes_on_and_a_record_is_never_overwritten(runs, tmp_path, capsys):
    output = tmp_path / "records" / "record.json"
    command = ["--seeds", "0", "1", "--held-out", "4", "--steps", "7", "--output", str(output)]
    with pytest.raises(KeyboardInterrupt):
        compare_methods.main(command)
    assert not output.exists()
    compare_methods.main(command)
    first = [(method, 0, 7, 4) for method in ("lora", "qlora", "full")]
    second = [(method, 1, 7, 4) for method in ("lora", "qlora", "full")]
    assert runs == [*first, second[0], *second]
    record = json.loads(output.read_text())
    assert [(run["method"], run["seed"]) for run in record["runs"]] == [one[:2] for one in first + second]
    means = {pair: paired["mean"]["difference"] for pair, paired in record["paired"].items()}
    assert means == {"lora - qlora": 0.25, "full - lora": 0.25}
    assert record["config"]["steps"] == 7 and "learning_rate" not in record["config"]
    assert record["versions"]["python"] == sys.version.split()[0]
    shown = capsys.readouterr().out
    assert "lora - qlora   mean  +25.00  [-24.00, +74.00]" in shown
    assert "full - lora    mean  +25.00  [-24.00, +74.00]" in shown
    with pytest.raises(LorakitError, match="is a record already, which is never overwritten"):
        compare_methods.main(command)
    # With other settings, a run that is kept does not count.
    compare_methods.main([*command[:-3], "8", "--output", str(tmp_path / "other.json")])
    assert runs[7:] == [(method, seed, 8, held_out) for method, seed, _, held_out in first + second]


def test_a_record_names_its_command_and_not_this_machines_folders(monkeypatch):
    script = str(machine.ROOT / "tests" / "bench" / "compare_methods.py")
    monkeypatch.setattr(sys, "argv", [script, "--seeds", "0"])
    record = machine.provenance()
    assert record["command"] == "python tests/bench/compare_methods.py --seeds 0"
    assert str(machine.ROOT) not in json.dumps(record)
    monkeypatch.setattr(sys, "argv", [pytest.__file__.replace("__init__", "__main__"), "-m", "release"])
    assert machine.provenance()["command"] == "python -m pytest -m release"


def test_a_program_apart_has_its_own_variables_and_what_stops_it_is_told():
    source = "import os, sys; print('a line before'); print([int(sys.argv[1]), int(os.environ['KEPT'])])"
    assert machine.run_source(source, "7", environment={"KEPT": "32"}) == [7, 32]
    with pytest.raises(LorakitError, match=r"(?s)a run apart failed: .*KeyError: 'KEPT'"):
        machine.run_source(source, "7", environment={})


def test_the_memory_of_a_lesson_is_seen_in_the_cell_that_takes_it(tmp_path):
    cells = [
        new_code_cell("import time", id="light"),
        new_code_cell("block = bytearray(200 * 2**20)\ntime.sleep(0.3)\ndel block", id="heavy"),
        new_code_cell("time.sleep(0.2)", id="light-again"),
    ]
    path = tmp_path / "lesson.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    written = path.read_bytes()
    result = lesson_memory.measure(path)
    assert result["cell"] == "heavy"
    assert 200 / 1024 < result["peak_gib"] < 400 / 1024
    assert result["seconds"] >= 0.5
    assert path.read_bytes() == written


def test_a_percentile_is_one_of_the_values():
    values = list(range(100, 0, -1))
    assert [slider_to_paint.percentile(values, percent) for percent in (50, 95, 100)] == [50, 95, 100]
    assert slider_to_paint.percentile([7, 3, 5], 50) == 5
    assert slider_to_paint.percentile([7], 95) == 7


def test_a_walk_over_the_ranks_turns_at_both_ends():
    steps = list(slider_to_paint.walk(64, 12))
    assert steps[:4] == [("ArrowRight", 128), ("ArrowRight", 256), ("ArrowLeft", 128), ("ArrowLeft", 64)]
    assert steps[9:] == [("ArrowLeft", 1), ("ArrowRight", 2), ("ArrowRight", 4)]


def test_each_level_of_the_sliders_is_judged_by_what_was_measured():
    ways = {
        "in the browser": {"frame_p50_ms": 8.0, "frame_p95_ms": 16.0},
        "FigureWidget": {"frame_p50_ms": 40.0, "frame_p95_ms": 79.0},
        "Output": {"frame_p50_ms": 80.0, "frame_p95_ms": 160.0},
        "kernel to text": {"frame_p50_ms": 30.0, "frame_p95_ms": 100.1},
    }
    found = slider_to_paint.verdicts(ways, {"max_ms": 299.0})
    assert [(level["measured"], level["met"]) for level in found] == [
        (16.0, True),
        (100.1, False),
        (299.0, True),
        (5.0, True),
        (4.9, False),
        (10.0, True),
        (10.0, True),
    ]


# --- LoRA's settings ---


def test_each_setting_is_paired_with_the_first():
    runs = lora_settings.with_pairs({"one": {"right": "1110"}, "other": {"right": "1001"}})
    # Differences 0, -1, -1, 1: mean -1/4, variance (1/16 + 2 * 9/16 + 25/16) / 3 = 11/12.
    half = 1.96 * math.sqrt(11 / 12) / 2
    wanted = {"difference": -0.25, "low": -0.25 - half, "high": -0.25 + half}
    assert runs["other"]["minus_first"] == pytest.approx(wanted, abs=1e-5)
    assert runs["one"]["minus_first"] == {"difference": 0, "low": 0, "high": 0}


@pytest.mark.parametrize("name", ["r 8, alpha 16, DoRA", "r 64, alpha 16, rsLoRA", "full, lr 1e-4"])
def test_a_setting_trains_what_it_says(name, tiny_folder, monkeypatch):
    monkeypatch.setenv("LORAKIT_MODEL", tiny_folder)
    given = lora_settings.SETTINGS[name]
    config = TrainConfig(**asdict(given.config) | {"steps": 2})
    one = lora_settings.run(lora_settings.Setting(config, given.variant, given.full), 4)
    a_and_b = 2 * config.r * ((64 + 64) + (64 + 32))  # 2 layers, q: 64 -> 64, v: 64 -> 32
    everything = load_model(tiny_folder, device="cpu")[0].num_parameters()
    lengths = 2 * (64 + 32)  # DoRA's: one for each row of q and v
    assert one["trained"] == {"DoRA": a_and_b + lengths, "rsLoRA": a_and_b}.get(name.split(", ")[-1], everything)
    assert (len(one["losses"]), len(one["right"]), one["after"]["n"]) == (2, 4, 4)
    json.dumps(one)


def test_every_setting_has_a_name_that_says_it():
    for name, given in lora_settings.SETTINGS.items():
        assert name.startswith("full") == given.full
        if not given.full:
            assert name.startswith(f"r {given.config.r}, alpha {given.config.lora_alpha}")
    first, *others = lora_settings.SETTINGS.values()
    assert first.config == TrainConfig() and first not in others


# --- the quantiser ---


def test_two_ways_are_timed_in_turns_and_the_first_turn_is_no_turn(monkeypatch):
    clock, order = [0.0], []

    def way(name, seconds):
        def run():
            order.append(name)
            clock[0] += seconds.pop(0)

        return run

    monkeypatch.setattr(quantizer.time, "perf_counter", lambda: clock[0])
    ways = {"ours": way("ours", [100.0, 3.0, 1.0, 2.0]), "theirs": way("theirs", [50.0, 5.0, 5.0, 9.0])}
    assert quantizer.in_turns(ways, turns=3) == {"ours": 2.0, "theirs": 5.0}
    assert order == ["ours", "theirs"] * 4


def test_both_quantisers_are_timed_on_one_weight_and_must_agree(monkeypatch):
    found = quantizer.measure(512, 1024, turns=1)  # large enough that no time is rounded to nothing
    for task in ("quantize", "dequantize"):
        assert found[task]["ours"] > 0 and found[task]["bitsandbytes"] > 0 and found[task]["times_as_long"] > 0
    monkeypatch.setattr(quantizer, "quantize", lambda weight, *_, **__: quantize(-weight, "nf4", double_quant=True))
    with pytest.raises(LorakitError, match="our codes are not those of bitsandbytes"):
        quantizer.measure(64, 128, turns=1)
