# %% [markdown]
# # 01 · Embeddings
#
# **In this lesson you follow a text into the model: it is cut into pieces, each piece becomes a row number, and each
# row number fetches 576 numbers from the first table of weights. You will see what those numbers know, and that the
# model uses the same table once more, at its very end.**
#
# *About 35 minutes, of which the machine needs half a minute. Needs nothing but lesson 00, and Python with a little
# torch: a tensor, its `shape`, indexing. Numbers in the text are the default model's: on another, trust the cells.*
#
# You will be able to
# - say what a tokenizer does to a text, why a leading space matters, and what becomes of a letter that it has no
#   piece for;
# - write the embedding layer in one line, and say why an id is a name and no quantity;
# - find the words that the model holds to be alike, and say how alike two *unrelated* words are;
# - say what it means that `embed_tokens` and `lm_head` are tied, see it, and count what it saves.

# %% [markdown]
# ## A text is cut into pieces
#
# The model reads *tokens*: pieces of text from a fixed list, its *vocabulary*. The list was made before the model was
# trained, by joining what often stands together, again and again (*byte-pair encoding*, Sennrich et al., 2016). So
# frequent words are one piece, and rare words are put together from several. **Predict:** how many pieces does each
# of these become?

# %%
from lorakit.models import load_model

model, tokenizer = load_model()
for word in (" Paris", "Paris", " paris", " quantization", "LoRA", "2024"):
    print(f"{word!r:16}", [tokenizer.decode(i) for i in tokenizer(word).input_ids])

# %% [markdown]
# `' Paris'` with its space in front and `'Paris'` without are two different pieces. `' paris'`, in small letters, is
# none: it is put together from `' par'` and `'is'`. And this tokenizer always cuts numbers into single digits. None
# of this is a rule of language. It is what happened to be frequent.
#
# ### The leading space
#
# Most words in a text follow a space, so a word and the space before it were joined early, and nothing is left over
# between words. In the tokenizer's own list that space is written as `Ġ`. How many pieces begin with one?

# %%
pieces = tokenizer.get_vocab()  # piece -> row number
with_space = sum(piece.startswith("Ġ") for piece in pieces)
f"{with_space:,} of {len(pieces):,} pieces begin with a space; two of them: {tokenizer.tokenize(' a space')}"

# %% [markdown]
# Two thirds. It has a consequence that costs people hours: `"Sentiment:"` is followed by the token `' positive'`, and
# never by `'positive'`. If you look for the wrong one of the two, you measure nothing. Our data therefore write a
# verdict with its space.
#
# ### Bytes, at the bottom
#
# What of a letter that no piece has? Text in a computer is *bytes*, numbers from 0 to 255; in UTF-8 an `é` is two of
# them, an emoji four. The pieces are made of bytes, and single bytes are pieces too. **Predict:** how many pieces is
# this emoji?

# %%
for text in ("é", "😀", "ñandú"):
    print(text, "bytes", list(text.encode()), "ids", tokenizer(text).input_ids)

# %% [markdown]
# `é` is frequent enough for a piece of its own. The emoji's four bytes became three pieces, none of which is a letter
# by itself: only together do they decode. So the tokenizer has no "unknown word", and text survives the round trip:

# %%
text = "A naïve café in Zürich, 😀 and 日本語."
ids = tokenizer(text).input_ids
f"{len(text)} characters, {len(text.encode())} bytes, {len(ids)} pieces; back again: {tokenizer.decode(ids)!r}"

# %% [markdown]
# Note what a language costs that was rare in the list's making: three Japanese characters take six pieces, one more
# than "The capital of France is". Try your own text. Find a word that is cut in a surprising place, and see what a
# space in front, a capital letter or a missing letter does.

# %%
from widgets import show_tokens

show_tokens(model, tokenizer, text="The capital of France is")

# %% [markdown]
# ## A piece becomes a row
#
# Below each piece stands its id, and below that the first numbers of a row. The *embedding table* has one row for
# each piece; it is the first weight of the model. **Predict** its shape, from the vocabulary's size and the 576
# numbers that each token is given.

# %%
import torch

table = model.get_input_embeddings().weight.detach()  # we only look: no gradient is needed
tuple(table.shape), model.config.vocab_size, model.config.hidden_size

# %% [markdown]
# Its name here is `model.embed_tokens.weight`; in other models you meet `word_embeddings.weight` or `wte.weight`.
# They are the same thing. V is the vocabulary's size and D the *hidden size*: how many numbers stand for a token, all
# the way through the model.

# %% [markdown]
# ### Exercise 1.1 · rows of a table
#
# *Easy, 3 minutes.* `input_ids` has shape `(B, T)`: B texts of T ids. The embedding `table` has shape `(V, D)`: one
# row of D numbers for each token. Return the rows that the ids name, a tensor of shape `(B, T, D)`. For example
# `embed(torch.tensor([[2, 0]]), torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))` gives the last row, then the
# first. (Exercises and checks work as in lesson 00. Stuck? `from lorakit.checks import hint, solution`, then
# `hint("1.1")`.)


