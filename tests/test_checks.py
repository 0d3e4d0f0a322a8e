"""The checks: every answer that is right passes, and each that is wrong is told what is wrong with it."""

import ast
import importlib
import inspect
import json
import linecache
import logging
import math
import re
import subprocess
import sys
import warnings
from pathlib import Path
from random import Random

import pytest
import torch
from machine import RECORDS
from wrong_answers import exercise_cells, exercises, right_answers, wrong_answers

from lorakit.checks import CheckFailed, forget_progress, frame, hint, solution
from lorakit.checks import help as help_module
from lorakit.checks.frame import (
    EXERCISES,
    SHOWN,
    Answer,
    Trial,
    as_number,
    captured,
    describe,
    is_stub,
    judge,
    same,
)
from lorakit.checks.lesson12 import capstone
from lorakit.errors import LorakitError
from lorakit.finetune import Evaluation, TrainConfig
from lorakit.progress import progress_folder, read_progress, record_progress

SEEDS = range(5)
FALLBACK = "Not right yet"
ALL_WRONG = [wrong for exercise in exercises() for wrong in wrong_answers(exercise)]


@pytest.fixture(autouse=True)
def data(monkeypatch, tmp_path):
    """Each test has a progress of its own, and hints from the first on."""
    monkeypatch.setenv("LORAKIT_DATA", str(tmp_path))
    monkeypatch.setattr(help_module, "_given", help_module.Counter())
    return tmp_path


@pytest.fixture(autouse=True)
def capstone_runs(monkeypatch):
    """Lesson 12's capstone trains for minutes; here it finds what `tests/bench/capstone_runs.py` has trained."""
    record = json.loads((RECORDS / "capstone_runs.json").read_text(encoding="utf-8"))
    reached = {TrainConfig(**run["settings"]): Evaluation(**run["after"]) for run in record["runs"]}
    monkeypatch.setattr(capstone, "accuracy_after", reached.__getitem__)


def answer_of(exercise, source):
    """What the learner's cell defines under the name that the lesson's check cell uses."""
    imported, call = ast.parse(exercise_cells()[exercise].check).body
    file = f"<cell {exercise}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)  # as IPython does
    names = {"torch": torch, "math": math}
    exec(compile(source, file, "exec"), names)
    assert imported.names[0].name == call.value.func.id
    return names[call.value.args[0].id]


def check_of(exercise):
    """The check that the lesson's check cell calls."""
    imported, call = ast.parse(exercise_cells()[exercise].check).body
    check = getattr(importlib.import_module(imported.module), call.value.func.id)
    assert EXERCISES[exercise].check is check
    return check


def outcome(exercise, source, seed=None):
    """The message of a failed check; None if it passed."""
    try:
        check_of(exercise)(answer_of(exercise, source), seed=seed)
    except CheckFailed as error:
        return str(error)


# --- Every exercise ---


@pytest.mark.parametrize("wrong", ALL_WRONG, ids=lambda wrong: f"{wrong.exercise}-{wrong.name}")
def test_a_wrong_answer_gets_the_message_meant_for_it(wrong):
    messages = [outcome(wrong.exercise, wrong.source, seed) for seed in SEEDS]
    assert [wrong.message in (message or "passed") for message in messages] == [True] * 5, messages
    assert read_progress() == {wrong.exercise: "incorrect"}


@pytest.mark.parametrize("exercise", exercises())
def test_every_exercise_has_its_wrong_answers(exercise):
    wrongs = wrong_answers(exercise)
    assert len({wrong.name for wrong in wrongs}) == len(wrongs) >= 4
    assert "hard-coded" in [wrong.name for wrong in wrongs]
    assert sum(FALLBACK in wrong.message for wrong in wrongs) <= 1


@pytest.mark.parametrize("exercise", exercises())
def test_every_mistake_that_a_check_names_has_a_wrong_answer_and_a_message_of_its_own(exercise, monkeypatch):
    check, named = check_of(exercise), []
    module = sys.modules[check.__module__]
    monkeypatch.setattr(module, "judge", lambda trials, wanted: named.extend(map(list, (t.mistakes for t in trials))))
    check(answer_of(exercise, exercise_cells()[exercise].solution), seed=0)
    assert all(sentences == named[0] for sentences in named)
    fragments = {wrong.message for wrong in wrong_answers(exercise)}
    assert [sum(fragment in sentence for fragment in fragments) for sentence in named[0]] == [1] * len(named[0])
    assert all(sum(fragment in sentence for sentence in named[0]) <= 1 for fragment in fragments)


