# %% hard-coded -> Not right yet
def next_token_probability(logits, token_id):
    return torch.full(logits.shape[:1], 0.77)


# %% the logit -> This is the logit itself
def next_token_probability(logits, token_id):
    return logits[:, -1, token_id]


# %% the log-probability -> the logarithm of the probability
def next_token_probability(logits, token_id):
    return logits[:, -1].log_softmax(dim=-1)[:, token_id]


# %% sigmoid -> A sigmoid looks at one score alone
def next_token_probability(logits, token_id):
    return logits[:, -1, token_id].sigmoid()


# %% exp without the sum -> exp of the score
def next_token_probability(logits, token_id):
    return logits[:, -1, token_id].exp()


# %% the sum over the batch -> the sum over all texts
def next_token_probability(logits, token_id):
    e = logits[:, -1].exp()
    return e[:, token_id] / e.sum()


# %% the sum over everything -> the sum over all texts
def next_token_probability(logits, token_id):
    e = logits.exp()
    return (e / e.sum())[:, -1, token_id]


# %% a share of the scores -> divides the score by the sum of the scores
def next_token_probability(logits, token_id):
    last = logits[:, -1]
    return last[:, token_id] / last.sum(dim=-1)


# %% softmax over the positions -> runs over the positions
def next_token_probability(logits, token_id):
    return logits.softmax(dim=1)[:, -1, token_id]


# %% softmax over the texts -> runs over the texts
def next_token_probability(logits, token_id):
    return logits[:, -1].softmax(dim=0)[:, token_id]


# %% softmax of the chosen scores -> runs over the texts
def next_token_probability(logits, token_id):
    return torch.softmax(logits[:, -1, token_id], dim=-1)


# %% softmax twice -> applies softmax twice
def next_token_probability(logits, token_id):
    return logits.softmax(dim=-1)[:, -1].softmax(dim=-1)[:, token_id]


# %% the first position -> This is the first position
def next_token_probability(logits, token_id):
    return logits[:, 0].softmax(dim=-1)[:, token_id]


# %% the last position but one -> the last position but one
def next_token_probability(logits, token_id):
    return logits[:, -2].softmax(dim=-1)[:, token_id]


# %% all positions -> every position of each text
def next_token_probability(logits, token_id):
    return logits.softmax(dim=-1)[:, :, token_id]


# %% ids from 1, upwards -> the token after the one asked for
def next_token_probability(logits, token_id):
    return logits[:, -1].softmax(dim=-1)[:, token_id + 1]


# %% ids from 1, downwards -> the token before the one asked for
def next_token_probability(logits, token_id):
    return logits[:, -1].softmax(dim=-1)[:, token_id - 1]


# %% the likeliest token -> the likeliest token's probability
def next_token_probability(logits, token_id):
    return logits[:, -1].softmax(dim=-1).max(dim=-1).values


# %% whether it is the likeliest -> whether the token is the likeliest
def next_token_probability(logits, token_id):
    return logits[:, -1].argmax(dim=-1) == token_id


# %% every token -> every token's probability
def next_token_probability(logits, token_id):
    return logits[:, -1].softmax(dim=-1)


# %% the first text alone -> the first text alone
def next_token_probability(logits, token_id):
    return logits[0, -1].softmax(dim=-1)[token_id]


# %% the last text alone, as a number -> the last text alone
def next_token_probability(logits, token_id):
    return logits[-1, -1].softmax(dim=-1)[token_id].item()


# %% the mean over the texts -> the mean over the texts
def next_token_probability(logits, token_id):
    return logits[:, -1].softmax(dim=-1)[:, token_id].mean()


# %% an axis left over -> an axis of length 1 is left over
def next_token_probability(logits, token_id):
    return logits[:, -1:].softmax(dim=-1)[:, :, token_id]
