# %% [markdown]
# # 03 · The transformer block
#
# **In this lesson you write the parts of a transformer block: RMSNorm, SwiGLU, and the wiring that lets all of them
# write to one stream.** With lesson 02's attention they make whole blocks, equal to transformers'. Then you look at
# what 30 of them do to five words, leave blocks out, and find one number on which it all depends.
#
# *About 45 minutes, of which the machine needs half a minute. Needs lesson 00, and a little torch. Attention, from
# lesson 02, is used here as one step: it lets each token fetch something from itself and the tokens before it.
# Numbers in the text are the default model's: on another, trust the cells.*
#
# You will be able to
# - name every weight of a block;
# - write RMSNorm, and say how it differs from LayerNorm with its gamma and beta;
# - write the feed-forward half with SwiGLU, and say what it has to do with the `linear1` and `linear2` of other
#   texts;
# - say why all of it is *added*, and measure how much each block adds.

# %% [markdown]
# ## The picture
#
# A Llama-type model is a stack of blocks, equal in shape, each with weights of its own. This is the model that the
# cell loads, drawn from its own shapes. Boxes with square corners hold weights; those with round ends only compute.
# Its letters are explained as we come to them (those of attention in lesson 02). By the end of this lesson you will have
# run everything in its right half yourself, and compared it with the model.

# %%
from lorakit.models import load_model
import torch

from widgets import show_model

model, tokenizer = load_model()
show_model(model)

# %% [markdown]
# We follow one prompt through it. `run_with_cache` runs the model and keeps every step under a name: what you compute
# by hand will be held against these.

# %%
from lorakit.activations import run_with_cache

weights = model.state_dict()  # every weight by its name
ids = tokenizer("The capital of France is", return_tensors="pt").input_ids.to(model.device)
logits, cache = run_with_cache(model, ids)
x = cache["embeddings"]  # (B, T, D): 1 text, 5 tokens, 576 numbers for each
tuple(x.shape)

# %% [markdown]
# `x` is where the thick grey line of the picture begins: the rows of the embedding table (lesson 01). That line is
# called the **residual stream**, since what a block adds is only a difference, a *residual*, to what is there. Each
# block reads from the stream and adds something to it. In block 0 these weights do so:

# %%
mine = {name.removeprefix("model.layers.0."): w for name, w in weights.items() if name.startswith("model.layers.0.")}
{name: tuple(w.shape) for name, w in mine.items()}

# %% [markdown]
# Nine tensors. `self_attn` is the attention half: q, k and v make what a token looks for, is found by and hands over,
# o brings back what was collected (lesson 02). `mlp` is the **feed-forward half**. Each half has a norm in front of it:
# `input_layernorm` stands before attention, and `post_attention_layernorm`, in spite of its name, before the
# feed-forward half. The steps of a block are kept under the names below. `residual_mid` and `residual` are the stream after
# each half; `attention_output` and `down` are what the halves add to it; `normed` and `normed_mid` are what they read:

# %%
{name: tuple(step.shape) for name, step in cache.items() if name.startswith("0.")}

# %% [markdown]
# ## RMSNorm, and its gamma
#
# The vectors on the stream are of very different lengths: on this prompt their mean grows from 2.6 at the start to about
# 600 at the end (leaving out the first token, of which more below). A matrix would simply hand that on; the softmax in
# attention and the gate in the feed-forward half (next section) would then work quite differently in a late block. So in
# front of each half every vector is brought to one length. **RMSNorm** (Zhang & Sennrich, 2019) divides it by the *root of
# the mean of its squares*. After that the mean of its squares is 1, and its length √576 = 24. Then each of the 576 numbers
# is multiplied by a weight of its own, **gamma** (`γ`).
#
# (torch calls a vector's length its `norm()`; here the word norm always means the layer.)

# %% [markdown]
# ### Exercise 3.1 · RMSNorm
#
# *Medium, 6 minutes.* Divide each vector (the last axis of `x`) by the root of the mean of its squares, where `eps`
# is added to that mean before the root is taken; then multiply number by number with `gamma`. `x` has shape
# `(..., D)`, `gamma` has shape `(D,)`. For example
# `rms_norm(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 10.0]), 0.0)` gives `[0.849, 11.314]`, since the mean of the
# squares is 12.5. (`eps` is tiny: it keeps a vector of zeros from being divided by 0.)


