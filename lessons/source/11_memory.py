# %% [markdown]
# # 11 · Every byte of a training step
#
# **In this lesson you predict the memory of a training step, byte by byte, from nothing but a model's config.** You find
# the moment of its peak, and hold the prediction against a real step on this machine and against a GPU's record. Then you
# know what is true of "60, 22 and 10 GB for 7B", when QLoRA takes *more* than LoRA, and which card a plan needs.
#
# *About 100 minutes, of which the machine needs 1 on a laptop with two cores. Needs lessons 05 (which weights there
# are), 06 (adapters), 09 and 10 (what 4 bits take), and no GPU. No model is loaded: bytes depend on shapes, not on what
# the weights are.*
#
# You will be able to
# - count what lives throughout a step: weights, scales, adapters, gradients, an optimizer's states;
# - say what an operation keeps for its way back, and add it up for a block, token by token;
# - say what the logits cost, and at which moment of the step the peak is;
# - say what checkpointing, a batch, 8-bit states, rank and alpha change, and what they do not;
# - take a claim such as "QLoRA trains 7B in 10 GB" apart into the conditions under which it holds;
# - choose a card, and know what `nvidia-smi` shows beyond your own count.

# %% [markdown]
# ## Two units
#
# A **GB** is 10⁹ bytes, a **GiB** 2³⁰. They are 7 % apart, enough to decide whether a run fits. Tools mix them: the "24 GB"
# on a card's box are 24 GiB or a little less, and `nvidia-smi` and torch count in MiB and GiB. In this lesson a number says
# which it is. **Predict** first, here and below; then run.

# %%
import os
import warnings

os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # torch's profiler comes later: it is to keep its notes to itself
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated")  # peft still calls it so
from lorakit.models import BLOCK_SIZE, empty_model, linear_shapes
import torch

GB, GiB, MiB = 10**9, 2**30, 2**20
f"22 GB are {22 * GB / GiB:.1f} GiB, and 24 GiB are {24 * GiB / GB:.1f} GB"

# %% [markdown]
# ## Weights
#
# We take the model of the usual table, Llama-2-7B. `preset` gives its config, a few whole numbers that its makers have
# published; as in lesson 05 they are enough to count its weights. A **plan**, `TrainingPlan`, is all else that decides
# the bytes of a step: method, rank, targets, optimizer, and how many rows of how many tokens go through at once (a row
# is one text). Its defaults are: rank 8 on q and v, AdamW, 4 rows of 512 tokens, no checkpointing, no dropout in the
# adapters. All rows are equally long: there is no padding, and so no mask. QLoRA treats two kinds of weights
# differently: the linear layers of the blocks become codes, and all else does not (lesson 10).

# %%
from lorakit.memory import TrainingPlan, estimate_memory, preset

config = preset("Llama-2-7B")
D, F = config.hidden_size, config.intermediate_size
L, V = config.num_hidden_layers, config.vocab_size


def split(config):
    """How many weights are in the blocks' linear layers, and how many elsewhere."""
    model = empty_model(config)  # shapes alone
    linear = sum(inputs * outputs for inputs, outputs in linear_shapes(model).values())
    return linear, model.num_parameters() - linear


linear, other = split(config)
f"{linear:,} in linear layers, {other:,} elsewhere: {(linear + other) / 1e9:.2f} billion"

# %% [markdown]
# A float32 has 4 bytes, and fp16 and bf16 have 2. **Predict** what the model fills in each.

# %%
for name, width in {"float32": 4, "fp16 or bf16": 2}.items():
    print(f"{name}: {(linear + other) * width / GiB:.2f} GiB, or {(linear + other) * width / GB:.2f} GB")

# %% [markdown]
# Now 4 bits. A code is half a byte; 64 codes share a float32 scale, or with double quantisation one byte, and 256 of
# those share a float32. And the others? `prepare_model_for_kbit_training` lifts embeddings, head and norms to
# **float32**, 4 bytes each. **Predict:** is it a quarter of 12.55 GiB?

# %%
from lorakit.quantization import SCALES_PER_BLOCK


def constants_bytes(weights, double_quant=True):
    """Bytes of the scales of so many weights in blocks of 64."""
    scales = weights / BLOCK_SIZE
    return scales + 4 * scales / SCALES_PER_BLOCK if double_quant else 4 * scales


codes, constants = linear / 2, constants_bytes(linear)
total = codes + constants + 4 * other
print(f"codes {codes / GiB:.2f} + scales {constants / GiB:.2f} + others {4 * other / GiB:.2f} = {total / GiB:.2f} GiB")
f"bf16 is {2 * (linear + other) / total:.2f} times that"

# %% [markdown]
# Not a quarter, but a third. "Three to four times less", as is often said, is true of the codes; what was lifted to
# float32 takes twice what it took before. How much that matters depends on the vocabulary. **Predict** which of these
# models gains least.

# %%
for name in ("SmolLM2-135M", "Llama-3.2-1B", "gemma-2-2b", "Llama-2-7B", "Llama-3-8B", "Llama-3-70B"):
    linear_, other_ = split(preset(name))
    in_16, in_4 = 2 * (linear_ + other_), linear_ / 2 + constants_bytes(linear_) + 4 * other_
    print(f"{name:13} {in_16 / GiB:7.2f} GiB in bf16, {in_4 / GiB:6.2f} for QLoRA: {in_16 / in_4:.2f} times less")

# %% [markdown]
# What a small model fills in 4 bits is mostly vocabulary; so it is with the 256,000 tokens of gemma-2-2b. Are these numbers
# real? Make the model of this course, prepared for QLoRA just as the libraries do it, on this machine (with random weights:
# bytes do not look at them), and count the tensors that are there. `estimate_memory` is the course's own count, of which
# much more below.

# %%
from lorakit.memory.step import build_model

