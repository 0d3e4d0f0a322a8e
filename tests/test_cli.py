"""The `lorakit` command: light to start, kind when something is amiss, and never over a learner's file."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import namedtuple
from dataclasses import fields
from pathlib import Path

import pytest
from nbformat.v4 import new_markdown_cell, new_notebook
from typer.main import get_command
from typer.testing import CliRunner

import lorakit.finetune
from lorakit import cache, cli, course, data, doctor, models
from lorakit.finetune import Evaluation, History, TrainConfig
from lorakit.memory import PRESETS, Moment, TrainingPlan, estimate_memory, preset, report
from lorakit.memory.advice import smallest_changes
from lorakit.memory.cards import CARDS, estimate_on, find_card, needed_bytes, room_bytes

ROOT = Path(cli.__file__).parents[1]
GIB = 2**30


def invoke(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], prog_name="lorakit")


def python(*arguments, **environment):
    path = os.pathsep.join([*filter(None, [environment.pop("PYTHONPATH", "")]), str(ROOT)])
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


# ------------------------------------------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], ("lab", "reset", "doctor", "models", "finetune", "memory", "grade")),
        (["finetune"], ("--seed", "--resume")),
        (["memory"], ("--optimizer", "--measure")),
        (["grade"], ("--json", "--class")),
    ],
)
def test_help_loads_nothing_heavy(arguments, told):
    run = python("-X", "importtime", "-m", "lorakit", *arguments, "--help")
    assert run.returncode == 0
    for name in told:
        assert f"\n  {name} " in run.stdout
    loaded = {line.rsplit("|", 1)[-1].strip() for line in run.stderr.splitlines() if line.startswith("import time:")}
    assert {"typer", "lorakit.cli"} <= loaded  # the list is what we take it for
    heavy = "torch transformers peft numpy bitsandbytes psutil tqdm jupyterlab lorakit.cache lorakit.doctor"
    assert loaded.isdisjoint(heavy.split())


@pytest.mark.parametrize(("command", "settings"), [("finetune", TrainConfig), ("memory", TrainingPlan)])
def test_the_help_tells_the_defaults_of_the_settings(command, settings):
    options = {option.name: option for option in get_command(cli.app).commands[command].params}
    usual = vars(settings()) | {"quant_type": settings("qlora").quant_type}
    settable = usual.keys() & options.keys()
    assert len(settable) > 12
    for name in settable:
        default = usual[name]
        text = ",".join(default) if isinstance(default, tuple) else "double-quant" if default is True else default
        told = [] if default is False else [f"[default: {text}]"]
        assert re.findall(r"\[default: .*?\]", options[name].help) == told
        assert options[name].default is None  # so that the settings decide


def test_what_a_learner_can_mend_is_one_line_without_a_traceback():
    run = python("-m", "lorakit", "finetune", "--steps", "0")
    assert run.returncode == 1
    assert run.stderr == "lorakit: steps is 0: it is a whole number of at least 1.\n"
    assert run.stdout == ""


def test_ctrl_c_ends_quietly(monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", interrupted)
    result = invoke("doctor")
    assert result.exit_code == 130
    assert result.stderr == ""


def test_a_fault_of_ours_keeps_its_plain_traceback():
    code = "import sys; from lorakit import cli, course; sys.argv = ['lorakit', 'lab', '--folder', 'x']"
    run = python("-c", f"{code}; course.copy_lessons = None; cli.main()")
    assert run.returncode == 1
    assert run.stderr.startswith("Traceback (most recent call last):")
    assert run.stderr.endswith("TypeError: 'NoneType' object is not callable\n")


# ------------------------------------------------------------------------------------------------- lab


@pytest.fixture
def shipped(tmp_path):
    """Lessons as they lie in an installed package."""
    lessons = tmp_path / "site-packages" / "lorakit" / "lessons"
    for name in ("00_start_here.ipynb", "06_lora.ipynb", "solutions/06_lora.ipynb"):
        (lessons / name).parent.mkdir(parents=True, exist_ok=True)
        (lessons / name).write_text(course.notebook_text(new_notebook(cells=[new_markdown_cell(f"# {name}")])))
    (lessons / "source").mkdir()
    for name in ("source/06_lora.py", "build.py", "course_map.svg", "terms.md"):
        (lessons / name).write_text(f"new {name}")
    return lessons


@pytest.fixture
def jupyter(monkeypatch):
    """The commands that would have been run."""
    commands = []

    def record(command):
        commands.append(command)
        return 0

    monkeypatch.setattr(cli, "_run", record)
    return commands


def tree(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def jupyterlab_in(place):
    first = "--LabApp.default_url=/lab/tree/course_map.ipynb"
    return [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={place}", first]


def test_from_a_wheel_lab_copies_then_opens_the_copy(shipped, jupyter, tmp_path, monkeypatch):
    monkeypatch.setattr(course, "PACKAGE", shipped.parent)
    monkeypatch.chdir(tmp_path)
    result = invoke("lab")
    place = tmp_path / "lorakit-lessons"
    assert (place / "06_lora.ipynb").read_bytes() == (shipped / "06_lora.ipynb").read_bytes()
    assert "[00 · 00_start_here.ipynb](00_start_here.ipynb)" in (place / "course_map.ipynb").read_text()
    assert jupyter == [jupyterlab_in(place)]
    assert result.stdout == "lorakit-lessons: 5 files copied, 0 that were there already kept as they are.\n"
    assert result.exit_code == 0


def test_in_a_clone_lab_opens_the_lessons_where_they_are(shipped, jupyter, tmp_path, monkeypatch):
    clone = shipped.parent.rename(tmp_path / "clone")
    monkeypatch.setattr(course, "PACKAGE", clone / "lorakit")
    monkeypatch.chdir(tmp_path)
    result = invoke("lab", "--no-browser", "--", "--port", "9999")
    place = clone / "lessons"
    assert jupyter == [[*jupyterlab_in(place), "--no-browser", "--port", "9999"]]
    assert result.stdout == ""
    assert not (tmp_path / "lorakit-lessons").exists()


def test_in_a_clone_a_folder_that_is_asked_for_is_filled(shipped, jupyter, tmp_path, monkeypatch):
    clone = shipped.parent.rename(tmp_path / "clone")
    monkeypatch.setattr(course, "PACKAGE", clone / "lorakit")
    invoke("lab", "--folder", tmp_path / "mine")
    assert len(tree(tmp_path / "mine")) == 5 + 1  # and the page that is opened
    assert f"--ServerApp.root_dir={tmp_path / 'mine'}" in jupyter[0]


def test_lessons_that_can_only_be_read_open_at_the_first(shipped, jupyter, tmp_path, monkeypatch):
    clone = shipped.parent.rename(tmp_path / "clone")
    monkeypatch.setattr(course, "PACKAGE", clone / "lorakit")
    (clone / "lessons" / "course_map.ipynb").mkdir()  # cannot be written, by nobody
    assert invoke("lab").exit_code == 0
    assert "--LabApp.default_url=/lab/tree/00_start_here.ipynb" in jupyter[0]


def test_lab_without_jupyterlab_says_how_to_get_it(jupyter, monkeypatch):
    monkeypatch.setitem(sys.modules, "jupyterlab", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = invoke("lab")
    assert result.exit_code == 1
    assert result.stderr == "lorakit: JupyterLab is not installed here: run `pip install jupyterlab` and try again.\n"
    assert jupyter == []


def test_lab_passes_jupyters_exit_code_on(monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "_run", lambda command: 3)
    assert invoke("lab", "--folder", tmp_path).exit_code == 3


@pytest.mark.parametrize("name", ["06", "6", "06_lora", "06_lora.ipynb", "lorakit-lessons/06_lora.ipynb"])
def test_reset_says_in_one_line_where_the_fresh_notebook_and_the_old_one_are(shipped, tmp_path, monkeypatch, name):
    monkeypatch.setattr(course, "PACKAGE", shipped.parent)
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "lorakit-lessons" / "06_lora.ipynb"
    mine.parent.mkdir()
    mine.write_text("my answer")
    (mine.parent / "00_start_here.ipynb").write_text("mine")
    result = invoke("reset", name)
    (kept,) = mine.parent.glob("06_lora-*.ipynb")
    place = Path("lorakit-lessons/06_lora.ipynb")
    assert result.stdout == f"{place} is fresh again; yours is kept as {kept.name}\n"
    assert (mine.read_bytes(), kept.read_text()) == ((shipped / mine.name).read_bytes(), "my answer")
    mine.unlink()
    assert invoke("reset", name).stdout == f"{place} is fresh; there was none before\n"
    assert tree(mine.parent) == {
        "00_start_here.ipynb": "mine",
        "06_lora.ipynb": (shipped / "06_lora.ipynb").read_text(),
        kept.name: "my answer",
    }


def test_reset_of_no_lesson_is_one_line(shipped, monkeypatch):
    monkeypatch.setattr(course, "PACKAGE", shipped.parent)
    result = invoke("reset", "13")
    assert result.exit_code == 1
    assert result.stderr == "lorakit: There is no lesson '13': choose from 00_start_here, 06_lora.\n"


def answer(address):
    """Status and body; status 0 while nothing listens."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(address, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError:
        return 0, ""


def wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.3)
    return False


@pytest.mark.timeout(240)
def test_a_real_jupyterlab_opens_on_the_map_and_ends_with_us(tmp_path):
    pytest.importorskip("jupyterlab")
    lessons = tmp_path / "lessons"
    lessons.mkdir()
    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (lessons / "00_start_here.ipynb").write_text(json.dumps(notebook))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=secret", "--allow-root"]
    command = [sys.executable, "-m", "lorakit", "lab", "--no-browser", "--folder", str(lessons), "--", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for kind in ("CONFIG", "DATA", "RUNTIME"):  # nothing of this user's own Jupyter
        environment[f"JUPYTER_{kind}_DIR"] = str(tmp_path / kind)
    log = tmp_path / "log.txt"
    with log.open("w") as stream:
        lab = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        address = f"http://127.0.0.1:{port}"
        assert wait_for(lambda: lab.poll() is not None or answer(f"{address}/api")[0] == 200), log.read_text()
        status, page = answer(f"{address}/lab/tree/00_start_here.ipynb?token=secret")
        assert status == 200, log.read_text()
        assert "<title>JupyterLab</title>" in page
        status, listing = answer(f"{address}/api/contents?token=secret")
        assert status == 200
        assert "00_start_here.ipynb" in {entry["path"] for entry in json.loads(listing)["content"]}
        assert f":{port}/lab/tree/course_map.ipynb" in log.read_text()  # the address that a reader clicks
        lab.send_signal(signal.SIGTERM)
        lab.wait(30)
        assert wait_for(lambda: answer(f"{address}/api")[0] == 0, 10), "the server outlived `lorakit lab`"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(lab.pid, signal.SIGKILL)
        lab.wait()


# ------------------------------------------------------------------------------------------------- doctor


def findings(check):
    return {finding.name: finding for finding in check()}


def test_the_doctor_finds_this_machine_fit():
    result = invoke("doctor")
    assert result.exception is None or result.exit_code == 1
    lines = result.stdout.splitlines()
    assert "!!: broken" in lines[0]
    marks = {line[4:20].strip(): line[:2] for line in lines[1:] if line[:2].strip()}
    for name in ("python", *doctor.NEEDED, "device", "CPU", "memory", "4 bits", "AVX512-BF16"):
        assert marks[name] == "ok", f"{name}\n{result.stdout}"
    assert {"GPU", "model cache", "data cache", "disk", *doctor.WANTED} <= set(marks)


def test_a_cure_is_a_line_of_its_own():
    finding = doctor.Finding("!!", "gguf", "not installed", "pip install gguf")
    assert str(finding).split("\n") == [
        "!!  gguf             not installed",
        " " * 21 + "to mend: pip install gguf",
    ]
    assert "\n" not in str(doctor.Finding("ok", "gguf", "0.19"))


def test_one_check_that_fails_stops_no_other(monkeypatch):
    def fails():
        yield doctor.Finding("ok", "half", "seen")
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(doctor, "CHECKS", {"first": fails, "second": doctor.python_and_platform})
    found = [(finding.mark, finding.name, finding.value) for finding in doctor.examine()]
    assert found[:2] == [("ok", "half", "seen"), ("!!", "first", "RuntimeError: two lines")]
    assert found[2][1] == "python"


def test_a_torch_that_does_not_load_is_reported_and_not_raised(tmp_path):
    (tmp_path / "torch.py").write_text("raise OSError('libtorch.so: cannot open shared object file')")
    run = python("-m", "lorakit", "doctor", PYTHONPATH=str(tmp_path))
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    broken = "does not import: OSError: libtorch.so: cannot open shared object file"
    line = next(line for line in run.stdout.splitlines() if line[4:].startswith("torch "))
    assert line.startswith("!!") and line.endswith(broken)
    assert "to mend: pip install --force-reinstall torch\n" in run.stdout
    assert "\nok  memory " in run.stdout  # and the rest goes on
    assert "\nok  gguf " in run.stdout


@pytest.mark.parametrize(("name", "mark"), [("gguf", "!!"), ("jupytext", "--")])
def test_a_missing_package(monkeypatch, name, mark):
    def version(wanted):
        raise doctor.importlib.metadata.PackageNotFoundError(wanted)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    monkeypatch.setattr(doctor, "_specifiers", dict)
    assert doctor.package(name) == doctor.Finding(mark, name, "not installed", f'pip install "{name}"')


def test_versions_are_held_against_what_lorakit_asks_for(monkeypatch):
    asked = ["gguf>=0.10", "peft>=99", 'jupyterlab>=98; extra == "lab"', 'gguf>=98; extra == "lab"']
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _: asked)
    found = findings(doctor.packages)
    assert found["gguf"].mark == "ok"
    assert found["peft"].mark == "!!"
    assert found["peft"].value.endswith(", but lorakit needs >=99")
    assert found["peft"].cure == 'pip install "peft>=99"'
    assert found["jupyterlab"].cure == 'pip install "jupyterlab>=98"'


