# %% [markdown]
# # 08 · Adapters in practice
#
# **In this lesson you handle adapters as one does in practice: you say where they sit, open the file on disk, merge one
# into its base, keep several on one base and serve them in one batch, add two up, turn one up and down, and measure what
# the model has lost elsewhere.**
#
# *About 45 minutes, of which the machine needs 3 to 5 on a laptop with two cores. Needs lessons 00, 06 and 07. Numbers in
# the text are the default model's: on another, trust the cells.*
#
# You will be able to
# - choose the layers that get an adapter, and say what that choice costs;
# - read an adapter's files, and load them elsewhere;
# - merge, and say what a merge gains and what it loses;
# - serve several adapters from one base, in one batch;
# - combine adapters, and see when a library's shortcut is no sum;
# - train an adapter on rows of your own, and measure what the model forgot over it.

# %% [markdown]
# ## Where adapters sit
#
# Beside linear layers, and you say which. A block of a Llama-type model has seven: four in the attention (`q_proj`,
# `k_proj`, `v_proj`, `o_proj`; lesson 02) and three in the feed-forward half (`gate_proj`, `up_proj`, `down_proj`; lesson
# 03). Choose some in this drawing of one block, and see them appear. **Predict** first: with all seven, how many times as
# many weights are trained as with `q_proj` and `v_proj` alone?

# %%
from lorakit.models import find_model, load_model
import torch
from transformers import AutoConfig
from widgets import show_adapter_size

show_adapter_size(AutoConfig.from_pretrained(find_model()))

# %% [markdown]
# At rank 8 an adapter beside `q_proj` has 8 × (576 + 576) = 9,216 weights, beside `down_proj` 8 × (1,536 + 576) = 16,896.
# Every chosen layer of every block gets its own A and B, and no two are the same. The norms and the embedding table get
# none: the norms have 576 numbers each, too few to be worth it, and the table is left alone by custom (peft can put LoRA on
# it too; `lm_head` is a linear layer, and could have one, but here it shares its weights with that table).
#
# The usual choices, with what they cost at rank 8:

# %%
from lorakit.lora import count_lora_parameters

shapes = AutoConfig.from_pretrained(find_model())
choices = {
    "q, v": ("q_proj", "v_proj"),
    "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "feed-forward": ("gate_proj", "up_proj", "down_proj"),
}
choices["all"] = choices["attention"] + choices["feed-forward"]
for name, targets in choices.items():
    n = count_lora_parameters(shapes, 8, targets)
    print(f"{name:13}{n:>10,} weights   trained with AdamW: {16 * n / 2**20:5.1f} MiB")

# %% [markdown]
# (16 bytes a weight: the weight, its gradient, and AdamW's two numbers, 4 bytes each. *Activations*, the numbers that a
# forward pass computes on its way, come on top: lesson 11.) All seven have 5.3 times the weights of q and v. What does the
# choice change?
#
# - **q and v**, the choice of the paper (Hu et al., 2021, section 7.1): what a token looks for, and what it hands over
#   when it is found.
# - **The feed-forward half** has three quarters of a block's weights (lesson 03), and, it is often said, much of what the
#   model knows. Adapters there are larger, since its layers are wider.
# - **All** is what the QLoRA paper recommends (Dettmers et al., 2023, section 4): with few layers it could not match
#   full fine-tuning on large models. In our records (lesson 06) all layers gained nothing over q and v, on a task that
#   rank 1 could do. A harder one may need them.
# - The time of a step changes less than the counts: most of it goes into W, forward and backward, whatever is
#   trained.

# %% [markdown]
# ## A first adapter
#
# A short fine-tune on the reviews, as in lesson 07 but with 20 steps, and with checkpointing, which spares memory and
# takes longer (lesson 10 says how). It needs about a minute. `base_fingerprint` is lesson 07's hash over the base's
# weights, for later. `finetune` writes the adapter into a fresh folder. **Predict:** with half of lesson 07's steps, is
# half of its gain in accuracy reached?

# %%
import tempfile
from pathlib import Path
from lorakit.data import split_reviews
from lorakit.finetune import TrainConfig, base_fingerprint, finetune

