"""How far the learner is, kept between sittings: a small file for each exercise in the user's data folder."""

import contextlib
import os
import re
import shutil
from pathlib import Path

import platformdirs


def progress_folder() -> Path:
    """Where progress is kept: below `LORAKIT_DATA`, or below the user's data folder of this system."""
    return Path(os.environ.get("LORAKIT_DATA") or platformdirs.user_data_dir("lorakit")).expanduser() / "progress"


def record_progress(exercise: str, outcome: str) -> None:
    """Keep the outcome ("correct", "incorrect") of an exercise; one that was once correct stays so."""
    file = progress_folder() / exercise
    with contextlib.suppress(OSError):  # a full or read-only disk must not turn a right answer into an error
        if read_progress().get(exercise) != "correct":
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(outcome)


def read_progress() -> dict[str, str]:
    """The outcome of each exercise that was tried, by its number."""
    try:
        files = [file for file in sorted(progress_folder().iterdir()) if re.fullmatch(r"\d+\.\d+", file.name)]
        return {file.name: file.read_text(encoding="utf-8", errors="replace") for file in files}
    except OSError:
        return {}


def forget_progress() -> None:
    """Delete what is kept of the learner's progress."""
    shutil.rmtree(progress_folder(), ignore_errors=True)
