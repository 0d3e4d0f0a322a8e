"""What every check does: the answer is tried, all it says is captured, and one line or one CheckFailed comes out."""

import contextlib
import dis
import functools
import inspect
import io
import linecache
import logging
import math
import random
import secrets
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from lorakit.progress import record_progress

SHOWN = 400
"""At most so many characters of what an answer printed, or of a value, are shown."""
ADVICE = {
    "shapes cannot be multiplied": "Is a matrix product wanted here? If so, one of the two may have to be transposed.",
    "more than one value is ambiguous": "`==` and `!=` answer for each number: ask whether all, or any, of them hold.",
    "KeyError: None": "A dict is asked for None, which it does not have: what is to be done where there is no name?",
}
"""What to think of when an error's own words, of which this is a part, say little."""


class CheckFailed(AssertionError):
    """An answer that is not right yet; the message names the likely mistake and the value seen, never the answer."""

    exercise: str | None = None

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the message, and not the check's own lines."""
        hint = f'\n\nfrom lorakit.checks import hint; hint("{self.exercise}")  # gives a hint'
        return f"Exercise {self.exercise}: not yet.\n\n{self}{hint}".split("\n")


@dataclass(frozen=True)
class Exercise:
    """What the checks know of an exercise."""

    number: str
    hints: Sequence[str]
    check: Callable[..., None]


EXERCISES: dict[str, Exercise] = {}
"""Every exercise whose lesson's checks were imported, by number."""

seal = ""
"""Ends the line of a correct answer. A grader sets one that no answer can know."""


def check(exercise: str, *hints: str) -> Callable[[Callable[["Answer", random.Random], None]], Callable[..., None]]:
    """Make a check of a function that tries an answer: `body(answer, draw)`, all of whose chance comes from `draw`.

    The check is called with the learner's function, and with a `seed` where its trials are to be repeated. It prints
    one line, "correct" or "not attempted yet", or raises CheckFailed.
    """

    def make(body: Callable[["Answer", random.Random], None]) -> Callable[..., None]:
        @functools.wraps(body)
        def run(answer: Any, *, seed: int | None = None) -> None:
            if is_stub(answer):
                print(f"Exercise {exercise}: not attempted yet. Fill in the cell above, run it, then run this again.")
                return
            with captured() as said:
                try:
                    body(Answer(answer), random.Random(secrets.randbits(32) if seed is None else seed))
                    failure = None
                except CheckFailed as error:
                    failure = error
            if failure is not None:
                record_progress(exercise, "incorrect")
                words = said.getvalue().strip()
                failure.args = (f"{failure}\nYour code said: {words[:SHOWN]}",) if words else failure.args
                failure.exercise = exercise
                raise failure.with_traceback(None)
            record_progress(exercise, "correct")
            print(f"Exercise {exercise}: correct.{seal}")

        # `wraps` would show the body's arguments, of which a learner gives one.
        run.__signature__ = inspect.Signature.from_callable(lambda answer, *, seed=None: None)
        EXERCISES[exercise] = Exercise(exercise, hints, run)
        return run

    return make


def is_stub(answer: Any) -> bool:
    """Whether an answer is still the stub: no value, or a function that does nothing (`...` or `pass`)."""

    def stub() -> None: ...

    code = getattr(answer, "__code__", None)
    if code is None:
        return answer is None or answer is Ellipsis
    return _instructions(code) == _instructions(stub.__code__)


def _instructions(code: CodeType) -> list[tuple[str, Any]]:
    return [(instruction.opname, instruction.argval) for instruction in dis.get_instructions(code)]


@contextlib.contextmanager
def captured() -> Iterator[io.StringIO]:
    """What is printed, warned or logged goes into the buffer: a debug print in a correct answer costs nothing."""
    said = io.StringIO()
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # a handler keeps the stderr that it was made with, so it cannot be redirected
    try:
        with (
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            warnings.catch_warnings(),
            _displayed(),
        ):
            warnings.simplefilter("always")
            yield said
    finally:
        logging.disable(before)


def _displayed() -> contextlib.AbstractContextManager:
    """What captures `display(…)`, which goes past stdout; only a notebook has it."""
    if "IPython" not in sys.modules:
        return contextlib.nullcontext()
    from IPython.utils.capture import capture_output

    return capture_output(stdout=False, stderr=False)


@dataclass
class Answer:
    """What a learner gave: a function, to be called with copies of its arguments, or a plain `value`.

    `handed` are the copies of the last call, as the function left them.
    """

    value: Any
    handed: tuple = ()

    def __call__(self, *arguments: Any) -> Any:
        """Call the function.

        Raises:
            CheckFailed: it is no function, it raised an error, or it returned nothing.
        """
        if not callable(self.value):
            raise CheckFailed(f"A function is wanted here, and this is {describe(self.value)}.")
        self.handed = deepcopy(arguments)
        try:
            returned = self.value(*self.handed)
        except (Exception, SystemExit) as error:
            named = zip(self._parameters(len(arguments)), arguments, strict=False)
            given = ", ".join(f"{name} = {describe(argument)}" for name, argument in named)
            raised = f"{type(error).__name__}: {error}"
            advice = "".join(f"\n{advice}" for words, advice in ADVICE.items() if words in raised)
            raise CheckFailed(f"Your function, given {given}, raised {raised}{advice}{self._line(error)}") from None
        if returned is None or returned is Ellipsis:
            raise CheckFailed(f"Your function returned {returned}: does every way through it end in `return …`?")
        return returned

    def _parameters(self, count: int) -> list[str]:
        try:
            return list(inspect.signature(self.value).parameters)
        except (TypeError, ValueError):  # a built-in such as torch.mul does not say
            return [f"argument {number}" for number in range(1, count + 1)]

    def _line(self, error: BaseException) -> str:
        """The learner's own line that an error came from."""
        file = getattr(getattr(self.value, "__code__", None), "co_filename", None)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        return f"\nIn line {lines[-1]}: {linecache.getline(file, lines[-1]).strip()}" if lines else ""