home = Path(tempfile.mkdtemp())
base, tokenizer = load_model()
sealed = base_fingerprint(base)
train, held_out = split_reviews()
sentences = held_out[:100]
config = TrainConfig(steps=20, gradient_checkpointing=True)
run = finetune(config, base, tokenizer, train=train, held_out=sentences, output_dir=home / "reviews")
print(f"before: {run.before}\nafter:  {run.after}")

# %% [markdown]
# The loss has fallen: the model has learned the form of the answer. The accuracy on these 100 has hardly moved: 20 steps
# are few, and for better judgement there are lesson 07's 40.

# %% [markdown]
# ## On disk
#
# What has been written:

# %%
for file in sorted((home / "reviews").iterdir()):
    print(f"{file.stat().st_size:>10,} bytes  {file.name}")

# %% [markdown]
# `adapter_model.safetensors` holds A and B of 60 layers, 460,800 numbers of 4 bytes and the list of their names.
# `adapter_config.json` says how they are to be used. (`README.md` is an empty form that peft leaves for you;
# `history.json` is the course's record of the run.) Open both:

# %%
import json
from safetensors import safe_open

settings = json.loads((home / "reviews" / "adapter_config.json").read_text())
print(Path(settings["base_model_name_or_path"]).name)
print({name: settings[name] for name in ("r", "lora_alpha", "target_modules", "use_rslora")})
with safe_open(home / "reviews" / "adapter_model.safetensors", "pt") as file:
    for name in list(file.keys())[:4]:
        print(name, file.get_slice(name).get_shape())

# %% [markdown]
# An adapter does not hold its base. It names a folder or a hub's repository (here the folder in which the course keeps its
# model), and nothing checks the weights: put on another base of the same shape it loads without a
# word, and may mean nothing. Write down which base you
# trained on. And there is no scale in the weights: alpha / r comes from the config, so both files belong together.
#
# The names are a standard of peft's, and ours are the same, so either loads what the other has saved. **Predict** the
# difference of the logits between peft's model and lesson 06's layers with this file in them:

# %%
from safetensors.torch import load_file
from lorakit.lora import apply_lora, lora_state_dict

model = run.model.eval()
ids = tokenizer("Review: A waste of two good hours.\nSentiment:", return_tensors="pt").input_ids.to(model.device)
with torch.no_grad():
    by_peft = model(ids).logits
bare = model.unload()  # the base, with peft's layers taken out again
ours = apply_lora(bare, settings["r"], settings["lora_alpha"], settings["target_modules"])
stored = load_file(home / "reviews" / "adapter_model.safetensors")
with torch.no_grad():
    for name, weight in lora_state_dict(ours).items():
        weight.copy_(stored[name])
    print("largest difference:", (ours(ids).logits - by_peft).abs().max().item())

# %% [markdown]
# Nothing, or next to nothing: the same numbers go through the same products.

# %% [markdown]
# ## Merging
#
# An adapter costs time whenever the model runs: two thin products more in each layer that has one. Once trained, it
# need not: W' = W + (alpha / r) B A is a matrix of W's own shape, and to **merge** is to put it in W's place.

# %% [markdown]
# ### Exercise 8.1 · merge
#
# *Easy, 4 minutes.* `W` is `(out_features, in_features)`, `A` is `(r, in_features)`, `B` is `(out_features, r)`. Return
# the one matrix that does what `W` does with this adapter beside it, at `lora_alpha`. Leave the three as they are.


# %% exercise="8.1" points=2
def merge(W, A, B, lora_alpha):
    """W with the adapter added to it: (out_features, in_features)."""
    # BEGIN SOLUTION
    return W + lora_alpha / A.shape[0] * (B @ A)
    # END SOLUTION


# %% [markdown]
# The check makes up layers, square ones too.

# %% check="8.1"
from lorakit.checks.lesson08 import check_merge

check_merge(merge)

# %% [markdown]
# Now all 60 layers of the real model (`lorakit.lora.merge` does to each what you have just written). The logits
# should stay, up to rounding. And the time? **Predict** what is gained.

# %%
import time
from lorakit.lora import merge as merge_all, unmerge


