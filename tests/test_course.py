"""Where notebooks are, how they are copied and reset: whatever happens, nothing of a learner's is lost."""

import errno
import os
import subprocess
from datetime import datetime
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from lorakit import LorakitError, course

ROOT = Path(course.__file__).parents[1]
NOW = "2026-11-24-081500"


def tree(folder):
    """Text of every file, by its path."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Lessons as they lie in an installed package; the learner stands in an empty folder beside it."""
    lessons = tmp_path / "site-packages" / "lorakit" / "lessons"
    notebooks = ("00_start_here.ipynb", "06_lora.ipynb", "solutions/06_lora.ipynb")
    for name in (*notebooks, "course_map.svg", "terms.md", "source/06_lora.py", "build.py"):
        (lessons / name).parent.mkdir(parents=True, exist_ok=True)
        (lessons / name).write_text(f"new {name}")
    monkeypatch.setattr(course, "PACKAGE", lessons.parent)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return lessons


def notebook(source, **metadata):
    """The text of a notebook of one cell."""
    cell = new_code_cell(source, id="ex-6-1", metadata=metadata.pop("cell", {}))
    return course.notebook_text(new_notebook(cells=[cell], metadata={"lorakit": metadata}))


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone, in which the learner has answered; it stands in for the package's own."""
    lessons = tmp_path / "clone" / "lessons"
    for name in ("source", "solutions"):
        (lessons / name).mkdir(parents=True)
    stub = {"lorakit": {"exercise": "6.1", "points": 1, "stub": "x = ..."}}
    solved = notebook("x = 1", lesson="06_lora", executed="0" * 64, cell=stub)
    (lessons / "solutions" / "06_lora.ipynb").write_text(solved)
    (lessons / "06_lora.ipynb").write_text(notebook("x = 2", lesson="06_lora"))
    monkeypatch.setattr(course, "PACKAGE", lessons.parent / "lorakit")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return lessons


@pytest.fixture
def clock(monkeypatch):
    """Time stands still."""

    class Stopped(datetime):
        @classmethod
        def now(cls):
            return cls.strptime(NOW, "%Y-%m-%d-%H%M%S")

    monkeypatch.setattr(course, "datetime", Stopped)


# Which lesson, and where its notebook is


def test_a_lesson_goes_by_its_number_or_its_name():
    for name in ("7", "07", "007", "07_lora_finetune"):
        assert course.find_lesson(name) == "07_lora_finetune"
    assert course.find_lesson("0") == "00_start_here"


@pytest.mark.parametrize("name", ["13", "07_lora", "", "²", "-7", "7.1", "lessons/07_lora_finetune"])
def test_an_unknown_lesson_is_named_with_those_that_there_are(shipped, name):
    with pytest.raises(LorakitError) as error:
        course.find_lesson(name)
    assert str(error.value) == f"There is no lesson {name!r}: choose from 00_start_here, 06_lora."


def test_a_kept_notebook_is_not_taken_for_a_lesson(shipped):
    for name in (f"06_lora-{NOW}", "06_lora-Copy1", "06_lora (1)", "Untitled"):
        (shipped / f"{name}.ipynb").write_text("x")
    assert course.lesson_names() == course.lesson_names(shipped) == ["00_start_here", "06_lora"]
    assert course.lesson_names(shipped / "solutions") == ["06_lora"]
    assert course.find_lesson("6") == "06_lora"


def test_a_solved_notebook_is_found_or_said_to_be_left_out(shipped):
    assert course.solved_notebook("6") == shipped / "solutions" / "06_lora.ipynb"
    with pytest.raises(LorakitError, match=r"This copy of the course has no solutions \(no '.*00_start_here.ipynb'\)"):
        course.solved_notebook("0")
    with pytest.raises(LorakitError, match="There is no lesson '7'"):
        course.solved_notebook("7")


