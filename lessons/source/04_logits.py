# %% [markdown]
# # 04 · Logits
#
# **In this lesson you follow the model's last vector out: one product makes 49,152 raw scores of it, softmax makes
# them probabilities, and a rule picks a word.** You set that rule with sliders, read what each block would have said,
# and turn two of the scores into a judge of film reviews.
#
# *About 50 minutes, of which the machine needs half a minute. Needs lessons 00 and 01, the section on the lens
# lesson 03 too, and a little torch. Numbers in the text are the default model's: on another, trust the cells.*
#
# You will be able to
# - compute logits from the last hidden vector, and say what a single one means;
# - say what softmax does to them, and what it cannot see;
# - say what temperature, top-k and top-p do, and write the last of them;
# - say why "the model puts out the most probable word" is one choice of many;
# - read a task off two logits, which is what lesson 07 will train.

# %% [markdown]
# ## From the last vector to scores
#
# A prompt has gone through all blocks. At its last position stands one vector of D = 576 numbers, normed once more
# (`norm.weight`; lesson 03 has RMSNorm). All that the model can say about the next word is in it. `run_with_cache`
# keeps it for us:

# %%
from lorakit.models import load_model
import torch

from lorakit.activations import run_with_cache

model, tokenizer = load_model()
ids = tokenizer("The capital of France is", return_tensors="pt").input_ids.to(model.device)
model_logits, cache = run_with_cache(model, ids)
hidden = cache["final_normed"][0, -1]
tuple(hidden.shape)

# %% [markdown]
# **`lm_head`**`.weight` (*language model head*) has one row for each token of the vocabulary. The score of a token is the
# dot product of its row with that vector: lesson 01's cosine, times both lengths. All of them at once are one product, and
# this product is the **logits**. **Predict** its shape, and how far it will be from the model's own.

# %%
head = model.get_output_embeddings().weight.detach()  # (V, D)
logits = head @ hidden
tuple(logits.shape), f"largest difference {(logits - model_logits[0, -1]).abs().max().item():.1e}"

# %% [markdown]
# (Sums in another order, so not quite zero. In 16 bits on a GPU expect about a tenth.) In texts you find it written as
# [hidden] × [lm_head.weight] = [logits]. Mind the shape: the weight is kept as (V, D), so for many vectors at once it is `x
# @ head.T`, which is `lorakit.activations.unembed`.
#
# One logit by itself is a dot product of two vectors, nothing more:

# %%
paris, london = (tokenizer(word).input_ids[0] for word in (" Paris", " London"))
f"' Paris' {(hidden * head[paris]).sum().item():.3f}, ' London' {(hidden * head[london]).sum().item():.3f}"

# %% [markdown]
# And since `head` is the embedding table too in this model (lesson 01), those rows are what `' Paris'` and
# `' London'` look like when they come *in*.

# %% [markdown]
# ## Raw scores, and probabilities
#
# Is 17.4 much? One cannot say. **Softmax** makes probabilities of scores: `p_i = exp(z_i) / Σ_j exp(z_j)`. **Predict**
# what becomes of the probability of `' Paris'` if 10 is added to all logits; and if they are all doubled.

# %%
for name, changed in {"as they are": logits, "all + 10": logits + 10, "all × 2": 2 * logits}.items():
    print(f"{name:12} p(' Paris') = {changed.float().softmax(dim=-1)[paris].item():.4f}")

# %% [markdown]
# Softmax cannot see what all scores have in common; it sees differences only. And it has a meaning for them: where
# one logit is larger by δ, its probability is larger by the factor e^δ. **Predict** how many times likelier
# `' Paris'` is than `' London'`, from the two numbers above. Then check it against the probabilities.

# %%
p = logits.float().softmax(dim=-1)
gap = (logits[paris] - logits[london]).item()
f"gap {gap:.3f}, e^gap {torch.tensor(gap).exp().item():.1f}; ratio of the probabilities {(p[paris] / p[london]).item():.1f}"

# %% [markdown]
# A picture for the whole chain. Think of an orchestra: the weights are the players, with all that they have practised; the
# tokens are the sheet music on their stands; the logits are the raw sound in the hall; softmax is the recording engineer,
# who sets the levels so that they add up to 1. Where does the picture limp? An engineer turns all players up or down alike;
# softmax makes the loud much louder. And neither of them chooses what you hear: a word is picked in a step of its own, and
# we come to it now.

# %% [markdown]
# ## Picking a word
#
# ### Temperature
#
# Doubling the logits made the likely likelier. **Temperature** is that knob the other way round: the logits are divided
# by it before softmax.