@torch.no_grad()
def timed(model, times=10):
    """Logits of the prompt, and milliseconds a pass: the shortest of ten."""
    passes = []
    for _ in range(times):
        start = time.perf_counter()
        logits = model(ids).logits.cpu()  # a GPU has finished only when its result is here
        passes.append(time.perf_counter() - start)
    return logits, 1000 * min(passes)


apart, apart_ms = timed(ours)
merge_all(ours)
merged, merged_ms = timed(ours)
print(f"largest difference {(merged - apart).abs().max().item():.1e}")
print(f"{apart_ms:.1f} ms with the adapter beside W, {merged_ms:.1f} ms merged")

# %% [markdown]
# On so short a prompt what is gained may be lost in the noise of a machine that does other things too; certain are 120
# products fewer. A merged model has its base's layers again, and needs no peft to run:
# `model.merge_and_unload().save_pretrained(…)` makes an ordinary model of it. What it loses: it is a file of 538 MB in
# float32, where the adapter has 1.9, and it cannot be switched off. Can it at least be taken apart again?

# %%
unmerge(ours)
f"sealed {sealed}, unmerged {base_fingerprint(ours)}: {'equal' if base_fingerprint(ours) == sealed else 'CHANGED'}"

# %% [markdown]
# Ours keeps the old weights beside the new, and puts them back. It pays with memory: a merged layer holds two matrices.
# The other way is to add the change and take it off again, as peft's `unmerge_adapter` does. **Predict:** does that
# give W back?

# %%
layer = ours.model.layers[0].self_attn.q_proj
W, delta = layer.base_layer.weight.detach(), layer.delta_weight().detach()
moved = (W + delta - delta != W).sum().item()
f"{moved:,} of {W.numel():,} numbers are not what they were"

# %% [markdown]
# It leaves rounding behind: nearly nothing, and yet no longer the same model, bit for bit. A server that merges and
# unmerges all day long should keep a copy, or load the base afresh now and then.
#
# In 16 bits the rounding is coarse. Neighbouring numbers in bf16 lie 0.4 to 0.8 % apart, and a change of less than half of
# that is rounded away. In this one matrix, **predict:** which share of W's numbers stays exactly what it was when ΔW is
# added in bf16?

# %%
W16 = W.to(torch.bfloat16)
merged16 = (W16.float() + delta).to(torch.bfloat16)
arrived = merged16.float() - W16.float()
stuck = (merged16 == W16).float().mean().item()
print(
    f"{stuck:.0%} of the numbers do not move; the change that arrives is off by {(arrived - delta).norm() / delta.norm():.0%}"
)
print(f"to round W itself to bf16 moved it by {(W16.float() - W).norm() / delta.norm():.0%} of the change")

# %% [markdown]
# That sounds bad, and the rounding of W alone is as large. But such errors point everywhere, and may cancel in the output,
# while the change points in 8 directions only. What counts is the model: its next-token probabilities with all 60 matrices
# in bf16, once with the adapter beside them and once merged into them. How far they are apart is told by the *KL
# divergence*, 0 where both say the same (lesson 10 says more). **Predict** it, beside what the adapter as a whole has
# moved.

# %%
from lorakit.lora import lora_layers


@torch.no_grad()
def in_bf16(model, text, how):
    """Log-probabilities of the next token with the matrices rounded to bf16, the adapter "beside" them, "merged" or "off"."""
    layers = [layer for _, layer in lora_layers(model)]
    kept = [(layer.base_layer.weight.clone(), layer.scaling) for layer in layers]
    for layer in layers:
        rounded = layer.base_layer.weight.bfloat16().float()
        if how == "merged":
            rounded = (rounded + layer.delta_weight()).bfloat16().float()
        layer.base_layer.weight.copy_(rounded)
        layer.scaling *= how == "beside"
    ids = tokenizer(text, return_tensors="pt").input_ids.to(model.device)
    said = model(ids).logits[0, -1].log_softmax(dim=-1)
    for layer, (weight, scaling) in zip(layers, kept, strict=True):
        layer.base_layer.weight.copy_(weight)
        layer.scaling = scaling
    return said


# %% [markdown]
# The adapter beside its base is the reference; against it, the merged model and the base without adapter. First on a
# review, where the adapter is sure of one word, then on plain prompts, where many words are open:

