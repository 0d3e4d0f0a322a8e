"""The README's promises that a test can hold: its two commands, and what CI makes of them."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import lorakit

tomllib = pytest.importorskip("tomllib", reason="tomllib came with Python 3.11")

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def command(name):
    return re.search(rf"<!-- {name} command -->\n```bash\n(.+)\n```", README)[1]


@pytest.mark.parametrize(("name", "extra", "last"), [("start", "lab", "lorakit lab"), ("test", "dev", "pytest -n 2")])
def test_each_set_up_is_one_command_with_the_tested_versions(name, extra, last):
    steps = [step.replace(".venv/bin/", "") for step in command(name).split(" && ")]
    assert steps == [
        "python3 -m venv .venv",
        "pip install --no-deps -r binder/cpu.txt",
        f'pip install -c binder/constraints.txt -e ".[{extra}]"',
        last,
    ]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert extra in project["optional-dependencies"]
    assert set(project["scripts"]) == {"lorakit"}


def test_ci_runs_the_readmes_own_test_command():
    script = (ROOT / ".ci" / "run").read_text()
    assert 'bash -euo pipefail -c "$test_command"' in script
    extract = re.search(r"test_command=\$\((.+)\)\n", script)[1]
    found = subprocess.run(["bash", "-c", extract], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert found == command("test")


def test_every_direct_dependency_has_a_tested_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = {line.split("==")[0].lower() for line in (ROOT / "binder" / "constraints.txt").read_text().splitlines()}
    needed = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    names = {re.match(r"[\w-]+", requirement)[0].lower() for requirement in needed} - {"lorakit"}
    assert names - pins == set()


def test_the_floors_are_the_versions_that_the_floor_run_holds():
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    floors = {each.name: only.version for each in map(Requirement, requirements) for only in each.specifier}
    lines = (ROOT / "binder" / "floor.txt").read_text().splitlines()
    held = dict(line.split("==") for line in lines if not line.startswith("#"))
    shared = held.keys() & floors.keys()
    assert shared >= {"anywidget", "ipywidgets", "peft", "plotly", "transformers", "typer"}
    assert {name: Version(held[name]) for name in shared} == {name: Version(floors[name]) for name in shared}


def test_the_release_run_on_the_floor_shows_widgets_with_the_oldest_that_the_lab_asks_for():
    (asked,) = [
        Requirement(each)
        for each in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["lab"]
        if each.startswith("ipywidgets")
    ]
    (held,) = re.findall(r"ipywidgets==(\d[\d.]*)", (ROOT / ".ci" / "release").read_text())
    assert [Version(held)] == [Version(each.version) for each in asked.specifier]


def test_ci_runs_the_floor():
    assert ".ci/floor" in (ROOT / ".ci" / "run").read_text().splitlines()
    assert (ROOT / ".ci" / "floor").stat().st_mode & 0o111


def table(column):
    """The last two columns of the table of lessons by lesson: 2 for the reader's time, 1 for the machine's."""
    rows = re.findall(r"^\| \[.+?\]\(lessons/solutions/(\w+)\.ipynb\) (\|.+)$", README, re.M)
    return {lesson: cells.split(" | ")[-column].removesuffix(" |") for lesson, cells in rows}


def test_the_readers_time_is_what_each_lesson_says():
    sources = sorted((ROOT / "lessons" / "source").glob("*.py"))
    said = {source.stem: re.search(r"^# \*About (\d+ min)utes", source.read_text(), re.M)[1] for source in sources}
    assert table(2) == said
    hours = sum(int(time.split()[0]) for time in said.values()) / 60
    assert f"plan {hours:.0f} hours" in README


def test_the_machines_times_and_peaks_are_those_of_the_recorded_run():
    record = json.loads((ROOT / "tests" / "bench" / "records" / "release.json").read_text())
    seconds = {each["lesson"]: each["seconds"] for each in record["notebooks"] if each["kind"] == "solved"}
    words = {lesson: f"{took:.0f} s" if took < 60 else f"{took / 60:.1f} min" for lesson, took in seconds.items()}
    assert table(1) == words
    assert f"The machine takes {sum(seconds.values()) / 60:.1f} min for all of them" in README
    peaks = {each["lesson"]: each["peak_gib"] for each in record["notebooks"] if each["kind"] == "solved"}
    said = re.search(r"they\s+peak\s+at\s+([\d.]+) to ([\d.]+) GiB, lesson (\d\d) highest", README).groups()
    assert said == (f"{min(peaks.values()):.2f}", f"{max(peaks.values()):.2f}", max(peaks, key=peaks.get)[:2])


def test_the_release_to_cite_is_this_one():
    assert f"\nversion: {lorakit.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_its_links_lead_somewhere():
    paths = [path for path in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in path]
    assert len(paths) >= 4
    assert [path for path in paths if not (ROOT / path).exists()] == []
