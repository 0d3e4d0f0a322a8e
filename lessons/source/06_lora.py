# %% [markdown]
# # 06 · LoRA from scratch
#
# **In this lesson you write LoRA in some twenty lines, know why each of them is there, and find them equal to those of
# peft, the library that most people use.** Before that you look at a real fine-tune without LoRA, to see what is true of
# the idea behind it.
#
# *About 50 minutes, of which the machine needs 2 to 3 on a laptop with two cores. Needs lesson 00, and a little
# torch. From lesson 02 it takes one thing: `q_proj` and `v_proj` are two of the matrices in each block's attention.
# Numbers in the text are the default model's: on another, trust the cells.*
#
# You will be able to
# - say what the rank of a matrix is, and see it in its singular values;
# - say what a fine-tune changes, and how much of that a thin product can hold;
# - write W' = W + (alpha / r) B A as a layer, and say why B starts at zero, and A does not;
# - say what alpha does, and why it is divided by r;
# - count adapters of any model, from its config.

# %% [markdown]
# ## What a fine-tune changes
#
# **Fine-tuning**, further training of a model that is there, moves each weight matrix from W to W + ΔW. The change ΔW has
# as many numbers as W itself. For a model of 8 billion weights that is 8 billion numbers to train, to keep an optimizer's
# state for (AdamW's is two more numbers for each: lesson 11), and to store for each task.
#
# **LoRA** (*low-rank adaptation*, Hu et al., 2021) leaves W as it is, *frozen*, and writes the change as a product of
# two thin matrices, ΔW = B A. That can only do if ΔW needs no more than such a product. Does it? Let us first see
# what it means, and then look at a real ΔW.

# %% [markdown]
# ## Rank
#
# A matrix of **rank** 1 is an outer product: a column times a row. All its rows are multiples of one row. A sum of r
# of these has rank r at most, and it is the same as B A, where B has r columns and A has r rows. **Predict:** how many
# numbers describe a 576 × 576 matrix of rank 8, and how many any 576 × 576 matrix?

# %%
from lorakit.models import load_model
import torch

B, A = torch.randn(576, 8), torch.randn(8, 576)
f"rank {torch.linalg.matrix_rank(B @ A).item()}: {B.numel() + A.numel():,} numbers for a matrix of {(B @ A).numel():,}"

# %% [markdown]
# A thirty-sixth. What of a matrix that is not of low rank, but nearly? The **singular value decomposition** says how
# nearly. It writes any matrix as a sum of outer products of unit vectors, each with a factor, its **singular value**,
# from the largest down. Cut that sum after r terms, and you have the nearest matrix of rank r there is, by the sum of
# squared differences (Eckart & Young, 1936). The squares of the singular values add up to the sum of all squared numbers
# of the matrix. So we say that the first r of them *hold* their share of this sum.

# %% [markdown]
# ### Exercise 6.1 · the best matrix of rank r
#
# *Medium, 8 minutes.* Given a matrix `W` and a whole number `r`, return the matrix of the same shape and of rank `r` that
# is nearest to `W`: keep the `r` largest singular values of `torch.linalg.svd(W, full_matrices=False)` with their vectors,
# and put `W` together from these alone. For example, `torch.diag(torch.tensor([1.0, 3.0, 2.0]))` at rank 2 keeps its 3 and
# its 2 on the diagonal, and its 1 becomes 0.


# %% exercise="6.1" points=2
def best_rank_r(W, r):
    """The matrix of rank r that is nearest to W: (m, n) -> (m, n)."""
    # BEGIN SOLUTION
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)  # (m, k), (k,), (k, n): S from the largest down
    return U[:, :r] * S[:r] @ Vh[:r]
    # END SOLUTION


# %% [markdown]
# The check makes up matrices, wide ones and tall ones.

# %% check="6.1"
from lorakit.checks.lesson06 import check_best_rank_r

check_best_rank_r(best_rank_r)

# %% [markdown]
# Now real weights: `q_proj` and `v_proj` in the middle of the model, each beside a matrix of the same shape filled with
# random numbers. **Predict:** what share do the first 8 of their 576 and 192 singular values hold?


