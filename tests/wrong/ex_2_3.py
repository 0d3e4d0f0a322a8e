# %% hard-coded -> returns the same for every input
def share_heads(k, n_heads):
    return torch.zeros(1, 4, 2, 2)


# %% tiled -> follow one another and then start again
def share_heads(k, n_heads):
    return k.repeat(1, n_heads // k.shape[1], 1, 1)


# %% one for all -> All query heads have the same key head
def share_heads(k, n_heads):
    return k[:, :1].expand(-1, n_heads, -1, -1)


# %% along the tokens -> Another axis than that of the heads
def share_heads(k, n_heads):
    return k.repeat_interleave(n_heads // k.shape[1], dim=2)


# %% along the texts -> Another axis than that of the heads
def share_heads(k, n_heads):
    return k.repeat_interleave(n_heads // k.shape[1], dim=0)


# %% nothing -> Nothing is shared out
def share_heads(k, n_heads):
    return k


# %% n_heads times -> as often as there are query heads
def share_heads(k, n_heads):
    return k.repeat_interleave(n_heads, dim=1)


# %% K times -> as often as there are key heads
def share_heads(k, n_heads):
    return k.repeat_interleave(k.shape[1], dim=1)


# %% h // K -> finds key head h // K
def share_heads(k, n_heads):
    return torch.stack([k[:, h // k.shape[1]] for h in range(n_heads)], dim=1)


# %% an axis more -> on an axis of their own
def share_heads(k, n_heads):
    return k[:, :, None].expand(-1, -1, n_heads // k.shape[1], -1, -1)


# %% no dim -> makes one long row of all numbers
def share_heads(k, n_heads):
    return k.repeat_interleave(n_heads // k.shape[1])


# %% stacked and reshaped -> joined across axes
def share_heads(k, n_heads):
    B, K, T, d = k.shape
    return torch.stack([k] * (n_heads // K)).reshape(B, n_heads, T, d)


# %% scaled -> Not right yet
def share_heads(k, n_heads):
    return 2 * k.repeat_interleave(n_heads // k.shape[1], dim=1)


# %% always three -> comes up three times, whatever n_heads is
def share_heads(k, n_heads):
    return k.repeat_interleave(3, dim=1)