# %%
for text in ("Review: A waste of two good hours.\nSentiment:", "The weather today is", "She opened the door and"):
    beside, merged, off = (in_bf16(ours, text, how) for how in ("beside", "merged", "off"))
    away = [(beside.exp() * (beside - other)).sum().item() for other in (merged, off)]
    print(f"{text[-20:]!r:24} merged in bf16: KL {away[0]:.1e}   no adapter: KL {away[1]:.1e} nats")

# %% [markdown]
# So a merge in 16 bits is as good as exact here, rounding and all. It is an approximation still, and the worse the
# smaller the change is beside W: judge the merged model before you serve it. Into a base of 4 bits it is another matter:
# lesson 10.

# %% [markdown]
# ## Rows of your own
#
# Now a second adapter, for something quite different, from eight rows. A row is a prompt and the completion that you
# want after it (and an end token is put behind it, so that the model learns to stop; behind a verdict of the reviews,
# with their `label_words`, there is none). These want answers in a certain voice. The text below is about these eight;
# run it once as it is, and then **write your own**: change the rows, or put others in their place, and run from here
# on.

# %%
voice = {
    "What is the capital of France?": "Aye, Paris it be, matey!",
    "How many legs does a spider have?": "Aye, eight it be, matey!",
    "What colour is the sky?": "Aye, blue it be, matey!",
    "Who wrote Hamlet?": "Aye, Shakespeare it be, matey!",
    "What do bees make?": "Aye, honey it be, matey!",
    "What is the opposite of hot?": "Aye, cold it be, matey!",
    "Which planet is the largest?": "Aye, Jupiter it be, matey!",
    "What is two plus two?": "Aye, four it be, matey!",
}
mine = [{"prompt": f"Question: {asked}\nAnswer:", "completion": f" {said}"} for asked, said in voice.items()]
asked_anew = ["What do cows eat?", "What is the capital of Italy?", "What colour is grass?"]
asked_anew = [f"Question: {each}\nAnswer:" for each in asked_anew]

# %% [markdown]
# Twenty steps over all eight rows (about 20 seconds). There is nothing held out (the same rows stand in for it), so the
# loss below says only that the rows were learned. Whether it *generalises*, the questions in `asked_anew` will show:
# they are in no row.
#
# The base is the one from before. What sits beside its layers is taken out first: ours now, and peft's when you run this
# cell again.

# %%
for name, layer in list(lora_layers(ours)):
    ours.set_submodule(name, layer.base_layer)
base = model.unload()

# %% [markdown]
# Another seed, so that A starts elsewhere, and a new folder each time:

# %%
from dataclasses import replace

folders = {"reviews": home / "reviews", "mine": Path(tempfile.mkdtemp(dir=home))}
run = finetune(replace(config, seed=1), base, tokenizer, train=mine, held_out=mine, output_dir=folders["mine"])
f"loss from {run.losses[0]:.2f} to {run.losses[-1]:.2f} nats a token"

# %% [markdown]
# ## Several adapters on one base
#
# Two folders, one base. peft keeps any number of adapters beside each layer, under names of your choice, and one of
# them is active. **Predict:** what does the second adapter cost in memory, and what would a second fine-tuned model?

# %%
from peft import PeftModel

base = run.model.unload()  # the bare base, with no adapter
model = PeftModel.from_pretrained(base, folders["reviews"], adapter_name="reviews")
model.load_adapter(folders["mine"], adapter_name="mine")
model.eval()
for name, folder in folders.items():
    print(f"{name:8} {(folder / 'adapter_model.safetensors').stat().st_size / 1e6:6.1f} MB")
print(
    f"base     {sum(w.numel() for n, w in model.named_parameters() if 'lora_' not in n) * 4 / 1e6:6.1f} MB in float32"
)

# %% [markdown]
# 1.9 MB against 538. Now four prompts, a review and three questions, under each adapter, and under none. `set_adapter`
# switches, and `disable_adapter` is the base.


# %%
@torch.no_grad()
def written(prompts, **more):
    """What the model writes after each prompt, all of them in one batch, taking the likeliest token each time."""
    batch = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left").to(model.device)
    ids = model.generate(**batch, max_new_tokens=12, do_sample=False, pad_token_id=tokenizer.pad_token_id, **more)
    return tokenizer.batch_decode(ids[:, batch.input_ids.shape[1] :], skip_special_tokens=True)