small = preset("SmolLM2-135M")
model = build_model(small, TrainingPlan("qlora"), "cpu")
weights = list(model.parameters())
scales = [w.quant_state for w in weights if w.dtype == torch.uint8]
found = {"codes": sum(w.nbytes for w in weights if w.dtype == torch.uint8)}
found["scales"] = sum(each.absmax.nbytes + each.state2.absmax.nbytes for each in scales)
found["others"] = sum(w.nbytes for w in weights if w.dtype == torch.float32 and not w.requires_grad)
found["adapters"] = sum(w.nbytes for w in weights if w.requires_grad)
peak = estimate_memory(small, TrainingPlan("qlora")).peak
counted = (peak.base_weights, peak.quantization_constants, peak.other_weights, peak.adapters)
for (name, size), estimate in zip(found.items(), counted, strict=True):
    print(f"{name:8} {size / MiB:7.3f} MiB found, {estimate / MiB:7.3f} estimated")

# %% [markdown]
# Codes and adapters are found as they were counted. The estimate's scales are larger, and its others by a little, since it
# counts look-up tables too, and rounds each tensor up to 512 bytes, as the allocator of a GPU does. (A tensor of 10 MiB or
# more may take up to 1 MiB besides: the allocator hands these out in steps of 2 MiB, and splits off only what is worth it.)

# %% [markdown]
# ### Exercise 11.1 · what the model fills
#
# *Easy, 6 minutes.* `linear` weights are in the blocks' linear layers, `other` ones elsewhere, and `adapter` ones in
# adapters, which are in float32. With `method="lora"` the base is in bf16. With `"qlora"` its linear layers are 4-bit
# codes, with a scale for each 64 weights: a float32, or with `double_quant` one byte, 256 of which share a float32; what
# else the base has is in float32 then. Return how many **GiB** base and adapters fill. (Every block is full. Leave the
# look-up tables out. Stuck? `from lorakit.checks import hint, solution`, then `hint("11.1")`.)


# %% exercise="11.1" points=2
def model_gib(linear, other, adapter, method, double_quant):
    """GiB of a base and its adapters."""
    # BEGIN SOLUTION
    if method == "lora":
        base = 2 * (linear + other)
    else:
        scale = 1 + 4 / 256 if double_quant else 4
        base = linear / 2 + linear / 64 * scale + 4 * other
    return (base + 4 * adapter) / 2**30
    # END SOLUTION


# %% [markdown]
# The check makes up models of many sizes.

# %% check="11.1"
from lorakit.checks.lesson11 import check_model_gib

check_model_gib(model_gib)

# %% [markdown]
# ## What is trained
#
# A weight that is trained has company:
#
# - its **gradient**, in its own dtype, from the backward pass to the next `zero_grad`;
# - the **optimizer states**. AdamW keeps two running means for each weight, of the gradient and of its square, in the
#   weight's own dtype.
#
# In float32 that makes 4 + 4 + 4 + 4 = **16 bytes** for each trained weight, before any activation. A frozen weight has
# none of it. **Predict** both lines, for Llama-2-7B and for rank 8 on q and v of it.

# %%
adapter = L * 2 * 8 * (D + D)  # A is (8, D) and B is (D, 8), on q and on v of each block
for name, trained in {"all weights": linear + other, "LoRA's": adapter}.items():
    print(f"{name}: {trained:,} at 16 bytes are {16 * trained / GB:.3f} GB")

# %% [markdown]
# The one is more than a card of 80 GB has; the other is next to nothing. This is what LoRA saves: not the weights, but
# their company. See it on a real one: two blocks of our small model, all weights trained in float32, one step.

# %%
import copy

from lorakit.memory.step import batch_of, build_optimizer

cut = copy.deepcopy(small)
cut.num_hidden_layers = 2
plan = TrainingPlan("full", dtype="fp32", micro_batch_size=1, seq_len=64)
model = build_model(cut, plan, "cpu")
optimizer = build_optimizer(model, plan)
model(**batch_of(cut, plan, "cpu")).loss.backward()
optimizer.step()
count = model.num_parameters()
gradients = sum(w.grad.nbytes for w in model.parameters())
states = sum(each.nbytes for state in optimizer.state.values() for each in state.values() if each.dim())
f"{count:,} weights; bytes a weight: {gradients / count:.2f} gradients, {states / count:.2f} states"

# %% [markdown]
# 4 and 8, and the weights' own 4. One thing more, which tables forget: torch's AdamW, in the form that it takes on a GPU by
# itself (`foreach`; on a CPU `build_optimizer` asks for it), computes the square root of the second state for *all* weights
# at once before it divides by it. While the optimizer steps there are 20 bytes a weight. (`fused=True` avoids that: one
# kernel does all of the step. transformers' `Trainer` asks for it by itself, a loop of your own does not.)
#
# Two other ways to keep the states, both from bitsandbytes (lesson 10). `adamw_8bit`: a byte for each state, and a float32
# scale for 256 of them, but only in tensors of at least 4,096 weights. `paged_adamw_8bit`: the same, and states of tensors
# of at least 100,000 weights are in memory that CUDA moves between main memory and the card. torch does not count that
# memory, though while there is room it sits on the card; where there is none, each step waits until they have been moved.
# **Predict** what 8 bits save on all of Llama-2-7B, and on its adapters.

# %%
for method in ("full", "lora"):
    for optimizer in ("adamw", "adamw_8bit"):
        plan = TrainingPlan(method, dtype="fp32", optimizer=optimizer, micro_batch_size=1)
        moment = estimate_memory(config, plan).moments[-1]
        print(
            f"{method:4} {optimizer:10} states {moment.optimizer_states / GB:7.3f} GB, gradients {moment.gradients / GB:.3f} GB"
        )

# %% [markdown]
# 40 GB with full fine-tuning, and 25 MB with LoRA, where there is hardly anything to save. (By the rule alone the 8-bit
# states of all weights are 13.69 GB; the rest is the allocator's rounding.) And **alpha**? It is a factor:
# it multiplies a number that is there anyway. No memory calculator has to ask for it.

# %% [markdown]
# ### Exercise 11.2 · gradients and states
#
# *Medium, 8 minutes.* Of a model `frozen` weights are frozen. `trained` lists how many weights each trained tensor has,
# and each of these weights takes `width` bytes. Return the bytes that training adds: gradients and states. `optimizer` is
# `"sgd"` (no states), `"adamw"` (two, of the weights' own width) or `"adamw_8bit"`: in tensors of at least 4,096 weights
# two states of one byte a weight, and for each state a float32 scale for every 256 weights (all sizes are multiples of
# 256); in smaller tensors two float32 states. Leave out the root that AdamW takes as it steps.


