# %% [markdown]
# # 03 · The transformer block
#
# **In this lesson you build one whole block of the model, RMSNorm, attention, SwiGLU and the stream that they all
# write to, and it is equal to transformers'. Then you look at what 30 of them do to five words, leave one out, and
# find the one number that the model cannot do without.**
#
# *About 45 minutes, of which the machine needs half a minute. Needs lesson 00, and a little torch. Attention, from
# lesson 02, is used here as one step: it lets each token fetch something from the tokens before it. Numbers in the
# text are the default model's: on another, trust the cells.*
#
# You will be able to
# - name every weight of a block, and say what it does;
# - write RMSNorm, and say how it differs from LayerNorm with its gamma and beta;
# - write the feed-forward half with SwiGLU, and say what it has to do with the `linear1` and `linear2` of other
#   pictures;
# - say why all of it is *added*, and measure how much each block adds.

# %% [markdown]
# ## The picture
#
# A Llama-type model is a stack of blocks, equal in shape, each with weights of its own. This is the model that the cell
# loads, drawn from its own shapes. Boxes with square corners hold weights; those with round ends only compute. Take a
# minute for the right half: by the end of this lesson you will have computed all of it.

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
# `x` is where the road begins: the rows of the embedding table (lesson 01). The road is called the **residual
# stream**. Each block reads from it, and adds something to it. In block 0 there are these weights to do so:

# %%
mine = {name.removeprefix("model.layers.0."): w for name, w in weights.items() if name.startswith("model.layers.0.")}
{name: tuple(w.shape) for name, w in mine.items()}

# %% [markdown]
# Nine tensors: four of attention, three of the feed-forward half, two of norms. Each half of a block begins with a
# norm.

# %% [markdown]
# ## RMSNorm, and its gamma
#
# What arrives on the stream has any length: here it grows two-hundredfold from the first block to the last, as you
# will see. A matrix made for short vectors would do something else to long ones. So in front of each half every
# vector is brought to one length. **RMSNorm** (Zhang & Sennrich, 2019) divides it by the *root of the mean of its
# squares*, after which that root is 1. Then each of the 576 numbers is multiplied by a weight of its own, **gamma**
# (`γ`).

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
    size = x.pow(2).mean(dim=-1, keepdim=True)
    return gamma * x / (size + eps).sqrt()
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
# (In float32. On a GPU in 16 bits expect some hundredths, here and below.)
#
# The name in the model is `input_layernorm`, a leftover: it is no LayerNorm. **LayerNorm** (Ba et al., 2016), of
# which you read in most texts on Transformers, first subtracts the mean of the vector's numbers, and after scaling by
# gamma adds a second weight for each number, **beta** (`β`). **Predict** for each of the two: what happens if the
# vector is multiplied by 3, and what if 3 is added to all its numbers?

# %%
D = x.shape[-1]
rms, layer_norm = torch.nn.RMSNorm(D, eps), torch.nn.LayerNorm(D, eps)
v = torch.randn(D, generator=torch.Generator().manual_seed(0))
for norm in (rms, layer_norm):
    names = [name for name, _ in norm.named_parameters()]
    tripled, lifted = ((norm(w) - norm(v)).abs().max().item() for w in (3 * v, v + 3))
    print(f"{type(norm).__name__:9} {names}: change if tripled {tripled:.6f}, if lifted {lifted:.6f}")

# %% [markdown]
# Both forget a vector's length. LayerNorm also forgets its mean, and has a `bias`, which is beta; RMSNorm does
# neither. So is there any beta in our model? **Predict** how many of its tensors have "bias" in their name.

# %%
len([name for name in weights if "bias" in name]), len(weights)

# %% [markdown]
# None. Llama does without any bias. And what of gamma? It is a weight for each number of the stream: it says how
# loudly this half hears it.
#
# Here is a fact that few people know: what gamma does could be done by the matrix behind it. Multiply `q_proj`'s
# columns by gamma, leave gamma out, and the same queries come out. **Predict** the difference.