@pytest.mark.parametrize("exercise", exercises())
def test_the_untouched_stub_is_not_attempted(exercise, capsys):
    check_of(exercise)(answer_of(exercise, exercise_cells()[exercise].stub))
    line = f"Exercise {exercise}: not attempted yet. Fill in the cell above, run it, then run this again.\n"
    assert capsys.readouterr() == (line, "")
    assert read_progress() == {}


@pytest.mark.parametrize("exercise", exercises())
def test_the_solution_passes(exercise, capsys):
    for seed in range(20):
        assert outcome(exercise, exercise_cells()[exercise].solution, seed) is None
    assert outcome(exercise, exercise_cells()[exercise].solution) is None
    assert capsys.readouterr() == (f"Exercise {exercise}: correct.\n" * 21, "")
    assert read_progress() == {exercise: "correct"}


@pytest.mark.parametrize(
    ("exercise", "name"), [(exercise, name) for exercise in exercises() for name in right_answers(exercise)]
)
def test_another_right_answer_passes_too(exercise, name):
    source = right_answers(exercise)[name]
    assert [outcome(exercise, source, seed) for seed in range(20)] == [None] * 20


@pytest.mark.parametrize("exercise", exercises())
def test_a_check_cell_does_nothing_but_check(exercise):
    module = f"lorakit.checks.lesson{int(exercise.split('.')[0]):02}"
    check = check_of(exercise)
    name = next(node.name for node in ast.parse(exercise_cells()[exercise].stub).body if hasattr(node, "name"))
    assert exercise_cells()[exercise].check == (f"from {module} import {check.__name__}\n\n{check.__name__}({name})")
    assert list(inspect.signature(check).parameters) == ["answer", "seed"]
    assert len(EXERCISES[exercise].hints) == 3


@pytest.mark.parametrize("exercise", exercises())
def test_the_same_seed_makes_the_same_trials_and_another_one_others(exercise):
    right = answer_of(exercise, exercise_cells()[exercise].solution)

    def arguments(seed):
        given = []

        def answer(*arguments):
            given.append([repr(a.tolist() if hasattr(a, "tolist") else a) for a in arguments])
            return right(*arguments)

        check_of(exercise)(answer, seed=seed)
        return given

    torch.manual_seed(1)
    first = arguments(7)
    torch.manual_seed(2)
    assert arguments(7) == first
    assert len({str(arguments(seed)) for seed in range(5)}) == 5


@pytest.mark.parametrize("exercise", exercises())
def test_a_check_leaves_the_learners_random_numbers_alone(exercise):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    outcome(exercise, exercise_cells()[exercise].solution)
    assert torch.equal(torch.rand(3), expected)


# --- What a check says ---

SOLUTION_7_1 = "    return sum(r * (i + o) for i, o in shapes)\n"


def answer_7_1(*lines):
    return "def adapter_weights(r, shapes):\n" + "".join(f"    {line}\n" for line in lines)


def test_what_a_right_answer_says_costs_it_nothing(capsys, monkeypatch):
    # As outside pytest, which collects warnings.
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_, **__: print(message, file=sys.stderr))
    source = answer_7_1(
        "import sys, warnings, logging",
        "print('a debug print')",
        "print('another', file=sys.stderr)",
        "warnings.warn('a warning')",
        "logging.getLogger('learner').error('an error')",
        "logging.warning('a warning of the root logger')",
    )
    logger = logging.getLogger("learner")
    handler = logging.StreamHandler(sys.stderr)  # keeps the stderr of now
    logger.addHandler(handler)
    try:
        assert outcome("7.1", source + SOLUTION_7_1) is None
        assert capsys.readouterr() == ("Exercise 7.1: correct.\n", "")
        logger.error("logged again")
        assert "logged again" in capsys.readouterr().err
    finally:
        logger.removeHandler(handler)


def test_what_a_wrong_answer_printed_is_shown_but_not_all_of_it(capsys):
    message = outcome("7.1", answer_7_1("print('here', r)", "return 1"), seed=0)
    assert re.search(r"\nYour code said: here \d+\nhere \d+", message)
    message = outcome("7.1", answer_7_1("print('x' * 10_000)", "return 1"))
    assert message.endswith("x" * SHOWN) and not message.endswith("x" * (SHOWN + 1))
    assert capsys.readouterr() == ("", "")


def test_a_missing_return_is_named():
    assert outcome("7.1", answer_7_1("r + 1")).startswith("Your function returned None: does every way through it")
    assert outcome("7.1", answer_7_1("return ...")).startswith("Your function returned Ellipsis:")


