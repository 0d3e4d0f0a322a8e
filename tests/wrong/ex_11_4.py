# %% hard-coded -> returns the same for every input
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    return 2_147_483_648


# %% moments added -> The moments are added up
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * (edge if checkpointing else kept)
    computed_anew = kept if checkpointing else 0
    return 3 * fixed + blocks + loss + blocks + computed_anew + working + gradients


# %% moments added, fixed once -> The moments are added up
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * (edge if checkpointing else kept)
    computed_anew = kept if checkpointing else 0
    return fixed + blocks + loss + blocks + computed_anew + working + gradients


# %% all parts -> adds up all there is at any time
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * (edge if checkpointing else kept)
    computed_anew = kept if checkpointing else 0
    return fixed + blocks + computed_anew + loss + working + gradients


# %% all parts, nothing anew -> adds up all there is at any time
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * (edge if checkpointing else kept)
    return fixed + blocks + loss + working + gradients


# %% logits and the block anew -> computed anew and the logits are never there together
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * (edge if checkpointing else kept)
    computed_anew = kept if checkpointing else 0
    return fixed + max(blocks + computed_anew + loss, blocks + computed_anew + working, gradients)


# %% logits and working -> Logits and what going back through a block needs
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * (edge if checkpointing else kept)
    computed_anew = kept if checkpointing else 0
    return fixed + max(blocks + computed_anew + working + loss, gradients)


# %% no loss -> The moment of the loss is left out
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * (edge if checkpointing else kept)
    computed_anew = kept if checkpointing else 0
    return fixed + max(blocks + computed_anew + working, gradients)


# %% no optimizer -> The moment of the optimizer is left out
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * (edge if checkpointing else kept)
    computed_anew = kept if checkpointing else 0
    return fixed + max(blocks + loss, blocks + computed_anew + working)


# %% no way back -> The way back through a block is left out
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * (edge if checkpointing else kept)
    return fixed + max(blocks + loss, gradients)


# %% gradients from the start -> Gradients are added to the loss
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * (edge if checkpointing else kept)
    computed_anew = kept if checkpointing else 0
    return fixed + gradients + max(blocks + loss, blocks + computed_anew + working)


# %% blocks at the optimizer -> blocks still keep everything at the optimizer
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * (edge if checkpointing else kept)
    computed_anew = kept if checkpointing else 0
    return fixed + blocks + max(loss, computed_anew + working, gradients)


# %% no fixed -> Weights and states are missing
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * (edge if checkpointing else kept)
    computed_anew = kept if checkpointing else 0
    return max(blocks + loss, blocks + computed_anew + working, gradients)


# %% no fixed at the optimizer -> Weights and states are missing
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * (edge if checkpointing else kept)
    computed_anew = kept if checkpointing else 0
    return max(fixed + blocks + loss, fixed + blocks + computed_anew + working, gradients)


# %% never checkpointing -> Checkpointing is not taken into account
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * kept
    computed_anew = 0
    return fixed + max(blocks + loss, blocks + computed_anew + working, gradients)


# %% always checkpointing -> as if checkpointing were always on
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * edge
    computed_anew = kept
    return fixed + max(blocks + loss, blocks + computed_anew + working, gradients)


# %% edge and kept -> counts what enters a block twice
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * (edge if checkpointing else kept + edge)
    computed_anew = kept if checkpointing else 0
    return fixed + max(blocks + loss, blocks + computed_anew + working, gradients)


# %% nothing kept -> With checkpointing the input of each block is still kept
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = 0 if checkpointing else layers * kept
    computed_anew = kept if checkpointing else 0
    return fixed + max(blocks + loss, blocks + computed_anew + working, gradients)


# %% nothing anew -> the block that goes backward is first computed anew
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * (edge if checkpointing else kept)
    computed_anew = 0
    return fixed + max(blocks + loss, blocks + computed_anew + working, gradients)


# %% all anew -> one block is computed anew at a time
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * (edge if checkpointing else kept)
    computed_anew = layers * kept if checkpointing else 0
    return fixed + max(blocks + loss, blocks + computed_anew + working, gradients)


# %% one block -> counts what one block keeps
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = edge if checkpointing else kept
    computed_anew = kept if checkpointing else 0
    return fixed + max(blocks + loss, blocks + computed_anew + working, gradients)


# %% smallest -> This is the smallest moment
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * (edge if checkpointing else kept)
    computed_anew = kept if checkpointing else 0
    return fixed + min(blocks + loss, blocks + computed_anew + working, gradients)


# %% half the loss -> Not right yet
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    blocks = layers * (edge if checkpointing else kept)
    computed_anew = kept if checkpointing else 0
    return fixed + max(blocks + loss // 2, blocks + computed_anew + working, gradients)


# %% its own edge is gone -> The block that is computed anew keeps its edge besides
def peak_bytes(fixed, layers, kept, edge, loss, working, gradients, checkpointing):
    if checkpointing:
        return fixed + max(layers * edge + loss, (layers - 1) * edge + kept + working, gradients)
    return fixed + layers * kept + max(loss, working) if gradients < layers * kept else fixed + gradients
