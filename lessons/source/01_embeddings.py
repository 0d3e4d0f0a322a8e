# %% [markdown]
# # 01 · Embeddings
#
# **In this lesson you follow a text into the model: it is cut into pieces, each piece becomes a row number, and each
# row number fetches 576 numbers from the first table of weights.** You will see what those numbers know, and that the
# model uses the same table once more, at its very end.
#
# *About 35 minutes, of which the machine needs half a minute. Needs nothing but lesson 00, and Python with a little
# torch: a tensor, its `shape`, indexing. Numbers in the text are the default model's: on another, trust the cells.*
#
# You will be able to
# - say what a tokenizer does to a text, why a leading space matters, and what becomes of a letter that it has no
#   piece for;
# - write the embedding layer in one line, and say why an id is a name and no quantity;
# - find the pieces that the model holds to be alike, and say how far above chance a likeness is;
# - say what it means that `embed_tokens` and `lm_head` are tied, see it, and count what it saves.

# %% [markdown]
# ## A text is cut into pieces
#
# The model reads *tokens*: pieces of text from a fixed list, its *vocabulary*. The list was made before the model was
# trained, from single bytes up, by joining what often stands together, again and again (**byte-pair encoding**, Sennrich et
# al., 2016). So frequent words are one piece, and rare words are put together from several. **Predict:** how many pieces
# does each of these become?

# %%
from lorakit.models import load_model

model, tokenizer = load_model()
for word in (" Paris", "Paris", " paris", " quantization", "LoRA", "2024"):
    print(f"{word!r:16}", [tokenizer.decode(i) for i in tokenizer(word).input_ids])

# %% [markdown]
# `' Paris'` with its space in front and `'Paris'` without are two different pieces. There is no piece `' paris'` in
# small letters: it is put together from `' par'` and `'is'`. All that is no rule of language, but what happened to be
# frequent. (Digits are an exception: the makers of this list did not let them be joined with anything, so every number is
# cut into single digits.)
#
# ### The leading space
#
# Most words in a text follow a space, so a word and the space before it were joined early. In the tokenizer's own
# list that space is written as `Ġ`, so that one can see it. How many pieces begin with one?

# %%
pieces = tokenizer.get_vocab()  # piece -> row number
with_space = sum(piece.startswith("Ġ") for piece in pieces)
f"{with_space:,} of {len(pieces):,} pieces begin with a space; two of them: {tokenizer.tokenize(' a space')}"

# %% [markdown]
# Nearly two thirds. The space has a consequence that costs people hours: our prompts for film reviews end in `Sentiment:`,
# and what may follow is the piece `' positive'` with its space, or `'positive'` without, or either with a capital.
# **Predict** the order of the four.

# %%
import torch

from lorakit.data import review_prompt

prompt = tokenizer(review_prompt("A clever film, and I would gladly see it twice."), return_tensors="pt").to(
    model.device
)
with torch.no_grad():
    p = model(**prompt).logits[0, -1].float().softmax(dim=-1)
{
    piece: f"{p[tokenizer(piece).input_ids[0]].item():.7f}"
    for piece in (" positive", "positive", " Positive", "Positive")
}

# %% [markdown]
# With its space the word is about 200 times likelier than without, and over 1,000 times if it has a capital; after the
# space, the capital is 7.5 times likelier than the small letter. Whoever looks for the wrong piece measures the wrong
# thing. Our data write a verdict with its space, and in small letters, which training will make the likely ones.
#
# ### Bytes, at the bottom
#
# What of a letter that no piece has? Text in a computer is *bytes*, numbers from 0 to 255; in UTF-8 an `é` is two of
# them, the emoji 😀 four. The pieces are made of bytes, and nearly every single byte is a piece too (Radford et al.,
# 2019). **Predict:** is the emoji one piece, four, or something between?

# %%
for text in ("é", "😀", "ñandú"):
    print(text, "bytes", list(text.encode()), "ids", tokenizer(text).input_ids)

# %% [markdown]
# `é` is frequent enough for a piece of its own. The emoji's four bytes became three pieces, none of which is a letter
# by itself: only together do they decode. So there is no unknown word, and text survives the round trip (but for six
# control characters, which this list lacks):

# %%
text = "A naïve café in Zürich, 😀 and 日本語."
ids = tokenizer(text).input_ids
print(f"{len(text)} characters, {len(text.encode())} bytes, {len(ids)} pieces; back again: {tokenizer.decode(ids)!r}")
print(f"the Japanese alone: {len(tokenizer('日本語').input_ids)} pieces for 3 characters")

# %% [markdown]
# A language that was rare when the list was made costs more: two pieces a character here, where English has about one a
# word. Try your own text. Find a word that is cut in a surprising place, and see what a space in front, a capital letter or
# a missing letter does. (After a space the emoji is two pieces and not three: the space was joined with its first bytes.)
# Each piece stands over its id; the colours below show the first numbers of the row that the id names. What these rows are
# comes next.

