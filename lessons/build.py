"""Make each lesson's two notebooks from its one source, `lessons/source/NN_name.py` (jupytext's py:percent).

    python lessons/build.py [LESSON ...]             lessons/NN_name.ipynb: stubs to fill, no outputs
                                                     lessons/solutions/NN_name.ipynb: solved
    python lessons/build.py [LESSON ...] --execute   run the solved notebooks too, and keep their outputs
    python lessons/build.py [LESSON ...] --check     write nothing: exit with 1 where anything is out of step
    python lessons/build.py --release FOLDER         a copy of the course without solutions, to hand to a class

How a source is written stands in `cells.py`. The index of terms, `lessons/terms.md`, is made from all lessons and
`source/terms.csv`.

A solved notebook keeps its outputs as long as its code stays the same; after that it has none until `--execute`.
"""

import argparse
import re
import sys
import time
from pathlib import Path

import nbformat
from cells import check_markers, check_style, read_cells, solve, stub
from nbformat import NotebookNode
from nbformat.reader import NotJSONError
from nbformat.v4 import new_code_cell, new_notebook
from outputs import (
    FIGURE,
    FIGURE_PICTURE,
    WIDGET,
    WIDGET_PICTURE,
    cells_with_sentences,
    cells_without_picture,
    code_cells,
    execute,
    has_outputs_of,
    keep_outputs,
    review_sentences,
)
from release import release
from terms import index_text, read_terms

from lorakit import __version__
from lorakit.course import KEPT, MAP_PAGE, TERMS, about_cell, fresh_notebook, keep_copy, notebook_text
from lorakit.errors import LorakitError
from lorakit.housekeeping import write_whole

ROOT = Path(__file__).resolve().parents[1]
MAX_BYTES = 2**20
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
    "accelerator": "GPU",
    "colab": {"gpuType": "T4", "provenance": []},
}
# The floors in pyproject.toml are what Colab ships, so pip adds what is missing there and upgrades nothing.
SETUP = """\
# On Colab this installs the course; anywhere else it does nothing.
import importlib.util
import sys

if "google.colab" in sys.modules and importlib.util.find_spec("lorakit") is None:
    %pip install -q "lorakit @ git+{repository}\""""

# --- 1. Cells become two notebooks ---


def make_notebooks(source: Path, repository: str) -> tuple[NotebookNode, NotebookNode]:
    """A lesson's notebooks, both without outputs: the learner's and the solved one."""
    file, text = f"lessons/source/{source.name}", source.read_text(encoding="utf-8")
    if not re.fullmatch(r"\d\d_[a-z0-9_]+\.py", source.name):
        raise LorakitError(f"{file}: a lesson's name is two digits, `_` and small letters: rename it.")
    check_markers(file, text)
    title, *cells = read_cells(file, int(source.name[:2]), text)
    first_line, _, rest = title.source.partition("\n")
    title.source = f"{first_line}\n\n{badges(repository, source.stem)}\n{rest}".rstrip("\n")
    cells = [title, new_code_cell(SETUP.format(repository=repository), id="setup"), *cells]
    metadata = nbformat.from_dict(METADATA | {"lorakit": {"lesson": source.stem, "release": __version__}})
    solved = new_notebook(cells=cells, metadata=metadata)
    for cell in code_cells(solved):
        unsolved, cell.source = stub(cell.source), solve(cell.source)
        if "exercise" in about_cell(cell):
            cell.metadata.lorakit.stub = unsolved
            if unsolved == cell.source:
                raise LorakitError(f"{file} cell {cell.id}: this exercise hides nothing: put `# BEGIN SOLUTION` in it.")
        if left := re.search(r"# (BEGIN SOLUTION|END SOLUTION|STUB).*", unsolved + cell.source):
            raise LorakitError(f"{file} cell {cell.id}: `{left[0]}` does not stand where it can be used: move it.")
    learner = fresh_notebook(solved)
    check_style(file, learner)
    check_style(file, solved)
    return learner, solved


def learner_lessons(root: Path) -> dict[str, NotebookNode]:
    """Each learner's notebook, by the lesson's name: from its source, since the file may be filled in."""
    sources, repository = sorted((root / "lessons" / "source").glob("*.py")), read_repository(root)
    return {source.stem: make_notebooks(source, repository)[0] for source in sources}


def learner_notebooks(root: Path) -> dict[str, str]:
    """The text of each learner's notebook, by file name."""
    return {f"{lesson}.ipynb": notebook_text(notebook) for lesson, notebook in learner_lessons(root).items()}


