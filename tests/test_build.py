"""The lessons' build, on tiny courses: what a source becomes, what is refused, and what a check finds."""

import base64
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import build
import nbformat
import outputs
import pytest
from cells import solve, stub
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook, new_output

from lorakit import __version__
from lorakit.course import KEPT, fresh_notebook, load_notebook, notebook_text
from lorakit.errors import LorakitError

SECRET = 'A sentence, with "quotes" & l\'été, that nobody may publish.'
ADDRESS = "https://github.com/someone/a-course"
PYPROJECT = f'[project]\nname = "x"\n\n[project.urls]\n# A comment [here].\nRepository = "{ADDRESS}"\n'
README = "# Course\n\n<!-- badges -->\nold\n<!-- /badges -->\n\nText.\n"
TITLE = "# %% [markdown]\n# # Seven\n#\n# One promise.\n\n"
LESSON = (
    TITLE
    + """\
# %% [markdown]
# ## Rank & alpha / r
# Words.

# %% tags=["nbval-check-output"]
# %time pass
6 * 7

# %% [markdown]
# More words.

# %%
print("done")

# %% [markdown]
# ### Exercise 7.1 · scale it
# Easy, 5 minutes.

# %% exercise="7.1" points=2
def scale(alpha, r):
    # BEGIN SOLUTION
    # STUB scaling = ...
    # STUB return scaling
    return alpha / r
    # END SOLUTION

# BEGIN SOLUTION
half = scale(1, 2)
# END SOLUTION
last = 1


# %% [markdown]
# Check it.

# %% check="7.1"
scale(16, 8)
"""
)
STALE = (
    "lessons/solutions/07_seven.ipynb: has no outputs of this code: run `python lessons/build.py 07_seven --execute`."
)
WORDS = "# %% [markdown]\n# ## Words\n\n"
VIEW = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}


def make_course(root: Path, lesson: str = LESSON) -> Path:
    """A course of one lesson."""
    (root / "lessons" / "source").mkdir(parents=True)
    (root / "lessons" / "source" / "07_seven.py").write_text(lesson, encoding="utf-8")
    (root / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (root / "README.md").write_text(README, encoding="utf-8")
    return root


@pytest.fixture(autouse=True)
def no_data(monkeypatch):
    """One sentence stands for the data set."""
    monkeypatch.setattr(build, "review_sentences", lambda: [SECRET])


@pytest.fixture
def course(tmp_path):
    return make_course(tmp_path)


@pytest.fixture
def executed(course):
    """A course whose solved notebook looks executed; no kernel runs."""
    assert build.main([], root=course) == 0
    solved = read(course, "solutions/")
    for count, cell in enumerate(outputs.code_cells(solved), start=1):
        cell.execution_count = count
    cell = outputs.code_cells(solved)[1]
    cell.outputs = [new_output("execute_result", data={"text/plain": "42"}, execution_count=2)]
    solved.metadata.lorakit.executed = outputs.fingerprint(solved)
    save(course, solved)
    return course


def path_of(course, folder=""):
    return course / "lessons" / f"{folder}07_seven.ipynb"


def read(course, folder=""):
    return nbformat.read(path_of(course, folder), as_version=4)


def save(course, notebook, folder="solutions/"):
    path_of(course, folder).write_text(notebook_text(notebook), encoding="utf-8")


def edit_source(course, old, new):
    path = course / "lessons" / "source" / "07_seven.py"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def check(course, capsys, *lessons):
    """The lines of a check, and that its exit status says whether there are any."""
    capsys.readouterr()
    status = build.main([*lessons, "--check"], root=course)
    printed = capsys.readouterr()
    lines = (printed.out + printed.err).splitlines()
    assert status == (1 if lines else 0)
    return lines


def refusal(course, capsys):
    """What a build that refuses its source says; it must write nothing."""
    assert build.main([], root=course) == 1
    assert not path_of(course).exists()
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


# What a source becomes


def test_the_learner_gets_stubs_and_the_solved_notebook_solutions(course):
    assert build.main([], root=course) == 0
    sources = {folder: {cell.id: cell.source for cell in read(course, folder).cells} for folder in ("", "solutions/")}
    assert sources[""]["ex-7-1"] == (
        "def scale(alpha, r):\n    scaling = ...\n    return scaling\n\n...  # your code here\nlast = 1"
    )
    assert sources["solutions/"]["ex-7-1"] == (
        "def scale(alpha, r):\n    return alpha / r\n\nhalf = scale(1, 2)\nlast = 1"
    )
    del sources[""]["ex-7-1"], sources["solutions/"]["ex-7-1"]
    assert sources[""] == sources["solutions/"]
    assert sources[""]["rank-alpha-r-2"] == "%time pass\n6 * 7"


def test_a_default_stub_is_indented_like_its_block():
    source = "def f():\n    # BEGIN SOLUTION\n    return 1\n    # END SOLUTION"
    assert stub(source) == "def f():\n    ...  # your code here"
    assert solve(source) == "def f():\n    return 1"


def test_cells_get_fixed_ids_and_only_the_metadata_that_counts(course):
    build.main([], root=course)
    cells = read(course).cells
    assert [cell.id for cell in cells] == [
        "seven-1",
        "setup",
        "rank-alpha-r-1",
        "rank-alpha-r-2",
        "rank-alpha-r-3",
        "rank-alpha-r-4",
        "exercise-7-1-scale-it-1",
        "ex-7-1",
        "exercise-7-1-scale-it-3",
        "check-7-1",
    ]
    compared, exercise = {"tags": ["nbval-check-output"]}, {"exercise": "7.1", "points": 2}
    kept = {cell.id: cell.metadata for cell in cells if cell.metadata}
    assert kept == {
        "rank-alpha-r-2": compared,
        "ex-7-1": {"lorakit": exercise},
        "check-7-1": {"lorakit": {"check": "7.1", "points": 2}, **compared},
    }
    solved = {cell.id: cell.metadata for cell in read(course, "solutions/").cells if cell.metadata}
    stub = read(course).cells[7].source
    assert solved == {**kept, "ex-7-1": {"lorakit": {**exercise, "stub": stub}}}


def test_a_new_cell_shifts_only_the_ids_of_its_own_section(course):
    build.main([], root=course)
    before = [cell.id for cell in read(course).cells]
    edit_source(course, "# More words.", "# New words.\n\n# %% [markdown]\n# More words.")
    build.main([], root=course)
    after = [cell.id for cell in read(course).cells]
    assert sorted(set(after) - set(before)) == ["rank-alpha-r-5"]
    assert after[after.index("exercise-7-1-scale-it-1") :] == before[before.index("exercise-7-1-scale-it-1") :]


def test_a_long_heading_still_gives_a_valid_id(course):
    edit_source(course, "# ## Rank & alpha / r", "# ## " + "very " * 40 + "long")
    assert build.main([], root=course) == 0
    ids = [cell.id for cell in read(course).cells]
    assert all(re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", cell_id) for cell_id in ids)
    assert ids[2].startswith("very-very-")


def test_both_notebooks_ask_for_a_t4_and_hold_nothing_of_a_machine(course):
    build.main([], root=course)
    for folder in ("", "solutions/"):
        notebook = read(course, folder)
        assert notebook.metadata == {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "accelerator": "GPU",
            "colab": {"gpuType": "T4", "provenance": []},
            "lorakit": {"lesson": "07_seven", "release": __version__},
        }
        assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
        assert all(cell.outputs == [] and cell.execution_count is None for cell in outputs.code_cells(notebook))


def test_the_repository_address_reaches_badges_setup_cell_and_readme(course):
    build.main([], root=course)
    colab = "https://colab.research.google.com/github/someone/a-course/blob/main/lessons/07_seven.ipynb"
    binder = "https://mybinder.org/v2/gh/someone/a-course/main?urlpath=lab/tree/lessons/07_seven.ipynb"
    badges = (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})\n"
        f"[![Launch Binder](https://mybinder.org/badge_logo.svg)]({binder})"
    )
    for folder in ("", "solutions/"):
        title, setup = read(course, folder).cells[:2]
        assert title.source == f"# Seven\n\n{badges}\n\nOne promise."
        assert f'%pip install -q "lorakit @ git+{ADDRESS}"' in setup.source
    readme = (course / "README.md").read_text(encoding="utf-8")
    assert readme == f"# Course\n\n<!-- badges -->\n{badges}\n<!-- /badges -->\n\nText.\n"


