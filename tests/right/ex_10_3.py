# %% one matrix
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ (W + lora_alpha / len(A) * (B @ A)).T


# %% division and remainder
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.empty(2 * len(packed), dtype=torch.long)
    codes[0::2], codes[1::2] = packed // 16, packed % 16
    W = levels[codes] * absmax.repeat_interleave(64)
    return x @ W.view(B.shape[0], A.shape[1]).T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% a table of bytes
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    pairs = torch.cartesian_prod(levels, levels)
    W = pairs[packed.int()].reshape(-1, 64) * absmax.unsqueeze(1)
    return torch.nn.functional.linear(x, W.reshape(len(B), -1)) + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% row by row
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    rows = []
    for i in range(len(B)):
        n = A.shape[1]
        part, scales = packed[i * n // 2 : (i + 1) * n // 2], absmax[i * n // 64 : (i + 1) * n // 64]
        codes = torch.stack([part >> 4, part & 15], dim=-1).flatten()
        rows.append(levels[codes.int()] * scales.repeat_interleave(64))
    return x @ torch.stack(rows).T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% in float64
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    x, absmax, levels, A, B = (each.double() for each in (x, absmax, levels, A, B))
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% numpy
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    import numpy as np

    codes = np.stack([packed.numpy() >> 4, packed.numpy() & 15], axis=1).ravel()
    W = (levels.numpy()[codes].reshape(-1, 64) * absmax.numpy()[:, None]).reshape(len(B), -1)
    return x @ torch.from_numpy(W).T + lora_alpha / len(A) * (x @ A.T @ B.T)
