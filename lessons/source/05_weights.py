# %% [markdown]
# # 05 · Weights
#
# **In this lesson you run the whole model by hand, from token ids to logits, with nothing but a dict of tensors and a
# config. Then you count every weight by what it does, here and in models of 8 and 70 billion, and see by experiment
# what in a model can be trained and what only passes through.**
#
# *About 45 minutes, of which the machine needs half a minute. Stands on lessons 01 to 04, and says again in a line
# what it takes from each. Numbers in the text are the default model's: on another, trust the cells.*
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
# A language model is a function, `logits = f(tokens; W)`. You have seen its parts:
#
# | part | what it does | lesson |
# |---|---|---|
# | embedding | fetches a row of D numbers for each token id | 01 |
# | each block | adds to these what attention finds (02) and what the feed-forward half makes of it (03) | 02, 03 |
# | final norm | brings the last vectors to one length | 03 |
# | lm_head | scores every token of the vocabulary | 04 |
#
# `T` tokens of `B` texts go through it as a tensor of shape `(B, T, D)`; the vocabulary has `V` tokens.

# %% [markdown]
# ### Exercise 5.1 · the whole pass
#
# *Medium, 6 minutes.* Put the model together. `input_ids` has shape `(B, T)`; `table` is the embedding table
# `(V, D)`; `blocks` is a list of functions, each from `(B, T, D)` to `(B, T, D)`, in their order; `final_norm` is
# another such function; `head` is lm_head's table `(V, D)`. Return the logits, `(B, T, V)`.


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
# The check makes up models of a few blocks, tied ones (`head` is `table`) and others.

# %% check="5.1"
from lorakit.checks.lesson05 import check_whole_pass

check_whole_pass(whole_pass)

# %% [markdown]
# Now the real one. This is all that the course's pass by hand is given: every weight by its name, and a config of a
# dozen numbers. No module of torch's or transformers' is in it. (The tied `lm_head` is listed too, so there is one
# name more than there are tensors.)

# %%
from lorakit.models import load_model
import torch

model, tokenizer = load_model()
weights, config = model.state_dict(), model.config
print(len(weights), "names, such as", *list(weights)[:3], sep="\n  ")

# %% [markdown]
# `forward` is `lorakit.activations.forward`; it calls `embed`, `rms_norm`, `rotary`, `grouped_attention`, `swiglu`
# and `unembed`, which lessons 01 to 04 made one by one. It returns the logits, and each step on the way by name.
# **Predict** how far its logits are from transformers', after 30 blocks.

# %%
from lorakit.activations import forward, run_with_cache

ids = tokenizer("The capital of France is", return_tensors="pt").input_ids.to(model.device)
by_hand, steps = forward(weights, config, ids)
with torch.no_grad():
    logits = model(ids).logits
f"largest difference {(by_hand - logits).abs().max().item():.1e}, where logits reach {logits.abs().max().item():.1f}"

# %% [markdown]
# Some hundred-thousandths, on logits of up to about 26: float32 rounds at every operation, and the two do the same
# sums in another order. (On a GPU in 16 bits expect some tenths.) And all that happens on the way? Each of the 422
# steps, against what the model itself computed, relative to the step's largest number:

# %%
_, cache = run_with_cache(model, ids)
apart = {name: ((step - cache[name]).abs().max() / cache[name].abs().max()).item() for name, step in steps.items()}
worst = max(apart, key=apart.get)
f"{len(apart)} steps; the worst is {worst}: {apart[worst]:.1e}"

# %% [markdown]
# So it is the model. To write, put the likeliest token behind the text and call it again (every step reads the whole
# text anew here; a real program keeps keys and values, lesson 02). **Predict** the first word.

# %%
text = ids
for _ in range(8):
    next_logits, _ = forward(weights, config, text)
    text = torch.cat([text, next_logits[:, -1:].argmax(dim=-1)], dim=1)
tokenizer.decode(text[0])

# %% [markdown]
# ## Where every weight lives
#
# The same model as a picture, drawn from its own shapes. Boxes with square corners hold weights, and in each stand its
# name, its shape and its count.

# %%
from widgets import show_model

show_model(model)

