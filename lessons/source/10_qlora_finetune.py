# %% [markdown]
# # 10 · A real QLoRA fine-tune
#
# **In this lesson you put a QLoRA layer together and find it equal to the libraries', repeat lesson 07's fine-tune on
# a base that is held in 4 bits, set it beside LoRA and full fine-tuning, and merge its adapter in three ways.**
#
# *About 80 minutes, of which the machine needs 5 on a laptop with two cores. Needs lessons 00, 06, 07 and 09.
# Numbers in the text are the default model's: on another, and on
# another kind of processor, trust the cells.*
#
# You will be able to
# - read and write the quantisation config, knowing which of its defaults are traps;
# - compute the bits that a 4-bit weight really takes, and find them in memory;
# - build QLoRA out of two layers that know nothing of each other;
# - say what `prepare_model_for_kbit_training` does, line by line;
# - train adapters on it, and show that not one code was touched;
# - say what QLoRA cost and saved *here*, and which of the usual claims that supports;
# - merge the adapter so that what it learned is not lost.

# %% [markdown]
# ## The idea in one line
#
# LoRA freezes W. A matrix that never changes need not be kept in full: **QLoRA** (Dettmers et al., 2023, University
# of Washington) stores it as 4-bit codes, and turns these back into numbers, on the fly, each time the layer is used.
#
# $$W' = \text{dequantise}(\text{codes, scales}) + \frac{\alpha}{r} B A$$
#
# A and B stay in float32: they are trained, and tiny. So QLoRA is LoRA, on another base. In code it is that too:
# lesson 06's `LoRALinear`, which asks nothing of its base but `in_features` and `out_features`, around lesson 09's
# `QuantizedLinear`. One `q_proj` of the model, with what each part is stored in:

# %%
from lorakit.models import find_model, load_model, pick_device
import torch

from lorakit.lora import LoRALinear
from lorakit.quantization import QuantizedLinear
from widgets import show_qlora

q_proj = load_model(dtype=torch.float32, device="cpu")[0].model.layers[0].self_attn.q_proj
layer = LoRALinear(QuantizedLinear(q_proj, "nf4", double_quant=True), r=8, lora_alpha=16)
show_qlora(layer, compute_dtype=pick_device("cpu").compute_dtype)

# %% [markdown]
# Only what is on the left and on the right is kept. The matrix in the middle is made when x arrives, used, and thrown
# away; going back it is made once more. It has the dtype that the machine multiplies in (the picture
# says which). So "4-bit training" computes no product in 4 bits: 4 bits is how W is *stored*.
#
# (The paper's recipe has two things more: adapters on *every* linear layer, and a *paged* optimizer, which comes
# further down. Here all but the base stays as in lesson 07, so that only the base differs.)

# %% [markdown]
# ## The code that you meet everywhere
#
# As in lesson 07, with one thing more: the config that says how to quantise.

# %%
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

device = (
    "auto" if torch.cuda.is_available() else "cpu"
)  # not "auto": on a Mac that would be its GPU, for which bitsandbytes fetches a kernel from a hub
bnb_config = BitsAndBytesConfig(
    load_in_4bit=True,
    bnb_4bit_quant_type="nf4",
    bnb_4bit_use_double_quant=True,
    bnb_4bit_compute_dtype=pick_device(None if device == "auto" else device).compute_dtype,
)
model = AutoModelForCausalLM.from_pretrained(find_model(), quantization_config=bnb_config, device_map=device)
model = prepare_model_for_kbit_training(model)
model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]))
model.print_trainable_parameters()

# %% [markdown]
# | argument | what it does | if you leave it out |
# |---|---|---|
# | `load_in_4bit=True` | quantise every linear layer but `lm_head` while loading | nothing is quantised |
# | `bnb_4bit_quant_type="nf4"` | a code book whose 16 levels are spread as normally distributed weights are | `"fp4"`, which is coarser on such weights |
# | `bnb_4bit_use_double_quant=True` | quantise the scales too | scales in float32: 0.373 bits a weight more |
# | `bnb_4bit_compute_dtype` | the dtype that codes become for the multiplication | float32: right, and slow on a GPU |
# | `prepare_model_for_kbit_training` | three things, of which more below | training in 16 bits alone is less stable |
#
# NF4 is *not* int4: the levels of int4 are evenly spaced, NF4's lie close together near zero, where most weights are.
# In the paper's comparison int4 does worst (Table 2). Lesson 09 shows both on the real weights.

# %%
from lorakit.housekeeping import release_memory

del model  # the course's loader does the same, and takes care of faults that the library has on CPUs
release_memory()
# %% [markdown]
# ## One place for the settings
#
# As in lesson 07, with one control more that counts now: the quant type of the base. **Predict** first: in float32 this
# model fills 513 MiB. What will it fill with "4-bit weights": an eighth, 64 MiB? Then run the cell.

# %%
from transformers import AutoConfig
from widgets import show_adapter_size

shapes = AutoConfig.from_pretrained(find_model())
explorer = show_adapter_size(shapes, quant_type="nf4", quant_types=("nf4", "fp4"))
explorer

