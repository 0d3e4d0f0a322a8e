# %% [markdown]
# # 09 · What 4-bit really is
#
# **In this lesson you write the whole of NF4, the format in which QLoRA keeps its base: blocks, scales, a code book,
# two codes a byte.** You find it equal, in every bit, to *bitsandbytes*, the library that QLoRA came with, and measure
# what it costs a real model.
#
# *About 90 minutes, of which the machine needs 2 to 3 on a laptop with two cores. Needs lesson 00; 06 (intervals) and
# 07 (the loss) help. Lesson 10 trains on what is built here. Numbers in the text are the default model's: on another,
# trust the cells.*
#
# You will be able to
# - say what a float32, a bf16, an int8 and a 4-bit number can hold, and what they cannot;
# - say what one outlier does to the weights beside it, and what the cure, blocks, costs;
# - derive NF4's 16 levels, and say why they are not evenly spaced;
# - pack, quantise and dequantise as bitsandbytes does, bit for bit;
# - say what double quantisation saves, and what it adds in error;
# - read a table of quant types, and know how far it carries.

# %% [markdown]
# ## What a number costs
#
# A weight is a number in some *format* (its dtype): so many bits, and a rule that says what they stand for. A float has a
# sign, an exponent (which power of two) and a fraction (how far on to the next power). The exponent makes the range, the
# fraction makes the steps. (The split of fp4 below, two bits of exponent and one of fraction, or mantissa, is written
# *E2M1*.) Here are six formats, a box for each bit.

# %%
from lorakit.models import find_model, linear_shapes, load_model
import torch
from widgets import show_number_formats

show_number_formats()

# %% [markdown]
# **bf16** is float32 with 16 bits of fraction fewer, rounded to the nearest: the same range, coarser steps. **fp16**
# has finer steps and a short range: its largest number is 65,504, its least above zero 6e-8, and what is below half of
# that becomes zero. Small gradients vanish there, which is why training with it needs a *loss scaler*: the loss is
# multiplied by a large number before the backward pass, and the gradients are divided by it afterwards. **Predict**
# what becomes of 0.1, 100.3 and 70,000 in each of them.

# %%
numbers = torch.tensor([0.1, 100.3, 70_000.0])
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    print(f"{dtype!s:15}", [f"{number:.7g}" for number in numbers.to(dtype).tolist()])

# %% [markdown]
# bf16 has no number between 100 and 100.5, and fp16 none as large as 70,000. Still, both do for a network, whose
# weights are mostly small and never needed seven digits.
#
# Eight bits have 256 different values, and four have sixteen. With so few, one fixed range for all weights will not do: the
# values must go where *these* weights are. So **quantisation** stores a small whole number for each weight, the **code**,
# and next to many codes one ordinary float, the **scale**; to **dequantise** is to make numbers of them again.

# %% [markdown]
# ## A scale for whole numbers
#
# The simplest scale is the **absmax**, the largest magnitude. Divide by it, and all values lie between −1 and 1.
# Multiply by 127, round, and you have whole numbers that fit 8 bits. By hand, on four of them:

# %%
values = torch.tensor([0.806, -1.624, 0.074, 2.54])
absmax = values.abs().max()
codes = (127 * values / absmax).round()
codes, codes / 127 * absmax

# %% [markdown]
# The first row is stored, together with absmax; the second is what comes back. The step is 2.54 / 127 = 0.02 here, so
# no value is off by more than 0.01. Zero stays zero. (−128 would fit 8 bits too, and is not used, so that both sides
# are alike.)
#
# Four bits with a sign reach from −7 to 7 in the same way. That is **int4**: 15 of its 16 codes, since −8 is left out
# as −128 was.

# %% [markdown]
# ## One outlier
#
# A weight far larger than the others is an **outlier**. The step is as large as the *largest* value makes it. To measure
# what that does, take as the error the root mean square of what was changed, divided by that of the weights themselves.


# %%
def error(rounded, weights):
    """How much of the weights was changed: root mean square of the change over that of the weights."""
    return ((rounded - weights).norm() / weights.norm()).item()


def absmax_rounded(blocks, largest):
    """Rows of values, each scaled by its own absmax to whole numbers up to `largest`, and back."""
    step = blocks.abs().amax(dim=1, keepdim=True) / largest
    return (blocks / step).round() * step


# %% [markdown]
# First 4,096 normally distributed numbers with one scale for all. Then one of them, one in 4,096, is set to 50 standard
# deviations. **Predict:** how many of the others will int4 round to zero?

# %%
row = torch.randn(1, 4096, generator=torch.Generator().manual_seed(0))
spoilt = row.clone()
spoilt[0, 0] = 50
for name, values in {"as they are": row, "one outlier": spoilt}.items():
    kept = absmax_rounded(values, 7)
    zeros = (kept[:, 1:] == 0).float().mean().item()
    others = error(kept[:, 1:], values[:, 1:])
    print(f"{name}: {zeros:.1%} of the others become zero, their error is {others:.3f}")