# %%
def held(matrix, r):
    """Share of a matrix that its best approximation of rank r holds."""
    squares = torch.linalg.svdvals(matrix.float()) ** 2
    return (squares[:r].sum() / squares.sum()).item()


model, tokenizer = load_model()
middle = model.model.layers[len(model.model.layers) // 2].self_attn
for name in ("q_proj", "v_proj"):
    W = getattr(middle, name).weight.detach()
    for kind, matrix in {name: W, "random": torch.randn_like(W)}.items():
        print(f"{kind:7} {tuple(W.shape)}", {r: f"{held(matrix, r):.1%}" for r in (1, 8, 64)})

# %% [markdown]
# This `v_proj` is as full as random numbers are. `q_proj` is less so: 8 directions hold three times what they do by chance,
# but still only a sixth. Nobody could replace either by something of rank 8. LoRA does not say that W has a low rank. It
# says that the *change* has.
#
# ## The change of a real fine-tune
#
# To see it, one must fine-tune *without* LoRA: a product B A has a low rank because it was built so, and would prove
# nothing. So train some of the matrices themselves, `q_proj` and `v_proj` in the last third of the blocks (which is enough
# to learn something, and takes less time than all of them), on film reviews, as lesson 07 does with LoRA. First a copy,
# and a loop of 20 steps (about 20 seconds).

# %%
from lorakit.data import collate, encode, split_reviews, step_rows
from lorakit.finetune import completion_loss, evaluate

train, held_out = split_reviews()
model.requires_grad_(False)
trained = {}
for i, layer in list(enumerate(model.model.layers))[-10:]:
    for name in ("q_proj", "v_proj"):
        trained[f"{i}.{name}"] = getattr(layer.self_attn, name).weight.requires_grad_(True)
before = {name: W.detach().clone() for name, W in trained.items()}


def put(changes):
    """Set the trained matrices to what they were, and these changes."""
    with torch.no_grad():
        for name, W in trained.items():
            W.copy_(before[name] + changes[name])


def cut(matrix, r):
    """The best approximation of rank r."""
    U, S, Vh = torch.linalg.svd(matrix, full_matrices=False)
    return (U[:, :r] * S[:r]) @ Vh[:r]


# %% [markdown]
# `encode` makes token ids of the reviews, `step_rows` gives the rows of each step, `collate` makes a batch of them,
# `completion_loss` adds up −ln p of the right verdicts (its unit is the **nat**). These are lesson 07's. AdamW is an
# optimizer that divides each gradient by its usual size, so that its steps have a size of their own, the learning rate.


# %%
def fit(weights, steps, learning_rate, reviews=train):
    """Train these weights on 8 reviews a step; returns the loss of each step, in nats a verdict."""
    optimizer = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.0)
    losses = []
    for rows in step_rows(encode(reviews, tokenizer), 8, steps, seed=0):
        losses.append(0.0)
        optimizer.zero_grad()
        for two in zip(rows[::2], rows[1::2], strict=True):  # two at once, to save memory
            loss = completion_loss(model, collate(two, tokenizer.pad_token_id)) / len(rows)
            loss.backward()
            losses[-1] += loss.item()
        optimizer.step()
    return losses


losses = fit(list(trained.values()), steps=20, learning_rate=3e-4)
f"loss from {losses[0]:.2f} to {sum(losses[-5:]) / 5:.2f} (mean of the last five steps)"

# %% [markdown]
# It has learned. Now the change of each matrix, ΔW. **Predict** what share of it the first 8 singular values hold,
# where random numbers gave a twentieth and a tenth.

# %%
change = {name: (trained[name].detach() - W) for name, W in before.items()}
for name in list(change)[-4:]:
    print(f"{name:10} rank 1 holds {held(change[name], 1):.1%}, rank 8 {held(change[name], 8):.1%}")
mean_held = sum(held(each, 8) for each in change.values()) / len(change)
f"all {len(change)} matrices: rank 8 holds {mean_held:.1%} on average"

# %% [markdown]
# About 94 % of the change is in 8 directions, of 576 or 192. (Of the squares, that is: the 6 % that are left have a quarter
# of ΔW's length, √0.06.) No B A forced it there. But is it because the *task* is so simple? A control: the same steps with
# the verdicts shuffled among the reviews, so that there is nothing to learn but the form of an answer. **Predict** what
# rank 8 holds of *that* change. (About 20 seconds.)