# %% [markdown]
# Far more than 64 MiB: the next section finds out why. (The dashed boxes are the layers that are stored as codes. fp4
# fills as many bytes as nf4; only its levels differ.) The adapter is as large as it was in lesson 07, whatever the base
# is stored in. Whatever you set, the next cell and all that follow take it; the comparison with lesson 07, and with the
# recorded runs at the end, holds where both have the values that the sliders start with.

# %%
from lorakit.finetune import TrainConfig

config = TrainConfig(**explorer.value)
config

# %% [markdown]
# ## What is 4-bit, and what is not
#
# Load the base, and count the bytes of its weights by the format that they are stored in.

# %%
from collections import Counter

four_bits = {"quant_type": config.quant_type, "double_quant": config.double_quant}
base, tokenizer = load_model(**four_bits)
tensors, stored = Counter(), Counter()
for weight in base.parameters():
    tensors[str(weight.dtype)] += 1
    stored[str(weight.dtype)] += weight.numel() * weight.element_size()
for dtype in tensors:
    print(f"{dtype:14} {tensors[dtype]:4} tensors   {stored[dtype] / 2**20:7.1f} MiB")
print(f"together       {sum(tensors.values()):4} tensors   {sum(stored.values()) / 2**20:7.1f} MiB")

# %% [markdown]
# `uint8` holds the codes, two to a byte: 210 linear layers. The rest stayed as it was: the embedding table, tied with
# `lm_head`, and 61 small norm vectors. (What the explorer has on top of this are scales, which come below.) In a model this
# small the table is a fifth of all weights, so "4-bit" shrinks the whole by far less than eight times. In an 8B model its
# two tables are an eighth, and from 16 bits the whole shrinks by a little less than three. (On a GPU, preparing the model
# for training will lift the table to float32, and double its bytes.)
#
# A trap: the packed tensors have half as many *elements* as weights, so adding up `numel()` undercounts the model.

# %%
by_elements = sum(weight.numel() for weight in base.parameters())
f"elements of all tensors {by_elements:,}; weights {base.num_parameters():,}"

# %% [markdown]
# ## Every bit of a quantised layer
#
# A code alone says little: it is a level of the code book, and each block of weights has a **scale** by which the
# levels are multiplied. So the scales must be kept too. Two exercises work out what that costs. They work as in lesson
# 00: fill in the function, run its cell and the check below it. `hint("10.1")` gives one more hint each time,
# `solution("10.1")` shows an answer (both with `from lorakit.checks import hint, solution`).

# %% [markdown]
# ### Exercise 10.1 · the bits of a weight
#
# *Medium, 5 minutes.* Each weight has a 4-bit code. Each block of `block_size` weights has one scale. Without double
# quantisation the scale is a float32, of 32 bits. With it (`double_quant`) the scale itself is kept as an 8-bit code,
# and 256 of these scales share one float32. How many **bits** does one weight take, with its share of all that? Take
# every block to be full. For example `bits_per_weight(64, False)` gives 4.5.


# %% exercise="10.1" points=2
def bits_per_weight(block_size, double_quant):
    """Bits that a 4-bit weight takes, with its share of the scales (and of their scales, with double_quant)."""
    # BEGIN SOLUTION
    if double_quant:
        return 4 + 8 / block_size + 32 / (256 * block_size)
    return 4 + 32 / block_size
    # END SOLUTION


# %% [markdown]
# The check tries several block sizes, each with and without double quantisation.

# %% check="10.1"
from lorakit.checks.lesson10 import check_bits_per_weight

check_bits_per_weight(bits_per_weight)

# %% [markdown]
# ### Exercise 10.2 · the bytes of a layer
#
# *Hard, 10 minutes.* An average is not yet what is stored. bitsandbytes writes all weights of a layer into one long
# line, row after row, and cuts it into blocks of 64. The scales it cuts into groups of 256. Whatever is left over at
# an end is stored as well: a block that is not full has a whole scale. Two codes share a byte. How many bytes do codes
# and scales of a layer fill together, and with `double_quant` codes, scales and scales of the scales? For example
# `layer_bytes(100, 30, True)` gives 1551.

# %% exercise="10.2" points=3
from math import ceil


def layer_bytes(in_features, out_features, double_quant):
    """Bytes of a 4-bit layer's codes and scales, at blocks of 64."""
    # BEGIN SOLUTION
    weights = in_features * out_features
    codes = ceil(weights / 2)
    scales = ceil(weights / 64)
    if double_quant:
        return codes + scales + 4 * ceil(scales / 256)
    return codes + 4 * scales
    # END SOLUTION


# %% [markdown]
# The check makes layers that end in the middle of a block and others that fill their last one, has bitsandbytes
# quantise them, and compares the bytes.

# %% check="10.2"
from lorakit.checks.lesson10 import check_layer_bytes

check_layer_bytes(layer_bytes)

# %% [markdown]
# Now the whole base. **Predict:** its 210 linear layers hold 106,168,320 weights, in blocks of 64, with double
# quantisation. How many bits a weight, and how many bytes? Then count the tensors themselves: codes, 8-bit scales, and
# the float32 scales of the scales.

# %%
from bitsandbytes.nn import Linear4bit

