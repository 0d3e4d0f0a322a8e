# %% expand and flatten
def share_heads(k, n_heads):
    B, K, T, d = k.shape
    return k[:, :, None].expand(B, K, n_heads // K, T, d).flatten(1, 2)


# %% an index
def share_heads(k, n_heads):
    return k[:, torch.arange(n_heads) // (n_heads // k.shape[1])]


# %% a loop
def share_heads(k, n_heads):
    heads = []
    for h in range(n_heads):
        heads.append(k[:, h * k.shape[1] // n_heads])
    return torch.stack(heads, dim=1)
