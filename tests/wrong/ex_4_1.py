# %% hard-coded -> returns the same for every input
def probabilities(logits, temperature):
    return torch.tensor([0.7, 0.2, 0.1])


# %% multiplied -> multiplies by the temperature
def probabilities(logits, temperature):
    return (logits * temperature).softmax(dim=-1)


# %% powers the wrong way -> multiplies by the temperature
def probabilities(logits, temperature):
    p = logits.softmax(dim=-1) ** temperature
    return p / p.sum(dim=-1, keepdim=True)


# %% no temperature -> no temperature in this
def probabilities(logits, temperature):
    return logits.softmax(dim=-1)


# %% renormalised -> no temperature in this
def probabilities(logits, temperature):
    p = logits.softmax(dim=-1) / temperature
    return p / p.sum(dim=-1, keepdim=True)


# %% temperature subtracted -> no temperature in this
def probabilities(logits, temperature):
    return (logits - temperature).softmax(dim=-1)


# %% softmax first -> divides the probabilities
def probabilities(logits, temperature):
    return logits.softmax(dim=-1) / temperature


# %% softmax twice -> takes softmax twice
def probabilities(logits, temperature):
    return (logits.softmax(dim=-1) / temperature).softmax(dim=-1)


# %% powers, not scaled -> raises the probabilities to a power
def probabilities(logits, temperature):
    return logits.softmax(dim=-1) ** (1 / temperature)


# %% over axis 1 -> runs over the positions or the texts
def probabilities(logits, temperature):
    return (logits / temperature).softmax(dim=1)


# %% over the first axis -> runs over the positions or the texts
def probabilities(logits, temperature):
    return (logits / temperature).softmax(dim=0)


# %% over everything -> runs over all numbers at once
def probabilities(logits, temperature):
    e = (logits / temperature).exp()
    return e / e.sum()


# %% log-softmax -> These are logarithms
def probabilities(logits, temperature):
    return (logits / temperature).log_softmax(dim=-1)


# %% no softmax -> These are logits still
def probabilities(logits, temperature):
    return logits / temperature


# %% exp alone -> not yet divided by their sum
def probabilities(logits, temperature):
    return torch.exp(logits / temperature)


# %% sigmoid -> A sigmoid looks at one logit alone
def probabilities(logits, temperature):
    return torch.sigmoid(logits / temperature)


# %% a share of the logits -> Not right yet
def probabilities(logits, temperature):
    scaled = logits / temperature
    return scaled / scaled.sum(dim=-1, keepdim=True)
