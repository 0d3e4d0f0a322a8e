# %% hard-coded -> returns the same for every input
def attention_weights(q, k):
    return torch.ones(1, 1, 2, 2).tril()


# %% not scaled -> The scores are not scaled
def attention_weights(q, k):
    T = q.shape[-2]
    later = torch.ones(T, T, dtype=torch.bool).triu(1)
    return (q @ k.transpose(-1, -2)).masked_fill(later, float("-inf")).softmax(dim=-1)


# %% divided by d -> divided by d: its root is missing
def attention_weights(q, k):
    T = q.shape[-2]
    later = torch.ones(T, T, dtype=torch.bool).triu(1)
    return (q @ k.transpose(-1, -2) / q.shape[-1]).masked_fill(later, float("-inf")).softmax(dim=-1)


# %% multiplied -> The scores are multiplied
def attention_weights(q, k):
    T = q.shape[-2]
    later = torch.ones(T, T, dtype=torch.bool).triu(1)
    return (q @ k.transpose(-1, -2) * q.shape[-1] ** 0.5).masked_fill(later, float("-inf")).softmax(dim=-1)


# %% root of T -> root of another size
def attention_weights(q, k):
    T = q.shape[-2]
    later = torch.ones(T, T, dtype=torch.bool).triu(1)
    return (q @ k.transpose(-1, -2) / T**0.5).masked_fill(later, float("-inf")).softmax(dim=-1)


# %% scaled after softmax -> after the softmax, so they do not add up
def attention_weights(q, k):
    T = q.shape[-2]
    later = torch.ones(T, T, dtype=torch.bool).triu(1)
    return (q @ k.transpose(-1, -2)).masked_fill(later, float("-inf")).softmax(dim=-1) / q.shape[-1] ** 0.5


# %% no mask -> There is no mask
def attention_weights(q, k):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return scores.softmax(dim=-1)


# %% mask the wrong way -> The mask is the wrong way round
def attention_weights(q, k):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    T = q.shape[-2]
    earlier = torch.ones(T, T, dtype=torch.bool).tril(-1)
    return scores.masked_fill(earlier, float("-inf")).softmax(dim=-1)


# %% hides itself -> hides each token from itself
def attention_weights(q, k):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    T = q.shape[-2]
    hidden = torch.ones(T, T, dtype=torch.bool).triu()
    return scores.masked_fill(hidden, float("-inf")).softmax(dim=-1)


# %% one too many -> look at the one after it.
def attention_weights(q, k):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    T = q.shape[-2]
    hidden = torch.ones(T, T, dtype=torch.bool).triu(2)
    return scores.masked_fill(hidden, float("-inf")).softmax(dim=-1)


# %% masked after softmax -> The mask comes after the softmax
def attention_weights(q, k):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return scores.softmax(dim=-1).tril()


# %% score 0 -> A hidden token's score is 0 here
def attention_weights(q, k):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return scores.tril().softmax(dim=-1)


# %% softmax over queries -> does not run over the keys
def attention_weights(q, k):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    T = q.shape[-2]
    later = torch.ones(T, T, dtype=torch.bool).triu(1)
    return scores.masked_fill(later, float("-inf")).softmax(dim=-2)


# %% q and k exchanged -> Queries and keys are exchanged
def attention_weights(q, k):
    T = q.shape[-2]
    later = torch.ones(T, T, dtype=torch.bool).triu(1)
    scores = k @ q.transpose(-1, -2) / q.shape[-1] ** 0.5
    return scores.masked_fill(later, float("-inf")).softmax(dim=-1)


# %% scores -> These are scores
def attention_weights(q, k):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    T = q.shape[-2]
    later = torch.ones(T, T, dtype=torch.bool).triu(1)
    return scores.masked_fill(later, float("-inf"))


# %% exp alone -> not yet divided by the sum of its row
def attention_weights(q, k):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    T = q.shape[-2]
    later = torch.ones(T, T, dtype=torch.bool).triu(1)
    return scores.masked_fill(later, float("-inf")).exp()


# %% no exp -> divides the scores by their sum
def attention_weights(q, k):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    scores = scores.tril()
    return scores / scores.sum(dim=-1, keepdim=True)


# %% half -> Not right yet
def attention_weights(q, k):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    T = q.shape[-2]
    later = torch.ones(T, T, dtype=torch.bool).triu(1)
    return scores.masked_fill(later, float("-inf")).softmax(dim=-1) / 2