def test_an_error_in_the_answer_names_its_line_and_what_was_given():
    source = answer_7_1("total = 0", "for i, o, b in shapes:", "    total += r * (i + o)", "return total")
    message = outcome("7.1", source, seed=0)
    assert re.match(
        r"Your function, given r = \d+, shapes = \[\(1\d\d, 2\d\d\), .*\], raised ValueError: not enough values",
        message,
    )
    assert message.endswith("\nIn line 3: for i, o, b in shapes:")


def test_a_built_in_that_raises_is_an_answer_like_others():
    with pytest.raises(CheckFailed, match=r"given argument 1 = \d+, argument 2 = .*raised "):
        Answer(torch.mul)(3, [])


def test_an_error_below_the_answers_own_lines_names_the_line_that_called():
    source = answer_7_1("return torch.zeros(2) @ torch.zeros(3)")
    assert outcome("7.1", source).endswith("\nIn line 2: return torch.zeros(2) @ torch.zeros(3)")


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("return torch.ones(2, 3) @ torch.ones(2, 3)", "one of the two may have to be transposed"),
        ("return 1 if torch.ones(2) != torch.ones(2) else 2", "ask whether all, or any, of them hold"),
        ("return {}[None]", "what is to be done where there is no name?"),
    ],
)
def test_an_error_that_says_little_comes_with_advice(line, advice):
    assert advice in outcome("7.1", answer_7_1(line))
    assert advice not in outcome("7.1", answer_7_1("return torch.zeros(2) @ torch.zeros(3)"))


@pytest.mark.parametrize("line", ["raise SystemExit('bye')", "import sys; sys.exit('bye')", "exit('bye')"])
def test_an_exit_in_the_answer_is_an_error_like_others(line):
    assert "raised SystemExit: bye\nIn line 2: " in outcome("7.1", answer_7_1(line))


def test_the_wrong_number_of_arguments_is_an_error_of_the_answer():
    assert "raised TypeError: adapter_weights() takes 1" in outcome("7.1", "def adapter_weights(r):\n    return r")


def test_the_stop_button_stops_an_answer():
    with pytest.raises(KeyboardInterrupt):
        outcome("7.1", answer_7_1("raise KeyboardInterrupt"))
    assert read_progress() == {}


@pytest.mark.parametrize(
    ("exercise", "line"),
    [("7.1", "shapes[:] = []"), ("7.2", "logits.zero_(); labels.fill_(-100)"), ("7.3", "truth.clear()")],
)
def test_arguments_changed_in_place_do_no_harm(exercise, line):
    name, arguments = re.search(r"def (\w+)(\(.*?\))", exercise_cells()[exercise].solution).groups()
    source = f"{exercise_cells()[exercise].solution}\n\nright = {name}\ndef {name}{arguments}:\n"
    assert outcome(exercise, f"{source}    result = right{arguments}\n    {line}\n    return result") is None


def test_a_value_where_a_function_is_wanted_is_named():
    assert outcome("7.1", "adapter_weights = 460800").startswith("A function is wanted here, and this is 460800.")


@pytest.mark.parametrize(
    "strange", ["{'a': torch.zeros(3)}", "object()", "print", "float('nan')", "'many'", "1j", "b''"]
)
@pytest.mark.parametrize("exercise", exercises())
def test_a_strange_answer_is_wrong_and_no_more(exercise, strange):
    name, arguments = re.search(r"def (\w+)(\(.*?\))", exercise_cells()[exercise].solution).groups()
    assert outcome(exercise, f"def {name}{arguments}:\n    return {strange}") is not None