# %% [markdown]
# ### Exercise 4.1 · temperature
#
# *Easy, 4 minutes.* `logits` has shape `(..., V)`. Divide them by the `temperature`, then return the probabilities
# that softmax makes of them over the vocabulary, the last axis. For example
# `probabilities(torch.tensor([0.0, 1.0]), 0.5)` gives `[0.119, 0.881]`, since e² : 1 is 7.39 : 1.


# %% exercise="4.1" points=1
def probabilities(logits, temperature):
    """Softmax over the vocabulary at a temperature: (..., V) -> (..., V)."""
    # BEGIN SOLUTION
    return (logits / temperature).softmax(dim=-1)
    # END SOLUTION


# %% [markdown]
# The check makes up logits and temperatures, below 1 and above.

# %% check="4.1"
from lorakit.checks.lesson04 import check_probabilities

check_probabilities(probabilities)

# %% [markdown]
# **Predict** for temperatures of 0.5, 1 and 2: how likely is `' Paris'`?

# %%
for temperature in (0.5, 1.0, 2.0):
    heated = (logits.float() / temperature).softmax(dim=-1)
    print(f"temperature {temperature}: p(' Paris') = {heated[paris].item():.3f}")

# %% [markdown]
# At 0.5 it is the number that doubling gave. At 2 most of the probability has gone to others, and there are 49,151 of
# them.
#
# ### Greedy, or sampled
#
# "The most probable word is put out" is how it is often told. It is one rule, called **greedy**. The other is to
# **sample**: throw a die with 49,152 faces that is loaded with these probabilities. **Predict:** of 1,000 throws, how
# many give `' Paris'`, and how many *different* tokens come up?

# %%
from collections import Counter

generator = torch.Generator().manual_seed(0)
thrown = torch.multinomial(p.cpu(), 1000, replacement=True, generator=generator)
Counter(tokenizer.decode(i) for i in thrown).most_common(5), len(set(thrown.tolist()))

# %% [markdown]
# 755, where 773 were to be expected, and some 90 different ones. So about one text in four goes on with something other
# than `' Paris'`, and that need not be wrong: "The capital of France is the …". Now another prompt, continued by four
# rules (`top_k` 0 cuts nothing; more of it below):

# %%
sea = tokenizer("My favourite thing about the sea is", return_tensors="pt").to(model.device)
rules = {"greedy": {"do_sample": False}}
rules |= {f"temperature {t}": {"do_sample": True, "temperature": t, "top_k": 0} for t in (0.3, 1.0, 1.5)}
for name, rule in rules.items():
    torch.manual_seed(0)
    written = model.generate(**sea, max_new_tokens=25, **rule)[0, sea.input_ids.shape[1] :]
    print(f"{name}: {tokenizer.decode(written)!r}\n")

# %% [markdown]
# Greedy has nothing to throw, so it gives the same each time. (`<|im_end|>`, where it comes, is the token for "I am done".)
# At 1.0 the sense is lost before long, and at 1.5 everything falls apart: 25 throws in a row, and each of them may land on
# one of the thousands of tokens that do not fit. One such word, and the text that all later words must follow is spoilt.
#
# ### Cutting the tail
#
# So the unlikely tokens, the *tail*, are cut off before the die is thrown. **Top-k** keeps the k likeliest (Fan et al.,
# 2018). But how many are good depends on the prompt: after "The capital of France is" few, after "My favourite thing about
# the sea is" many more (we count them below). **Top-p**, or *nucleus* sampling (Holtzman et al., 2020), keeps as many as
# are needed to reach a probability of p.

# %% [markdown]
# ### Exercise 4.2 · top-p
#
# *Hard, 12 minutes.* `probabilities` has shape `(V,)`, in the order of the vocabulary. Keep the smallest set of the
# likeliest tokens whose probabilities together reach `p` (at least `p`, which is above 0 and below 1), give all others 0,
# and scale what you kept so that it adds up to 1. Return the new probabilities, each in its old place. For example
# `top_p(torch.tensor([0.1, 0.5, 0.15, 0.25]), 0.6)` gives `[0, 0.667, 0, 0.333]`: 0.5 does not reach 0.6, and 0.5 + 0.25
# does.


# %% exercise="4.2" points=3
def top_p(probabilities, p):
    """Keep the likeliest tokens that together reach p, and scale them to add up to 1: (V,) -> (V,)."""
    # BEGIN SOLUTION
    likeliest, places = probabilities.sort(descending=True)
    before = likeliest.cumsum(dim=0) - likeliest  # what those likelier than each have together
    kept = torch.zeros_like(probabilities)
    kept[places] = likeliest * (before < p)
    return kept / kept.sum()
    # END SOLUTION


# %% [markdown]
# The check makes up probabilities in any order.

# %% check="4.2"
from lorakit.checks.lesson04 import check_top_p

check_top_p(top_p)