def test_a_course_without_a_readme_builds(course):
    (course / "README.md").unlink()
    assert build.main([], root=course) == 0
    assert not (course / "README.md").exists()


@pytest.mark.parametrize(
    ("modules", "found", "installs"),
    [({"google.colab": 1}, None, True), ({"google.colab": 1}, "spec", False), ({}, None, False)],
)
def test_the_setup_cell_installs_only_on_colab_and_only_what_is_missing(monkeypatch, modules, found, installs):
    ran = []
    code = build.SETUP.format(repository=ADDRESS).replace("%pip install", 'pip("install") #')
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    exec(code, {"pip": ran.append})
    assert ran == (["install"] if installs else [])


def test_the_real_pyproject_names_a_repository():
    assert build.badges(build.read_repository(build.ROOT), "00").startswith("[![Open in Colab](")


def test_lessons_can_be_named(course, capsys):
    for name in ("07", "07_seven", "lessons/source/07_seven.py"):
        path_of(course).unlink(missing_ok=True)
        assert build.main([name], root=course) == 0
        assert path_of(course).exists()
    assert build.main(["08"], root=course) == 1
    assert "'08'" in capsys.readouterr().err


# What is refused


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ('# %% exercise="7.1" points=1\n# BEGIN SOLUTION\nx = 1\n', ["line 10", "no `# END SOLUTION`"]),
        ('# %% exercise="7.1" points=1\nx = 1\n# END SOLUTION\n', ["line 11", "no `# BEGIN SOLUTION`"]),
        ('# %% exercise="7.1" points=1\n# BEGIN SOLUTION\n# BEGIN SOLUTION\n', ["line 11", "of line 10"]),
        ("# %%\n# BEGIN SOLUTION\nx = 1\n# END SOLUTION\n", ["line 10", "`exercise=`"]),
        ('# %% exercise="7.1" points=1\n# BEGIN SOLUTION\n# %%\n# END SOLUTION\n', ["line 10", "no `# END SOLUTION`"]),
        ('# %% exercise="7.1" points=1\n#BEGIN  solution\n', ["line 10", "`#BEGIN  solution`"]),
    ],
)
def test_markers_that_do_not_pair_up_are_refused_with_their_line(tmp_path, capsys, source, names):
    message = refusal(make_course(tmp_path, TITLE + WORDS + source), capsys)
    assert message.startswith("lessons/source/07_seven.py line ")
    for name in names:
        assert name in message