layers = [module for module in base.modules() if isinstance(module, Linear4bit)]
weights = sum(layer.in_features * layer.out_features for layer in layers)
states = [layer.weight.quant_state for layer in layers]
parts = {
    "codes": sum(layer.weight.nbytes for layer in layers),
    "scales": sum(state.absmax.nbytes for state in states),
    "scales of the scales": sum(state.state2.absmax.nbytes for state in states if state.nested),
}
found = sum(parts.values())
for name, size in parts.items():
    print(f"{name:20} {size:>12,} bytes")
print(f"{'together':20} {found:>12,} bytes, or {found * 8 / weights:.4f} bits a weight")

# %% [markdown]
# The average of 10.1 misses 240 of these bytes. The last group of scales of a layer may not be full: 576 x 576 weights
# have 5,184 scales, 20.25 groups of 256, so 21. 10.2 finds each of them. Not counted are one offset and two small
# look-up tables a layer, 1,092 bytes, which makes 0.2 MB in all; in a large model they are nothing.
#
# 4.127 bits a weight against 16 is a factor of 3.88: this is where "three to four times less memory" comes from. It is
# true of the quantised weights. What a whole training run saves is another question, which lesson 11 answers byte by
# byte.

# %% [markdown]
# ## QLoRA is composition
#
# Now the numbers. You know from lesson 09 how a code becomes a weight; what is new is that an adapter stands beside.
#
# ### Exercise 10.3 · forward, from codes
#
# *Medium, 10 minutes.* `packed` holds a layer's codes, uint8, two to a byte, the first of the two in the higher half, and
# row after row of W. `levels` are the 16 levels of the code book, and `absmax` has one scale for every 64 weights in that
# order. `A` is `(r, in_features)`, `B` is `(out_features, r)`. Return what the layer with its adapter makes of `x`, `(...,
# in_features)`: the dequantised base's output, and the scaled change. (`packed` is one long row, `(n,)`, not in W's shape.
# `packed >> 4` and `packed & 15` are the two halves; make them `.long()` before you index with them, since torch takes
# uint8 for a mask.)


# %% exercise="10.3" points=3
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    """x through a base of 4-bit codes, with LoRA beside it: (..., in_features) -> (..., out_features)."""
    # BEGIN SOLUTION
    (r, in_features), out_features = A.shape, len(B)
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(out_features, in_features)
    return x @ W.T + lora_alpha / r * (x @ A.T @ B.T)
    # END SOLUTION


# %% [markdown]
# The check makes up layers, square ones too, and code books of its own.

# %% check="10.3"
from lorakit.checks.lesson10 import check_qlora_forward

check_qlora_forward(qlora_forward)

# %% [markdown]
# And the whole model. Take it in float32, replace each linear layer but `lm_head` by a `QuantizedLinear`, and give it
# adapters with lesson 06's `apply_lora`. No bitsandbytes and no peft is in it. (Quantising takes some 5 seconds.)

# %%
from lorakit.lora import apply_lora
from lorakit.quantization import quantize_linears

ours = quantize_linears(load_model(dtype=torch.float32, device="cpu")[0], **four_bits)
ours = apply_lora(ours, config.r, config.lora_alpha, config.target_modules)
f"{sum(buffer.nbytes for name, buffer in ours.named_buffers() if 'layers' in name):,} bytes of codes and scales"

# %% [markdown]
# The bytes from above, and an offset of 4 bytes for each of the 210 layers. Now a prompt, forward and backward. B must
# not be zero, or there would be little to compare: fill A and B with random numbers first.

# %%
from lorakit.lora import lora_layers, lora_state_dict

ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
torch.manual_seed(0)
with torch.no_grad():
    for weight in lora_state_dict(ours).values():
        weight.normal_(std=0.02)
output = ours(ids, labels=ids)
output.loss.backward()
logits, adapter = output.logits.detach(), lora_state_dict(ours)  # A and B, under the names that peft saves them with
gradients = {
    f"base_model.model.{name}.{side}.default.weight": getattr(layer, side).grad
    for name, layer in lora_layers(ours)
    for side in ("lora_A", "lora_B")
}

# %% [markdown]
# The same with peft on bitsandbytes, with our A and B put into it. (Ours is deleted first, to make room. And both multiply
# in float32 here, on any machine: in bf16 both would round, each in its own order.)

# %%
from peft import set_peft_model_state_dict


def compute_in_float32(model):
    """Let the 4-bit layers of a model dequantise to float32."""
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.compute_dtype = torch.float32
    return model


del ours, output, layer
release_memory()
theirs, _ = load_model(**four_bits, device="cpu")
lora = LoraConfig(r=config.r, lora_alpha=config.lora_alpha, target_modules=list(config.target_modules))
theirs = get_peft_model(compute_in_float32(theirs), lora)
_ = set_peft_model_state_dict(theirs, adapter)

# %% [markdown]
# **Predict** how far the two will be apart, in the logits and in the gradients of A and B.

# %%
expected = theirs(ids, labels=ids)
expected.loss.backward()
weights = dict(theirs.named_parameters())
logits_apart = (logits - expected.logits).abs().max().item()
gradients_apart = max((gradient - weights[name].grad).abs().max().item() for name, gradient in gradients.items())
f"largest difference: logits {logits_apart:.1e}, gradients {gradients_apart:.1e}"

