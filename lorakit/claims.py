"""What is said of LoRA and QLoRA: each claim with the threshold that decides it, and the verdict. Lesson 12.

A threshold is written down here, before anything is measured. Where a claim has a number of its own, that is it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HOLDS = "holds"
CONDITIONALLY = "holds under conditions"
FAILS = "does not hold"
CANNOT_TELL = "cannot tell"
NOT_MEASURED = "not measured here"


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
    """One measurement: under which condition, and its interval; one number where there is no `high`."""

    condition: str
    low: float
    high: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
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
    low, high = min(case.ends[0] for case in cases), max(case.ends[1] for case in cases)
    span = _number(low) if low == high else f"{_number(low)} to {_number(high)}"
    if len(cases) == 1:
        return f"{span} {claim.unit}"
    held = sum(judge_case(claim, case) == HOLDS for case in cases)
    return f"{span} {claim.unit}; holds in {held} of {len(cases)} cases"


def _number(value: float) -> str:
    """A number as it is read most easily: 0.003 or 4.13 or 67.5 or 160."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def report(claim: Claim, cases: Sequence[Case]) -> str:
    """Each case in a line, and the verdict below them."""
    lines = [f"{claim.words}  ({claim.threshold})"]
    width = max(len(case.condition) for case in cases)
    for case in cases:
        low, high = case.ends
        span = _number(low) if low == high else f"{_number(low)} to {_number(high)}"
        lines.append(f"  {case.condition:{width}}  {span:>12} {claim.unit:22} {judge_case(claim, case)}")
    return "\n".join([*lines, f"-> {verdict(claim, cases)}"])


def claims_table(claims: Mapping[str, Claim], found: Mapping[str, Sequence[Case]] | None = None) -> str:
    """A table in markdown: name, claim, test, threshold; with what was `found` also measurement and verdict."""
    heads = ["name", "claim", "how it is tested", "threshold"]
    heads += [] if found is None else ["measured", "verdict"]
    rows = [heads, ["---"] * len(heads)]
    for name, claim in claims.items():
        row = [name, claim.words, claim.test, claim.threshold]
        if found is not None:
            cases = found.get(name, ())
            row += [measured_words(claim, cases), f"**{verdict(claim, cases)}**"]
        rows.append(row)
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
        "bits of a weight of the base; full precision is float32",
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
        "bytes of the base in bf16 over its bytes in QLoRA",
        "×",
        least=3,
    ),
    "step": Claim(
        "QLoRA takes a third to a quarter of the memory: the training step",
        "LoRA's peak over QLoRA's, measured on a GPU",
        "×",
        least=3,
    ),
    "less": Claim(
        "QLoRA takes less memory than LoRA",
        "LoRA's peak over QLoRA's, measured on a GPU",
        "×",
        least=1,
    ),
    "60 GB": Claim(
        "Full fine-tuning of a 7B model in FP16 takes about 60 GB",
        "estimated for Llama-2-7B with five optimizers; within 10 %",
        "GB",
        least=54,
        most=66,
    ),
    "22 GB": Claim(
        "LoRA on a 7B model takes about 22 GB",
        "estimated for Llama-2-7B, 1 to 16 rows of 512, with and without checkpointing; within 10 %",
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
        "estimated for Llama-2-7B and 13B, 1 to 8 rows of 512, with and without checkpointing",
        "GB",
        least=20,
    ),
    "cards": Claim(
        "7B: full on an A100 80GB, LoRA on an RTX 3090 or 4090, QLoRA on an RTX 3060 or 4060 Ti",
        "what is left of the card, estimated for 4 rows of 512, with and without checkpointing",
        "GB left",
        least=0,
    ),
    "LoRA wants 24 GB": Claim(
        "LoRA is for GPUs of 24 GB and more, QLoRA for those of 8 to 16",
        "what Llama-2-7B needs with LoRA, 1 to 8 rows of 512 with checkpointing; above 16 GB the claim holds",
        "GB",
        least=16,
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
        "the same sentences and seeds",
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
        "a step's seconds with QLoRA over those with LoRA, on a CPU and on a GPU; no slower is fast",
        "×",
        most=1,
    ),
    # Adapters
    "merge": Claim(
        "LoRA's adapters can be merged into the base",
        "largest change of an output by merging two adapters in float32, over the largest output",
        "of the output",
        most=1e-5,
    ),
    "merge in 4 bits": Claim(
        "Several adapters cannot be merged into a quantised base: it must be quantised anew",
        "share of two adapters' change that arrives in the codes, for changes of several sizes; lost is below 90 %",
        "% arrive",
        most=90,
    ),
    # History
    "Hugging Face": Claim(
        "QLoRA was made by Hugging Face",
        "no measurement can say",
        source="Dettmers et al. 2023, University of Washington; Hugging Face built it into its libraries",
    ),
    "many people": Claim(
        "Many people fine-tune 13B and 70B with it",
        "nobody has counted, here at least",
        source="that these fit is tested above",
    ),
}
"""By a short name, in the order of the lesson."""