# %% [markdown]
# transformers has all three as *logits processors*, which `generate` applies in this order: temperature, top-k,
# top-p. What is cut gets the score −∞, and so the probability 0. (The first argument below would be the ids, which this one
# does not look at.) **Predict** how many tokens top-p 0.9 keeps: for France at three temperatures, and for the sea.

# %%
from transformers import TopPLogitsWarper

with torch.no_grad():
    of_the_sea = model(**sea).logits[0, -1]
for name, scores, temperature in [("France", logits, t) for t in (0.5, 1.0, 2.0)] + [("sea", of_the_sea, 1.0)]:
    cut = TopPLogitsWarper(top_p=0.9)(None, scores.float()[None] / temperature)[0]
    print(
        f"{name:6}  temperature {temperature}: {cut.isfinite().sum().item():6,} tokens, p {cut.softmax(-1).max():.3f}"
    )

# %% [markdown]
# The cut leaves `' Paris'` with more than it had, since what is kept is scaled to 1. At a temperature of 2, thirteen
# thousand tokens share nine tenths of the probability: each of them is very unlikely, but there are so many. (If you have
# solved 4.2, hold `top_p(p, 0.9)[paris]` against the second line.)
#
# Now set the rule yourself, on a prompt of your own. Logits are the model's; they do not move with the sliders.
# Things to try:
#
# - How low must the temperature be until `' Paris'` has 99 %? What does it become as the temperature nears 0?
# - At a temperature of 2, which cut leaves only what could begin an answer, right or wrong: top-k 10, or top-p 0.9? Why
#   does the other fail?
# - Find a prompt where the model is unsure, and one where it is very sure. (The **entropy** of a die is how many bits, yes or
#   no questions, a throw is worth on average: 0 where one face has everything, 1 for a coin.)

# %%
from widgets import show_logits

show_logits(model, tokenizer, text="The capital of France is")

# %% [markdown]
# (Near 0 sampling becomes greedy. And top-p counts *after* the temperature: at 2 it takes thousands of tokens to
# reach 0.9, so it cuts too little.)
#
# A trap, since it costs people days: does `generate(do_sample=True)`, with nothing else set, throw the whole die?
# `output_scores` shows what it throws with. Guess how many tokens can come up, with `top_k` left alone and with
# `top_k=0`.

# %%
for rule in ({}, {"top_k": 0}):
    shown = {"return_dict_in_generate": True, "output_scores": True}
    scores = model.generate(ids, max_new_tokens=1, do_sample=True, **rule, **shown).scores[0]
    print(rule or "left alone", f"{scores.isfinite().sum().item():,} tokens")

# %% [markdown]
# Left alone, transformers cuts to the 50 likeliest, unless the model's own `generation_config` says otherwise.
# Whoever compares two models' samples should say what they were cut with.

# %% [markdown]
# ## What would each block have said?
#
# The vector that `lm_head` reads is the stream at the end of the last block, normed. Nothing stops us from reading
# the stream *earlier*, with the same norm and the same `lm_head`. This is the **logit lens** (nostalgebraist, 2020).
# **Predict:** after which of the 30 blocks is `' Paris'` there?

# %%
from lorakit.activations import rms_norm, unembed
from widgets import lens_figure

gamma, eps = model.state_dict()["model.norm.weight"], model.config.rms_norm_eps
blocks = range(model.config.num_hidden_layers)
streams = torch.stack([cache[f"{i}.residual"][0] for i in blocks])  # (blocks, T, D)
lens = unembed(rms_norm(streams, gamma, eps), head).float().softmax(dim=-1)  # (blocks, T, V)
best = lens.max(dim=-1)
words = [[repr(tokenizer.decode(i)) for i in row] for row in best.indices]
lens_figure([tokenizer.decode(i) for i in ids[0]], words, best.values).show()

# %% [markdown]
# Read the last column from below. Up to block 23 it is nearly always a space or a full stop, nothing to do with France;
# then come `' the'`, `' capital'`, and last `' Paris'`. Where does `' Paris'` stand among all tokens meanwhile, and where,
# to compare, do `' London'` and `' seven'`? (Counted is how many tokens are likelier, so 0 is the first place.)


# %%
def ranks(word):
    """After each block, how many tokens are likelier at the last position."""
    return (lens[:, -1] > lens[:, -1, tokenizer(word).input_ids[0], None]).sum(dim=-1).tolist()


shown = [i for i in blocks if i % 5 == 0 or i > len(blocks) - 8]
print("after block", *(f"{i:6}" for i in shown))
for word in (" Paris", " London", " seven"):
    print(f"{word!r:11}", *(f"{ranks(word)[i]:6,}" for i in shown))