# %% exercise="3.1" points=2
def rms_norm(x, gamma, eps):
    """Each vector brought to a root mean square of 1, then scaled by gamma: (..., D) -> (..., D)."""
    # BEGIN SOLUTION
    mean_square = x.pow(2).mean(dim=-1, keepdim=True)
    return gamma * x / (mean_square + eps).sqrt()
    # END SOLUTION


# %% [markdown]
# The check makes up vectors of very different lengths.

# %% check="3.1"
from lorakit.checks.lesson03 import check_rms_norm

check_rms_norm(rms_norm)

# %% [markdown]
# This is `lorakit.activations.rms_norm`. Held against the model's own:

# %%
from lorakit.activations import rms_norm as course_rms_norm


def difference(ours, name):
    """The largest difference between a step by hand and the model's own of this name."""
    return f"{name}: largest difference {(ours - cache[name]).abs().max().item():.1e}"


eps = model.config.rms_norm_eps
normed = course_rms_norm(x, mine["input_layernorm.weight"], eps)
difference(normed, "0.normed")

# %% [markdown]
# (In float32. In 16 bits on a GPU expect differences of about a hundredth of the largest number, here and below.)
#
# The name in the model is `input_layernorm`, a leftover: it is no LayerNorm. **LayerNorm** (Ba et al., 2016), of
# which you read in most texts on Transformers, subtracts the mean of the vector's numbers, divides by their standard
# deviation, scales by gamma, and adds a second weight for each number, **beta** (`β`). In torch gamma is called
# `weight` and beta `bias`. **Predict** for each of the two norms: what happens if the vector is multiplied by 3, and
# what if 3 is added to all its numbers?

# %%
D = x.shape[-1]
rms, layer_norm = torch.nn.RMSNorm(D, eps), torch.nn.LayerNorm(D, eps)
v = torch.randn(D, generator=torch.Generator().manual_seed(0))
for norm in (rms, layer_norm):
    names = [name for name, _ in norm.named_parameters()]
    tripled, lifted = ((norm(w) - norm(v)).abs().max().item() for w in (3 * v, v + 3))
    print(f"{type(norm).__name__:9} {names}: change if tripled {tripled:.6f}, if lifted {lifted:.6f}")

# %% [markdown]
# Both forget a vector's length (but for the tiny `eps`). Only LayerNorm forgets its mean, and only LayerNorm has a
# beta. So is there any beta in our model? **Predict** how many of its tensors have "bias" in their name.

# %%
len([name for name in weights if "bias" in name]), len(weights)

# %% [markdown]
# None of 273 names. (Nine for each of 30 blocks, the embedding table, the final norm, and `lm_head`, which is the
# embedding table again.) Llama does without any bias.
#
# And gamma? It is a scale for each number of the stream, as this half hears it. But right behind it stands a matrix. Leave
# gamma out, and multiply `q_proj`'s columns by gamma instead: do the same queries come out? **Predict.**

# %%
W_q, gamma = mine["self_attn.q_proj.weight"], mine["input_layernorm.weight"]
without_gamma = course_rms_norm(x, torch.ones_like(gamma), eps)
folded = without_gamma @ (W_q * gamma).T  # (out, in) times (in,): each column by its gamma
f"{((normed @ W_q.T) - folded).abs().max().item():.1e} of {folded.abs().max().item():.0f}"

# %% [markdown]
# They do, but for rounding: each number of the vector meets only its own column, so to scale the number is to scale the
# column. Only gamma *times* the column counts, and neither should be read alone. (To leave gamma out for good, do the same
# to k and v: tools that quantise models (lesson 09) or prune them (take parts out) do this. In training it is one number
# that scales a whole column, which is why it is there.)