# %% exercise="1.1" points=1
def embed(input_ids, table):
    """Rows of the embedding table (V, D): token ids (B, T) -> (B, T, D)."""
    # BEGIN SOLUTION
    return table[input_ids]
    # END SOLUTION


# %% [markdown]
# The check makes up tables and batches of ids.

# %% check="1.1"
from lorakit.checks.lesson01 import check_embed

check_embed(embed)

# %% [markdown]
# That is the whole layer, and it is `lorakit.activations.embed`. Compare it with the model's own:

# %%
from lorakit.activations import embed as course_embed

ids = tokenizer("The capital of France is", return_tensors="pt").input_ids.to(model.device)
with torch.no_grad():
    theirs = model.get_input_embeddings()(ids)
tuple(theirs.shape), torch.equal(course_embed(ids, table), theirs)

# %% [markdown]
# Equal in every number. You may have read that an embedding layer is a *matrix product*. It is that too: write an id
# as a row of zeros with a single 1 at the place that the id names (*one-hot*), multiply it with the table, and the
# same row comes out, at the price of V × D multiplications. Looking it up is the same for nothing.

# %%
one_hot = torch.nn.functional.one_hot(ids, num_classes=len(table)).to(table.dtype)  # (B, T, V)
tuple(one_hot.shape), torch.equal(one_hot @ table, theirs)

# %% [markdown]
# ### An id is a name
#
# Being a place in a list, an id means nothing as a number. **Predict:** what stands in the rows next to `' Paris'`?

# %%
paris = tokenizer(" Paris").input_ids[0]
{i: tokenizer.decode(i) for i in range(paris - 2, paris + 3)}

# %% [markdown]
# Nothing related. All that the model knows of `' Paris'` *at this point* is the 576 numbers of its row; and they are
# the same wherever it stands. Here is `' bank'` in two sentences:

# %%
river, money = (
    tokenizer(text, return_tensors="pt").input_ids[0] for text in ("A bank of the river", "A bank for money")
)
tokenizer.decode(river[1]), tokenizer.decode(money[1]), torch.equal(table[river[1]], table[money[1]])

# %% [markdown]
# The same numbers for both. What `' bank'` means *here* can only come from the other tokens, and that is attention's
# work, in lesson 02.

# %% [markdown]
# ## What a row knows
#
# Nobody wrote those numbers. They began as noise, and training moved them. If two pieces can stand in the same
# places, training has reason to give them similar rows. How alike two rows are, is measured by the angle between
# them.

# %% [markdown]
# ### Exercise 1.2 · the nearest rows
#
# *Medium, 8 minutes.* The *cosine* of two vectors is their dot product (multiply number by number, add up) divided by
# both their lengths: 1 where they point the same way, 0 where they are at a right angle, -1 where they point opposite
# ways. Given a `vector` of shape `(D,)` and a `table` of shape `(V, D)`, return the numbers of the `k` rows with the
# largest cosine, the largest first. For example, with the vector `[1, 0]`, the table `[[0, 5], [9, 9], [2, 1]]` and
# `k = 2` (all as float tensors), it gives rows 2 and 1. The length of a vector is its `.norm()`; `topk` finds the
# largest.


# %% exercise="1.2" points=2
def nearest(vector, table, k):
    """The numbers of the k rows of `table` (V, D) that point most nearly the way of `vector` (D,)."""
    # BEGIN SOLUTION
    cosines = table @ vector / (table.norm(dim=-1) * vector.norm())
    return cosines.topk(k).indices
    # END SOLUTION


# %% [markdown]
# The check makes up tables whose rows have very different lengths.

# %% check="1.2"
from lorakit.checks.lesson01 import check_nearest

check_nearest(nearest)

# %% [markdown]
# Now the real table; torch has the cosine ready. **Predict:** what is next to `' Paris'`, and what to `' good'`?


# %%
def neighbours(vector, k=8):
    """The k pieces whose rows point most nearly the way of `vector`, with their cosines."""
    best = torch.nn.functional.cosine_similarity(table, vector, dim=-1).topk(k)
    return "  ".join(
        f"{tokenizer.decode(i)!r} {c:.2f}" for c, i in zip(best.values.tolist(), best.indices, strict=True)
    )


def row(piece):
    """The row of a text that is a single piece."""
    return table[tokenizer(piece).input_ids[0]]


for piece in (" Paris", " good", " seven", " positive"):
    print(neighbours(row(piece)))

# %% [markdown]
# First comes the piece itself. Next come its spellings: to the model `' Paris'` and `'Paris'` are two words, and it
# had to learn that they are nearly one. Then come words that can stand in its place: capitals, numbers. And look at
# `' good'` and `' positive'`: among their nearest is the very *opposite*. Good and bad stand in the same sentences.
# Neighbours in this table can replace each other; they need not agree. To tell them apart is left to the layers
# above, and to the fine-tune of lesson 07.
#
# Is a cosine of 0.6 a lot? A number means nothing without what chance gives. **Predict** the cosine of two rows drawn
# at random: 0?