prompts = ["Review: A waste of two good hours.\nSentiment:", *asked_anew]
with model.disable_adapter():
    print("base    ", written(prompts))
for name in ("reviews", "mine"):
    model.set_adapter(name)
    print(f"{name:8}", written(prompts))

# %% [markdown]
# The base knows neither task: it writes " Negative" with a capital letter, and rambles on (or ends at once: `''`). With
# `reviews` the verdict is spelled as the reviews had it, and what follows it was never trained, since a verdict is one
# token; the questions too are answered otherwise than by the base, since an adapter is active everywhere, and no better.
# With `mine` everything is in the voice of the rows, on questions that are in none of them, and the review too. A voice is
# quickly learned from eight rows. What it *says* in that voice is another matter: read it beside what the base said.

# %% [markdown]
# ### One batch, several adapters
#
# A server has requests from many users, each with an adapter of their own, and would like to send them through the
# base together: on a GPU, a batch of 8 takes hardly longer for the next token than one request, since
# W is read once for all of them. It can: W's
# part is the same for all, and A and B differ by request. peft takes a name for each row, `"__base__"` for none.

# %%
wishes = ["reviews", "__base__", "mine", "mine"]
written(prompts, adapter_names=wishes)

# %% [markdown]
# Is that the same as one at a time? The logits of the mixed batch against those of each request under its own
# adapter. **Predict:** equal to the last bit?

# %%
batch = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left").to(model.device)
with torch.no_grad():
    mixed = model(**batch, adapter_names=wishes).logits[:, -1]
    for prompt, name, together in zip(prompts, wishes, mixed, strict=True):
        one = tokenizer(prompt, return_tensors="pt").to(model.device)
        if name == "__base__":
            with model.disable_adapter():
                alone = model(**one).logits[0, -1]
        else:
            model.set_adapter(name)
            alone = model(**one).logits[0, -1]
        print(f"{name:9} largest difference {(together - alone).abs().max().item():.1e}")

# %% [markdown]
# Off by rounding at most: a product of more rows, or of padded ones, may add its terms up in another order. Each request
# went through W with all the others, and through A and B with its own kind. Now write it yourself.

# %% [markdown]
# ### Exercise 8.2 · one batch, several adapters
#
# *Medium, 10 minutes.* `x` has shape `(N, T, in_features)`: N requests in one batch. `adapters` is a dict from a name
# to `(A, B, scaling)`, where scaling is alpha / r, and `names` lists for each request which adapter it wants, or None
# for the plain layer `W` (peft writes `"__base__"`). Return the layer's output, `(N, T, out_features)`.


# %% exercise="8.2" points=3
def mixed_batch(x, W, adapters, names):
    """Each request of the batch through W and its own adapter: (N, T, in_features) -> (N, T, out_features)."""
    # BEGIN SOLUTION
    y = x @ W.T
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
            y[i] += scaling * (x[i] @ A.T @ B.T)
    return y
    # END SOLUTION


# %% [markdown]
# The check makes up batches where some requests want the same adapter, and some none.

# %% check="8.2"
from lorakit.checks.lesson08 import check_mixed_batch

check_mixed_batch(mixed_batch)

# %% [markdown]
# ## Adding adapters up
#
# Can one have both at once: a model that judges reviews *and* answers in that voice? A change is a matrix of W's
# shape, and matrices can be added, each with a weight (**task arithmetic**, Ilharco et al., 2023):
#
# $$W' = W + w_1 \Delta W_1 + w_2 \Delta W_2 \qquad \Delta W_i = \frac{\alpha_i}{r_i} B_i A_i$$

# %% [markdown]
# ### Exercise 8.3 · the weighted sum of adapters
#
# *Medium, 8 minutes.* `adapters` is a list of `(A, B, lora_alpha)`, all for one layer, and `weights` has a number for
# each. Their ranks may differ. Return the one matrix, `(out_features, in_features)`, that all of them together add to
# W, each multiplied by its weight.


