# %% [markdown]
# # 07 · A real LoRA fine-tune
#
# **In this lesson you teach the model to judge film reviews by training new weights that number 0.34 % of its own, and
# leave every one of its own as it was, to the last bit.**
#
# *About 45 minutes, of which the machine needs 3 to 4 on a laptop with two cores. Needs nothing but lesson 00;
# lesson 06 builds LoRA from scratch, this one uses it. Numbers in the text are the default model's: on another, trust
# the cells.*
#
# You will be able to
# - say what each line of the LoRA code that you meet everywhere does, and count its weights before you run it;
# - check, before you spend any time, that a fine-tune can learn at all;
# - run one, read its loss, and judge it on sentences that it was not trained on, with an interval;
# - save the adapter, predict its file size, and load it elsewhere.

# %% [markdown]
# ## The idea in one line
#
# A linear layer multiplies its input with a weight matrix W. **LoRA** (Hu et al., 2021) freezes W and adds a product
# of two thin matrices:
#
# $$W' = W + \frac{\alpha}{r} B A \qquad A: r \times d_{in}, \quad B: d_{out} \times r$$
#
# Only A and B are trained: together they are an **adapter**, and the frozen model beside them is its **base**. `r` is the
# *rank*: at most so many independent directions the change can have. `alpha` is a gain: the change is scaled by `alpha /
# r`. A starts with small random numbers and B with zeros, so at first W' = W exactly.

# %% [markdown]
# ## The code that you meet everywhere
#
# You will find these lines in many a tutorial, with `"meta-llama/Meta-Llama-3-8B-Instruct"` where `find_model()`
# (the folder of the course's model) stands, and `dtype=torch.bfloat16` for a GPU (a T4 has no bf16 of its own:
# `torch.float16` there). They run here as they are.

# %%
from lorakit.models import find_model, pick_device
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained(find_model(), dtype=pick_device().dtype, device_map="auto")
config = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"])
model = get_peft_model(model, config)
type(model).__name__

# %% [markdown]
# | argument | what it does |
# |---|---|
# | `dtype` | the number format of the weights once loaded (older code says `torch_dtype`) |
# | `device_map="auto"` | put the weights on the GPU if there is one; what does not fit there goes to other GPUs or to main memory |
# | `r=8` | the rank: A has 8 rows, B has 8 columns |
# | `lora_alpha=16` | the change is multiplied by `lora_alpha / r` = 2 |
# | `target_modules` | the **target modules**: which layers get an adapter, by name: here `q_proj` and `v_proj`, two of the linear layers in each of the 30 blocks (what they do: lesson 02; here only their sizes matter) |
# | `get_peft_model` | freezes all of W and puts A and B beside each target |
#
# (Tutorials also set `task_type="CAUSAL_LM"`, which tells peft's own loaders what kind of model it is; the layers are the
# same without it.)
#
# That is all of LoRA's set-up, and it trains nothing yet. Many a tutorial stops here; we go on.

# %%
from lorakit.housekeeping import release_memory

del model  # from here on, the course's own two functions do the same, and say what they chose
release_memory()
# %% [markdown]
# ## Count before you train
#
# A matrix of d_in × d_out weights gets two thin ones beside it, A and B. How much is that? Three exercises are
# in this lesson, and they work as in lesson 00: fill in the function, run its cell and the check below it.
# `hint("7.1")` gives one more hint each time, `solution("7.1")` shows an answer (both with
# `from lorakit.checks import hint, solution`).

# %% [markdown]
# ### Exercise 7.1 · how many weights does LoRA add?
#
# *Medium, 5 minutes.* LoRA goes beside several linear layers, and `shapes` lists the `(in_features, out_features)` of
# each. At rank `r`, how many weights do all the A's and B's have together? For example
# `adapter_weights(2, [(10, 20), (30, 5)])` gives 130. The shapes of A and B stand under the formula at the
# top.