EXERCISE = '# %% exercise="7.1" points=1\n# BEGIN SOLUTION\nx = 1\n# END SOLUTION\n\n'
CHECK = '# %% [markdown]\n# Check.\n\n# %% check="7.1"\nx\n\n'
MARKDOWN_CHECK = '# %% [markdown] check="7.1"\n# x\n\n'


@pytest.mark.parametrize(
    ("source", "names"),
    [
        (WORDS + '# %% tags=["nbval-ignore-outputs"]\n1\n', ["words-2", "'nbval-ignore-outputs'", "private-output"]),
        (WORDS + '# %% tags="nbval-skip"\n1\n', ["jupytext", "'nbval-skip'"]),
        (WORDS + "# %% A title\n1\n", ["words-2", "title = 'A title'"]),
        (WORDS + "# %% points=two\n1\n", ["words-2", "points=two"]),
        (WORDS + "# %% [raw]\n# 1\n", ["words-2", "raw cell"]),
        (WORDS + "# %%\n\n", ["words-2", "0 lines"]),
        (WORDS + "# %%\n" + "x = 1\n" * 26, ["words-2", "26 lines"]),
        ("# %%\n1\n", ["seven-2", "no words"]),
        (WORDS + "# %%\n1\n\n# %%\n2\n", ["words-3", "no words"]),
        (WORDS + WORDS, ["id words-1"]),
        ("# %% [markdown]\n# ## 注意力\n", ["'## 注意力'"]),
        (WORDS + EXERCISE.replace('"7.1"', "7.1") + CHECK, ["exercise=7.1", "quotes"]),
        (WORDS + EXERCISE.replace("7.1", "6.1") + CHECK.replace("7.1", "6.1"), ["exercise='6.1'", '"7.1"']),
        (WORDS + EXERCISE.replace("points=1", "points=0") + CHECK, ["7.1", "`points=1`"]),
        (WORDS + EXERCISE.replace(" points=1", "") + CHECK, ["7.1", "`points=1`"]),
        (WORDS + EXERCISE, ["nothing checks exercise 7.1"]),
        (WORDS + EXERCISE + CHECK.replace("7.1", "7.2"), ["it checks 7.2"]),
        (WORDS + EXERCISE + CHECK + CHECK, ["id check-7-1"]),
        (WORDS + EXERCISE + CHECK.replace('"7.1"', '"7.1" tags=["nbval-skip"]'), ["check of 7.1", "no tags"]),
        (WORDS + EXERCISE + MARKDOWN_CHECK, ["cell words-3", "make it code"]),
        (WORDS + '# %% exercise="7.1" points=1\nx = 1\n\n' + CHECK, ["ex-7-1", "hides nothing"]),
        (WORDS + EXERCISE.replace("x = 1", "x = 1\n# STUB x = ...") + CHECK, ["ex-7-1", "`# STUB x = ...`"]),
        (WORDS + EXERCISE + "\t# BEGIN SOLUTION\n\tx = 1\n\t# END SOLUTION\n\n" + CHECK, ["ex-7-1", "BEGIN SOLUTION"]),
    ],
)
def test_a_source_that_breaks_a_rule_is_refused(tmp_path, capsys, source, names):
    message = refusal(make_course(tmp_path, TITLE + source), capsys)
    assert message.startswith("lessons/source/07_seven.py")
    for name in names:
        assert name in message


def test_a_cell_of_25_lines_is_built(tmp_path):
    longest = "# %%\n" + "x = 1\n" * 25
    assert build.main([], root=make_course(tmp_path, TITLE + WORDS + longest)) == 0


@pytest.mark.parametrize("source", ["", "# %%\n1\n", "# %% [markdown]\n# ## Not a title\n"])
def test_a_lesson_without_a_title_is_refused(tmp_path, capsys, source):
    assert "its first cell must be markdown" in refusal(make_course(tmp_path, source), capsys)


def test_a_source_with_a_name_of_its_own_kind_is_refused(course, capsys):
    source = course / "lessons" / "source" / "07_seven.py"
    source.rename(source.with_name("7-seven.py"))
    assert "lessons/source/7-seven.py" in refusal(course, capsys)


@pytest.mark.parametrize("address", ["https://gitlab.com/a/b", "https://github.com/a", None])
def test_an_address_that_no_badge_can_open_is_refused(course, capsys, address):
    text = PYPROJECT.replace(ADDRESS, address) if address else "[project]\n"
    (course / "pyproject.toml").write_text(text, encoding="utf-8")
    assert refusal(course, capsys).startswith("pyproject.toml: ")


# What a second build and a check do


def test_a_second_build_is_byte_identical(executed):
    files = [path_of(executed), path_of(executed, "solutions/"), executed / "README.md"]
    before = [file.read_bytes() for file in files]
    assert build.main([], root=executed) == 0
    assert [file.read_bytes() for file in files] == before
    assert outputs.code_cells(read(executed, "solutions/"))[1].outputs[0].data == {"text/plain": "42"}


def test_outputs_survive_new_words_but_not_new_code(executed, capsys):
    edit_source(executed, "# ## Rank & alpha / r", "# ## A new heading")
    build.main([], root=executed)
    assert [cell.execution_count for cell in outputs.code_cells(read(executed, "solutions/"))] == [1, 2, 3, 4, 5]
    assert check(executed, capsys) == []

    edit_source(executed, "6 * 7", "6 * 8")
    assert check(executed, capsys) == [
        "lessons/07_seven.ipynb: differs from its source: run `python lessons/build.py 07_seven`.",
        STALE,
    ]
    build.main([], root=executed)
    assert "07_seven --execute" in capsys.readouterr().out
    solved = read(executed, "solutions/")
    assert all(cell.outputs == [] for cell in outputs.code_cells(solved)) and "executed" not in solved.metadata.lorakit
    assert check(executed, capsys) == [STALE]


