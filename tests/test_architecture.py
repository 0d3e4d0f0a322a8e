"""Which part may import which: the allowed directions, and what each import is against them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {  # a part of lorakit, and the others that it may import, at its top or in a function
    "__init__": {"errors"},
    "errors": set(),
    "housekeeping": {"errors"},
    "records": set(),
    "measurements": set(),
    "claims": set(),
    "cache": {"errors"},
    "course": {"errors", "housekeeping"},
    "progress": {"course"},
    "course_map": {"course", "progress"},
    "activations": {"errors"},
    "data": {"cache", "errors"},
    "models": {"cache", "errors", "housekeeping"},
    "census": {"errors", "models"},
    "lora": {"errors", "models"},
    "quantization": {"errors", "models"},
    "finetune": {"data", "errors", "housekeeping", "lora", "models"},
    "memory": {"errors", "housekeeping", "lora", "measurements", "models", "quantization", "records"},
    "checks": {
        *("claims", "course", "data", "errors", "finetune", "housekeeping"),
        *("lora", "memory", "models", "progress", "quantization"),
    },
    "grading": {"course", "errors", "housekeeping"},
    "doctor": {"cache", "data", "models"},
    "cli": {
        *("cache", "course", "course_map", "data", "doctor", "errors", "finetune"),
        *("grading", "memory", "models"),
    },
    "__main__": {"cli"},
}
WIDGETS = {
    *("activations", "census", "course", "data", "errors", "finetune", "lora"),
    *("memory", "models", "progress", "quantization"),
}
WORKSHOP = {"course", "data", "errors", "housekeeping"}
"""What lessons/*.py may import: build, and what it is made of."""
HEAVY = {"torch", "transformers", "peft", "numpy", "bitsandbytes", "plotly", "ipywidgets", "anywidget", "IPython"}
LIGHT = {
    *("errors", "housekeeping", "cache", "course", "progress", "course_map"),
    *("doctor", "cli", "records", "measurements", "grading"),
}
"""Parts that answer at once, since they load nothing of HEAVY before it is needed."""


def imported(file: Path, at_top_only: bool = False) -> Iterator[str]:
    """Every module that a file imports, in functions too; not what is there for type checkers alone."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for_types = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    skipped = {id(inner) for node in for_types for inner in ast.walk(node)}
    for node in tree.body if at_top_only else ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import, which this test cannot read"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(module: str) -> str:
    """The part of lorakit that `lorakit.part.module.name` belongs to; of `lorakit.LorakitError`, the package itself."""
    name = module.split(".")[1] if "." in module else "__init__"
    return name if name in ALLOWED else "__init__"


def parts_imported(file: Path) -> set[str]:
    found = {part_of(module) for module in imported(file) if module.split(".")[0] == "lorakit"}
    return found - {"__init__"}


def files(part: str) -> list[Path]:
    folder = ROOT / "lorakit" / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def test_every_part_has_its_directions():
    there = {
        path.stem for path in (ROOT / "lorakit").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert there == set(ALLOWED)


@pytest.mark.parametrize("part", ALLOWED)
def test_a_part_imports_what_it_may(part):
    against = {str(file.relative_to(ROOT)): parts_imported(file) - ALLOWED[part] - {part} for file in files(part)}
    assert {file: parts for file, parts in against.items() if parts} == {}


@pytest.mark.parametrize("part", ALLOWED)
def test_no_direction_is_allowed_that_nothing_takes(part):
    assert ALLOWED[part] <= set().union(*map(parts_imported, files(part)))


def test_the_directions_have_no_circle():
    left = dict(ALLOWED)
    while done := [part for part, needs in left.items() if not needs & set(left)]:
        for part in done:
            del left[part]
    assert left == {}


@pytest.mark.parametrize(("folder", "allowed"), [("widgets", WIDGETS), ("lessons", WORKSHOP)])
def test_what_stands_on_lorakit_uses_these_parts_of_it(folder, allowed):
    found = set().union(*map(parts_imported, (ROOT / folder).glob("*.py")))
    assert found == allowed


def test_nothing_of_lorakit_or_the_workshop_imports_what_is_drawn():
    sources = [*(ROOT / "lorakit").rglob("*.py"), *(ROOT / "lessons").glob("*.py")]
    drawn = ("widgets", "plotly", "ipywidgets", "anywidget")
    assert [(file, module) for file in sources for module in imported(file) if module.split(".")[0] in drawn] == []


@pytest.mark.parametrize("part", sorted(LIGHT))
def test_a_light_part_loads_nothing_heavy_as_it_is_imported(part):
    heavy = {
        module: str(file.relative_to(ROOT))
        for file in files(part)
        for module in imported(file, at_top_only=True)
        if module.split(".")[0] in HEAVY
        or (module.startswith("lorakit.") and part_of(module) not in LIGHT | {"__init__"})
    }
    assert heavy == {}


def test_a_lessons_checks_lean_on_earlier_lessons_alone():
    for file in files("checks"):
        lesson = next((name for name in (file.stem, file.parent.name) if name.startswith("lesson")), None)
        others = {module.split(".")[2] for module in imported(file) if module.startswith("lorakit.checks.lesson")}
        assert lesson is None or all(other <= lesson for other in others), file


def test_a_package_has_no_circle_inside():
    for package in ("activations", "checks", "finetune", "grading", "lora", "memory", "models", "quantization"):
        left = {}
        for file in files(package):
            inside = [module.split(".") for module in imported(file) if module.startswith(f"lorakit.{package}.")]
            left[file.stem if file.parent.name == package else file.parent.name] = {names[2] for names in inside}
        left.pop("__init__")
        for name in left:
            left[name] &= left.keys() - {name}
        while done := [name for name, needs in left.items() if not needs & set(left)]:
            for name in done:
                del left[name]
        assert left == {}, package