# %% exercise="7.1" points=2
def adapter_weights(r, shapes):
    """How many weights the adapters have, for layers of (in_features, out_features)."""
    # BEGIN SOLUTION
    return sum(r * (inputs + outputs) for inputs, outputs in shapes)
    # END SOLUTION


# %% [markdown]
# The check makes up ranks and lists of layers.

# %% check="7.1"
from lorakit.checks.lesson07 import check_adapter_weights

check_adapter_weights(adapter_weights)

# %% [markdown]
# ## One place for the settings
#
# This model has 30 blocks. In each, `q_proj` maps 576 numbers to 576, and `v_proj` maps 576 to 192 (9 query heads, but only
# 3 value heads, of 64 numbers each). **Predict** by hand: how many weights do the adapters have at rank 8, and how many at
# rank 16? Then run the cell, which loads no weight; set the rank to 16, look, and set it back to 8.

# %%
from transformers import AutoConfig
from widgets import show_adapter_size

explorer = show_adapter_size(AutoConfig.from_pretrained(find_model()))
explorer

# %% [markdown]
# Move things, by mouse or with the arrow keys. (Where you see no sliders you are reading without a kernel: this is a
# picture of them.) The drawing is one block, and you need only its seven rectangles, the linear layers. Twice the rank is
# twice the weights. Alpha costs no weights: it acts through alpha / r alone. `gate_proj`, `up_proj` and `down_proj` are
# the widest, and cost most. The base can be stored in fewer bits, whatever the adapter is: leave it as it is for now,
# since lesson 10 is about that.
#
# Everything that decides this fine-tune is in one object, which takes what you have set. To train with something else,
# move the rank, alpha or the target modules (at least one), and run the next cell and all below it. Running the
# explorer's own cell again sets it back. (Numbers in the text are for the values that it starts with.)

# %%
from lorakit.finetune import TrainConfig

config = TrainConfig(**explorer.value)
config

# %% [markdown]
# `micro_batch_size` sentences, a **micro-batch**, are in memory at once; after `gradient_accumulation_steps` of these,
# whose gradients add up (**gradient accumulation**), the optimizer takes one step. It is AdamW, which moves each weight
# against a running mean of its gradients, divided by their running size. The *learning rate*, the size of a step, climbs
# for `warmup_steps` and then falls linearly to zero. (2e-3 is ten times what tutorials take: there are 40 steps only, and
# lesson 06 shows the losses of a quarter of it beside its own.) The other fields can stay as they are.

# %% [markdown]
# ## The data
#
# A row is a **prompt**, and the **completion** to be learned after it; `label_words` are the completions among which it is
# judged. Two rows to look at:

# %% tags=["private-output"]
from lorakit.data import split_reviews

train, held_out = split_reviews()
train[:2]

# %% [markdown]
# There are 8,173 rows to train on. The other 1,000 are held out; we judge on the first 400 of them, before and after.

# %%
seen = config.steps * config.rows_per_step
f"{len(train):,} to train on, {len(held_out):,} held out; a run of {config.steps} steps sees {seen}"

# %% [markdown]
# So the run sees only a few hundred of the rows, each once. That is enough, as you will see.

# %% [markdown]
# ## peft counts
#
# The course's `add_adapters` is the same `get_peft_model` as above, with a check of the names before it and a fixed
# seed for A. Does peft make as many weights as you did?

# %%
from lorakit.finetune import add_adapters
from lorakit.models import load_model

base, tokenizer = load_model(quant_type=config.quant_type)
with torch.no_grad():
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids.to(base.device)
    logits_before = base(ids).logits
model = add_adapters(base, config)
trainable, everything = model.get_nb_trainable_parameters()
f"peft trains {trainable:,} of {everything:,} ({trainable / everything:.2%})"

# %% [markdown]
# A matrix of rank r between `d_in` and `d_out` costs r × (d_in + d_out) weights, where the full matrix has
# d_in × d_out. For `q_proj` that is 9,216 against 331,776. (On another model than the course's default, the count
# differs: its layers have other sizes.)