@pytest.mark.parametrize(
    ("jupyterlab", "ipywidgets", "mark"),
    [("4.2.0", "7.7.1", "!!"), ("4.2.0", "8.0.0", "ok"), ("3.6.8", "7.7.1", "ok"), (None, "7.7.1", None)],
)
def test_widgets_that_this_jupyterlab_does_not_show_are_named(monkeypatch, jupyterlab, ipywidgets, mark):
    versions = {"jupyterlab": jupyterlab, "ipywidgets": ipywidgets}
    monkeypatch.setattr(doctor, "_version", versions.get)
    found = findings(doctor.widgets_in_jupyterlab)
    assert [finding.mark for finding in found.values()] == ([mark] if mark else [])
    if mark == "!!":
        assert found["widgets"].cure == 'pip install "ipywidgets>=8"'


def test_a_nightly_above_the_floor_is_fine(monkeypatch):
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _: ["gguf>=0.10"])
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda _: "0.20.dev1+cpu")
    assert doctor.package("gguf").mark == "ok"


def test_four_bits_are_near_the_float_result_and_not_equal_to_it():
    import torch

    assert 0.05 < doctor.four_bit_error(torch.device("cpu"), torch.float32) < 0.15


@pytest.mark.parametrize("value", [0.0, 1.0, float("nan")])
def test_a_four_bit_layer_that_multiplies_wrongly_is_broken(monkeypatch, value):
    import bitsandbytes
    import torch

    monkeypatch.setattr(bitsandbytes.nn.Linear4bit, "forward", lambda self, x: torch.full((64, 64), value))
    finding = findings(doctor.bitsandbytes_quantises)["4 bits"]
    assert finding.mark == "!!"
    assert finding.cure == "pip install --upgrade --force-reinstall bitsandbytes"


