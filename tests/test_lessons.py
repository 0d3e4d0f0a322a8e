"""Lessons on another model and with other settings. (That they run as they are is nbval's part, on the notebooks.)"""

import re
from pathlib import Path

import build
import pytest
from outputs import client_of

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "lessons" / "source").glob("*.py"))
FINE_TUNES = [source for source in SOURCES if source.stem[:2] in ("07", "10")]
QUICK = {"held_out[:400]": "held_out[:20]", "TrainConfig(**explorer.value)": "TrainConfig(steps=3, **explorer.value)"}


def moved(**value):
    """What makes a fine-tune quick, its sliders moved before the cell that reads them."""
    return QUICK | {"config = TrainConfig": f"explorer.value = {value}\nconfig = TrainConfig"}


def run(notebook, changes, cwd):
    """Run a notebook with some text of its code changed; returns what its cells printed or gave, joined."""
    for old, new in changes.items():
        (cell,) = [cell for cell in notebook.cells if cell.cell_type == "code" and old in cell.source]
        cell.source = cell.source.replace(old, new)
    client_of(notebook, cwd, timeout=600).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


@pytest.mark.parametrize("source", FINE_TUNES, ids=lambda source: source.stem)
def test_other_settings_and_another_model_reach_all_of_a_fine_tune(source, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("LORAKIT_MODEL", tiny_folder)
    _, solved = build.make_notebooks(source, "https://github.com/owner/name")
    text = run(solved, moved(r=4, lora_alpha=32), tmp_path)
    trained = 2 * 4 * ((64 + 64) + (64 + 32))  # 2 layers, r = 4, q: 64 -> 64, v: 64 -> 32
    assert f"{trained:,}" in text
    assert "r=4, lora_alpha=32" in text
    assert re.search(r"sealed before \w+, after (training )?(\w+): equal", text)
    assert re.search(r"before: accuracy 0\.\d+ .* on 20 rows\nafter:  accuracy 0\.\d+ .* on 20 rows", text)
    assert "CHANGED" not in text


@pytest.mark.parametrize("quant_type", ["nf4", "int8"])
def test_the_base_of_lesson_07_may_be_quantised(quant_type, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("LORAKIT_MODEL", tiny_folder)
    (source,) = [source for source in FINE_TUNES if source.stem.startswith("07")]
    _, solved = build.make_notebooks(source, "https://github.com/owner/name")
    text = run(solved, moved(quant_type=quant_type), tmp_path)
    assert "method='qlora', r=8, lora_alpha=16" in text
    assert f"quant_type='{quant_type}'" in text
    assert re.search(r"sealed before \w+, after training \w+: equal", text)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_run_all_reaches_the_end_with_every_stub_unfilled(source, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("LORAKIT_MODEL", tiny_folder)
    learner, solved = build.make_notebooks(source, "https://github.com/owner/name")
    assert learner.cells != solved.cells  # there are stubs
    run(learner, QUICK if source in FINE_TUNES else {}, tmp_path)


@pytest.mark.parametrize("source", FINE_TUNES, ids=lambda source: source.stem)
def test_a_fine_tune_takes_its_config_from_one_place(source):
    text = source.read_text(encoding="utf-8")
    assert len(re.findall(r"\bTrainConfig\(", text)) == 1
    assert len(re.findall(r"^explorer = show_adapter_size\(", text, re.M)) == 1
    assert "config = TrainConfig(**explorer.value)" in text


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_lorakit_is_imported_before_torch(source):
    """It sets how torch's threads wait, which torch reads when it is loaded."""
    text = source.read_text(encoding="utf-8")
    assert text.index("from lorakit.models import") < text.index("import torch")


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_code_of_a_lesson_comes_in_small_pieces(source):
    learner, _ = build.make_notebooks(source, "https://github.com/owner/name")
    lines = sorted(len(cell.source.splitlines()) for cell in build.code_cells(learner) if cell.id != "setup")
    assert lines[len(lines) // 2] <= 5


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_code_that_the_text_gives_to_be_typed_is_python(source):
    _, solved = build.make_notebooks(source, "https://github.com/owner/name")
    for cell in solved.cells:
        if cell.cell_type == "markdown":
            for code in re.findall(r"```python\n(.+?)```", cell.source, re.S):
                compile(code, cell.id, "exec")
