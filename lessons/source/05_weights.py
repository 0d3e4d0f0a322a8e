# %% [markdown]
# # 05 · Weights
#
# **In this lesson you put the whole model together, from token ids to logits, with nothing but a dict of tensors and
# a config.** Then you count every weight by what it does, here and in models of 8 and 70 billion, and see by experiment
# what in a model can be trained and what only passes through.
#
# *About 40 minutes, of which the machine needs half a minute. Needs lessons 00 to 04, and says again in a line what it
# takes from each. Numbers in the text are the default model's, in float32: on another, trust the cells.*
#
# You will be able to
# - write down the whole model as one function, and show that it equals transformers';
# - say where each weight sits, and count all of them from a config alone;
# - say what the "8B" in a model's name counts, and where most of it is;
# - say, and show, how weights, logits and probabilities differ: which can be trained, and which change with the
#   input.

# %% [markdown]
# ## The whole pass
#
# A language model is a function, `logits = f(tokens; W)`. Lesson 03's `next_logits` ran all of it in passing; now it is the
# subject. You have seen its parts:
#
# | part | what it does | lesson |
# |---|---|---|
# | embedding | fetches a row of D numbers for each token id | 01 |
# | blocks, one after the other | each makes new vectors of the old ones: the old, plus what attention (02) and the feed-forward half (03) make of them | 02, 03 |
# | final norm | brings each vector that leaves the last block to one size, and scales its numbers by gamma | 03 |
# | lm_head | scores every token of the vocabulary | 04 |
#
# `T` tokens of `B` texts go through it as a tensor of shape `(B, T, D)`; the vocabulary has `V` tokens.

# %% [markdown]
# ### Exercise 5.1 · the whole pass
#
# *Easy, 4 minutes.* Put the model together. `input_ids` has shape `(B, T)`; `table` is the embedding table `(V, D)`;
# `blocks` is a list of functions, each from `(B, T, D)` to `(B, T, D)`, in their order; `final_norm` is another such
# function; `head` is lm_head's table `(V, D)`. Return the logits, `(B, T, V)`.


# %% exercise="5.1" points=2
def whole_pass(input_ids, table, blocks, final_norm, head):
    """From token ids (B, T) to logits (B, T, V)."""
    # BEGIN SOLUTION
    x = table[input_ids]  # (B, T, D)
    for block in blocks:
        x = block(x)
    return final_norm(x) @ head.T
    # END SOLUTION


# %% [markdown]
# The check makes up models of a few blocks: tied ones, where `head` *is* the embedding table, and others.

# %% check="5.1"
from lorakit.checks.lesson05 import check_whole_pass

check_whole_pass(whole_pass)

# %% [markdown]
# Now the real one. This is all that it takes: every weight by its name, and a few numbers of a **config**. (A tied
# `lm_head` is listed too, so there is one name more than there are tensors.)

# %%
from lorakit.models import load_model
import torch

model, tokenizer = load_model()
weights, config = model.state_dict(), model.config
print(f"{len(weights)} names, such as", *list(weights)[:3], sep="\n  ")
print(
    f"{config.num_hidden_layers} blocks, {config.num_attention_heads} heads, theta {config.rope_parameters['rope_theta']:,.0f}"
)

# %% [markdown]
# The course's steps are those of lessons 01 to 04: `embed`, `rms_norm`, `unembed`, and `block`, which is made of
# `rms_norm`, `rotary`, `grouped_attention` and `swiglu`. No module of torch's or transformers' is in them. With these
# the whole model is eight lines:

# %%
from lorakit.activations import embed, rms_norm, unembed
from lorakit.activations.by_hand import block as course_block, visible


def by_hand(ids):
    """Logits (B, T, V) of token ids (B, T)."""
    x, seen = embed(ids, weights["model.embed_tokens.weight"]), visible(ids, None)
    for i in range(config.num_hidden_layers):
        start = f"model.layers.{i}."
        mine = {name.removeprefix(start): w for name, w in weights.items() if name.startswith(start)}
        x = course_block(x, mine, config, seen)["residual"]
    return unembed(rms_norm(x, weights["model.norm.weight"], config.rms_norm_eps), weights["lm_head.weight"])


# %% [markdown]
# float32 keeps about 7 digits, and errors of that size add up over 30 blocks. **Predict** how far these logits are
# from transformers'.

# %%
ids = tokenizer("The capital of France is", return_tensors="pt").input_ids.to(model.device)
with torch.no_grad():
    logits = model(ids).logits