def test_outputs_do_not_survive_a_cell_that_turns_private(executed, capsys):
    edit_source(executed, '["nbval-check-output"]', '["private-output"]')
    build.main([], root=executed)
    assert "42" not in path_of(executed, "solutions/").read_text(encoding="utf-8")
    assert len(check(executed, capsys)) == 1


def test_outputs_survive_a_new_address(executed, capsys):
    (executed / "pyproject.toml").write_text(PYPROJECT.replace("someone", "others"), encoding="utf-8")
    lines = check(executed, capsys)
    assert [line.split(": ")[0] for line in lines] == [
        "lessons/07_seven.ipynb",
        "lessons/solutions/07_seven.ipynb",
        "README.md",
    ]
    assert lines[2] == "README.md: it is out of step: run `python lessons/build.py`."
    build.main([], root=executed)
    assert check(executed, capsys) == []


def test_outputs_survive_a_new_release(executed, capsys, monkeypatch):
    monkeypatch.setattr(build, "__version__", "9.9.9")
    assert [line.split(": ")[1] for line in check(executed, capsys)] == ["differs from its source"] * 2
    build.main([], root=executed)
    assert check(executed, capsys) == []
    solved = read(executed, "solutions/")
    assert (solved.metadata.lorakit.release, solved.cells[3].execution_count) == ("9.9.9", 2)
    assert solved.cells[3].outputs[0].data == {"text/plain": "42"}


def test_the_learners_notebook_is_made_of_the_executed_one_byte_for_byte(executed):
    solved = read(executed, "solutions/")
    assert solved.metadata.lorakit.executed and solved.cells[3].outputs
    assert notebook_text(fresh_notebook(solved)).encode() == path_of(executed).read_bytes()
    assert solved == read(executed, "solutions/")  # and it is left as it was


def test_a_check_cell_without_an_execution_count_is_found(executed, capsys):
    """nbval passes such a cell whatever it says."""
    solved = read(executed, "solutions/")
    solved.cells[-1].execution_count = None
    assert solved.cells[-1].id == "check-7-1"
    save(executed, solved)
    assert check(executed, capsys) == [STALE]


def test_a_check_writes_nothing(course, capsys):
    assert len(check(course, capsys)) == 3
    assert not path_of(course).exists() and (course / "README.md").read_text(encoding="utf-8") == README


@pytest.mark.parametrize("folder", ["", "solutions/"])
def test_a_check_finds_words_metadata_and_ids_changed_by_hand(executed, capsys, folder):
    for change in (
        lambda notebook: notebook.cells[0].update(source="# Eight"),
        lambda notebook: notebook.cells[7].metadata.lorakit.update(points=99),
        lambda notebook: notebook.cells[3].update(id="other"),
        lambda notebook: notebook.metadata.kernelspec.update(name="mine"),
    ):
        whole = read(executed, folder)
        changed = read(executed, folder)
        change(changed)
        save(executed, changed, folder)
        assert check(executed, capsys) == [
            f"lessons/{folder}07_seven.ipynb: differs from its source: run `python lessons/build.py 07_seven`."
        ]
        save(executed, whole, folder)
    assert check(executed, capsys, "07") == []


def test_a_check_finds_solved_code_changed_by_hand_and_outputs_cleared(executed, capsys):
    whole = read(executed, "solutions/")
    changed = read(executed, "solutions/")
    changed.cells[3].source = "43"
    save(executed, changed)
    assert check(executed, capsys) == [STALE]
    cleared = read(executed, "solutions/")
    cleared.cells[3].update(source=whole.cells[3].source, outputs=[], execution_count=None)
    save(executed, cleared)
    assert check(executed, capsys) == [STALE]
    whole.metadata.lorakit.executed = "0" * 64
    save(executed, whole)
    assert check(executed, capsys) == [STALE]
    path_of(executed, "solutions/").write_text("<<<<<<< not JSON", encoding="utf-8")
    assert check(executed, capsys) == [STALE]


def test_a_check_finds_widget_state(executed, capsys):
    for change in (
        lambda notebook: notebook.metadata.update(widgets={"application/vnd.jupyter.widget-state+json": {}}),
        lambda notebook: notebook.cells[3].outputs[0].data.update(VIEW | {"text/html": "<img>"}),
    ):
        notebook = read(executed, "solutions/")
        change(notebook)
        save(executed, notebook)
        found = "lessons/solutions/07_seven.ipynb: holds the state of a widget: run `python lessons/build.py 07_seven`."
        assert found in check(executed, capsys)
        assert build.main(["07"], root=executed) == 0
        assert check(executed, capsys) == []


def show_in(course, data):
    """Make the solved notebook look as if a cell had shown this."""
    notebook = read(course, "solutions/")
    notebook.cells[3].outputs = [new_output("display_data", data=data)]
    save(course, notebook)


def test_a_check_finds_a_figure_without_its_png(executed, capsys):
    figure = {"application/vnd.plotly.v1+json": {"data": []}, "text/html": "<div>", "text/plain": "Figure"}
    show_in(executed, figure)
    assert check(executed, capsys) == [
        "lessons/solutions/07_seven.ipynb: cell rank-alpha-r-2 shows a figure without its PNG: "
        "run `python lessons/build.py 07_seven --execute`."
    ]
    show_in(executed, figure | {"image/png": "iVBORw0K"})
    assert check(executed, capsys) == []
    assert build.main([], root=executed) == 0
    assert outputs.code_cells(read(executed, "solutions/"))[1].outputs[0].data["image/png"] == "iVBORw0K"


