"""11.3 and 11.4: what the feed-forward half keeps for its way back, and the largest moment of a step."""

from random import Random
from typing import Any

from lorakit.checks.frame import Answer, Trial, any_of, check, judge
from lorakit.memory.block import Block
from lorakit.memory.plan import TrainingPlan
from lorakit.memory.shape import Shape
from lorakit.memory.tape import Tape, Tensor

GATE, UP, DOWN = "gate_proj", "up_proj", "down_proj"
MIB = 2**20

# --- 11.3 ---


@check(
    "11.3",
    "Go through the operations: gate, silu, up, the product, down. Which of them reads which tensor again on the way "
    "back?",
    "Without adapters: silu reads its input, and the product reads its two factors. That is 3 tensors of F numbers. "
    "Each adapted layer adds what its A and its B read.",
    "3 * F * width. For each adapted layer 4 * r. If width is 2, for each adapted layer 4 times its inputs, D or F. If "
    "it is 4, then 4 * D once if gate or up is adapted, and 4 * F if down is.",
)
def check_mlp_kept(answer: Answer, draw: Random) -> None:
    """`mlp_kept(D, F, width, r, adapted) -> int`: bytes a token that down(silu(gate(x)) * up(x)) keeps."""
    trials = []
    # First no adapter, then one of each kind, then several in 16 bits, and in 32, where they share their input.
    one = [[draw.choice([GATE, UP])], [DOWN]]
    many = [[GATE, UP], [GATE, DOWN], [GATE, UP, DOWN]]
    for adapted_layers, widths in (([[], []], (2, 4)), (one, (2, 2)), (many, (2, 2, 2)), (one + many, (4,) * 5)):
        cases = list(zip(adapted_layers, widths, draw.sample(range(41, 90), len(widths)), strict=True))
        for adapted, width, inner in draw.sample(cases, len(cases)):
            D, F, r = 64 * draw.randint(4, 40), 64 * inner, draw.randint(3, 30)
            returned = answer(D, F, width, r, adapted)
            trials.append(
                Trial(
                    given=f"D = {D}, F = {F}, width = {width}, r = {r} and adapted = {adapted}",
                    seen=returned,
                    expected=_kept(D, F, width, r, adapted),
                    mistakes=_kept_mistakes(returned, D, F, width, r, adapted),
                )
            )
        judge(trials, "the number of bytes that are kept for each token")


def _kept(D: int, F: int, width: int, r: int, adapted: list[str]) -> int:
    """Bytes on the tape that `estimate_memory` records, for one token."""
    shape = Shape(D, F, 1, 1, D, 1, 1, False, False, False, False, False, False, False)
    dtype, layers = {2: "bf16", 4: "fp32"}[width], tuple(adapted) or ("q_proj",)  # a plan has some adapter
    plan = TrainingPlan("lora", dtype=dtype, r=r, target_modules=layers, micro_batch_size=1, seq_len=1)
    tape = Tape()
    Block(shape, plan, "flash").mlp(tape, Tensor(D * width, grad=True))
    return tape.kept_bytes


def _kept_mistakes(seen: Any, D: int, F: int, width: int, r: int, adapted: list[str]) -> dict[str, float | None]:
    """What each likely mistake makes of it, by the sentence that names it."""
    right, narrow = _kept(D, F, width, r, adapted), width == 2
    inputs = {GATE: D, UP: D, DOWN: F}
    copies, low = sum(inputs[name] for name in adapted), 4 * r * len(adapted)
    both = GATE in adapted and UP in adapted
    base = 3 * F * width
    added = right - base
    return {
        "The input of an adapted down_proj is left out: the product is thrown away only where down_proj is frozen.": (
            right - 4 * F if DOWN in adapted else right
        ),
        "The input of silu is left out: its slope depends on it.": right - F * width,
        "The factors of the product are left out: each is the other's slope.": right - 2 * F * width,
        "The product itself is counted: a frozen down_proj does not read it again.": right + F * width,
        "With float32 gate and up keep one and the same x: it counts once.": (
            right + 4 * D if both and not narrow else right
        ),
        "Frozen layers are counted as if they kept their inputs: the gradient of x needs W alone.": any_of(
            seen, right + D * width, right + (D + F) * width, right + (2 * D + F) * width
        ),
        "Everything is counted in 16 bits: `width` says how many bytes the numbers of the stream take.": (
            6 * F + added if not narrow else right
        ),
        "Everything is counted in float32: `width` says how many bytes the numbers of the stream take.": (
            right if not narrow else 12 * F + added
        ),
        "These are numbers: bytes are asked for.": any_of(seen, base / width, base / width + added / 4),
        "What the adapters keep is left out.": base,
        "What B reads is left out: it is A's output, r numbers in float32.": right - low,
        "A's output is counted in 16 bits: adapters are in float32.": right - low / 2,
        "The copies of the inputs are counted in 16 bits: an adapter in float32 takes them in float32.": (
            right - 2 * copies if narrow else right
        ),
        "One copy is counted for gate and up together: in 16 bits each adapted layer makes its own.": (
            right - 4 * D if narrow and both else right
        ),
        "The input of down_proj has F numbers, and not D.": right - 4 * (F - D) if DOWN in adapted else right,
        "No copy is made where x is in float32, but it is kept all the same.": (
            base + low if not narrow and adapted else right
        ),
    }


# --- 11.4 ---