# %%
from random import Random

verdicts = [row["completion"] for row in train]
Random(0).shuffle(verdicts)
shuffled = [row | {"completion": verdict} for row, verdict in zip(train, verdicts, strict=True)]
put({name: torch.zeros_like(W) for name, W in before.items()})  # the model as it was
losses = fit(list(trained.values()), steps=20, learning_rate=3e-4, reviews=shuffled)
control = [held(trained[name].detach() - W, 8) for name, W in before.items()]
f"loss to {sum(losses[-5:]) / 5:.2f}; rank 8 holds {sum(control) / len(control):.1%} on average"

# %% [markdown]
# Nearly the same. The loss stays at a coin's between two words (ln 2 = 0.69) or above, so it learned no more than that one
# of two words is wanted; and this change too is of low rank. So a low rank came out with true verdicts and without, perhaps
# because twenty steps on prompts that are all alike do not fill many directions: it says little about what was learned.
# What counts is another question. Is the rest *needed*? Take the real change, cut it down to rank r, put it back, and judge
# 100 held-out sentences each time. **Predict:** from which rank on is it as good as the whole? (About a minute. The first
# line, rank 0, is the model before training.)

# %%
for r in (0, 1, 2, 4, 8, max(min(each.shape) for each in change.values())):
    put({name: cut(each, r) for name, each in change.items()})
    print(f"rank {r:3}: {evaluate(model, tokenizer, held_out[:100])}")

# %% [markdown]
# Rank 8 and the whole agree, in loss and accuracy, and a lower rank comes near. Rank 1 has most of the loss's fall, which
# is the form of the answer. The intervals of accuracy all overlap: 100 sentences are too few to rank these by it. That a
# low rank is *enough* is what LoRA rests on (Aghajanyan et al., 2021, had found a kin of it: a fine-tune needs few free
# parameters). It holds for *this* task, which is small: two words are to be told apart, in 20 steps. A task that asks for
# more, or a longer run, may need a higher rank, so measure.

# %% [markdown]
# ## The layer
#
# $$W' = W + \frac{\alpha}{r} B A \qquad A: r \times d_{in}, \quad B: d_{out} \times r$$
#
# W is frozen; only A and B are trained. Together these two are an **adapter**, and what they stand beside, a layer or the
# whole frozen model, is its **base**. `r` is the rank; `alpha` is a gain, of which more below. Drawn to scale:

# %%
from widgets import show_lora

show_lora(in_features=576, out_features=576, r=8)

# %% [markdown]
# ### Exercise 6.2 · scale by alpha / r
#
# *Medium, 8 minutes.* `x` has shape `(..., in_features)`. `W` is `(out_features, in_features)`, as a linear layer
# keeps it; `A` is `(r, in_features)`, `B` is `(out_features, r)`. Return what the layer makes of `x` with LoRA: W's
# own output, and what A and then B make of `x`, multiplied by `lora_alpha / r`. Take r from the shapes, and never
# make the large product of B and A (which gives the same, and takes a matrix of W's size).


# %% exercise="6.2" points=3
def lora_forward(x, W, A, B, lora_alpha):
    """x W^T + (lora_alpha / r) x A^T B^T: (..., in_features) -> (..., out_features)."""
    # BEGIN SOLUTION
    r = A.shape[0]
    return x @ W.T + lora_alpha / r * (x @ A.T @ B.T)
    # END SOLUTION


# %% [markdown]
# The check makes up layers, square ones too, and ranks and alphas.

# %% check="6.2"
from lorakit.checks.lesson06 import check_lora_forward

check_lora_forward(lora_forward)

# %% [markdown]
# ### How A and B start
#
# A fine-tune should begin as the model that you have, so B A must be zero at first. Three ways lead there: B = 0, or
# A = 0, or both. **Predict** for each, from the formula, which of A and B gets a gradient at the first step: the
# gradient of A is multiplied by B, and the gradient of B by A.

