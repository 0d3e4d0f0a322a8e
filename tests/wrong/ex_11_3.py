# %% hard-coded -> returns the same for every input
def mlp_kept(D, F, width, r, adapted):
    return 66_048


# %% no input of silu -> The input of silu is left out
def mlp_kept(D, F, width, r, adapted):
    kept = 2 * F * width
    inputs = [F if name == "down_proj" else D for name in adapted]
    if width == 4:
        inputs = set(inputs)
    return kept + 4 * sum(inputs) + 4 * r * len(adapted)


# %% no factors -> The factors of the product are left out
def mlp_kept(D, F, width, r, adapted):
    kept = F * width
    inputs = [F if name == "down_proj" else D for name in adapted]
    if width == 4:
        inputs = set(inputs)
    return kept + 4 * sum(inputs) + 4 * r * len(adapted)


# %% the product too -> The product itself is counted
def mlp_kept(D, F, width, r, adapted):
    kept = 4 * F * width
    inputs = [F if name == "down_proj" else D for name in adapted]
    if width == 4:
        inputs = set(inputs)
    return kept + 4 * sum(inputs) + 4 * r * len(adapted)


# %% inputs of frozen layers -> Frozen layers are counted as if they kept their inputs
def mlp_kept(D, F, width, r, adapted):
    kept = (D + 4 * F) * width
    inputs = [F if name == "down_proj" else D for name in adapted]
    if width == 4:
        inputs = set(inputs)
    return kept + 4 * sum(inputs) + 4 * r * len(adapted)


# %% x of frozen layers -> Frozen layers are counted as if they kept their inputs
def mlp_kept(D, F, width, r, adapted):
    kept = (D + 3 * F) * width
    inputs = [F if name == "down_proj" else D for name in adapted]
    if width == 4:
        inputs = set(inputs)
    return kept + 4 * sum(inputs) + 4 * r * len(adapted)


# %% 16 bits -> Everything is counted in 16 bits
def mlp_kept(D, F, width, r, adapted):
    kept = 6 * F
    inputs = [F if name == "down_proj" else D for name in adapted]
    if width == 4:
        inputs = set(inputs)
    return kept + 4 * sum(inputs) + 4 * r * len(adapted)


# %% 32 bits -> Everything is counted in float32
def mlp_kept(D, F, width, r, adapted):
    kept = 12 * F
    inputs = [F if name == "down_proj" else D for name in adapted]
    if width == 4:
        inputs = set(inputs)
    return kept + 4 * sum(inputs) + 4 * r * len(adapted)


# %% numbers -> These are numbers
def mlp_kept(D, F, width, r, adapted):
    kept = 3 * F
    inputs = [F if name == "down_proj" else D for name in adapted]
    if width == 4:
        inputs = set(inputs)
    return kept + sum(inputs) + r * len(adapted)


# %% no adapters -> What the adapters keep is left out
def mlp_kept(D, F, width, r, adapted):
    kept = 3 * F * width
    inputs = [F if name == "down_proj" else D for name in adapted]
    if width == 4:
        inputs = set(inputs)
    return kept


# %% no B -> What B reads is left out
def mlp_kept(D, F, width, r, adapted):
    kept = 3 * F * width
    inputs = [F if name == "down_proj" else D for name in adapted]
    if width == 4:
        inputs = set(inputs)
    return kept + 4 * sum(inputs)


# %% B in 16 bits -> A's output is counted in 16 bits
def mlp_kept(D, F, width, r, adapted):
    kept = 3 * F * width
    inputs = [F if name == "down_proj" else D for name in adapted]
    if width == 4:
        inputs = set(inputs)
    return kept + 4 * sum(inputs) + 2 * r * len(adapted)


# %% copies in 16 bits -> The copies of the inputs are counted in 16 bits
def mlp_kept(D, F, width, r, adapted):
    inputs = [F if name == "down_proj" else D for name in adapted]
    if width == 4:
        inputs = set(inputs)
    return 3 * F * width + width * sum(inputs) + 4 * r * len(adapted)


# %% one copy -> One copy is counted for gate and up together
def mlp_kept(D, F, width, r, adapted):
    kept = 3 * F * width
    inputs = {F if name == "down_proj" else D for name in adapted}
    return kept + 4 * sum(inputs) + 4 * r * len(adapted)


# %% two of one x -> With float32 gate and up keep one and the same x
def mlp_kept(D, F, width, r, adapted):
    kept = 3 * F * width
    inputs = [F if name == "down_proj" else D for name in adapted]
    return kept + 4 * sum(inputs) + 4 * r * len(adapted)


# %% D everywhere -> The input of down_proj has F numbers
def mlp_kept(D, F, width, r, adapted):
    kept = 3 * F * width
    inputs = [(name == "down_proj", D) for name in adapted]
    if width == 4:
        inputs = set(inputs)
    return kept + 4 * sum(size for _, size in inputs) + 4 * r * len(adapted)


# %% copies alone -> No copy is made where x is in float32
def mlp_kept(D, F, width, r, adapted):
    kept = 3 * F * width
    inputs = [F if name == "down_proj" else D for name in adapted]
    if width == 4:
        inputs = []
    return kept + 4 * sum(inputs) + 4 * r * len(adapted)


# %% half an input -> Not right yet
def mlp_kept(D, F, width, r, adapted):
    kept = 5 * F * width // 2
    inputs = [F if name == "down_proj" else D for name in adapted]
    if width == 4:
        inputs = set(inputs)
    return kept + 4 * sum(inputs) + 4 * r * len(adapted)


# %% the adapted down_proj keeps nothing -> The input of an adapted down_proj is left out
def mlp_kept(D, F, width, r, adapted):
    inputs = [D for name in adapted if name != "down_proj"]
    if width == 4:
        inputs = set(inputs)
    return 3 * F * width + 4 * sum(inputs) + 4 * r * len(adapted)
