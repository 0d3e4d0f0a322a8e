# %% hard-coded -> returns the same for every input
def training_bytes(frozen, trained, width, optimizer):
    return 67_108_864


# %% frozen gradients -> Gradients of frozen weights are counted
def training_bytes(frozen, trained, width, optimizer):
    total = width * (frozen + sum(trained))
    for n in trained:
        if optimizer == "adamw":
            total += 2 * width * n
        elif optimizer == "adamw_8bit":
            total += 2 * (n + 4 * n // 256) if n >= 4096 else 2 * 4 * n
    return total


# %% frozen gradients in float32 -> Gradients of frozen weights are counted
def training_bytes(frozen, trained, width, optimizer):
    total = width * sum(trained) + 4 * frozen
    for n in trained:
        if optimizer == "adamw":
            total += 2 * width * n
        elif optimizer == "adamw_8bit":
            total += 2 * (n + 4 * n // 256) if n >= 4096 else 2 * 4 * n
    return total


# %% frozen weights trained -> Frozen weights are given states too
def training_bytes(frozen, trained, width, optimizer):
    total = width * (sum(trained) + frozen)
    for n in [*trained, frozen]:
        if optimizer == "adamw":
            total += 2 * width * n
        elif optimizer == "adamw_8bit":
            total += 2 * (n + 4 * -(-n // 256)) if n >= 4096 else 2 * 4 * n
    return total


# %% frozen states -> Frozen weights are given states too
def training_bytes(frozen, trained, width, optimizer):
    total = width * sum(trained)
    for n in [*trained, frozen]:
        if optimizer == "adamw":
            total += 2 * width * n
        elif optimizer == "adamw_8bit":
            total += 2 * (n + 4 * -(-n // 256)) if n >= 4096 else 2 * 4 * n
    return total


# %% no states -> Adam's two states are forgotten
def training_bytes(frozen, trained, width, optimizer):
    return width * sum(trained)


# %% one state -> two states for each weight: this counts one
def training_bytes(frozen, trained, width, optimizer):
    total = width * sum(trained)
    for n in trained:
        if optimizer == "adamw":
            total += width * n
        elif optimizer == "adamw_8bit":
            total += n + 4 * n // 256 if n >= 4096 else 4 * n
    return total


# %% no gradients -> The gradients are left out
def training_bytes(frozen, trained, width, optimizer):
    total = 0
    for n in trained:
        if optimizer == "adamw":
            total += 2 * width * n
        elif optimizer == "adamw_8bit":
            total += 2 * (n + 4 * n // 256) if n >= 4096 else 2 * 4 * n
    return total


# %% weights too -> The trained weights themselves are counted too
def training_bytes(frozen, trained, width, optimizer):
    total = 2 * width * sum(trained)
    for n in trained:
        if optimizer == "adamw":
            total += 2 * width * n
        elif optimizer == "adamw_8bit":
            total += 2 * (n + 4 * n // 256) if n >= 4096 else 2 * 4 * n
    return total


# %% SGD with states -> This gives SGD states
def training_bytes(frozen, trained, width, optimizer):
    total = width * sum(trained)
    for n in trained:
        if optimizer == "adamw":
            total += 2 * width * n
        elif optimizer == "adamw_8bit":
            total += 2 * (n + 4 * n // 256) if n >= 4096 else 2 * 4 * n
        else:
            total += 2 * width * n
    return total


# %% float32 states -> AdamW's states have the dtype of their weights
def training_bytes(frozen, trained, width, optimizer):
    total = width * sum(trained)
    for n in trained:
        if optimizer == "adamw":
            total += 8 * n
        elif optimizer == "adamw_8bit":
            total += 2 * (n + 4 * n // 256) if n >= 4096 else 2 * 4 * n
    return total


# %% float32 gradients -> Gradients have the dtype of their weights
def training_bytes(frozen, trained, width, optimizer):
    total = 4 * sum(trained)
    for n in trained:
        if optimizer == "adamw":
            total += 2 * width * n
        elif optimizer == "adamw_8bit":
            total += 2 * (n + 4 * n // 256) if n >= 4096 else 2 * 4 * n
    return total


# %% AdamW in 8 bits -> AdamW is counted in 8 bits
def training_bytes(frozen, trained, width, optimizer):
    total = width * sum(trained)
    for n in trained:
        if optimizer == "adamw":
            total += 2 * (n + 4 * n // 256) if n >= 4096 else 2 * 4 * n
        elif optimizer == "adamw_8bit":
            total += 2 * (n + 4 * n // 256) if n >= 4096 else 2 * 4 * n
    return total


# %% 8 bits like AdamW -> adamw_8bit is counted like adamw
def training_bytes(frozen, trained, width, optimizer):
    total = width * sum(trained)
    for n in trained:
        if optimizer == "adamw":
            total += 2 * width * n
        elif optimizer == "adamw_8bit":
            total += 2 * width * n
    return total


# %% small ones in 8 bits -> keeps the states of small tensors in 8 bits too
def training_bytes(frozen, trained, width, optimizer):
    total = width * sum(trained)
    for n in trained:
        if optimizer == "adamw":
            total += 2 * width * n
        elif optimizer == "adamw_8bit":
            total += 2 * (n + 4 * n // 256)
    return total


# %% small ones like AdamW -> states of small tensors are counted in the dtype of their weights
def training_bytes(frozen, trained, width, optimizer):
    total = width * sum(trained)
    for n in trained:
        if optimizer == "adamw":
            total += 2 * width * n
        elif optimizer == "adamw_8bit":
            total += 2 * (n + 4 * n // 256) if n >= 4096 else 2 * width * n
    return total


# %% no scales -> scales of the 8-bit states are left out
def training_bytes(frozen, trained, width, optimizer):
    total = width * sum(trained)
    for n in trained:
        if optimizer == "adamw":
            total += 2 * width * n
        elif optimizer == "adamw_8bit":
            total += 2 * n if n >= 4096 else 2 * 4 * n
    return total


# %% one scale -> counts one scale for both states
def training_bytes(frozen, trained, width, optimizer):
    total = width * sum(trained)
    for n in trained:
        if optimizer == "adamw":
            total += 2 * width * n
        elif optimizer == "adamw_8bit":
            total += 2 * n + 4 * n // 256 if n >= 4096 else 2 * 4 * n
    return total


# %% scales of a byte -> A scale is a float32 of 4 bytes
def training_bytes(frozen, trained, width, optimizer):
    total = width * sum(trained)
    for n in trained:
        if optimizer == "adamw":
            total += 2 * width * n
        elif optimizer == "adamw_8bit":
            total += 2 * (n + n // 256) if n >= 4096 else 2 * 4 * n
    return total


# %% 8-bit gradients -> The gradients are counted in 8 bits
def training_bytes(frozen, trained, width, optimizer):
    total = 0
    for n in trained:
        if optimizer == "sgd":
            total += width * n
        elif optimizer == "adamw":
            total += 3 * width * n
        else:
            total += n + (2 * (n + 4 * n // 256) if n >= 4096 else 2 * 4 * n)
    return total


# %% five bytes -> Not right yet
def training_bytes(frozen, trained, width, optimizer):
    total = width * sum(trained)
    for n in trained:
        if optimizer == "adamw":
            total += 5 * n
        elif optimizer == "adamw_8bit":
            total += 2 * (n + 4 * n // 256) if n >= 4096 else 2 * 4 * n
    return total


# %% the root of AdamW -> The root that AdamW takes as it steps is counted
def training_bytes(frozen, trained, width, optimizer):
    total = width * sum(trained)
    for n in trained:
        if optimizer == "adamw":
            total += 3 * width * n
        elif optimizer == "adamw_8bit":
            total += 2 * (n + 4 * n // 256) if n >= 4096 else 2 * 4 * n
    return total


# %% above 4,096 -> exactly 4,096 weights has its states in 8 bits too
def training_bytes(frozen, trained, width, optimizer):
    total = width * sum(trained)
    for n in trained:
        if optimizer == "adamw":
            total += 2 * width * n
        elif optimizer == "adamw_8bit":
            total += 2 * (n + 4 * n // 256) if n > 4096 else 2 * 4 * n
    return total
