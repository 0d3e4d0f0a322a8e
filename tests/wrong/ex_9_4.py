# %% hard-coded -> returns the same for every input
def double_quantize(absmax, group_size, levels):
    return torch.zeros(2, 16), torch.ones(2), torch.tensor(1.0)


# %% no mean -> The mean is not taken off before
def double_quantize(absmax, group_size, levels):
    groups = absmax.view(-1, group_size)
    largest = groups.abs().amax(dim=1)
    codes = (groups[..., None] / largest[:, None, None] - levels).abs().argmin(dim=-1)
    return codes, largest, absmax.mean()


# %% no mean, and 0 for it -> The mean is not taken off before
def double_quantize(absmax, group_size, levels):
    groups = absmax.view(-1, group_size)
    largest = groups.abs().amax(dim=1)
    codes = (groups[..., None] / largest[:, None, None] - levels).abs().argmin(dim=-1)
    return codes, largest, torch.tensor(0.0)


# %% a mean of each group -> A mean is taken of each group
def double_quantize(absmax, group_size, levels):
    groups = absmax.view(-1, group_size)
    mean = groups.mean(dim=1)
    groups = groups - mean[:, None]
    largest = groups.abs().amax(dim=1)
    codes = (groups[..., None] / largest[:, None, None] - levels).abs().argmin(dim=-1)
    return codes, largest, mean


# %% the smallest -> The smallest is taken off
def double_quantize(absmax, group_size, levels):
    low = absmax.min()
    groups = (absmax - low).view(-1, group_size)
    largest = groups.abs().amax(dim=1)
    codes = (groups[..., None] / largest[:, None, None] - levels).abs().argmin(dim=-1)
    return codes, largest, low


# %% added -> The mean is added
def double_quantize(absmax, group_size, levels):
    mean = absmax.mean()
    groups = (absmax + mean).view(-1, group_size)
    largest = groups.abs().amax(dim=1)
    codes = (groups[..., None] / largest[:, None, None] - levels).abs().argmin(dim=-1)
    return codes, largest, mean


# %% one for all -> All groups share one largest magnitude
def double_quantize(absmax, group_size, levels):
    mean = absmax.mean()
    groups = (absmax - mean).view(-1, group_size)
    largest = groups.abs().max()
    codes = (groups[..., None] / largest - levels).abs().argmin(dim=-1)
    return codes, largest, mean


# %% one for all, in each group -> All groups share one largest magnitude
def double_quantize(absmax, group_size, levels):
    mean = absmax.mean()
    groups = (absmax - mean).view(-1, group_size)
    largest = groups.abs().max().expand(len(groups))
    codes = (groups[..., None] / largest[:, None, None] - levels).abs().argmin(dim=-1)
    return codes, largest, mean


# %% the largest value -> The largest value of a group is taken
def double_quantize(absmax, group_size, levels):
    mean = absmax.mean()
    groups = (absmax - mean).view(-1, group_size)
    largest = groups.amax(dim=1)
    codes = (groups[..., None] / largest[:, None, None] - levels).abs().argmin(dim=-1)
    return codes, largest, mean


# %% the largest before the mean -> before the mean is off
def double_quantize(absmax, group_size, levels):
    largest = absmax.view(-1, group_size).amax(dim=1)
    mean = absmax.mean()
    groups = (absmax - mean).view(-1, group_size)
    codes = (groups[..., None] / largest[:, None, None] - levels).abs().argmin(dim=-1)
    return codes, largest, mean


# %% int8 -> evenly spaced codes
def double_quantize(absmax, group_size, levels):
    mean = absmax.mean()
    groups = (absmax - mean).view(-1, group_size)
    largest = groups.abs().amax(dim=1)
    return (127 * groups / largest[:, None]).round(), largest, mean


# %% levels -> These are levels: their codes are wanted
def double_quantize(absmax, group_size, levels):
    mean = absmax.mean()
    groups = (absmax - mean).view(-1, group_size)
    largest = groups.abs().amax(dim=1)
    codes = (groups[..., None] / largest[:, None, None] - levels).abs().argmin(dim=-1)
    return levels[codes], largest, mean


# %% the level below -> This is the level below each quotient
def double_quantize(absmax, group_size, levels):
    mean = absmax.mean()
    groups = (absmax - mean).view(-1, group_size)
    largest = groups.abs().amax(dim=1)
    codes = torch.bucketize(groups / largest[:, None], levels, right=True) - 1
    return codes.clamp(min=0), largest, mean


# %% codes in one line -> The shapes are not those wanted
def double_quantize(absmax, group_size, levels):
    mean = absmax.mean()
    groups = (absmax - mean).view(-1, group_size)
    largest = groups.abs().amax(dim=1)
    codes = (groups[..., None] / largest[:, None, None] - levels).abs().argmin(dim=-1)
    return codes.flatten(), largest, mean


# %% keepdim -> The shapes are not those wanted
def double_quantize(absmax, group_size, levels):
    mean = absmax.mean()
    groups = (absmax - mean).view(-1, group_size)
    largest = groups.abs().amax(dim=1, keepdim=True)
    codes = (groups[..., None] / largest[..., None] - levels).abs().argmin(dim=-1)
    return codes, largest, mean


# %% the mean first -> The three are in another order
def double_quantize(absmax, group_size, levels):
    mean = absmax.mean()
    groups = (absmax - mean).view(-1, group_size)
    largest = groups.abs().amax(dim=1)
    codes = (groups[..., None] / largest[:, None, None] - levels).abs().argmin(dim=-1)
    return mean, codes, largest


# %% without the mean -> 3 things are wanted, codes, largest and mean
def double_quantize(absmax, group_size, levels):
    groups = (absmax - absmax.mean()).view(-1, group_size)
    largest = groups.abs().amax(dim=1)
    return (groups[..., None] / largest[:, None, None] - levels).abs().argmin(dim=-1), largest


# %% multiplied -> largest magnitudes and the mean are right
def double_quantize(absmax, group_size, levels):
    mean = absmax.mean()
    groups = (absmax - mean).view(-1, group_size)
    largest = groups.abs().amax(dim=1)
    codes = (groups[..., None] * largest[:, None, None] - levels).abs().argmin(dim=-1)
    return codes, largest, mean


# %% a nearest_code that keeps the sign -> largest magnitudes and the mean are right
def double_quantize(absmax, group_size, levels):
    mean = absmax.mean()
    groups = (absmax - mean).view(-1, group_size)
    largest = groups.abs().amax(dim=1)
    codes = (groups[..., None] / largest[:, None, None] - levels).argmin(dim=-1)
    return codes, largest, mean


# %% the root mean square of a group -> Not right yet
def double_quantize(absmax, group_size, levels):
    mean = absmax.mean()
    groups = (absmax - mean).view(-1, group_size)
    largest = groups.square().mean(dim=1).sqrt()
    codes = (groups[..., None] / largest[:, None, None] - levels).abs().argmin(dim=-1)
    return codes, largest, mean
