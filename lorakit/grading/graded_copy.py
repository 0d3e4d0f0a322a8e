"""The notebook that is run: the cells of the solved lesson that are needed, with the learner's answers in it."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from nbformat.v4 import new_code_cell

from lorakit.course import about_cell
from lorakit.grading.needs import imports, needed_cells
from lorakit.grading.submission import Lesson

FRESH_CHECKS = 'from lorakit.grading.kernel import fresh_checks\n\nfresh_checks("{seal}")\ndel fresh_checks\n\n'


def graded_copy(lesson: Lesson, answers: Mapping[str, str], seal: str) -> Any:
    """A fresh copy of the solved notebook, cut down to what these answers and their checks need.

    Its check cells keep their reference outputs and execution counts, since nbval passes a failing cell that has none;
    each reference ends in the seal, which only a check that was loaded afresh can print.
    """
    copy = deepcopy(lesson.notebook)
    copy.cells = [cell for cell in copy.cells if cell.cell_type == "code"]
    wanted = []
    for index, cell in enumerate(copy.cells):
        about = about_cell(cell)
        if about.get("exercise") in answers:
            cell.source = answers[about["exercise"]]
        if about.get("exercise") in answers or about.get("check") in answers:
            wanted.append(index)
    chosen, imported = needed_cells([cell.source for cell in copy.cells], wanted)
    for index in chosen:
        cell = copy.cells[index]
        if about_cell(cell).get("check") in answers:
            cell.source = FRESH_CHECKS.format(seal=seal) + cell.source
            for output in cell.outputs:
                output.text = output.text.replace("correct.", f"correct.{seal}")
        else:
            cell.outputs = []
    copy.cells = [_warm_up(lesson, answers, imported), *(copy.cells[index] for index in chosen)]
    return copy


def _warm_up(lesson: Lesson, answers: Mapping[str, str], imported: Sequence[str]) -> Any:
    """A cell that imports what is needed, and what the checks do too: no answer's time is spent on that."""
    checks = {
        statement.split()[1] for number in answers for statement in imports(lesson.exercises[number].check).values()
    }
    lines = [f'__import__("{module}");' for module in sorted(checks)]  # binds no name
    return new_code_cell("\n".join([*lines, *imported]), id="warm-up")
