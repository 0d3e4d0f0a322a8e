# %% a float
def adapter_weights(r, shapes):
    return float(r * sum(map(sum, shapes)))


# %% a tensor
def adapter_weights(r, shapes):
    return torch.tensor(shapes).sum() * r


# %% real tensors
def adapter_weights(r, shapes):
    return sum(torch.zeros(r, i).numel() + torch.zeros(o, r).numel() for i, o in shapes)
