# %% hard-coded -> returns the same for every input
def split_heads(x, n_heads):
    return torch.zeros(1, 2, 2, 2)


# %% view alone -> hold numbers of other tokens
def split_heads(x, n_heads):
    B, T, D = x.shape
    return x.view(B, n_heads, T, D // n_heads)


# %% transposed, then reshaped -> hold numbers of other tokens
def split_heads(x, n_heads):
    B, T, D = x.shape
    return x.transpose(1, 2).reshape(B, n_heads, T, -1)


# %% no transpose -> T comes before the heads
def split_heads(x, n_heads):
    return x.unflatten(-1, (n_heads, -1))


# %% dealt out -> are dealt out to the heads in turn
def split_heads(x, n_heads):
    return x.unflatten(-1, (-1, n_heads)).permute(0, 3, 1, 2)


# %% n_heads as a size -> is taken for the size of a head
def split_heads(x, n_heads):
    return x.unflatten(-1, (-1, n_heads)).transpose(1, 2)


# %% d before T -> are in another order
def split_heads(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).permute(0, 2, 3, 1)


# %% heads first -> are in another order
def split_heads(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).permute(2, 0, 1, 3)


# %% joined to the texts -> joined to the texts or the tokens
def split_heads(x, n_heads):
    B, T, D = x.shape
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2).reshape(B * n_heads, T, -1)


# %% one head -> This is one head alone
def split_heads(x, n_heads):
    return x[..., : x.shape[-1] // n_heads]


# %% one text -> This is one text alone
def split_heads(x, n_heads):
    return x[0].unflatten(-1, (n_heads, -1)).transpose(0, 1)


# %% twice as large -> Not right yet
def split_heads(x, n_heads):
    return 2 * x.unflatten(-1, (n_heads, -1)).transpose(1, 2)