# %%
x, W = torch.randn(4, 16), torch.randn(16, 16)
for name, a, b in (("B = 0", 1.0, 0.0), ("A = 0", 0.0, 1.0), ("both 0", 0.0, 0.0)):
    A, B = (a * torch.randn(2, 16)).requires_grad_(), (b * torch.randn(16, 2)).requires_grad_()
    (x @ W.T + 2 * (x @ A.T @ B.T)).pow(2).sum().backward()
    print(f"{name:7} gradient of A {A.grad.norm().item():8.1f}, of B {B.grad.norm().item():8.1f}")

# %% [markdown]
# Where both are zero, nothing can ever move: each waits for the other. With one of them zero, that one moves first,
# and the other follows from the second step on. So why B? By the formula, A = 0 would do as well. LoRA's authors
# chose B = 0, and so does *peft*, Hugging Face's library of adapters; later work found that it allows larger learning
# rates (Hayou et al., 2024).

# %% [markdown]
# ### Exercise 6.3 · start so that nothing changes
#
# *Easy, 5 minutes.* Return a fresh `A`, of shape `(r, in_features)`, and a fresh `B`, of shape `(out_features, r)`,
# as LoRA starts: A with random numbers between -1 / √in_features and 1 / √in_features, another one at each call, and
# B with zeros.


# %% exercise="6.3" points=1
def initial_a_and_b(r, in_features, out_features):
    """A (r, in_features), random, and B (out_features, r), zero."""
    # BEGIN SOLUTION
    bound = in_features**-0.5
    return torch.empty(r, in_features).uniform_(-bound, bound), torch.zeros(out_features, r)
    # END SOLUTION


# %% [markdown]
# The check calls it with several sizes, each twice.

# %% check="6.3"
from lorakit.checks.lesson06 import check_initial_a_and_b

check_initial_a_and_b(initial_a_and_b)

# %% [markdown]
# ### All of it
#
# Put together as a layer that wraps another. It asks of its base only `in_features` and `out_features`, so the base
# may be anything: an `nn.Linear`, or in lesson 10 a quantised layer. That is all that QLoRA changes in this layer.

# %%
from torch import nn


class LoRALinear(nn.Module):
    """base_layer(x) + alpha / r * dropout(x) A^T B^T."""

    def __init__(self, base_layer, r, lora_alpha, lora_dropout=0.0):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = lora_alpha / r
        self.lora_dropout = nn.Dropout(lora_dropout)
        self.lora_A = nn.Parameter(torch.empty(r, base_layer.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base_layer.out_features, r))
        nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)  # between -1 / √in_features and 1 / √in_features

    def forward(self, x):
        change = self.lora_dropout(x) @ self.lora_A.T @ self.lora_B.T
        return self.base_layer(x) + self.scaling * change


# %% [markdown]
# (`lora_dropout` sets a random share of x's numbers to zero in training, against learning rows by heart; here it is 0.)
# `lorakit.lora.LoRALinear` is this, and takes care of 16-bit bases, of devices, and of merging (lesson 08). Are they the
# same? One base, the same A and B in both, and B not at zero, or there would be nothing to compare:

# %%
import lorakit.lora

base, x = nn.Linear(16, 12), torch.randn(4, 16)
here, course = LoRALinear(base, r=2, lora_alpha=4), lorakit.lora.LoRALinear(base, r=2, lora_alpha=4)
with torch.no_grad():
    here.lora_B.normal_()
    course.lora_A.copy_(here.lora_A), course.lora_B.copy_(here.lora_B)
f"largest difference {(here(x) - course(x)).abs().max().item():.1e}, where LoRA moved {(here(x) - base(x)).abs().max():.1f}"

# %% [markdown]
# From here on we use the course's. One thing a layer
# cannot do: it freezes the matrix inside it, but most of a model is outside of any layer with LoRA. Embeddings, norms
# and the layers that you left alone have to be frozen as well. Forget it, and you train the whole model: nothing
# fails, and the adapter that you save is worth little without the rest that moved.

# %% [markdown]
# ### Exercise 6.4 · train the adapters, and nothing else
#
# *Easy, 6 minutes.* `model` has LoRA on some of its layers. Its A's and B's are parameters whose names have
# `lora_A` or `lora_B` in them. Some parameters are frozen when you get it and some are not, as somebody left them. Set
# every parameter's `requires_grad`, so that A's and B's are trained and nothing else, and return how many weights are
# trained then.


