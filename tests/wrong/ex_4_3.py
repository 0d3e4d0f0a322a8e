# %% hard-coded -> returns the same for every input
def chance_of_positive(logits, positive_id, negative_id):
    return torch.tensor([0.93, 0.12])


# %% whole vocabulary -> runs over the whole vocabulary
def chance_of_positive(logits, positive_id, negative_id):
    return logits[:, -1].softmax(dim=-1)[:, positive_id]


# %% negative -> probability of the negative token
def chance_of_positive(logits, positive_id, negative_id):
    two = logits[:, -1, [positive_id, negative_id]]
    return two.softmax(dim=-1)[:, 1]


# %% ids swapped -> probability of the negative token
def chance_of_positive(logits, positive_id, negative_id):
    return logits[:, -1, [negative_id, positive_id]].softmax(dim=-1)[:, 0]


# %% first position -> This is the first position
def chance_of_positive(logits, positive_id, negative_id):
    return logits[:, 0, [positive_id, negative_id]].softmax(dim=-1)[:, 0]


# %% last position but one -> last position but one
def chance_of_positive(logits, positive_id, negative_id):
    return logits[:, -2, [positive_id, negative_id]].softmax(dim=-1)[:, 0]


# %% every position -> This is every position
def chance_of_positive(logits, positive_id, negative_id):
    return logits[:, :, [positive_id, negative_id]].softmax(dim=-1)[:, :, 0]


# %% a share of the logits -> divides a logit by the sum
def chance_of_positive(logits, positive_id, negative_id):
    two = logits[:, -1, [positive_id, negative_id]]
    return two[:, 0] / two.sum(dim=-1)


# %% difference -> difference of the logits
def chance_of_positive(logits, positive_id, negative_id):
    two = logits[:, -1, [positive_id, negative_id]]
    return two[:, 0] - two[:, 1]


# %% difference, the other way -> difference of the logits
def chance_of_positive(logits, positive_id, negative_id):
    two = logits[:, -1, [positive_id, negative_id]]
    return two[:, 1] - two[:, 0]


# %% difference of probabilities -> difference of two probabilities
def chance_of_positive(logits, positive_id, negative_id):
    p = logits[:, -1].softmax(dim=-1)
    return p[:, positive_id] - p[:, negative_id]


# %% difference of the two -> difference of two probabilities
def chance_of_positive(logits, positive_id, negative_id):
    two = logits[:, -1, [positive_id, negative_id]]
    p = two.softmax(dim=-1)
    return p[:, 0] - p[:, 1]


# %% odds -> These are odds
def chance_of_positive(logits, positive_id, negative_id):
    p = logits[:, -1].softmax(dim=-1)
    return p[:, positive_id] / p[:, negative_id]


# %% odds, the other way -> These are odds
def chance_of_positive(logits, positive_id, negative_id):
    p = logits[:, -1].softmax(dim=-1)
    return p[:, negative_id] / p[:, positive_id]


# %% sigmoid of one -> sigmoid of one logit alone
def chance_of_positive(logits, positive_id, negative_id):
    return logits[:, -1, positive_id].sigmoid()


# %% sigmoid of the other -> sigmoid of one logit alone
def chance_of_positive(logits, positive_id, negative_id):
    return torch.sigmoid(logits[:, -1, negative_id])


# %% log-softmax -> logarithm of the probability
def chance_of_positive(logits, positive_id, negative_id):
    two = logits[:, -1, [positive_id, negative_id]]
    return two.log_softmax(dim=-1)[:, 0]


# %% verdicts -> says which of the two is likelier
def chance_of_positive(logits, positive_id, negative_id):
    return logits[:, -1, positive_id] > logits[:, -1, negative_id]


# %% verdicts as numbers -> says which of the two is likelier
def chance_of_positive(logits, positive_id, negative_id):
    two = logits[:, -1, [positive_id, negative_id]]
    return two.argmax(dim=-1)


# %% over the reviews -> runs over the reviews
def chance_of_positive(logits, positive_id, negative_id):
    two = logits[:, -1, [positive_id, negative_id]]
    return two.softmax(dim=0)[:, 0]


# %% over the reviews, all tokens -> runs over the reviews
def chance_of_positive(logits, positive_id, negative_id):
    return logits[:, -1].softmax(dim=0)[:, positive_id]


# %% both -> These are both probabilities
def chance_of_positive(logits, positive_id, negative_id):
    two = logits[:, -1, [positive_id, negative_id]]
    return two.softmax(dim=-1)


# %% first review -> This is the first review alone
def chance_of_positive(logits, positive_id, negative_id):
    return logits[0, -1, [positive_id, negative_id]].softmax(dim=-1)[0]


# %% first review, as a number -> This is the first review alone
def chance_of_positive(logits, positive_id, negative_id):
    return logits[0, -1, [positive_id, negative_id]].softmax(dim=-1)[0].item()


# %% last review -> This is the last review alone
def chance_of_positive(logits, positive_id, negative_id):
    return logits[-1, -1, [positive_id, negative_id]].softmax(dim=-1)[0]


# %% mean -> the mean over the reviews
def chance_of_positive(logits, positive_id, negative_id):
    two = logits[:, -1, [positive_id, negative_id]]
    return two.softmax(dim=-1)[:, 0].mean()


# %% an axis left over -> an axis of length 1 is left over
def chance_of_positive(logits, positive_id, negative_id):
    two = logits[:, -1, [positive_id, negative_id]]
    return two.softmax(dim=-1)[:, :1]


# %% half of it -> Not right yet
def chance_of_positive(logits, positive_id, negative_id):
    two = logits[:, -1, [positive_id, negative_id]]
    return two.softmax(dim=-1)[:, 0] / 2


# %% softmax twice -> takes softmax twice
def chance_of_positive(logits, positive_id, negative_id):
    return logits[:, -1].softmax(dim=-1)[:, [positive_id, negative_id]].softmax(dim=-1)[:, 0]


# %% together -> what the two tokens have together
def chance_of_positive(logits, positive_id, negative_id):
    return logits[:, -1].softmax(dim=-1)[:, [positive_id, negative_id]].sum(dim=-1)


# %% last review's positions -> all positions of the last review
def chance_of_positive(logits, positive_id, negative_id):
    return logits[-1][:, [positive_id, negative_id]].softmax(dim=-1)[:, 0]


# %% mean over the positions -> the mean over the positions
def chance_of_positive(logits, positive_id, negative_id):
    return logits[..., [positive_id, negative_id]].softmax(dim=-1)[..., 0].mean(dim=1)
