"""Lesson 00's checks: the shape of logits, the probability of a next token, and the room that weights take."""

from random import Random
from typing import Any

import torch

from lorakit.checks.frame import Answer, CheckFailed, Trial, any_of, check, judge


@check(
    "0.1",
    "A sentence above says what the model answers with: for each …, at each …, one score for each …. Each is one axis.",
    "There is a list of scores at every position of every text. How many texts, how many positions, how many scores?",
    "ids.shape holds two of the three sizes, in the order in which they are wanted; vocab_size is the third.",
)
def check_logits_shape(answer: Answer, draw: Random) -> None:
    """`logits_shape(ids, vocab_size) -> (int, int, int)`: the shape of the logits for token ids (B, T)."""
    trials = []
    for _ in range(5):
        texts, tokens, vocab = draw.randint(2, 9), draw.randint(10, 60), draw.randint(1000, 40000)
        ids = torch.tensor([[draw.randrange(vocab) for _ in range(tokens)] for _ in range(texts)])
        trials.append(
            Trial(
                given=f"ids of shape ({texts}, {tokens}) and vocab_size = {vocab}",
                seen=_as_sizes(answer(ids, vocab)),
                expected=(texts, tokens, vocab),
                mistakes={
                    "This forgets the batch: several texts go through the model at once.": (tokens, vocab),
                    "This takes the batch for one text: it may hold several.": (1, tokens, vocab),
                    "This has one list of scores a text: the model scores at every position.": (texts, vocab),
                    "This is one list of scores: every position of every text has its own.": (vocab,),
                    "This is the shape of the ids: at each position there are many scores, not one.": (texts, tokens),
                    "The sizes are right, their order is not: the scores of one position lie side by side.": (
                        texts,
                        vocab,
                        tokens,
                    ),
                    "The sizes are right, their order is not: the texts come before their positions.": (
                        tokens,
                        texts,
                        vocab,
                    ),
                    "The sizes are right, their order is not: the scores come last.": (vocab, texts, tokens),
                    "This leaves out a position: the last one has scores too, those of the next token.": (
                        texts,
                        tokens - 1,
                        vocab,
                    ),
                    "This has a position too many: the next token is not read yet.": (texts, tokens + 1, vocab),
                    "The length 5 is that of one text: other texts have other lengths.": (texts, 5, vocab),
                    "49,152 is one model's vocabulary: another model has another.": (texts, tokens, 49152),
                    "576 is the size of the vectors inside this model: the logits are what comes out.": (
                        texts,
                        tokens,
                        576,
                    ),
                    "This runs the texts together: the batch keeps an axis of its own.": (texts * tokens, vocab),
                    "This is how many logits there are: the size of each axis is wanted.": texts * tokens * vocab,
                },
            )
        )
    judge(trials, "the shape of the logits, a tuple of whole numbers,")


def _as_sizes(value: Any) -> Any:
    """A shape as a plain tuple, however it was written down."""
    if isinstance(value, torch.Tensor) and value.ndim > 1:
        raise CheckFailed(f"This is a whole tensor, of shape {tuple(value.shape)}: only the sizes are wanted.")
    if isinstance(value, torch.Tensor) and value.ndim == 1:
        return tuple(value.tolist())
    return tuple(value) if isinstance(value, tuple | list) else value