BARE = (
    "cell rank-alpha-r-2 shows a widget without a picture: give the widget one as text/html, "
    "or tag the cell private-output, then run `python lessons/build.py 07_seven --execute`."
)


@pytest.mark.parametrize("shown", [VIEW, VIEW | {"text/plain": "Explorer(r=8)"}])
def test_a_widget_without_a_picture_is_found_and_no_build_hides_it(executed, capsys, shown):
    show_in(executed, shown)
    before = path_of(executed, "solutions/").read_bytes()
    assert f"lessons/solutions/07_seven.ipynb: {BARE}" in check(executed, capsys)
    assert build.main([], root=executed) == 1
    assert capsys.readouterr().err == f"07_seven: {BARE}\n"
    assert path_of(executed, "solutions/").read_bytes() == before


def test_a_widget_keeps_its_picture_and_its_words(executed, capsys):
    words = {"text/html": '<img src="data:image/svg+xml;base64,AA==">', "text/plain": "Explorer(r=8)"}
    show_in(executed, VIEW | words)
    assert build.main([], root=executed) == 0
    assert outputs.code_cells(read(executed, "solutions/"))[1].outputs[0].data == words
    assert check(executed, capsys) == []


def test_a_check_finds_a_notebook_over_1_mib(executed, capsys, monkeypatch):
    notebook = read(executed, "solutions/")
    notebook.cells[3].outputs[0].data["text/plain"] = "4" * 2**20
    save(executed, notebook)
    assert [line.split(":")[:2] for line in check(executed, capsys)] == [
        ["lessons/solutions/07_seven.ipynb", " is over 1 MiB"]
    ]
    notebook.cells[3].outputs[0].data["text/plain"] = "4" * (2**20 - 20_000)
    save(executed, notebook)
    assert check(executed, capsys) == []


def test_a_check_finds_a_sentence_of_the_data_set_and_does_not_repeat_it(executed, capsys):
    notebook = read(executed, "solutions/")
    notebook.cells[3].outputs[0].data["text/plain"] = repr([SECRET])
    save(executed, notebook)
    (line,) = check(executed, capsys)
    assert line.startswith("lessons/solutions/07_seven.ipynb: cell rank-alpha-r-2 holds a sentence of the data set")
    assert "build.py 07_seven --execute" in line and SECRET not in line


def test_a_check_finds_a_notebook_without_a_source(executed, capsys):
    for folder in ("", "solutions/"):
        path_of(executed, folder).with_name("08_eight.ipynb").write_text("{}", encoding="utf-8")
    assert check(executed, capsys) == [
        f"{path}: has no source in lessons/source: run `git rm {path}`."
        for path in ("lessons/08_eight.ipynb", "lessons/solutions/08_eight.ipynb")
    ]


def test_what_a_reset_kept_needs_no_source(executed, capsys):
    for name in ("07_seven-2026-11-24-081500", "07_seven-2026-11-24-081500-2"):
        path_of(executed).with_name(f"{name}.ipynb").write_text("{}", encoding="utf-8")
    assert check(executed, capsys) == []
    path_of(executed).with_name("07_seven-2.ipynb").write_text("{}", encoding="utf-8")
    assert len(check(executed, capsys)) == 1


def test_a_check_finds_a_source_that_breaks_a_rule(executed, capsys):
    edit_source(executed, "# More words.\n", "# More words.\n\n# %%\n1\n\n")
    (line,) = check(executed, capsys)
    assert "no words" in line and line.endswith("Then run `python lessons/build.py 07_seven`.")


def test_a_build_keeps_what_somebody_has_filled_in(course, capsys):
    build.main([], root=course)
    learner = next((course / "lessons").glob("[0-9]*.ipynb"))
    notebook = nbformat.read(learner, as_version=4)
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
    cell.source, cell.execution_count = "hours_of_work = 1", 1
    nbformat.write(notebook, learner)
    capsys.readouterr()
    build.main([], root=course)
    (kept,) = (path for path in learner.parent.glob("*.ipynb") if KEPT.search(path.stem))
    assert "hours_of_work" in kept.read_text() and "hours_of_work" not in learner.read_text()
    assert f"what was in {learner.name} is kept as {kept.name}" in capsys.readouterr().out


def test_a_killed_build_leaves_the_old_notebook_whole(course, monkeypatch):
    build.main([], root=course)
    before = path_of(course).read_bytes()
    edit_source(course, "6 * 7", "6 * 8")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        build.main([], root=course)
    assert path_of(course).read_bytes() == before


# The real notebooks


SOLVED = sorted((build.ROOT / "lessons" / "solutions").glob("*.ipynb"))


@pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)
def test_a_real_learners_notebook_is_made_of_the_solved_one_byte_for_byte(path):
    fresh = notebook_text(fresh_notebook(load_notebook(path)))
    assert fresh.encode() == (path.parents[1] / path.name).read_bytes()


@pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)
def test_each_real_check_has_a_reference_to_compare_with(path):
    cells = load_notebook(path).cells
    exercises = [cell.metadata.lorakit.exercise for cell in cells if cell.id.startswith("ex-")]
    checks = [cell for cell in cells if "check" in cell.metadata.get("lorakit", {})]
    assert [cell.metadata.lorakit.check for cell in checks] == exercises != []
    for cell in checks:
        assert cell.execution_count
        printed = f"Exercise {cell.metadata.lorakit.check}: correct.\n"
        assert cell.outputs == [new_output("stream", name="stdout", text=printed)]


