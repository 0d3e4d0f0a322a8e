# %% hard-coded -> returns the same for every input
def adapter_weights(r, shapes):
    return 460_800


# %% A alone -> counts A alone
def adapter_weights(r, shapes):
    return sum(r * inputs for inputs, outputs in shapes)


# %% B alone -> counts B alone
def adapter_weights(r, shapes):
    return sum(outputs * r for inputs, outputs in shapes)


# %% W itself -> This is W's own count
def adapter_weights(r, shapes):
    return sum(inputs * outputs for inputs, outputs in shapes)


# %% W too -> W is counted too
def adapter_weights(r, shapes):
    return sum(i * o + r * (i + o) for i, o in shapes)


# %% both like A -> A and B count alike
def adapter_weights(r, shapes):
    return sum(2 * r * inputs for inputs, outputs in shapes)


# %% both like B -> A and B count alike
def adapter_weights(r, shapes):
    return sum(2 * r * outputs for inputs, outputs in shapes)


# %% all like the first -> One layer's sizes are taken for all
def adapter_weights(r, shapes):
    return len(shapes) * r * sum(shapes[0])


# %% all like the last -> One layer's sizes are taken for all
def adapter_weights(r, shapes):
    return len(shapes) * r * (shapes[-1][0] + shapes[-1][1])


# %% sizes multiplied -> multiplies a layer's two sizes
def adapter_weights(r, shapes):
    return r * sum(inputs * outputs for inputs, outputs in shapes)


# %% returns in the loop -> counts the first layer alone
def adapter_weights(r, shapes):
    for inputs, outputs in shapes:
        return r * (inputs + outputs)


# %% forgets to add up -> counts the last layer alone
def adapter_weights(r, shapes):
    for inputs, outputs in shapes:
        count = r * (inputs + outputs)
    return count


# %% no rank -> leaves out the rank
def adapter_weights(r, shapes):
    return sum(map(sum, shapes))


# %% an r x r matrix between -> counts an r x r matrix too
def adapter_weights(r, shapes):
    return sum(r * inputs + r * r + r * outputs for inputs, outputs in shapes)


# %% times the blocks -> counts every layer 30 times
def adapter_weights(r, shapes):
    return 30 * sum(r * (inputs + outputs) for inputs, outputs in shapes)


# %% bytes -> This is bytes in float32
def adapter_weights(r, shapes):
    return sum(4 * r * (inputs + outputs) for inputs, outputs in shapes)


# %% a list of counts -> Not right yet
def adapter_weights(r, shapes):
    return [r * (inputs + outputs) for inputs, outputs in shapes]
