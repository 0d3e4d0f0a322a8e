# %% hard-coded -> returns the same for every input
def nearest_code(values, levels):
    return torch.zeros(17)


# %% the level below -> This is the level below each value
def nearest_code(values, levels):
    distances = values[:, None] - levels
    return torch.where(distances < 0, math.inf, distances).argmin(dim=1)


# %% counted in sorted levels, below -> This is the level below each value
def nearest_code(values, levels):
    rising, codes = levels.sort(stable=True)
    return codes[torch.bucketize(values, rising) - 1]


# %% the level above -> This is the level above each value
def nearest_code(values, levels):
    distances = levels - values[:, None]
    return torch.where(distances < 0, math.inf, distances).argmin(dim=1)


# %% bucketize on the levels -> This is the level above each value
def nearest_code(values, levels):
    return torch.bucketize(values, levels)


# %% levels -> These are levels: their codes are wanted
def nearest_code(values, levels):
    return levels[(values[:, None] - levels).abs().argmin(dim=1)]


# %% argmax -> farthest away
def nearest_code(values, levels):
    return (values[:, None] - levels).abs().argmax(dim=1)


# %% no magnitude -> The distance keeps its sign
def nearest_code(values, levels):
    return (values[:, None] - levels).argmin(dim=1)


# %% no magnitude, turned round -> The distance keeps its sign
def nearest_code(values, levels):
    return (levels - values[:, None]).argmin(dim=1)


# %% magnitudes of both -> Signs are lost
def nearest_code(values, levels):
    return (values.abs()[:, None] - levels.abs()).abs().argmin(dim=1)


# %% the place among sorted levels -> This counts through the sorted levels
def nearest_code(values, levels):
    rising = levels.sort().values
    return torch.bucketize(values, (rising[:-1] + rising[1:]) / 2)


# %% sorted first -> This counts through the sorted levels
def nearest_code(values, levels):
    return (values[:, None] - levels.sort().values).abs().argmin(dim=1)


# %% middles of unsorted levels -> This looks among the middles
def nearest_code(values, levels):
    return torch.bucketize(values, (levels[:-1] + levels[1:]) / 2)


# %% middles of unsorted levels, counted -> This looks among the middles
def nearest_code(values, levels):
    return (values[:, None] > (levels[:-1] + levels[1:]) / 2).sum(dim=1)


# %% signed zero -> This is fp4's minus zero
def nearest_code(values, levels):
    rising, order = levels.sort(stable=True)
    return order[torch.bucketize(values, (rising[:-1] + rising[1:]) / 2)]


# %% the last of the nearest -> This is fp4's minus zero
def nearest_code(values, levels):
    distances = (values[:, None] - levels).abs()
    return len(levels) - 1 - distances.flip(1).argmin(dim=1)


# %% counted from 1 -> off by one
def nearest_code(values, levels):
    return (values[:, None] - levels).abs().argmin(dim=1) + 1


# %% the other axis -> This gives the nearest value of each level
def nearest_code(values, levels):
    return (values[:, None] - levels).abs().argmin(dim=0)


# %% no axis -> This is one number
def nearest_code(values, levels):
    return (values[:, None] - levels).abs().argmin()


# %% a list -> one tensor is wanted
def nearest_code(values, levels):
    return [(value - levels).abs().argmin() for value in values]


# %% 15 less -> Not right yet
def nearest_code(values, levels):
    return 15 - (values[:, None] - levels).abs().argmin(dim=1)