# A release for a class


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A release of the real course, and its wheel unpacked."""
    folder, site = tmp_path_factory.mktemp("release"), tmp_path_factory.mktemp("site")
    assert build.main(["--release", str(folder)]) == 0
    (wheel,) = folder.glob("*.whl")
    ZipFile(wheel).extractall(site)
    return SimpleNamespace(folder=folder, wheel=wheel, site=site)


def learner_runs(released, cwd, code):
    """Run Python with the unpacked wheel's packages."""
    environment = {**os.environ, "PYTHONPATH": str(released.site), "LORAKIT_DATA": str(cwd)}
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True)


def test_a_release_is_a_wheel_the_tested_versions_and_one_command(released):
    wheel = f"lorakit-{__version__}-py3-none-any.whl"
    assert {path.name for path in released.folder.iterdir()} == {"README.txt", "constraints.txt", "cpu.txt", wheel}
    for name in ("constraints.txt", "cpu.txt"):
        assert (released.folder / name).read_bytes() == (build.ROOT / "binder" / name).read_bytes()
    readme = (build.ROOT / "README.md").read_text(encoding="utf-8")
    start = re.search(r"<!-- start command -->\n```bash\n(.+)\n", readme)[1]
    command = start.replace("binder/", "").replace('-e ".[lab]"', f'"./{wheel}[lab]"')
    assert f"\n{command}\n" in (released.folder / "README.txt").read_text(encoding="utf-8")


def test_a_released_wheel_holds_the_learners_notebooks_and_no_solution(released):
    files = {path.relative_to(released.site).as_posix(): path for path in released.site.rglob("*") if path.is_file()}
    notebooks = {name: text.encode() for name, text in build.learner_notebooks(build.ROOT).items()}
    shipped = {name: path.read_bytes() for name, path in files.items() if name.startswith("lorakit/lessons/")}
    others = {name: (build.ROOT / "lessons" / name).read_bytes() for name in ("course_map.svg", "terms.md")}
    assert shipped == {f"lorakit/lessons/{name}": text for name, text in (notebooks | others).items()}
    assert not [name for name in files if "test" in name or "solutions" in name]
    assert {name.split("/")[0] for name in files} == {"lorakit", "widgets", f"lorakit-{__version__}.dist-info"}

    texts = [path.read_text(encoding="utf-8") for name, path in files.items() if not name.endswith(".ipynb")]
    texts += [cell.source for path in files.values() if path.suffix == ".ipynb" for cell in load_notebook(path).cells]
    answers = [
        cell.source
        for source in (build.ROOT / "lessons" / "source").glob("*.py")
        for cell in build.make_notebooks(source, ADDRESS)[1].cells
        if cell.id.startswith("ex-")
    ]
    assert len(answers) >= 5
    assert not [answer for answer in answers if any(answer in text for text in texts)]


def test_a_released_wheel_works_without_solutions(released, tmp_path):
    lab = "import sys; from lorakit import cli; cli._run = lambda _: 0; sys.argv[1:] = ['lab']; cli.main()"
    done = learner_runs(released, tmp_path, lab)
    count = len(build.learner_notebooks(build.ROOT)) + 2
    expected = f"lorakit-lessons: {count} files copied, 0 that were there already kept as they are.\n"
    assert (done.stdout, done.stderr) == (expected, "")
    mine = tmp_path / "lorakit-lessons" / "07_lora_finetune.ipynb"
    fresh = mine.read_bytes()
    mine.write_text("mine")
    done = learner_runs(released, tmp_path, lab.replace("['lab']", "['reset', '07']"))
    (kept,) = mine.parent.glob("07_lora_finetune-*.ipynb")
    assert done.stdout.endswith(f"is fresh again; yours is kept as {kept.name}\n"), done.stderr
    assert (mine.read_bytes(), kept.read_text()) == (fresh, "mine")
    done = learner_runs(released, tmp_path, "from lorakit.checks import solution; solution('7.1')")
    message = done.stderr.splitlines()[-1]
    assert message.startswith("lorakit.errors.LorakitError: This copy of the course has no solutions")
    assert str(released.site) in message  # it was the wheel's


def test_a_release_takes_the_sources_stubs_and_not_a_notebook_that_was_filled_in(executed):
    fresh = path_of(executed).read_text(encoding="utf-8")
    path_of(executed).write_text(fresh.replace("scaling = ...", "scaling = alpha / r"), encoding="utf-8")
    assert build.learner_notebooks(executed) == {"07_seven.ipynb": fresh}


def test_a_release_overwrites_nothing(course, tmp_path, capsys):
    folder = tmp_path / "class"
    folder.mkdir()
    (folder / "marks.csv").write_text("precious")
    assert build.main(["--release", str(folder)], root=course) == 1
    assert f"'{folder}' is not empty" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["marks.csv"]
    assert build.main(["--release", str(folder / "marks.csv")], root=course) == 1
    assert f"'{folder / 'marks.csv'}' could not be made (File exists)" in capsys.readouterr().err
    assert (folder / "marks.csv").read_text() == "precious"
    with pytest.raises(SystemExit):
        build.main(["07", "--release", str(tmp_path / "other")], root=course)
    assert "--release takes all lessons" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_wheel_that_pip_cannot_build_is_one_sentence_and_leaves_nothing(tmp_path, capsys):
    for name in ("lorakit", "widgets", "lessons/source", "binder"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT + "[broken", encoding="utf-8")
    for name in ("README.md", "LICENSE", "lessons/course_map.svg", "lessons/terms.md"):
        (tmp_path / name).write_text("")
    assert build.main(["--release", str(tmp_path / "class")], root=tmp_path) == 1
    message = capsys.readouterr().err
    assert message.startswith("pip could not build the wheel (it said: ") and message.count("\n") == 1
    assert list((tmp_path / "class").iterdir()) == []


