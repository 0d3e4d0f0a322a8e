# %% one moment after the other
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    moments = []
    if checkpointing:
        moments += [fixed + layers * edge + loss, fixed + layers * edge + kept + working]
    else:
        moments += [fixed + layers * kept + more for more in (loss, working)]
    moments.append(fixed + gradients)
    return sorted(moments)[-1]


# %% with the last block apart
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    most = fixed + gradients
    held = sum(edge if checkpointing else kept for _ in range(layers))
    most = max(most, fixed + held + loss)
    held += kept * bool(checkpointing)
    return float(max(most, fixed + held + working))
