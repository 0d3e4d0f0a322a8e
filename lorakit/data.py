"""The review data set, the prompt, and the way from rows of text to batches of token ids.

A row is `{"prompt": …, "completion": …}`; a model learns to write the completion after the prompt. A row of the review
task also names its `label_words`: there the completion is one of them, and the model's verdict is the likeliest.
"""

import io
import json
import random
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from lorakit import cache
from lorakit.errors import LorakitError

RATED_SOURCE = cache.Source(
    name="rated-sentences",
    requirement="vaderSentiment==3.3.2",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    download_bytes=2_466_783,
    ready_bytes=2_000_000,
    is_wheel=False,
)
LABEL_WORDS = (" negative", " positive")
HELD_OUT = 1000
IGNORED = -100
"""Label of a position that counts for nothing in the loss (PyTorch's default `ignore_index`)."""

Row = dict
Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Review:
    """A sentence of a film review and the mean of its human ratings, -4 to 4 (Hutto & Gilbert 2014)."""

    text: str
    rating: float


@dataclass(frozen=True)
class Example:
    """One row as token ids; the first `prompt_length` of them are given, the rest is to be learned."""

    input_ids: list[int]
    prompt_length: int

    @property
    def completion(self) -> list[int]:
        """The ids to be learned."""
        return self.input_ids[self.prompt_length :]


def load_reviews() -> list[Review]:
    """The 9,173 sentences with a mean rating of at least 1 in size; fetched through pip the first time (2.5 MB)."""
    reviews = [Review(text, rating) for text, rating in _rated("movieReviewSnippets_GroundTruth.txt")]
    return [review for review in reviews if abs(review.rating) >= 1]


def load_news() -> list[str]:
    """5,190 sentences of newspaper editorials, in their order, from the same study: plain text, no task."""
    return [text for text, _ in _rated("nytEditorialSnippets_GroundTruth.txt")]


def _rated(name: str) -> list[tuple[str, float]]:
    """The sentences of one file of the study, each with the mean of its ratings."""
    place = cache.ensure(RATED_SOURCE, _unpack_study)
    lines = (place / name).read_text(encoding="latin-1").split("\n")
    cells = (line.split("\t") for line in lines if line)
    return [(text.strip(), float(rating)) for _, rating, text in cells]


def _unpack_study(archive: Path, destination: Path) -> None:
    with tarfile.open(archive) as package:
        inner = package.extractfile("vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz").read()
    with tarfile.open(fileobj=io.BytesIO(inner)) as study:
        for name in ("movieReviewSnippets_GroundTruth.txt", "nytEditorialSnippets_GroundTruth.txt"):
            (destination / name).write_bytes(study.extractfile(f"hutto_ICWSM_2014/{name}").read())


def review_prompt(text: str) -> str:
    """The prompt after which the model writes its verdict."""
    return f"Review: {text}\nSentiment:"


def review_row(review: Review) -> Row:
    """A review as a row of the label task."""
    return {
        "prompt": review_prompt(review.text),
        "completion": LABEL_WORDS[review.rating > 0],
        "label_words": LABEL_WORDS,
    }


def split_reviews(seed: int = 0) -> tuple[list[Row], list[Row]]:
    """The reviews as rows, shuffled and split: `(train, held_out)`; no held-out sentence is in train, even twice."""
    reviews = load_reviews()
    random.Random(seed).shuffle(reviews)
    held_out, rest = reviews[:HELD_OUT], reviews[HELD_OUT:]
    seen = {review.text for review in held_out}
    return [review_row(r) for r in rest if r.text not in seen], [review_row(r) for r in held_out]


def load_rows(path: str | Path) -> list[Row]:
    """Read rows from a file of JSON lines, each with "prompt" and "completion"."""
    rows = []
    try:
        # utf-8-sig: some programs put a mark in front. split: a row may hold what else splitlines() takes for an end.
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise LorakitError(
            f"the rows in '{path}' could not be read ({error}): name a UTF-8 file of JSON lines."
        ) from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise LorakitError(f"line {number} of '{path}' is not JSON ({error}): write one row a line.") from error
    check_rows(rows)
    return rows