# %%
from widgets import show_tokens

show_tokens(model, tokenizer, text="LoRA in paris 😀")

# %% [markdown]
# ## A piece becomes a row
#
# The **embedding table** has one row of numbers for each piece, and an id is the number of a row; the explorer shows how
# the rows begin. The table is the model's first tensor of weights; such a tensor is called *a weight* for short, and has a
# name.

# %%
table = model.get_input_embeddings().weight.detach()  # we only look: no gradient is needed
f"{table.shape[0]:,} rows of {table.shape[1]} numbers: {table.numel():,} weights"

# %% [markdown]
# Its name here is `model.embed_tokens.weight`; in other models you meet `word_embeddings.weight` or `wte.weight`.
# They are the same thing. V is the vocabulary's size and D the **hidden size**: how many numbers stand for a token, all
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
# The shape, and whether all numbers are equal: they are. You may have read that an embedding layer is a *matrix
# product*. It is that too: write an id as a row of zeros with a single 1 at the place that the id names (*one-hot*),
# multiply it with the table, and the same row comes out, at the price of V × D multiplications a token. Looking it up
# gives the same for free.

# %%
one_hot = torch.nn.functional.one_hot(ids, num_classes=len(table)).to(table.dtype)  # (B, T, V)
tuple(one_hot.shape), torch.equal(one_hot @ table, theirs)

# %% [markdown]
# ### An id is a name
#
# Is a piece like those that stand next to it in the list? **Predict** what stands in the rows around `' Paris'`.

# %%
paris = tokenizer(" Paris").input_ids[0]
{i: tokenizer.decode(i) for i in range(paris - 2, paris + 3)}

# %% [markdown]
# Nothing related. An id says roughly how early a piece was joined, and nothing of what it means. All that the model
# knows of `' Paris'` *at this point* is the 576 numbers of its row. Here is `' bank'` at the end of three sentences.
# `run_with_cache` keeps every step of a pass under a name; we take what goes into the first block for `' bank'`, and what
# comes out of the last, and compare the second and the third sentence with the first. **Predict** which are equal.

# %%
from lorakit.activations import run_with_cache

last = f"{model.config.num_hidden_layers - 1}.residual"
found = []
for text in ("They sat by the river bank", "She works at the central bank", "They sat by the river bank, alone"):
    ids = tokenizer(text, return_tensors="pt").input_ids.to(model.device)
    _, cache = run_with_cache(model, ids)
    found.append({name: cache[name][0, 5] for name in ("embeddings", last)})  # ' bank' is token 5 in all of them
for other in found[1:]:
    print({name: torch.allclose(found[0][name], other[name], atol=1e-3) for name in other})

# %% [markdown]
# The same goes in, and after other words something else comes out. What `' bank'` means *here* can only come from the other
# tokens, and that is attention's work. In the third sentence what comes *after* `' bank'` changes nothing: it sees only
# what stands before it (lesson 02).

# %% [markdown]
# ## What a row knows
#
# Nobody wrote those numbers. They began as noise, and training moved them. If two pieces are used in the same
# company, training has reason to give them similar rows. How alike two rows are is measured by the angle between
# them.

# %% [markdown]
# ### Exercise 1.2 · the nearest rows
#
# *Medium, 8 minutes.* The **cosine** of two vectors is their dot product (multiply number by number, add up) divided by
# both their lengths: 1 where they point the same way, 0 where they are at a right angle, -1 where they point opposite ways.
# Given a `vector` of shape `(D,)` and a `table` of shape `(V, D)`, return the row numbers (indices) of the `k` rows with
# the largest cosine, the largest first. For example, with the vector `[1, 0]`, the table `[[0, 5], [9, 9], [2, 1]]` and
# `k = 2` (vector and table as float tensors), it gives rows 2 and 1. The length of a vector is its `.norm()`, the length of
# each row `.norm(dim=-1)`; `topk` finds the largest.


# %% exercise="1.2" points=2
def nearest(vector, table, k):
    """The numbers of the k rows of `table` (V, D) whose direction is nearest to that of `vector` (D,)."""
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
    """The k pieces whose rows are nearest in direction to `vector`, with their cosines."""
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
# First comes the piece itself. Then come its other spellings and the pieces used in the same company, side by side: to
# the model `' Paris'` and `'Paris'` are two pieces, and it had to learn that they are nearly one. `' seven'` has six
# other numbers before `'seven'`. And the nearest of all to `' positive'` is its *opposite*, before its own spelling
# without the space. Good and bad stand in the same sentences. To tell them apart better is left to the blocks above.
#
# Is a cosine of 0.6 a lot? A number means nothing without a baseline. **Predict** the mean cosine of `' Paris'` with *all*
# rows, and of `' good'`; and the same when the mean of all rows is taken off each of them first.