# %%
W_q, gamma = mine["self_attn.q_proj.weight"], mine["input_layernorm.weight"]
without_gamma = course_rms_norm(x, torch.ones_like(gamma), eps)
folded = without_gamma @ (W_q * gamma).T  # (out, in) times (in,): each column by its gamma
f"{((normed @ W_q.T) - folded).abs().max().item():.1e} of {folded.abs().max().item():.0f}"

# %% [markdown]
# Rounding, and no more. Keep it in mind when somebody reads a meaning into gamma alone.

# %% [markdown]
# ## The feed-forward half
#
# After attention (lesson 02) has fetched what a token needs from others, the feed-forward half works on each token
# *for itself*. In the first Transformer it was two matrices with a ReLU between: `linear1` widens, `linear2` narrows,
# and so it stands in most pictures. Llama has three matrices, called **SwiGLU** (Shazeer, 2020):
#
# - `gate_proj` and `up_proj` both widen D = 576 numbers to F = 1,536;
# - the gate goes through `silu(z) = z · sigmoid(z)`, which lets large numbers pass and holds back negative ones, and
#   is multiplied with up: it decides how much of it passes;
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

gate, up, down = (mine[f"mlp.{name}_proj.weight"] for name in ("gate", "up", "down"))
h = cache["0.normed_mid"]  # what comes into this half
added = swiglu(h @ gate.T, h @ up.T) @ down.T
difference(added, "0.down")

# %% [markdown]
# Where are most of a block's weights, in attention or here? **Predict**, then count.

# %%
shares = {half: sum(w.numel() for name, w in mine.items() if name.startswith(half)) for half in ("self_attn", "mlp")}
shares | {"norms": sum(w.numel() for name, w in mine.items() if "layernorm" in name)}

# %% [markdown]
# Three quarters are in the feed-forward half. And is it really for each token by itself? Give it one token alone and
# compare with what that token got in company. **Predict.**

# %%
alone = swiglu(h[:, 2:3] @ gate.T, h[:, 2:3] @ up.T) @ down.T
f"largest difference {(alone - added[:, 2:3]).abs().max().item():.1e} of {added[:, 2:3].abs().max().item():.1f}"

# %% [markdown]
# The same, but for rounding. Tokens meet in attention, and nowhere else.

# %% [markdown]
# ## The road that all write to
#
# Now the two halves are put together. Nothing on the stream is replaced: each half reads a normed *copy*, and what it
# makes is *added*.

# %% [markdown]
# ### Exercise 3.3 · wire the block
#
# *Hard, 8 minutes.* You are given four functions, each from `(B, T, D)` to `(B, T, D)`: `norm_1`, `attention`,
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
# The course's `block` takes the nine tensors and does just that, with attention from lesson 02. Hold it against the
# model's block itself, a module of transformers', with the same input. **Predict.**

# %%
from lorakit.activations.by_hand import block as course_block, visible

seen = visible(ids, None)  # which token may look at which
steps = course_block(x, mine, model.config, seen)
difference(steps["residual"], "0.residual")

# %% [markdown]
# A whole block, equal. All 30, each from its own input:

# %%
def weights_of(i):
    """The nine tensors of block i, by their names within it."""
    start = f"model.layers.{i}."
    return {name.removeprefix(start): w for name, w in weights.items() if name.startswith(start)}


blocks = range(model.config.num_hidden_layers)
inputs = [cache["embeddings"], *(cache[f"{i}.residual"] for i in blocks)]
ours = [course_block(inputs[i], weights_of(i), model.config, seen)["residual"] for i in blocks]
f"{len(blocks)} blocks: largest difference {max((ours[i] - inputs[i + 1]).abs().max().item() for i in blocks):.1e}"

# %% [markdown]
# Since all is added, the end of the road is a plain sum: the embedding, and what the 60 halves wrote. **Predict** how
# exact that is.