def test_the_learners_notebook_is_here_or_where_lab_copied_it_or_in_the_clone(clone):
    name = "06_lora.ipynb"
    found = [course.learner_notebook("6")]
    for folder in (Path("lorakit-lessons"), Path()):
        folder.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
        found.append(course.learner_notebook("06"))
    assert found == [clone / name, Path("lorakit-lessons") / name, Path(name)]


def test_the_learners_notebook_is_found_in_a_clone_that_the_package_is_not_in(shipped):
    """On Binder the package is installed, and its notebooks are those of the repository."""
    Path("lessons").mkdir()
    Path("lessons/06_lora.ipynb").write_text("mine")
    assert course.learner_notebook("6") == Path("lessons/06_lora.ipynb")


def test_a_notebook_that_is_gone_belongs_where_the_other_lessons_are(shipped):
    Path("lorakit-lessons").mkdir()
    Path("lorakit-lessons/00_start_here.ipynb").write_text("mine")
    place = Path("lorakit-lessons/06_lora.ipynb")
    assert course.notebook_place("6") == place
    with pytest.raises(LorakitError, match=f"There is no '{place}': .* `lorakit reset 6`"):
        course.learner_notebook("6")


def test_where_there_are_no_lessons_the_folders_are_named(shipped):
    with pytest.raises(LorakitError, match=r"no lesson in '\.', 'lorakit-lessons', 'lessons': .* the notebook's path"):
        course.notebook_place("6")


def test_what_is_typed_is_a_lesson_or_a_path(clone, tmp_path):
    place = clone / "06_lora.ipynb"
    for name in ("6", "06", "06_lora", "06_lora.ipynb", "./06_lora.ipynb"):
        assert course.find_notebook(name) == (place, "06_lora")
    Path("06_lora.ipynb").write_text("mine")
    assert course.find_notebook("06_lora.ipynb") == (Path("06_lora.ipynb"), "06_lora")
    absent = tmp_path / "absent" / "06_lora.ipynb"
    assert course.find_notebook(str(absent)) == (absent, "06_lora")


def test_a_path_names_its_lesson_by_metadata_or_else_by_its_name(shipped):
    mine = Path("homework.ipynb")
    mine.write_text(notebook("x", lesson="06_lora"))
    assert course.find_notebook("homework.ipynb") == (mine, "06_lora")
    other = Path("00_start_here.ipynb")
    other.write_text(notebook("x", lesson="06_lora"))
    assert course.lesson_of(other) == "06_lora"
    for text in ("<<<<<<< not JSON", "[]", "{}", '{"metadata": {"lorakit": null}}'):
        other.write_text(text)
        assert course.lesson_of(other) == "00_start_here"
        mine.write_text(text)
        with pytest.raises(LorakitError, match=r"Nothing says which lesson '.*homework.ipynb' is of: put the lesson's"):
            course.lesson_of(mine)


@pytest.mark.parametrize(
    ("text", "name", "lesson"),
    [
        ('{"cells": [{"id": "ex-6-1"}]}', "mine.ipynb", "06_lora"),
        ('{"cells": [{"metadata": {"lorakit": {"exercise": "6.2"}}}]}', "mine.ipynb", "06_lora"),
        ('{"metadata": {"lorakit": {"lesson": "06_lora"}}}', "00_start_here.ipynb", "06_lora"),
        ("", "ada_06_lora (1).ipynb", "06_lora"),
        ("", "06_mine.ipynb", "06_lora"),
        ('{"source": "\\"lesson\\": \\"06_lora\\""}', "00_start_here.ipynb", "00_start_here"),
    ],
)
def test_the_lesson_of_a_notebook(shipped, tmp_path, text, name, lesson):
    (tmp_path / name).write_text(text)
    assert course.lesson_of(tmp_path / name) == lesson


# Copies


