"""Lesson 07's checks: how many weights LoRA adds, what the loss counts, and which verdicts changed for the better."""

import math
from random import Random
from typing import Any

import torch
import torch.nn.functional as F

from lorakit.checks.frame import Answer, CheckFailed, Trial, any_of, as_number, check, judge

IGNORED = -100
WORDS = (" good", " bad", " fair", " dull")


@check(
    "7.1",
    "Draw one layer. A is a table of numbers, and so is B: how many rows and columns has each?",
    "A is r x in_features and B is out_features x r. Both are trained.",
    "For one layer that is r * in_features + out_features * r. Add this up over all layers.",
)
def check_adapter_weights(answer: Answer, draw: Random) -> None:
    """`adapter_weights(r, shapes) -> int`: weights of all A's and B's, for layers of (in_features, out_features)."""
    trials = []
    for _ in range(5):
        r = draw.randint(2, 64)
        shapes = [(draw.randrange(100, 200), draw.randrange(200, 300)) for _ in range(draw.randint(2, 4))]
        inputs, outputs = sum(shape[0] for shape in shapes), sum(shape[1] for shape in shapes)
        of_w = sum(i * o for i, o in shapes)
        seen = answer(r, shapes)
        trials.append(
            Trial(
                given=f"r = {r}, shapes = {shapes}",
                seen=seen,
                expected=r * (inputs + outputs),
                mistakes={
                    "This counts A alone: B is trained too.": r * inputs,
                    "This counts B alone: A is trained too.": r * outputs,
                    "A and B count alike here: A has in_features columns, B out_features rows.": any_of(
                        seen, 2 * r * inputs, 2 * r * outputs
                    ),
                    "This is W's own count: LoRA trains two thin matrices beside it.": of_w,
                    "W is counted too: it is frozen, and only A and B are added.": of_w + r * (inputs + outputs),
                    "This multiplies a layer's two sizes: A and B are two tables, so their counts are added.": r * of_w,
                    "This counts the first layer alone: every layer of the list has an adapter.": r * sum(shapes[0]),
                    "This counts the last layer alone: every layer of the list has an adapter.": r * sum(shapes[-1]),
                    "One layer's sizes are taken for all: they differ from layer to layer.": any_of(
                        seen, *(len(shapes) * r * sum(shape) for shape in (shapes[0], shapes[-1]))
                    ),
                    "This leaves out the rank: A has r rows, B has r columns.": inputs + outputs,
                    "This counts an r x r matrix too: between A and B there is none.": r * (inputs + outputs)
                    + r * r * len(shapes),
                    "This counts every layer 30 times: the list has all of them already.": 30 * r * (inputs + outputs),
                    "This is bytes in float32: the number of weights is wanted.": 4 * r * (inputs + outputs),
                },
            )
        )
    judge(trials, "the number of weights in all A's and B's together")


@check(
    "7.2",
    "Pair each label with the logits that had to predict it. Were those at the label's own position?",
    "The logits at position t predict token t + 1. So drop the last position of the logits and the first of the "
    "labels: what stands in the same place then belongs together. After that, keep the places whose label is not -100. "
    "(With F.cross_entropy: it wants the logits as (N, V) and the labels as (N,), so flatten both after the shift.)",
    "With log_p = logits[:, :-1].log_softmax(dim=-1), wanted = labels[:, 1:] and learned = wanted != -100, the numbers "
    "to average are -log_p[learned, wanted[learned]]: one for each labelled token, over all rows.",
)
def check_loss_of_completion(answer: Answer, draw: Random) -> None:
    """`loss_of_completion(logits, labels) -> scalar`: mean -ln p of the labelled tokens, as the model predicts them."""
    trials = []
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    dtypes = [torch.float32, torch.float64, torch.bfloat16] * 2
    # Over 100 tokens, so that no error reports a -100 taken for an id; far apart, so that losses near ln V are too.
    for dtype, vocab in zip(dtypes, draw.sample(range(110, 260, 25), 6), strict=True):
        vocab += draw.randint(0, 9)
        labels = _some_labels(draw, vocab)
        logits = torch.randn(*labels.shape, vocab, generator=generator)
        for row, position in (labels != IGNORED).nonzero().tolist():
            # A model that has learned most: a large loss would vanish in the rounding of bfloat16's exp.
            logits[row, position - 1, labels[row, position]] += draw.choice([3, 5.5, 5.5, 5.5, 5.5])
        logits = logits.to(dtype)
        returned = answer(logits, labels)
        if isinstance(returned, torch.Tensor) and returned.numel() != 1:
            shape = tuple(returned.shape)
            raise CheckFailed(
                f"This is a tensor of shape {shape}: one number is wanted, the mean over labelled tokens."
            )
        number = returned.item() if isinstance(returned, torch.Tensor) else as_number(returned)
        trials.append(
            Trial(
                given=f"logits of shape {tuple(logits.shape)}, {str(dtype)[6:]}, and labels of {tuple(labels.shape)}",
                # In the dtype of the logits, whose rounding is then allowed for.
                seen=returned if number is None else torch.tensor(number, dtype=dtype),
                expected=_cross_entropy(logits.double()[:, :-1], labels[:, 1:]).to(dtype),
                mistakes={
                    sentence: torch.as_tensor(_explaining(value, number, dtype), dtype=dtype)
                    for sentence, value in _loss_mistakes(number, logits.double(), labels).items()
                },
            )
        )
    judge(trials, "one number, the mean of -ln p over the labelled tokens of all rows,")


