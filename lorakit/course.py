"""Where the lessons' notebooks are, in a clone and in an installed package, and how a learner gets a fresh one."""

import contextlib
import itertools
import re
from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorakit.errors import LorakitError
from lorakit.housekeeping import write_whole

if TYPE_CHECKING:
    from nbformat import NotebookNode

PACKAGE = Path(__file__).parent
COPIED_TO = Path("lorakit-lessons")
"""Where an installed package copies the lessons to, for the learner to work in."""
MAP_PAGE = "course_map.ipynb"
"""The page that `lorakit lab` writes and opens at, in the folder of lessons."""
MAP_PICTURE = "course_map.svg"
"""The picture of the course, in the same folder."""
TERMS = "terms.md"
"""The index of terms, in the same folder."""
KEPT = re.compile(r"-\d{4}-\d\d-\d\d-\d{6}(-\d+)?$")
"""How the name of a notebook that `reset_lesson` kept ends."""


def clone_lessons() -> Path | None:
    """The folder `lessons` of the clone that this package is in; None where it is installed from a wheel."""
    lessons = PACKAGE.parent / "lessons"
    return lessons if (lessons / "source").is_dir() else None


def shipped_lessons() -> Path:
    """The folder of notebooks that came with this package, with `solutions` in it unless they were left out."""
    return clone_lessons() or PACKAGE / "lessons"


def lesson_names(folder: Path | None = None) -> list[str]:
    """The lessons that have a notebook in a folder, the shipped one if none is given.

    A notebook that was kept or copied has a `-` in its name, and does not count.
    """
    notebooks = (folder or shipped_lessons()).glob("*.ipynb")
    return sorted(path.stem for path in notebooks if re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem))


def find_lesson(name: str, shipped: Path | None = None) -> str:
    """The full name of a lesson: `7`, `07` and `07_lora_finetune` all give `07_lora_finetune`.

    Raises:
        LorakitError: there is no such lesson.
    """
    lessons = lesson_names(shipped)
    for lesson in lessons:
        if name == lesson or (name.isdecimal() and int(name) == int(lesson[:2])):
            return lesson
    raise LorakitError(f"There is no lesson {name!r}: choose from {', '.join(lessons)}.")


def solved_notebook(lesson: str, shipped: Path | None = None) -> Path:
    """The solved notebook of a lesson.

    Raises:
        LorakitError: there is no such lesson, or this copy of the course came without solutions.
    """
    shipped = shipped or shipped_lessons()
    path = shipped / "solutions" / f"{find_lesson(lesson, shipped)}.ipynb"
    if not path.exists():
        raise LorakitError(f"This copy of the course has no solutions (no '{path}'): ask whoever gave it to you.")
    return path


def find_notebook(name: str) -> tuple[Path, str]:
    """The learner's notebook that `7`, `07`, `07_lora_finetune` or a path stands for, and its lesson.

    Raises:
        LorakitError: there is no such lesson, or no folder of lessons.
    """
    path = Path(name)
    # A bare file name that is not in this folder means the lesson, wherever its notebook is.
    if path.suffix == ".ipynb" and (path.exists() or path.parent != Path()):
        return path, lesson_of(path)
    lesson = find_lesson(str(path).removesuffix(".ipynb"))
    return notebook_place(lesson), lesson


def lesson_of(path: Path) -> str:
    """The lesson of a notebook: what its metadata say, or else its exercises, or else its name.

    Raises:
        LorakitError: none of them names a lesson.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")  # as text: a notebook that is broken still tells
    except OSError:
        text = ""
    said = re.findall(r'"lesson":\s*"(\w+)"', text) + re.findall(r'"exercise":\s*"(\d+)\.', text)
    said += re.findall(r'"id":\s*"ex-(\d+)-', text)
    said += [lesson for lesson in lesson_names() if lesson in path.stem]
    said += re.findall(r"(?<!\d)\d\d(?=_|$)", path.stem)
    for name in said:
        with contextlib.suppress(LorakitError):
            return find_lesson(name)
    raise LorakitError(f"Nothing says which lesson '{path}' is of: put the lesson's name into that of the file.")


def notebook_place(lesson: str) -> Path:
    """Where the learner's notebook of a lesson is, or belongs if it is gone.

    That is in this folder, in the one that `lab` made here, or in the clone: where it is, or else where lessons are.

    Raises:
        LorakitError: there is no such lesson, or no lesson at all in these.
    """
    name = f"{find_lesson(lesson)}.ipynb"
    # Without a clone of its own, the package may still be used inside one: Binder does so.
    places = [Path(), COPIED_TO, clone_lessons() or Path("lessons")]
    having = [folder for folder in places if (folder / name).exists()]
    having += [folder for folder in places if lesson_names(folder)]
    if not having:
        searched = ", ".join(f"'{folder}'" for folder in places)
        raise LorakitError(f"There is no lesson in {searched}: go to the folder of yours, or give the notebook's path.")
    return having[0] / name


def learner_notebook(lesson: str) -> Path:
    """The learner's notebook of a lesson.

    Raises:
        LorakitError: there is no such lesson, or it is not where `notebook_place` looks.
    """
    path = notebook_place(lesson)
    if not path.exists():
        raise LorakitError(f"There is no '{path}': give its path, or get a fresh one with `lorakit reset {lesson}`.")
    return path


def about_cell(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    """The course's own metadata of a cell or of a notebook; empty where it has none, or something else in its place."""
    metadata = cell.get("metadata")
    about = metadata.get("lorakit") if isinstance(metadata, Mapping) else None
    return about if isinstance(about, Mapping) else {}


