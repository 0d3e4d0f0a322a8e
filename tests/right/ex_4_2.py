# %% a loop
def top_p(probabilities, p):
    kept, total = [0.0] * len(probabilities), 0.0
    for place in sorted(range(len(probabilities)), key=lambda i: -probabilities[i]):
        kept[place] = probabilities[place].item()
        total += kept[place]
        if total >= p:
            break
    return torch.tensor([each / total for each in kept])


# %% from the least likely up
def top_p(probabilities, p):
    values, places = probabilities.sort()
    dropped = places[values.cumsum(0) <= 1 - p]
    kept = probabilities.index_fill(0, dropped, 0)
    return kept / kept.sum()


# %% logits that are masked
def top_p(probabilities, p):
    values, places = probabilities.sort(descending=True)
    over = values.cumsum(0) > p
    over[1:] = over[:-1].clone()
    over[0] = False
    logits = probabilities.log()
    logits[places[over]] = -torch.inf
    return logits.softmax(0)


# %% each against those likelier
def top_p(probabilities, p):
    likelier = [probabilities[probabilities > each].sum() for each in probabilities]
    kept = torch.where(torch.stack(likelier) < p, probabilities, 0)
    return kept / kept.sum()