# %% [markdown]
# Nothing, or next to nothing. Our codes are theirs bit for bit (lesson 09), and the rest is the same sum. So you have seen
# all of QLoRA now. What the library adds is speed: it has *kernels*, programs made for one kind of processor, a GPU above
# all, which turn codes into numbers quickly, and one that does it while it multiplies, where few tokens go through at once.

# %%
del theirs, expected, adapter, gradients, weights
release_memory()
# %% [markdown]
# ## What preparing a model does
#
# `prepare_model_for_kbit_training` stands in every QLoRA script, and its name says little. It does three things. Take
# a base whose unquantised part is in bf16, as it is on a GPU, and do each of them by hand. **First, freeze:** what
# would be trained if nobody did?

# %%
half, _ = load_model(**four_bits, dtype=torch.bfloat16)
to_train = [name for name, weight in half.named_parameters() if weight.requires_grad]
print(len(to_train), "tensors:", ", ".join(to_train[:3]), "…")
for weight in half.parameters():
    weight.requires_grad = False

# %% [markdown]
# Codes are whole numbers and can have no gradient, but the embedding table and all norms would be trained. (With
# adapters it would not have come to that: `get_peft_model` freezes them as well.) **Second, lift** what is in 16 bits
# and is no code to float32. It costs bytes, and it changes the output. **Predict:** by how much?

# %%
from lorakit.models import weight_bytes


@torch.no_grad()
def logits_of(model):
    """Logits of the prompt, in float32."""
    return model(ids.to(model.device)).logits.float()


as_loaded, bytes_loaded = logits_of(half), weight_bytes(half)
for weight in half.parameters():
    if weight.dtype in (torch.float16, torch.bfloat16):
        weight.data = weight.data.to(torch.float32)
lifted = logits_of(half)
moved = (lifted - as_loaded).abs().max().item()
f"{bytes_loaded / 2**20:.0f} MiB become {weight_bytes(half) / 2**20:.0f} MiB; the logits move by up to {moved:.2f}"

# %% [markdown]
# The numbers in the embedding table and in the norms are the same. But the hidden vectors are float32 now from the first
# block to the last, where they were rounded to 8 significant bits after every step. peft lifts them to train more stably.
# **Third, checkpoint:** keep only what enters each block, and compute its inside once more on the way back (**gradient
# checkpointing**). Less memory, slower steps.

# %%
half.enable_input_require_grads()
half.gradient_checkpointing_enable()
embedded = half.get_input_embeddings()(ids.to(half.device))
f"checkpointing {half.is_gradient_checkpointing}, what enters the first block wants a gradient: {embedded.requires_grad}"

# %% [markdown]
# The first line is there for PyTorch's older way of checkpointing (`use_reentrant=True`). It gives a block a backward pass
# only if what *enters* it wants a gradient, and with all of the base frozen nothing does: the adapters would learn nothing.
# The newer way, which transformers takes here by itself, needs no such help; peft does it all the same, unless you pass it
# `use_reentrant=False`. And peft's function on a fresh base:

# %%
by_hand = [(weight.dtype, weight.requires_grad) for weight in half.parameters()]
del half, weight
release_memory()
half, _ = load_model(**four_bits, dtype=torch.bfloat16)
half = prepare_model_for_kbit_training(half)
same = by_hand == [(weight.dtype, weight.requires_grad) for weight in half.parameters()]
apart = (logits_of(half) - lifted).abs().max().item()
f"dtypes and what is frozen: {'the same' if same else 'NOT the same'}; the logits differ by {apart}"

# %% [markdown]
# The course's `add_adapters` calls it with checkpointing off, since this model is small; `TrainConfig` has a switch.

# %%
del half
release_memory()
# %% [markdown]
# ## The adapters, and two checks before training
#
# As before: count, see that the output is unchanged while B = 0, see that gradients arrive. The baseline is taken
# with the adapter switched off, *after* the model was prepared for training: preparing alone moves the logits of a
# base in 16 bits, since its norms and embeddings become float32.

# %%
from lorakit.finetune import add_adapters

model = add_adapters(base, config)
with model.disable_adapter():
    logits_before = logits_of(model)
difference = (logits_of(model) - logits_before).abs().max().item()
trainable, everything = model.get_nb_trainable_parameters()
f"trainable {trainable:,} of {everything:,}; largest difference of the logits at B = 0: {difference}"

# %% [markdown]
# The second check matters more here than in lesson 07. A QLoRA run can train **nothing** and say nothing but one
# warning of PyTorch's: on CPUs with a certain instruction set (AVX512-BF16), bitsandbytes 0.50 repacks the 4-bit
# weights at the first pass without gradients, for a faster kernel that has no backward pass. After that the loss is
# still printed at each step, and never falls. Our loader switches the repacking off; this is the proof that it
# worked.

# %%
from lorakit.data import collate, encode, split_reviews
from lorakit.finetune import completion_loss, evaluate, require_gradients