@pytest.mark.parametrize(("has", "says"), [(1, "yes: lorakit switches off"), (0, "no: QLoRA trains")])
def test_the_kind_of_cpu_is_named(monkeypatch, has, says):
    import bitsandbytes

    monkeypatch.setattr(bitsandbytes.functional, "has_avx512bf16", lambda: has)
    assert findings(doctor.bitsandbytes_quantises)["AVX512-BF16"].value.startswith(says)


def test_four_bits_are_tried_where_load_model_would_put_them(monkeypatch):
    import torch

    apple = models.Choice(torch.device("mps"), torch.float32, torch.float32, "")
    monkeypatch.setattr(models, "pick_device", lambda device=None: plain if device == "cpu" else apple)
    plain = models.Choice(torch.device("cpu"), torch.float32, torch.float32, "")
    assert findings(doctor.bitsandbytes_quantises)["4 bits"].value.startswith("a 4-bit layer on cpu is 9.")


def test_a_gpu_is_named_with_its_memory(monkeypatch):
    gpu(monkeypatch, 15 * GIB)
    finding = findings(doctor.gpu)["GPU"]
    assert (finding.mark, finding.value) == ("ok", "Tesla T4, 15.0 GiB, 14.0 GiB free")


def test_a_gpu_that_this_torch_cannot_use(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    finding = findings(doctor.gpu)["GPU"]
    assert finding.mark == "--"
    assert finding.cure.startswith("pip install --force-reinstall torch")


def test_a_containers_limit(tmp_path):
    (tmp_path / "memory.max").write_text("2147483648\n")
    assert doctor._container_limit(tmp_path / "memory.max") == 2 * GIB
    (tmp_path / "memory.max").write_text("max\n")
    assert doctor._container_limit(tmp_path / "memory.max") is None
    assert doctor._container_limit(tmp_path / "absent") is None


def test_an_empty_cache_is_no_fault(monkeypatch, tmp_path):
    monkeypatch.setenv("LORAKIT_CACHE", str(tmp_path / "not" / "made"))
    found = findings(doctor.caches)
    for name, size in {"model cache": "93 MB", "data cache": "2 MB"}.items():
        assert (found[name].mark, found[name].cure) == ("--", "lorakit models --fetch")
        assert found[name].value == f"not there yet: first use fetches {size}"
    assert found["disk"].mark == "ok"
    assert not (tmp_path / "not").exists()


def test_a_full_cache_shows_where_it_is(monkeypatch, tmp_path):
    fill_cache(monkeypatch, tmp_path)
    found = findings(doctor.caches)
    assert (found["model cache"].mark, found["data cache"].mark) == ("ok", "ok")
    assert found["model cache"].value == str(cache.folder(models.MODEL_SOURCE))


def test_no_room_for_what_is_still_to_come(monkeypatch, tmp_path):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(GIB // 4))
    monkeypatch.setenv("LORAKIT_CACHE", str(tmp_path))
    disk = findings(doctor.caches)["disk"]
    assert (disk.mark, disk.cure) == ("!!", "make room, or set LORAKIT_CACHE to a folder on a larger disk")
    fill_cache(monkeypatch, tmp_path)  # all is there: a quarter of a GiB is plenty
    assert findings(doctor.caches)["disk"].mark == "ok"


def test_the_exit_code_is_1_where_something_is_broken_and_only_there(monkeypatch):
    for mark, code in {"!!": 1, "--": 0, "ok": 0}.items():
        monkeypatch.setattr(doctor, "examine", lambda mark=mark: iter([doctor.Finding(mark, "x", "y", "z")]))
        assert invoke("doctor").exit_code == code, mark


# ------------------------------------------------------------------------------------------------- models


def gpu(monkeypatch, total):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (total - GIB, total))
    monkeypatch.setattr("torch.cuda.get_device_name", lambda *_: "Tesla T4")


def fill_cache(monkeypatch, place):
    """Stand-ins that the cache takes for complete."""
    monkeypatch.setenv("LORAKIT_CACHE", str(place))
    for source in (models.MODEL_SOURCE, data.RATED_SOURCE):
        folder = cache.folder(source)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file.bin").write_bytes(bytes(3 * 2**20))
        (folder / cache.MANIFEST).write_text(json.dumps({"file.bin": 3 * 2**20}))


def test_the_default_models_size_is_true():
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        assert LlamaForCausalLM(config).num_parameters() == cli.DEFAULT_PARAMETERS


def test_models_shows_what_is_cached_and_where(monkeypatch, tmp_path):
    monkeypatch.setenv("LORAKIT_CACHE", str(tmp_path))
    place = cache.folder(models.MODEL_SOURCE)
    lines = invoke("models").stdout.splitlines()
    assert lines[0] == "default: SmolLM2-135M-Instruct, 134,515,008 parameters"
    assert lines[1].strip() == f"not cached: `lorakit models --fetch` fetches 93 MB to {place}"
    fill_cache(monkeypatch, tmp_path)
    assert invoke("models").stdout.splitlines()[1].strip() == f"cached, 3.0 MiB in {place}"


def test_fetch_fetches_model_and_data_and_nothing_without_it(monkeypatch, tmp_path):
    monkeypatch.setenv("LORAKIT_CACHE", str(tmp_path))
    fetched = []
    monkeypatch.setattr(models, "fetch_default_model", lambda: fetched.append("model"))
    monkeypatch.setattr(data, "load_reviews", lambda: fetched.append("data"))
    invoke("models")
    assert fetched == []
    assert invoke("models", "--fetch").exit_code == 0
    assert fetched == ["model", "data"]


def larger_models(stdout):
    lines = [line.split() for line in stdout.splitlines() if "/" in line.split(" ")[0] and "-" in line]
    return {name: (parameters, gib, fits) for name, parameters, gib, fits in lines}


def test_larger_models_fit_or_do_not_fit_the_gpu(monkeypatch):
    gpu(monkeypatch, 15 * GIB)
    result = invoke("models")
    table = larger_models(result.stdout)
    assert set(table) == {model.name for model in models.KNOWN_MODELS}
    assert table["HuggingFaceTB/SmolLM2-1.7B-Instruct"] == ("1,711,376,384", "3.19", "yes")
    assert table["Qwen/Qwen2.5-7B-Instruct"] == ("7,615,616,512", "14.19", "no")
    assert "(Tesla T4, 15.0 GiB)" in result.stdout
    assert "LORAKIT_MODEL=HuggingFaceTB/SmolLM2-360M-Instruct" in result.stdout
    gpu(monkeypatch, 29 * GIB)
    assert larger_models(invoke("models").stdout)["Qwen/Qwen2.5-7B-Instruct"][2] == "yes"


def test_without_a_gpu_nothing_is_said_to_fit(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = invoke("models")
    assert {fits for *_, fits in larger_models(result.stdout).values()} == {"?"}
    assert "(no GPU was found)" in result.stdout


# ------------------------------------------------------------------------------------------------- finetune


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """Fine-tunes that are recorded and not run; `runs.stopped` makes them end after step 2."""

    class Runs(list):
        stopped = False

    runs = Runs()

    def load_model(name=None, **options):
        runs.loaded = (name, options)
        return "model", "tokenizer"

    def finetune(config, model, tokenizer, **options):
        runs.append({"config": config, "model": model, "tokenizer": tokenizer, **options})
        losses = [0.75, 0.5] if runs.stopped else [0.75, *[0.5] * (config.steps - 2), 0.25]
        labelled = "label_words" in options["held_out"][0]
        before = Evaluation(400, 0.6543, *((0.828, 0.788, 0.8619) if labelled else ()))
        after = Evaluation(400, 0.3211, *((0.9159, 0.885, 0.9391) if labelled else ()))
        return History(config, before, after, losses, 103.24, 41_296, 3 * GIB // 2, runs.stopped, model, tokenizer)

    words = (" negative", " positive")
    rows = [{"prompt": f"Review: {i}", "completion": words[i % 2], "label_words": words} for i in range(1500)]
    monkeypatch.setattr(lorakit.finetune, "finetune", finetune)
    monkeypatch.setattr(models, "load_model", load_model)
    monkeypatch.setattr(data, "split_reviews", lambda: (rows[:500], rows[500:]))
    monkeypatch.chdir(tmp_path)
    runs.rows = rows
    return runs


def test_without_options_the_defaults_are_trainconfigs_own(runs):
    result = invoke("finetune")
    assert result.exit_code == 0, result.output
    assert runs[0] == {
        "config": TrainConfig(),
        "model": "model",
        "tokenizer": "tokenizer",
        "train": runs.rows[:500],
        "held_out": runs.rows[500:900],
        "output_dir": Path("runs/lora"),
        "checkpoint_every": 20,
        "resume": False,
    }
    assert runs.loaded == (None, {"quant_type": None, "double_quant": True})


def test_every_option_arrives(runs, tmp_path):
    given = {
        "method": "qlora",
        "r": 4,
        "lora_alpha": 12.5,
        "lora_dropout": 0.1,
        "quant_type": "fp4",
        "steps": 7,
        "micro_batch_size": 2,
        "gradient_accumulation_steps": 3,
        "learning_rate": 0.02,
        "seed": 5,
    }
    options = [part for name, value in given.items() for part in ("--" + name.replace("_", "-"), value)]
    options += ["--target-modules", "k_proj, o_proj", "--no-double-quant", "--gradient-checkpointing"]
    options += ["--model", "some/model", "--output", tmp_path / "here", "--checkpoint-every", 3, "--eval-rows", 10]
    result = invoke("finetune", *options, "--resume")
    assert result.exit_code == 0, result.output
    modules = ("k_proj", "o_proj")
    config = TrainConfig(**given, target_modules=modules, double_quant=False, gradient_checkpointing=True)
    assert runs[0]["config"] == config
    assert runs[0]["output_dir"] == tmp_path / "here"
    assert (runs[0]["checkpoint_every"], runs[0]["resume"]) == (3, True)
    assert runs[0]["held_out"] == runs.rows[500:510]
    assert runs.loaded == ("some/model", {"quant_type": "fp4", "double_quant": False})


def test_qlora_has_its_own_folder_and_its_quant_type(runs):
    invoke("finetune", "--method", "qlora")
    assert runs[0]["output_dir"] == Path("runs/qlora")
    assert runs.loaded == (None, {"quant_type": "nf4", "double_quant": True})


def test_the_report(runs):
    lines = invoke("finetune").stdout.splitlines()
    assert lines == [
        f"500 rows to train on, {TrainConfig().rows_per_step} a step; 400 to measure on",
        "method           lora, r = 8, lora_alpha = 16, on q_proj, v_proj",
        "accuracy before  82.8% (95 % interval 78.8% to 86.2%, 400 rows)",
        "accuracy after   91.6% (95 % interval 88.5% to 93.9%, 400 rows)",
        "held-out loss    0.654 before, 0.321 after, nats a token",
        "training loss    0.750 first, 0.250 last, nats a token",
        "speed            400 tokens/s",
        f"time             103.2 s of training, {TrainConfig.steps} steps",
        "peak memory      1.50 GiB",
        f"adapter          {Path('runs/lora')}",
    ]
    assert "method           qlora (nf4), r = 8" in invoke("finetune", "--method", "qlora").stdout


def test_ctrl_c_during_training_is_one_line_after_the_report(runs):
    runs.stopped = True
    result = invoke("finetune")
    assert result.exit_code == 130
    stopped = [line for line in result.stdout.splitlines() if "stopped" in line]
    assert stopped == [f"stopped after step 2 of {TrainConfig.steps}: the same command with `--resume` goes on."]
    assert "training loss    0.750 first, 0.500 last" in result.stdout
    assert result.stdout.endswith(stopped[0] + "\n")


def test_own_rows_are_split_and_none_is_lost(runs, tmp_path):
    rows = [{"prompt": f"p{i}", "completion": f" c{i}"} for i in range(20)]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    result = invoke("finetune", "--rows", file)
    assert result.exit_code == 0, result.output
    train, held_out = runs[0]["train"], runs[0]["held_out"]
    assert (len(train), len(held_out)) == (16, 4)
    assert sorted(train + held_out, key=rows.index) == rows
    assert held_out not in (rows[:4], rows[-4:])  # shuffled, since files come sorted
    assert "accuracy" not in result.stdout  # free text has none
    assert "held-out loss    0.654 before, 0.321 after" in result.stdout
    invoke("finetune", "--rows", file, "--eval-rows", 3)
    assert runs[1]["held_out"] == held_out[:3]  # the same rows again: a resumed run trains on the same ones


def test_too_few_rows_of_ones_own(runs, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "a", "completion": " b"}\n' * 4)
    result = invoke("finetune", "--rows", file)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"lorakit: '{file}' has 4 rows: give at least 5")
    assert runs == []


@pytest.mark.parametrize(
    ("file", "options", "says"),
    [
        ("adapter_config.json", [], "holds a finished adapter, which is never overwritten: name another folder"),
        ("adapter_config.json", ["--resume"], "holds a finished adapter"),
        ("adapter_model.safetensors", [], "holds a finished adapter"),
        (
            "checkpoint.pt",
            [],
            "holds an unfinished run: go on with `--resume`, or name another folder with `--output`.",
        ),
    ],
)
def test_a_folder_in_use_is_refused_before_anything_is_loaded(runs, file, options, says):
    folder = Path("runs/lora")
    folder.mkdir(parents=True)
    (folder / file).write_text("precious")
    result = invoke("finetune", *options)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"lorakit: '{folder}' {says}")
    assert result.stderr.count("\n") == 1
    assert runs == [] and not hasattr(runs, "loaded")
    assert (folder / file).read_text() == "precious"
    assert invoke("finetune", "--output", "other", *options).exit_code == 0


def test_an_unfinished_run_is_resumed(runs):
    folder = Path("runs/lora")
    folder.mkdir(parents=True)
    for file in ("adapter_config.json", "checkpoint.pt"):  # as a stopped run leaves them
        (folder / file).write_text("")
    assert invoke("finetune", "--resume").exit_code == 0
    assert runs[0]["resume"] is True


# ------------------------------------------------------------------------------------------------- memory


def memory(*arguments):
    result = invoke("memory", *arguments)
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 100
    return result.stdout


def block(stdout, first):
    """The lines of the block that begins with `first`."""
    return next(each.splitlines() for each in stdout.split("\n\n") if each.startswith(first))


def rows_of(lines, numbers):
    """{label: numbers} of the lines of a table that end in so many numbers."""
    parts = [line.rsplit(maxsplit=numbers) for line in lines[1:]]
    return {label.strip(): [float(each.rstrip("%")) for each in rest] for label, *rest in parts}


@pytest.mark.parametrize(
    ("arguments", "name", "plan", "line"),
    [
        (
            ["TinyLlama-1.1B", "--method", "qlora", "--r", 16, "--seq-len", 2048],
            "TinyLlama-1.1B",
            TrainingPlan(method="qlora", r=16, seq_len=2048),
            "TinyLlama-1.1B: qlora (nf4, double quant), r = 16 on q, v · bf16 · 4 x 2,048 tokens · adamw",
        ),
        (
            ["llama-2-7b", "--method", "full", "--gradient-checkpointing", "--optimizer", "paged_adamw_8bit"],
            "Llama-2-7B",
            TrainingPlan(method="full", gradient_checkpointing=True, optimizer="paged_adamw_8bit"),
            "Llama-2-7B: full · bf16 · 4 x 512 tokens · paged_adamw_8bit · checkpointing",
        ),
        (
            ["gemma-2-2b", "--adapter-dtype", "bf16", "--keep-outputs", "--optimizer", "none"],
            "gemma-2-2b",
            TrainingPlan(adapter_dtype="bf16", keep_outputs=True, optimizer="none"),
            "gemma-2-2b: lora, r = 8 on q, v · bf16 · 4 x 512 tokens · no optimizer · adapters bf16 · outputs kept",
        ),
    ],
)
def test_the_memory_of_three_models(arguments, name, plan, line):
    stdout = memory(*arguments)
    estimate = estimate_memory(preset(name), plan)
    assert " ".join(stdout.split("\n\n")[0].split()) == line

    lines = block(stdout, f"peak: {estimate.peak.name} ")
    table = rows_of(lines[: len(fields(Moment))], 2)
    components = [size for component, size in vars(estimate.peak).items() if component != "name"]
    for (gib, share), size in zip(table.values(), components, strict=True):
        assert gib == pytest.approx(size / GIB, abs=0.00051)
        assert share == pytest.approx(100 * size / estimate.allocated_bytes, abs=0.05)
    totals = {
        "allocated by torch": estimate.allocated_bytes,
        "reserved by its allocator, about": estimate.reserved_bytes,
        "shown by the card, about": estimate.card_bytes,
    }
    for line, (label, size) in zip(lines[len(fields(Moment)) :], totals.items(), strict=False):
        assert line.split(label)[1].split() == [f"{size / GIB:.3f}"]
    paged = [line for line in lines if line.startswith("paged: in the memory of the host")]
    assert [float(line.split()[-1]) for line in paged] == [round(estimate.paged_bytes / GIB, 3)] * bool(paged)
    assert bool(paged) == (plan.optimizer == "paged_adamw_8bit")

    others = rows_of(block(stdout, "the other moments"), 1)
    assert {estimate.peak.name, *others} == {moment.name for moment in estimate.moments}
    for moment in estimate.moments:
        if moment is not estimate.peak:
            assert others[moment.name] == [round(moment.total_bytes / GIB, 3)]


def test_the_cards_with_room_left_and_what_makes_it_fit_where_there_is_none():
    config, plan = preset("Llama-2-7B"), TrainingPlan(method="full")
    stdout = memory("Llama-2-7B", "--method", "full")
    lines = block(stdout, "card ")
    for line, card in zip(lines[1:], CARDS, strict=False):
        estimate = estimate_on(config, plan, card)
        room = room_bytes(estimate, card)
        numbers = f"{card.memory_bytes / GIB:.2f} {needed_bytes(estimate) / GIB:.2f} {room / GIB:.2f}"
        fits = "yes" if room >= 0 else "with " + " ".join(smallest_changes(config, plan, card)[0].options)
        assert " ".join(line.split()) == f"{card.name} {numbers} {fits}"
    assert lines[len(CARDS) + 1 :] == [
        "The driver keeps some of a card: 97 % of it can be filled.",
        "A T4 has no bf16 of its own and computes in fp16, which takes no more bytes.",
    ]
    assert "bf16 of its own" not in memory("Llama-2-7B", "--dtype", "fp16")


def proposals_in(lines):
    """{options: (GiB needed, prices)} of an advice."""
    found = {}
    for line in lines[1:]:
        if " GiB  --" in line:
            needed, options = line.split(" GiB  ")
            prices = []
            found[options] = (float(needed), prices)
        elif line.startswith(" " * 14 + "- "):
            prices.append(line.strip().removeprefix("- "))
        elif line.startswith(" " * 16):
            prices[-1] += " " + line.strip()
    return found


def test_the_advice_is_for_the_first_card_that_is_too_small_or_for_the_one_that_is_asked_for():
    config, plan = preset("Llama-2-7B"), TrainingPlan()
    for asked, card in {"": "T4", "rtx-3060": "RTX 3060", "4060 ti 16gb": "RTX 4060 Ti 16GB"}.items():
        lines = memory("Llama-2-7B", *(["--card", asked] if asked else [])).split("\n\n")[-1].splitlines()
        expected = smallest_changes(config, plan, find_card(card))
        number = len(expected[0].options)
        how = "one change is enough" if number == 1 else f"it takes {number} changes"
        assert lines[0].startswith(f"To fit the {card}, {how}. Cheapest first")
        assert proposals_in(lines) == {
            " ".join(each.options): (round(each.needed_bytes / GIB, 2), list(each.prices))
            for each in expected[: report.SHOWN]
        }


def test_what_is_too_much_to_show_is_counted():
    config, plan = preset("gemma-2-2b"), TrainingPlan(method="full", seq_len=1024)
    for card, counted in {"RTX 3060": False, "RTX 4090": True, "L4": True}.items():
        number = len(smallest_changes(config, plan, find_card(card)))
        assert (number > report.SHOWN) == counted
        lines = memory("gemma-2-2b", "--method", "full", "--seq-len", 1024, "--card", card).splitlines()
        assert sum(" GiB  --" in line for line in lines) == min(number, report.SHOWN)
        dearer = [line for line in lines if "dearer" in line]
        assert dearer == [f"  and {number - report.SHOWN} more, dearer"] * counted


def test_a_card_that_is_large_enough_gets_no_advice():
    assert "To fit" not in memory("SmolLM2-135M")
    assert "To fit" in memory("Llama-2-7B")
    assert "To fit" not in memory("Llama-2-7B", "--card", "H100")


def test_no_change_helps_and_the_command_says_so():
    stdout = memory("Llama-3-70B", "--method", "qlora", "--card", "L4")
    assert stdout.endswith("To fit the L4, nothing that can be changed here is enough.\n")
    assert [line.split("  ")[-1] for line in stdout.splitlines() if line.startswith("  L4 ")] == [
        "no, and no change helps"
    ]


def test_the_peak_is_that_of_the_card_which_is_asked_for():
    for card, kernel in {"T4": "math kernel, which keeps its", "L4": "flash kernel, which keeps no"}.items():
        stdout = memory("SmolLM2-135M", "--card", card)
        needed = estimate_on(preset("SmolLM2-135M"), TrainingPlan(), find_card(card)).allocated_bytes
        assert f"Attention runs on the {kernel} T x T scores." in stdout
        allocated = next(line for line in stdout.splitlines() if line.startswith("allocated by torch"))
        assert float(allocated.split()[-1]) == round(needed / GIB, 3)


def test_the_memory_command_shows_what_was_published():
    stdout = invoke("memory", "--published").stdout
    assert "LITRT11" in stdout and "torchtune" in stdout
    assert "mean absolute error" in stdout


def test_without_a_gpu_the_memory_command_measures_nothing(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refused = invoke("memory", "--measure")
    assert refused.exit_code == 1
    assert "nothing can be measured: the records that are there stay" in refused.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["Llama-3-8B", "--output", "plan.json"], "`--output plan.json` names the record of `--measure`"),
        (["Llama-3-8B", "--measure"], "stand alone, with no model and no plan"),
        (["--published", "--r", "64"], "stand alone, with no model and no plan"),
        (["--published", "--measure"], "stand alone, with no model and no plan"),
    ],
)
def test_what_the_memory_command_would_leave_unused_is_refused(arguments, said):
    refused = invoke("memory", *arguments)
    assert refused.exit_code == 1
    assert said in " ".join(refused.output.split())