# Outputs


def test_streams_are_merged_and_progress_bars_collapsed():
    kept = outputs.clean_outputs(
        [
            new_output("stream", name="stdout", text="a\n"),
            new_output("stream", name="stdout", text="b\r\nc\n"),
            new_output("stream", name="stderr", text="\r 10%|█"),
            new_output("stream", name="stderr", text="\r 50%|█\r100%|█\n"),
            new_output("stream", name="stdout", text="d"),
        ]
    )
    assert [(output.name, output.text) for output in kept] == [
        ("stdout", "a\nb\nc\n"),
        ("stderr", "100%|█\n"),
        ("stdout", "d"),
    ]


def test_empty_streams_and_widgets_go_and_real_messages_stay():
    given = [
        new_output("stream", name="stderr", text="\r 50%|\r        \r"),
        new_output("display_data", data=VIEW),
        new_output("display_data", data=VIEW | {"text/html": "<img>"}),
        new_output("stream", name="stderr", text="a warning\n"),
    ]
    html, warning = outputs.clean_outputs(given)
    assert (html.data, warning.text) == ({"text/html": "<img>"}, "a warning\n")
    assert "application/vnd.jupyter.widget-view+json" in given[1].data


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        repr([SECRET]),
        json.dumps({"a": json.dumps(SECRET)}),
        "Review:\n  " + SECRET.replace(" ", "\n   ").upper(),
        "<b>A</b> sentence, with &quot;quotes&quot; &amp; l&#x27;&eacute;t&eacute;, that nobody may <i>pub</i>lish.",
        f'<iframe srcdoc="&lt;p title=&quot;{SECRET}&quot;&gt;">',
        str(["Ġ" + word for word in SECRET.split()]),
        ascii(SECRET),
    ],
)
def test_a_sentence_is_found_however_it_is_shown(shown):
    output = new_output("display_data", data={"text/html": f"<p>{shown}</p>"})
    notebook = new_notebook(cells=[new_code_cell("1", id="clean"), new_code_cell("2", id="leak", outputs=[output])])
    assert outputs.cells_with_sentences(notebook, ["Another sentence of the set.", SECRET]) == ["leak"]
    assert outputs.cells_with_sentences(notebook, ["Another sentence of the set."]) == []


def test_a_sentence_is_found_in_plotly_json_and_source_but_short_ones_and_dots_are_not_hunted():
    plotly = new_output("display_data", data={"application/vnd.plotly.v1+json": {"data": [{"text": ["x", SECRET]}]}})
    cells = [new_code_cell("1", id="figure", outputs=[plotly]), new_code_cell(f"x = {SECRET!r}", id="code")]
    assert outputs.cells_with_sentences(new_notebook(cells=cells), [SECRET]) == ["figure", "code"]
    notebook = new_notebook(cells=[new_code_cell("'A good film. And: it is nineteen long'", id="code")])
    assert outputs.cells_with_sentences(notebook, ["A good film.", "it is nineteen long", "." * 30]) == []
    assert outputs.cells_with_sentences(notebook, ["it is nineteen long."]) == ["code"]


# Execution: these run a kernel


NOISY = f"""{TITLE}{WORDS}
# %%
import json, os, sys, warnings
print(os.path.basename(os.getcwd()), sys.executable == os.environ.get("THIS_PYTHON"))

# %% [markdown]
# A result.

# %% tags=["nbval-check-output"]
6 * 7

# %% [markdown]
# A private one.

# %% tags=["private-output"]
print({SECRET[::-1]!r}[::-1])

# %% [markdown]
# A warning and a progress bar.

# %% tags=["nbval-ignore-output"]
warnings.warn("careful", stacklevel=1)
for percent in (10, 100):
    print(f"\\r{{percent}}%", end="", file=sys.stderr, flush=True)

# %% [markdown]
# A mistake on purpose, inside a module.

# %% tags=["raises-exception"]
import nbformat
nbformat.reads("{{", as_version=4)
"""


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """A course that was really executed, by this Python although Jupyter knows another `python3`."""
    course = make_course(tmp_path_factory.mktemp("noisy"), NOISY)
    other = tmp_path_factory.mktemp("jupyter") / "kernels" / "python3"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text('{"argv": ["false"], "display_name": "Another", "language": "python"}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(other.parents[1]))
        patch.setenv("THIS_PYTHON", sys.executable)
        patch.setattr(build, "review_sentences", lambda: [SECRET])
        assert build.main(["--execute"], root=course) == 0
    return course


def test_an_execution_keeps_cleaned_outputs_and_is_in_step(noisy, capsys):
    setup, where, result, private, warning, mistake = outputs.code_cells(read(noisy, "solutions/"))
    assert setup.outputs == [] and setup.execution_count == 1
    assert where.outputs[0].text == "lessons True\n"
    assert (result.outputs[0].data, result.execution_count) == ({"text/plain": "42"}, 3)
    assert [output.text for output in private.outputs] == [outputs.PRIVATE]
    assert warning.outputs[0].text.startswith("<cell>:1: UserWarning: careful\n")
    assert warning.outputs[0].text.endswith("\n100%") and len(warning.outputs) == 1
    assert mistake.outputs[0].ename == "NotJSONError"
    assert "site-packages" in "".join(mistake.outputs[0].traceback)
    text = path_of(noisy, "solutions/").read_text(encoding="utf-8")
    assert not any(str(folder) in text for folder in (noisy, sys.prefix, sys.base_prefix, "~/", "iopub"))
    assert check(noisy, capsys) == []
    assert all(cell.outputs == [] for cell in outputs.code_cells(read(noisy)))


def passes_nbval(course, cells):
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider", "-q"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    finished = subprocess.run(
        [*command, "lessons/solutions/07_seven.ipynb"], cwd=course, capture_output=True, text=True, env=environment
    )
    assert finished.returncode == 0, finished.stdout
    assert f"{cells} passed" in finished.stdout