def test_notebooks_solutions_and_their_map_are_copied_and_nothing_else(shipped, tmp_path):
    said = course.copy_lessons(shipped, tmp_path / "mine")
    names = ("00_start_here.ipynb", "06_lora.ipynb", "solutions/06_lora.ipynb", "course_map.svg", "terms.md")
    assert tree(tmp_path / "mine") == {name: f"new {name}" for name in names}
    assert said == f"{tmp_path / 'mine'}: 5 files copied, 0 that were there already kept as they are."


def test_a_learners_files_are_kept(shipped, tmp_path):
    mine = tmp_path / "mine"
    (mine / "solutions").mkdir(parents=True)
    kept = {"06_lora.ipynb": "my answer", "solutions/06_lora.ipynb": "my notes", "diary.txt": "mine"}
    for name, text in kept.items():
        (mine / name).write_text(text)
    said = course.copy_lessons(shipped, mine)
    new = ("00_start_here.ipynb", "course_map.svg", "terms.md")
    assert tree(mine) == {**kept, **{name: f"new {name}" for name in new}}
    assert said.endswith("3 files copied, 2 that were there already kept as they are.")
    assert course.copy_lessons(shipped, mine).endswith("0 files copied, 5 that were there already kept as they are.")


def test_a_link_of_the_learners_is_not_written_through(shipped, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "06_lora.ipynb").symlink_to(tmp_path / "elsewhere.ipynb")
    course.copy_lessons(shipped, mine)
    assert not (tmp_path / "elsewhere.ipynb").exists()


