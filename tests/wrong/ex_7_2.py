# %% hard-coded -> returns the same for every input
def loss_of_completion(logits, labels):
    return 6.02


# %% no shift -> at its own position
def loss_of_completion(logits, labels):
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())


# %% shifted the wrong way -> shifted the wrong way
def loss_of_completion(logits, labels):
    return torch.nn.functional.cross_entropy(logits[:, 1:].flatten(0, 1), labels[:, :-1].flatten())


# %% shifted twice -> shifted twice
def loss_of_completion(logits, labels):
    logits, labels = logits[:, :-1], labels[:, 1:]
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


# %% no mask -> -100 was taken for a token
def loss_of_completion(logits, labels):
    log_p = logits[:, :-1].log_softmax(dim=-1)
    texts, places = torch.arange(len(labels))[:, None], torch.arange(labels.shape[1] - 1)
    return -log_p[texts, places, labels[:, 1:]].mean()


# %% no mask, with gather -> -100 is out of bounds
def loss_of_completion(logits, labels):
    return -logits[:, :-1].log_softmax(dim=-1).gather(-1, labels[:, 1:, None]).mean()


# %% mask clamped away -> count as token 0
def loss_of_completion(logits, labels):
    wanted = labels[:, 1:].clamp(min=0)
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), wanted.flatten())


# %% mask not shifted -> the labels before their shift
def loss_of_completion(logits, labels):
    log_p, wanted, learned = logits[:, :-1].log_softmax(dim=-1), labels[:, 1:], labels[:, :-1] != -100
    return -log_p[learned, wanted[learned]].mean()


# %% last position -> looks at the last position alone
def loss_of_completion(logits, labels):
    return torch.nn.functional.cross_entropy(logits[:, -2], labels[:, -1])


# %% last position, -100 and all -> looks at the last position alone
def loss_of_completion(logits, labels):
    return -logits[:, -2].log_softmax(dim=-1)[torch.arange(len(labels)), labels[:, -1]].mean()


# %% sum -> This is the sum
def loss_of_completion(logits, labels):
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")


# %% zeros averaged -> divides by all positions that predict
def loss_of_completion(logits, labels):
    losses = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="none")
    return losses.mean()


# %% divided by all labels -> divides by the number of all labels
def loss_of_completion(logits, labels):
    scores, wanted = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    return torch.nn.functional.cross_entropy(scores, wanted, reduction="sum") / labels.numel()


# %% divided by the texts -> divides by the number of texts
def loss_of_completion(logits, labels):
    scores, wanted = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    return torch.nn.functional.cross_entropy(scores, wanted, reduction="sum") / len(labels)


# %% mean of means -> a mean of the texts' means
def loss_of_completion(logits, labels):
    rows = zip(logits[:, :-1], labels[:, 1:], strict=True)
    return sum(torch.nn.functional.cross_entropy(scores, wanted) for scores, wanted in rows) / len(labels)


# %% first text -> the first text alone
def loss_of_completion(logits, labels):
    return torch.nn.functional.cross_entropy(logits[0, :-1], labels[0, 1:])


# %% first token -> completion's first token alone
def loss_of_completion(logits, labels):
    log_p, losses = logits.log_softmax(dim=-1), []
    for row, ids in zip(log_p, labels, strict=True):
        place = (ids != -100).nonzero()[0, 0]
        losses.append(-row[place - 1, ids[place]])
    return sum(losses) / len(losses)


# %% last token -> completion's last token alone
def loss_of_completion(logits, labels):
    log_p, losses = logits.log_softmax(dim=-1), []
    for row, ids in zip(log_p, labels, strict=True):
        place = (ids != -100).nonzero()[-1, 0]
        losses.append(-row[place - 1, ids[place]])
    return sum(losses) / len(losses)


# %% sign -> The sign is the other way round
def loss_of_completion(logits, labels):
    log_p, wanted = logits[:, :-1].log_softmax(dim=-1), labels[:, 1:]
    return log_p[wanted != -100, wanted[wanted != -100]].mean()


# %% base 2 -> in bits, with a logarithm to base 2
def loss_of_completion(logits, labels):
    p, wanted = logits[:, :-1].softmax(dim=-1), labels[:, 1:]
    return -p[wanted != -100, wanted[wanted != -100]].log2().mean()


# %% logarithm of the mean -> averages the probabilities
def loss_of_completion(logits, labels):
    p, wanted = logits[:, :-1].softmax(dim=-1), labels[:, 1:]
    return -p[wanted != -100, wanted[wanted != -100]].mean().log()


# %% no logarithm, no sign -> the mean probability: its logarithm is missing, and the sign
def loss_of_completion(logits, labels):
    p, wanted = logits[:, :-1].softmax(dim=-1), labels[:, 1:]
    return p[wanted != -100, wanted[wanted != -100]].mean()


# %% nll_loss of probabilities -> minus the mean probability
def loss_of_completion(logits, labels):
    p = logits[:, :-1].softmax(dim=-1)
    return torch.nn.functional.nll_loss(p.flatten(0, 1), labels[:, 1:].flatten())


# %% perplexity -> called perplexity
def loss_of_completion(logits, labels):
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()).exp()


# %% nll_loss of logits -> raw logits, not made into probabilities
def loss_of_completion(logits, labels):
    return torch.nn.functional.nll_loss(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


# %% cross_entropy of probabilities -> Softmax is applied twice
def loss_of_completion(logits, labels):
    p = logits.softmax(dim=-1)
    return torch.nn.functional.cross_entropy(p[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


# %% softmax over the positions -> This softmax runs over the positions
def loss_of_completion(logits, labels):
    log_p, wanted = logits[:, :-1].log_softmax(dim=1), labels[:, 1:]
    return -log_p[wanted != -100, wanted[wanted != -100]].mean()


# %% softmax over all positions -> This softmax runs over all positions
def loss_of_completion(logits, labels):
    log_p, wanted = logits.log_softmax(dim=1)[:, :-1], labels[:, 1:]
    return -log_p[wanted != -100, wanted[wanted != -100]].mean()


# %% accuracy -> This is the accuracy
def loss_of_completion(logits, labels):
    guesses, wanted = logits[:, :-1].argmax(dim=-1), labels[:, 1:]
    return (guesses == wanted)[wanted != -100].float().mean()


# %% no mean -> one number is wanted, the mean over labelled tokens
def loss_of_completion(logits, labels):
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="none")


# %% half the loss -> Not right yet
def loss_of_completion(logits, labels):
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()) / 2