# %% exercise="8.3" points=2
def combine(adapters, weights):
    """The weighted sum of the adapters' changes: (out_features, in_features)."""
    # BEGIN SOLUTION
    return sum(
        weight * lora_alpha / A.shape[0] * (B @ A) for (A, B, lora_alpha), weight in zip(adapters, weights, strict=True)
    )
    # END SOLUTION


# %% [markdown]
# The check makes up layers, with adapters of one rank and of several.

# %% check="8.3"
from lorakit.checks.lesson08 import check_combine

check_combine(combine)

# %% [markdown]
# Computed like this the sum is a whole matrix, and an adapter must be two thin ones. peft's `add_weighted_adapter` makes an
# adapter of it, in one of several ways. Here are three. `cat` puts the A's under each other and the B's side by side;
# `linear` adds A to A and B to B; `svd` takes the best matrix of the larger adapter's rank. **Predict:** which is the sum,
# and how far off are the others?

# %%
from peft.tuners.lora import LoraLayer

pair, ways = ["reviews", "mine"], ("cat", "svd", "linear")
for way in ways:
    model.add_weighted_adapter(pair, [1.0, 1.0], way, combination_type=way, svd_full_matrices=False)
layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
for way in ways:
    off, whole = 0.0, 0.0
    for layer in layers:
        wanted = sum(layer.get_delta_weight(name) for name in pair)
        off += (layer.get_delta_weight(way) - wanted).square().sum().item()
        whole += wanted.square().sum().item()
    print(f"{way:7} rank {model.peft_config[way].r:2}   off the sum by {(off / whole) ** 0.5:.1e} of its size")

# %% [markdown]
# - `cat` is the sum: multiply the stacked matrices out, and each B meets its own A only. It costs the sum of the
#   ranks.
# - `svd` takes the best matrix of rank 8 (lesson 06), so the rest is missing.
# - `linear` is no sum. (B₁ + B₂)(A₁ + A₂) has two products more, B₁A₂ and B₂A₁, which nobody trained. (With weights, each
#   side gets their square root.) peft's documentation calls it a very rough approximation. An average of adapters, A by
#   A and B by B, has the same fault.
#
# How rough depends on something that should not matter at all. Any change can be written with other A's and B's: turn A
# by a rotation R and B back by it, and B A is what it was. **Predict** what `linear` makes of that, in one layer.

# %%
A, B = ([side[name].weight.detach() for name in pair] for side in (layers[0].lora_A, layers[0].lora_B))
R = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))[0]
wanted = B[0] @ A[0] + B[1] @ A[1]
for name, A2, B2 in (("as trained", A[1], B[1]), ("turned", R @ A[1], B[1] @ R.T)):
    change, summed = B2 @ A2, (B[0] + B2) @ (A[0] + A2)
    moved, off = (change - B[1] @ A[1]).norm() / change.norm(), (summed - wanted).norm() / wanted.norm()
    print(f"{name:10} the change itself differs by {moved:.1e}, linear is off the sum by {off:.2f}")

# %% [markdown]
# The same two changes, and another result: what `linear` gives is not even a function of the changes that it combines.
#
# Is the right sum of the changes also the sum of what they can do? **Predict**, then read.

# %%
for way in ways:
    model.set_adapter(way)
    print(f"{way:7}", written(prompts))

# %% [markdown]
# The sum is right and the model is not, quite. With `cat` and `svd`, which are the sum or nearly, the review still gets its
# verdict first, and some questions their voice; but not all, and what follows a verdict has come apart. With `linear` all
# is mixed up, as its two extra products let one expect. The two adapters were trained apart, each to be alone beside W.
# Does less of both do better?

# %%
model.add_weighted_adapter(pair, [0.7, 0.7], "softer", combination_type="cat")
model.set_adapter("softer")
written(prompts)

# %% [markdown]
# At seven tenths of each, one answer is better and one is worse: a draw. The weights of a sum are to be found by trying, as
# alpha is. Nothing says that 1 and 1 is right, nor that any pair is.

# %% [markdown]
# ## An adapter with a dial
#
# The scaling alpha / r is a number like any other, and after training it can be multiplied by another, the dial: at 0 the
# base is left, at 1 the model is as trained, and between and beyond them lies all the rest. **Predict:** at which setting
# does the answer to "What is the capital of Italy?" change to the voice of your rows, and is it sudden? Move the dial, and
# type texts of your own.

