"""The records of GPUs, and the predictions held against each of their rows."""

from statistics import fmean

import pytest

from lorakit.measurements import load_measurements, overheads
from lorakit.memory import PRESETS, Measurement, TrainingPlan, estimate_memory, preset, trace_memory
from lorakit.memory import grid as grid_module
from lorakit.memory.grid import grid, slug

RECORDS = load_measurements()
ROWS = [(record, row) for record in RECORDS for row in record["rows"] if "allocated_bytes" in row]


def plan_of(row):
    return TrainingPlan(**{**row["plan"], "target_modules": tuple(row["plan"]["target_modules"])})


def test_each_record_says_how_it_came_about():
    assert RECORDS
    for record in RECORDS:
        assert record["command"] == "lorakit memory --measure"
        assert record["date"] >= "2026-11-27"
        assert {"python", "torch", "transformers", "peft", "bitsandbytes"} == set(record["versions"])
        assert record["device"]["memory_bytes"] > max(row["reserved_bytes"] for row in record["rows"])


def test_the_records_hold_the_whole_grid():
    wanted = {(model, plan) for model, plan in grid()}
    for record in RECORDS:
        assert {(row["model"], plan_of(row)) for row in record["rows"]} == wanted


def test_each_prediction_lies_within_two_percent_of_what_the_gpu_allocated():
    errors = []
    for record, row in ROWS:
        estimate = estimate_memory(preset(row["model"]), plan_of(row), tuple(record["device"]["capability"]))
        errors.append((estimate.allocated_bytes / row["allocated_bytes"] - 1, row["model"], row["plan"]))
    mean, worst = fmean(abs(error) for error, *_ in errors), max(errors, key=lambda each: abs(each[0]))
    print(f"{len(errors)} rows: mean {mean:.2%}, worst {worst[0]:+.2%}: {worst[1:]}")
    assert abs(worst[0]) < 0.02
    assert mean < 0.005


@pytest.mark.parametrize("number", [13, 14, 16, 28, 31])
def test_the_dry_run_tells_what_is_reserved_too(number):
    record, row = ROWS[number]
    trace = trace_memory(preset(row["model"]), plan_of(row), tuple(record["device"]["capability"]))
    assert trace.allocated_bytes == pytest.approx(row["allocated_bytes"], rel=0.01)
    assert trace.reserved_bytes == pytest.approx(row["reserved_bytes"], rel=0.1)


def test_what_lies_beyond_allocated():
    ratio, context = overheads()
    assert 1 < ratio < 1.5
    assert 200 * 2**20 < context < 2 * 2**30
    estimate = estimate_memory(preset("Llama-3-8B"), TrainingPlan())
    assert estimate.reserved_bytes == round(ratio * estimate.allocated_bytes)
    assert estimate.card_bytes == estimate.reserved_bytes + context


def test_the_grid_takes_each_model_and_ends_with_what_is_paged():
    plans = grid()
    assert {model for model, _ in plans} == set(grid_module.MODELS) <= set(PRESETS)
    assert len(set(plans)) == len(plans)
    paged = [plan.optimizer.startswith("paged") for _, plan in plans]
    assert paged == sorted(paged) and any(paged)


def test_a_record_is_named_by_its_gpu():
    assert slug("NVIDIA GeForce RTX 4060 Ti") == "nvidia-geforce-rtx-4060-ti"


def test_the_grid_goes_on_where_it_was_stopped(monkeypatch, tmp_path):
    plans = grid()[:3]
    measured = []

    def measure(config, plan):
        if len(measured) == 2 and not (tmp_path / "again").exists():
            raise KeyboardInterrupt
        measured.append(plan)
        return Measurement(3, 4, 5, {"forward": 3}, 0.5, 100.0)

    here = {"date": "2026-11-27", "command": "", "device": {"name": "a GPU"}, "versions": {}, "rows": []}
    monkeypatch.setattr(grid_module, "grid", lambda: plans)
    monkeypatch.setattr(grid_module, "measure_memory", measure)
    monkeypatch.setattr(grid_module, "provenance", lambda: {**here, "rows": []})
    path, told = tmp_path / "record.json", []
    with pytest.raises(KeyboardInterrupt):
        grid_module.measure_grid(path, told.append)
    (tmp_path / "again").touch()
    assert grid_module.measure_grid(path, told.append) == path
    assert measured == [plan for _, plan in plans]
    assert told[-1] == f"written: {path}"
    monkeypatch.setattr(grid_module, "provenance", lambda: {**here, "device": {"name": "another"}, "rows": []})
    with pytest.raises(grid_module.LorakitError, match="name another file with `--output`"):
        grid_module.measure_grid(path, told.append)
    for text in ("no JSON", "[]", '{"device": 1}'):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(grid_module.LorakitError, match="is no record of such a run"):
            grid_module.measure_grid(tmp_path / "other.json", told.append)
        assert (tmp_path / "other.json").read_text() == text