@check(
    "0.2",
    "Three steps: choose the position that counts, make probabilities of its scores, look up the token.",
    "The last position has read the whole text. softmax(dim=…) needs the axis along which the probabilities add up to "
    "1: the one with all the candidates for the next token.",
    "logits[:, -1] has shape (B, V). Its softmax over the last axis has the same shape; take column token_id of it.",
)
def check_next_token_probability(answer: Answer, draw: Random) -> None:
    """`next_token_probability(logits, token_id) -> (B,)`: how likely that token is to follow each whole text."""
    trials = []
    dtypes = draw.sample([torch.float32, torch.float64, torch.bfloat16] * 2, 6)
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    for texts, dtype in zip(draw.sample(range(2, 8), 6), dtypes, strict=True):
        tokens, vocab = draw.randint(9, 12), draw.randint(14, 20)
        token = draw.randint(1, vocab - 2)
        logits = (3 + 1.5 * torch.randn(texts, tokens, vocab, generator=generator)).to(dtype)
        exact = logits.double()
        probability, e = exact.softmax(-1), exact.exp()
        returned = _as_tensor(answer(logits, token), dtype)
        mistakes = {
            "This is the logit itself: it is no probability yet.": exact[:, -1, token],
            "This is the logarithm of the probability.": probability[:, -1, token].log(),
            "A sigmoid looks at one score alone: whether a token is likely depends on its rivals too.": exact[
                :, -1, token
            ].sigmoid(),
            "This is exp of the score, not yet divided by anything: it can be far above 1.": e[:, -1, token],
            "This divides by the sum over all texts: each text's probabilities make 1, so sum with dim=-1.": any_of(
                returned, (e[:, -1, token] / e[:, -1].sum()).to(dtype), (e[:, -1, token] / e.sum()).to(dtype)
            ),
            "This divides the score by the sum of the scores: scores can be negative, so softmax takes their exp.": (
                exact / exact.sum(-1, keepdim=True)
            )[:, -1, token],
            "This softmax runs over the positions: they do not compete to be the next token.": exact.softmax(1)[
                :, -1, token
            ],
            "This softmax runs over the texts: they have nothing to do with one another.": exact.softmax(0)[
                :, -1, token
            ],
            "This applies softmax twice: once, the scores are probabilities already.": probability.softmax(-1)[
                :, -1, token
            ],
            "This is the first position: it has read one token, not the whole text.": probability[:, 0, token],
            "This is the last position but one: it has not read the last token.": probability[:, -2, token],
            "This is every position of each text: only what follows the whole text is asked for.": probability[
                :, :, token
            ],
            "This is the token after the one asked for: ids count from 0.": probability[:, -1, token + 1],
            "This is the token before the one asked for: ids count from 0.": probability[:, -1, token - 1],
            "This is the likeliest token's probability: a certain token's is asked for.": probability[:, -1].amax(-1),
            "This says whether the token is the likeliest: its probability is wanted.": (
                exact[:, -1].argmax(-1) == token
            ),
            "This is every token's probability: one token's is asked for.": probability[:, -1],
            "This is the first text alone: each text has its own probability.": probability[0, -1, token],
            "This is the last text alone: each text has its own probability.": probability[-1, -1, token],
            "This is the mean over the texts: each text has its own probability.": probability[:, -1, token].mean(),
            "The numbers are right, but an axis of length 1 is left over.": probability[:, -1:, token],
        }
        trials.append(
            Trial(
                given=f"logits of shape ({texts}, {tokens}, {vocab}), {str(dtype)[6:]}, and token_id = {token}",
                seen=returned,
                # In the dtype of the logits, whose rounding is then allowed for.
                expected=probability[:, -1, token].to(dtype),
                mistakes={sentence: value.to(dtype) for sentence, value in mistakes.items()},
            )
        )
    judge(trials, "a tensor of shape (B,), one probability for each text,")


def _as_tensor(value: Any, dtype: torch.dtype) -> Any:
    """A plain number as a tensor."""
    return torch.tensor(value, dtype=dtype) if isinstance(value, float) else value


@check(
    "0.3",
    "First the bits of all weights together, then bytes, then MiB.",
    "A byte is 8 bits, and a MiB is 2**20 bytes. A weight may take less than a byte, so keep the fractions.",
    "Divide n_weights * bits by 8, with `/` and not with `//`, and then by 2**20.",
)
def check_weights_mib(answer: Answer, draw: Random) -> None:
    """`weights_mib(n_weights, bits) -> float`: MiB that so many weights of so many bits fill."""
    trials = []
    # Fractions on both sides of a half, so that cutting off and rounding differ, and with more than one digit.
    fractions = draw.sample([0.23, 0.34, 0.66, 0.77], 4)
    for bits, fraction in zip(draw.sample([4, 8, 16, 32], 4), fractions, strict=True):
        n = round((draw.randint(20, 900) + fraction) * 2**23 / bits) + draw.randint(0, 999)
        size = n * bits / 8
        mib, returned = size / 2**20, answer(n, bits)
        trials.append(
            Trial(
                given=f"n_weights = {n} and bits = {bits}",
                seen=returned,
                expected=mib,
                mistakes={
                    "This is bytes, not MiB.": size,
                    "This is KiB: a MiB is 1,024 of these.": size / 2**10,
                    "This is GiB: a MiB is a smaller unit.": size / 2**30,
                    "This is MB, of a million bytes: a MiB has 2**20.": size / 10**6,
                    "This is GB, of a thousand million bytes.": size / 10**9,
                    "This takes bits for bytes.": n * bits / 2**20,
                    "This multiplies by 8: a byte is 8 bits, so there are fewer bytes than bits.": n * bits * 8 / 2**20,
                    "2**20 is 1,048,576: `2 * 20` is 40, and `2 ^ 20` is 22 in Python.": any_of(
                        returned, size / 40, size / 22
                    ),
                    "`bits // 8` is 0 for 4 bits: such a weight fills half a byte, not none.": n * (bits // 8) / 2**20,
                    "This cuts off the fraction: `//` and `int` leave whole MiB alone.": int(mib),
                    "This is rounded to whole MiB: give the number as it comes out.": round(mib),
                    "This is rounded to one digit: give the number as it comes out.": round(mib, 1),
                    "This takes every weight to be a float32: `bits` says how large one is.": n * 4 / 2**20,
                    "This takes every weight to fill 2 bytes: `bits` says how large one is.": n * 2 / 2**20,
                    "This takes every weight to fill one byte: `bits` says how large one is.": n / 2**20,
                    "This divides by the bits of a weight: more bits fill more, not less.": n * 8 / bits / 2**20,
                },
            )
        )
    judge(trials, "the number of MiB")