# %% [markdown]
# ## Nothing has changed yet
#
# B is zero, so B A is zero. **Predict:** by how much do the logits differ now from those before the adapters?

# %%
with torch.no_grad():
    difference = (model(ids).logits - logits_before).abs().max().item()
f"largest difference in any of the {logits_before.numel():,} logits: {difference}"

# %% [markdown]
# Exactly zero, not nearly: adding `2 * 0` to a number leaves it as it is. A fine-tune starts from the very model you
# know.

# %% [markdown]
# ## What the loss counts
#
# The loss counts the completion alone: we do not want the model to learn to *write* reviews. `encode` makes token ids of
# rows, and `collate` a batch of these, filled up to one length (**padding**); and beside the ids it keeps `labels`. Here
# are the last five of each row:

# %%
from lorakit.data import collate, encode

batch = collate(encode(train[:4], tokenizer), tokenizer.pad_token_id)
batch["labels"][:, -5:]

# %% [markdown]
# A **label** is the id of the token that stands there, if it is to be learned, and -100 wherever the prompt or padding
# stands: "counts for nothing". Here a completion is one token, `' negative'` (3524) or `' positive'` (2731), and the
# shorter rows are padded on the left; other data have longer completions, and padding may stand on either side.

# %% [markdown]
# ### Exercise 7.2 · the loss of the completion
#
# *Hard, 10 minutes.* The loss is the mean of −ln p over all labelled tokens of the batch, where p is the probability
# that the model gave to that token *before* it read it. Recall lesson 00: the logits at a position are about the token
# that comes **next**. Given `logits` of shape `(B, T, V)` and `labels` of shape `(B, T)`, return the loss. For example
# `loss_of_completion(torch.zeros(2, 4, 10), torch.tensor([[-100, -100, 3, 7], [-100, -100, -100, 5]]))` gives the mean
# over three tokens, ln 10 = 2.303, since all ten are equally likely. (Nothing comes before the first position, so no
# label there is ever learned.)


# %% exercise="7.2" points=3
def loss_of_completion(logits, labels):
    """Mean of -ln p over the labelled tokens: logits (B, T, V), labels (B, T) with -100 where nothing counts."""
    # BEGIN SOLUTION
    log_p = logits[:, :-1].log_softmax(dim=-1)  # position t is about token t + 1
    wanted = labels[:, 1:]
    learned = wanted != -100
    return -log_p[learned, wanted[learned]].mean()
    # END SOLUTION


# %% [markdown]
# The check makes up completions of several lengths, with padding on both sides, in three number formats.

# %% check="7.2"
from lorakit.checks.lesson07 import check_loss_of_completion

check_loss_of_completion(loss_of_completion)

# %% [markdown]
# Now the real batch, on the model that has learned nothing yet. The course's `completion_loss` adds up −ln p;
# transformers gives the mean, and shifts the labels itself. **Predict:** will they agree, once the sum is divided by
# its number of tokens? And is this loss above or below that of guessing among 49,152 tokens, ln 49,152 = 10.8?

# %%
from lorakit.finetune import completion_loss

on_device = {name: tensor.to(model.device) for name, tensor in batch.items()}
with torch.no_grad():
    ours = completion_loss(model, batch).item() / (batch["labels"] != -100).sum().item()
    theirs = model(**on_device).loss.item()
f"ours {ours:.4f}, transformers' {theirs:.4f}"

# %% [markdown]
# They agree, but for rounding: where the line above says "weights float32 · computes in bfloat16", ours multiplies in 16
# bits, as it will in training, and theirs here in 32. Ours computes the logits of the few positions that count, and of no
# others. (If you have solved 7.2: `loss_of_completion(model(**on_device).logits, on_device["labels"])` should be
# transformers' number.) The model does better than guessing: it knows English. But it hardly expects a bare verdict here,
# and this number is what training will lower.