# %% [markdown]
# ## The feed-forward half
#
# After attention has fetched what a token needs from others, the feed-forward half works on each token *for itself*. In the
# first Transformer it was two matrices, one that widens and one that narrows, with a ReLU between them, which sets negative
# numbers to 0. In torch's own `nn.TransformerEncoderLayer` they are called `linear1` and `linear2`, and so in many texts.
# Wide is where the work is done: each of the many numbers inside can stand for something that may or may not be there.
# Llama has three matrices, a construction called **SwiGLU** (Shazeer, 2020):
#
# - `gate_proj` and `up_proj` both widen D = 576 numbers to F = 1,536;
# - the gate's numbers go through `silu(z) = z · sigmoid(z)`, where `sigmoid(z) = 1 / (1 + e^(−z))` lies between 0 and 1:
#   large numbers pass, negative ones are held back. Then each is multiplied with up's number at the same place, and so
#   scales that: a gate near 0 shuts the number off, a large one lifts it;
# - `down_proj` brings the 1,536 products back to 576.
#
# So `linear1` became a pair, `gate_proj` and `up_proj`, and `linear2` is `down_proj`.

# %% [markdown]
# ### Exercise 3.2 · the feed-forward half
#
# *Medium, 8 minutes.* `x` has shape `(..., D)`. Multiply it with `w_gate` and with `w_up`, each of shape `(F, D)`, as
# a linear layer does: `x @ w.T`. Put the first product through `silu(z) = z · sigmoid(z)`, multiply the two number by
# number, and bring the result back to D numbers with `w_down`, of shape `(D, F)`.


# %% exercise="3.2" points=3
def feed_forward(x, w_gate, w_up, w_down):
    """The feed-forward half with SwiGLU: (..., D) -> (..., D); w_gate and w_up (F, D), w_down (D, F)."""
    # BEGIN SOLUTION
    gate, up = x @ w_gate.T, x @ w_up.T  # (..., F)
    return (gate * torch.sigmoid(gate) * up) @ w_down.T
    # END SOLUTION


# %% [markdown]
# The check makes up weights, F sometimes equal to D.

# %% check="3.2"
from lorakit.checks.lesson03 import check_feed_forward

check_feed_forward(feed_forward)

# %% [markdown]
# The same on block 0's real numbers; `swiglu` is the course's line for `silu(gate) * up`.

# %%
from lorakit.activations import swiglu

w_gate, w_up, w_down = (mine[f"mlp.{name}_proj.weight"] for name in ("gate", "up", "down"))
h = cache["0.normed_mid"]  # what comes into this half
added = swiglu(h @ w_gate.T, h @ w_up.T) @ w_down.T
difference(added, "0.down")

# %% [markdown]
# Where are most of a block's weights, in attention or here? **Predict**, then count.

# %%
counts = {half: sum(w.numel() for name, w in mine.items() if name.startswith(half)) for half in ("self_attn", "mlp")}
counts | {"norms": sum(w.numel() for name, w in mine.items() if "layernorm" in name)}

# %% [markdown]
# Three quarters are in the feed-forward half. And it works on each token by itself: given one token alone, it makes
# of it what it made of it in company.

# %%
alone = swiglu(h[:, 2:3] @ w_gate.T, h[:, 2:3] @ w_up.T) @ w_down.T
f"largest difference {(alone - added[:, 2:3]).abs().max().item():.1e} of {added[:, 2:3].abs().max().item():.1f}"

# %% [markdown]
# Tokens meet in attention, and nowhere else.

# %% [markdown]
# ## The stream that all write to
#
# Now the two halves are put together. Nothing on the stream is replaced: each half reads a normed *copy*, and what it
# makes is *added*.

# %% [markdown]
# ### Exercise 3.3 · wire the block
#
# *Easy, 5 minutes.* You are given four functions, each from `(B, T, D)` to `(B, T, D)`: `norm_1`, `attention`,
# `norm_2`, `feed_forward`. Return what the block makes of `x`: to `x` is added the attention of the normed `x`; and
# to that sum is added the feed-forward of the normed sum.


# %% exercise="3.3" points=3
def block(x, norm_1, attention, norm_2, feed_forward):
    """One transformer block, which reads from the residual stream and adds to it: (B, T, D) -> (B, T, D)."""
    # BEGIN SOLUTION
    x = x + attention(norm_1(x))
    return x + feed_forward(norm_2(x))
    # END SOLUTION


# %% [markdown]
# The check makes up four functions.

# %% check="3.3"
from lorakit.checks.lesson03 import check_block

check_block(block)

