# %% softmax first
def next_token_probability(logits, token_id):
    return logits.softmax(-1)[:, -1, token_id]


# %% log softmax
def next_token_probability(logits, token_id):
    return torch.exp(logits[:, -1].float().log_softmax(-1))[..., token_id]


# %% by its formula
def next_token_probability(logits, token_id):
    e = logits[:, -1].exp()
    return e[:, token_id] / e.sum(-1)


# %% text by text
def next_token_probability(logits, token_id):
    return torch.stack([text[-1].softmax(0)[token_id] for text in logits])


# %% numbers put together
def next_token_probability(logits, token_id):
    return torch.tensor([text[-1].softmax(0)[token_id].item() for text in logits])