def split_rows(path: str | Path, most: int) -> tuple[list[Row], list[Row]]:
    """The rows of a file, shuffled and split: `(train, held_out)`; a fifth is held out, `most` at most."""
    rows = load_rows(path)
    if len(rows) < 5:
        raise LorakitError(f"'{path}' has {len(rows)} rows: give at least 5, since a fifth is held out to measure on.")
    random.Random(0).shuffle(rows)
    held_out = min(most, len(rows) // 5)
    return rows[held_out:], rows[:held_out]


def check_rows(rows: Sequence[Row]) -> None:
    """Raise LorakitError unless there are rows, and each has a text that is not empty for prompt and completion."""
    if len(rows) == 0:
        raise LorakitError("the data set is empty (0 rows): give at least one row with 'prompt' and 'completion'.")
    for number, row in enumerate(rows):
        for key in ("prompt", "completion"):
            value = row.get(key) if isinstance(row, dict) else None
            if not isinstance(value, str) or not value:
                raise LorakitError(f"row {number} has {value!r} for {key!r}: every row is a dict with a text there.")
        words = row.get("label_words", [row["completion"]])
        if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) and word for word in words):
            raise LorakitError(f"row {number} has {words!r} for 'label_words': list the words, or leave it out.")
        if row["completion"] not in words:
            raise LorakitError(
                f"row {number} has {row['completion']!r} for 'completion', which is none of its label_words."
            )


def encode(rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> list[Example]:
    """Rows as token ids. Free text ends with the end-of-sequence token, so that the model learns to stop.

    Prompt and completion are tokenised as one text, since some tokenizers write " positive" differently on its own.
    """
    prompts = tokenizer([row["prompt"] for row in rows]).input_ids
    texts = tokenizer([row["prompt"] + row["completion"] for row in rows]).input_ids
    examples = []
    for row, prompt, text in zip(rows, prompts, texts, strict=True):
        if text[-1:] == prompt[-1:] == [tokenizer.eos_token_id]:  # added by the tokenizer itself
            prompt, text = prompt[:-1], text[:-1]
        ending = [] if "label_words" in row else [tokenizer.eos_token_id]
        examples.append(Example(text + ending, _common_length(prompt, text)))
    return examples


def _common_length(a: list[int], b: list[int]) -> int:
    """How many ids at the start of `a` and `b` are the same."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def step_rows(examples: Sequence[Example], rows_per_step: int, steps: int, seed: int) -> Iterator[list[Example]]:
    """The rows of each step: pass after pass over a shuffled data set, the same for the same seed."""
    shuffle = random.Random(seed)
    order: list[int] = []
    for _ in range(steps):
        while len(order) < rows_per_step:
            order += shuffle.sample(range(len(examples)), len(examples))
        yield [examples[i] for i in order[:rows_per_step]]
        order = order[rows_per_step:]


def length_buckets(examples: Sequence[Example], size: int) -> Iterator[list[Example]]:
    """Cut into groups of at most `size`, short ones with short ones, so that little is padded."""
    by_length = sorted(examples, key=lambda example: len(example.input_ids))
    for start in range(0, len(by_length), size):
        yield by_length[start : start + size]


def collate(examples: Sequence[Example], pad_token_id: int | None) -> Batch:
    """One batch, padded on the left: `input_ids`, `attention_mask`, `position_ids`, `labels`, each (B, T).

    Every row then ends at the last position, so the logits that count are the last few of each. Padding is masked: for
    a tokenizer that has no token for it, any will do.
    """
    length = max(len(example.input_ids) for example in examples)
    ids, mask, labels = [], [], []
    for example in examples:
        padding = length - len(example.input_ids)
        ids.append([pad_token_id or 0] * padding + example.input_ids)
        mask.append([0] * padding + [1] * len(example.input_ids))
        labels.append([IGNORED] * (padding + example.prompt_length) + example.completion)
    attention_mask = torch.tensor(mask)
    return {
        "input_ids": torch.tensor(ids),
        "attention_mask": attention_mask,
        "position_ids": (attention_mask.cumsum(-1) - 1).clamp(min=0),
        "labels": torch.tensor(labels),
    }