# %% [markdown]
# With one scale for 4,096, a quarter of normal numbers are rounded to zero in any case. With the outlier it is all of
# them but a handful. Does that happen in a real model? Look for the largest weight of each matrix, measured by the
# matrix's own standard deviation. In 900,000 normal numbers the largest is usually about 5 (in a smaller matrix a
# little less).

# %%
model, tokenizer = load_model()
weights = {name: model.get_submodule(name).weight.detach() for name in linear_shapes(model)}
largest = {name: (W.abs().max() / W.std()).item() for name, W in weights.items()}
ranked = sorted(largest, key=largest.get)
for name in (ranked[0], ranked[len(ranked) // 2], *ranked[-3:]):
    print(f"{largest[name]:5.1f} standard deviations   {name}")

# %% [markdown]
# (These weights came to you rounded once already, as 4-bit codes: see near the end.) One weight lies 51
# standard deviations out, where a normal distribution would not have it in the life of the universe. Trained networks
# have such weights. (Their activations, the numbers that pass through, have outliers too, still larger ones, which is
# what LLM.int8() is about: Dettmers et al., 2022. Here we quantise weights alone.)

# %% [markdown]
# ## Blocks
#
# The cure is to let an outlier spoil few others: cut the weights into **blocks**, each with a scale of its own. (These are
# runs of neighbouring weights, 64 say, and have nothing to do with the model's blocks of lesson 03.) The matrix with that
# outlier, in int8 and int4, with one scale for all of it and in blocks of 64:

# %%
worst = weights[ranked[-1]].clone()  # its own, so that the model can go later
for bits, top in ((8, 127), (4, 7)):
    whole = error(absmax_rounded(worst.view(1, -1), top), worst.view(1, -1))
    blocks = error(absmax_rounded(worst.view(-1, 64), top), worst.view(-1, 64))
    print(f"int{bits}: error {whole:.4f} with one scale, {blocks:.4f} in blocks of 64")

# %% [markdown]
# In int4 with one scale the error is nearly 1, which is what zeros in place of all weights would give. In blocks it is a
# ninth of that, outlier and all.
#
# A scale must be kept, and costs 32 bits. Shared by 64 weights that is 32 / 64 = 0.5 bits a weight: "4 bits" are 4.5.
# Smaller blocks are more exact and cost more. **Predict** what blocks of 32 and of 4,096 cost.

# %%
from lorakit.quantization import quantize

for block_size in (32, 64, 128, 512, 4096):
    stored = quantize(worst, "int4", block_size)
    bits = 8 * stored.nbytes / worst.numel()
    print(f"blocks of {block_size:4}: {bits:.3f} bits a weight, error {error(stored.dequantize(), worst):.4f}")

# %% [markdown]
# `quantize` is the course's own quantiser, and at the end of this lesson you will know all of it. 64 is what
# bitsandbytes takes if you say nothing; it is a compromise, and no law.

# %% [markdown]
# ### Exercise 9.1 · absmax in blocks
#
# *Medium, 8 minutes.* Given `values`, a tensor of shape `(n,)`, and `block_size`, which divides n: each `block_size` values
# that lie next to each other are a block. Return a pair: the int8 `codes`, whole numbers from −127 to 127 (in whatever
# dtype), of shape `(blocks, block_size)`, and `absmax`, the scale of each block, of shape `(blocks,)`. A block of nothing
# but zeros has the codes 0: mind the division. For example `absmax_quantize(torch.tensor([1.0, -2.0, 0.0, 0.0]), 2)` gives
# the codes 64, −127 and 0, 0, and the scales 2 and 0.


# %% exercise="9.1" points=3
def absmax_quantize(values, block_size):
    """int8 codes (blocks, block_size), and the absmax of each block (blocks,)."""
    # BEGIN SOLUTION
    blocks = values.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    codes = (127 * blocks / absmax.clamp(min=1e-30)[:, None]).round()  # the clamp is for a block of zeros
    return codes, absmax
    # END SOLUTION


# %% [markdown]
# The check makes up blocks of several sizes, some of zeros.

# %% check="9.1"
from lorakit.checks.lesson09 import check_absmax_quantize

check_absmax_quantize(absmax_quantize)

# %% [markdown]
# ## Code books
#
# int4's levels are evenly spaced, like the marks of a ruler. Nothing says that they must be. Once a code is only the *place
# in a list*, the list may hold any 16 numbers between −1 and 1: a **code book**. Where should its levels lie? Close
# together where most weights are. Lay the code books over the weights of a real matrix, each divided by the absmax of its
# block, and change the **quant type** (which code book it is) and the block size. (Double quantisation comes later. The
# *entropy* of the codes says how many bits they would need if each were written as briefly as it is frequent: 4 if all are
# used alike.) **Predict** which levels of int4 are hardly used.

# %%
from transformers import AutoConfig
from widgets import show_quantization

middle = weights[ranked[len(ranked) // 2]].clone()
show_quantization(middle, config=AutoConfig.from_pretrained(find_model()), quant_type="int4", double_quant=False)

# %% [markdown]
# Most weights lie around zero, and int4 spends half of its marks on the thin ends. **fp4** is a float of four bits,
# E2M1: its gaps grow outwards, but for one level and its mirror that bitsandbytes has moved (more of that below).
# **nf4**, *NormalFloat*, is made for this very shape.

# %% [markdown]
# ### NF4, derived
#
# Suppose that weights are normally distributed, as they nearly are. Then let each level stand for as many weights as any
# other, so that none lies idle. (That is a good use of the codes. It is not quite the book of least error: one could be
# fitted, by setting each level to the mean of the weights that it stands for, again and again.) The point below which a
# share p of a distribution lies is its **quantile**; torch computes it with `icdf`. Equal steps in p give points that lie
# close together in the middle:

# %%
normal = torch.distributions.Normal(0.0, 1.0)
shares = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
[round(point, 2) for point in normal.icdf(shares).tolist()]

# %% [markdown]
# Two things must be settled. The quantiles of 0 and 1 are infinite, so one stops half a step inside. Half a step in p would
# be 1/32 with 16 levels and 1/30 with 15; NF4 takes the mean of both, and stops at 0.9677. And zero should be a level, so
# that a weight of zero stays zero; but 16 quantiles, the same on both sides, have none. So NF4 takes 8 quantiles above zero
# and 7 below it, and zero itself. Last, all is divided by the largest, since blocks are scaled to 1.

# %%
outermost = 1 - (1 / 32 + 1 / 30) / 2
above = normal.icdf(torch.linspace(outermost, 0.5, 9)[:-1])  # eight, and without the ninth, which is zero
below = -normal.icdf(torch.linspace(outermost, 0.5, 8)[:-1])  # seven
levels = torch.cat([below, torch.zeros(1), above.flip(0)])
levels = levels / levels.max()
[round(level, 4) for level in levels.tolist()]

# %% [markdown]
# Is it bitsandbytes' own table? (`code_book` of the course takes these quantiles in float64, here they are in float32.)

# %%
import bitsandbytes.functional as bnb
from lorakit.quantization import code_book

theirs = bnb.get_4bit_type("nf4", device="cpu")
print(f"derived here: largest difference {(levels - theirs).abs().max().item():.1e}")
print(f"code_book: the same in every bit: {torch.equal(code_book('nf4'), theirs)}")

# %% [markdown]
# ### How normal are real weights?
#
# NF4's recipe rests on that. The **kurtosis** says how heavy a distribution's tails are, that is, how much of it lies far
# out: the mean of the fourth power, over the square of the mean square. A normal one has 3; in blocks of 64, each with a
# mean square of its own, a little less (3 · 64 / 66 = 2.91 in theory; the cell draws some). Over whole matrices, and within
# blocks:


# %%
def kurtosis(rows):
    """Mean fourth power of each row over the square of its mean square: 3 for normal numbers."""
    squares = rows.square()
    return squares.square().mean(dim=1) / squares.mean(dim=1).square()


whole = torch.cat([kurtosis(W.view(1, -1)) for W in weights.values()])
blocks = torch.cat([kurtosis(W.view(-1, 64)) for W in weights.values()])
print(f"whole matrices: median {whole.median():.2f}, largest {whole.max():.1f}")
random_blocks = torch.randn(20_000, 64, generator=torch.Generator().manual_seed(0))
print(f"blocks of 64: mean {blocks.mean():.2f}; normal numbers: {kurtosis(random_blocks).mean():.2f}")

# %% [markdown]
# Whole matrices are far from normal in places, with tails like the outliers above. Blocks are nearer to it in the mean:
# they make the recipe's assumption nearly true. **Predict:** how equally are the 16 levels used, where 6.25 % each would be
# even?

# %%
for quant_type in ("nf4", "int4", "fp4"):
    packed = quantize(middle, quant_type).codes
    used = torch.cat([packed >> 4, packed & 15]).bincount(minlength=16) / middle.numel()
    by_level = used[code_book(quant_type).argsort()]  # from the least level to the largest
    print(f"{quant_type:5}", *(f"{share:5.1%}" for share in by_level.tolist()))

# %% [markdown]
# Not equally, though more evenly than those of int4: 1.7 to 10 % against 1.1 to 16 % (and a level, −8 / 7, that is never
# used: the quantiser takes 15 of int4's 16 codes). The quantiles were taken as if
# the outermost level stood at 1.85 standard deviations. But a block is scaled by its largest weight, and among 64 that
# one lies farther out. How far?

# %%
for name, rows in {"real": middle.view(-1, 64), "normal": random_blocks}.items():
    farthest = rows.abs().amax(dim=1) / rows.square().mean(dim=1).sqrt()
    print(f"{name}: the largest of a block is {farthest.mean():.2f} times its root mean square")

# %% [markdown]
# 2.6 to 2.7 times. So the outer levels are used less than equal shares would have it, and the inner ones more: the
# recipe does not know of absmax.

# %% [markdown]
# ### Exercise 9.2 · the nearest level
#
# *Medium, 6 minutes.* `values` is `(n,)`, already scaled; `levels` is a code book, 16 numbers in **any** order.
# Return for each value the code of the level nearest to it, `(n,)`. A code is a place in `levels`, counted from 0. Of
# two levels that are equally near, take the one with the lower code: fp4 lists 0 twice, as zero and as minus zero
# (bitsandbytes breaks fp4's ties in a way of its own). For
# example `nearest_code(torch.tensor([0.2, -0.7]), torch.tensor([0.0, 1.0, -1.0]))` gives 0 and 2.


# %% exercise="9.2" points=2
def nearest_code(values, levels):
    """The code of the level nearest to each value: (n,) and (16,) -> (n,)."""
    # BEGIN SOLUTION
    distances = (values[:, None] - levels).abs()  # (n, 16)
    return distances.argmin(dim=1)
    # END SOLUTION


# %% [markdown]
# The check takes the levels of nf4, int4 and fp4.

# %% check="9.2"
from lorakit.checks.lesson09 import check_nearest_code

check_nearest_code(nearest_code)

# %% [markdown]
# ## Two codes a byte
#
# A code of 4 bits is half a byte, and memory is counted in bytes. So two share one. Bits are moved with shifts: `<< 4`
# moves a number four places up, which is 16 times as much, and `|` puts another into the free places. Back again,
# `>> 4` gives the upper half and `& 15` the lower one.

# %%
first, second = 11, 6
byte = first << 4 | second
print(f"{first:04b} and {second:04b} make {byte:08b}, which is {byte}; back: {byte >> 4}, {byte & 15}")

# %% [markdown]
# ### Exercise 9.3 · pack
#
# *Easy, 5 minutes.* `codes` are `(2 n,)` whole numbers from 0 to 15, in uint8. Return `(n,)` bytes, in uint8, each
# with two neighbouring codes: the first of them in the higher half, the second in the lower one.


# %% exercise="9.3" points=2
def pack(codes):
    """Two codes of 4 bits a byte, the first in the higher half: (2 n,) -> (n,)."""
    # BEGIN SOLUTION
    return codes[0::2] << 4 | codes[1::2]
    # END SOLUTION


# %% [markdown]
# The check makes up codes.

# %% check="9.3"
from lorakit.checks.lesson09 import check_pack

check_pack(pack)

# %% [markdown]
# ## All of NF4
#
# Blocks, scales, nearest level, two a byte. In a sorted code book the nearest level is found by counting how many
# *middles* between two levels lie below, which is quicker than 16 distances.


# %%
levels = code_book("nf4")
middles = (levels[:-1] + levels[1:]) / 2


def nf4_quantize(weight, block_size=64):
    """Packed codes, and the scale of each block."""
    blocks = weight.float().view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    scaled = blocks * (1 / absmax.clamp(min=1e-38))[:, None]
    codes = torch.bucketize(scaled, middles).to(torch.uint8).flatten()
    return codes[0::2] << 4 | codes[1::2], absmax


def nf4_dequantize(packed, absmax, shape):
    """The weights that codes and scales stand for."""
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().int()
    return (levels[codes].view(len(absmax), -1) * absmax[:, None]).view(shape)


# %% [markdown]
# Equal in every bit, it said above. Hold it against bitsandbytes, on the real matrix with the outlier: the codes, the
# scales, and the weights once dequantised.

# %%
packed, absmax = nf4_quantize(worst)
their_packed, state = bnb.quantize_4bit(worst, blocksize=64, quant_type="nf4")
print("codes differ: ", (packed != their_packed.flatten()).sum().item(), "of", f"{packed.numel():,} bytes")
print("scales differ:", (absmax != state.absmax).sum().item(), "of", f"{absmax.numel():,}")
back, their_back = nf4_dequantize(packed, absmax, worst.shape), bnb.dequantize_4bit(their_packed, state)
print("weights differ:", (back != their_back).sum().item(), "of", f"{back.numel():,}")

# %% [markdown]
# Nothing differs. That is all there is to "4-bit NormalFloat". `lorakit.quantization.quantize` is this, with fp4, int4
# and int8, with blocks that are not full and with double quantisation; its tests compare it with bitsandbytes on some
# hundred kinds of weights.
#
# (An aside, up to the next heading, for those who want to know what "every bit" takes.) One line is not what you would
# write: `blocks * (1 / absmax)`, where division is meant. A reciprocal is rounded, and the product once more, so it may
# differ from a quotient in its last bit. That matters where a value lies in the very middle of two levels, and in 16
# bits many do. **Predict** in how many of the bytes, with fp4, on the same weights in bf16:

# %%
halved = worst.to(torch.bfloat16)
blocks, rising = halved.float().view(-1, 64), code_book("fp4").sort(stable=True)
absmax = blocks.abs().amax(dim=1, keepdim=True)
theirs, _ = bnb.quantize_4bit(halved, blocksize=64, quant_type="fp4")
for name, scaled in {"blocks / absmax": blocks / absmax, "blocks * (1 / absmax)": blocks * (1 / absmax)}.items():
    codes = torch.bucketize(scaled, (rising.values[:-1] + rising.values[1:]) / 2)
    codes = rising.indices[codes].to(torch.uint8).flatten()
    apart = ((codes[0::2] << 4 | codes[1::2]) != theirs.flatten()).sum().item()
    print(f"{name:22} {apart:,} of {theirs.numel():,} bytes differ")

# %% [markdown]
# Few, and near ties, which may as well go either way. But "equal in every bit" holds only if the same rounding is done.

# %% [markdown]
# ## Why nf4, and not int4?
#
# First the weights: every linear layer of the model but `lm_head`, in blocks of 64, and beside it as many numbers from
# a normal distribution as one of the largest matrices has. **Predict** the order of the four types. (20 seconds.)
# (All that follows is about plain rounding with absmax. Methods that look at the model's inputs while they round, such as
# GPTQ and AWQ, are another subject.)


# %%
def model_error(quant_type, **options):
    """Error over all these weights together."""
    changed = squared = 0.0
    for W in weights.values():
        changed += (quantize(W, quant_type, **options).dequantize() - W).square().sum().item()
        squared += W.square().sum().item()
    return (changed / squared) ** 0.5


random = torch.randn(worst.shape, generator=torch.Generator().manual_seed(0))
errors = {quant_type: model_error(quant_type) for quant_type in ("int8", "nf4", "int4", "fp4")}
for quant_type, each in errors.items():
    on_random = error(quantize(random, quant_type).dequantize(), random)
    print(f"{quant_type:5} error {each:.4f}; on random numbers {on_random:.4f}")

# %% [markdown]
# nf4 is best of the 4-bit types. int8 is in another class, at twice the bits. And all are a little larger than on normal
# numbers, whose tails are thinner. The worst is fp4, and not int4 as in the paper (its Table 2, below). Is that the model's
# fault? The paper's fp4 is *E2M1*, whose least level above zero is 1/12, where bitsandbytes has 1/192. **Predict** what
# moving that level, ±1/12, to ±1/192 does.

# %%
from lorakit.quantization import nearest


def book_error(levels):
    """Error over all these weights with a code book of one's own, in blocks of 64."""
    changed = squared = 0.0
    for W in weights.values():
        blocks = W.view(-1, 64)
        absmax = blocks.abs().amax(dim=1, keepdim=True).clamp(min=1e-38)
        back = levels[nearest(blocks / absmax, levels).int()] * absmax
        changed += (back - blocks).square().sum().item()
        squared += blocks.square().sum().item()
    return (changed / squared) ** 0.5


above = torch.tensor([1, 2, 3, 4, 6, 8, 12]) / 12
for name, least in {"E2M1": 1 / 12, "bitsandbytes": 1 / 192}.items():
    above[0] = least
    print(f"{name:13} error {book_error(torch.cat([-above, torch.zeros(1), above])):.4f}")

# %% [markdown]
# With that level where the paper has it, fp4 is better than int4: the paper's order (which is one of perplexities; this
# is one of errors). bitsandbytes' fp4 has four codes, zero, minus zero and ±1/192, nearly on one spot (the middle of
# its row in the shares above), and its next level is 1/6: a wider gap around zero than int4's. One level, and its
# mirror.
#
# Then the model. `QuantizedLinear` is a linear layer that keeps codes and scales only, and dequantises them whenever it is
# used (more of it below). Put it in the place of every linear layer but `lm_head`, and judge reviews, as lesson 07 does: is
# one positive or negative, where a coin would be right half the time? A hundred of them are few, so **predict** how far
# apart two of these accuracies must be to mean anything.


# %%
import gc

from lorakit.data import split_reviews
from lorakit.finetune import evaluate
from lorakit.quantization import QuantizedLinear


def quantize_linears(model, quant_type):
    """Every linear layer but lm_head becomes codes, in place."""
    for name in linear_shapes(model):
        parent, _, last = name.rpartition(".")
        layer = QuantizedLinear(model.get_submodule(name), quant_type)
        setattr(model.get_submodule(parent), last, layer)
    return model


# %% [markdown]
# This is `lorakit.quantization.quantize_linears`. Now a fresh model each time. (About 45 seconds. To save memory the model
# and `weights` go: before you run this cell or one above it again, run the cell under "One outlier" that loads the model.)

# %%
reviews = split_reviews()[1][:100]
weights.clear()
print("none:", evaluate(model, tokenizer, reviews))
for quant_type in ("int8", "nf4", "fp4", "int4"):
    del model  # two at once are too many for a small machine
    _ = gc.collect()
    model = quantize_linears(load_model()[0], quant_type)
    print(f"{quant_type}:", evaluate(model, tokenizer, reviews))

# %% [markdown]
# Each of these is good to eight points or so either way. Held side by side, two such must be some twelve apart before it
# means anything: only int4's gap to "none" reaches that, just so, and of fp4 and nf4 one cannot say. On the *same*
# sentences, as here, one can take the difference sentence by sentence (a *paired comparison*: lesson 10), which tells
# smaller differences apart; there is one below. (The loss goes its own way. It is taken over the whole vocabulary, and asks
# first whether the model expects one of these two words at all, spelled like this. That is what training mends first:
# lesson 07.)

# %% [markdown]
# ### On 1,000 reviews, and on plain text
#
# More takes longer than a lesson may, so it is recorded, with the command that made it: 1,000 held-out reviews, and
# besides 500 sentences of newspaper editorials, where the loss is taken over every token, in *nats*, the unit of −ln p.
# Brackets are 95 % intervals of the *difference* to the model as it is, on the same sentences.

# %%
from lorakit.records import load_record

record = load_record("quant_types")
print(record["machine"]["summary"], record["date"], record["command"], sep="\n")


def line(name, words=None):
    """A run of the record in words."""
    run = record["runs"][name]
    by, nats = run["reviews"]["minus_first"], run["news"]["minus_first"]
    points = f"{100 * by['difference']:+5.1f} points [{100 * by['low']:+.1f}, {100 * by['high']:+.1f}]"
    loss = f"{run['news']['loss']:.3f}, {nats['difference']:+.4f} [{nats['low']:+.3f}, {nats['high']:+.3f}]"
    words = words or name
    return f"{words:28} error {run['error']:.3f}   reviews {run['reviews']['accuracy']:.3f} {points:28} news {loss}"


print(*map(line, ["none", "int8", "nf4", "nf4, double", "int4", "fp4"]), sep="\n")

# %% [markdown]
# 8 bits cost nothing that can be seen. 4 bits cost this small model 6 points with nf4, and 10 to 11 with int4 and fp4;
# on plain text 0.28 to 0.35 nats a token. nf4 is best both times. On plain text its lead over int4 is 0.016 nats,
# though, which is little, as you will see at once.
#
# Beside it the paper's Table 2 (Dettmers et al., 2023): mean **perplexity**, e to the power of the loss, of models from
# 125 million to 13 billion weights, on web text. The two halves have other models and other text: compare the order of the
# rows in each, never a number of one half with one of the other.
#
# | paper | perplexity |   | here, on news | perplexity |
# |---|---|---|---|---|
# | Int4 | 34.34 | | int4 | 175.3 |
# | Float4 (E2M1) | 31.07 | | fp4 | 184.9 |
# | Float4 (E3M0) | 29.48 | | | |
# | NFloat4 + double quantisation | 27.41 | | nf4 + double quantisation | 173.5 |
#
# nf4 comes first in both. But int4, the worst there, is *not* the worst here: fp4 is, on the weights and the news (on
# reviews the two are level). On the weights the level that you moved above is the reason; on the news that was not tried.
# Compare ranks only: the paper has many models, most of them larger, and here are single sentences with nothing before
# them.

# %% [markdown]
# ### How much of that is luck?
#
# Rounding moves each weight up or down as good as by chance. Another throw of the dice is easy to have: quantise −W, and
# turn the signs back. NF4 is not symmetric, so nearly every weight meets other levels; the format, the bits and the error
# stay. **Predict** how far two such throws are apart, and whether smaller blocks always win.

# %%
throws = {"nf4, blocks of 32": "blocks of 32", "nf4": "blocks of 64", "nf4, mirrored": "blocks of 64, mirrored"}
throws |= {f"nf4, {words}": words for words in ("blocks of 256", "blocks of 256, mirrored")}
print(*(line(name, words) for name, words in throws.items()), sep="\n")

# %% [markdown]
# In blocks of 64 the two throws are 2 points and 0.018 nats apart, in blocks of 256 6.5 points and 0.19 nats, with *the
# same error* of the weights to three digits. So differences as large as most of those above can be luck. The brackets
# do not know of it: they know of the chance in the sentences, as in lesson 06, and not of the one in the rounding.
#
# - **What stands:** 4 bits cost this model points, and nf4's error on the weights is the smallest.
# - **What agrees with it, and proves little:** both throws of nf4 in blocks of 64 were ahead of the one of int4 and the
#   one of fp4: on reviews by 4 to 7 points, two to three times what the throws differ by; over int4 on news by 0.016 and 0.034
#   nats, where the throws are 0.018 apart. (int4 and fp4 are symmetric, so a mirror gives them no second throw.)
# - **What does not stand:** whatever hangs on 0.02 nats, and "smaller blocks always win". Blocks of 32 have the smallest
#   error, and are worse than blocks of 64 on reviews and better on news; "blocks of 256 are better on plain text than
#   blocks of 64" is what one would have read off the first throws alone.
# - int8's loss is 0.005 *below* that of the model as it is, and its bracket leaves zero out. That bracket, too, knows
#   of sentences alone: a change so small may fall to the good side.
#
# A model of 135 million weights feels 4 bits far more than a large one does, and nothing here is trained after it:
# lesson 10 does that.

# %% [markdown]
# ## Double quantisation
#
# The scales cost 0.5 bits a weight, an eighth of the codes. They are numbers like others, so quantise *them*, which is
# **double quantisation**: each in 8 bits, and 256 of them share one float32 (Dettmers et al., 2023, section 3). Their
# levels are not evenly spaced either: bitsandbytes' *dynamic* code book has 256: half of the positive ones between 0.1 and
# 1, half of the rest in the power of ten below, and so on, which makes them dense around zero. Scales are all positive, and
# would use one half of it, so their mean is taken off first.
#
# $$\frac{32}{64} - \left(\frac{8}{64} + \frac{32}{64 \cdot 256}\right) = 0.5 - 0.127 = 0.373 \text{ bits a weight}$$

# %% [markdown]
# ### Exercise 9.4 · scales of scales
#
# *Hard, 10 minutes.* `absmax` is `(n,)`, the scales of n blocks; `group_size` divides n; `levels` are 256. Take the mean
# of all scales off. Cut the rest into groups of `group_size`, and divide each by its largest magnitude. Return three
# things: the `codes` of the nearest levels, `(groups, group_size)`, the `largest` magnitude of each group, `(groups,)`,
# and the `mean`. You need not look out for zeros here.


# %% exercise="9.4" points=3
def double_quantize(absmax, group_size, levels):
    """Codes (groups, group_size), the largest magnitude of each group (groups,), and the mean."""
    # BEGIN SOLUTION
    mean = absmax.mean()
    groups = (absmax - mean).view(-1, group_size)
    largest = groups.abs().amax(dim=1)
    quotients = groups / largest[:, None]
    codes = (quotients[..., None] - levels).abs().argmin(dim=-1)
    return codes, largest, mean
    # END SOLUTION


# %% [markdown]
# The check makes up scales, in groups of several sizes.

# %% check="9.4"
from lorakit.checks.lesson09 import check_double_quantize

check_double_quantize(double_quantize)

# %% [markdown]
# Now on a real matrix. **Predict** the bits saved, and whether the error grows by a tenth, a hundredth or less.

# %%
for double_quant in (False, True):
    stored = quantize(worst, "nf4", double_quant=double_quant)
    bits = 8 * stored.nbytes / worst.numel()
    print(f"double_quant={double_quant}: {bits:.4f} bits a weight, error {error(stored.dequantize(), worst):.5f}")

# %% [markdown]
# 0.373 bits, as computed, and the error hardly moves: a scale in 8 bits is off by much less than its weights are. Do
# the mean and the odd levels matter? The scales themselves, in three ways:

# %%
from lorakit.quantization import dynamic_levels

scales = quantize(worst, "nf4").absmax
mean, evenly = scales.mean(), torch.linspace(-1, 1, 255)


def in_8_bits(scales, levels):
    """Scales in groups of 256, each divided by its largest magnitude, as levels, and back."""
    largest = [group.abs().max() for group in scales.split(256)]
    groups = zip(scales.split(256), largest, strict=True)
    return torch.cat([levels[nearest(group / top, levels).int()] * top for group, top in groups])


print(f"mean taken off, dynamic levels: {error(in_8_bits(scales - mean, dynamic_levels()) + mean, scales):.4f}")
print(f"mean kept, dynamic levels:      {error(in_8_bits(scales, dynamic_levels()), scales):.4f}")
print(f"mean taken off, evenly spaced:  {error(in_8_bits(scales - mean, evenly) + mean, scales):.4f}")

# %% [markdown]
# For the scales they do: with the mean taken off the error is less than half of what it is with the mean kept, and levels
# that are dense around zero do better than even ones. The weights would hardly notice either way: the errors add up as
# squares, and 0.01 beside 0.094 is little.

# %% [markdown]
# ## These weights had been rounded once before
#
# The default model comes from a file in which its linear layers were in 4 bits already, in a format called *Q4_1*, in
# blocks of 32 along a row. That makes it small enough for pip. It can still be seen. **Predict:** how many *different*
# numbers are in a block of 32?

# %%
distinct = (middle.view(-1, 32).sort(dim=1).values.diff(dim=1) != 0).sum(dim=1) + 1
print(f"at most {distinct.max().item()}, {distinct.float().mean():.1f} on average")
normal_block = torch.randn(1000, 32)
f"in random numbers: {min(len(block.unique()) for block in normal_block)} at the least"

# %% [markdown]
# Never more than 16 in 32: Q4_1 keeps a scale and a minimum for each block, and 16 evenly spaced levels between. So the
# row "none" above is itself a rounded model, and all we measured is what a *second* rounding adds. Does the first one
# falsify the errors of the second? We have not got the weights from before. But random numbers can be rounded once, in
# the manner of Q4_1, and then again:


# %%
def rounded_once(values):
    """In the manner of Q4_1: blocks of 32, 16 evenly spaced levels from the smallest to the largest."""
    blocks = values.view(-1, 32)
    low, high = blocks.amin(dim=1, keepdim=True), blocks.amax(dim=1, keepdim=True)
    step = (high - low) / 15
    return (low + step * ((blocks - low) / step).round()).view(values.shape)


once = rounded_once(random)
for quant_type in ("nf4", "int4", "fp4"):
    fresh, second = (error(quantize(values, quant_type).dequantize(), values) for values in (random, once))
    print(f"{quant_type:5} error {fresh:.4f} on fresh random numbers, {second:.4f} on the same rounded once before")

# %% [markdown]
# On normal numbers the error of the second rounding changes by a hundredth of itself at most. This much is measured. What
# is *not*: how much the model lost by the first rounding, or how a model that was never rounded would take nf4. And mind
# one thing: in Q4_1 these very weights take 5 bits (4, and two 16-bit numbers for 32 weights) with no error at all. A
# format that was made for other weights must lose to the one that these were stored in.

# %% [markdown]
# ## A layer of codes
#
# What is in a `QuantizedLinear`? Codes and scales, and nothing else: no parameter, so nothing that an optimizer could
# train.

# %%
layer = torch.nn.Linear(middle.shape[1], middle.shape[0], bias=False)
layer.weight.data = middle
quantized = QuantizedLinear(layer, "nf4", double_quant=True)
for name, buffer in quantized.named_buffers():
    print(f"{name:13} {buffer.dtype!s:14} {buffer.nbytes:>9,} bytes")
total = sum(buffer.nbytes for buffer in quantized.buffers())
f"{total:,} bytes for {middle.nbytes:,}; parameters: {list(quantized.parameters())}"

# %% [markdown]
# (`absmax_codes` are the scales in 8 bits; `absmax` is the largest of each *group* of scales.) Each forward pass makes W
# from these, in the dtype of its input, multiplies, and throws W away. *Autograd*, the part of torch that computes
# gradients, keeps in a forward pass what it will need on the way back. **Predict:** what does it keep here, since the
# backward pass needs W once more?

# %%
x = torch.randn(4, middle.shape[1], requires_grad=True)


def bytes_kept(forward):
    """Bytes that autograd keeps of a forward pass, and the gradient of x from the backward pass."""
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor.nbytes) or tensor, lambda t: t):
        y = forward(x)
    return sum(saved), torch.autograd.grad(y.sum(), x)[0]


ours, gradient = bytes_kept(quantized)
plain, its_gradient = bytes_kept(lambda x: x @ quantized.quantized.dequantize().T)
print(f"kept by QuantizedLinear: {ours:,} bytes; where W is made in sight of autograd: {plain:,}")
print(f"gradients of x differ by {(gradient - its_gradient).abs().max().item():.1e}")

# %% [markdown]
# No tensor that is not there anyway: the backward pass dequantises the layer's codes again. That costs time (lessons 10
# and 12 measure how much), and spares keeping W in every layer at once, which is the point of it. The gradient goes
# *through* W to what lies below. W itself has none, and needs none: in lesson 10 it is
# `LoRALinear(QuantizedLinear(...))` that is trained, and only A and B in it (for which the adapter does keep its
# input).

# %% [markdown]
# ## What is often said
#
# | said | measured or written |
# |---|---|
# | "4-bit means int4" | NF4 and fp4 are code books whose levels are *not* evenly spaced. int4's are, and it is the worst row of the paper's Table 2 |
# | "the model computes in 4 bits" | in bitsandbytes codes are dequantised at run time; products are computed in bf16, fp16 or float32 |
# | "4 bits a weight" | 4.5 in blocks of 64, 4.127 with double quantisation, and embeddings and norms stay as they are |
# | "QLoRA came from Hugging Face", or from Meta | from the University of Washington (Dettmers et al., 2023); Hugging Face took it into its libraries |

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
# - A low-bit weight is a code, and its value a level of a code book times the scale of its block.
# - An absmax scale is at the mercy of the largest weight. Blocks keep the harm small, at 32 / 64 = 0.5 bits a weight.
# - NF4's levels are quantiles of a normal distribution, and within blocks real weights nearly have one. The whole of it
#   is some fifteen lines, equal to bitsandbytes on a CPU in every bit: `lorakit.quantization.quantize`.
# - Double quantisation saves 0.373 bits a weight, and costs next to nothing.
# - Codes are stored, not computed with: `QuantizedLinear` dequantises forward, and again backward.
#
# Back: [lesson 08](08_adapters.ipynb). Next: [lesson 10](10_qlora_finetune.ipynb) puts LoRA on top, and trains.
