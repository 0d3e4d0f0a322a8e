# %% a Size
def logits_shape(ids, vocab_size):
    return torch.Size([*ids.shape, vocab_size])


# %% a list
def logits_shape(ids, vocab_size):
    return [len(ids), len(ids[0]), vocab_size]


# %% the shape of a tensor
def logits_shape(ids, vocab_size):
    return torch.zeros(*ids.shape, vocab_size, device="meta").shape


# %% a tensor
def logits_shape(ids, vocab_size):
    return torch.tensor([*ids.shape, vocab_size])


# %% a lambda
logits_shape = lambda ids, vocab_size: ids.shape + (vocab_size,)