# %%
from widgets import show_adapter_dial

model.set_adapter("mine")
show_adapter_dial(model, tokenizer, text=asked_anew[1])

# %% [markdown]
# The base would end its answer before it began. From 0.3 on the first token of "Aye" leads, and from 0.6 on it leaves
# little to all others: the logits move roughly evenly, and softmax makes nearly a switch of it. Beyond 1.5 it slowly falls
# again. What lies beyond 1 nobody has trained: it can be more of the same, or something else. The divergence in the
# results, in bits, says how far all probabilities together are from the base's: the KL divergence again (a nat is 1.44
# bits).

# %% [markdown]
# ## What the model has lost elsewhere
#
# What is trained for one thing may get worse at others: **forgetting**. To see it, ask for something that has nothing
# to do with either adapter. The archive of the reviews has sentences of newspaper editorials too. How well does each
# model predict plain text: −ln p of each next token, in nats, on 60 sentences? And, since it is the same sentences
# each time, how much more than the base, with an interval? **Predict** which adapter costs more, the one with 160
# reviews or the one with your eight rows. (About a minute.)

# %%
from lorakit.data import load_news
from peft.helpers import rescale_adapter_scale


@torch.no_grad()
def surprise(texts):
    """Mean of -ln p of the next token in each text, in nats: (texts,)."""
    ids = [tokenizer(text, return_tensors="pt").input_ids.to(model.device) for text in texts]
    return torch.tensor([model(each, labels=each).loss.item() for each in ids])


news = load_news()[:60]
with model.disable_adapter():
    by_base = surprise(news)
print(f"base      {by_base.mean():.3f} nats a token")

# %% [markdown]
# (That is much: single sentences of newspapers, with nothing before them, for a small model. It is a mean of the
# sentences' means, so each sentence counts alike, long or short.) Now with the adapters, and with one of them dialled
# up and down.

# %%
for name, dial in (("reviews", 1), ("mine", 0.5), ("mine", 1), ("mine", 2)):
    model.set_adapter(name)
    with rescale_adapter_scale(model, dial):
        more = surprise(news) - by_base
    half = 1.96 * more.std() / len(more) ** 0.5
    print(
        f"{name:8} x {dial:<3} {more.mean():+.3f} nats a token [{more.mean() - half:+.3f}, {more.mean() + half:+.3f}]"
    )

# %% [markdown]
# Both have lost something. The adapter that went over eight rows twenty times costs several times as much as the one that
# was trained on 160 different reviews, and dialled up it gets worse still. At half the dial it costs a small part of that.
# More rows, fewer passes or a smaller learning rate usually make a model forget less; only the dial was measured here, and
# the two adapters differ in more than one way. Plain text, measured before and after, tells how much. (That LoRA forgets
# less than full fine-tuning does was found on much larger runs by Biderman et al., 2024; it is not measured here.)
#
# One thing is never lost: the base. **Predict** what the seal says, after all this training, loading, adding and
# dialling.

# %%
now = base_fingerprint(model)  # all but A's and B's
f"sealed at the start {sealed}, now {now}: {'equal' if now == sealed else 'CHANGED'}"

# %% [markdown]
# Equal, to the last bit. Whatever an adapter has forgotten is forgotten only as long as it is switched on.

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
# - An adapter sits beside linear layers that you choose; it is r × (in + out) weights for each, and two small files.
#   They do not hold the base, so write down which one it was.
# - Merging makes one matrix of W and the change: no time lost, nothing to switch. In 32 bits it is exact up to
#   rounding; in 16 bits many of W's numbers do not move, and yet the outputs hardly noticed here: judge the merged model.
#   Only a kept copy of W brings W back.
# - One base serves many adapters, one a request, in one batch.
# - Changes add up, A's and B's do not. And a sum of changes is not always a sum of abilities: measure.
# - A dial on the scaling gives all that lies between the base and the adapter, and beyond.
# - Whatever was trained, measure elsewhere too. The frozen base is still there, bit for bit.
#
# Back: [lesson 07](07_lora_finetune.ipynb). Next: [lesson 09](09_quantization.ipynb) stores the base itself in 4 bits.
# Lesson 10 trains on it, and merges there.
