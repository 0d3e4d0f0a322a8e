"""What is said of LoRA and QLoRA: each claim with the threshold that decides it, and the verdict. Lesson 12.

The thresholds stand here, apart from what is measured. Where a claim has a number of its own, that is it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HOLDS = "holds"
CONDITIONALLY = "holds under conditions"
FAILS = "does not hold"
CANNOT_TELL = "cannot tell"
NOT_MEASURED = "not measured here"
MARKS = {HOLDS: "✓", FAILS: "✗", CANNOT_TELL: "?"}
"""What stands before a case in a report."""


@dataclass(frozen=True)
class Claim:
    """A claim, how it is tested, and the range (`least` to `most`, both allowed) in which what is measured must lie."""

    words: str
    test: str
    unit: str = ""
    least: float = -math.inf
    most: float = math.inf
    source: str = ""
    """What is known of a claim that nothing here can measure."""

    @property
    def threshold(self) -> str:
        """The range in words; "none" where nothing is measured."""
        low, high = (math.isfinite(limit) for limit in (self.least, self.most))
        if not low and not high:
            return "none"
        words = f"at least {self.least:g}" if low else f"at most {self.most:g}"
        words = f"{self.least:g} to {self.most:g}" if low and high else words
        return f"{words} {self.unit.removesuffix('s') if words.endswith(' 1') else self.unit}"


@dataclass(frozen=True)
class Case:
    """One measurement or estimate: under which condition, and its interval; one number where there is no `high`."""

    condition: str
    low: float
    high: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends of the interval, or the one number twice."""
        return self.low, self.low if self.high is None else self.high


def judge_case(claim: Claim, case: Case) -> str:
    """Holds if the whole interval is in the claim's range, does not hold if none of it is; else one cannot tell."""
    low, high = case.ends
    if claim.least <= low and high <= claim.most:
        return HOLDS
    return FAILS if high < claim.least or low > claim.most else CANNOT_TELL


def verdict(claim: Claim, cases: Sequence[Case]) -> str:
    """One word for all cases: it holds in all, in some, in none; or not measured, or not to be told."""
    seen = {judge_case(claim, case) for case in cases}
    if not seen:
        return NOT_MEASURED
    if HOLDS in seen:
        return HOLDS if seen == {HOLDS} else CONDITIONALLY
    return CANNOT_TELL if CANNOT_TELL in seen else FAILS


def measured_words(claim: Claim, cases: Sequence[Case]) -> str:
    """What was measured, in a few words; of a claim that was not, what is known from others."""
    if not cases:
        return claim.source
    span = _span(min(case.ends[0] for case in cases), max(case.ends[1] for case in cases))
    if len(cases) == 1:
        return f"{span} {claim.unit}"
    held = sum(judge_case(claim, case) == HOLDS for case in cases)
    return f"{span} {claim.unit}; holds in {held} of {len(cases)} cases"


