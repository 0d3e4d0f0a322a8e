# %% any number
def changed(before, after):
    return sorted(name for name, old in before.items() if (old != after[name]).any())


# %% a tuple, from lists
def changed(before, after):
    return tuple(name for name in sorted(before) if before[name].tolist() != after[name].tolist())


# %% largest difference
def changed(before, after):
    names = []
    for name in before:
        if (after[name] - before[name]).abs().max().item() > 0:
            names.append(name)
    names.sort()
    return names


# %% all but the equal ones
def changed(before, after):
    equal = {name for name in before if bool(torch.eq(before[name], after[name]).all())}
    return sorted(set(before) - equal)
