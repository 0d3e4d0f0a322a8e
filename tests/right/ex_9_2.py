# %% a loop
def nearest_code(values, levels):
    codes = []
    for value in values.tolist():
        distances = [abs(value - level) for level in levels.tolist()]
        codes.append(distances.index(min(distances)))
    return torch.tensor(codes)


# %% squares
def nearest_code(values, levels):
    return (values.unsqueeze(-1) - levels).pow(2).argmin(-1)


# %% cdist
def nearest_code(values, levels):
    return torch.cdist(values[:, None].double(), levels[:, None].double()).min(dim=1).indices


# %% middles of sorted levels, each level once
def nearest_code(values, levels):
    rising = levels.unique()
    place = torch.bucketize(values, (rising[:-1] + rising[1:]) / 2)
    first = torch.tensor([(levels == level).nonzero()[0].item() for level in rising])
    return first[place].to(torch.uint8)


# %% topk
def nearest_code(values, levels):
    distances = (levels[None] - values[:, None]).abs()
    least = distances.amin(dim=1, keepdim=True)
    return (distances == least).float().argmax(dim=1)


# %% numpy
def nearest_code(values, levels):
    import numpy as np

    return torch.from_numpy(np.abs(values.numpy()[:, None] - levels.numpy()[None]).argmin(axis=1))
