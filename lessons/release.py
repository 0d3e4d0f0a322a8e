"""Put a copy of the course without its solutions into a folder, to hand to a class. Used by `build.py --release`."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lorakit.course import MAP_PICTURE, TERMS
from lorakit.errors import LorakitError

README = """\
lorakit: a course on LoRA and QLoRA that you run.

You need Python 3.10 to 3.13 and the network, on Linux or macOS. In this folder, run

python3 -m venv .venv && .venv/bin/pip install --no-deps -r cpu.txt && .venv/bin/pip install -c constraints.txt "./{wheel}[lab]" && .venv/bin/lorakit lab

It installs the course, copies the lessons to the folder `lorakit-lessons`, and opens them. Later,
`.venv/bin/lorakit lab` opens them again. `.venv/bin/lorakit reset 07` gives you a fresh lesson 07, and keeps yours.

With an NVIDIA GPU, leave out `.venv/bin/pip install --no-deps -r cpu.txt &&`. On Windows, write `py` for `python3`, and
`.venv\\Scripts\\` for `.venv/bin/`. Something wrong? `.venv/bin/lorakit doctor` names what mends it.
"""  # noqa: E501  (one command is one line)


def release(root: Path, folder: Path, notebooks: dict[str, str]) -> str:
    """Put a wheel without solutions, the tested versions and a README.txt into `folder`; says so in one line.

    Args:
        notebooks: text of each learner's notebook, by file name.

    Raises:
        LorakitError: there is something in `folder` already, it cannot be made, or pip could not build the wheel.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LorakitError(f"The folder '{folder}' could not be made ({error.strerror}): name another one.") from error
    if any(folder.iterdir()):
        raise LorakitError(f"The folder '{folder}' is not empty, and nothing is overwritten: name another one.")
    with tempfile.TemporaryDirectory() as workshop:
        tree, made = Path(workshop) / "tree", Path(workshop) / "made"
        copy_tree(root, tree, notebooks)
        made.mkdir()
        wheel = build_wheel(tree, made)
        for name in ("constraints.txt", "cpu.txt"):
            shutil.copy(root / "binder" / name, made)
        (made / "README.txt").write_text(README.format(wheel=wheel), encoding="utf-8")
        shutil.copytree(made, folder, dirs_exist_ok=True)  # last, so that a release is whole or empty
    return f"{folder}: {wheel} without solutions, and a README.txt that says how to start."


def copy_tree(root: Path, tree: Path, notebooks: dict[str, str]) -> None:
    """Copy what a wheel is built from: named one by one, so that no answer comes along."""
    for name in ("lorakit", "widgets"):
        shutil.copytree(root / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, tree)
    (tree / "lessons").mkdir()
    for name in (MAP_PICTURE, TERMS):
        shutil.copy(root / "lessons" / name, tree / "lessons")
    for name, text in notebooks.items():
        (tree / "lessons" / name).write_bytes(text.encode())


def build_wheel(tree: Path, folder: Path) -> str:
    """Build the wheel of `tree` into `folder`; returns its file name."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--disable-pip-version-check", "-q"]
    done = subprocess.run([*command, "-w", str(folder), str(tree)], capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise LorakitError(f"pip could not build the wheel (it said: {said}): check the network, and try again.")
    (wheel,) = folder.glob("*.whl")
    return wheel.name