def _span(low: float, high: float) -> str:
    """An interval, or one number where both its ends are read alike."""
    ends = _number(low), _number(high)
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _number(value: float) -> str:
    """A number as it is read most easily: 0.003 or 4.13 or 67.5 or 160."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def report(claim: Claim, cases: Sequence[Case], columns: Sequence[str] = ()) -> str:
    """Each case in a line with its mark, and the verdict below them.

    With `columns` a grid: the cases of one condition share a line, in the columns' order, and of an interval only the
    middle is shown.
    """
    lines = [f"{claim.words}: {claim.threshold}?"]
    width = max((len(case.condition) for case in cases), default=0)
    if columns:
        grid = {case.condition: [] for case in cases}
        for case in cases:
            grid[case.condition].append(_marked_middle(claim, case))
        cell = 2 + max(len(each) for row in (columns, *grid.values()) for each in row)
        for condition, row in {"": columns, **grid}.items():
            lines.append(f"  {condition:{width}}" + "".join(f"{each:>{cell}}" for each in row))
    else:
        for case in cases:
            lines.append(
                f"  {MARKS[judge_case(claim, case)]} {case.condition:{width}}  {_span(*case.ends):>14} {claim.unit}"
            )
    return "\n".join([*lines, f"-> {verdict(claim, cases)}"])


def _marked_middle(claim: Claim, case: Case) -> str:
    """A case in a cell of a grid: its mark, by all of its interval, and the middle."""
    return f"{MARKS[judge_case(claim, case)]} {_number(sum(case.ends) / 2)}"


def claims_table(claims: Mapping[str, Claim], found: Mapping[str, Sequence[Case]] | None = None) -> str:
    """A table in markdown: name, claim, test, threshold; with what was `found`, that and the verdict for the test."""
    more = ["how it is tested", "threshold"] if found is None else ["threshold", "measured", "verdict"]
    heads = ["name", "claim", *more]
    rows = [heads, ["---"] * len(heads)]
    for name, claim in claims.items():
        if found is None:
            rows.append([name, claim.words, claim.test, claim.threshold])
        else:
            cases = found.get(name, ())
            measured = measured_words(claim, cases)
            rows.append([name, claim.words, claim.threshold, measured, f"**{verdict(claim, cases)}**"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


# --- The claims ---

CLAIMS: dict[str, Claim] = {
    # What they are
    "frozen": Claim(
        "The base is frozen; only A and B are trained",
        "numbers of the base that differ after real training steps",
        "numbers",
        most=0,
    ),
    "full precision": Claim(
        "LoRA's base is in full precision (FP16 or BF16)",
        "bits of its number format, by definition; full precision is float32",
        "bits a weight",
        least=32,
    ),
    "4 bits": Claim(
        "QLoRA's base is in 4 bits",
        "bits a weight with its scales, as it is trained: of the linear layers, and of whole models",
        "bits a weight",
        most=4.5,
    ),
    "int4": Claim(
        "These 4 bits are int4",
        "widest gap between neighbouring levels over the narrowest; int4's are all equal",
        "×",
        most=1.01,
    ),
    "libraries": Claim(
        "QLoRA needs bitsandbytes or peft",
        "modules of these two in a QLoRA model that learns",
        "modules",
        least=1,
    ),
    "few million": Claim(
        "LoRA trains a few million parameters",
        "counted, for several models, ranks and targets",
        "million",
        least=1,
        most=10,
    ),
    # Memory
    "weights": Claim(
        "QLoRA takes a third to a quarter of the memory: the weights",
        "bytes of the base in bf16 over its bytes in QLoRA: a third is 3 ×",
        "×",
        least=3,
    ),
    "step": Claim(
        "QLoRA takes a third to a quarter of the memory: the training step",
        "LoRA's peak over QLoRA's, without autocast: measured on a GPU, estimated for models beyond 8B",
        "×",
        least=3,
    ),
    "less": Claim(
        "QLoRA takes less memory than LoRA",
        "the same cases",
        "×",
        least=1,
    ),
    "60 GB": Claim(
        "Full fine-tuning of a 7B model in FP16 takes about 60 GB",
        "estimated for Llama-2-7B, five ways to step; within 10 %",
        "GB",
        least=54,
        most=66,
    ),
    "22 GB": Claim(
        "LoRA on a 7B model takes about 22 GB",
        "estimated for Llama-2-7B, 1 to 16 rows of 512, checkpointing off and on; within 10 %",
        "GB",
        least=19.8,
        most=24.2,
    ),
    "10 GB": Claim(
        "QLoRA on a 7B model takes about 10 GB",
        "estimated for the same plans; within 10 %",
        "GB",
        least=9,
        most=11,
    ),
    "8B": Claim(
        "QLoRA on an 8B model takes about 10 GB",
        "estimated for Llama-3-8B and the same plans; within 10 %",
        "GB",
        least=9,
        most=11,
    ),
    "over 20 GB": Claim(
        "LoRA on models of 7B and 13B takes more than 20 GB",
        "estimated for Llama-2-7B and 13B and the same plans",
        "GB",
        least=20,
    ),
    "cards": Claim(
        "7B: full on an A100 80GB, LoRA on an RTX 3090 or 4090, QLoRA on an RTX 3060 or 4060 Ti",
        "what is left of the card, estimated for 4 rows of 512, checkpointing off and on",
        "GB left",
        least=0,
    ),
    "LoRA wants 24 GB": Claim(
        "LoRA on a 7B model is for GPUs of 24 GB and more",
        "what is left of a card of 16 GB, 1 to 8 rows of 512 with checkpointing; the claim holds where nothing is",
        "GB left",
        most=0,
    ),
    "QLoRA below 24 GB": Claim(
        "QLoRA on a 7B model is for GPUs of 8 to 16 GB",
        "what is left of a card of 8, of 12 and of 16 GB, for the same plans",
        "GB left",
        least=0,
    ),
    "13B and 70B": Claim(
        "QLoRA brings 13B and 70B within reach of one card",
        "what is left of a card of 24 GB (13B) and of 80 GB (70B), 4 rows of 512 with checkpointing",
        "GB left",
        least=0,
    ),
    # Quality
    "LoRA as good": Claim(
        "LoRA loses almost nothing against full fine-tuning",
        "accuracy lost on 1,000 held-out sentences, three seeds, paired; no number is claimed: we take 2 points",
        "points",
        most=2,
    ),
    "below 1 %": Claim(
        "QLoRA loses less than 1 % against LoRA",
        "the same sentences and seeds; we take 1 % for a point of accuracy",
        "points",
        most=1,
    ),
    "below 0.3 %": Claim(
        "QLoRA loses less than 0.3 %",
        "the same sentences and seeds",
        "points",
        most=0.3,
    ),
    "paper": Claim(
        "The paper's tests found less than 0.3 %",
        "those runs cannot be made here",
        source="not in the paper: its means on MMLU differ by 0.1 point, single cells by up to 1.4",
    ),
    # Speed
    "fast": Claim(
        "QLoRA trains fast",
        "a step's seconds with QLoRA over LoRA's, on a CPU and a GPU, without autocast there; no slower is fast",
        "×",
        most=1,
    ),
    # Adapters
    "merge": Claim(
        "LoRA's adapters can be merged into the base",
        "largest change of an output by merging two adapters, in float32 and in bf16, over the largest output",
        "of the output",
        most=1e-5,
    ),
    "merge in 4 bits": Claim(
        "Adapters can be merged into a quantised base, if it is quantised anew",
        "share of the change that is in the new codes, for changes of several sizes; lesson 10's was 1.4 % of W",
        "% arrive",
        least=90,
    ),
    # History
    "Hugging Face": Claim(
        "QLoRA was made by Hugging Face",
        "no measurement can say",
        source="wrong: by Dettmers et al. 2023, University of Washington; Hugging Face built it into its libraries",
    ),
    "many people": Claim(
        "Many people fine-tune 13B and 70B with it",
        "nobody has counted, here at least",
        source="that these fit is tested above",
    ),
}
"""By a short name, in the order of the lesson."""