# %% [markdown]
# ## Can it learn?
#
# A fine-tune can go through all its steps, print its progress, and train nothing, because somewhere between the loss and
# the adapters the gradient was lost: in an adapter that was loaded frozen, as peft loads them, or in a layer that has no
# backward pass. It costs a second to look. That batch forward and backward, then the size of the gradient at `lora_B` in
# the first and in the last adapted layer.

# %%
from lorakit.finetune import require_gradients

completion_loss(model.train(), batch).backward()
norms = require_gradients(model)
norms["the first lora_A"] = next(w.grad.norm().item() for name, w in model.named_parameters() if "lora_A" in name)
model.zero_grad()
norms

# %% [markdown]
# Both of `lora_B` are well above zero, so the adapters at both ends hear what the loss says; `require_gradients` would have
# stopped us otherwise. (The gradient of `lora_A` is exactly zero at this very first step: it is multiplied by B, which is
# zero. That is why one of the two must *not* start at zero.) `finetune` asks the same before its first step
# and at each one.

# %% [markdown]
# ## A seal on the base
#
# To prove later that W was left alone, take a fingerprint of all its bytes now. (This is
# `lorakit.finetune.base_fingerprint`; lesson 10 uses it from there.)

# %%
import hashlib


def base_fingerprint(model):
    """One hash of every weight that is not trained."""
    seal = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if "lora_" not in name:
            seal.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return seal.hexdigest()[:16]


sealed = base_fingerprint(model)
sealed

# %% [markdown]
# ## Train
#
# **Predict** the accuracy on the held-out sentences, before and after. Then run, and watch: first the 400 sentences are
# judged, then the steps begin. From there on you may stop, with the button that appears or with the ■ above: the run
# ends after the current step, keeps what it has learned, and judges the 400 once more. (This is
# `lorakit.finetune.finetune` with a picture; the points on the way are of the first 100 held-out sentences.)

# %%
from widgets import show_training

history = show_training(config, model, tokenizer, train=train, held_out=held_out[:400])
print(f"before: {history.before}\nafter:  {history.after}")

# %% [markdown]
# Each bracket is a 95 % interval: with 400 sentences, a measured accuracy is good to three or four points either way.
# Compare what you predicted. (The losses are in *nats*, the unit of −ln p; the picture calls this loss by its usual name,
# cross-entropy. The one in "before" is the mean over 400 sentences; that of the four above, and those of the first steps,
# are of few and differ.)

# %%
from widgets import accuracy_figure, loss_figure

import math

loss_figure({"LoRA": history.losses}).add_hline(y=math.log(2), line_dash="dot", annotation_text="a coin").show()

# %% [markdown]
# The loss is −ln of the probability that the right word got: 6 means 0.25 %. A coin tossed between the two words would cost
# ln 2 = 0.69, the dotted line. The loss is a sum: −ln of what both words have together, and −ln of the right one's share of
# that. The first is most of it at the start, and is nearly gone after the steep part: the model has found out that one of
# two words is wanted. The second is below a coin's from the start, since the model preferred the right word on four in five
# already, and falls by little. Each point is the mean over only 8 sentences: a late one above the line has at least one
# verdict among them that was wrong, and sure of itself.

# %%
accuracy_figure({"before": history.before, "after": history.after}).show()

# %% [markdown]
# Do the two intervals overlap? If they do not, chance is a poor explanation for the gain. If they just touch,
# remember that both were measured on the *same* sentences, so the comparison can be made sharper than the two intervals
# suggest: the sign test below does it, and lesson 10.

# %%
speed = f"{history.tokens_per_second:,.0f} tokens a second, {history.seconds / len(history.losses):.2f} s a step"
f"{history.seconds:.0f} s of training, {speed}, peak memory {history.peak_memory_bytes / 2**30:.2f} GiB"

# %% [markdown]
# On a CPU the peak is the memory of this whole process, Python and libraries included (on Linux since `finetune`
# began, elsewhere since the process did); on an NVIDIA GPU it is what torch allocated there.

# %% [markdown]
# ## What changed, and what did not
#
# ### The base, bit for bit