def badges(repository: str, lesson: str) -> str:
    """Two links, in markdown, that open the learner's notebook of branch main."""
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?/?", repository)
    if not found:
        raise LorakitError(f"pyproject.toml: Repository = {repository!r} must be https://github.com/<owner>/<name>.")
    colab = f"https://colab.research.google.com/github/{found[1]}/blob/main/lessons/{lesson}.ipynb"
    binder = f"https://mybinder.org/v2/gh/{found[1]}/main?urlpath=lab/tree/lessons/{lesson}.ipynb"
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})\n"
        f"[![Launch Binder](https://mybinder.org/badge_logo.svg)]({binder})"
    )


def read_repository(root: Path) -> str:
    """The repository's address, from the one place where it stands."""
    # Python 3.10 has no tomllib, and one line is not worth a dependency.
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^\[project\.urls\]$.*?^Repository = "(.+?)"', text, re.M | re.S)
    if not found:
        raise LorakitError('pyproject.toml: [project.urls] has no line `Repository = "…"`: add it.')
    return found[1]


# --- 2. Notebooks are written, or checked ---


def notebook_paths(lesson: str, root: Path) -> tuple[Path, Path]:
    """Where a lesson's notebooks are kept: the learner's and the solved one."""
    return root / "lessons" / f"{lesson}.ipynb", root / "lessons" / "solutions" / f"{lesson}.ipynb"


def load(path: Path) -> NotebookNode | None:
    """The notebook at a path; None where there is none that can be read."""
    try:
        return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
    except (FileNotFoundError, NotJSONError):
        return None


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda half: half.write_bytes(text.encode()))


def command(lesson: str, option: str = "") -> str:
    """What to run to put a lesson right."""
    return f"run `python lessons/build.py {lesson}{option}`"


def bare_widget(lesson: str, cell: str) -> str:
    """What is wrong with a widget that a saved notebook could not show, and what mends it."""
    mend = f"give the widget one as text/html, or tag the cell private-output, then {command(lesson, ' --execute')}"
    return f"cell {cell} shows a widget without a picture: {mend}."


def build(source: Path, root: Path, sentences: list[str], executing: bool) -> str:
    """Write a lesson's notebooks; says in one line what was done."""
    lesson, started = source.stem, time.perf_counter()
    learner, solved = make_notebooks(source, read_repository(root))
    learner_path, solved_path = notebook_paths(lesson, root)
    ran = execute(solved, lesson, root / "lessons") if executing else load(solved_path)
    done = f"built; the solved notebook has no outputs yet: {command(lesson, ' --execute')}"
    if executing or has_outputs_of(ran, solved):
        if bare := cells_without_picture(ran, WIDGET, WIDGET_PICTURE):
            raise LorakitError(f"{lesson}: {bare_widget(lesson, bare[0])}")
        keep_outputs(solved, ran)
        done = "built, outputs kept"
    if executing:
        if leaks := cells_with_sentences(solved, sentences):
            raise LorakitError(f"{lesson}: cell {leaks[0]} holds a sentence of the data set: tag it private-output.")
        done = f"built and executed in {time.perf_counter() - started:.1f} s"
    if (old := load(learner_path)) and any(cell.execution_count for cell in code_cells(old)):  # somebody's work
        done += f"; what was in {learner_path.name} is kept as {keep_copy(learner_path).name}"
    write(learner_path, notebook_text(learner))
    write(solved_path, notebook_text(solved))
    return f"{lesson}: {done}"


def check(source: Path, root: Path, sentences: list[str]) -> list[str]:
    """What is out of step in a lesson's notebooks: a line for each problem, with what mends it."""
    lesson, problems = source.stem, []
    try:
        learner, solved = make_notebooks(source, read_repository(root))
    except LorakitError as error:
        return [f"{error} Then {command(lesson)}."]
    paths = notebook_paths(lesson, root)
    old = load(paths[1])
    if kept := has_outputs_of(old, solved):
        keep_outputs(solved, old)
        file = paths[1].relative_to(root)
        for cell in cells_without_picture(old, FIGURE, FIGURE_PICTURE):
            problems.append(f"{file}: cell {cell} shows a figure without its PNG: {command(lesson, ' --execute')}.")
        for cell in cells_without_picture(old, WIDGET, WIDGET_PICTURE):
            problems.append(f"{file}: {bare_widget(lesson, cell)}")
    for path, fresh in zip(paths, (learner, solved), strict=True):
        file, text = path.relative_to(root), path.read_bytes().decode() if path.exists() else ""
        if fresh is solved and not kept:
            problems.append(f"{file}: has no outputs of this code: {command(lesson, ' --execute')}.")
        elif text != notebook_text(fresh):
            problems.append(f"{file}: differs from its source: {command(lesson)}.")
        if "application/vnd.jupyter.widget-" in text:
            problems.append(f"{file}: holds the state of a widget: {command(lesson)}.")
        if len(text.encode()) > MAX_BYTES:
            problems.append(f"{file}: is over 1 MiB: show less in its source, then {command(lesson, ' --execute')}.")
    for cell in cells_with_sentences(old, sentences) if old else []:
        mend = f"tag it private-output, then {command(lesson, ' --execute')}"
        problems.append(f"{paths[1].relative_to(root)}: cell {cell} holds a sentence of the data set: {mend}.")
    return problems


