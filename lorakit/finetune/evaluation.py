"""The loss of completions, which training lowers, and the evaluation on rows that training never sees."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import torch
import torch.nn.functional as F
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lorakit.data import IGNORED, Batch, Example, Row, check_rows, collate, encode, length_buckets
from lorakit.finetune.machine import Bar, Progress, progress_bar
from lorakit.models import compute_dtype


@dataclass(frozen=True)
class Evaluation:
    """How a model does on rows it was not trained on.

    `loss` is the mean cross-entropy of a completion's tokens, in nats. On rows with label words, `accuracy` is the
    share of right verdicts with its 95 % Wilson interval `low` to `high`, and `predictions` are the words.
    """

    n: int
    loss: float
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    predictions: list[str] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        verdicts = "" if self.accuracy is None else f"accuracy {self.accuracy:.3f} [{self.low:.3f}, {self.high:.3f}], "
        return f"{verdicts}loss {self.loss:.3f} on {self.n} rows"


def completion_logits(model: PreTrainedModel | PeftModel, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (B, n, V), in float32, that predict the last n tokens of each row, and those tokens' labels (B, n).

    n is the longest completion of the batch: `lm_head` is multiplied with those positions alone.
    """
    labels = batch["labels"].to(model.device)
    n = int((labels != IGNORED).sum(dim=1).max())
    inputs = {name: batch[name].to(model.device) for name in ("input_ids", "attention_mask", "position_ids")}
    # The positions by number: a slice would not be contiguous, and torch then reads lm_head once for each row.
    positions = torch.arange(labels.shape[1] - n - 1, labels.shape[1], device=model.device)
    dtype = compute_dtype(model)
    with torch.autocast(model.device.type, dtype=dtype, enabled=dtype != torch.float32):
        logits = model(**inputs, logits_to_keep=positions, use_cache=False).logits
    # The logits at a position predict the token after it: drop the last position, and read the labels one later.
    return logits[:, :-1].float(), labels[:, -n:]


def completion_loss(model: PreTrainedModel | PeftModel, batch: Batch) -> torch.Tensor:
    """Sum of the cross-entropy, in nats, over the completions' tokens; the prompts count for nothing."""
    logits, labels = completion_logits(model, batch)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")


@torch.no_grad()
def evaluate(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    micro_batch_size: int = 16,
    progress: Progress = progress_bar,
) -> Evaluation:
    """Loss on `rows`, and with label words the accuracy of the likeliest word. Training mode is put back after.

    `progress` makes the bar, which is told the accuracy and its interval at the end.
    """
    check_rows(rows)
    was_training = model.training
    model.eval()
    words = [row.get("label_words", (row["completion"],)) for row in rows]
    candidates = [{**row, "completion": word} for row, choices in zip(rows, words, strict=True) for word in choices]
    examples = encode(candidates, tokenizer)
    passes = _shared_passes(examples)
    with progress(len(passes), "evaluating", "row") as bar:
        scores = _log_probabilities(model, examples, passes, micro_batch_size, tokenizer.pad_token_id, bar)
        result = _verdicts(rows, words, scores)
        if result.accuracy is not None:
            bar.set_postfix(accuracy=result.accuracy, low=result.low, high=result.high)
    model.train(was_training)
    return result


def _verdicts(
    rows: Sequence[Row], words: Sequence[Sequence[str]], log_probabilities: Sequence[tuple[float, int]]
) -> Evaluation:
    """What the log-probability of each row's words, one row after the other, says of the model."""
    scores = iter(log_probabilities)
    nats, tokens, predictions = 0.0, 0, []
    for row, choices in zip(rows, words, strict=True):
        scored = {word: next(scores) for word in choices}
        log_probability, length = scored[row["completion"]]
        nats, tokens = nats - log_probability, tokens + length
        predictions.append(max(scored, key=lambda word: scored[word][0]))
    if not all("label_words" in row for row in rows):
        return Evaluation(len(rows), nats / tokens)
    right = sum(prediction == row["completion"] for prediction, row in zip(predictions, rows, strict=True))
    return Evaluation(len(rows), nats / tokens, right / len(rows), *wilson_interval(right, len(rows)), predictions)


def _shared_passes(examples: Sequence[Example]) -> list[list[int]]:
    """Numbers of the examples that share a pass over their prompt.

    The last token of a completion is predicted, never read: examples that differ in it alone are read as one.
    """
    sharing: dict[tuple, list[int]] = {}
    for i, example in enumerate(examples):
        sharing.setdefault((*example.input_ids[:-1], example.prompt_length), []).append(i)
    return list(sharing.values())


def _log_probabilities(
    model, examples: Sequence[Example], passes: list[list[int]], micro_batch_size: int, pad_token_id: int, bar: Bar
) -> list[tuple[float, int]]:
    """Log-probability of each example's completion after its prompt, and its number of tokens."""
    firsts = {id(examples[group[0]]): group for group in passes}
    result: list[tuple[float, int]] = [(0.0, 0)] * len(examples)
    for bucket in length_buckets([examples[group[0]] for group in passes], micro_batch_size):
        bar.update(len(bucket))
        logits, _ = completion_logits(model, collate(bucket, pad_token_id))
        for row_logits, first in zip(logits, bucket, strict=True):
            for i in firsts[id(first)]:
                targets = torch.tensor(examples[i].completion, device=logits.device)
                chosen = row_logits[-len(targets) :].log_softmax(-1).gather(-1, targets[:, None])
                result[i] = (chosen.sum().item(), len(targets))
    return result


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """95 % interval for a share of `right` in `n` (Wilson 1927): it stays within 0 and 1 and is sound near both."""
    z = NormalDist().inv_cdf(0.975)
    share = right / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return centre - half, centre + half