def cell_id(kind: str, exercise: str) -> str:
    """The id of an exercise's cell: `ex-7-1` (kind "ex") holds the answer, `check-7-1` (kind "check") checks it."""
    return f"{kind}-{exercise.replace('.', '-')}"


def load_notebook(path: Path) -> "NotebookNode":
    """Read a notebook that the course itself wrote."""
    import nbformat

    return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)


def fresh_notebook(solved: "NotebookNode") -> "NotebookNode":
    """A lesson as the learner first sees it, made from the solved one: a stub for each solution, and no outputs."""
    fresh = deepcopy(solved)
    fresh.metadata.get("lorakit", {}).pop("executed", None)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.source = cell.metadata.get("lorakit", {}).pop("stub", cell.source)
            cell.outputs, cell.execution_count = [], None
    return fresh


def notebook_text(notebook: "NotebookNode") -> str:
    """The text of a notebook's file: the same notebook always gives the same text."""
    import nbformat

    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def copy_lessons(shipped: Path, folder: Path) -> str:
    """Copy what of the lessons is not in `folder` yet, never over a file; say in one line what was done."""
    files = [shipped / part / f"{name}.ipynb" for part in ("", "solutions") for name in lesson_names(shipped / part)]
    files += [shipped / name for name in (MAP_PICTURE, TERMS)]
    copied, way_out = 0, "choose another place with `--folder`"
    for file in files:
        target = folder / file.relative_to(shipped)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LorakitError(f"folder '{target.parent}' cannot be made ({error.strerror}): {way_out}.") from error
        if target.exists() or target.is_symlink():
            continue
        write_whole(target, lambda half, file=file: half.write_bytes(file.read_bytes()), way_out)
        copied += 1
    return f"{folder}: {copied} files copied, {len(files) - copied} that were there already kept as they are."


def fresh_bytes(lesson: str) -> bytes:
    """The file of a lesson's notebook as the learner first got it.

    Raises:
        LorakitError: there is no such lesson, or a clone without its solution.
    """
    if clone_lessons():  # there the shipped notebook is the very one that the learner works in
        return notebook_text(fresh_notebook(load_notebook(solved_notebook(lesson)))).encode()
    return (shipped_lessons() / f"{find_lesson(lesson)}.ipynb").read_bytes()


def reset_lesson(path: Path, lesson: str) -> Path | None:
    """Put a fresh notebook at `path`; returns the dated name under which the old one is kept, None if there was none.

    Raises:
        LorakitError: there is no such lesson, `path` is a solved notebook, or its folder cannot be written.
    """
    if path.absolute().parent.name == "solutions":
        raise LorakitError(f"'{path}' is a solved notebook, which is not for filling in: give the path of yours.")
    fresh, kept = fresh_bytes(lesson), []

    def write(half: Path) -> None:
        half.write_bytes(fresh)
        if path.exists():  # the old one is copied and not moved: whenever this is killed, a whole notebook is at `path`
            kept.append(keep_copy(path))

    write_whole(path, write, "its folder must be there, writable, and not full")
    return kept[0] if kept else None


def keep_copy(path: Path) -> Path:
    """Copy a notebook to a dated name that no file has yet; returns that."""
    old, dated = path.read_bytes(), f"{path.stem}-{datetime.now():%Y-%m-%d-%H%M%S}"
    for end in itertools.chain([""], (f"-{number}" for number in itertools.count(2))):
        kept = path.with_name(f"{dated}{end}.ipynb")
        with contextlib.suppress(FileExistsError), kept.open("xb") as copy:  # x: never over a file
            copy.write(old)
            return kept
