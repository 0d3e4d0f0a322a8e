# %% [markdown]
# # 02 · Attention
#
# **In this lesson you compute, from the real weights, who looks at whom in a sentence: queries, keys, values,
# rotation, mask and softmax.** Every step is equal to what transformers computes. Then you hunt for heads with a habit.
#
# *About 50 minutes, of which the machine needs half a minute. Needs lesson 00, and a little torch: matrix products
# with `@`, and shapes. From lesson 01 it takes one thing: each token of a text enters the model as a vector of 576
# numbers. Numbers in the text are the default model's: on another, trust the cells.*
#
# You will be able to
# - say what `q_proj`, `k_proj`, `v_proj` and `o_proj` are for, and compute with them;
# - say how the model knows the order of words, and see it turn;
# - write causal softmax attention, and say what the mask is for;
# - say what grouped heads share, and what that saves;
# - read a map of who looks at whom, and recognise four kinds of heads on it.

# %% [markdown]
# ## One sentence, and all that happens to it
#
# We follow one sentence. `run_with_cache` runs the model and keeps every step on the way under a name. What you
# compute by hand in this lesson will be held against these steps.

# %%
from lorakit.models import load_model
import torch

from lorakit.activations import run_with_cache

model, tokenizer = load_model()
text = "Then Anna gave the book to Ben, because Anna had read the book."
ids = tokenizer(text, return_tensors="pt").input_ids.to(model.device)
logits, cache = run_with_cache(model, ids)
tokens = [tokenizer.decode(i) for i in ids[0]]
print(len(tokens), "tokens:", tokens)

# %% [markdown]
# Does looking change what is seen? Held against the logits of the plain model:

# %%
with torch.no_grad():
    plain = model(ids).logits
f"largest difference {(logits - plain).abs().max().item():.1e}, where logits reach {plain.abs().max().item():.1f}"

# %% [markdown]
# Only in the last digits of float32: the plain model computes attention in another order. (In 16 bits on a GPU expect
# about a hundredth of the largest number, here and below.)
#
# The model is a row of blocks, 30 here, numbered from 0. Each has an attention half and a feed-forward half (lesson
# 03). We open the attention of block 0. What comes into it is `x`, one vector of D numbers for each token: here the
# rows from lesson 01, after a rescaling that lesson 03 explains. B texts, T tokens, D numbers:

# %%
x = cache["0.normed"]
tuple(x.shape)

# %% [markdown]
# So far each vector knows its own token only. `' book'` is `' book'` both times, and neither vector knows who gave
# it. Attention is the one place in the whole model where something moves from token to token.

# %% [markdown]
# ## Three questions to each token
#
# **Attention** is a search. Each token asks: *what am I looking for?* That is its **query**. Each token offers: *what can I
# be found by?* Its **key**. And: *what do I hand over to whoever finds me?* Its **value**. All three are made from the same
# vector, by three matrices of weights (a fourth, `o_proj`, comes after softmax). In a Llama-type model they carry these
# names:

# %%
weights = model.state_dict()  # every weight by its name
mine = {name: w for name, w in weights.items() if name.startswith("model.layers.0.self_attn.")}
{name: tuple(w.shape) for name, w in mine.items()}

# %% [markdown]
# A linear layer's weight has the shape (out, in), and the layer computes `x @ W.T`. **Predict:** `q_proj` turns 576 numbers
# into 576. Why may `k_proj` and `v_proj` make only 192? (A section below answers.)

# %%
W_q, W_k, W_v, W_o = (weights[f"model.layers.0.self_attn.{name}_proj.weight"] for name in "qkvo")
q, k, v = x @ W_q.T, x @ W_k.T, x @ W_v.T
tuple(q.shape), tuple(k.shape), tuple(v.shape)

# %% [markdown]
# ### Heads
#
# One search is not enough: a token may need to know what comes just before it *and* who the sentence is about. So
# each vector of q, k and v is cut into **heads**, which search side by side and know nothing of each other. Here a head
# works with d = 64 numbers: `q` holds 9 heads (9 × 64 = 576), `k` and `v` hold 3 (3 × 64 = 192).