f"largest difference {(by_hand(ids) - logits).abs().max().item():.1e}, where logits reach {logits.abs().max().item():.1f}"

# %% [markdown]
# Less than a ten-thousandth, on logits of up to 27. (In 16 bits on a GPU expect some tenths.) The two do the same
# sums in another order, and so round differently. If you have solved 5.1, you can put your own function in. In a new
# cell:
#
# ```python
# def block_by_hand(i):
#     mine = {name.split(".", 3)[3]: w for name, w in weights.items() if name.startswith(f"model.layers.{i}.")}
#     return lambda x: course_block(x, mine, config, visible(ids, None))["residual"]
#
# table, gamma = weights["model.embed_tokens.weight"], weights["model.norm.weight"]
# blocks = [block_by_hand(i) for i in range(config.num_hidden_layers)]
# yours = whole_pass(ids, table, blocks, lambda x: rms_norm(x, gamma, config.rms_norm_eps), weights["lm_head.weight"])
# (yours - logits).abs().max()
# ```
#
# And all that happens on the way? `lorakit.activations.forward` does the same, and keeps each step: 14 in each block, and
# two outside, the embeddings and what the final norm returns. We hold each against what the model itself computed. The
# difference is given as a share of the step's largest number, since the great number of lesson 03 would drown any other:

# %%
from lorakit.activations import forward, run_with_cache

_, steps = forward(weights, config, ids)
_, cache = run_with_cache(model, ids)
apart = {name: ((step - cache[name]).abs().max() / cache[name].abs().max()).item() for name, step in steps.items()}
worst = max(apart, key=apart.get)
f"{len(apart)} steps; the worst is {worst}: {apart[worst]:.1e}"

# %% [markdown]
# It does what the model does, at every step. So it can write, too: put the likeliest token behind the text and call
# it again. (Every call reads the whole text anew. A real program keeps keys and values: lesson 02.)

# %%
text = tokenizer("The largest planet in our solar system is", return_tensors="pt").input_ids.to(model.device)
for _ in range(6):
    likeliest = by_hand(text)[:, -1:].argmax(dim=-1)  # (B, 1)
    text = torch.cat([text, likeliest], dim=1)
print(tokenizer.decode(text[0]))

# %% [markdown]
# ## Where every weight lives
#
# The same model as a picture, drawn from its own shapes. Boxes with square corners hold weights; those with round
# ends only compute.

# %%
from widgets import show_model

show_model(model)

# %% [markdown]
# In each box stands the name that the dict `weights` has; inside a block, the end of it. Other texts have other names for
# the same layers:
#
# | here | elsewhere | what it is for |
# |---|---|---|
# | `embed_tokens` | `word_embeddings`, `wte` | a row for each token |
# | `q_proj`, `k_proj`, `v_proj` | `query`, `key`, `value`; all in one as `c_attn`, `query_key_value` | who looks at whom, and what is fetched |
# | `o_proj` | `out_proj`, `dense`, `c_proj` | brings what was fetched to the stream |
# | `gate_proj`, `up_proj`, `down_proj` | `linear1` and `linear2` (without a gate) | what is made of it, token by token |
# | `input_layernorm`, `post_attention_layernorm`, `norm` | `ln_1`, `ln_2`, `ln_f` | gamma, a factor for each number (in a LayerNorm also beta, which is added) |
# | `lm_head` | `output`, `embed_out` | a score for each token |
#
# How many weights are there of each kind? A config says it all: it needs no weights to count them.

# %% [markdown]
# ### Exercise 5.2 · a census
#
# *Medium, 10 minutes.* From a `config` alone, count all the weights of a Llama model by role. Return a dict with ten
# entries: `embedding`, `q`, `k`, `v`, `o`, `gate`, `up`, `down`, `norm` and `head`, each the number of weights of
# that role in the whole model. `norm` is all gammas, the final norm's among them. `head` is 0 where `lm_head` is tied
# to the embedding. The config has `vocab_size`, `hidden_size` (D), `intermediate_size` (F), `num_hidden_layers`,
# `num_attention_heads`, `num_key_value_heads`, `head_dim` (how many numbers each head works with: not always
# hidden_size / heads) and `tie_word_embeddings`. No layer has a bias. The picture above has the numbers for this
# model; your function must find them for any.


