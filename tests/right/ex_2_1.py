# %% view and permute
def split_heads(x, n_heads):
    B, T, D = x.shape
    return x.view(B, T, n_heads, D // n_heads).permute(0, 2, 1, 3)


# %% chunks
def split_heads(x, n_heads):
    return torch.stack(x.chunk(n_heads, dim=-1), dim=1)


# %% loops
def split_heads(x, n_heads):
    d = x.shape[-1] // n_heads
    return torch.stack([torch.stack([text[:, h * d : (h + 1) * d] for h in range(n_heads)]) for text in x])