@dataclass
class Trial:
    """One call of an answer."""

    given: str
    """The arguments, in words."""
    seen: Any
    """What the answer returned."""
    expected: Any
    mistakes: dict[str, Any] = field(default_factory=dict)
    """What each likely mistake would have returned, by the sentence that names it, likeliest first."""


def judge(trials: Sequence[Trial], wanted: str) -> None:
    """Compare what was returned with what was expected.

    Args:
        wanted: in words, what the function is to return.

    Raises:
        CheckFailed: with the sentence of the mistake that explains all that is wrong, if one does.
    """
    wrong = [trial for trial in trials if not same(trial.seen, trial.expected)]
    if not wrong:
        return
    seen = f"For {wrong[0].given} you returned {describe(wrong[0].seen)}."
    if len(trials) > 1 and all(same(trial.seen, trials[0].seen) for trial in trials):
        raise CheckFailed(
            f"Your function returns the same for every input: does it look at each of its arguments?\n{seen}"
        )
    for sentence, value in wrong[0].mistakes.items():
        if same(wrong[0].seen, value) and all(same(trial.seen, trial.mistakes.get(sentence)) for trial in wrong):
            raise CheckFailed(f"{sentence}\n{seen}")
    right = (
        f" (It was right in {len(trials) - len(wrong)} of {len(trials)} trials.)" if len(wrong) < len(trials) else ""
    )
    alike = type(wrong[0].seen) is type(wrong[0].expected) and getattr(wrong[0].seen, "shape", None)
    numbers = " The shape is right, the numbers are not." if alike and alike == wrong[0].expected.shape else ""
    raise CheckFailed(f"Not right yet: {wanted} is wanted.{numbers}\n{seen}{right}")


def same(seen: Any, expected: Any) -> bool:
    """Whether two values agree: whole numbers exactly, others to 1e-5, tensors in shape and by their dtype."""
    if hasattr(expected, "shape"):
        return _same_tensor(seen, expected)
    if isinstance(expected, float | int) and not isinstance(expected, bool):
        number = as_number(seen)
        return number is not None and _near(number, expected, 1e-5 if isinstance(expected, float) else 0.0)
    if isinstance(expected, tuple | list):
        return (
            isinstance(seen, tuple | list)
            and len(seen) == len(expected)
            and all(same(one, other) for one, other in zip(seen, expected, strict=True))
        )
    try:
        return type(seen) is type(expected) and bool(seen == expected)
    except Exception:  # what a learner returns may refuse to be compared, as two dicts of tensors do
        return False


def _same_tensor(seen: Any, expected: Any) -> bool:
    import torch

    if not isinstance(seen, torch.Tensor) or seen.shape != expected.shape:
        return False
    tolerance = 2e-2 if torch.bfloat16 in (seen.dtype, expected.dtype) else 1e-4
    pairs = zip(seen.flatten().tolist(), expected.flatten().tolist(), strict=True)
    return all(_near(one, other, tolerance) for one, other in pairs)


def _near(seen: float, expected: float, tolerance: float) -> bool:
    # Plain arithmetic: no function that an answer could have replaced decides whether it is right.
    return abs(seen - expected) <= tolerance * (abs(expected) + tolerance)


def any_of(seen: Any, *values: Any) -> Any:
    """The one of several forms of a mistake that was returned, or the first of them."""
    return next((value for value in values if same(seen, value)), values[0])


def one_tensor(value: Any) -> Any:
    """What was returned, if it is not several things.

    Raises:
        CheckFailed: it is a list or a tuple.
    """
    if isinstance(value, list | tuple):
        kind, parts = type(value).__name__, len(value)
        raise CheckFailed(
            f"This is a {kind} of {parts} things: one tensor is wanted. torch.stack makes one of several."
        )
    return value


def tensors(returned: Any, *names: str) -> tuple:
    """What was returned, if it is a tensor for each of these names; a plain number counts as one.

    Raises:
        CheckFailed: it is something else.
    """
    import torch

    if not isinstance(returned, tuple | list) or len(returned) != len(names):
        wanted = f"{', '.join(names[:-1])} and {names[-1]}"
        raise CheckFailed(f"{len(names)} things are wanted, {wanted}, and you returned {describe(returned)}.")
    if not all(isinstance(each, torch.Tensor | float | int) for each in returned):
        raise CheckFailed(f"Tensors are wanted for {' and '.join(names)}, and you returned {describe(returned)}.")
    return tuple(torch.as_tensor(each) for each in returned)


def as_number(value: Any) -> float | None:
    """A number, or a tensor or array that holds just one; None for anything else."""
    if isinstance(value, bool | str) or getattr(value, "ndim", 0) or isinstance(value, complex):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None


def describe(value: Any) -> str:
    """A value in a few words: a large tensor as its shape and dtype, a tuple of tensors by what each is."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        shape, dtype = tuple(value.shape), str(value.dtype).removeprefix("torch.")
        if math.prod(shape) > 8:
            return f"a tensor of shape {shape}, {dtype}"
        numbers = value.tolist()
        return f"tensor({_rounded(numbers)}, {dtype})"
    if isinstance(value, tuple | list) and any(hasattr(each, "dtype") for each in value):
        text = f"({', '.join(map(describe, value))})"
    else:
        text = repr(_rounded(value))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return type(value)(map(_rounded, value)) if type(value) in (list, tuple) else value
