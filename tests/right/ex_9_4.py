# %% a loop over groups
def double_quantize(absmax, group_size, levels):
    mean, codes, largest = absmax.mean(), [], []
    for group in (absmax - mean).split(group_size):
        scale = max(group.max().item(), -group.min().item())
        codes.append(torch.stack([(value / scale - levels).abs().argmin() for value in group]))
        largest.append(scale)
    return torch.stack(codes), torch.tensor(largest), mean


# %% counting middles
def double_quantize(absmax, group_size, levels):
    mean = absmax.mean()
    groups = (absmax - mean).reshape(-1, group_size)
    largest = groups.abs().max(dim=1).values
    codes = torch.bucketize(groups * (1 / largest).unsqueeze(1), (levels[1:] + levels[:-1]) / 2)
    return codes.to(torch.uint8), largest, mean


# %% in float64, and the mean a number
def double_quantize(absmax, group_size, levels):
    mean = absmax.double().mean().item()
    groups = (absmax.double() - mean).view(-1, group_size)
    largest = groups.abs().amax(1)
    distances = (groups[:, :, None] / largest[:, None, None] - levels.double()).abs()
    return distances.argmin(2), largest, mean


# %% levels scaled up instead
def double_quantize(absmax, group_size, levels):
    mean = absmax.sum() / len(absmax)
    groups = (absmax - mean).view(-1, group_size)
    largest = groups.abs().amax(dim=1)
    return (groups[..., None] - levels * largest[:, None, None]).abs().argmin(-1), largest, mean.view(1)


# %% as bitsandbytes does it
def double_quantize(absmax, group_size, levels):
    mean = absmax.mean()
    groups = (absmax - mean).view(-1, group_size)
    largest = groups.abs().amax(dim=1)
    on_grid = ((groups / largest[:, None] + 1) * 32_767.5).round() / 32_767.5 - 1
    return (on_grid[..., None] - levels).abs().argmin(dim=-1), largest, mean


# %% numpy
def double_quantize(absmax, group_size, levels):
    import numpy as np

    mean = absmax.numpy().mean()
    groups = (absmax.numpy() - mean).reshape(-1, group_size)
    largest = np.abs(groups).max(axis=1)
    codes = np.abs((groups / largest[:, None])[..., None] - levels.numpy()).argmin(axis=-1)
    return torch.from_numpy(codes), torch.from_numpy(largest), torch.tensor(mean)
