# %% a loop
def mended_and_broken(truth, before, after):
    mended = broken = 0
    for i in range(len(truth)):
        if before[i] != after[i] and after[i] == truth[i]:
            mended += 1
        if before[i] != after[i] and before[i] == truth[i]:
            broken += 1
    return [mended, broken]


# %% tensors
def mended_and_broken(truth, before, after):
    b = torch.tensor([x == y for x, y in zip(truth, before)])
    a = torch.tensor([x == y for x, y in zip(truth, after)])
    return (~b & a).sum(), (b & ~a).sum()