train, held_out = split_reviews()
evaluate(model, tokenizer, held_out[:4])  # what would set off the repacking
completion_loss(model.train(), collate(encode(train[:4], tokenizer), tokenizer.pad_token_id)).backward()
norms = require_gradients(model)
model.zero_grad()
norms

# %% [markdown]
# ## A seal on the codes
#
# Lesson 07's fingerprint is `lorakit.finetune.base_fingerprint`. It hashes whatever the model keeps and does not
# train: here codes, scales, scales of scales, norms and embeddings.

# %%
from lorakit.finetune import base_fingerprint

sealed = base_fingerprint(model)
sealed

# %% [markdown]
# ## Train
#
# **Predict** four numbers before you run: the accuracy *before* (is a base rounded to 4 bits as good as the
# original?), the accuracy after, and the time of a step and the peak memory next to lesson 07's.

# %%
from widgets import show_training

release_memory()
history = show_training(config, model, tokenizer, train=train, held_out=held_out[:400])
print(f"before: {history.before}\nafter:  {history.after}")

# %% [markdown]
# Compare with lesson 07's two lines (of your own run: stored outputs may be of different machines). If the 4-bit base
# starts lower, that is the price of rounding. If the gap is smaller after training, the adapter may have repaired some of
# the rounding, or learning the task may simply outweigh it: this run cannot tell the two apart. (And our "unrounded" base
# was rounded once before it came to us, as lesson 00 said; on a base that never was, the price may differ.)

# %%
from widgets import accuracy_figure

accuracy_figure({"before": history.before, "after": history.after}).show()

# %% [markdown]
# And the price in time and memory:

# %%
speed = f"{history.tokens_per_second:,.0f} tokens a second, {history.seconds / len(history.losses):.2f} s a step"
f"{history.seconds:.0f} s of training, {speed}, peak memory {history.peak_memory_bytes / 2**30:.2f} GiB"

# %% [markdown]
# Hold these against lesson 07's. Each layer's codes are turned back into numbers before each multiplication, on the way
# forward and again on the way back: that is work which LoRA does not have. But two single timings on a busy machine can
# fall either way. And on a CPU the peak is that of the whole process, so Python and its libraries are in both. Only the
# recorded runs below, each in a process of its own, compare fairly; look there whether QLoRA "trains faster".

# %% [markdown]
# ## What changed, and what did not

# %%
now = base_fingerprint(model)
f"codes sealed before {sealed}, after {now}: {'equal' if now == sealed else 'CHANGED'}"

# %% [markdown]
# Not one code, scale, norm or embedding moved. Here are verdicts that flipped:

# %% tags=["private-output"]
pairs = zip(held_out, history.before.predictions, history.after.predictions, strict=False)
flipped = [(row, before, after) for row, before, after in pairs if before != after]
mended = [row["prompt"] for row, before, after in flipped if after == row["completion"]]
broken = [row["prompt"] for row, before, after in flipped if before == row["completion"]]
print(f"{len(mended)} mended, {len(broken)} broken\n", *mended[:4], "--- broken:", *broken[:3], sep="\n")

# %% [markdown]
# ## Beside LoRA and full fine-tuning: what one run cannot tell
#
# Is QLoRA worse, and by how much? You have one run of LoRA and one of QLoRA, on 400 sentences. Both have intervals of three
# or four points either way, and a difference of one or two points cannot be told from noise by these. To see a small
# difference you need more sentences, several seeds, and the **paired comparison**: both models judge the same sentences,
# and only those where they disagree count.
#
# That takes too long for a lesson, so it was recorded: the same rows in the same order, three seeds, 1,000 held-out
# sentences, each run in a process of its own. The third method is **full fine-tuning**: no adapter, every weight
# trained, all in float32. Its learning rate is its own, 1e-4 where the adapters have 2e-3: of the three that lesson 06
# tried, the one with the lowest loss on held-out sentences. (These are the sentences that judge it here too, which if
# anything flatters it.) **Predict** the order of the methods: by accuracy, by the time of a step, and by peak memory.

# %%
from lorakit.records import load_record

record = load_record("lora_vs_qlora")
print(record["machine"]["summary"], record["date"], record["command"], sep="\n")
by_method = {name: [run for run in record["runs"] if run["method"] == name] for name in ("lora", "qlora", "full")}
for name, runs in by_method.items():
    print(f"\n{name}: {runs[0]['trained']:,} weights trained, learning rate {runs[0]['learning_rate']:g}")
    for run in runs:
        after, peak = run["after"], run["peak_memory_bytes"] / 2**30
        print(
            f"seed {run['seed']}  accuracy {run['before']['accuracy']:.3f} -> {after['accuracy']:.3f} "
            f"[{after['low']:.3f}, {after['high']:.3f}]  loss {after['loss']:.3f}  "
            f"{run['seconds_per_step']:.2f} s a step  peak {peak:.2f} GiB"
        )