# %% [markdown]
# The course's `block` takes the nine tensors and does just that, with attention from lesson 02. Here it is held against the
# model's own block, a module of transformers'. `visible` says which token may look at which (`None`: no token is padding,
# put in only to fill a text up to a length).

# %%
from lorakit.activations.by_hand import block as course_block, visible

seen = visible(ids, None)
steps = course_block(x, mine, model.config, seen)
difference(steps["residual"], "0.residual")

# %% [markdown]
# A whole block, equal but for rounding. All 30, each from its own input:


# %%
def weights_of(i):
    """The nine tensors of block i, by their names within it."""
    start = f"model.layers.{i}."
    return {name.removeprefix(start): w for name, w in weights.items() if name.startswith(start)}


blocks = range(model.config.num_hidden_layers)
inputs = [cache["embeddings"], *(cache[f"{i}.residual"] for i in blocks)]
ours = [course_block(inputs[i], weights_of(i), model.config, seen)["residual"] for i in blocks]
apart = max((ours[i] - inputs[i + 1]).abs().max().item() for i in blocks)
f"{len(blocks)} blocks: largest difference {apart:.1e}, of numbers up to {max(x.abs().max().item() for x in ours):,.0f}"

# %% [markdown]
# If you have solved the three exercises, you can put *your* block in the place of the model's. In a new cell:
#
# ```python
# half = lambda x: feed_forward(x, w_gate, w_up, w_down)
# norm = lambda name: lambda x: rms_norm(x, mine[name], eps)
# attention = lambda x: cache["0.attention_output"]  # lesson 02's part
# yours = block(cache["embeddings"].clone(), norm("input_layernorm.weight"), attention, norm("post_attention_layernorm.weight"), half)
# difference(yours, "0.residual")
# ```
#
# Take the embeddings, and add to them what all 60 halves wrote. That should be the end of the stream:

# %%
written = [cache[f"{i}.{half}"] for i in blocks for half in ("attention_output", "down")]
total = cache["embeddings"] + sum(written)
end = inputs[-1]
f"{len(written)} contributions; largest difference {(total - end).abs().max().item():.1e} of {end.abs().max().item():.0f}"

# %% [markdown]
# It is, for the stream is a plain sum. So one can ask of each block what *it* wrote. Here are the lengths,
# each the mean over all tokens but the first. **Predict:** does a late block write more than an early one?

# %%
from widgets import by_block_figure


def length(name):
    """Mean length of the vectors of this name, over all tokens but the first, block by block."""
    return [cache[f"{i}.{name}"][0, 1:].float().norm(dim=-1).mean().item() for i in blocks]


lengths = {"stream": length("residual"), "attention": length("attention_output"), "feed-forward": length("down")}
by_block_figure("Lengths, mean over all tokens but the first", "length (log scale)", lengths, log=True).show()

# %% [markdown]
# Block 0 adds many times the embedding's 2.6. After that the stream grows for most of the way, and so does what is added to
# it. The length of what each half adds, as a share of the stream after it, from block 0 on:

# %%
for half in ("attention", "feed-forward"):
    print(half, *(f"{added / stream:.0%}" for added, stream in zip(lengths[half], lengths["stream"], strict=True)))

# %% [markdown]
# The feed-forward half adds about a fifth to a quarter for most of the way, and far more in the first and the last block;
# attention mostly less, and in blocks 1 and 24 twice that. Since the next norm divides by the stream's length, it is this
# share that counts. But a length says how much is written, and not whether it adds or erases: in the last block the stream
# gets *shorter*.
#
# ### The first token
#
# Why was it left out? Look for the block that multiplies the length of its vector most, and for the largest of its
# numbers there.

# %%
first = [cache[f"{i}.residual"][0, 0].float() for i in blocks]
jump = max(blocks[1:], key=lambda i: (first[i].norm() / first[i - 1].norm()).item())
place = first[jump].abs().argmax().item()
others = max(cache[f"{i}.residual"][0, 1:].abs().max().item() for i in blocks)
print(f"block {jump}: number {place} of 576 goes from {first[jump - 1][place]:.1f} to {first[jump][place]:.1f}")
print(f"the largest number of any other token, in any block: {others:.1f}")

# %% [markdown]
# A single number, and it has grown to 22,552. Its way through all blocks:

