"""12.1 and 12.2: what an interval says of a claim, and the method for a model and a card."""

from functools import cache
from random import Random

from lorakit.checks.frame import Answer, Trial, check, judge
from lorakit.claims import CANNOT_TELL, FAILS, HOLDS
from lorakit.memory import TrainingPlan, preset
from lorakit.memory.cards import CARDS, Card, estimate_on, fits

# --- 12.1 ---


@check(
    "12.1",
    "Draw the interval and the limit on a line. When do all numbers of the interval lie on the side that the claim "
    "names, when none of them, and when some?",
    "The claim 'less' holds if even the largest number, `high`, is below the limit. It does not hold if even the "
    "smallest, `low`, is above it. What is left?",
    "For 'less': 'holds' if high < limit, 'does not hold' if low > limit, else 'cannot tell'. For 'more' the first two "
    "change places.",
)
def check_verdict(answer: Answer, draw: Random) -> None:
    """`verdict(low, high, limit, says) -> str`: whether a claim of "less" or "more" than a limit holds."""
    trials = []
    cases = [(place, says) for place in PLACES for says in ("less", "more")]
    for place, says in draw.sample(cases, len(cases)):
        low, high, limit = _some_interval(draw, place)
        trials.append(
            Trial(
                given=f"low = {low}, high = {high}, limit = {limit} and says = {says!r}",
                seen=answer(low, high, limit, says),
                expected=_verdict(low, high, limit, says),
                mistakes=_verdict_mistakes(low, high, limit, says),
            )
        )
    judge(trials, f"{HOLDS!r}, {FAILS!r} or {CANNOT_TELL!r}")


PLACES = ("below", "above", "around, middle below", "around, middle above", "below, around zero", "negative")


def _some_interval(draw: Random, place: str) -> tuple[float, float, float]:
    """An interval and a limit, in points, that lie so to each other; no two of the numbers are equal."""
    limit = draw.randint(15, 40) / 10
    near, far = draw.randint(2, 5) / 10, draw.randint(7, 12) / 10
    low, high = {
        "below": (limit - far, limit - near),
        "above": (limit + near, limit + far),
        "around, middle below": (limit - far, limit + near),
        "around, middle above": (limit - near, limit + far),
        "below, around zero": (-near, far),
        "negative": (-limit - far, -limit - near),
    }[place]
    return round(low, 2), round(high, 2), limit


def _verdict(low: float, high: float, limit: float, says: str) -> str:
    below, above = (HOLDS, FAILS) if says == "less" else (FAILS, HOLDS)
    return below if high < limit else above if low > limit else CANNOT_TELL


def _verdict_mistakes(low: float, high: float, limit: float, says: str) -> dict[str, str]:
    """What each likely mistake would say, by the sentence that names it."""
    right = _verdict(low, high, limit, says)
    middle = (low + high) / 2

    def by_one(number: float) -> str:
        return _verdict(number, number, limit, says)

    return {
        "The middle of the interval decides here: all of it has to lie on one side.": by_one(middle),
        "Only the upper end is looked at: both ends count.": by_one(high),
        "Only the lower end is looked at: both ends count.": by_one(low),
        "Which way the claim goes is left out: `says` may be 'more'.": _verdict(low, high, limit, "less"),
        "The signs are dropped: a negative loss is a gain, and less than any positive limit.": _verdict(
            *sorted((abs(low), abs(high))), limit, says
        ),
        "'holds' and 'does not hold' have changed places.": {HOLDS: FAILS, FAILS: HOLDS}.get(right, right),
        "What has not been shown is called wrong here: where the limit lies within, one cannot tell.": (
            FAILS if right == CANNOT_TELL else right
        ),
        "What has not been refuted is called right here: where the limit lies within, one cannot tell.": (
            HOLDS if right == CANNOT_TELL else right
        ),
        "Zero is taken for what decides: it is the limit that must not lie within the interval.": (
            CANNOT_TELL if low < 0 < high else by_one(middle)
        ),
    }


