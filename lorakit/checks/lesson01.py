"""Lesson 01's checks: rows of an embedding table, the rows nearest to a vector, and what tied tables save."""

from itertools import permutations
from random import Random
from typing import Any

import torch
import torch.nn.functional as F

from lorakit.checks.frame import Answer, CheckFailed, Trial, any_of, check, judge, one_tensor


@check(
    "1.1",
    "An id is the number of a row. How do you take row 2 of a table, and how rows 2 and 0?",
    "A tensor can be indexed with another tensor of whole numbers, of any shape: each number is replaced by its row. "
    "No loop is needed.",
    "The ids go between the square brackets behind the table: table[...]. What comes out has the axes of the ids, and "
    "D after them.",
)
def check_embed(answer: Answer, draw: Random) -> None:
    """`embed(input_ids, table) -> (B, T, D)`: the rows of the embedding table that the ids name."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials = []
    for _ in range(5):
        texts, tokens = draw.sample(range(2, 7), 2)
        # More numbers in a row than rows, and no id of the last row: so columns, or the rows after, raise no error.
        vocab, size = draw.randint(8, 11), draw.randint(12, 16)
        ids = torch.tensor([[draw.randrange(vocab - 1) for _ in range(tokens)] for _ in range(texts)])
        # No negative numbers: a sum of rows that nearly cancels would be rounding.
        table = torch.rand(vocab, size, generator=generator)
        returned = one_tensor(answer(ids, table))
        trials.append(
            Trial(
                given=f"input_ids of shape ({texts}, {tokens}) and a table of shape ({vocab}, {size})",
                seen=returned,
                expected=table[ids],
                mistakes={name: any_of(returned, *forms) for name, forms in _embedding_mistakes(ids, table).items()},
            )
        )
    judge(trials, "a tensor of shape (B, T, D), a row of the table for each id,")


def _embedding_mistakes(ids: torch.Tensor, table: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    """What each likely mistake makes of ids and table, in its several forms, by the sentence that names it."""
    rows, (texts, tokens) = table[ids], ids.shape
    orders = [order for order in permutations(range(3)) if order != (0, 1, 2)]
    return {
        "These are columns of the table: an id is the number of a row.": [table[:, ids], table.T[ids]],
        "This is the first text alone: `input_ids` holds several.": [rows[0], rows[:1]],
        "This is one token of each text alone: every token has a row.": [rows[:, 0], rows[:, -1]],
        "The rows of a text are added up or averaged: every token keeps its own.": [rows.sum(1), rows.mean(1)],
        "This runs the texts together: the batch keeps an axis of its own.": [rows.flatten(0, 1)],
        "These are the rows beside those that the ids name: the first row of a table has the number 0.": [
            table[ids + 1],
            table[ids - 1],
        ],
        "These are the rows whose numbers are the positions: the ids say which rows are wanted.": [
            table[:tokens].expand(texts, -1, -1),
            table[:tokens],
        ],
        "These are the one-hot rows of the ids: the product with the table is missing.": [
            F.one_hot(ids, len(table)),
            F.one_hot(ids),
        ],
        "This is a single number of each row: all D are wanted.": [rows[..., 0]],
        "The rows are the right ones, the order of the axes is not: texts, then positions, then a row's numbers.": [
            rows.permute(order) for order in orders
        ],
    }


@check(
    "1.2",
    "Three steps: the dot product of every row with the vector, the lengths to divide by, the k largest.",
    "`table @ vector` is all dot products at once, of shape (V,). `.norm(dim=…)` of the table gives as many lengths if "
    "it runs along each row. `topk` returns two things, the largest values and where they stood.",
    "cosines = table @ vector / (table.norm(dim=-1) * vector.norm()). Of cosines.topk(k), return the .indices.",
)
def check_nearest(answer: Answer, draw: Random) -> None:
    """`nearest(vector, table, k) -> (k,)`: the numbers of the rows with the largest cosine, the largest first."""
    generator = torch.Generator().manual_seed(draw.getrandbits(32))
    trials, counts, firsts = [], draw.sample(range(4, 9), 5), draw.sample(range(9), 5)
    # First as many rows as numbers in each, where taking columns for rows raises no error.
    of_squares = [(size, size) for size in draw.sample(range(10, 15), 2)]
    of_tables = [(rows, draw.randint(8, 9)) for rows in draw.sample(range(11, 16), 3)]
    for sizes, contained in ((of_squares, [False, True]), (of_tables, [False, True, False])):
        for (rows, size), is_row in zip(sizes, draw.sample(contained, len(contained)), strict=True):
            k, first = counts.pop(), firsts.pop()
            vector, table = _some_rows(draw, generator, rows, size, first, is_row)
            # One answer for each way to it: a table on which two agree cannot tell them apart.
            while not _all_different(_ways_to_rank(vector, table, k)):
                vector, table = _some_rows(draw, generator, rows, size, first, is_row)
            right, *ways = _ways_to_rank(vector, table, k).items()
            returned = _as_row_numbers(answer(vector, table, k))
            trials.append(
                Trial(
                    given=f"a vector of shape ({size},), a table of shape ({rows}, {size}) and k = {k}",
                    seen=returned,
                    expected=right[1][0],
                    mistakes={name: any_of(returned, *forms) for name, forms in ways},
                )
            )
        judge(trials, "a list of k row numbers, that of the largest cosine first,")


def _some_rows(
    draw: Random, generator: torch.Generator, rows: int, size: int, first: int, is_row: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """A vector and a table whose cosines with it lie well apart.

    Args:
        first: the number of the row with the largest cosine.
        is_row: whether that row is the vector itself.
    """
    vector = draw.uniform(0.5, 2) * torch.randn(size, generator=generator)
    way = F.normalize(vector, dim=0)
    steps = draw.sample(range(rows - 1), rows - 1)
    steps.insert(first, rows - 1)
    cosines = torch.tensor([[1.9 * (step + draw.uniform(-0.2, 0.2)) / (rows - 1) - 0.95] for step in steps])
    aside = torch.randn(rows, size, generator=generator)
    aside = F.normalize(aside - (aside @ way)[:, None] * way, dim=1)  # at a right angle to the vector
    lengths = torch.tensor([[2 ** draw.uniform(-2, 3)] for _ in range(rows)])
    table = lengths * (cosines * way + (1 - cosines**2).sqrt() * aside)
    if is_row:
        table[first] = vector
    return vector, table


def _ways_to_rank(vector: torch.Tensor, table: torch.Tensor, k: int) -> dict[str, list[torch.Tensor]]:
    """The right answer first, then what each likely mistake makes of it, by the sentence that names it."""
    dots, lengths = table @ vector, table.norm(dim=-1)
    cosines = dots / (lengths * vector.norm())
    order = cosines.argsort(descending=True)
    right = order[:k]
    of_columns = [F.cosine_similarity(table, vector, dim=0), table / table.norm(dim=0) @ vector]
    if len(table) == len(vector):
        of_columns += [dots / table.norm(dim=0), F.cosine_similarity(table.T, vector, dim=1), vector @ table / lengths]
        of_columns += [table / lengths @ vector]
    return {
        "": [right],
        "No row is divided by its own length here, so a long row wins whatever way it points. (You did divide? "
        "`table.norm()` without dim is one length for the whole table.)": [dots.topk(k).indices],
        "This goes by distance: a row that points the same way can be far off, being longer or shorter.": [
            (table - vector).norm(dim=-1).topk(k, largest=False).indices
        ],
        "A row that points the opposite way counts as near here: the sign of the cosine was lost.": [
            cosines.abs().topk(k).indices
        ],
        "These are the rows with the smallest cosine: they point most nearly the opposite way.": [order.flip(0)[:k]],
        "These are the right rows in the wrong order: the row with the largest cosine comes first.": [
            right.flip(0),
            right.sort().values,
        ],
        "This divides by the square of a row's length: the root is missing.": [(dots / lengths**2).topk(k).indices],
        "These are the cosines: the numbers of the rows are wanted.": [
            cosines[right],
            cosines,
            cosines[right] * vector.norm(),
        ],
        "These are the rows themselves: their numbers are wanted.": [table[right]],
        "Columns are taken for rows here, in the product or in the lengths: each row of the table is one vector. "
        "(`table / lengths` divides columns too, unless the lengths keep their axis: keepdim=True.)": [
            scores.topk(k).indices for scores in of_columns
        ],
        "The nearest row is left out: it counts too, even if it is the vector itself.": [
            order[1 : k + 1],
            right[1:],
        ],
        "This is one row more than k.": [order[: k + 1]],
        "These are all rows of the table: k of them are wanted.": [order],
        "This is the nearest row alone: k of them are wanted.": [right[0], right[:1]],
        "The first row of a table has the number 0: here it has the number 1.": [right + 1],
        "These are the right numbers, but an axis of length 1 is left over.": [right[None], right[:, None]],
    }


def _all_different(ways: dict[str, list[torch.Tensor]]) -> bool:
    values = [str(value.tolist()) for forms in ways.values() for value in forms]
    return len(set(values)) == len(values)


def _as_row_numbers(value: Any) -> Any:
    """Row numbers as a tensor, however they were written down."""
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, torch.Tensor) for part in value):
        raise CheckFailed("These are two things, values and where they stood: one list of row numbers is wanted.")
    if isinstance(value, torch.Tensor):
        return value
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list) and value and all(isinstance(part, torch.Tensor) and part.ndim for part in value):
        return torch.stack(value) if len({part.shape for part in value}) == 1 else value
    try:
        return torch.tensor(value) if isinstance(value, list | tuple | range | int | float) else value
    except (TypeError, ValueError, RuntimeError):  # a list of what is no number
        return value


@check(
    "1.3",
    "How many numbers does one table hold? How many such tables are there, if they are tied and if not?",
    "One table has a row for each token, with hidden_size numbers in it. lm_head is as large. Tied, both are one and "
    "the same table.",
    "vocab_size * hidden_size, once if `tied` is True and twice if it is False.",
)
def check_table_weights(answer: Answer, draw: Random) -> None:
    """`table_weights(vocab_size, hidden_size, tied) -> int`: weights in the embedding table and in lm_head."""
    trials = []
    for tied in draw.sample([True, False] * 3, 6):
        vocab, size = draw.randint(5000, 60000), draw.randint(100, 3000)
        table, tables = vocab * size, 1 if tied else 2
        returned = answer(vocab, size, tied)
        trials.append(
            Trial(
                given=f"vocab_size = {vocab}, hidden_size = {size} and tied = {tied}",
                seen=returned,
                expected=tables * table,
                mistakes={
                    "This counts one table in every model: where they are not tied, there are two.": table,
                    "This counts two tables in every model: where they are tied, there is one.": 2 * table,
                    "It is the wrong way round: tied means that there is one table.": (3 - tables) * table,
                    "This adds the two sizes of a table: a table is rows times columns.": any_of(
                        returned, tables * (vocab + size), vocab + size
                    ),
                    "In this, lm_head is a single row or column: it is as large as the embedding table.": table
                    if tied
                    else any_of(returned, table + vocab, table + size),
                    "49,152 and 576 are the sizes of one model: others have other sizes.": tables * 49152 * 576,
                    "These are bytes in float32: the number of weights is wanted.": 4 * tables * table,
                },
            )
        )
    judge(trials, "the number of weights in both together")