# %% [markdown]
# With seed 0, LoRA and QLoRA are the runs that lesson 07 and this one make. Accuracy and loss differ from yours because all
# 1,000 are judged here, the times because your machine is another, or had other work, and the peaks because these processes
# kept all the programs that PyTorch compiles for products in bf16 on a CPU, one for each shape of matrix (`import lorakit`
# has it keep few, which changes no result). A step of QLoRA took longer than one of LoRA with every seed, so it does not
# "train faster" here; one of full fine-tuning took longest, with a gradient to compute for every weight.
#
# The peaks can be explained. A weight in float32 is 4 bytes; where it is trained, its gradient and the optimizer's two
# numbers are 12 more. So full fine-tuning keeps **16 bytes a weight**, LoRA 4, and QLoRA what was counted above; the
# two with adapters keep 16 for each weight of these. **Predict** what is left of each peak when that is taken off.

# %%
from statistics import fmean

every, adapter = by_method["full"][0]["trained"], by_method["lora"][0]["trained"]
scales = parts["scales"] + parts["scales of the scales"]
kept = {
    "lora": 4 * every + 16 * adapter,
    "qlora": weight_bytes(model) + scales + 12 * adapter,  # A and B are in the model already, 4 bytes each
    "full": 16 * every,
}
for name, runs in by_method.items():
    peak = fmean(run["peak_memory_bytes"] for run in runs)
    sizes = [f"{size / 2**30:.2f} GiB" for size in (peak, kept[name], peak - kept[name])]
    print("{:5}  peak {}, of which weights, gradients, optimizer {}; the rest {}".format(name, *sizes))

# %% [markdown]
# The rest is of the same size for all three, 1.8 to 2.0 GiB: Python and its libraries, compiled programs, and what a
# forward pass keeps for the way back. It is most of the peak for LoRA and QLoRA, because this model is small. In one of 8
# billion weights the other column decides, and lesson 11 does that sum.
#
# Now the differences in points of accuracy, seed by seed and over all of them:

# %%
for pair, paired in record["paired"].items():
    for seed, by in {**paired["by_seed"], "mean": paired["mean"]}.items():
        difference, low, high = (100 * by[key] for key in ("difference", "low", "high"))
        print(f"{pair:13} {seed:>4}: {difference:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}")

# %% [markdown]
# **In these three runs QLoRA did worse than LoRA**: the interval of the mean leaves zero out (it knows of the choice of
# sentences, not of that of seeds, and three are few). Two of the three seeds alone could not have told you. And "less than
# 1 % loss", as is often said? The mean is two points, but the interval reaches just below one, so these runs cannot tell
# (lesson 12 makes a verdict of that). Look at the numbers before the arrows too: rounding cost nearly six points before any
# training; after it the gap is two. Go by accuracy here: the loss also counts how sure a model is, and can rise where the
# verdicts hardly change, as in full fine-tuning's third run.
#
# **Full fine-tuning and LoRA cannot be told apart**: with two seeds the one comes out ahead, with the third the other,
# and the interval of the mean has zero nearly in its middle. That is not yet "equal": a point either way would fit.
#
# The single lines show how far seeds lie apart. All of this is *one* task and *one* small model. A larger one may lose less
# by rounding.

# %% [markdown]
# ## The paged optimizer
#
# The paper's recipe also has a **paged optimizer**. AdamW keeps two float32 numbers for each trained weight. A paged one
# has them in memory that CUDA moves between GPU and main memory, page by page, as they are needed. A batch with long
# sentences then pushes the optimizer's state out for a moment, where it would have ended the run for want of memory. The
# authors' script takes `paged_adamw_32bit` if you say nothing. `bnb.optim.PagedAdamW8bit` joins an earlier idea to paging
# (Dettmers et al., 2021): both numbers in **8 bits**, in blocks with a scale, as double quantisation keeps scales.
#
# Small tensors are left as they are: bitsandbytes 0.50 uses 8 bits from 4,096 numbers on, and pages from 100,000 on.
# **Predict:** how many of our A's and B's is that?

# %%
sizes = [weight.numel() for weight in model.parameters() if weight.requires_grad]
in_8_bits, paged = sum(size >= 4_096 for size in sizes), sum(size >= 100_000 for size in sizes)
f"of {len(sizes)} tensors, {in_8_bits} would get a state in 8 bits, and {paged} would be paged"

# %% [markdown]
# At this size it saves about 2.5 MB, and pages nothing. It is made for adapters of 160 million weights (r = 64 on every
# linear layer of a 7B model), whose AdamW would keep 1.3 GB. One step with it, where there is a GPU that can page:

# %%
import bitsandbytes as bnb

if torch.cuda.is_available():
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = bnb.optim.PagedAdamW8bit(trained, lr=config.learning_rate)
    completion_loss(model.train(), collate(encode(train[:4], tokenizer), tokenizer.pad_token_id)).backward()
    optimizer.step()
    kept = [each for state in optimizer.state.values() for each in (state["state1"], state["state2"])]
    print(f"the state fills {sum(each.nbytes for each in kept):,} bytes, where AdamW's fills {8 * sum(sizes):,}")
else:
    print("no NVIDIA GPU here: nothing to page to, and nothing to see")

