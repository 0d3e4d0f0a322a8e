# %% hard-coded -> returns the same for every input
def top_p(probabilities, p):
    return torch.tensor([0, 0.667, 0, 0.333])


# %% crossing token dropped -> leaves out the token that takes the sum to p
def top_p(probabilities, p):
    values, places = probabilities.sort(descending=True)
    values = values * (values.cumsum(dim=0) <= p)
    kept = torch.zeros_like(probabilities)
    kept[places] = values
    return kept / kept.sum()


# %% one too many -> one token too many
def top_p(probabilities, p):
    values, places = probabilities.sort(descending=True)
    n = int((values.cumsum(dim=0) < p).sum()) + 2
    values[n:] = 0
    kept = torch.zeros_like(probabilities)
    kept[places] = values
    return kept / kept.sum()


# %% each token by itself -> no token was kept
def top_p(probabilities, p):
    kept = probabilities * (probabilities >= p)
    return kept / kept.sum()


# %% each token by itself, not scaled -> keeps each token that reaches p by itself
def top_p(probabilities, p):
    return torch.where(probabilities >= p, probabilities, 0.0)


# %% not scaled -> does not add up to 1
def top_p(probabilities, p):
    values, places = probabilities.sort(descending=True)
    values = values * (values.cumsum(dim=0) - values < p)
    kept = torch.zeros_like(probabilities)
    kept[places] = values
    return kept


# %% divided by p -> divides by p
def top_p(probabilities, p):
    values, places = probabilities.sort(descending=True)
    values = values * (values.cumsum(dim=0) - values < p)
    kept = torch.zeros_like(probabilities)
    kept[places] = values
    return kept / p


# %% not sorted -> adds up in the order of the vocabulary
def top_p(probabilities, p):
    before = probabilities.cumsum(dim=0) - probabilities
    kept = probabilities * (before < p)
    return kept / kept.sum()


# %% not sorted, crossing token dropped -> adds up in the order of the vocabulary
def top_p(probabilities, p):
    kept = probabilities * (probabilities.cumsum(dim=0) <= p)
    return kept / kept.sum()


# %% sorted the wrong way -> adds up from the least likely
def top_p(probabilities, p):
    values, places = probabilities.sort()
    values = values * (values.cumsum(dim=0) - values < p)
    kept = torch.zeros_like(probabilities)
    kept[places] = values
    return kept / kept.sum()


# %% sorted the wrong way, crossing token dropped -> adds up from the least likely
def top_p(probabilities, p):
    values, places = probabilities.sort()
    values = values * (values.cumsum(dim=0) <= p)
    kept = torch.zeros_like(probabilities)
    kept[places] = values
    return kept / kept.sum()


# %% not put back -> stand in the order of size
def top_p(probabilities, p):
    values, places = probabilities.sort(descending=True)
    values = values * (values.cumsum(dim=0) - values < p)
    return values / values.sum()


# %% not put back, and cut -> stand in the order of size
def top_p(probabilities, p):
    values, places = probabilities.sort(descending=True)
    values = values[values.cumsum(dim=0) - values < p]
    return values / values.sum()


# %% put back the wrong way -> their places are not
def top_p(probabilities, p):
    values, places = probabilities.sort(descending=True)
    values = values * (values.cumsum(dim=0) - values < p)
    return values[places] / values.sum()


# %% softmax -> scales with softmax
def top_p(probabilities, p):
    values, places = probabilities.sort(descending=True)
    values = values * (values.cumsum(dim=0) - values < p)
    kept = torch.zeros_like(probabilities)
    kept[places] = values
    return kept.softmax(dim=0)


# %% softmax of what is kept -> scales with softmax
def top_p(probabilities, p):
    values, places = probabilities.sort(descending=True)
    n = int((values.cumsum(dim=0) - values < p).sum())
    kept = torch.zeros_like(probabilities)
    kept[places[:n]] = values[:n].softmax(dim=0)
    return kept


# %% a share of the tokens -> keeps a share p of the tokens
def top_p(probabilities, p):
    n = math.ceil(p * len(probabilities))
    values, places = probabilities.topk(n)
    kept = torch.zeros_like(probabilities)
    kept[places] = values
    return kept / kept.sum()


# %% a share of the tokens, cut down -> keeps a share p of the tokens
def top_p(probabilities, p):
    n = max(1, int(p * len(probabilities)))
    values, places = probabilities.topk(n)
    kept = torch.zeros_like(probabilities)
    kept[places] = values
    return kept / kept.sum()


# %% marks -> These are marks for what is kept
def top_p(probabilities, p):
    values, places = probabilities.sort(descending=True)
    values = values * (values.cumsum(dim=0) - values < p)
    kept = torch.zeros_like(probabilities)
    kept[places] = values
    return kept > 0


# %% the likeliest alone -> Not right yet
def top_p(probabilities, p):
    return (probabilities == probabilities.max()).float()


# %% marks not put back -> What marks the kept ones is still sorted
def top_p(probabilities, p):
    likeliest, places = probabilities.sort(descending=True)
    kept = probabilities * (likeliest.cumsum(dim=0) - likeliest < p)
    return kept / kept.sum()


# %% marks put back the wrong way -> What marks the kept ones is still sorted
def top_p(probabilities, p):
    likeliest, places = probabilities.sort(descending=True)
    kept = probabilities * (likeliest.cumsum(dim=0) - likeliest < p)[places]
    return kept / kept.sum()