# --- 12.2 ---

METHODS = ("lora", "qlora")
MODELS = ("SmolLM2-1.7B", "Llama-3.2-3B", "Llama-2-7B", "Mistral-7B", "Llama-3-8B", "Llama-2-13B", "Llama-3-70B")
NEITHER = "neither"


@check(
    "12.2",
    "You have all that you need in the cell above: `estimate_on` for a plan on a card, and `fits`. Which method do you "
    "try first, and what is left if none fits?",
    "Make a plan for each method, in the order of what you would rather have: TrainingPlan(method, micro_batch_size=1, "
    "seq_len=512, gradient_checkpointing=True).",
    "For method in ('lora', 'qlora'): estimate = estimate_on(preset(model), that plan, card); return the method if "
    "fits(estimate, card). After the loop return 'neither'.",
)
def check_method_for(answer: Answer, draw: Random) -> None:
    """`method_for(model, card) -> str`: "lora" where it fits, else "qlora" where that fits, else "neither"."""
    trials = []
    pairs = [(model, card) for model in MODELS for card in CARDS]
    # Those that a likely mistake gets wrong are few, so all of them are asked; of the rest some of each kind.
    chosen = [pair for pair in pairs if {_method(*pair)} != set(_shortcuts(*pair).values())]
    for kind in (*METHODS, NEITHER):
        chosen += draw.sample([pair for pair in pairs if _method(*pair) == kind and pair not in chosen], 3)
    for model, card in draw.sample(chosen, len(chosen)):
        trials.append(
            Trial(
                given=f"model = {model!r} and card = the {card.name}",
                seen=answer(model, card),
                expected=_method(model, card),
                mistakes=_method_mistakes(model, card),
            )
        )
    judge(trials, "'lora', 'qlora' or 'neither'")


@cache
def _room(model: str, card: Card, method: str, rows: int = 1, checkpointing: bool = True) -> bool:
    plan = TrainingPlan(method, micro_batch_size=rows, seq_len=512, gradient_checkpointing=checkpointing)
    return fits(estimate_on(preset(model), plan, card), card)


@cache
def _weights_fit(model: str, card: Card, method: str) -> bool:
    """Whether the base alone fits."""
    moment = estimate_on(preset(model), TrainingPlan(method), card).peak
    return moment.base_weights + moment.quantization_constants + moment.other_weights <= card.usable_bytes


def _first(*fitting: tuple[str, bool]) -> str:
    return next((method for method, fits_here in fitting if fits_here), NEITHER)


def _method(model: str, card: Card, **settings) -> str:
    return _first(*((method, _room(model, card, method, **settings)) for method in METHODS))


@cache
def _shortcuts(model: str, card: Card) -> dict[str, str]:
    """What comes of other plans, and of the weights alone."""
    return {
        "This is for 4 rows at once: one is asked for.": _method(model, card, rows=4),
        "Checkpointing is off here: with it more fits.": _method(model, card, checkpointing=False),
        "Only the weights are held against the card: a step takes more.": _first(
            *((method, _weights_fit(model, card, method)) for method in METHODS)
        ),
    }


def _method_mistakes(model: str, card: Card) -> dict[str, str]:
    """What each likely mistake would say, by the sentence that names it."""
    right = _method(model, card)
    lora, qlora = (_room(model, card, method) for method in METHODS)
    return {
        "QLoRA is taken where LoRA fits too: LoRA is to be tried first.": _first(("qlora", qlora), ("lora", lora)),
        "'neither' is left out: some models fit in no way.": "qlora" if right == NEITHER else right,
        "QLoRA is left out: it is what to try where LoRA does not fit.": "lora" if lora else NEITHER,
        **_shortcuts(model, card),
        "These are TrainingPlan's own rows and checkpointing: the text names others.": _method(
            model, card, rows=TrainingPlan().micro_batch_size, checkpointing=TrainingPlan().gradient_checkpointing
        ),
    }