# %% [markdown]
# ## The merging lab
#
# With LoRA, B A can be added into W once and for all; in float32 that moves the logits by no more than rounding
# errors (lesson 08). With QLoRA there are three bases that one could add it to:
#
# - **the base before quantising**, the one that you downloaded. The adapter has never seen it;
# - **the dequantised base**: the numbers that the codes stand for, kept as plain numbers from then on;
# - **the 4-bit base**: dequantise, add, and round to 4 bits *again*. `merge_and_unload` on a 4-bit model does this.
#
# **Predict** which comes closest to the model that you trained, and which comes last. To measure it, take the logits
# that follow 100 held-out reviews. All is computed in float32, so that only the merge differs.

# %%
from lorakit.data import LABEL_WORDS

rows = sorted(held_out[:100], key=lambda row: len(row["prompt"]))  # neighbours are as long: little padding
words = [tokenizer(word, add_special_tokens=False).input_ids[0] for word in LABEL_WORDS]
truth = torch.tensor([LABEL_WORDS.index(row["completion"]) for row in rows])


@torch.no_grad()
def next_logits(model):
    """Logits of the token that follows each review: (100, V)."""
    parts = []
    for i in range(0, len(rows), 20):
        prompts = [row["prompt"] for row in rows[i : i + 20]]
        batch = tokenizer(prompts, padding=True, return_tensors="pt").to(model.device)
        parts.append(model(**batch, logits_to_keep=1, use_cache=False).logits[:, 0].float().cpu())
    return torch.cat(parts)


# %% [markdown]
# Two numbers for each model: the **KL divergence** from the unmerged QLoRA model's next-token distribution to this one's,
# in nats, 0 where both say the same; and the accuracy.

# %%
import warnings

import transformers
import torch.nn.functional as F

transformers.logging.set_verbosity_error()  # it hides a note on the dtype
warnings.filterwarnings("ignore", "Merge lora module to 4-bit")  # peft warns of what is measured here
release_memory()
compute_in_float32(model.eval())
reference = next_logits(model)


def report(name, logits):
    """How far from the unmerged model, and how good."""
    kl = F.kl_div(logits.log_softmax(-1), reference.log_softmax(-1), reduction="batchmean", log_target=True)
    right = logits[:, words].argmax(-1) == truth
    print(f"{name:27} KL {kl.clamp(0):.5f}   accuracy {right.float().mean():.2f}")


report("QLoRA, unmerged", reference)
with model.disable_adapter():
    report("without its adapter", next_logits(model))

# %% [markdown]
# The second line is the size of what was learned. A merge that is as far off as that has lost it. Save the adapter,
# and put it into the bases with peft's own functions. First the one before quantising:

# %%
import tempfile
from peft import PeftModel

folder = tempfile.mkdtemp()
model.save_pretrained(folder)
del model, base, layers, states, history  # the adapter and the reference are kept; the rest makes room
release_memory()


def merged_into(base):
    """The base with the adapter added into its weights."""
    merged = PeftModel.from_pretrained(base, folder).merge_and_unload().eval()
    release_memory()
    return merged


merged = merged_into(load_model(dtype=torch.float32)[0])
report("base before quantising", next_logits(merged))

# %% [markdown]
# It is off, and not by the merge, which in float32 costs rounding errors alone: this base gives other logits than its 4-bit
# copy, beside which the adapter was trained. But most of what was learned is there, and the accuracy is near, as far as 100
# sentences can tell, which leave seven points either way: KL says more here. Many people merge like this, since it is the
# easiest: it makes a model that nobody has trained, and that has to be judged anew.
#
# What if that model is wanted in 4 bits? Quantise it, as the base was quantised before training. **Predict:** worse
# than the line above?

# %%
report("merged before, then 4-bit", next_logits(quantize_linears(merged, **four_bits)))

# %% [markdown]
# It comes closer. Where no adapter was, the rounding makes the very codes that were trained on. Now the dequantised
# base, kept in float32, and then in bf16:

# %%
del merged
release_memory()
base = load_model(**four_bits, dtype=torch.float32)[0].dequantize()
merged = merged_into(base)
report("dequantised base", next_logits(merged))
for weight in merged.parameters():
    weight.data.copy_(weight.to(torch.bfloat16))
report("dequantised base, in bf16", next_logits(merged))

# %% [markdown]
# The first is the model that was trained, to all the digits shown; the second is nearly so. They are no longer small: 32
# and 16 bits a weight. Last, back into the 4-bit base itself:

# %%
del merged, base, weight
release_memory()
merged = merged_into(load_model(**four_bits, dtype=torch.float32)[0])
report("4-bit base", next_logits(compute_in_float32(merged)))

# %% [markdown]
# Hold this against "without its adapter". The merge has thrown most of the fine-tune away: the model is far off again, and
# about as good as one that never had it. No error was raised; peft warns of "rounding errors", a warning that we have
# switched off.

# %% [markdown]
# ### Why so little arrives
#
# Look into one layer. **Predict** what share of its codes changes when the change is
# added, and what share of the change is there afterwards. First its three matrices: W as the codes have it, W as it
# was before quantising, and the change.

# %%
from safetensors.torch import load_file

from lorakit.quantization import quantize


def in_4_bits(weight):
    """A matrix in codes and scales, as the base was quantised."""
    return quantize(weight, config.quant_type, double_quant=config.double_quant)