def test_a_card_that_lacks_the_attention_is_told_apart_from_one_that_is_too_small():
    stdout = memory("Llama-2-7B", "--attention", "flash")
    assert "no: it has no 'flash' attention" in next(line for line in stdout.splitlines() if line.startswith("  T4"))
    assert "To fit the RTX 3060, " in stdout


def test_every_option_of_the_memory_command_arrives(monkeypatch):
    given = {
        "method": "qlora",
        "dtype": "fp16",
        "quant_type": "fp4",
        "r": 3,
        "adapter_dtype": "bf16",
        "micro_batch_size": 5,
        "seq_len": 77,
        "optimizer": "sgd",
        "attention": "eager",
    }
    options = [part for name, value in given.items() for part in ("--" + name.replace("_", "-"), value)]
    options += ["--target-modules", "k_proj, o_proj", "--no-double-quant", "--gradient-checkpointing", "--keep-outputs"]
    plans = []
    monkeypatch.setattr(report, "_described", lambda plan: plans.append(plan) or "")
    memory("SmolLM2-135M", *options)
    switches = {"double_quant": False, "gradient_checkpointing": True, "keep_outputs": True}
    expected = TrainingPlan(**given, **switches, target_modules=("k_proj", "o_proj"))
    assert plans == [expected]
    assert all(getattr(expected, field.name) != getattr(TrainingPlan(), field.name) for field in fields(TrainingPlan))
    memory("SmolLM2-135M")
    assert plans[1] == TrainingPlan()