# %% exercise="6.4" points=2
def train_only_adapters(model):
    """Freeze all but A and B, in place; returns how many weights are trained."""
    # BEGIN SOLUTION
    trained = 0
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
        if weight.requires_grad:
            trained += weight.numel()
    return trained
    # END SOLUTION


# %% [markdown]
# The check makes small models, with and without a tied head.

# %% check="6.4"
from lorakit.checks.lesson06 import check_train_only_adapters

check_train_only_adapters(train_only_adapters)

# %% [markdown]
# `apply_lora` does both: it freezes a model and wraps the layers that you name. A takes r × in weights and B out × r; there
# are 30 blocks, in each a `q_proj` from 576 to 576 and a `v_proj` from 576 to 192. Before any training: how many weights
# are to be trained, and does the model still say what it said? **Predict** both.

# %%
from lorakit.lora import apply_lora

ids = tokenizer("The capital of France is", return_tensors="pt").input_ids.to(model.device)
put({name: torch.zeros_like(each) for name, each in change.items()})  # the model as it was
with torch.no_grad():
    logits = model(ids).logits
torch.manual_seed(0)
apply_lora(model, r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"])
n_trained = sum(w.numel() for w in model.parameters() if w.requires_grad)
with torch.no_grad():
    moved = (model(ids).logits - logits).abs().max().item()
f"{n_trained:,} weights to train; largest difference in any logit: {moved}"

# %% [markdown]
# 30 × 8 × (1,152 + 768) weights, and not one logit has moved.

# %% [markdown]
# ## Equal to peft's
#
# The same prompt, once through our layers and once through peft's, forward and backward. (With `labels=ids` transformers
# also returns a loss: the mean of −ln p over the tokens of the prompt, each as the next one.) To have something to compare,
# B must not be zero, so A and B are filled with random numbers first. **Predict** the largest difference of logits and of
# gradients.

# %%
from lorakit.lora import lora_layers, lora_state_dict

with torch.no_grad():
    for weight in lora_state_dict(model).values():
        weight.normal_(std=0.02)
output = model(ids, labels=ids)
output.loss.backward()
ours = lora_state_dict(model)  # A and B, under the names that peft saves them with
gradients = {
    f"base_model.model.{name}.lora_{part}.default.weight": getattr(layer, f"lora_{part}").grad
    for name, layer in lora_layers(model)
    for part in "AB"
}

# %% [markdown]
# Now peft, on a fresh base, with our A and B put into it. (The old model goes first: two would be too many for a
# small machine. So to run a cell above again, start the kernel anew.)

# %%
from lorakit.housekeeping import release_memory
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

del model, middle, layer
for weights in (trained, before, change):
    weights.clear()
release_memory()
peft_model = get_peft_model(load_model()[0], LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]))
set_peft_model_state_dict(peft_model, ours)
theirs = peft_model(ids, labels=ids)
theirs.loss.backward()
weights = dict(peft_model.named_parameters())
apart = max((gradient - weights[name].grad).abs().max().item() for name, gradient in gradients.items())
f"logits differ by {(output.logits - theirs.logits).abs().max().item():.1e}, {len(gradients)} gradients by {apart:.1e}"

# %% [markdown]
# Exactly zero, where both do the same operations in the same order; on another machine expect the last digits of float32.

# %% [markdown]
# ## It learns
#
# Twelve steps with our own layers on a fresh base, with the loop from above (about 25 seconds). The loss starts near
# 6, as before. **Predict** where it will be.