saved = load_file(f"{folder}/adapter_model.safetensors")
names = sorted(name.removesuffix(".lora_A.weight") for name in saved if name.endswith(".lora_A.weight"))
name = names[len(names) // 2]
delta = config.lora_alpha / config.r * saved[f"{name}.lora_B.weight"] @ saved[f"{name}.lora_A.weight"]
place = name.removeprefix("base_model.model.")
W_before = load_model(dtype=torch.float32, device="cpu")[0].get_submodule(place).weight.data.clone()
W_codes = in_4_bits(W_before).dequantize()  # lesson 09: bitsandbytes' own codes, bit for bit
f"{place}: the change has {delta.norm() / W_before.norm():.1%} of the size of W"

# %% [markdown]
# Now add the change to each W, and quantise. The share that arrives is measured along the change itself: 100 % if it
# is all there, however much noise comes with it.

# %%
for start, W in {"the dequantised W": W_codes, "the W before quantising": W_before}.items():
    old, new = in_4_bits(W), in_4_bits(W + delta)
    differ = old.codes ^ new.codes  # two codes a byte
    changed = ((differ > 15).sum() + ((differ & 15) > 0).sum()).item() / W.numel()
    arrived = new.dequantize() - old.dequantize()
    share = ((arrived * delta).sum() / delta.pow(2).sum()).item()
    print(f"added to {start:24} {changed:5.1%} of the codes change, and {share:4.0%} of the change arrives")

# %% [markdown]
# (The size of a matrix is the root of the sum of its squares.) The dequantised W lies on the levels, every number of it. A
# change that is small beside the gap between two levels takes hardly any number past the middle of a gap, so nearly all
# round back to where they came from. (More arrives than codes change: a code that does jumps a whole gap, much more than
# its change, and each scale goes with the largest weight of its block.) The W before quantising lies anywhere in the gaps.
# The same small change takes some numbers past a middle, about as many as it should: each of them jumps too far, and on the
# average the jumps come out right.
#
# You may read that *several adapters cannot be merged into a quantised base*. It is nearly right:
#
# - It can be done, with one adapter or with several, and no error stops you. But what arrives is little, and after
#   each merge the numbers stand on levels again, so the next one is rounded away like the first.
# - A larger change, from a longer training or a higher learning rate, would cross more of the gaps. So measure it.
# - **Keep the adapters beside the base**: one base in 4 bits, and a few MB for each of them (lesson 08).
# - **Or dequantise, add them all, and keep 16 bits.**
# - **Or, if it must be 4 bits, add them to the base before quantising, quantise that once, and judge the result.**

# %% [markdown]
# ### Exercise 10.4 · merge into 4 bits
#
# *Hard, 12 minutes.* Do it by hand. `codes`, `(out_features, in_features)`, are a layer's codes, unpacked this time,
# `absmax` has the scale of each block of 64, in the order of the rows, and `levels` are the 16 levels, rising. Add the
# adapter, scaled, to what the codes stand for, and quantise the sum as lesson 09 does it: the new scale of a block is its
# largest magnitude, the code is that of the nearest level. Return the new codes, in the shape of the old,
# and the new scales, as a pair. (No double quantisation here.)


# %% exercise="10.4" points=3
def merge_into_4_bits(codes, absmax, levels, A, B, lora_alpha):
    """Codes (out_features, in_features) and scales of the layer with its adapter merged."""
    # BEGIN SOLUTION
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(codes.shape)
    blocks = (W + lora_alpha / len(A) * (B @ A)).view(-1, 64)
    new_absmax = blocks.abs().amax(dim=1)
    distances = (blocks / new_absmax[:, None])[..., None] - levels
    return distances.abs().argmin(dim=-1).view(codes.shape), new_absmax
    # END SOLUTION


# %% [markdown]
# The check makes up layers, square ones too, and code books of its own.

# %% check="10.4"
from lorakit.checks.lesson10 import check_merge_into_4_bits

check_merge_into_4_bits(merge_into_4_bits)

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
# - QLoRA is `LoRALinear` around `QuantizedLinear`: W from codes, A and B beside it in float32. Equal to peft on
#   bitsandbytes, in outputs and gradients.
# - 4.127 bits a weight with double quantisation, found in memory. Embeddings, head and norms are not 4-bit.
# - Set all of `bnb_4bit_quant_type`, `bnb_4bit_use_double_quant` and `bnb_4bit_compute_dtype`: the defaults are other
#   ones. `prepare_model_for_kbit_training` freezes, lifts 16 bits to 32, and switches checkpointing on.
# - See that gradients arrive, above all on a 4-bit base; see that the codes did not move.
# - What it saves is memory for the *base*, which pays when the base is large. Its price here: two points, and slower steps.
# - Full fine-tuning keeps 16 bytes a weight. In accuracy it could not be told from LoRA.
# - One run on 400 sentences decides nothing about one or two points: pair, repeat, and give the interval.
# - A merge into 4 bits can lose most of a fine-tune, with a warning and no error: keep the adapter beside, or merge in 16 bits.
#
# `lorakit finetune --method qlora` runs this without a notebook.
#
# Back: [lesson 09](09_quantization.ipynb). Next: [lesson 11](11_memory.ipynb) finds every byte of a training step.
