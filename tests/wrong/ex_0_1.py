# %% hard-coded -> returns the same for every input
def logits_shape(ids, vocab_size):
    return (1, 5, 49152)


# %% forgets the batch -> forgets the batch
def logits_shape(ids, vocab_size):
    return (ids.shape[1], vocab_size)


# %% one text -> takes the batch for one text
def logits_shape(ids, vocab_size):
    return (1, ids.shape[1], vocab_size)


# %% only the last position -> one list of scores a text
def logits_shape(ids, vocab_size):
    return (ids.shape[0], vocab_size)


# %% one list of scores -> This is one list of scores
def logits_shape(ids, vocab_size):
    return (vocab_size,)


# %% one answer for each token -> shape of the ids
def logits_shape(ids, vocab_size):
    return ids.shape


# %% vocabulary before positions -> the scores of one position lie side by side
def logits_shape(ids, vocab_size):
    return [ids.shape[0], vocab_size, ids.shape[1]]


# %% positions before texts -> the texts come before their positions
def logits_shape(ids, vocab_size):
    return (*ids.T.shape, vocab_size)


# %% no scores at the last position -> leaves out a position
def logits_shape(ids, vocab_size):
    texts, tokens = ids.shape
    return texts, tokens - 1, vocab_size


# %% the next token is there already -> a position too many
def logits_shape(ids, vocab_size):
    texts, tokens = ids.shape
    return texts, tokens + 1, vocab_size


# %% hard-coded length -> length 5 is that of one text
def logits_shape(ids, vocab_size):
    return (len(ids), 5, vocab_size)


# %% hard-coded vocabulary -> 49,152 is one model's vocabulary
def logits_shape(ids, vocab_size):
    return (len(ids), len(ids[0]), 49152)


# %% hidden size -> size of the vectors inside
def logits_shape(ids, vocab_size):
    return (*ids.shape, 576)


# %% texts run together -> runs the texts together
def logits_shape(ids, vocab_size):
    return (ids.numel(), vocab_size)


# %% how many numbers -> how many logits there are
def logits_shape(ids, vocab_size):
    return ids.numel() * vocab_size


# %% a tensor of that shape -> This is a whole tensor
def logits_shape(ids, vocab_size):
    return torch.zeros(*ids.shape, vocab_size, device="meta")


# %% hidden size on top -> Not right yet
def logits_shape(ids, vocab_size):
    return (*ids.shape, vocab_size, 576)


# %% scores before texts -> the scores come last
def logits_shape(ids, vocab_size):
    texts, tokens = ids.shape
    return (vocab_size, texts, tokens)