def test_a_notebook_shows_the_message_and_where_hints_are_but_no_traceback():
    code = f"""\
{exercise_cells()["7.1"].check.splitlines()[0]}
def adapter_weights(r, shapes):
    return sum(r * i for i, o in shapes)
check_adapter_weights(adapter_weights)
"""
    command = [sys.executable, "-m", "IPython", "--colors=NoColor", "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout.strip().splitlines()
    assert shown[:3] == ["Exercise 7.1: not yet.", "", "This counts A alone: B is trained too."]
    assert re.fullmatch(r"For r = \d+, shapes = \[.*\] you returned \d+\.", shown[3])
    assert shown[4:] == ["", 'from lorakit.checks import hint; hint("7.1")  # gives a hint']


def test_a_seal_ends_the_line_of_a_correct_answer(monkeypatch, capsys):
    monkeypatch.setattr(frame, "seal", " (4711)")
    outcome("7.1", exercise_cells()["7.1"].solution)
    assert capsys.readouterr().out == "Exercise 7.1: correct. (4711)\n"


def test_the_checks_load_without_torch():
    code = "import lorakit.checks, lorakit.checks.frame, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# --- Hints, solutions, progress ---


def test_each_hint_says_more_until_there_is_none(capsys):
    hints = EXERCISES["7.1"].hints
    for number in (1, 2):
        hint("7.1")
        assert capsys.readouterr().out == f"Hint {number} of 3: {hints[number - 1]}\n"
    for _ in range(2):
        hint("7.1")
        last = f'Hint 3 of 3: {hints[2]}\nThere is no further hint; solution("7.1") shows an answer.\n'
        assert capsys.readouterr().out == last
    hint("7.2")
    assert capsys.readouterr().out.startswith("Hint 1 of 3: ")


@pytest.mark.parametrize("ask", [hint, solution])
@pytest.mark.parametrize(
    ("number", "way_out"),
    [
        ("7.9", "in lesson 7 there are 7.1, 7.2, 7.3."),
        ("99.1", 'write it like hint("7.1").'),
        ("seven", 'write it like hint("7.1").'),
    ],
)
def test_an_exercise_that_does_not_exist_is_named(ask, number, way_out):
    with pytest.raises(LorakitError, match=re.escape(f"There is no exercise {number!r}: {way_out}")):
        ask(number)


@pytest.mark.parametrize("exercise", exercises())
def test_solution_prints_the_lessons_answer(exercise, capsys):
    solution(exercise)
    assert capsys.readouterr().out == exercise_cells()[exercise].solution + "\n"


def test_progress_is_kept_and_what_was_once_correct_stays_so(data):
    assert progress_folder() == data / "progress"
    record_progress("7.1", "incorrect")
    assert read_progress() == {"7.1": "incorrect"}
    record_progress("7.1", "correct")
    record_progress("7.1", "incorrect")
    record_progress("0.1", "incorrect")
    assert read_progress() == {"0.1": "incorrect", "7.1": "correct"}
    forget_progress()
    assert read_progress() == {}
    forget_progress()


def test_a_folder_that_cannot_be_written_costs_no_one_a_right_answer(data, capsys):
    (data / "progress").write_text("a file where a folder should be")
    assert outcome("7.1", exercise_cells()["7.1"].solution) is None
    assert capsys.readouterr().out == "Exercise 7.1: correct.\n"
    assert "counts A alone" in outcome("7.1", answer_7_1("return sum(r * i for i, o in shapes)"))
    assert read_progress() == {}


def test_progress_is_in_the_users_data_folder_where_no_other_is_named(monkeypatch):
    monkeypatch.delenv("LORAKIT_DATA")
    assert progress_folder().parts[-2:] == ("lorakit", "progress") and progress_folder().is_absolute()


# --- The frame's parts ---


def stub_with_docstring(a, b):
    """Says what it is to do."""
    ...


def stub_with_pass(a):
    # a comment
    pass


def stub_with_a_default(a, b=3) -> int: ...


def returns_a_number(a):
    return 0


def only_prints(a):
    print(a)


def keeps_a_value(a):
    a = 1  # noqa: F841


def raises(a):
    raise NotImplementedError


@pytest.mark.parametrize(
    "answer", [None, ..., stub_with_docstring, stub_with_pass, stub_with_a_default, lambda *a: None, lambda x: None]
)
def test_what_is_a_stub(answer):
    assert is_stub(answer)


@pytest.mark.parametrize(
    "answer", [0, "", [], False, returns_a_number, only_prints, keeps_a_value, raises, print, lambda: 0, lambda x: ...]
)
def test_what_is_no_stub(answer):
    assert not is_stub(answer)


TENSOR = torch.tensor([0.25, 0.5])


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (5, 5),
        (5.0, 5),
        (torch.tensor(5), 5),
        (1.000001, 1.0),
        (0.0, 0.0),
        ((1, 2), [1, 2]),
        ([1, torch.tensor(2)], (1, 2)),
        (TENSOR, TENSOR),
        (TENSOR.double(), TENSOR),
        (TENSOR * 1.01, TENSOR.bfloat16()),
        (TENSOR.bfloat16() * 1.01, TENSOR),
        (TENSOR.clone().requires_grad_(), TENSOR),
        ("good", "good"),
        (True, True),
    ],
)
def test_what_is_the_same(seen, expected):
    assert same(seen, expected)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (5, 6),
        (10**6 + 1, 10**6),  # whole numbers are compared exactly
        (1.0001, 1.0),
        ("5", 5),
        (True, 1),
        (None, 1.0),
        (math.nan, 1.0),
        ((1, 2), (1, 2, 3)),
        ({1, 2}, (1, 2)),
        ((2, 1), (1, 2)),
        (TENSOR[None], TENSOR),
        ([0.25, 0.5], TENSOR),
        (TENSOR * 1.01, TENSOR),
        (TENSOR.bfloat16() * 1.1, TENSOR),
        (TENSOR * math.nan, TENSOR),
        (1, True),
        ("good", "bad"),
        ({"a": TENSOR}, {"a": TENSOR.clone()}),  # two tensors have no one answer to `==`
    ],
)
def test_what_is_not_the_same(seen, expected):
    assert not same(seen, expected)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3, "3"),
        (1 / 3, "0.333333"),
        ([1 / 3, (2, 2 / 3)], "[0.333333, (2, 0.666667)]"),
        (torch.tensor([0.25, 1 / 3]), "tensor([0.25, 0.333333], float32)"),
        (torch.tensor(2), "tensor(2, int64)"),
        (torch.zeros(3, 4, dtype=torch.bfloat16), "a tensor of shape (3, 4), bfloat16"),
        ((torch.zeros(3, 4), 2), "(a tensor of shape (3, 4), float32, 2)"),
        ("x" * 1000, "'" + "x" * (SHOWN - 1) + "…"),
    ],
)
def test_values_in_words(value, words):
    assert describe(value) == words