def _explaining(value: torch.Tensor, seen: float | None, dtype: torch.dtype) -> Any:
    """A mistake's value, or what was seen in its stead where bfloat16's rounding on the way explains the difference."""
    rounded = dtype == torch.bfloat16 and seen is not None
    return seen if rounded and math.isclose(seen, value, rel_tol=0.04, abs_tol=0.02) else value


def _some_labels(draw: Random, vocab: int) -> torch.Tensor:
    """Labels (B, T): completions of different lengths, and -100 for prompts before and padding on either side."""
    length, rows = draw.randint(10, 13), []
    for tokens in draw.sample(range(1, 6), draw.randint(3, 4)):
        after = draw.randint(0, 2) if rows else 0  # one ends where the row does, as all do in the lesson's batch
        completion = [draw.randrange(vocab) for _ in range(tokens)]
        rows.append([IGNORED] * (length - tokens - after) + completion + [IGNORED] * after)
    return torch.tensor(rows)


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


def _loss_mistakes(seen: float | None, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
    """What each likely mistake makes of the loss, by the sentence that names it."""
    texts, _, vocab = logits.shape
    wanted = labels[:, 1:]
    learned = wanted != IGNORED

    def nats(log_p: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return -log_p.gather(-1, ids[..., None])[..., 0]

    log_p = logits[:, :-1].log_softmax(-1)
    everywhere = nats(log_p, wanted % vocab)  # a negative index counts from the end, as in Python
    each = everywhere[learned]
    of_rows = [row[keep] for row, keep in zip(everywhere, learned, strict=True)]
    probabilities = (-each).exp()
    over_positions = logits[:, :-1].log_softmax(1)
    over_all_positions = logits.log_softmax(1)[:, :-1]
    ends = [everywhere[:, -1][learned[:, -1]].mean(), everywhere[:, -1].mean()]
    return {
        "This pairs a label with the logits at its own position: those have read that token already.": _cross_entropy(
            logits, labels
        ),
        "This is shifted the wrong way: logits say what comes after, not what came before.": _cross_entropy(
            logits[:, 1:], labels[:, :-1]
        ),
        "This is shifted twice: labels belong to the token right after.": _cross_entropy(logits[:, :-2], labels[:, 2:]),
        "-100 was taken for a token: as an index it counts from the end, and no error tells you.": everywhere.mean(),
        "Prompt and padding count as token 0 here: they are to count for nothing.": nats(
            log_p, wanted.clamp(min=0)
        ).mean(),
        "The mask is that of the labels before their shift: it keeps the wrong positions.": everywhere[
            labels[:, :-1] != IGNORED
        ].mean(),
        "This is the sum: the mean is wanted, or the loss would grow with the number of labelled tokens.": each.sum(),
        "This divides by all positions that predict a token: those that are ignored are not to be counted.": each.sum()
        / wanted.numel(),
        "This divides by the number of all labels: the ignored ones are not to be counted.": each.sum()
        / labels.numel(),
        "This divides by the number of texts: it is the tokens that are averaged.": each.sum() / texts,
        "This is a mean of the texts' means: in it a token of a long completion counts for less.": torch.stack(
            [row.mean() for row in of_rows]
        ).mean(),
        "This is the first text alone.": of_rows[0].mean(),
        "This counts each completion's first token alone.": torch.stack([row[0] for row in of_rows]).mean(),
        "This counts each completion's last token alone.": torch.stack([row[-1] for row in of_rows]).mean(),
        "This looks at the last position alone: a completion may have more tokens, and padding after it.": (
            ends[0] if seen is None else min(ends, key=lambda end: abs(end - seen))
        ),
        "The sign is the other way round: a loss is large where the model was wrong.": -each.mean(),
        "This is in bits, with a logarithm to base 2: the loss is in nats.": each.mean() / torch.tensor(2.0).log(),
        "This averages the probabilities, and takes the logarithm after: it is the other way round.": (
            -probabilities.mean().log()
        ),
        "This is the mean probability: its logarithm is missing, and the sign.": probabilities.mean(),
        "This is minus the mean probability: the logarithm is missing.": -probabilities.mean(),
        "This is exp of the loss, called perplexity.": each.mean().exp(),
        "These are raw logits, not made into probabilities.": nats(logits[:, :-1], wanted % vocab)[learned].mean(),
        "Softmax is applied twice: `cross_entropy` and `log_softmax` take the raw logits.": _cross_entropy(
            logits.softmax(-1)[:, :-1], wanted
        ),
        "This softmax runs over the positions: it is the vocabulary's tokens that compete.": nats(
            over_positions, wanted % vocab
        )[learned].mean(),
        "This softmax runs over all positions, the last included: it is the vocabulary's tokens that compete.": nats(
            over_all_positions, wanted % vocab
        )[learned].mean(),
        "This is the accuracy, the share of labelled tokens that are the likeliest.": (log_p.argmax(-1) == wanted)[
            learned
        ]
        .double()
        .mean(),
    }


@check(
    "7.3",
    "Every sentence has two verdicts, and each is right or wrong. Which of the four cases is mended, which is broken?",
    "Go through the three lists side by side (zip). Compare before with truth, and after with truth.",
    "Mended: before != truth and after == truth. Broken: before == truth and after != truth. Count each, and return "
    "the two counts in this order.",
)
def check_mended_and_broken(answer: Answer, draw: Random) -> None:
    """`mended_and_broken(truth, before, after) -> (int, int)`: how many became right, and how many wrong."""
    trials = []
    for _ in range(5):
        kept, mended, broken, stuck, moved = draw.sample(range(3, 25), 5)
        rows = [_verdicts(draw, True, True) for _ in range(kept)]
        rows += [_verdicts(draw, False, True) for _ in range(mended)]
        rows += [_verdicts(draw, True, False) for _ in range(broken)]
        rows += [_verdicts(draw, False, False) for _ in range(stuck)]
        rows += [_verdicts(draw, False, False, moved=True) for _ in range(moved)]
        draw.shuffle(rows)
        n, lists = len(rows), [list(column) for column in zip(*rows, strict=True)]
        returned, gain = _as_counts(answer(*lists)), mended - broken
        trials.append(
            Trial(
                given=f"{n} sentences",
                seen=returned,
                expected=(mended, broken),
                mistakes={
                    "The two are swapped: mended comes first.": (broken, mended),
                    "A verdict that went from one wrong word to another is not broken: it was wrong before.": (
                        mended,
                        broken + moved,
                    ),
                    "A verdict that went from one wrong word to another is not mended: it is wrong still.": (
                        mended + moved,
                        broken,
                    ),
                    "A verdict that went from one wrong word to another is neither mended nor broken.": (
                        mended + moved,
                        broken + moved,
                    ),
                    "This is how many verdicts changed: which way they changed is the question.": mended
                    + broken
                    + moved,
                    "These are the verdicts that are right, after and before: most of them did not change.": (
                        kept + mended,
                        kept + broken,
                    ),
                    "These are the verdicts that are wrong, before and after: some stayed wrong.": (
                        mended + stuck + moved,
                        broken + stuck + moved,
                    ),
                    "These are right and wrong after training: what was so before, training did not do.": (
                        kept + mended,
                        broken + stuck + moved,
                    ),
                    "This is the difference alone: 30 mended and 20 broken is not the same as 10 and 0.": any_of(
                        returned, gain, (gain, -gain), (max(gain, 0), max(-gain, 0))
                    ),
                    "This is the gain in accuracy: it hides how many changed either way.": gain / n,
                    "These are shares of all sentences: whole numbers are wanted.": (mended / n, broken / n),
                    "This is one of the two: what was mended is half of the story.": mended,
                },
            )
        )
    judge(trials, "a pair of whole numbers, (mended, broken),")


def _verdicts(draw: Random, right_before: bool, right_after: bool, moved: bool = False) -> tuple[str, str, str]:
    """(truth, before, after) of one sentence; `moved`: its two verdicts differ, though both are wrong."""
    truth, wrong, other = draw.sample(WORDS, 3)
    return truth, truth if right_before else wrong, truth if right_after else other if moved else wrong


def _as_counts(value: Any) -> Any:
    """A pair of counts as a plain tuple, however it was written down."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, tuple | list) and any(isinstance(part, tuple | list | set) for part in value):
        raise CheckFailed("These are lists: how many there are in each is wanted.")
    return value