def orphans(root: Path) -> list[str]:
    """A line for each notebook that has no source; what lorakit writes for a learner needs none."""
    found = [path for folder in ("lessons", "lessons/solutions") for path in root.glob(f"{folder}/*.ipynb")]
    paths = [path.relative_to(root) for path in found if path.name != MAP_PAGE]
    return [
        f"{path}: has no source in lessons/source: run `git rm {path}`."
        for path in sorted(paths)
        if not (root / "lessons" / "source" / f"{path.stem}.py").exists() and not KEPT.search(path.stem)
    ]


def readme_with_badges(root: Path, lesson: str) -> tuple[str, str]:
    """README.md as it is, and with a lesson's badges between its two badge comments ("" where there is no README)."""
    path = root / "README.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    block = f"<!-- badges -->\n{badges(read_repository(root), lesson)}\n<!-- /badges -->"
    return text, re.sub(r"<!-- badges -->.*?<!-- /badges -->", lambda _: block, text, flags=re.S)


def fresh_index(root: Path) -> str:
    """The index of terms, from all lessons; "" where there is no table of terms."""
    table = root / "lessons" / "source" / "terms.csv"
    return index_text(read_terms(table), learner_lessons(root)) if table.exists() else ""


def write_or_compare(path: Path, text: str, fresh: str, checking: bool) -> list[str]:
    """Write a file that is made from others, where it differs; or say that it does."""
    if text == fresh:
        return []
    if checking:
        return [f"{path.name}: it is out of step: run `python lessons/build.py`."]
    write(path, fresh)
    return []


def run(lessons: list[str], root: Path, *, executing: bool, checking: bool) -> int:
    """Build the lessons that are named (`07`, `07_name` or its path; all where none is), or check them."""
    every = sorted((root / "lessons" / "source").glob("*.py"))
    wanted = {Path(name).stem for name in lessons}
    sources = [source for source in every if not wanted or wanted & {source.stem, source.stem[:2]}]
    if unknown := wanted - {name for source in every for name in (source.stem, source.stem[:2])}:
        raise LorakitError(
            f"No lesson is called {min(unknown)!r}: choose from {', '.join(path.stem for path in every)}."
        )

    sentences = review_sentences() if executing or checking else []
    problems = orphans(root) if checking else []
    for source in sources:
        if checking:
            problems += check(source, root, sentences)
        else:
            print(build(source, root, sentences, executing), flush=True)
    if every:
        problems += write_or_compare(root / "README.md", *readme_with_badges(root, every[0].stem), checking)
    if every and not problems:  # the index is made of sound lessons
        index = root / "lessons" / TERMS
        text = index.read_text(encoding="utf-8") if index.exists() else ""
        problems += write_or_compare(index, text, fresh_index(root), checking)
    print(*problems, sep="\n", end="\n" if problems else "")
    return 1 if problems else 0


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Make each lesson's notebooks from its source.")
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help="07, 07_name or its path; all if none is named")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--execute", action="store_true", help="run the solved notebooks and keep their outputs")
    mode.add_argument("--check", action="store_true", help="write nothing; fail where anything is out of step")
    mode.add_argument("--release", type=Path, metavar="FOLDER", help="put a copy without solutions there, for a class")
    options = parser.parse_args(arguments)
    if options.release and options.lessons:
        parser.error("--release takes all lessons: name none.")
    try:
        if options.release:
            print(release(root, options.release, learner_notebooks(root)))
            return 0
        return run(options.lessons, root, executing=options.execute, checking=options.check)
    except LorakitError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
