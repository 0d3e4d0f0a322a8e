# %% by side
def verdict_of(low, high, limit, says):
    if low < limit < high:
        return "cannot tell"
    side = "less" if high < limit else "more"
    return "holds" if side == says else "does not hold"


# %% ends, one after the other
def verdict_of(low, high, limit, says):
    within = [end < limit if says == "less" else end > limit for end in (low, high)]
    return {2: "holds", 1: "cannot tell", 0: "does not hold"}[sum(within)]