# %%
written = [cache[f"{i}.{half}"] for i in blocks for half in ("attention_output", "down")]
total = cache["embeddings"] + sum(written)
end = inputs[-1]
f"{len(written)} contributions; largest difference {(total - end).abs().max().item():.1e} of {end.abs().max().item():.0f}"

# %% [markdown]
# So one can ask of each block what *it* wrote. How long are these contributions, and how long is the stream? Here are
# the lengths, each the mean over all tokens but the first. **Predict** the shape of the three lines.

# %%
from widgets import by_block_figure


def length(name):
    """Mean length of the vectors of this name, over all tokens but the first, block by block."""
    return [cache[f"{i}.{name}"][0, 1:].float().norm(dim=-1).mean().item() for i in blocks]


lengths = {"stream": length("residual"), "attention": length("attention_output"), "feed-forward": length("down")}
by_block_figure("Lengths, mean over all tokens but the first", "length (log scale)", lengths, log=True).show()

# %% [markdown]
# The embedding had a length of about 2.5. Block 0 alone adds many times that. From there the stream grows and grows;
# each block adds a fraction of what is there. Late blocks must write loudly to be heard, since the norm in front of
# the next one divides by the stream's length.
#
# ### One number
#
# Why without the first token? Look for the block after which its vector is longest, as against the block before:

# %%
first = [cache[f"{i}.residual"][0, 0].float() for i in blocks]
jump = max(blocks[1:], key=lambda i: (first[i].norm() / first[i - 1].norm()).item())
for i in (jump - 1, jump, blocks[-1]):
    place = first[i].abs().argmax().item()
    print(f"after block {i:2}: length {first[i].norm().item():8.1f}; number {place} alone is {first[i][place].item():.1f}")

# %% [markdown]
# Block 11 writes one number of about 23,000 to the first token, at one place of 576, and almost nothing touches it
# before the last two blocks take most of it back. No other token has the like. Such *massive activations* are found
# in most large language models (Sun et al., 2024), and they go with the attention sinks of lesson 02: a token like
# this is easy to find for a head that has nothing to look for.

# %% [markdown]
# ## Leave one out
#
# If every block only adds, the road goes on without any one of them. **Predict:** of the 30 blocks, how many can be
# left out, one at a time, so that `' Paris'` is still the likeliest next token? Which cannot? (About 5 seconds.)

# %%
def without(left_out):
    """Logits of the next token, (V,), where one block's contribution is left out."""
    x = cache["embeddings"]
    for i in blocks:
        if i != left_out:
            x = course_block(x, weights_of(i), model.config, seen)["residual"]
    x = course_rms_norm(x[:, -1], weights["model.norm.weight"], eps)
    return (x @ weights["lm_head.weight"].T)[0].float()


paris = tokenizer(" Paris").input_ids[0]
rows = [without(i) for i in blocks]
still = sum(row.argmax().item() == paris for row in rows)
f"still the likeliest without one of {still} of {len(blocks)} blocks"

# %% [markdown]
# And how likely is it, without each of them?

# %%
chances = [row.softmax(dim=-1)[paris].item() for row in rows]
whole = logits[0, -1].float().softmax(dim=-1)[paris].item()
figure = by_block_figure("' Paris', with one block left out", "probability", {"block left out": chances})
figure.add_hline(y=whole, line_dash="dot", annotation_text="all blocks").show()

# %% [markdown]
# Most blocks can be spared on this prompt, at a price; without block 17 the model is even surer. Without block 0
# nothing works: it makes of bare words what all others read. And without block 11, which wrote that one huge number,
# nothing works either: the heads that lay their attention there have nowhere to lay it. One prompt proves little
# about a block in general. It does show what the road is for.
#
# A word on pruning, since it comes to mind: a block that can be spared on one prompt is needed on another.

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
# - A block adds twice to the residual stream: `lorakit.activations.by_hand.block`. The end of the road is the sum of
#   all that was written.
# - The stream grows; on the first token one number outgrows everything, and the model depends on it.
#
# Next: lesson 04, where the last vector of the road becomes a word.
