# %% hard-coded -> returns the same for every input
def verdict_of(low, high, limit, says):
    return "cannot tell"


# %% middle -> The middle of the interval decides
def verdict_of(low, high, limit, says):
    middle = (low + high) / 2
    return "holds" if (middle < limit) == (says == "less") else "does not hold"


# %% upper end -> Only the upper end is looked at
def verdict_of(low, high, limit, says):
    return "holds" if (high < limit) == (says == "less") else "does not hold"


# %% lower end -> Only the lower end is looked at
def verdict_of(low, high, limit, says):
    return "holds" if (low < limit) == (says == "less") else "does not hold"


# %% always less -> Which way the claim goes is left out
def verdict_of(low, high, limit, says):
    if high < limit:
        return "holds"
    return "does not hold" if low > limit else "cannot tell"


# %% swapped -> have changed places
def verdict_of(low, high, limit, says):
    if low < limit < high:
        return "cannot tell"
    return "does not hold" if (high < limit) == (says == "less") else "holds"


# %% not shown is wrong -> What has not been shown is called wrong
def verdict_of(low, high, limit, says):
    shown = high < limit if says == "less" else low > limit
    return "holds" if shown else "does not hold"


# %% not refuted is right -> What has not been refuted is called right
def verdict_of(low, high, limit, says):
    refuted = low > limit if says == "less" else high < limit
    return "does not hold" if refuted else "holds"


# %% zero decides -> Zero is taken for what decides
def verdict_of(low, high, limit, says):
    if low < 0 < high:
        return "cannot tell"
    return "holds" if ((low + high) / 2 < limit) == (says == "less") else "does not hold"


# %% no signs -> The signs are dropped
def verdict_of(low, high, limit, says):
    low, high = sorted((abs(low), abs(high)))
    if low < limit < high:
        return "cannot tell"
    return "holds" if (high < limit) == (says == "less") else "does not hold"


# %% a bool -> Not right yet
def verdict_of(low, high, limit, says):
    if low < limit < high:
        return None or False
    return (high < limit) == (says == "less")
