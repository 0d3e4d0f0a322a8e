import json
import random

import pytest

from lorakit import LorakitError
from lorakit.data import (
    IGNORED,
    Example,
    Review,
    check_rows,
    collate,
    encode,
    length_buckets,
    load_news,
    load_reviews,
    load_rows,
    review_row,
    split_reviews,
    step_rows,
)
from lorakit.models import fetch_default_model


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(fetch_default_model())


def test_the_reviews_are_those_of_the_study():
    reviews = load_reviews()
    assert len(reviews) == 9173
    assert sum(review.rating > 0 for review in reviews) == 4598  # 50.1 %
    assert all(1 <= abs(review.rating) <= 4 for review in reviews)


def test_the_news_are_plain_sentences_of_the_same_study():
    news = load_news()
    assert len(news) == 5190
    assert all(news) and not {review.text for review in load_reviews()} & set(news)


def test_the_split_is_seeded_and_no_held_out_sentence_is_trained_on():
    train, held_out = split_reviews()
    assert (len(train), len(held_out)) == (8173, 1000)
    assert not {row["prompt"] for row in train} & {row["prompt"] for row in held_out}
    assert split_reviews() == (train, held_out)
    assert split_reviews(seed=1)[1] != held_out
    share = sum(row["completion"] == " positive" for row in held_out) / 1000
    assert 0.45 < share < 0.55


def test_a_review_becomes_a_row():
    assert review_row(Review("Good fun.", 2.5)) == {
        "prompt": "Review: Good fun.\nSentiment:",
        "completion": " positive",
        "label_words": (" negative", " positive"),
    }
    assert review_row(Review("Dull.", -2.5))["completion"] == " negative"


def test_a_label_is_learned_and_the_prompt_is_not(tokenizer):
    (example,) = encode([review_row(Review("Good fun.", 2.5))], tokenizer)
    prompt = tokenizer("Review: Good fun.\nSentiment:").input_ids
    assert example == Example(prompt + tokenizer(" positive").input_ids, len(prompt))


def test_free_text_ends_with_the_end_of_sequence(tokenizer):
    (example,) = encode([{"prompt": "Hello,", "completion": " world"}], tokenizer)
    assert example.input_ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(example.input_ids[example.prompt_length : -1]) == " world"


def test_label_words_of_several_tokens_are_kept_whole(tokenizer):
    (example,) = encode(
        [{"prompt": "A:", "completion": " abominable", "label_words": (" abominable", " fine")}], tokenizer
    )
    completion = example.input_ids[example.prompt_length :]
    assert len(completion) > 1
    assert tokenizer.decode(completion) == " abominable"


def test_collate_pads_on_the_left_by_hand():
    batch = collate([Example([5, 6, 7], 2), Example([8, 9], 1)], pad_token_id=0)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [0, 8, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 1, 1]]
    assert batch["position_ids"].tolist() == [[0, 1, 2], [0, 0, 1]]
    assert batch["labels"].tolist() == [[IGNORED, IGNORED, 7], [IGNORED, IGNORED, 9]]


def test_each_pass_sees_every_row_once_in_a_seeded_order():
    examples = [Example([i], 0) for i in range(10)]
    steps = list(step_rows(examples, rows_per_step=4, steps=5, seed=3))
    ids = [row.input_ids[0] for step in steps for row in step]
    assert [len(step) for step in steps] == [4] * 5
    assert sorted(ids[:10]) == sorted(ids[10:]) == list(range(10))
    assert ids[:10] != ids[10:]
    assert steps == list(step_rows(examples, 4, 5, 3))
    assert steps != list(step_rows(examples, 4, 5, 4))
    assert steps[:2] == list(step_rows(examples, 4, 2, 3))  # a longer run begins as a shorter one


def test_length_buckets_put_short_with_short():
    lengths = list(range(1, 23))
    random.Random(0).shuffle(lengths)
    buckets = list(length_buckets([Example([0] * n, 0) for n in lengths], 4))
    assert [[len(row.input_ids) for row in bucket] for bucket in buckets] == [
        [1, 2, 3, 4],
        [5, 6, 7, 8],
        [9, 10, 11, 12],
        [13, 14, 15, 16],
        [17, 18, 19, 20],
        [21, 22],
    ]


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ([], "0 rows"),
        ([{"prompt": "a", "completion": "b"}, {"prompt": "a"}], "row 1 has None for 'completion'"),
        ([{"prompt": "", "completion": "b"}], "row 0 has '' for 'prompt'"),
        ([{"prompt": 3, "completion": "b"}], "row 0 has 3 for 'prompt'"),
        (["text"], "row 0 has None for 'prompt'"),
        ([{"prompt": "a", "completion": "b", "label_words": ("c", "d")}], "row 0 has 'b' .* none of its label_words"),
        ([{"prompt": "a", "completion": "b", "label_words": None}], "row 0 has None for 'label_words'"),
        ([{"prompt": "a", "completion": "b", "label_words": "b c"}], "row 0 has 'b c' for 'label_words'"),
    ],
)
def test_bad_rows_are_named(rows, names):
    with pytest.raises(LorakitError, match=names):
        check_rows(rows)


def test_rows_are_read_from_json_lines(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"prompt": "Grüße", "completion": " ja"}\n\n{"prompt": "b", "completion": "c"}\n', encoding="utf-8"
    )
    assert load_rows(path) == [{"prompt": "Grüße", "completion": " ja"}, {"prompt": "b", "completion": "c"}]


def test_a_row_may_hold_any_line_separator_and_a_file_may_begin_with_a_mark(tmp_path):
    row = {"prompt": "one\u2028two\x85three", "completion": "c"}
    text = "\n".join([json.dumps(row, ensure_ascii=False)] * 2)
    (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8-sig")
    assert load_rows(tmp_path / "rows.jsonl") == [row, row]


@pytest.mark.parametrize(
    ("text", "names"),
    [("", "0 rows"), ('{"prompt": "a", "completion": "b"}\n{half', "line 2"), ('{"prompt": "a"}', "'completion'")],
)
def test_a_bad_file_of_rows_is_named(tmp_path, text, names):
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(LorakitError, match=names):
        load_rows(tmp_path / "rows.jsonl")
    with pytest.raises(LorakitError, match=r"nowhere\.jsonl"):
        load_rows(tmp_path / "nowhere.jsonl")