# %% exercise="5.2" points=4
def census(config):
    """How many weights a Llama model has in each role: a dict with ten entries."""
    # BEGIN SOLUTION
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    table = config.vocab_size * D
    queries = config.num_attention_heads * config.head_dim
    keys = config.num_key_value_heads * config.head_dim
    return {
        "embedding": table,
        "q": L * D * queries,
        "k": L * D * keys,
        "v": L * D * keys,
        "o": L * queries * D,
        "gate": L * D * F,
        "up": L * D * F,
        "down": L * F * D,
        "norm": (2 * L + 1) * D,
        "head": 0 if config.tie_word_embeddings else table,
    }
    # END SOLUTION


# %% [markdown]
# The check makes up configs, and counts the weights of the models that transformers makes from them.

# %% check="5.2"
from lorakit.checks.lesson05 import check_census

check_census(census)

# %% [markdown]
# The course's `lorakit.census` takes a model, or a config, from which it builds a model that has shapes but no memory
# behind them. Held against what the model says of itself:

# %%
from lorakit.census import census as course_census

counted = course_census(model)
f"together {sum(counted.values()):,}, the model says {model.num_parameters():,}"

# %% [markdown]
# (Solved? `census(config) == counted` in a new cell compares yours.) Now as areas. **Predict** first: which of the
# ten roles is the largest, and what share have all norms together?

# %%
from widgets import census_figure

census_figure(model).show()

# %% [markdown]
# The largest single role is the embedding table, a fifth. But gate, up and down together are 59 %, and q, k, v and o 20 %.
# All 61 norms are 35,136 weights, too few to be seen here. (Click an area to enter it, and again to leave.)
#
# ## Where an "8B" comes from
#
# The number in a model's name is meant to be this sum, rounded. Here are the sizes of two large models, as they stand in
# their published `config.json`: heads of 4,096 / 32 = 128 numbers, and an `lm_head` that is not tied. No weight is made: 70
# billion would not fit here.

# %%
from transformers import LlamaConfig