# %%
now = base_fingerprint(model)
f"sealed before {sealed}, after training {now}: {'equal' if now == sealed else 'CHANGED'}"

# %% [markdown]
# Not one of 134,515,008 weights moved. All that was learned is in A and B, and it can be switched off: with the
# adapter disabled, the model gives the very logits from before.

# %%
model.eval()
with torch.no_grad(), model.disable_adapter():
    print("adapter off: largest difference", (model(ids).logits - logits_before).abs().max().item())
with torch.no_grad():
    print("adapter on:  largest difference", round((model(ids).logits - logits_before).abs().max().item(), 2))

# %% [markdown]
# The adapter was trained on reviews and moves the logits after "The capital of France is" too: an adapter is active
# everywhere. Lesson 08 measures what that costs.

# %% [markdown]
# ### Exercise 7.3 · mended and broken
#
# *Easy, 5 minutes.* An accuracy hides what happened to the single sentences. `truth`, `before` and `after` are lists
# of words: what people said of each sentence, the model's verdict before training, and its verdict after. Return two
# numbers: how many verdicts were **mended** (wrong before, right after) and how many **broken** (right before, wrong
# after). There may be more than two words. For example
# `mended_and_broken(["good", "bad", "dull", "bad"], ["bad", "bad", "bad", "dull"], ["good", "dull", "good", "bad"])`
# gives `(2, 1)`.


# %% exercise="7.3" points=2
def mended_and_broken(truth, before, after):
    """How many verdicts became right, and how many became wrong: a pair of whole numbers."""
    # BEGIN SOLUTION
    rows = list(zip(truth, before, after, strict=True))
    mended = sum(first != word and second == word for word, first, second in rows)
    broken = sum(first == word and second != word for word, first, second in rows)
    return mended, broken
    # END SOLUTION


# %% [markdown]
# The check uses four words, so that a verdict can also go from one wrong word to another.

# %% check="7.3"
from lorakit.checks.lesson07 import check_mended_and_broken

check_mended_and_broken(mended_and_broken)

# %% [markdown]
# ### Verdicts that flipped
#
# Numbers hide the sentences. Here are some that the untaught model got wrong and the taught one right, and some the
# other way round. The word after `Sentiment:` is what people said.

# %% tags=["private-output"]
pairs = zip(held_out, history.before.predictions, history.after.predictions, strict=False)
flipped = [(row, before, after) for row, before, after in pairs if before != after]
mended = [row["prompt"] + row["completion"] for row, before, after in flipped if after == row["completion"]]
broken = [row["prompt"] + row["completion"] for row, before, after in flipped if before == row["completion"]]
print(f"{len(mended)} mended, {len(broken)} broken\n", *mended[:4], "--- broken:", *broken[:3], sep="\n")

# %% [markdown]
# Read the broken ones: are all of them really wrong, or are some of the human ratings hard to agree with?
#
# Only the flipped sentences tell before from after. Were the training useless, each of them would be mended or broken
# by chance, as a coin falls. **Would a coin explain it?** Guess first; then compute how likely a coin is to fall on
# "mended" at least that often.

# %%
flips = len(mended) + len(broken)
p = sum(math.comb(flips, k) for k in range(len(mended), flips + 1)) / 2**flips
f"{len(mended)} of {flips} flips mended: a coin does as well with probability {p:.2g}"

# %% [markdown]
# This is the sign test, one-sided: it asks only for "mended at least that often". It is sharper than two intervals held
# side by side, since it leaves out all the sentences on which nothing changed. It speaks of the chance in these sentences,
# not of that in training: another seed would mend and break others. (If you have solved 7.3, hold your function against the
# counts, with `truth = [row["completion"] for row in held_out[:400]]`, `history.before.predictions` and
# `history.after.predictions`.)

# %% [markdown]
# ## Take it with you
#
# peft keeps adapters in float32, 4 bytes a weight. You know how many weights they have. **Predict** roughly how many bytes
# the file has; the explorer at the top named them. Is it right to the last one? Save the adapter as peft does, into a fresh
# folder.