# %%
generator = torch.Generator().manual_seed(0)
one, other = torch.randint(len(table), (2, 5000), generator=generator)
by_chance = torch.nn.functional.cosine_similarity(table[one], table[other])
f"5,000 random pairs: mean {by_chance.mean().item():.2f}, standard deviation {by_chance.std().item():.2f}"

# %% [markdown]
# 0.44, not 0: the rows of this table share a common direction, which says nothing about a word. So 0.6 is one
# standard deviation above chance, and 0.8 is two and a half. In another model the chance level is another. Whoever
# quotes a cosine without it quotes half a result.
#
# One more claim that everybody repeats: *king − man + woman = queen*. **Predict**, then see for two such sums.

# %%
print(neighbours(row(" king") - row(" man") + row(" woman"), k=4))
print(neighbours(row(" Paris") - row(" France") + row(" Germany"), k=4))

# %% [markdown]
# The first sum really comes out at `' queen'`. The second stays at `' Paris'`, with `' Berlin'` behind it: the sum is
# dominated by the words that went in. Tables of such analogies leave the words out that went in; with that rule, both
# are right.

# %% [markdown]
# ## The same table, once more
#
# At its other end, the model needs a score for each piece in the vocabulary (the logits of lesson 00). For that it
# has a second table, `lm_head.weight`, with a row for each piece. Compare the two:

# %%
head = model.get_output_embeddings().weight.detach()
f"lm_head {tuple(head.shape)}, embed_tokens {tuple(table.shape)}, one and the same memory: {head.data_ptr() == table.data_ptr()}"

# %% [markdown]
# They are not two tables with equal numbers: they are one, with two names. This is called *tying* (Press & Wolf,
# 2017), and you can see it in three ways: one memory, as above; one word in the config; or change it at one end and
# look at the other.

# %%
before = head[paris, 0].item()
table[paris, 0] += 1
print("tied by the config:", model.config.tie_word_embeddings)
print(f"lm_head's first number for ' Paris' was {before:.3f}, now {head[paris, 0].item():.3f}")
table[paris, 0] = before

# %% [markdown]
# (The last line put it back.) The same 576 numbers say what `' Paris'` *is* when it comes in, and how well the
# model's last vector *fits* `' Paris'` when it goes out. Beware when you count: a list of the weights by name shows
# both names.

# %%
[name for name in model.state_dict() if "layers" not in name]

# %% [markdown]
# Three names, and two tables: the last is `embed_tokens` again.

# %% [markdown]
# ### Exercise 1.3 · one table, or two
#
# *Easy, 4 minutes.* How many weights do the embedding table and `lm_head` have together, in a model of `vocab_size`
# tokens and `hidden_size` numbers a vector? `tied` says whether they are one table. For example
# `table_weights(10, 4, False)` gives 80.


# %% exercise="1.3" points=1
def table_weights(vocab_size, hidden_size, tied):
    """Weights in the embedding table and in lm_head, together."""
    # BEGIN SOLUTION
    return vocab_size * hidden_size * (1 if tied else 2)
    # END SOLUTION


# %% [markdown]
# The check tries both kinds of model.

# %% check="1.3"
from lorakit.checks.lesson01 import check_table_weights

check_table_weights(table_weights)

# %% [markdown]
# **Predict** what share of the whole model that is, here, and in an untied Llama-3-8B (a vocabulary of 128,256, a
# hidden size of 4,096, 8,030,261,248 weights in all).

# %%
share = (table.numel() if head.data_ptr() == table.data_ptr() else 2 * table.numel()) / model.num_parameters()
f"here {share:.1%}, Llama-3-8B {2 * 128_256 * 4_096 / 8_030_261_248:.1%}"

# %% [markdown]
# Of this small model, more than a fifth is one table. It would be a third if it were not tied: (2 × 28.3) of (134.5 +
# 28.3) million. Small models are tied for that reason. In a large model the blocks outgrow the tables, and being
# untied costs little.

# %% [markdown]
# ## How far you are
#
# What you have solved so far, in this lesson and the others:

# %% tags=["private-output"]
from widgets import progress

progress()

# %% [markdown]
# ## In this lesson
#
# - A tokenizer cuts text into pieces of a fixed vocabulary, made of bytes, most with their leading space. There is no
#   unknown word.
# - An id is a row number in `embed_tokens.weight`, of shape (V, D). The layer is `table[input_ids]`: this is
#   `lorakit.activations.embed`. A row is the same wherever its token stands.
# - Rows of pieces that can replace each other point the same way, opposites too. Compare a cosine with chance: 0.44
#   here.
# - `lm_head` is the same table here. Tied or not decides whether it is counted once or twice; 21 % of this model.
#
# Next: lesson 02, where the vectors of a text begin to look at each other.