@pytest.mark.parametrize("value", [True, "3", None, torch.zeros(2), 1j, [3], {}])
def test_what_is_no_number(value):
    assert as_number(value) is None


def trial(seen, expected, **mistakes):
    return Trial(given=f"x = {expected}", seen=seen, expected=expected, mistakes=mistakes)


def message_of(*trials):
    with pytest.raises(CheckFailed) as caught:
        judge(trials, "the double")
    return str(caught.value)


def test_right_trials_pass_judgement():
    judge([trial(2, 2), trial(4, 4)], "the double")


def test_the_mistake_must_explain_every_wrong_trial():
    both = message_of(trial(1, 2, half=1, less=1), trial(3, 4, half=2, less=3))
    assert both == "less\nFor x = 2 you returned 1."
    tensor = message_of(trial(torch.ones(2), torch.zeros(2)), trial(torch.ones(3), torch.ones(3)))
    assert tensor.startswith("Not right yet: the double is wanted. The shape is right, the numbers are not.\n")
    assert "The shape is right" not in message_of(trial(torch.ones(3), torch.zeros(2)))
    neither = message_of(trial(1, 2, half=1), trial(3, 4, half=2))
    assert neither == "Not right yet: the double is wanted.\nFor x = 2 you returned 1."


def test_trials_that_came_out_right_do_not_speak_against_a_mistake():
    assert message_of(trial(2, 2, half=1), trial(3, 6, half=3)) == "half\nFor x = 6 you returned 3."
    assert message_of(trial(2, 2), trial(3, 6)).endswith("you returned 3. (It was right in 1 of 2 trials.)")


def test_an_answer_that_is_always_the_same_is_named_before_a_mistake():
    assert message_of(trial(7, 2, off=7), trial(7, 4, off=7)).startswith("Your function returns the same for every")
    assert message_of(trial(7, 2, off=7)).startswith("off")


def test_an_answer_gets_copies_of_its_arguments():
    given = [[1, 2], torch.zeros(2)]
    assert Answer(lambda numbers, tensor: numbers.append(tensor.add_(1).sum().item()) or numbers)(*given) == [1, 2, 2.0]
    assert given[0] == [1, 2] and given[1].tolist() == [0, 0]


def test_capturing_puts_everything_back(capsys):
    level, shown = logging.root.manager.disable, warnings.filters[:]
    with pytest.raises(RuntimeError), captured() as said:
        print("inside")
        raise RuntimeError
    print("outside")
    assert (said.getvalue(), capsys.readouterr().out) == ("inside\n", "outside\n")
    assert (logging.root.manager.disable, warnings.filters) == (level, shown)


def test_a_checks_chance_comes_from_its_seed():
    drawn = []
    check = frame.check("7.99", "a hint")(lambda answer, draw: drawn.append(draw.random()))
    try:
        check(1, seed=4), check(1, seed=4), check(1), check(1)
    finally:
        del EXERCISES["7.99"]
    assert drawn[0] == drawn[1] == Random(4).random()
    assert len(set(drawn)) == 3


def test_pytest_collects_no_wrong_answer():
    assert not [path for path in (Path(__file__).parent / "wrong").glob("*.py") if path.name.startswith("test_")]