@check(
    "11.4",
    "Write down the three moments, each with all that is there at that time. Which of the parts are there at all "
    "three?",
    "At the loss: fixed, what all blocks keep, and loss. Going back: fixed, what all blocks keep, and working. At the "
    "optimizer: fixed and gradients. Checkpointing changes what the blocks keep, to edge each, and adds something to "
    "one moment.",
    "blocks = layers * (edge if checkpointing else kept); rebuilt = kept if checkpointing else 0. The peak is fixed + "
    "max(blocks + loss, blocks + rebuilt + working, gradients).",
)
def check_peak(answer: Answer, draw: Random) -> None:
    """`peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing) -> int`: the largest moment."""
    trials = []
    cases = [(largest, checkpointing) for largest in ("loss", "block", "optimizer") for checkpointing in (False, True)]
    for largest, checkpointing in draw.sample(cases, len(cases)):
        step = _some_step(draw, largest, checkpointing)
        returned = answer(*step.values())
        trials.append(
            Trial(
                given=", ".join(f"{name} = {value}" for name, value in step.items()),
                seen=returned,
                expected=max(_moments(**step)),
                mistakes=_peak_mistakes(returned, step),
            )
        )
    judge(trials, "the largest moment's size in bytes")


def _some_step(draw: Random, largest: str, checkpointing: bool) -> dict[str, int]:
    """The parts of a step whose peak is at one of the three moments, with and without what checkpointing saves."""
    layers, edge = draw.randint(8, 30), MIB * draw.randint(5, 15)
    kept = edge * draw.randint(31, 40)  # more times than there are layers, lest the two be mistaken
    working = MIB * draw.randint(60, 200)
    fixed = MIB * draw.randint(500, 2000)
    loss = MIB * draw.randint(5, 40) if largest == "block" else working + kept + MIB * draw.randint(50, 700)
    gradients = MIB * draw.randint(50, 150)
    if largest == "optimizer":
        gradients += fixed + layers * kept + kept + loss + working
    step = {"fixed": fixed, "layers": layers, "kept": kept, "edge": edge, "loss": loss, "working": working}
    return {**step, "gradients": gradients, "checkpointing": checkpointing}


def _moments(
    fixed: int,
    layers: int,
    kept: int,
    edge: int,
    loss: int,
    working: int,
    gradients: int,
    checkpointing: bool,
    rebuilt: int | None = None,
    blocks: int | None = None,
) -> tuple[int, int, int]:
    """Bytes at the loss, in the last block on the way back, and at the optimizer."""
    blocks = layers * (edge if checkpointing else kept) if blocks is None else blocks
    rebuilt = (kept if checkpointing else 0) if rebuilt is None else rebuilt
    return fixed + blocks + loss, fixed + blocks + rebuilt + working, fixed + gradients


def _peak_mistakes(seen: Any, step: dict[str, int]) -> dict[str, float | None]:
    """What each likely mistake makes of it, by the sentence that names it."""
    at_loss, in_block, at_optimizer = _moments(**step)
    right = max(at_loss, in_block, at_optimizer)
    fixed, loss, gradients, kept = (step[name] for name in ("fixed", "loss", "gradients", "kept"))
    layers, checkpointing = step["layers"], step["checkpointing"]
    all_kept = layers * kept
    together = at_loss - fixed + in_block - fixed + gradients

    def peak(**changes: int) -> int:
        return max(_moments(**{**step, **changes}))

    return {
        "The moments are added up: they come one after another, and the largest is the peak.": any_of(
            seen, together + 3 * fixed, together + fixed
        ),
        "This adds up all there is at any time: what belongs to different moments is not there together.": any_of(
            seen,
            in_block + loss + gradients,
            in_block - (kept if checkpointing else 0) + loss + gradients,
            fixed + all_kept + loss + step["working"] + gradients,
        ),
        "The block that is computed anew and the logits are never there together: they are gone by then.": (
            max(at_loss + kept, in_block, at_optimizer) if checkpointing else right
        ),
        "Logits and what going back through a block needs are added: they belong to different moments.": max(
            in_block + loss, at_optimizer
        ),
        "The moment of the loss is left out.": max(in_block, at_optimizer),
        "The moment of the optimizer is left out.": max(at_loss, in_block),
        "The way back through a block is left out.": max(at_loss, at_optimizer),
        "Gradients are added to the loss: they are counted at the optimizer alone.": max(
            at_loss + gradients, in_block + gradients, at_optimizer
        ),
        "The blocks still keep everything at the optimizer here: it has all been freed by then.": max(
            at_loss, in_block, at_optimizer + in_block - fixed - step["working"] - (kept if checkpointing else 0)
        ),
        "Weights and states are missing: `fixed` is there at every moment.": any_of(
            seen, right - fixed, max(at_loss, in_block, gradients)
        ),
        "Checkpointing is not taken into account.": peak(checkpointing=False),
        "This counts as if checkpointing were always on.": peak(checkpointing=True),
        "Without checkpointing this counts what enters a block twice: `kept` covers its edge.": (
            right if checkpointing else peak(blocks=layers * (kept + step["edge"]))
        ),
        "With checkpointing the input of each block is still kept.": peak(blocks=0) if checkpointing else right,
        "The block that is computed anew keeps its edge besides: all of them are still there.": (
            max(at_loss, in_block - step["edge"], at_optimizer) if checkpointing else right
        ),
        "With checkpointing the block that goes backward is first computed anew, and keeps what it keeps.": peak(
            rebuilt=0
        ),
        "With checkpointing one block is computed anew at a time, and not all of them.": (
            peak(rebuilt=all_kept) if checkpointing else right
        ),
        "This counts what one block keeps: all of them keep theirs until the way back.": peak(
            blocks=step["edge"] if checkpointing else kept
        ),
        "This is the smallest moment: the largest decides.": min(at_loss, in_block, at_optimizer),
    }