# %%
mean_row, the = table.mean(dim=0), tokenizer(" the").input_ids[0]
lean = torch.nn.functional.cosine_similarity(table, mean_row, dim=-1)
away = [tokenizer.decode(i) for i in lean.argsort()[:6]]
print(f"{(lean > 0).float().mean():.1%} of the rows lean towards the mean row; those that lean away most: {away}")
for name, rows in {"as they are": table, "less the mean row": table - mean_row}.items():
    print(name)
    for piece in (" Paris", " good", " seven", " positive"):
        own = rows[tokenizer(piece).input_ids[0]]
        cosines = torch.nn.functional.cosine_similarity(rows, own, dim=-1)
        above = (cosines > 0.6).sum().item() - 1
        print(
            f"  {piece!r:12} mean {cosines.mean():5.2f}, standard deviation {cosines.std():.2f}; "
            f"{above} others above 0.6; with ' the' {cosines[the]:5.2f}"
        )

# %% [markdown]
# It depends on the piece: the mean is 0.32 for `' Paris'` and below zero for `' good'`. So a baseline is a mean *and* a
# spread: `' London'`, at 0.61, lies more than 4 standard deviations above the mean of `' Paris'`. Nearly all rows lean
# towards the mean row; those that lean away most are very frequent pieces. Taking the mean row off moves the mean of
# the cosines to 0, as it nearly must, and widens the spread: `' good'` now has 105 others above 0.6, and `' the'` is
# one of them. Whoever quotes a cosine without its baseline quotes half a result.

# %% [markdown]
# ### A sum of rows
#
# One more claim that everybody repeats: *king − man + woman = queen* (Mikolov et al., 2013). **Predict**, then see; the
# first line is `' king'` alone.

# %%
print(neighbours(row(" king"), k=6))
print(neighbours(row(" king") - row(" man") + row(" woman"), k=4))
print(neighbours(row(" Paris") - row(" France") + row(" Germany"), k=4))

# %% [markdown]
# The first sum really comes out at `' queen'`, which before any sum was the nearest to `' king'` after its spellings
# and its plural. The second stays at `' Paris'`, with `' Berlin'` behind it. Published tests of such analogies do not
# allow a word that went in as the answer; by that rule both are right.

# %% [markdown]
# ## The same table, once more
#
# At its other end, the model needs a score for each piece in the vocabulary (the logits of lesson 00). For that it
# has a second table, `lm_head.weight`, with a row for each piece. Compare the two:

# %%
head = model.get_output_embeddings().weight.detach()
f"lm_head {tuple(head.shape)}, embed_tokens {tuple(table.shape)}, one and the same memory: {head.data_ptr() == table.data_ptr()}"

# %% [markdown]
# They are not two tables with equal numbers: they are one, with two names. This is called **tying** (Press & Wolf, 2017),
# and you can see it in other ways: one word in the config, the model's list of sizes and settings, says it; or change a
# number at one end and look at the other. (`table` shares its memory with the model, so this changes the model; the last
# line puts it back.)

# %%
before = head[paris, 0].item()
table[paris, 0] += 1
print("tied by the config:", model.config.tie_word_embeddings)
print(f"lm_head's first number for ' Paris' was {before:.3f}, now {head[paris, 0].item():.3f}")
table[paris, 0] = before

# %% [markdown]
# The same 576 numbers say what `' Paris'` *is* when it comes in, and score it when it goes out: its logit is the dot
# product of this row with the model's last vector (lesson 04). Beware when you count: a list of the weights by name
# shows both names.

# %%
[name for name in model.state_dict() if "layers" not in name]

# %% [markdown]
# Three names, two tensors: the first and the last are one table. (The one between is a vector of 576 numbers, for lesson
# 03.)

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
# **Predict** what share of the whole model the tables are in an untied Llama-3-8B (a vocabulary of 128,256, a hidden
# size of 4,096, 8,030,261,248 weights in all). Here it is a fifth, as lesson 00 showed.

# %%
share = (table.numel() if head.data_ptr() == table.data_ptr() else 2 * table.numel()) / model.num_parameters()
f"here {share:.1%}, Llama-3-8B {2 * 128_256 * 4_096 / 8_030_261_248:.1%}"

# %% [markdown]
# Of this small model, more than a fifth is one table. It would be a third if it were not tied: (2 × 28.3) of (134.5 +
# 28.3) million. In a large model the blocks outgrow the tables, and being untied costs a smaller share.

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
# - Rows of pieces that are used in the same company point the same way, opposites too. Compare a cosine with the
#   mean and the spread over all rows.
# - `lm_head` is the same table here. Tied or not decides whether it is counted once or twice; 21 % of this model.
#
# Back: [lesson 00](00_start_here.ipynb). Next: [lesson 02](02_attention.ipynb), where the vectors of a text begin to look
# at each other.
