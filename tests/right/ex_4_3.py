# %% sigmoid of the difference
def chance_of_positive(logits, positive_id, negative_id):
    last = logits[:, -1]
    return torch.sigmoid(last[:, positive_id] - last[:, negative_id])


# %% a share of the probabilities
def chance_of_positive(logits, positive_id, negative_id):
    p = logits.softmax(-1)[:, -1]
    return p[:, positive_id] / (p[:, positive_id] + p[:, negative_id])


# %% review by review, numbers
def chance_of_positive(logits, positive_id, negative_id):
    chances = []
    for review in logits:
        plus, minus = math.exp(review[-1, positive_id]), math.exp(review[-1, negative_id])
        chances.append(plus / (plus + minus))
    return torch.tensor(chances)


# %% a plain list
def chance_of_positive(logits, positive_id, negative_id):
    gap = logits[:, -1, negative_id] - logits[:, -1, positive_id]
    return [1 / (1 + math.exp(each)) for each in gap]
