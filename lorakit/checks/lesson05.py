"""Lesson 05's checks: the whole forward pass, how many weights each role has, and which tensors a step changed."""

from collections.abc import Callable
from random import Random
from typing import Any

import torch
from transformers import LlamaConfig

from lorakit.checks.frame import Answer, CheckFailed, Trial, any_of, as_number, check, describe, judge
from lorakit.checks.lesson03 import MadeUp
from lorakit.models import empty_model

Function = Callable[[torch.Tensor], torch.Tensor]


@check(
    "5.1",
    "Follow one token: its id becomes a vector, the vector goes through every block, and at last it is compared with "
    "every row of the head.",
    "table[input_ids] has shape (B, T, D). Each block is given what the one before it returned. The final norm comes "
    "after the last block.",
    "x = table[input_ids], then `for block in blocks: x = block(x)`. The logits are final_norm(x) @ head.T.",
)
def check_whole_pass(answer: Answer, draw: Random) -> None:
    """`whole_pass(input_ids, table, blocks, final_norm, head) -> (B, T, V)`: from token ids to logits."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials = []
    for size, tied in zip(draw.sample(range(4, 10), 4), draw.sample([True, False] * 2, 4), strict=True):
        texts, tokens, vocab = draw.randint(2, 4), draw.randint(3, 7), draw.randint(12, 30)
        input_ids = torch.randint(vocab, (texts, tokens), generator=generator)
        # All above 0, so that no sum cancels: the rounding of a float32 stays small then.
        table, other = torch.empty(2, vocab, size).uniform_(0.1, 2, generator=generator)
        head = table if tied else other
        blocks = [MadeUp(f"block {i}", size, generator) for i in range(draw.randint(3, 5))]
        final_norm = MadeUp("final_norm", size, generator)
        returned = answer(input_ids, table, blocks, final_norm, head)
        trials.append(
            Trial(
                given=f"input_ids of shape ({texts}, {tokens}), {len(blocks)} blocks and "
                f"{'the table as its own head' if tied else 'a head of its own'}, both of shape ({vocab}, {size}),",
                seen=returned,
                expected=final_norm(_through(blocks, table[input_ids])) @ head.T,
                mistakes=_pass_mistakes(returned, input_ids, table, blocks, final_norm, head),
            )
        )
    judge(trials, "a tensor of shape (B, T, V), the logits,")


def _through(blocks: list[Function], x: torch.Tensor) -> torch.Tensor:
    for block in blocks:
        x = block(x)
    return x


def _pass_mistakes(
    seen: Any,
    input_ids: torch.Tensor,
    table: torch.Tensor,
    blocks: list[Function],
    final_norm: Function,
    head: torch.Tensor,
) -> dict[str, Any]:
    """What each likely mistake makes of the ids, by the sentence that names it."""
    embeddings = table[input_ids]

    def logits(x: torch.Tensor) -> torch.Tensor:
        return final_norm(x) @ head.T

    stream = _through(blocks, embeddings)
    right = logits(stream)
    return {
        "The final norm is missing.": stream @ head.T,
        "The norm comes before the blocks here: it belongs after the last one.": any_of(
            seen, _through(blocks, final_norm(embeddings)) @ head.T, logits(_through(blocks, final_norm(embeddings)))
        ),
        "The final norm comes before every block here: it comes once, after the last one.": any_of(
            seen,
            logits(_through([part for block in blocks for part in (final_norm, block)], embeddings)),
            _through([part for block in blocks for part in (final_norm, block)], embeddings) @ head.T,
        ),
        "The final norm comes after every block here: it comes once, after the last one.": any_of(
            seen,
            _through([part for block in blocks for part in (block, final_norm)], embeddings) @ head.T,
            logits(_through([part for block in blocks for part in (block, final_norm)], embeddings)),
        ),
        "The blocks come in reverse order.": logits(_through(blocks[::-1], embeddings)),
        "Every block is given the embeddings here: each is to be given what the one before it returned.": logits(
            blocks[-1](embeddings)
        ),
        "This adds up what each block makes of the embeddings: each is to be given what the one before it returned.": (
            any_of(
                seen,
                logits(embeddings + sum(block(embeddings) for block in blocks)),
                logits(sum(block(embeddings) for block in blocks)),
            )
        ),
        "This adds what a block returns to what it was given: a block has that sum in it.": logits(
            _through([lambda x, block=block: x + block(x) for block in blocks], embeddings)
        ),
        "No block is in this: the embeddings go straight to the end.": logits(embeddings),
        "This is the first block alone: all of them follow one another.": logits(blocks[0](embeddings)),
        "The first block is left out.": logits(_through(blocks[1:], embeddings)),
        "The last block is left out.": logits(_through(blocks[:-1], embeddings)),
        "This takes the embedding table for the head: they are the same in a tied model alone.": final_norm(stream)
        @ table.T,
        "This looks the tokens up in the head: they are the same in a tied model alone.": logits(
            _through(blocks, head[input_ids])
        ),
        "These are vectors still: the head is to make logits of them.": any_of(seen, final_norm(stream), stream),
        "These are the last position's logits: every position has some.": any_of(seen, right[:, -1], right[:, -1:]),
        "These are the first text's logits: every text has some.": any_of(seen, right[0], right[:1]),
        "These are probabilities: the logits are asked for, before any softmax.": any_of(
            seen, right.softmax(-1), right.log_softmax(-1)
        ),
        "These are ids, of the likeliest tokens: the logits of all tokens are asked for.": right.argmax(-1),
    }


ROLES = ("embedding", "q", "k", "v", "o", "gate", "up", "down", "norm", "head")


@check(
    "5.2",
    "One role at a time. What shape has its table in one block? Multiply its two sizes, then by the number of blocks. "
    "Two roles stand outside the blocks, and one has a part there.",
    "q has num_attention_heads · head_dim outputs, k and v have num_key_value_heads · head_dim. A norm has one number "
    "for each of hidden_size; how many norms has a block, and which one comes after all blocks?",
    "With D = hidden_size and L blocks: q and o are L · D · heads · head_dim, k and v the same with key-value heads, "
    "gate, up and down L · D · intermediate_size, norm (2L + 1) · D, embedding vocab_size · D, head as much if untied.",
)
def check_census(answer: Answer, draw: Random) -> None:
    """`census(config) -> dict`: how many weights a Llama model has in each role."""
    layers = draw.sample(range(1, 5), 4)
    configs = [_some_config(draw, *sizes) for sizes in zip(layers, [True, False] * 2, strict=True)]
    counts = [_counted(answer(config)) for config in configs]
    existing = [count_by_role(config) for config in configs]
    trials = []
    for role in ROLES:  # one after the other, so that of several mistakes each is named in its turn
        for config, counted, exists in zip(configs, counts, existing, strict=True):
            trials.append(
                Trial(
                    given=f"`{role}` of a config with {_sizes(config)}",
                    seen=counted[role],
                    expected=exists[role],
                    mistakes={
                        sentence: any_of(counted[role], *values) if values else exists[role]
                        for sentence, values in _census_mistakes(role, config, exists).items()
                    },
                )
            )
        judge(trials, f"the number of weights in `{role}`")


def _some_config(draw: Random, layers: int, tied: bool) -> LlamaConfig:
    """A small Llama whose heads together are narrower or wider than its vectors."""
    key_heads = draw.randint(2, 3)
    heads = key_heads * draw.randint(3, 4)
    ratio = draw.randint(5, 9)
    return LlamaConfig(
        vocab_size=draw.randint(300, 500),
        hidden_size=heads * ratio,
        intermediate_size=heads * ratio * 2 + draw.randint(1, 30),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        head_dim=2 * draw.choice([ratio // 2 - 1, ratio // 2 + 2]),
        tie_word_embeddings=tied,
    )


def count_by_role(config: LlamaConfig) -> dict[str, int]:
    """How many weights each role has in the model that transformers makes of a config."""
    counts = dict.fromkeys(ROLES, 0)
    for name, weight in empty_model(config).named_parameters():
        part = name.removesuffix(".weight").rpartition(".")[2]
        role = {"embed_tokens": "embedding", "lm_head": "head"}.get(part, part.removesuffix("_proj"))
        counts["norm" if "norm" in role else role] += weight.numel()
    return counts


def _sizes(config: LlamaConfig) -> str:
    """What the statement names of a config, in a line."""
    names = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"]
    names += ["num_key_value_heads", "head_dim", "tie_word_embeddings"]
    return ", ".join(f"{name} = {getattr(config, name)}" for name in names)


def _counted(census: Any) -> dict[str, Any]:
    """The census that was returned.

    Raises:
        CheckFailed: it is no dict with one number for each role.
    """
    if not isinstance(census, dict):
        raise CheckFailed(f"This is {describe(census)}: a dict with ten entries is wanted, one for each role.")
    for role in ROLES:
        if role not in census:
            raise CheckFailed(f"The entry `{role}` is missing.")
        if as_number(census[role]) is None:
            raise CheckFailed(f"The entry `{role}` is {describe(census[role])}: one number is wanted.")
    for name in census:
        if name not in ROLES:
            raise CheckFailed(f"There is an entry {name!r}: the ten are {', '.join(ROLES)}.")
    return census


def _census_mistakes(role: str, config: LlamaConfig, exists: dict[str, int]) -> dict[str, list[int]]:
    """What each likely mistake counts in a role, by the sentence that names it; nothing where it changes nothing."""
    D, F, L, V = config.hidden_size, config.intermediate_size, config.num_hidden_layers, config.vocab_size
    outputs = {
        "q": config.num_attention_heads * config.head_dim,
        "k": config.num_key_value_heads * config.head_dim,
        "v": config.num_key_value_heads * config.head_dim,
        "o": D,
        "gate": F,
        "up": F,
        "down": D,
    }
    right, table, groups = exists[role], V * D, config.num_attention_heads // config.num_key_value_heads
    attends, feeds = role in ("q", "k", "v", "o"), role in ("gate", "up", "down")
    key_or_value = role in ("k", "v")
    divided = D // config.num_attention_heads
    return {
        "This leaves out the size of the vectors: each token has one, of hidden_size numbers.": (
            [V] if role == "embedding" else []
        ),
        "This counts the head in with the embedding, where it has a table of its own.": (
            [table + exists["head"]] if role == "embedding" else []
        ),
        "This counts one block alone: the model has num_hidden_layers of them.": (
            [right // L] if role in outputs else [2 * D, 3 * D] if role == "norm" else []
        ),
        "This takes head_dim to be hidden_size / num_attention_heads: the config says what it is.": (
            [right // config.head_dim * divided] if attends else []
        ),
        "This counts one head alone.": (
            [right // config.num_attention_heads]
            if role in ("q", "o")
            else [right // config.num_key_value_heads]
            if key_or_value
            else []
        ),
        "This gives every head hidden_size numbers: it has head_dim.": (
            [right // config.head_dim * D] if attends else []
        ),
        "This gives keys and values as many heads as queries: they have num_key_value_heads.": (
            [right * groups, L * D * D] if key_or_value else []
        ),
        "This gives q and o as few heads as keys and values: they have num_attention_heads.": (
            [right // groups] if role in ("q", "o") else []
        ),
        "This takes the feed-forward half to be 4 times as wide as the vectors: the config says how wide it is.": (
            [L * D * 4 * D] if feeds else []
        ),
        "This takes the feed-forward half to be as wide as the vectors: the config says how wide it is.": (
            [L * D * D] if feeds else []
        ),
        "This counts biases: no layer here has one.": [right + L * outputs[role]] if role in outputs else [],
        "This counts one norm a block: each half has its own.": [(L + 1) * D, L * D] if role == "norm" else [],
        "The final norm is left out, which comes after the last block.": [2 * L * D] if role == "norm" else [],
        "This counts one number for each norm: it has one for each number of a vector.": (
            [2 * L + 1, 2 * L] if role == "norm" else []
        ),
        "This counts the head where it is tied: the embedding's table serves it, and is counted there.": (
            [table] if role == "head" else []
        ),
        "This counts no head where it is not tied: it has a table of its own then.": [0] if role == "head" else [],
        "The head is counted the wrong way round: tied, it has no table of its own.": (
            [table - right] if role == "head" else []
        ),
        "This counts a beta beside each gamma: RMSNorm has none.": [2 * right] if role == "norm" else [],
        "This counts keys and values together: each has an entry of its own.": [2 * right] if key_or_value else [],
        "These are bytes: the number of weights is wanted.": [4 * right, 2 * right],
    }


PARTS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
WHOLE = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
}
"""The whole numbers that take as many bits: the next of them is the next float."""


@check(
    "5.3",
    "Go through the names. When are two tensors equal? Every number counts, and the smallest change too.",
    "`before[name] == after[name]` is a tensor of True and False, one for each number. Which function of torch says "
    "whether all agree? It must allow no tolerance.",
    "torch.equal(before[name], after[name]) is True where no number differs. Collect the names where it is not, and "
    "give them to sorted.",
)
def check_changed(answer: Answer, draw: Random) -> None:
    """`changed(before, after) -> list[str]`: the names, sorted, of the tensors that are not equal in every number."""
    trials = []
    for more in draw.sample(range(4), 4):
        before, after = _some_step(draw, more)
        returned = answer(before, after)
        if isinstance(returned, set | frozenset | dict):
            raise CheckFailed(f"This is a {type(returned).__name__}: a list is wanted, with the names in their order.")
        trials.append(
            Trial(
                given=f"{len(before)} tensors, such as {next(iter(before))},",
                seen=list(returned) if isinstance(returned, tuple) else returned,
                expected=sorted(name for name in before if after[name].tolist() != before[name].tolist()),
                mistakes=_changed_mistakes(returned, before, after),
            )
        )
    judge(trials, "the sorted list of the names whose tensors differ")


def _some_step(draw: Random, more: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Tensors by their names, and the same after a step that changed some in each way, and `more` in one number."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    ways = ["none", "none", "first", "swap", "all", "one", *["one"] * more]
    steps = [(way, draw.choice(list(WHOLE))) for way in ways]
    steps += [("last bit", torch.float32), ("last bit", torch.float64)]  # which a tolerance overlooks
    names = draw.sample([f"layers.{layer}.{part}.weight" for layer in range(10) for part in PARTS], len(steps))
    before, after = {}, {}
    for name, (way, dtype) in zip(names, draw.sample(steps, len(steps)), strict=True):
        shape = (draw.randint(3, 6), draw.randint(3, 6))
        count = shape[0] * shape[1]
        # No two are alike, and all are eighths: every dtype here can hold them, and their sum.
        numbers = (torch.randperm(count, generator=generator) + 1) / 8
        numbers *= torch.randint(2, (count,), generator=generator) * 2 - 1
        old = numbers.to(dtype)
        new = old.clone()
        if way == "last bit":
            new.view(WHOLE[dtype])[draw.randrange(1, count)] += 1
        elif way == "one":
            new[draw.randrange(shape[1], count)] += draw.choice([-1, 1])  # below the first row
        elif way == "first":
            new[0] += draw.choice([-1, 1])
        elif way == "swap":
            new[[1, 2]] = old[[2, 1]]
        elif way == "all":
            new += draw.choice([-1, 1])
        before[name], after[name] = old.view(shape), new.view(shape)
    return before, after


def _changed_mistakes(seen: Any, before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What each likely mistake takes for changed, by the sentence that names it."""

    def where(differs: Callable[[torch.Tensor, torch.Tensor], Any]) -> list[str]:
        return sorted(name for name in before if differs(before[name], after[name]))

    def equal(a: torch.Tensor, b: torch.Tensor) -> bool:
        return a.tolist() == b.tolist()

    return {
        "These are the names whose tensors did not change.": where(equal),
        "The names are right, their order is not.": any_of(
            seen,
            [name for name in before if not equal(before[name], after[name])],
            sorted(where(lambda a, b: not equal(a, b)), reverse=True),
        ),
        "These are all the names: two tensors can be equal and not the same object.": sorted(before),
        "This misses the smallest changes: `allclose`, and any other tolerance, lets them pass.": where(
            lambda a, b: not torch.allclose(a, b)
        ),
        "This misses tensors whose numbers only fell, or only rose: take `.abs()` of the differences.": any_of(
            seen,
            where(lambda a, b: (b - a).max() > 0),
            where(lambda a, b: (a - b).max() > 0),
        ),
        "This misses a change in the last bits of a float64: compare the numbers as they are.": where(
            lambda a, b: not equal(a.float(), b.float())
        ),
        "This compares one number for each tensor: two that change places leave a sum or a mean as it was.": any_of(
            seen,
            where(lambda a, b: a.sum() != b.sum()),
            where(lambda a, b: a.mean() != b.mean()),
            where(lambda a, b: (a - b).sum() != 0),
            where(lambda a, b: a.norm() != b.norm()),
        ),
        "This finds the tensors that differ in every number: one is enough.": where(lambda a, b: (a != b).all()),
        "This compares the first number of each tensor alone.": where(lambda a, b: a[0, 0] != b[0, 0]),
        "This compares the first row of each tensor alone.": where(lambda a, b: not equal(a[0], b[0])),
    }