# %% [markdown]
# The names are those of the dict above, without `model.layers.0.`; other texts call them otherwise:
#
# | here | elsewhere | what it is for |
# |---|---|---|
# | `embed_tokens.weight` | `word_embeddings.weight`, `wte.weight` | a row for each token |
# | `q_proj`, `k_proj`, `v_proj`, `o_proj` | `query`, `key`, `value`, `dense` | who looks at whom, and what is fetched |
# | `gate_proj`, `up_proj`, `down_proj` | `linear1` and `linear2` (without a gate) | what is made of it, token by token |
# | `input_layernorm`, `post_attention_layernorm`, `norm` | `gamma`, and `beta` where it is a LayerNorm | the volume of each number |
# | `lm_head.weight` | the same | a score for each token |
#
# How many weights are there of each kind? A config says it all: it needs no weights to count them.

# %% [markdown]
# ### Exercise 5.2 · a census
#
# *Hard, 15 minutes.* From a `config` alone, count all the weights of a Llama model by role. Return a dict with ten
# entries: `embedding`, `q`, `k`, `v`, `o`, `gate`, `up`, `down`, `norm` and `head`, each the number of weights in all
# blocks together. `norm` is all gammas, the final norm's among them. `head` is 0 where `lm_head` is tied to the
# embedding. The config has `vocab_size`, `hidden_size`, `intermediate_size` (F), `num_hidden_layers`,
# `num_attention_heads`, `num_key_value_heads`, `head_dim` (numbers a head) and `tie_word_embeddings`; no layer has a
# bias. The picture above has the numbers for this model: your function must find them for any.


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
# The course's `lorakit.census` counts the tensors themselves. Does it add up to what the model says of itself?

# %%
from lorakit.census import census as course_census

counted = course_census(model)
print(f"together {sum(counted.values()):,}, the model says {model.num_parameters():,}")
counted

# %% [markdown]
# As areas. **Predict** first: which of the ten is the largest, and how large are all norms together?

# %%
from widgets import census_figure

census_figure(model).show()

# %% [markdown]
# The three matrices of the feed-forward half are 59 %, the embedding table is 21 %, attention 20 %; all 61 norms are
# 35,136 weights, which you need a magnifying glass for. Click an area to enter it.
#
# ## Where an "8B" comes from
#
# The number in a model's name is this sum, rounded. Here are the sizes of two large models, as they stand in their
# published `config.json`. No weight is loaded: 70 billion of them would not fit here. **Predict**, with your own
# census or in your head, in which of the three models the embedding matters least.

# %%
from transformers import LlamaConfig

llama_8b = LlamaConfig(
    vocab_size=128_256, hidden_size=4_096, intermediate_size=14_336, num_hidden_layers=32,
    num_attention_heads=32, num_key_value_heads=8,
)  # fmt: skip
llama_70b = LlamaConfig(
    vocab_size=128_256, hidden_size=8_192, intermediate_size=28_672, num_hidden_layers=80,
    num_attention_heads=64, num_key_value_heads=8,
)  # fmt: skip
f"Llama-3 8B: {sum(course_census(llama_8b).values()):,}; 70B: {sum(course_census(llama_70b).values()):,}"

# %% [markdown]
# So "8B" is 8.03 billion and "70B" is 70.55 billion. By role, in percent:

# %%
models = {"this model": model, "Llama-3 8B": llama_8b, "Llama-3 70B": llama_70b}
counts = {name: course_census(each) for name, each in models.items()}
print(f"{'':12}" + "".join(f"{role:>11}" for role in counts["this model"]))
for name, roles in counts.items():
    print(f"{name:12}" + "".join(f"{number / sum(roles.values()):11.2%}" for number in roles.values()))

# %% [markdown]
# The larger the model, the more it is made of `gate`, `up` and `down`, four fifths at 70B, and the less of tables.
# `k` and `v` are small, since their heads are shared: with 8 key heads for 64 query heads, an eighth of `q`. Remember
# that when you choose LoRA's targets in lesson 07: on `q_proj` and `v_proj` you adapt layers that hold a small part
# of all weights.
#
# The 8B again, as areas:

# %%
census_figure(llama_8b).show()

# %% [markdown]
# In 16 bits each weight takes 2 bytes: 8.03 billion are 15 GiB, just to be held (lesson 00's exercise). In 4 bits it
# is a quarter and a little more. That is the weight QLoRA lifts, in lesson 10.

