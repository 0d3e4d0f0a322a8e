# %% hard-coded -> returns the same for every input
def changed(before, after):
    return ["lm_head.weight"]


# %% unchanged -> did not change
def changed(before, after):
    return sorted(name for name in before if torch.equal(before[name], after[name]))


# %% unsorted -> their order is not
def changed(before, after):
    return [name for name in before if not torch.equal(before[name], after[name])]


# %% sorted backwards -> their order is not
def changed(before, after):
    return sorted((name for name in before if not torch.equal(before[name], after[name])), reverse=True)


# %% objects -> two tensors can be equal and not the same object
def changed(before, after):
    return sorted(name for name in before if before[name] is not after[name])


# %% allclose -> misses the smallest changes
def changed(before, after):
    return sorted(name for name in before if not torch.allclose(before[name], after[name]))


# %% a tolerance -> misses the smallest changes
def changed(before, after):
    return sorted(name for name in before if (before[name] - after[name]).abs().max() > 1e-6)


# %% no abs -> misses tensors whose numbers only fell
def changed(before, after):
    return sorted(name for name in before if (after[name] - before[name]).max() > 0)


# %% no abs, the other way round -> misses tensors whose numbers only fell
def changed(before, after):
    return sorted(name for name in before if (before[name] - after[name]).max() > 0)


# %% in float32 -> the last bits of a float64
def changed(before, after):
    return sorted(name for name in before if not torch.equal(before[name].float(), after[name].float()))


# %% sums -> compares one number for each tensor
def changed(before, after):
    return sorted(name for name in before if before[name].sum() != after[name].sum())


# %% means -> compares one number for each tensor
def changed(before, after):
    return sorted(name for name in before if before[name].mean() != after[name].mean())


# %% sum of the differences -> compares one number for each tensor
def changed(before, after):
    return sorted(name for name in before if (before[name] - after[name]).sum() != 0)


# %% lengths -> compares one number for each tensor
def changed(before, after):
    return sorted(name for name in before if before[name].norm() != after[name].norm())


# %% every number -> differ in every number
def changed(before, after):
    return sorted(name for name in before if (before[name] != after[name]).all())


# %% first number -> the first number of each tensor alone
def changed(before, after):
    return sorted(name for name in before if before[name].flatten()[0] != after[name].flatten()[0])


# %% first row -> the first row of each tensor alone
def changed(before, after):
    return sorted(name for name in before if not torch.equal(before[name][0], after[name][0]))


# %% a set -> This is a set
def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


# %% how many -> Not right yet
def changed(before, after):
    return sum(not torch.equal(before[name], after[name]) for name in before)
