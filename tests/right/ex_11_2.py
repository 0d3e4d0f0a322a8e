# %% sums of large and small
def training_bytes(frozen, trained, width, optimizer):
    small = sum(n for n in trained if n < 4096)
    large = sum(trained) - small
    states = {"sgd": 0, "adamw": 2 * width * (small + large), "adamw_8bit": 2 * large * 260 / 256 + 8 * small}
    return width * (small + large) + states[optimizer]


# %% a tensor at a time, with torch
def training_bytes(frozen, trained, width, optimizer):
    total = torch.zeros((), dtype=torch.int64)
    for n in trained:
        each = {"sgd": 0, "adamw": 2 * width * n}.get(optimizer)
        if each is None:
            each = 8 * n if n < 4_096 else 2 * n + 2 * 4 * -(-n // 256)
        total += width * n + each
    return total
