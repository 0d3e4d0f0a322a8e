# %% by its formula
def probabilities(logits, temperature):
    e = torch.exp((logits - logits.amax(-1, keepdim=True)) / temperature)
    return e / e.sum(-1, keepdim=True)


# %% powers of the probabilities
def probabilities(logits, temperature):
    p = logits.softmax(-1) ** (1 / temperature)
    return p / p.sum(-1, keepdim=True)


# %% in float32, over logarithms
def probabilities(logits, temperature):
    return torch.exp((logits.float() * (1 / temperature)).log_softmax(-1))


# %% list by list
def probabilities(logits, temperature):
    lists = logits.reshape(-1, logits.shape[-1])
    return torch.stack([torch.softmax(one / temperature, 0) for one in lists]).reshape(logits.shape)