# %% [markdown]
# ## Weights, logits, probabilities
#
# Three kinds of numbers, often confused. One table says how they differ:
#
# | | belong to | can be trained | change with the input |
# |---|---|---|---|
# | **weights** | the model | yes | no |
# | **logits** | an output | no | yes |
# | **probabilities** | an output, derived from logits | no | yes |
#
# Let us not believe it, but try. torch itself knows the difference: what is stored and can be trained is a *leaf*;
# what was computed remembers by which function.

# %%
last = model(ids).logits[0, -1]  # with gradients this time
p = last.softmax(dim=-1)
W = model.model.norm.weight
for name, tensor in {"a weight": W, "logits": last, "probabilities": p}.items():
    made_by = type(tensor.grad_fn).__name__ if tensor.grad_fn else "nothing: it is stored"
    print(f"{name:14} leaf {tensor.is_leaf!s:5}  made by {made_by}")

# %% [markdown]
# ### First: change the input
#
# Keep a copy of all weights (`named_parameters` names a tied table once), run another text, and look what is still
# the same.

# %%
before = {name: w.detach().clone() for name, w in model.named_parameters()}
other = tokenizer("The capital of Germany is", return_tensors="pt").input_ids.to(model.device)
with torch.no_grad():
    moved = model(other).logits[0, -1] - last

# %% [markdown]
# Which tensors are not what they were? You will write the function that says it, since it is needed more often than
# one thinks: after each fine-tune, to see that what was to stay has stayed.

# %% [markdown]
# ### Exercise 5.3 · what has changed?
#
# *Medium, 6 minutes.* `before` and `after` are dicts with the same names and a tensor for each, such as a model's
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
# Now ask it of the model, after another input. **Predict** both numbers: tensors that changed, and how far a logit
# moved.

# %%
def differing(before, model):
    """The names of the weights that are not what they were before."""
    return [name for name, w in model.named_parameters() if not torch.equal(w, before[name])]


f"{len(differing(before, model))} of {len(before)} tensors changed; a logit moved by up to {moved.abs().max().item():.1f}"

# %% [markdown]
# Running a model changes nothing in it. All that it says differently, it says because of the input.
#
# ### Then: train a step
#
# Training is the other way round: the input stays, the weights move. One step of plain gradient descent, to make
# `' Paris'` likelier, and with one restriction: only the last block may learn, all else is *frozen*. **Predict:** how
# many of the 272 tensors will have changed?

# %%
model.requires_grad_(False)
last_block = model.model.layers[-1].requires_grad_(True)
paris = tokenizer(" Paris").input_ids[0]
loss = -model(ids).logits[0, -1].float().log_softmax(dim=-1)[paris]  # -ln p
loss.backward()
torch.optim.SGD(last_block.parameters(), lr=1e-3).step()

# %% [markdown]
# Same input as before. What is different now?

# %%
names = differing(before, model)
with torch.no_grad():
    after = model(ids).logits[0, -1].float().softmax(dim=-1)
print(f"p(' Paris') from {p[paris].item():.4f} to {after[paris].item():.4f}; {len(names)} of {len(before)} changed:")
print(*names, sep="\n")

# %% [markdown]
# Nine tensors, those of the last block, and no other. The logits moved, though nobody trained *them*: they cannot be,
# they are what the weights make of an input. So the table holds.
#
# You have also just seen the idea on which LoRA is built. Freezing is a switch, `requires_grad`: what is frozen
# stays, to the last bit. LoRA freezes *everything*, all of W, and puts small new matrices beside it that are the only
# ones to learn. That is lesson 06.
#
# (This model has been tampered with now. Load it anew before you use it for something else.)

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
# - The whole model is `final_norm(blocks(table[ids])) @ head.T`: `lorakit.activations.forward`, equal to
#   transformers'.
# - The "8B" of a name is the sum over all tensors: `lorakit.census.census` counts it by role. Most of it is the
#   feed-forward half, the more so the larger the model.
# - Weights are stored, belong to the model and can be trained; logits and probabilities are computed anew from each
#   input. Running changes no weight; training changes those that are not frozen, and no others.
#
# Next: lesson 06, LoRA from scratch. In a hurry to train? Lesson **07**.