def test_a_model_in_a_folder_and_the_one_that_is_set(monkeypatch, tiny_folder):
    name = Path(tiny_folder).name
    assert memory(tiny_folder).startswith(f"{name}: lora, r = 8 on q, v · ")
    monkeypatch.setenv("LORAKIT_MODEL", tiny_folder)
    assert memory() == memory(tiny_folder)
    monkeypatch.delenv("LORAKIT_MODEL")
    course, shape = memory(), memory("SmolLM2-135M")
    assert course.startswith("SmolLM2-135M-Instruct: ")
    assert course.split("\n\n")[1:] == shape.split("\n\n")[1:]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--target-modules", "q_proj,c_attn"], "target module 'c_attn' is not in this model: its linear layers are"),
        (["--r", 577], "r is 577, above the smaller side of 'q_proj' (576 x 576)"),
        (["--seq-len", -1], "seq_len is -1: it is a whole number of at least 1."),
        (["--method", "dora"], "method 'dora' is unknown: use one of full, lora, qlora."),
        (["--method", "full", "--r", 8], "method 'full' has no adapters, but r is 8"),
        (["--card", "V100"], "card 'V100' is unknown: use one of T4, RTX 3060,"),
        (["--card", "T4", "--attention", "flash"], "attention 'flash' takes 16-bit q, k and v"),
    ],
)
def test_a_plan_that_cannot_be_is_one_line(arguments, says):
    result = invoke("memory", "SmolLM2-135M", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"lorakit: {says}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "gpt2"}, "model type 'gpt2' is not covered: the estimate knows llama, mistral, qwen2, gemma2"),
        ({"model_type": "none_such"}, "the config of model '{folder}' could not be read ("),
    ],
)
def test_a_model_type_that_is_not_covered_is_one_line(tmp_path, config, says):
    (tmp_path / "config.json").write_text(json.dumps(config))
    result = invoke("memory", tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("lorakit: " + says.format(folder=tmp_path))
    assert result.stderr.count("\n") == 1


def test_a_model_that_is_not_there_is_one_line_with_those_that_are_known(tmp_path):
    result = invoke("memory", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"lorakit: folder '{tmp_path}' holds no model")
    assert result.stderr.endswith(f" These are known without a hub: {', '.join(PRESETS)}.\n")
    assert result.stderr.count("\n") == 1