# %% [markdown]
# ### Exercise 2.1 · cut into heads
#
# *Medium, 6 minutes.* `x` is a q, k or v, of shape `(B, T, n_heads * d)`: each token's vector holds the d numbers of head
# 0, then those of head 1, and so on. Return them as `(B, n_heads, T, d)`, so that each head has its own table of T rows.
# For example `split_heads(torch.tensor([[[1, 2, 3, 4], [5, 6, 7, 8]]]), 2)` has two heads: the first has the rows `[1, 2]`
# and `[5, 6]`.


# %% exercise="2.1" points=2
def split_heads(x, n_heads):
    """(B, T, n_heads * d) -> (B, n_heads, T, d)."""
    # BEGIN SOLUTION
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)
    # END SOLUTION


# %% [markdown]
# The check makes up batches with several texts and numbers of heads.

# %% check="2.1"
from lorakit.checks.lesson02 import check_split_heads

check_split_heads(split_heads)

# %% [markdown]
# The same with the course's function (which takes d where yours takes the number of heads), held against the model's own
# numbers:

# %%
from lorakit.activations.by_hand import split_heads as course_split_heads


def difference(ours, name):
    """The largest difference between a step by hand and the model's own of this name."""
    return f"{name}: largest difference {(ours - cache[name]).abs().max().item():.1e}"


H, K = model.config.num_attention_heads, model.config.num_key_value_heads
d = W_q.shape[0] // H
q, k, v = (course_split_heads(each, d) for each in (q, k, v))
print("q", tuple(q.shape), "k", tuple(k.shape))
print(difference(q, "0.q"), difference(k, "0.k"), difference(v, "0.v"), sep="\n")

# %% [markdown]
# No difference at all: it is the same arithmetic in the same order, on numbers that the model's own layers handed out.

# %% [markdown]
# ## How a head knows the order
#
# A query finds a key by their dot product. But the key of `' book'` is the same number for number at both its places,
# since the row of `' book'` is. Block 0 could not build a head that looks for "the token just before me". (Later
# blocks might: by the mask, below, a token at the front sees fewer others.) So the model *turns* queries and keys by their
# position (**rotary position embedding**, RoPE; Su et al., 2021). Take the 64 numbers of a head as 32 points in a plane:
# number j and number j + 32 are a point's two coordinates. At position t, point j is turned by the angle `t · θ^(-2j/d)`,
# where θ (*theta*) is 100,000 here: the first point by a whole radian a position, the last by a hair.