# %%
import tempfile
from pathlib import Path

folder = Path(tempfile.mkdtemp()) / "adapter"
model.save_pretrained(folder)
size = (folder / "adapter_model.safetensors").stat().st_size
share = size / (4 * (everything - trainable))
f"{trainable:,} weights; the file has {size:,} bytes, {share:.2%} of the base in float32"

# %% [markdown]
# The explorer was right to the last byte. What is on top of four bytes a weight are the names and shapes of the tensors.
# Hand on the whole folder: rank, alpha and targets stand in `adapter_config.json` beside the weights, and whoever has the
# same base can load it. Plain peft does, with no word of this course. (`unload` takes the adapters off again, and gives
# back the bare base; `model` is not to be used after it.)

# %%
from peft import PeftModel

with torch.no_grad():
    expected = model(ids).logits
plain = PeftModel.from_pretrained(model.unload(), folder).eval()
with torch.no_grad():
    print("largest difference after saving and loading:", (plain(ids).logits - expected).abs().max().item())

# %% [markdown]
# ## The same with transformers' Trainer
#
# Most code that you meet trains with `Trainer`. It is the same loop with many more switches. Three steps of it, on a
# fresh adapter, from the same rows.

# %%
from transformers import Trainer, TrainingArguments

from lorakit.models import compute_dtype

fresh = add_adapters(plain.unload(), config)
arguments = TrainingArguments(
    output_dir=tempfile.mkdtemp(),
    max_steps=3,
    per_device_train_batch_size=2,
    gradient_accumulation_steps=config.rows_per_step // 2,
    learning_rate=config.learning_rate,
    warmup_steps=config.warmup_steps,
    fp16=compute_dtype(fresh) == torch.float16,
    bf16=compute_dtype(fresh) == torch.bfloat16,
    logging_steps=1,
    save_strategy="no",
    report_to="none",
    remove_unused_columns=False,  # our rows are no Dataset
    disable_tqdm=True,
    use_cpu=fresh.device.type == "cpu",
)

# %% [markdown]
# Besides the arguments it wants the rows, and a function that makes a batch of some of them: that is `collate`, with
# the padding token filled in.

# %%
from functools import partial

to_batch = partial(collate, pad_token_id=tokenizer.pad_token_id)
trainer = Trainer(fresh, arguments, train_dataset=encode(train[:200], tokenizer), data_collator=to_batch)
result = trainer.train()

# %% [markdown]
# The losses printed above start where ours did, near 6. (Trainer's first step has a learning rate of 0 and changes no
# weight: the second loss differs only because it is of another batch.) **Predict** the time of a step next to ours:

# %%
theirs = result.metrics["train_runtime"] / 3
f"Trainer {theirs:.2f} s a step, our loop {history.seconds / len(history.losses):.2f} s a step"

# %% [markdown]
# If its step takes longer, part of the reason is that it computes all 49,152 logits at *every* position, though only the
# last ones count here; and since these fill much memory, it got two rows at a time, where ours takes four. And three steps
# carry its start-up. (Single timings on a machine that does other things too can say anything.)

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
# - LoRA trains B A beside a frozen W. On `q_proj` and `v_proj` at r = 8 that is 460,800 weights, 0.34 % of this
#   model: you can count them before you run anything. A 7B model's few million come from the same formula.
# - Before training: count, see that the output is unchanged (B = 0), see that gradients arrive.
# - After training: judge on held-out rows with an interval, see that the base is unchanged bit for bit, read
#   sentences.
# - The adapter is a folder with 1.9 MB of weights that plain peft loads.
#
# This loop is `lorakit.finetune.loop`; its heart, `_Run.step`, fits on one screen. `lorakit finetune` in a terminal
# runs it without a notebook, on your own rows too.
#
# Back: [lesson 06](06_lora.ipynb). Next: [lesson 08](08_adapters.ipynb) does more with adapters;
# [lesson 10](10_qlora_finetune.ipynb) repeats this run on a base held in 4 bits.