def test_a_place_that_cannot_be_written_is_named(shipped, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(LorakitError, match=r"mine' cannot be made \(Permission denied\): .*`--folder`"):
        course.copy_lessons(shipped, tmp_path / "mine")


def test_a_full_disk_leaves_no_half_of_a_lesson(shipped, tmp_path, monkeypatch):
    def half_of_it(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(LorakitError, match=r"No space left.*`--folder`"):
        patched.setattr(Path, "write_bytes", half_of_it)
        course.copy_lessons(shipped, tmp_path / "mine")
    assert [path for path in (tmp_path / "mine").rglob("*") if path.is_file()] == []
    assert "0 that were there already" in course.copy_lessons(shipped, tmp_path / "mine")


def test_what_a_learner_kept_is_not_copied(shipped, tmp_path):
    (shipped / f"06_lora-{NOW}.ipynb").write_text("mine")
    course.copy_lessons(shipped, tmp_path / "mine")
    assert [name for name in tree(tmp_path / "mine") if NOW in name] == []


# Resets


def test_in_a_clone_the_fresh_notebook_is_made_of_the_solved_one(clone, clock):
    path, mine = clone / "06_lora.ipynb", (clone / "06_lora.ipynb").read_text()
    assert course.reset_lesson(path, "06_lora") == clone / f"06_lora-{NOW}.ipynb"
    fresh = nbformat.read(path, as_version=4)
    assert [(cell.source, cell.metadata) for cell in fresh.cells] == [
        ("x = ...", {"lorakit": {"exercise": "6.1", "points": 1}})
    ]
    assert fresh.metadata == {"lorakit": {"lesson": "06_lora"}}
    assert (clone / f"06_lora-{NOW}.ipynb").read_text() == mine


def test_a_clone_without_the_solution_says_so_and_changes_nothing(clone):
    (clone / "solutions" / "06_lora.ipynb").unlink()
    before = tree(clone)
    with pytest.raises(LorakitError, match="no solutions"):
        course.reset_lesson(clone / "06_lora.ipynb", "06_lora")
    assert tree(clone) == before


@pytest.mark.parametrize("solutions", [True, False])
def test_from_a_wheel_the_fresh_notebook_is_the_shipped_one(shipped, clock, solutions):
    if not solutions:
        (shipped / "solutions" / "06_lora.ipynb").unlink()
    path = Path("06_lora.ipynb")
    path.write_text("mine")
    assert course.reset_lesson(path, "06_lora") == Path(f"06_lora-{NOW}.ipynb")
    assert tree(Path()) == {"06_lora.ipynb": "new 06_lora.ipynb", f"06_lora-{NOW}.ipynb": "mine"}


def test_a_notebook_that_was_not_there_is_just_written(shipped):
    assert course.reset_lesson(Path("06_lora.ipynb"), "06_lora") is None
    assert tree(Path()) == {"06_lora.ipynb": "new 06_lora.ipynb"}


def test_resets_within_one_second_keep_each_notebook(shipped, clock):
    path = Path("06_lora.ipynb")
    for text in ("one", "two", "three"):
        path.write_text(text)
        course.reset_lesson(path, "06_lora")
    assert tree(Path()) == {
        "06_lora.ipynb": "new 06_lora.ipynb",
        f"06_lora-{NOW}.ipynb": "one",
        f"06_lora-{NOW}-2.ipynb": "two",
        f"06_lora-{NOW}-3.ipynb": "three",
    }
    assert all(course.KEPT.search(path.stem) for path in Path().glob("*-*.ipynb"))


def refuse(*_, **__):
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize("step", [(Path, "write_bytes"), (course, "keep_copy"), (os, "replace")])
def test_a_folder_that_cannot_be_written_is_named_and_the_notebook_stays(shipped, monkeypatch, step):
    path = Path("06_lora.ipynb").absolute()
    path.write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr(*step, refuse)
        patch.setattr(course, "fresh_bytes", lambda lesson: b"new")
        said = rf"^'{path}' could not be written \(Permission denied\): its folder must"
        with pytest.raises(LorakitError, match=said):
            course.reset_lesson(path, "06_lora")
    assert path.read_text() == "mine"
    assert not [*path.parent.glob(".*"), *path.parent.glob("*.partial")]


def test_a_folder_that_is_not_there_is_named(shipped):
    said = r"^'absent.06_lora.ipynb' could not be written \(No such file or directory\)"
    with pytest.raises(LorakitError, match=said):
        course.reset_lesson(Path("absent/06_lora.ipynb"), "06_lora")
    Path("file").write_text("")
    with pytest.raises(LorakitError, match=r"could not be written \(Not a directory\)"):
        course.reset_lesson(Path("file/06_lora.ipynb"), "06_lora")


class Killed(BaseException):
    """A process that ends at once."""


@pytest.mark.parametrize("step", [(course, "keep_copy"), (os, "replace")])
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step_a_whole_notebook_is_there_and_the_old_one_too(shipped, monkeypatch, step, after):
    path, done = Path("06_lora.ipynb"), getattr(*step)
    path.write_text("mine")

    def killed(*arguments):
        if after:
            done(*arguments)
        raise Killed

    monkeypatch.setattr(*step, killed)
    with pytest.raises(Killed):
        course.reset_lesson(path, "06_lora")
    files = tree(Path())
    assert files["06_lora.ipynb"] in ("mine", "new 06_lora.ipynb")
    assert "mine" in files.values()


@pytest.mark.parametrize("lessons", ["clone", "shipped"])
def test_a_solved_notebook_is_not_reset(lessons, request, monkeypatch):
    solutions = request.getfixturevalue(lessons) / "solutions"
    before = tree(solutions)
    monkeypatch.chdir(solutions)
    for path in (solutions / "06_lora.ipynb", Path("06_lora.ipynb")):
        with pytest.raises(LorakitError, match=f"^'{path}' is a solved notebook"):
            course.reset_lesson(path, "06_lora")
    assert tree(solutions) == before


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_git_leaves_out_what_a_reset_keeps_and_nothing_else():
    ignored = [f"lessons/07_lora_finetune-{NOW}.ipynb", f"lessons/07_lora_finetune-{NOW}-2.ipynb"]
    kept = ["lessons/07_lora_finetune.ipynb", "lessons/source/07_lora_finetune.py"]
    done = subprocess.run(["git", "check-ignore", *ignored, *kept], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ignored