# %%
ways = {"length of the vector": [x.norm().item() for x in first]}
ways[f"number {place} alone"] = [x[place].abs().item() for x in first]
by_block_figure("The first token's vector", "length, size (log scale)", ways, log=True).show()

# %% [markdown]
# For most of the way the vector *is* that number, nearly. It rises early, to some 650; blocks 8 and 9 take most of that
# back, and then block 11 writes it in one stroke. Nearly nothing touches it until the last two blocks take most of it away.
# Such *massive activations* are found in many large language models (Sun et al., 2024). They go with the *attention sinks*
# of lesson 02: first tokens to which heads give most of their attention when nothing else fits. What the number is for, an
# experiment shall tell, at the end.

# %% [markdown]
# ## Leave one out
#
# *(Short of time? No later lesson builds on this section.)*
#
# If every block only adds, the stream goes on without any one of them. **Predict:** of the 30 blocks, how many can be left
# out, one at a time, so that `' Paris'` is still the likeliest next token? (About 5 seconds.) The function runs all blocks
# by hand, one after the other, and ends as the model does: with a last norm, and `lm_head` for the scores (lesson 04). It
# can leave a block out, and it can set one number of one token after block 11, which we need later.

# %%
table, final_gamma = weights["model.embed_tokens.weight"], weights["model.norm.weight"]


def next_logits(ids, left_out=None, number=None):
    """Logits of the next token, (V,): without one block, or with a `number` (token, place, value) set after `jump`."""
    x, seen = table[ids], visible(ids, None)
    for i in blocks:
        if i != left_out:
            x = course_block(x, weights_of(i), model.config, seen)["residual"]
        if i == jump and number:
            token, where, value = number
            x[0, token, where] = value
    return (course_rms_norm(x[:, -1], final_gamma, eps) @ weights["lm_head.weight"].T)[0].float()


print(f"all blocks, against the model: {(next_logits(ids) - logits[0, -1]).abs().max().item():.0e}")
rows = [next_logits(ids, left_out=i) for i in blocks]
best = [tokenizer.decode(row.argmax()) for row in rows]
spoilt = {i: word for i, word in enumerate(best) if word != " Paris"}
f"still the likeliest in {best.count(' Paris')} of {len(blocks)}; without these comes another word:", spoilt

# %% [markdown]
# And how likely is it, without each of them?

# %%
paris = tokenizer(" Paris").input_ids[0]
chances = {"block left out": [row.softmax(dim=-1)[paris].item() for row in rows]}
fig = by_block_figure("' Paris', with one block left out", "probability", chances, joined=False)
fig.add_hline(y=logits[0, -1].float().softmax(dim=-1)[paris].item(), line_dash="dot", annotation_text="all blocks")
fig.show()

# %% [markdown]
# Most blocks can be spared *on this prompt*, at a price. Without any one of four the model is even surer, most of all
# without block 17. Without block 0, 1 or 11 nothing works (11 is the next section's). Is that so on another prompt?
# **Predict** how many blocks can be spared here:

# %%
other = tokenizer("The largest planet in our solar system is", return_tensors="pt").input_ids.to(model.device)
chance, usual = next_logits(other).softmax(dim=-1).max(dim=-1)
spared = sum(next_logits(other, left_out=i).argmax().item() == usual for i in blocks)
f"{tokenizer.decode(usual)!r} ({chance.item():.2f}) stays the likeliest for {spared} of the {len(blocks)} blocks left out"

# %% [markdown]
# Far fewer, partly since the model was hardly sure in the first place. A block that can be spared on one prompt is needed
# on another: whoever prunes a model should test it on many.
#
# ### The one number
#
# Block 11 cannot be spared. Is that because of the one number which it writes to the first token? An experiment can tell.
# Take only that number back to what it was, and leave all else; or leave the whole block out, and put in nothing but that
# number. And a control: for each other token, set its own largest number to 0. **Predict** all three.