sizes = {"vocab_size": 128_256, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": False}
llama_8b = LlamaConfig(
    hidden_size=4_096, intermediate_size=14_336, num_hidden_layers=32, num_attention_heads=32, **sizes
)
llama_70b = LlamaConfig(
    hidden_size=8_192, intermediate_size=28_672, num_hidden_layers=80, num_attention_heads=64, **sizes
)
f"Llama-3 8B: {sum(course_census(llama_8b).values()):,}; 70B: {sum(course_census(llama_70b).values()):,}"

# %% [markdown]
# So "8B" is 8.03 billion, and "70B" is 70.55 billion. **Predict:** which roles have a larger share in the large
# models than in ours, and which a smaller one?

# %%
counts = [course_census(each) for each in (model, llama_8b, llama_70b)]
print(f"{'':10}{'this model':>12}{'Llama-3 8B':>12}{'70B':>12}")
for role in counts[0]:
    print(f"{role:10}" + "".join(f"{each[role] / sum(each.values()):12.3%}" for each in counts))

# %% [markdown]
# - The tables' share falls, 21 %, 13 %, 3 %: a table has V × D weights, the L blocks L × D² times a factor that changes
#   little. The 8B has a larger V and two tables, which slows the fall; the 70B has 80 blocks where the 8B has 32.
# - The feed-forward half grows, to 70 % and 80 %, also because these two make it wider (F is 2.7 times D here, 3.5 times
#   there).
# - `q` and `o` hardly change; `k` and `v` shrink, since more query heads share each of them: 3, 4 and 8.
#
# ### What this means for LoRA and QLoRA
#
# Lesson 07 adapts `q_proj` and `v_proj`, which are a tenth of all weights here; and it trains not even these, only small
# matrices beside them (lesson 06).
#
# In 16 bits each weight takes 2 bytes: 8.03 billion are 15 GiB, just to be held (lesson 00's exercise). In 4 bits the
# blocks' matrices take a quarter of their share of that and a little more: this is what QLoRA is for, in lesson 10. (The
# tables are not quantised: they stay in 16 bits, or are kept in 32. Lesson 11 has the whole sum.)

# %% [markdown]
# ## Weights, logits, probabilities
#
# Three kinds of numbers, often confused. **Predict:** which of them belong to the model, which change with the input, and
# which can be trained? Let us try it: change the input, then train a step, and look each time at what is still the same.

# %% [markdown]
# ### Exercise 5.3 · what has changed?
#
# *Easy, 4 minutes.* `before` and `after` are dicts with the same names and a tensor for each, such as a model's
# weights before and after a step of training. Return the sorted list of the names whose tensors differ in any number,
# however little.


# %% exercise="5.3" points=2
def changed(before, after):
    """The names, sorted, of the tensors that are not equal in every number."""
    # BEGIN SOLUTION
    return sorted(name for name in before if not torch.equal(before[name], after[name]))
    # END SOLUTION


# %% [markdown]
# The check changes single numbers, some of them by very little.

# %% check="5.3"
from lorakit.checks.lesson05 import check_changed

check_changed(changed)

# %% [markdown]
# ### First: change the input
#
# Keep a copy of all weights (`named_parameters` names a tied table once), and of the probabilities after "The capital of
# France is". Then ask for the capital of Germany. What is now the likeliest token, and has any of the 272 tensors changed?

# %%
before = {name: w.detach().clone() for name, w in model.named_parameters()}
p = logits[0, -1].float().softmax(dim=-1)


def moves():
    """How far each weight tensor has moved since the copy was made: its largest difference, where there is one."""
    far = {}
    for name, w in model.named_parameters():
        pieces = zip(w.detach().split(4096), before[name].split(4096), strict=True)  # in pieces, to spare memory
        far[name] = max((new - old).abs().max().item() for new, old in pieces)
    return {name: by for name, by in far.items() if by}


other = tokenizer("The capital of Germany is", return_tensors="pt").input_ids.to(model.device)
with torch.no_grad():
    q = model(other).logits[0, -1].float().softmax(dim=-1)
f"{len(moves())} of {len(before)} tensors moved; likeliest was {tokenizer.decode(p.argmax())!r}, is {tokenizer.decode(q.argmax())!r}"

# %% [markdown]
# Running this model moved none of its weights. All that it says differently it says because of the input.
#
# ### Then: train a step
#
# Now the other way round: the input stays, the weights move. A loss says in one number how wrong the model is; here it is
# −ln p of `' Paris'`. `backward` computes, for each weight that may learn, how the loss would change if that weight rose a
# little: its **gradient**. The **optimizer** then takes a step: this one, SGD, moves each such weight by −`lr`, the
# **learning rate**, times its gradient. `requires_grad_` says who may learn: we **freeze** all but the last block.
# **Predict:** does p of `' Paris'` rise or fall, a little or a lot?

# %%
model.requires_grad_(False)
model.model.layers[-1].requires_grad_(True)
model.zero_grad()  # gradients add up: start from none
paris = tokenizer(" Paris").input_ids[0]
loss = -model(ids).logits[0, -1].float().log_softmax(dim=-1)[paris]
loss.backward()
torch.optim.SGD(model.parameters(), lr=1e-3).step()  # which passes over what has no gradient
f"loss {loss.item():.3f}, which is -ln {(-loss).exp().item():.4f}"

# %% [markdown]
# The same input as before. What is different now?

# %%
with torch.no_grad():
    after = model(ids).logits[0, -1].float().softmax(dim=-1)
print(
    f"p(' Paris') from {p[paris].item():.4f} to {after[paris].item():.4f}; {len(moves())} of {len(before)} tensors moved:"
)
for name, by in moves().items():
    print(f"{name:54} by up to {by:.1e}")

# %% [markdown]
# `' Paris'` has become likelier: down the gradient of the loss is up the probability. Nine tensors moved, those of the last
# block, and no other. (If you have solved 5.3, `changed(before, dict(model.named_parameters()))` names them too. In 16 bits
# one or two may stand still: a step can be smaller than the rounding of a number near 1.) The logits moved although nobody
# trained *them*. There is nothing to train: they are made anew from weights and input each time. So, as found:
#
# | | belong to | can be trained | change with the input |
# |---|---|---|---|
# | **weights** | the model | yes | no |
# | **logits** | an output | no | yes |
# | **probabilities** | an output, made from logits | no | yes |
#
# You have also just seen the idea on which LoRA is built. What is frozen stays, to the last bit. LoRA freezes
# *everything*, all of W, and puts small new matrices beside it that are the only ones to learn. That is lesson 06.
#
# (This model has been tampered with now, and `weights` with it, which share its memory. Load it anew before you use it for
# something else.)

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
# - The whole model: fetch rows, run the blocks one after the other, norm, multiply with `lm_head`. It is
#   `lorakit.activations.forward`, and equal to transformers' at every step.
# - The "8B" of a name is the sum over all tensors: `lorakit.census.census` counts it by role. Most of it is the
#   feed-forward half.
# - Weights are stored, belong to the model and can be trained; logits and probabilities are computed anew from each
#   input. Running changes no weight; training changes those that are not frozen, and no others.
#
# Back: [lesson 04](04_logits.ipynb). Next: [lesson 06](06_lora.ipynb), LoRA from scratch. In a hurry to train? Go to
# [lesson 07](07_lora_finetune.ipynb).