# %% [markdown]
# Up to block 20 `' Paris'` is behind `' London'`, and mostly behind a word that has nothing to do with the question. Then
# both cities rise, `' Paris'` faster: near the first hundred around block 24, and first only after the very last block. A
# caution: the lens reads all blocks in the last one's language. What it cannot read in block 10 may well be there, written
# in another way.

# %% [markdown]
# ## A judge made of two logits
#
# A model that gives a score to every word can be asked anything whose answer is a word. Lessons 07 and 10 teach this
# one to judge film reviews. The prompt ends where the verdict belongs, and only two of the 49,152 logits are
# compared.

# %% [markdown]
# ### Exercise 4.3 · a verdict from two logits
#
# *Medium, 6 minutes.* `logits` has shape `(B, T, V)`: B prompts of one length, each a review followed by `Sentiment:`.
# Return a tensor of shape `(B,)`: for each, the probability of the token `positive_id` if the next token is either
# `positive_id` or `negative_id`, and no other. For example, where both have the same logit, it is 0.5, however unlikely
# both are.


# %% exercise="4.3" points=2
def chance_of_positive(logits, positive_id, negative_id):
    """How likely the verdict is positive, of two that are possible: logits (B, T, V) -> (B,)."""
    # BEGIN SOLUTION
    two = logits[:, -1, [positive_id, negative_id]]  # (B, 2)
    return two.softmax(dim=-1)[:, 0]
    # END SOLUTION


# %% [markdown]
# The check makes up logits and ids.

# %% check="4.3"
from lorakit.checks.lesson04 import check_chance_of_positive

check_chance_of_positive(chance_of_positive)

# %% [markdown]
# Four sentences, none of them from the data, each made a prompt: `Review: …`, and on the next line `Sentiment:`. For each
# **predict** the verdict; and **predict** which *share of all probability* the two words have together.

# %%
from lorakit.data import LABEL_WORDS, review_prompt

reviews = ("A clever film with a heart, and I would gladly see it twice.", "Two hours that I will never get back.")
reviews += ("It has its moments, but not many of them.", "Not bad at all.")
two = [tokenizer(word).input_ids[-1] for word in LABEL_WORDS]  # ' negative' and ' positive'
capitals = [tokenizer(word.title()).input_ids[-1] for word in LABEL_WORDS]
for review in reviews:
    with torch.no_grad():
        last = model(**tokenizer(review_prompt(review), return_tensors="pt").to(model.device)).logits[0, -1].float()
    negative, positive = last[two].softmax(dim=-1).tolist()
    together, capital = (last.softmax(dim=-1)[pair].sum().item() for pair in (two, capitals))
    likeliest = repr(tokenizer.decode(last.argmax()))
    print(
        f"positive {positive:.2f}   both {together:5.2%}   with capitals {capital:6.2%}   likeliest {likeliest:12} {review}"
    )

# %% [markdown]
# The verdicts are sensible, although the model would hardly have written either word. Twice it would rather have begun a
# sentence (`I`, `It`), once another word (`Dis…`), and once have given the verdict with a capital, which gets more in each
# line. We read only the two spellings that training will use. That is the point of reading two logits. Their *difference*
# is a judgement even where both words are unlikely.
#
# A fine-tune will do two things, and you can now tell them apart: make the two words likely, and set their difference
# right. The loss, −ln of the right word's probability, is the sum of both: −ln of what the two have together, and −ln of
# the right one's part of that. With 0.4 % together the first alone is 5.5. That is most of the loss in lesson 07, at first.
#
# How good is it? On 100 held-out sentences, about 10 seconds:

# %%
from lorakit.data import split_reviews
from lorakit.finetune import evaluate

_, held_out = split_reviews()
result = evaluate(model, tokenizer, held_out[:100])
said = Counter(result.predictions)
truth = Counter(row["completion"] for row in held_out[:100])
f"{result}; it says {said[' positive']} are positive, people {truth[' positive']}"

# %% [markdown]
# About 0.8, untaught. If it says `' positive'` more often than people do (on 100 sentences that may be chance), the line
# between the two words is drawn too low: that is part of the difference that training sets right.

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
# - logits = `x @ lm_head.weight.T`, after the final norm: `lorakit.activations.unembed`. A logit is the dot product
#   of the last vector with a token's row.
# - Softmax sees differences only: a gap of δ is a factor of e^δ in probability.
# - Greedy takes the likeliest. Sampling throws a die: temperature divides the logits, top-k and top-p cut the tail,
#   in that order, and what is left is scaled to 1.
# - The logit lens reads the stream early. Two logits make a judge: `lorakit.finetune.evaluate`.
#
# Back: [lesson 03](03_transformer_block.ipynb). Next: [lesson 05](05_weights.ipynb) puts all of lessons 01 to 04 together,
# and counts.