# %%
theta = model.config.rope_parameters["rope_theta"]
speeds = theta ** (-2 * torch.arange(d // 2, device=model.device) / d)  # radians a position
angles = torch.arange(len(tokens), device=model.device)[:, None] * speeds  # (T, d/2)
f"theta {theta:,.0f}; point 0 turns by {speeds[0].item():.3f} a position, the last by {speeds[-1].item():.6f}"

# %% [markdown]
# ### Exercise 2.2 · turn each pair
#
# *Medium, 8 minutes.* `x` has shape `(B, heads, T, d)`, `angles` has shape `(T, d/2)`. In the vector of the token at
# position `t`, the numbers `j` and `j + d/2` are the two coordinates of a point, a and b. Turn it by `angles[t, j]`,
# in radians, counter-clockwise: `(a, b)` becomes `(a cos − b sin, b cos + a sin)`. Return a tensor of the shape of
# `x`.


# %% exercise="2.2" points=3
def rotate(x, angles):
    """Turn the points (x_j, x_{j + d/2}) of each vector by its position's angles: (B, heads, T, d), (T, d/2)."""
    # BEGIN SOLUTION
    a, b = x.chunk(2, dim=-1)  # the first half of the numbers, and the second
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)
    # END SOLUTION


# %% [markdown]
# The check makes up vectors and angles.

# %% check="2.2"
from lorakit.checks.lesson02 import check_rotate

check_rotate(rotate)

# %% [markdown]
# The course's `rotary` makes the angles, and turns. (If you have solved 2.2, try `difference(rotate(q, angles),
# "0.q_rotated")` in a cell of your own; the angles above are computed in another order, so expect the last digits.) Values
# are not turned: where a token stands decides how it is found, not what it hands over.

# %%
from lorakit.activations import rotary

q_rotated, k_rotated = rotary(q, theta), rotary(k, theta)
print(difference(q_rotated, "0.q_rotated"), difference(k_rotated, "0.k_rotated"), sep="\n")

# %% [markdown]
# Now see it. One query vector of head 0, put at the positions 0 to 15. **Predict** what the points of three pairs do.

# %%
from widgets import rotation_figure

at_16_places = rotary(q[:, :1, 1:2].expand(1, 1, 16, d), theta)[0, 0]
rotation_figure(at_16_places, pairs=[0, d // 16, d // 8]).show()

# %% [markdown]
# Each point stays on its circle. The fast ones tell near places apart, the slow ones far places, like the hands of a clock.
# Now one query, at the places 3, 13 and 53 of a text, and one key, always 3 places before it. **Predict:** how does their
# dot product change from place to place?

# %%
query, key = (rotary(each[:, :1, 1:2].expand(1, 1, 64, d), theta)[0, 0] for each in (q, k))
[round((query[place + 3] @ key[place]).item(), 4) for place in (0, 10, 50)]

# %% [markdown]
# All the same, and that is the point of it all: for a given query and a given key, their dot product depends on *how far*
# they stand apart, not on where. So a head can learn "two tokens back", and it holds anywhere.

# %% [markdown]
# ## Grouped heads: why k and v are narrower
#
# 9 query heads, but only 3 key heads: three neighbouring query heads share one key head and one value head
# (**grouped-query attention**, Ainslie et al., 2023). To compute, each shared head is repeated until there is one for
# each query head.

# %% [markdown]
# ### Exercise 2.3 · share the keys
#
# *Medium, 5 minutes.* `k` has shape `(B, K, T, d)`, with fewer heads K than there are query heads. Return
# `(B, n_heads, T, d)`, where query head h finds its key head in place h: the first `n_heads / K` query heads share
# key head 0, the next ones key head 1, and so on.


# %% exercise="2.3" points=2
def share_heads(k, n_heads):
    """Give each query head its key head: (B, K, T, d) -> (B, n_heads, T, d)."""
    # BEGIN SOLUTION
    return k.repeat_interleave(n_heads // k.shape[1], dim=1)
    # END SOLUTION


# %% [markdown]
# The check makes up numbers of query and key heads.

# %% check="2.3"
from lorakit.checks.lesson02 import check_share_heads

check_share_heads(share_heads)

# %% [markdown]
# What does it save? 2 × (576 − 192) × 576 × 30 weights, which is 13 million: without sharing, the model would be a tenth
# larger. The larger gain is elsewhere: a model that writes keeps k and v of every token that it has read, for every block,
# so as not to compute them again (the **KV cache**). **Predict** how many bytes that is for 8,192 tokens here, in 16 bits,
# with 3 heads and without sharing.


# %%
def kv_cache_mib(heads, tokens=8192):
    """MiB of keys and values in 16 bits, over all blocks."""
    return 2 * heads * d * 2 * tokens * model.config.num_hidden_layers / 2**20


f"{K} heads {kv_cache_mib(K):.0f} MiB, {H} heads {kv_cache_mib(H):.0f} MiB"

# %% [markdown]
# (2 for key and value, 2 bytes a number.) Shared, it is a third. Without sharing, the cache of one long text would be
# twice the size of the model itself, which has 257 MiB in 16 bits.

# %% [markdown]
# ## Who looks at whom
#
# The rest of attention fits in one exercise. The **score** of query i with key j is their dot product, divided by √d,
# so that scores do not grow with d. A **causal mask** hides what comes later: this model is trained to predict the next
# token, and at each position it must not see the answer. **Softmax** turns each token's scores into weights that add
# up to 1.

# %% [markdown]
# ### Exercise 2.4 · attention weights
#
# *Hard, 10 minutes.* `q` and `k` have shape `(B, H, T, d)`, where H is the number of heads. The score of a query with a key
# is their dot product divided by √d. A token may look at itself and at those before it, never at those after it. Return the
# attention weights, of shape `(B, H, T, T)`: row i holds the softmax of token i's scores over the tokens that it may look
# at, and 0 for the others. For example, where all queries are 0, row 0 is `[1, 0, 0, …]`, row 1 is `[1/2, 1/2, 0, …]`.


# %% exercise="2.4" points=3
def attention_weights(q, k):
    """Causal softmax attention: q and k (B, H, T, d) -> (B, H, T, T), where each row adds up to 1."""
    # BEGIN SOLUTION
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5  # (B, H, T, T)
    T = q.shape[-2]
    later = torch.ones(T, T, dtype=torch.bool, device=q.device).triu(1)  # True above the diagonal
    return scores.masked_fill(later, float("-inf")).softmax(dim=-1)
    # END SOLUTION


# %% [markdown]
# The check makes up queries and keys of several sizes.

# %% check="2.4"
from lorakit.checks.lesson02 import check_attention_weights

check_attention_weights(attention_weights)

# %% [markdown]
# With these attention weights, `a`, each token takes a mixture of the values of the tokens that it may look at: `a @ v`.
# The course's `grouped_attention` does both, and shares the heads on the way. Then the 9 heads' results lie side by side
# again, 9 × 64 = 576 numbers, and `o_proj` (*output*) maps them to what attention hands back.

# %%
from lorakit.activations import grouped_attention

seen = torch.ones(len(tokens), len(tokens), dtype=torch.bool, device=model.device).tril()  # True: may be looked at
mixed, attention = grouped_attention(q_rotated, k_rotated, v, seen)
output = mixed.transpose(1, 2).flatten(-2) @ W_o.T  # heads side by side again, then o_proj
print(difference(attention, "0.attention"), difference(output, "0.attention_output"), sep="\n")

# %% [markdown]
# That is all of attention: four matrices and a softmax. Is it so in every block? Block by block with the same lines,
# from each block's own input. **Predict** the largest difference of all.


# %%
def attention_by_hand(i):
    """What block i's attention hands back, from its normed input."""
    W_q, W_k, W_v, W_o = (weights[f"model.layers.{i}.self_attn.{name}_proj.weight"] for name in "qkvo")
    q, k, v = (course_split_heads(cache[f"{i}.normed"] @ W.T, d) for W in (W_q, W_k, W_v))
    mixed, _ = grouped_attention(rotary(q, theta), rotary(k, theta), v, seen)
    return mixed.transpose(1, 2).flatten(-2) @ W_o.T


blocks = range(model.config.num_hidden_layers)
worst = max((attention_by_hand(i) - cache[f"{i}.attention_output"]).abs().max().item() for i in blocks)
f"{len(blocks)} blocks: largest difference {worst:.1e}"

# %% [markdown]
# (On a Qwen model it is large: Qwen2 adds a *bias*, a vector of weights, to each of q, k and v; Qwen3 norms q and k (lesson
# 03). `lorakit.activations` does both.)
#
# ### What the mask buys
#
# Change the last token of the sentence. **Predict:** at how many of the positions before it do the logits change?

# %%
other = ids.clone()
other[0, -1] = tokenizer("!").input_ids[0]
with torch.no_grad():
    moved = (model(other).logits - model(ids).logits).abs().amax(dim=-1)[0]  # (T,)
[round(number, 4) for number in moved.tolist()]

# %% [markdown]
# At none: nobody can see what comes later. That is why one pass over a text trains the model at *all* its positions
# at once, and why a model that writes need not recompute what it has read.
#
# Other models have no mask, or have one in one part only. The first Transformer (Vaswani et al., 2017) was built to
# translate, and had two towers of blocks. The **encoder** read the text to translate, and its tokens saw all of it, both
# ways. The **decoder** wrote the translation; it was masked, and had a second attention in each block, to look over at the
# encoder (**cross-attention**). Llama, Qwen, GPT and this model are **decoder-only**: one tower, masked, and no second text
# to look over to. torch has both kinds of layer; here is what attention each has, and our block:

# %%
encoder, decoder = torch.nn.TransformerEncoderLayer(8, 2), torch.nn.TransformerDecoderLayer(8, 2)
for layer in (encoder, decoder, model.model.layers[0]):
    found = sorted({name.split(".")[0] for name, _ in layer.named_parameters() if "attn" in name})
    print(type(layer).__name__, found)

# %% [markdown]
# `multihead_attn` is the decoder's look at the other tower. Our block has `self_attn` alone: its parts are an encoder's,
# its mask is a decoder's.

# %% [markdown]
# ## The hunt
#
# 30 blocks with 9 heads each make 270 maps of who looks at whom. A row is a token that looks, a column one that it
# may look at; the fuller a cell, the more it takes from there, and the frame marks where it takes most. Nobody told
# the heads what to do, yet some have a habit that you can see with the naked eye. Move layer (another word for block)
# and head, and try to find at least one for each of these (the layers 11 and 17 are good places to start):
#
# 1. **the token before**: a full line just below the diagonal;
# 2. **itself**: a full diagonal;
# 3. **the first token**, whatever it is: a full first column;
# 4. **what came next last time**: at the second `' Anna'`, it looks at the token *after* the first `' Anna'`; at the
#    second `' book'` and the second `' the'`, at the token after the first.

# %%
from widgets import show_attention

show_attention(model, tokenizer, text=text)

# %% [markdown]
# Change the sentence: a habit is one only if it holds on other texts too.
#
# When you have found yours, compare. For each habit, a matrix that says which cells belong to it; a head's mark is the mean
# weight on those cells, over the tokens that have such a cell. In the last habit, `row[(j - 1).clamp(min=0)] == row[i]`
# says that the token before j is the same as the one at i.

# %%
T = len(tokens)
i, j = torch.arange(T)[:, None], torch.arange(T)[None]
row = ids[0].cpu()
habits = {
    "the token before": j == i - 1,
    "itself": (j == i) & (i > 0),
    "the first token": (j == 0) & (i > 0),
    "what came next last time": (j > 0) & (j <= i) & (row[(j - 1).clamp(min=0)] == row[i]),
}
evenly = (j <= i) / (i + 1)  # (T, T)
maps = torch.stack([cache[f"{block}.attention"][0] for block in blocks]).float().cpu()  # (blocks, heads, T, T)

# %% [markdown]
# And chance: a head that spreads its attention evenly over what it may look at, 1 / (i + 1) on each cell of row i, gets a
# mark too. **Predict** the best mark for each habit. Is the average head above chance?

# %%
for habit, cells in habits.items():
    has_cell = cells.any(dim=-1)
    marks = (maps * cells).sum(dim=-1)[:, :, has_cell].mean(dim=-1)  # (blocks, heads)
    chance = (evenly * cells).sum(dim=-1)[has_cell].mean()
    best = [divmod(place.item(), H) for place in marks.flatten().topk(3).indices]
    print(f"{habit}, in {has_cell.sum()} rows:", ", ".join(f"block {b} head {h} {marks[b, h]:.2f}" for b, h in best))
    print(f"    mean of all heads {marks.mean():.2f}, chance {chance:.2f}; {(marks > 0.5).sum()} heads above 0.5")

# %% [markdown]
# The average head is *below* chance in three of the four, and far above it for the first token: a habit is what few heads
# have, but that one is what most have, so the three that are printed are three of many. What are they good for?
#
# - A head that takes from **the token before** tells each token what it follows. On that, a later head can build the
#   fourth habit: "I am `' Anna'`: who says that it follows `' Anna'`? I take from there." The two together continue a
#   repeated text; the second is called an **induction head** (Olsson et al., 2022). Here the best is in block 17, and needs
#   only some head of the first habit in a block before it.
# - **The first token** draws 54 % of the attention of the tokens after it, over all heads, on this sentence. It is there
#   whatever the token says. Softmax must give its 1 away, and the common explanation is that a head which finds nothing to fetch
#   lays it there: an **attention sink** (Xiao et al., 2024). Lesson 03 shows what is odd about that token's vector.
#
# And a caution. A map shows where a head takes from. It does not show what it takes, nor whether anything depends on
# it: that would need an experiment, such as switching the head off.

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
# - `q_proj`, `k_proj` and `v_proj` ask each token what it looks for, what it is found by, and what it hands over;
#   `o_proj` maps what all heads collected back to D numbers. Weights have the shape (out, in): `x @ W.T`.
# - Queries and keys are turned by their position: `lorakit.activations.rotary`. The score of a given query and key then
#   depends on their distance, and not on where they stand.
# - Scores over √d, mask, softmax, mixture of values: `lorakit.activations.grouped_attention`. Groups of query heads
#   share a key and a value head.
# - The mask makes a decoder. No position sees a later one.
# - Some heads have a habit: the token before, itself, the first token, what came next last time. Most do not.
#
# This is also where LoRA began: its paper adapted `q_proj` and `v_proj`, and so does lesson 07. (To adapt all linear layers
# has since become common.)
#
# Back: [lesson 01](01_embeddings.ipynb). Next: [lesson 03](03_transformer_block.ipynb), the rest of the block.