# %%
was, became = first[jump - 1][place].item(), first[jump][place].item()
trials = {"all as it is": {}, f"number {place} set back": {"number": (0, place, was)}}
trials[f"block {jump} left out"] = {"left_out": jump}
trials[f"block {jump} left out, number {place} put in"] = {"left_out": jump, "number": (0, place, became)}
for token, vector in enumerate(cache[f"{jump}.residual"][0, 1:].float(), start=1):
    largest = vector.abs().argmax().item()
    name = f"token {token}, number {largest} ({vector[largest]:.0f}, length {vector.norm():.0f}) set to 0"
    trials[name] = {"number": (token, largest, 0.0)}
for name, trial in trials.items():
    p = next_logits(ids, **trial).softmax(dim=-1)
    print(f"{name:46} p(' Paris') = {p[paris].item():.3f}, likeliest {tokenizer.decode(p.argmax())!r}")

# %% [markdown]
# One number of 2,880 (5 tokens of 576), and the model has lost the thread without it; of other tokens the largest number
# may go, at a price at most. (It is number 507 there too, but less than a 200th as large, and only half to two thirds of
# the vector's length: a mild control.) Put it back, and `' Paris'` is on top again although the rest of block 11 is
# missing. It can say nothing of France: the first token sees itself alone. Do later heads look for it, then? For the blocks
# after it, how much attention the other tokens pay the first one, and how long the value is that it hands over (lesson 02),
# with the number and without. **Predict** which of the two changes more.


# %%
def first_token(number=None):
    """Means after `jump`: the first token's share of attention, and the length of its values and of others'."""
    x, paid, handed, elsewhere = table[ids], [], [], []
    for i in blocks:
        steps = course_block(x, weights_of(i), model.config, seen)
        x = steps["residual"]
        if i == jump and number is not None:
            x[0, 0, place] = number
        if i > jump:
            paid.append(steps["attention"][0, :, 1:, 0].mean().item())
            handed.append(steps["v"][0, :, 0].norm(dim=-1).mean().item())
            elsewhere.append(steps["v"][0, :, 1:].norm(dim=-1).mean().item())
    attention, value, others = (torch.tensor(each).mean() for each in (paid, handed, elsewhere))
    return f"attention {attention:.0%}, value {value:.1f} long (of other tokens: {others:.1f})"


print("as it is:", first_token(), f"\nset back: {first_token(was)}")

# %% [markdown]
# Heads look at it less without the number: 65 % instead of 79 %. But what they fetch there changes far more: it gets five
# times as long, an ordinary value. Why is it short with the number? The norm brings every vector to 24, and this one is
# then nearly that number alone. So `v_proj` makes of it about 24 times one column, 507, with gamma folded in. **Predict:**
# is that a long column or a short one?

# %%
columns = [
    (w["self_attn.v_proj.weight"] * w["input_layernorm.weight"]).norm(dim=0)  # (D,): the length of each column
    for w in map(weights_of, blocks[jump + 1 :])
]
one, usually = (torch.tensor(each).mean() for each in ([c[place] for c in columns], [c.median() for c in columns]))
print(f"column {place}: {one:.2f} long, the median column {usually:.2f}, mean over the blocks after {jump}")
print(f"the shortest of {D} in {sum(c.argmin().item() == place for c in columns)} of {len(columns)} blocks")

# %% [markdown]
# So little comes out, and the sink is nearly *empty*: a place to look at while fetching hardly anything (though not
# nothing, and the model needs that little too). Without the number, heads that have nothing to do fetch a full value there,
# or look elsewhere. Together these drown `' Paris'`, for in no other way does the first token reach the others.

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
# - RMSNorm brings each vector to a root mean square of 1 and scales by gamma: `lorakit.activations.rms_norm`. It
#   subtracts no mean and has no beta; this model has no bias at all.
# - SwiGLU: `down(silu(gate(x)) * up(x))`, for each token by itself. `gate_proj` and `up_proj` are the old `linear1`,
#   `down_proj` is `linear2`. Three quarters of a block's weights are here.
# - A block adds twice to the residual stream: `lorakit.activations.by_hand.block`. The end of the stream is the sum
#   of all that was written.
# - The stream grows, and each block adds its share. On one prompt most blocks could be spared, one at a time; on another
#   few. On the first token one number outgrows everything, and on our prompt the model was lost without it.
#
# Back: [lesson 02](02_attention.ipynb). Next: [lesson 04](04_logits.ipynb), where the last vector of the stream becomes a
# word.