# %%
del peft_model, weights, theirs, output, ours, gradients
release_memory()
model = apply_lora(load_model()[0], r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"])
losses = fit([w for w in model.parameters() if w.requires_grad], steps=12, learning_rate=2e-3)
[round(loss, 2) for loss in losses]

# %% [markdown]
# In a dozen steps the model has found out that one of two words is wanted: a coin between the two would have ln 2 = 0.69.
# To learn better which of the two takes longer: lesson 07 trains on, and judges it.

# %% [markdown]
# ## Alpha, and alpha / r
#
# The change is scaled by `alpha / r`. **Alpha** alone is a gain: twice the alpha, and B and A count twice. Since the
# optimizer's steps have a size of their own, this acts much like a larger learning rate on the change. Why divide by
# r? A sum of more products is larger; divided by r, a setting that was good at one rank is not far off at another (whether
# r or √r is the right divisor is disputed: rsLoRA, below),
# *if alpha stays*. (Many keep alpha = 2 r instead: then alpha / r stays.) Move r and alpha, and see what costs
# weights and what does not.

# %%
from transformers import AutoConfig
from lorakit.models import find_model
from widgets import show_adapter_size

show_adapter_size(AutoConfig.from_pretrained(find_model()))

# %% [markdown]
# What do they do to a fine-tune? That takes longer than a lesson may: these runs are recorded, with the command that
# made them. All have lesson 07's rows, order and 40 steps; each is judged on the same 1,000 held-out sentences.
# A bracket is a 95 % interval, here of the difference to r = 8, alpha = 16. **Predict:** does rank 64 beat rank 1?

# %%
from lorakit.records import load_record

record = load_record("lora_settings")
runs = record["runs"]
print(record["machine"]["summary"], record["date"], record["command"], sep="\n")


def line(name):
    """One run of the record in words: its weights, accuracy, and the difference to r 8, alpha 16."""
    run, by = runs[name], runs[name]["minus_first"]
    points = f"{100 * by['difference']:+.1f} points [{100 * by['low']:+.1f}, {100 * by['high']:+.1f}]"
    return f"{name:32} {run['trained']:>11,} weights   accuracy {run['after']['accuracy']:.3f}   {points}"


ranks = [f"r {r}, alpha {2 * r}" for r in (1, 4, 8, 16, 64)]
print(*map(line, [*ranks, "r 8, alpha 4", "r 8, alpha 64", "r 64, alpha 16"]), sep="\n")

# %% [markdown]
# From 57,600 weights to 3.7 million, all lie between 0.847 and 0.888, and they do not rise with rank: rank 1 is level
# with rank 16, and rank 4 comes out worst. Rank 64 has 1.8 points more than rank 1.
#
# And the −3.0 of rank 4, whose bracket leaves zero out? The brackets know of the chance in *which sentences* were judged.
# They know nothing of the chance in training: A is drawn at random, and so is the order of the reviews, so another **seed**
# learns differently. Lesson 10 has a record of LoRA, of QLoRA and of full fine-tuning (no adapter, every weight trained),
# one setting of each, with three seeds. **Predict:** how many points lie between the best and the worst seed?

# %%
repeated = load_record("lora_vs_qlora")["runs"]
for method in ("lora", "qlora", "full"):
    seeds = [100 * run["after"]["accuracy"] for run in repeated if run["method"] == method]
    each = ", ".join(f"{accuracy:.1f}" for accuracy in seeds)
    print(f"{method:5} accuracy {each} %: {max(seeds) - min(seeds):.1f} points apart")

# %% [markdown]
# So with one seed, as in the table of ranks, two or three points between two settings may be luck: these runs cannot say
# whether rank 64 beats rank 1. A result to remember whenever somebody compares ranks with one run each.
#
# And the losses on the way:

# %%
from widgets import loss_figure


def smooth(losses, n=8):
    """The mean of each loss and the n - 1 before it: single steps jump."""
    return [sum(losses[max(0, i - n + 1) : i + 1]) / len(losses[max(0, i - n + 1) : i + 1]) for i in range(len(losses))]


shown = ("r 8, alpha 16", "r 8, alpha 64", "r 8, alpha 16, lr 5e-4", "r 1, alpha 2")
loss_figure({name: smooth(runs[name]["losses"]) for name in shown}).show()

# %% [markdown]
# (Each point is the mean of the last eight steps, or of as many as there are.) Here alpha and the learning rate do
# show. Four times the alpha falls fastest at the start, and then swings (and in the table it is the worst of the alphas at
# rank 8); a quarter of the learning rate and rank 1, which has one product to add up where the others have eight, start
# slowest. Alpha and learning rate act alike, as a gain and a step size do. After some 25 steps all are level, and what is
# left is mostly which reviews come next: all runs see the same ones.

# %% [markdown]
# ## What others have changed
#
# | name | what is different |
# |---|---|
# | **rsLoRA** (Kalajdzievski, 2023) | alpha / √r in place of alpha / r, so that high ranks are not held back |
# | **DoRA** (Liu et al., 2024) | directions of W' are trained by A and B, their lengths by a vector of their own |
# | **PiSSA** (Meng et al., 2024) | A and B start from W's own largest singular vectors, and W keeps the rest |
# | **full fine-tuning** | no adapter: every weight is trained |
#
# Each of the first three is an argument of peft's `LoraConfig`. The same rows, order and steps:

# %%
others = [name for name in runs if "rsLoRA" in name or "DoRA" in name or "PiSSA" in name or "full" in name]
print(*map(line, ["r 8, alpha 16", "r 64, alpha 16", "r 64, alpha 128", "r 8, alpha 16, all linear layers"]), sep="\n")
print(*map(line, others), sep="\n")
peaks = {name: f"{runs[name]['peak_memory_bytes'] / 2**30:.1f} GiB" for name in ("r 8, alpha 16", "full, lr 1e-4")}
f"peak of the process: {peaks}"

# %% [markdown]
# One seed each, so the same caution holds. What one can read:
#
# - **Full fine-tuning** of all 134.5 million weights is level with LoRA's 460,800: its brackets at 2e-5 and 1e-4 have
#   zero in them. At 5e-4 it falls behind; it wants smaller steps than an adapter does, which has 2e-3 here. Its peak was
#   3.3 GiB, LoRA's 1.5 (on a CPU, all of the process; lesson 10's machine, which computes in bf16 and keeps compiled
#   programs, has 4.0 and 2.4). That LoRA loses nothing against it is true here, on a small task, as far as 1,000 sentences
#   and one seed can tell. Lesson 10 has three seeds of both, and cannot tell them apart either.
# - **rsLoRA** at r = 64 and alpha 16 scales by 16 / √64 = 2, which is alpha / r of alpha 128. The two runs agree in
#   every number: it is another rule for alpha, and nothing else.
# - **DoRA** is a point above, and its bracket leaves zero out, which with one seed is not enough; **PiSSA** is five below.
#   Both have the learning rate that was chosen for LoRA. PiSSA starts
#   from W's largest directions, where a step of the same size does much more; a fair comparison would give each its
#   own learning rate, and several seeds.
# - **All linear layers** have five times the weights, and gain nothing on this task.

# %% [markdown]
# ## How many weights is that?
#
# For a layer, r × (in + out). "A few million" is what is often said of LoRA. **Predict** for which of three models, this
# one and two Llamas of 1 and 8 billion weights, that is so: at r = 8 on q and v, and at r = 64 on all linear layers.

# %%
from transformers import LlamaConfig
from lorakit.lora import count_lora_parameters

llama = {"vocab_size": 128_256, "num_key_value_heads": 8}
llama_1b = LlamaConfig(
    hidden_size=2_048, intermediate_size=8_192, num_hidden_layers=16, num_attention_heads=32, **llama
)
llama_8b = LlamaConfig(
    hidden_size=4_096, intermediate_size=14_336, num_hidden_layers=32, num_attention_heads=32, **llama
)
everywhere = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
for name, config in {"this model": model.config, "Llama 1B": llama_1b, "Llama 8B": llama_8b}.items():
    small, large = count_lora_parameters(config, 8, ["q_proj", "v_proj"]), count_lora_parameters(config, 64, everywhere)
    print(f"{name:11} r = 8 on q and v {small:>10,}   r = 64 on all linear layers {large:>12,}")

# %% [markdown]
# At r = 8 on q and v a model of 8 billion gets 3.4 million: "a few million" is right there. At r = 64 on all linear
# layers it is fifty times as much. Rank and targets decide, and whoever quotes a number should quote both.

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
# - The change that a short fine-tune makes is nearly of low rank, though W is not: 8 directions held 94 % of it here, and as much
#   with the verdicts shuffled. What counts is that they were enough to do the task.
# - W' = W + (alpha / r) B A, with W frozen: `lorakit.lora.LoRALinear`, with peft's outputs and gradients. B =
#   0, so nothing changes at first; A is not, so something can.
# - Alpha is a gain. Rank costs weights, alpha does not.
# - r × (in + out) weights a layer.
#
# Back: [lesson 05](05_weights.ipynb). Next: [lesson 07](07_lora_finetune.ipynb) fine-tunes for real. Lesson 08 does more
# with what comes out of it.
