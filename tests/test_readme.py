"""The README's promises that a test can hold: its two commands, and what CI makes of them."""

import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

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


def test_ci_runs_the_floor():
    assert ".ci/floor" in (ROOT / ".ci" / "run").read_text().splitlines()
    assert (ROOT / ".ci" / "floor").stat().st_mode & 0o111


def test_its_links_lead_somewhere():
    paths = [path for path in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in path]
    assert len(paths) >= 4
    assert [path for path in paths if not (ROOT / path).exists()] == []