def test_a_solved_notebook_passes_nbval(noisy):
    passes_nbval(noisy, 6)


SHOWN = f"""{TITLE}{WORDS}
# %% tags=["nbval-check-output"]
import plotly.graph_objects as go
for height in (240, 300):
    go.Figure(go.Scatter(y=[1, 3]), {{"height": height, "title": "Loss"}}).show("plotly_mimetype")

# %% [markdown]
# A widget with its picture.

# %%
class Slider:
    def _repr_mimebundle_(self, **_):
        view = {{"application/vnd.jupyter" ".widget-view+json": {{"model_id": "1"}}}}  # split: no notebook may hold it
        return view | {{"text/html": "<img alt='still'>", "text/plain": "Slider()"}}

Slider()

# %% [markdown]
# A private figure.

# %% tags=["private-output"]
go.Figure().show("plotly_mimetype")
"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """An executed course that shows figures and a widget; Chromium draws the figures' PNGs."""
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        if os.environ.get("CI"):
            pytest.fail("no Chromium on this machine: CI must install it")
        pytest.skip("no Chromium on this machine: `apt-get install chromium`")
    course = make_course(tmp_path_factory.mktemp("shown"), SHOWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "review_sentences", lambda: [SECRET])
        assert build.main(["--execute"], root=course) == 0
    return course


def test_an_execution_puts_a_png_beside_each_figure(shown, capsys):
    _, figures, widget, private = outputs.code_cells(read(shown, "solutions/"))
    assert [set(output.data) for output in figures.outputs] == [{"application/vnd.plotly.v1+json", "image/png"}] * 2
    pngs = [base64.b64decode(output.data["image/png"]) for output in figures.outputs]
    assert [png[:8] for png in pngs] == [b"\x89PNG\r\n\x1a\n"] * 2
    assert [struct.unpack(">II", png[16:24]) for png in pngs] == [(760, 240), (760, 300)]
    assert max(map(len, pngs)) < 60_000
    assert widget.outputs[0].data == {"text/html": "<img alt='still'>", "text/plain": "Slider()"}
    assert [output.text for output in private.outputs] == [outputs.PRIVATE]
    assert check(shown, capsys) == []


def test_an_html_export_shows_the_figures(shown):
    html, _ = HTMLExporter().from_notebook_node(read(shown, "solutions/"))
    _, figures, *_ = outputs.code_cells(read(shown, "solutions/"))
    pictures = re.findall(r'<img[^>]* src="data:image/png;base64,([^"]+)"', html)
    assert pictures == [output.data["image/png"] for output in figures.outputs]


def test_nbval_does_not_ask_a_new_run_for_the_png(shown):
    passes_nbval(shown, 4)


def test_no_chromium_is_one_sentence(monkeypatch):
    monkeypatch.setenv("BROWSER_PATH", "/nowhere/chromium")
    with pytest.raises(LorakitError, match=r"^No Chromium was found .*\(`apt-get install chromium`, .* BROWSER_PATH"):
        outputs.draw([{"data": [], "layout": {}}])


def test_a_widget_that_ran_without_a_picture_is_refused_and_nothing_is_written(course, capsys):
    bundle = VIEW | {"text/plain": "Explorer(r=8)"}
    edit_source(course, "6 * 7", f"display({bundle}, raw=True)")
    assert build.main(["--execute"], root=course) == 1
    assert capsys.readouterr().err == f"07_seven: {BARE}\n"
    assert not path_of(course).exists() and not path_of(course, "solutions/").exists()


def test_a_failing_cell_is_named_and_nothing_is_written(course, capsys):
    edit_source(course, "6 * 7", "6 / 0")
    assert build.main(["--execute"], root=course) == 1
    message = "07_seven: cell rank-alpha-r-2 failed (ZeroDivisionError: division by zero): mend it in the source.\n"
    assert capsys.readouterr().err == message
    assert not path_of(course).exists() and not path_of(course, "solutions/").exists()


def test_an_execution_that_shows_a_sentence_is_refused(tmp_path, capsys):
    course = make_course(tmp_path, NOISY.replace('tags=["private-output"]', 'tags=["nbval-ignore-output"]'))
    assert build.main(["--execute"], root=course) == 1
    message = capsys.readouterr().err
    assert message.startswith("07_seven: cell words-6 holds a sentence") and SECRET not in message
    assert not path_of(course, "solutions/").exists()


def test_the_real_data_set_is_what_is_hunted(monkeypatch):
    monkeypatch.undo()
    fake = SimpleNamespace(load_reviews=lambda: [SimpleNamespace(text=SECRET, rating=1.0)])
    monkeypatch.setitem(sys.modules, "lorakit.data", fake)
    assert outputs.review_sentences() == [SECRET]