# %% exercise="11.2" points=2
def training_bytes(frozen, trained, width, optimizer):
    """Bytes of gradients and of optimizer states."""
    # BEGIN SOLUTION
    total = width * sum(trained)
    for n in trained:
        if optimizer == "adamw":
            total += 2 * width * n
        elif optimizer == "adamw_8bit":
            total += 2 * (n + 4 * n // 256) if n >= 4096 else 2 * 4 * n
    return total
    # END SOLUTION


# %% [markdown]
# The check makes up tensors, some of them small.

# %% check="11.2"
from lorakit.checks.lesson11 import check_training_bytes

check_training_bytes(training_bytes)

# %% [markdown]
# ## What the forward pass keeps
#
# Weights and their company are the same for any text. **Activations**, the numbers that a forward pass computes and keeps
# for the way back, are not: they grow with every token. The rule is autograd's (lesson 09). Going back, an operation must
# tell how its output changes with its input, and keeps for that what it will have to read:
#
# - **a product a · b**: the slope by a is b, so it keeps both;
# - **silu(x)**: its slope depends on x, so it keeps x;
# - **a frozen linear layer, x Wᵀ**: the slope by x is W, which is there anyway. It keeps *nothing*;
# - **a trained linear layer**: the slope by W is x, so it keeps x;
# - **softmax, log_softmax**: the slope can be read off the *result*, so it keeps that;
# - **a sum**: the slope is 1. Nothing;
# - an operation that no gradient passes through: nothing. A tensor that several keep counts once.
#
# `lorakit.memory.tape.Tape` writes that down, with bytes in place of tensors. The feed-forward half of a block, for one
# token in 16 bits. **Predict** how many times F numbers stay.

# %%
from lorakit.memory.tape import Tape, Tensor

tape = Tape()
x = Tensor(2 * D, grad=True)  # so many bytes, and a gradient comes to it
gate = tape.op(2 * F, x)  # the bytes of the output, then the inputs
active = tape.op(2 * F, gate, keeps=[gate])  # silu
up = tape.op(2 * F, x)
product = tape.op(2 * F, active, up, keeps=[active, up])
down = tape.op(2 * D, product)
f"kept: {tape.kept_bytes:,} bytes, which is {tape.kept_bytes / (2 * F):.0f} times F numbers of 2 bytes"

# %% [markdown]
# Three: gate, silu(gate), up. The product itself is thrown away: only `down` reads it, and `down` is frozen. Now the
# whole block, part by part, as `estimate_memory` has it, for LoRA in bf16. Three things in it are easily overlooked:
#
# - **Attention runs on one of several kernels**, programs that do the same sum in other ways. transformers calls torch's
#   `scaled_dot_product_attention`, `sdpa` for short, which picks one. *flash* never makes the T × T scores of a head as a
#   whole, but takes 16 bits only.
#   *efficient* does not make them either, and takes float32 too, but no grouped heads (lesson 02). *math* is plain
#   operations, takes anything, and keeps T × T;
# - **RMSNorm computes in float32.** Whatever comes in, it keeps a float32 copy: 4 D, twice a block;
# - **peft's adapters are in float32**, and an adapter takes its input in its own dtype. So each adapted layer makes,
#   and keeps, a float32 copy of its input: 4 D for q, and 4 D more for v.

# %%
from lorakit.memory.closed_form import Block, shape_of


def kept_by_part(config, plan, kernel):
    """Bytes a token that each part of a block keeps."""
    block, tape, kept = Block(shape_of(config), plan, kernel), Tape(), {}

    def note(name):  # what the tape keeps by now, less what it kept at the note before
        kept[name] = tape.kept_bytes / block.tokens - sum(kept.values())

    x = Tensor(block.tokens * block.shape.hidden * block.item, grad=True)  # `item`: bytes of a number
    h = block.norm(tape, x)
    note("norm")
    q, k, v = (block.linear(tape, name, h) for name in ("q_proj", "k_proj", "v_proj"))
    note("q, k, v and their adapters")
    attend = block.math if kernel == "math" else block.fused
    h = attend(tape, block.rotate(tape, q), block.rotate(tape, k), v)
    note(f"attention, {kernel} kernel")
    x = tape.op(x.bytes, x, block.linear(tape, "o_proj", h))  # the sum
    note("o and the sum")
    h = block.norm(tape, x)
    note("second norm")
    block.mlp(tape, h)
    note("feed-forward")
    return kept


# %% [markdown]
# (`Block.norm`, `.linear`, `.fused` and `.mlp` are a few lines each: `Block.norm??` shows them.) **Predict** which part
# keeps most.

# %%
kept = kept_by_part(config, TrainingPlan("lora"), "flash")
for name, size in kept.items():
    print(f"{name:27} {size:9,.0f} bytes a token, {size / D:5.2f} D")
f"a block {sum(kept.values()):,.0f}, all {L} of them {L * sum(kept.values()) / MiB:.2f} MiB a token"

# %% [markdown]
# By hand: norm 4 D and a float32; adapters 2 · 4 D and two times r float32; the flash kernel its q, k, v and its output,
# 4 · 2 D, and a float32 for each head; norm again; 6 F. Check it against the lines. The sums and `o` keep nothing.
#
# So a 7B model keeps 5 MiB *a token*. 4 rows of 512 tokens keep 10 GiB, and its weights are 12.55. Full fine-tuning has no
# adapters that make copies, but every trained layer keeps its input, and a trained norm what it multiplies. That is more:

# %%
for method in ("lora", "full"):
    kept = kept_by_part(config, TrainingPlan(method), "flash")
    print(f"{method}: {L * sum(kept.values()) / MiB:.2f} MiB a token, of which norms {2 * L * kept['norm'] / MiB:.2f}")

# %% [markdown]
# ### Exercise 11.3 · what the feed-forward half keeps
#
# *Medium, 10 minutes.* For one token, how many bytes does `down(silu(gate(x)) * up(x))` keep? The weights are frozen. x
# has `D` numbers, gate and up make `F`, and all these take `width` bytes each (2 or 4). `adapted` lists which of
# `"gate_proj"`, `"up_proj"`, `"down_proj"` have an adapter of rank `r` in float32. An adapted layer keeps its input in
# float32, for A, and A's output, r float32 numbers, for B. Where the input takes 2 bytes, each adapted layer makes a
# float32 copy of its own. Where it takes 4, the layer keeps the input itself, and what several keep counts once.


# %% exercise="11.3" points=3
def mlp_kept(D, F, width, r, adapted):
    """Bytes a token that down(silu(gate(x)) * up(x)) keeps for its backward pass."""
    # BEGIN SOLUTION
    kept = 3 * F * width  # gate, silu(gate), up
    inputs = [F if name == "down_proj" else D for name in adapted]
    if width == 4:
        inputs = set(inputs)  # gate and up keep the same x
    return kept + 4 * sum(inputs) + 4 * r * len(adapted)
    # END SOLUTION


# %% [markdown]
# The check records the same layers on a tape.

# %% check="11.3"
from lorakit.checks.lesson11 import check_mlp_kept

check_mlp_kept(mlp_kept)

# %% [markdown]
# ## At the loss: 12 bytes a logit
#
# Each token ends in V logits, and V is large. The loss takes them in float32. Going forward there are, for each logit,
# 2 bytes in 16 bits, 4 of a float32 copy, and 4 of `log_softmax`, which is kept. Then, going back through the loss, three
# float32 tensors of that size are there at once: the kept result, the gradient that arrives at it, and the gradient that
# leaves: **12 bytes a logit**. **Predict** what 4 rows of 512 tokens cost.

# %%
for name in ("Llama-2-7B", "SmolLM2-135M", "Llama-3-8B", "gemma-2-2b"):
    vocabulary = preset(name).vocab_size
    logits, model_bytes = 12 * vocabulary * 4 * 512, 2 * sum(split(preset(name)))
    print(
        f"{name:13} V = {vocabulary:7,}: {logits / GiB:.2f} GiB at the loss; its weights in bf16: {model_bytes / GiB:.2f} GiB"
    )

# %% [markdown]
# Where the vocabulary is large beside the model, the logits take more than the weights: so with gemma-2-2b, and far more so
# with our own small model. No adapter and no quantisation changes
# that; shorter rows and smaller batches do. (So do losses that never make all logits at once, such as Liger's or
# `cut-cross-entropy`'s. They are not counted here.)
#
# One small thing in a training loop makes it worse. `outputs = model(**batch)` holds the logits as long as the name
# `outputs` lives. A loop that writes `outputs.loss.backward()` still holds them then; one that takes the loss and drops
# the rest does not. In 16 bits that is 2 bytes a logit, in float32, which they have with QLoRA, 4:

# %%
for method in ("lora", "qlora"):
    held, dropped = (
        estimate_memory(preset("Llama-3-8B"), TrainingPlan(method, keep_outputs=keep)).allocated_bytes
        for keep in (True, False)
    )
    print(f"{method}: holding the outputs costs {(held - dropped) / GiB:.2f} GiB")

# %% [markdown]
# ## The peak is a moment
#
# A run fits if its *largest moment* does, the **peak**. The parts do not add up, since not all are there at once: when
# gradients appear, activations go. `estimate_memory` goes through six moments of a step: at the *loss*; *back* through the
# *loss*, the *last block*, the *first block* and the *embedding*; and the *optimizer*. **Predict** which is the largest,
# here for our small model with LoRA. ("While it works" is what an operation needs as it runs, such as gradients of
# activations, and what cuBLAS, NVIDIA's library for matrix products, keeps to work in.)

# %%
from widgets import moments_figure

estimate = estimate_memory(small, TrainingPlan("lora"))
moments_figure({moment.name: moment for moment in estimate.moments}, "SmolLM2-135M, LoRA, 4 rows of 512 tokens").show()

# %% [markdown]
# The peak is *back through the loss*, the first moment of the way back: every block keeps its part, none has been freed
# yet, the adapters have no gradient (they are too small to be seen here at all), and the logits are there three times.
# From then on it falls. With full fine-tuning the largest moment may be the last: gradients, states and their roots,
# with all activations gone.

# %%
for method, dtype in (("lora", "bf16"), ("full", "bf16"), ("full", "fp32")):
    estimate = estimate_memory(config, TrainingPlan(method, dtype=dtype, micro_batch_size=1))
    print(
        f"Llama-2-7B, {method} in {dtype}: {estimate.allocated_bytes / GiB:6.2f} GiB at the moment {estimate.peak.name!r}"
    )

# %% [markdown]
# ### A real step, watched
#
# Now let a real step decide. torch's profiler notes every allocation and every release of the CPU's allocator. The next
# function makes our small model with random weights, trains it for a step that makes the optimizer's states, then for a
# second one that is watched: it returns when each part began, and how many bytes were alive, beyond those at the start.

# %%
import time

from torch.profiler import ProfilerActivity, profile
from lorakit.memory.step import attention_kernel, training_step


def watched_step(config, plan):
    """A step on this CPU: seconds and bytes alive beyond those at its start, event by event; and when each part began."""
    model, begins = build_model(config, plan, "cpu"), {}
    optimizer, batch = build_optimizer(model, plan), batch_of(config, plan, "cpu")
    with attention_kernel(plan):
        training_step(model, optimizer, batch, plan)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
            training_step(model, optimizer, batch, plan, lambda part: begins.setdefault(part, time.time_ns()))
    events = [event for event in watched.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    start = begins["forward"]
    seconds = [(event.start_ns() - start) / 1e9 for event in events]
    live = torch.tensor([event.nbytes() for event in events]).cumsum(0).tolist()
    return seconds, live, {part: (begin - start) / 1e9 for part, begin in begins.items()}


# %% [markdown]
# What is predicted is the same: all that comes and goes. **Predict** the shape of the curve before you run it. (About 5
# seconds.)

# %%
from lorakit.housekeeping import release_memory
from widgets import step_figure


def rise(moment):
    """Bytes of a moment that were not there at the step's start."""
    return moment.gradients + moment.activations + moment.logits + moment.working


model = optimizer = weights = scales = None
release_memory()
plan = TrainingPlan("lora", micro_batch_size=1, seq_len=128)
predicted = {"peak": rise(estimate_memory(small, plan).peak)}
seconds, live, begins = watched_step(small, plan)
step_figure(seconds, live, begins, predicted).show()

# %% [markdown]
# Up block by block, a plateau while the loss goes forward and back, and down again. The gradients are the little that is
# left at the end. In numbers:

# %%
f"measured {max(live) / MiB:.2f} MiB, predicted {predicted['peak'] / MiB:.2f} MiB"

# %% [markdown]
# Two ways of finding out, and one number: the prediction never saw the model, and the profiler never saw the prediction.
# And the 4 bytes a weight that full fine-tuning needs on top while the optimizer steps? The two blocks from above, with
# the bytes that appeared after the forward pass had begun:

# %%
release_memory()
full = TrainingPlan("full", dtype="fp32", micro_batch_size=1, seq_len=64)
seconds, live, begins = watched_step(cut, full)
stepping = max(size for second, size in zip(seconds, live, strict=True) if second > begins["optimizer"])
f"while the optimizer steps: {stepping / count:.2f} bytes a weight beyond weights and states"

# %% [markdown]
# 4 of the gradient, 4 of the root. With the 4 of the weight and 8 of the states these are 20. Now QLoRA, beside the
# 151.18 MiB of LoRA, two outputs up. **Predict:** will a 4-bit base have smaller activations?
#
# (On a GPU torch takes the attention kernel that the estimate names, `math`, of which more soon. A CPU has another one
# for float32, so we ask for that one by its name.)

# %%
release_memory()
plan = TrainingPlan("qlora", micro_batch_size=1, seq_len=128, attention="math")
_, live, _ = watched_step(small, plan)
f"measured {max(live) / MiB:.2f} MiB, predicted {rise(estimate_memory(small, plan).peak) / MiB:.2f} MiB"

# %% [markdown]
# Larger! The section "Why QLoRA can take more than LoRA" says why. First the exercise.

# %% [markdown]
# ### Exercise 11.4 · the peak
#
# *Medium, 8 minutes.* Of a step we know, in bytes: `fixed`, weights, adapters and states, which are always there;
# `kept`, what one block keeps for its way back, which covers what enters it, in `layers` blocks; `edge`, what enters a
# block; `loss`, the most that is there at the loss on top of what the blocks keep; `working`, what going back through a
# block needs on top; and `gradients`, of all that is trained. To keep it simple, count the gradients at the optimizer
# alone, and no root. With `checkpointing` a block keeps its `edge` only, and when it goes backward it is first computed
# anew and then keeps `kept` bytes more, while its edge stays too: one block at a time. Return the bytes at the largest
# of three moments: at the loss, on the way back through the last block, and when the optimizer steps (all that the
# blocks kept has been freed then).


# %% exercise="11.4" points=3
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    """Bytes at the largest moment of a step."""
    # BEGIN SOLUTION
    blocks = layers * (edge if checkpointing else kept)
    computed_anew = kept if checkpointing else 0
    return fixed + max(blocks + loss, blocks + computed_anew + working, gradients)
    # END SOLUTION


# %% [markdown]
# The check makes up steps whose peak is now at one moment, now at another.

# %% check="11.4"
from lorakit.checks.lesson11 import check_peak

check_peak(peak_bytes)

# %% [markdown]
# ## Against a dry run, and against a GPU
#
# A 7B model does not fit here. But its step can be run without storage, as a **dry run**: on torch's "meta" device tensors
# have a shape and no numbers. `trace_memory` runs the real model of transformers, the real peft, loss and optimizer on it,
# and counts what would be alive. It shares no formula with the estimate.

# %%
from lorakit.memory import trace_memory

for method in ("lora", "qlora"):
    plan = TrainingPlan(method)
    trace, estimate = trace_memory(config, plan), estimate_memory(config, plan)
    traced, estimated = max(trace.moments.values()), estimate.allocated_bytes
    print(f"Llama-2-7B {method:5}: dry run {traced / GiB:.3f} GiB, estimate {estimated / GiB:.3f} GiB")

# %% [markdown]
# (QLoRA's 0.05 GiB: the codes of a feed-forward matrix are 4,096 · 11,008 / 2 bytes, 21.5 MiB. The estimate counts a
# piece of 22 for each of the 96; in the dry run they fit into larger pieces that had been freed before.)
#
# And a real GPU. Few learners have one at hand, so it is recorded: `torch.cuda.max_memory_allocated()` over a step, on a
# card and with versions that the record names. (`lorakit memory --measure` makes such a record of yours, and `lorakit
# memory --published` holds the formulas against what others have published of their own code.)

# %%
from lorakit.measurements import load_measurements

records = load_measurements()
for record in records:
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    print(f"{record['date']}, {record['device']['name']}, {len(record['rows'])} plans; {versions}")
if not records:
    print("No measurement of a GPU is recorded in this copy of the course yet.")

# %% [markdown]
# Each row is held against the estimate for that card. **Predict** how far the worst of them is off.

# %%
measured = []
for record in records:
    capability = tuple(record["device"]["capability"])
    for row in record["rows"]:
        if "allocated_bytes" in row:
            plan = TrainingPlan(**row["plan"])
            measured.append((row, plan, estimate_memory(preset(row["model"]), plan, capability)))
errors = sorted(abs(estimate.allocated_bytes / row["allocated_bytes"] - 1) for row, _, estimate in measured)
if errors:
    print(f"{len(errors)} plans: off by {errors[len(errors) // 2]:.2%} in the median, {errors[-1]:.2%} at most")

# %% [markdown]
# Nothing in the formulas was fitted to these. All of them as points, from the smallest to the largest:

# %%
from widgets import measured_figure

if measured:
    points = [
        (f"{row['model']}, {plan.method}", plan.method, estimate.allocated_bytes, row["allocated_bytes"])
        for row, plan, estimate in measured
    ]
    measured_figure(points).show()

# %% [markdown]
# If you have a GPU, here is yours:

# %%
from lorakit.memory import measure_memory

if torch.cuda.is_available():
    plan = TrainingPlan("lora")
    mine = measure_memory(small, plan)
    estimate = estimate_memory(small, plan, torch.cuda.get_device_capability())
    print(f"measured {mine.allocated_bytes / MiB:,.0f} MiB, estimated {estimate.allocated_bytes / MiB:,.0f} MiB")
else:
    print("No CUDA GPU here, so nothing can be measured on one.")

# %% [markdown]
# ## Why QLoRA can take more than LoRA
#
# Our small model, 4 rows of 512 tokens, both methods at their largest moment. The weights have shrunk, as promised:

# %%
peaks = {method: estimate_memory(small, TrainingPlan(method)).peak for method in ("lora", "qlora")}
moments_figure(peaks, "SmolLM2-135M at the peak, 4 rows of 512 tokens").show()

# %% [markdown]
# 96 MiB are saved on the weights, and 1.7 GiB lost on activations. The cause is one line:
# `prepare_model_for_kbit_training` lifts embeddings and norms to float32. What comes out of the embedding is then
# float32, and every sum in the residual stream stays so. (Under *autocast*, torch's switch that multiplies in 16 bits
# whatever the tensors are stored in, as `Trainer` with `bf16=True` sets it, attention gets its q, k and v in 16 bits
# again, and what follows about T × T need not apply. That is neither counted nor measured here.) Part by part, for one
# token in one block:

# %%
lora, qlora = (
    kept_by_part(small, TrainingPlan(method), kernel) for method, kernel in (("lora", "flash"), ("qlora", "math"))
)
for (name, size), (other_name, other_size) in zip(lora.items(), qlora.items(), strict=True):
    print(f"{name:27} {size:9,.0f} bytes a token; QLoRA, {other_name:27} {other_size:9,.0f}")

# %% [markdown]
# - The norms keep the same, and the adapters even less: x is float32 already, so q and v share it and make no copy.
# - The feed-forward half keeps 4 bytes for each number in place of 2.
# - And **attention keeps eight times as much**. The flash kernel takes 16 bits only. torch's other lean kernel takes
#   float32, but no grouped heads (lesson 02), and this model has 9 query heads on 3 pairs of keys and values. So `sdpa`
#   falls to plain operations, the *math* kernel, which keeps the T × T matrix of every head: 4 · H · T bytes for each
#   token with H heads, here 4 · 9 · 512 = 18,432, and more with each token that a row has. The remaining 6,912 are q, k
#   and v in float32, k and v once for each head.
# - Rows of *different* lengths are padded, and then there is a mask. transformers repeats k and v for every head in
#   that case, and the lean kernel can take them: the T × T matrices may go, and the stream in float32 stays. No such
#   step is in the record.
#
# **Predict** how the two compare as rows get longer.

# %%
for tokens in (128, 512, 1024, 2048):
    lora, qlora = (
        estimate_memory(small, TrainingPlan(method, seq_len=tokens)).allocated_bytes for method in ("lora", "qlora")
    )
    print(f"4 rows of {tokens:4}: LoRA {lora / GiB:5.2f} GiB, QLoRA {qlora / GiB:5.2f} GiB")

# %% [markdown]
# Here the record has the last word: one row of 1,024 tokens, measured on a GPU.

# %%
from lorakit.memory import PRESETS

on_gpu = {(row["model"], plan): row["allocated_bytes"] for row, plan, _ in measured}
pair = [TrainingPlan(method, micro_batch_size=1, seq_len=1024) for method in ("lora", "qlora")]
for name in PRESETS:
    if all((name, plan) in on_gpu for plan in pair):
        lora, qlora = (on_gpu[name, plan] / GiB for plan in pair)
        print(f"{name:14} LoRA {lora:5.2f} GiB, QLoRA {qlora:5.2f} GiB, measured")
if not on_gpu:
    print("No measurement of a GPU is recorded in this copy of the course yet.")

# %% [markdown]
# Six of these ten take more with QLoRA, and the 8B takes nearly the same. What decides is how large the weights are
# beside the activations, and whether heads are grouped: those of Llama-2 and SmolLM2-1.7B are not. (With more tokens the
# float32 stream alone can turn it over, as with SmolLM2-1.7B in the next list.)
#
# So where does QLoRA pay? Where weights are the larger part, and where activations are not kept. **Gradient checkpointing**
# does the latter, and `prepare_model_for_kbit_training` switches it on unless told not to. Each model with and without it:

# %%
from dataclasses import replace

for name in ("SmolLM2-135M", "TinyLlama-1.1B", "SmolLM2-1.7B", "Llama-2-7B"):
    plans = [TrainingPlan(method, gradient_checkpointing=on) for on in (False, True) for method in ("lora", "qlora")]
    sizes = [estimate_memory(preset(name), plan).allocated_bytes / GiB for plan in plans]
    print("{:14} LoRA {:5.2f}, QLoRA {:5.2f} GiB; with checkpointing {:5.2f} and {:5.2f}".format(name, *sizes))

# %% [markdown]
# On these 4 rows, without checkpointing, QLoRA takes more in all but the largest. With it QLoRA takes less in each: by
# a few per cent in the smallest, by more than half in the largest (larger ones come below). When someone says "QLoRA
# needs a third", ask: of what, and with checkpointing?

# %% [markdown]
# ## One knob at a time
#
# From one plan, Llama-2-7B with LoRA on 4 rows of 512 tokens, change one thing. **Predict** the sign and the rough size
# of each before you run it. Alpha is not among them, as you know by now.

# %%
start = TrainingPlan("lora")
every = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
changes = [
    {},
    {"micro_batch_size": 8},
    {"micro_batch_size": 2, "seq_len": 1024},
    {"micro_batch_size": 1, "seq_len": 2048},
]
changes += [{"attention": "math"}, {"r": 64}, {"target_modules": every}, {"adapter_dtype": "bf16"}]
changes += [{"optimizer": "adamw_8bit"}, {"keep_outputs": True}, {"gradient_checkpointing": True}, {"dtype": "fp32"}]
for change in changes:
    peak = estimate_memory(config, replace(start, **change)).peak
    words = ", ".join(f"{name}={value}" for name, value in change.items() if name != "target_modules") or "as it is"
    words = "an adapter on each linear layer" if "target_modules" in change else words
    print(
        f"{words:33} {peak.total_bytes / GiB:6.2f} GiB, of which activations {peak.activations / GiB:5.2f}, logits {peak.logits / GiB:.2f}"
    )

# %% [markdown]
# - Twice the rows cost about twice the activations, and with flash or efficient only the number of tokens counts, not how they are
#   cut into rows. The math kernel keeps T × T.
# - Rank 64 costs 0.4 GiB more, weights and states: at this moment there are no gradients yet. An adapter on *every* layer costs 6.9, and
#   not for its weights: each adapted layer keeps its input in float32. Adapters in bf16 make no such copies.
# - 8-bit states save next to nothing here. A base in float32 has twice the weights and half as much again of activations,
#   not twice: what is kept in float32 anyway does not grow.
# - Checkpointing is the one large lever. Each block keeps only what enters it; going back, it is computed anew, and its
#   own part is there while it goes back: *one* block's. So the peak is the larger of two moments, the logits or one
#   block on its way back. They are never there together (unless a loop keeps `outputs` that long). With QLoRA:

# %%
estimate = estimate_memory(config, TrainingPlan("qlora", gradient_checkpointing=True))
moments_figure(
    {moment.name: moment for moment in estimate.moments}, "Llama-2-7B, QLoRA with checkpointing, 4 rows of 512"
).show()

# %% [markdown]
# Nearly level: 5.96 GiB back through the loss, 5.92 back through the last block. Now turn the knobs yourself: for any
# model that the first list offers, or one that you have loaded.

# %%
from widgets import show_memory

show_memory("SmolLM2-135M")

# %% [markdown]
# ## 60, 22 and 10 GB
#
# A table that you may meet, for a 7B model:
#
# | method | base in | said | on |
# |---|---|---|---|
# | full fine-tuning | fp16 | 60 GB | A100 80GB |
# | LoRA | fp16 | 22 GB | RTX 3090, 4090 |
# | QLoRA | 4-bit | 10 GB | RTX 3060, 4060 Ti |
#
# Each number is right somewhere, more or less. Where? Here in GB, as the table has it, and as before of what torch
# allocates; what a card needs beyond that comes after.


# %%
def gb(model, method, **settings):
    """GB that torch allocates for a plan."""
    return estimate_memory(preset(model), TrainingPlan(method, **settings)).allocated_bytes / GB


# %% [markdown]
# ### Full fine-tuning
#
# One row of 512 tokens, with checkpointing: the activations hardly count. What does is how many bytes a weight takes.

# %%
for dtype in ("fp32", "bf16"):
    for optimizer in ("adamw", "adamw_8bit", "paged_adamw_8bit", "sgd"):
        size = gb(
            "Llama-2-7B", "full", dtype=dtype, optimizer=optimizer, micro_batch_size=1, gradient_checkpointing=True
        )
        print(f"weights in {dtype}, {optimizer:16} {size:6.1f} GB, {size * GB / (linear + other):4.1f} bytes a weight")

# %% [markdown]
# - **The usual one does not fit.** AdamW on float32 weights takes 16 bytes a weight, 108 GB, and 135 at the moment when
#   it steps. Mixed precision with 16-bit weights and a float32 copy of them comes to 16, too: 2 + 2 + 4 + 8.
# - **60 GB lie between 8 and 10 bytes a weight**: weights, gradients and *both states* in 16 bits. In bf16 that runs, but
#   a step that is small beside its weight is rounded away. In fp16, as the table has it, the bytes would fit and the
#   training would not work: AdamW's epsilon, 1e-8, is zero there, and so is the square of a gradient of 1e-4.
# - With 8-bit states a full fine-tune of a 7B model in bf16 takes less than the table says. The paged ones save nothing
#   beyond that while there is room on the card: the states that are missing in those lines sit there too, and torch
#   does not count them.

# %%
tiny = torch.tensor([1e-8, 1e-4**2])
print(f"in fp16 {tiny.half().tolist()}, in bf16 {tiny.bfloat16().tolist()}")
f"1 + 0.001 in bf16 is {(torch.tensor(1.0).bfloat16() + 0.001).item()}"

# %% [markdown]
# ### LoRA and QLoRA
#
# How many rows of 512 tokens fill just the 22 GB, or the 10? With rank 8 on q and v, and with rank 64 on every linear
# layer, which is what the QLoRA paper takes; with and without checkpointing. **Predict** one line of it.


# %%
def rows_in(limit, method, **settings):
    """The most rows of 512 tokens at once that so many GB hold, for Llama-2-7B."""
    rows = 0
    while gb("Llama-2-7B", method, micro_batch_size=rows + 1, **settings) <= limit:
        rows += 1
    return rows


for adapters in ({"r": 8}, {"r": 64, "target_modules": every}):
    for checkpointing in (False, True):
        settings = {**adapters, "gradient_checkpointing": checkpointing}
        counts = rows_in(22, "lora", **settings), rows_in(10, "qlora", **settings)
        words = f"r = {adapters['r']} on {'all layers' if 'target_modules' in adapters else 'q, v'}"
        print(
            f"{words:20} {'checkpointing' if checkpointing else 'no checkpointing':16} LoRA in 22 GB: {counts[0]:2} rows, QLoRA in 10: {counts[1]:2}"
        )

# %% [markdown]
# So with small adapters **22 GB** hold two rows of 512 tokens with LoRA, a thousand tokens at once, without checkpointing
# (three take 22.2). With checkpointing they hold two dozen, and a few rows take 15 GB. **10 GB** hold one row with QLoRA
# without checkpointing, and eleven with it. At rank 64 on all layers each of these is smaller: 1, 19, none and 7. A number
# without the rows says little. And all this is one model; here are others that call themselves 7B or 8B, and the next
# sizes, on 4 rows of 512 tokens:

# %%
names = ("Llama-2-7B", "Mistral-7B", "Qwen2.5-7B", "Llama-3-8B", "Llama-2-13B", "Llama-3-70B")
print(f"{'':13}{'LoRA':>8}{'QLoRA':>8}   with checkpointing: {'LoRA':>6}{'QLoRA':>8}")
for name in names:
    sizes = [gb(name, method, gradient_checkpointing=on) for on in (False, True) for method in ("lora", "qlora")]
    print("{:13}{:8.1f}{:8.1f}{:29.1f}{:8.1f}".format(name, *sizes))

# %% [markdown]
# - Without checkpointing, three of these six take more with QLoRA, the 8B among them.
# - 10 GB, as is often said of an 8B, are not enough for 4 rows of 512: it takes 12.1. Its vocabulary costs it 4.2 GB of
#   embedding and head in float32, and 3.2 GB (2.94 GiB) at the loss.
# - 13B with QLoRA and checkpointing takes what a 7B is said to take.
# - 70B: LoRA holds the weights in 16 bits, 141 GB, which no card of the course's list has (the record's H200 is not on
#   it; the weights alone would nearly fill it). With QLoRA, codes and scales are 35 GB, and the vocabulary adds 8.4.

# %% [markdown]
# All that was predicted. And measured? What the record has of Llama-2-7B. (*Reserved* is what the next section is about.)

# %%
for row, plan, _ in measured:
    if row["model"] == "Llama-2-7B" and plan.double_quant:
        words = f"{plan.method} {plan.optimizer}, {plan.micro_batch_size} x {plan.seq_len}"
        words += ", checkpointing" if plan.gradient_checkpointing else ""
        sizes = (row["allocated_bytes"] / GB, row["reserved_bytes"] / GB)
        print("{:46} {:5.1f} GB allocated, {:5.1f} reserved".format(words, *sizes))

# %% [markdown]
# With checkpointing LoRA and QLoRA stay well within 22 and 10 GB; without it, one row of 1,024 tokens takes QLoRA past its
# 10. Full fine-tuning in 16 bits throughout takes 67.5 GB at each of these lengths: its peak is the optimizer's step, where
# no activation is left.

# %% [markdown]
# ## Which card
#
# What we have counted is what torch has *allocated*: tensors that are alive. A card must hold more:
#
# - **reserved**: torch's caching allocator takes memory from the card in large pieces, and keeps what was freed, to use it
#   again. Pieces that fit nothing are lost for a time;
# - **the CUDA context**: kernels and what the driver needs, several hundred MiB for each process. `nvidia-smi` shows
#   reserved, context, and all that other processes take.
#
# By how much, on the GPU of the record? (The context is the least that the card showed beyond what was reserved: later rows
# of the record still hold what paged optimizers before them had, since bitsandbytes does not give it back.)

# %%
from lorakit.measurements import overheads

ratios = [row["reserved_bytes"] / row["allocated_bytes"] for row, _, _ in measured]
middle, context = overheads()
if measured:
    print(f"reserved is {min(ratios):.2f} to {max(ratios):.2f} times allocated, {middle:.2f} in the median")
    print(f"the context is {context / MiB:.0f} MiB")

# %% [markdown]
# How much is reserved depends on the order in which memory comes and goes. `trace_memory` follows the allocator's own
# rules, and says it in `reserved_bytes`; `estimate_memory` takes the record's median, and `card_bytes` adds the context. So
# leave room. And a card's own memory is not quite what its name says: error correction takes a sixteenth where it is on (a
# "16 GB" T4 shows 15 GiB; the L4 and the A10G lose as much), and the driver some more. `lorakit.memory.cards` has the
# cards, and the arithmetic. The smallest card for each of the table's methods, with rank 8 on q and v, on 4 rows of 512
# tokens, with checkpointing, and the GiB that are left on it:

# %%
from lorakit.memory.cards import CARDS, estimate_on, fits, room_bytes

by_size = sorted(CARDS, key=lambda card: card.memory_bytes)


def smallest_card(model, method):
    """The smallest card that holds it, and the room that is left there."""
    for card in by_size:
        estimate = estimate_on(preset(model), TrainingPlan(method, gradient_checkpointing=True), card)
        if fits(estimate, card):
            return f"{card.name} ({room_bytes(estimate, card) / GiB:.1f})"
    return "none of these"


for name in names:
    print(f"{name:13} " + "; ".join(f"{method}: {smallest_card(name, method)}" for method in ("full", "lora", "qlora")))

# %% [markdown]
# ("full" is in bf16 with both states in bf16: 67 GB with the roots. An H100 and an A100 80GB are nearly the same size.) So
# QLoRA with checkpointing does what it is known for: it brings a 7B to a card of 12 GB, or 16 where the vocabulary is
# large, and a 70B to one of 80. A 13B is on a card of 12 by less than the record's own plans scatter: take 16. With LoRA a
# 7B takes 16, also just so, or 24. What QLoRA costs in time and in accuracy, lessons 10 and 12 measure. In a terminal,
# `lorakit memory Llama-3-8B --card t4` tells the same of any plan, and the smallest change that makes it fit.

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
# - The peak is the largest **moment**, not a sum: at the loss, on the way back, or when the optimizer steps.
# - Throughout: 2 bytes a weight in 16 bits; in 4 bits half a byte and its scales, and 4 bytes for what was lifted to
#   float32. For each *trained* weight in float32 16 bytes with AdamW, and 20 while it steps.
# - For each token: what the operations will read on the way back, which is mostly float32 copies in norms and adapters,
#   the attention kernel's q, k, v, and 3 F in the feed-forward half; and 12 bytes for each logit.
# - QLoRA shrinks weights and can swell activations: a float32 stream, and with grouped heads, where there is no
#   autocast, T × T matrices. With checkpointing, and rows that are not too long, it takes less than LoRA: the more, the
#   larger the model.
# - It is `lorakit.memory.estimate_memory` (the moments), `lorakit.memory.tape.Tape` (what is kept), `trace_memory` (a dry
#   run of any model) and `measure_memory` (on your GPU). In a terminal: `lorakit memory`.
# - 22 and 10 GB are true of some plans, and 60 lies between two: 54 GB at 8 bytes a weight, AdamW with `fused=True`,
#   and 67 at 10, AdamW as torch runs it by itself, with its roots (lesson 12). A number of GB means little without the
#   rows, the checkpointing, the optimizer and the unit.
#
# Back: [lesson 10](10_qlora_finetune.ipynb). Next: [lesson 12](12_lora_vs_qlora.ipynb) holds each claim about LoRA and
# QLoRA against what was measured.
