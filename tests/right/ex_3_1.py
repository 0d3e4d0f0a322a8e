# %% torch's own
def rms_norm(x, gamma, eps):
    return torch.nn.functional.rms_norm(x, gamma.shape, gamma, eps)


# %% in float32 on the way, as Llama does it
def rms_norm(x, gamma, eps):
    dtype, x = x.dtype, x.float()
    x = x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps)
    return gamma * x.to(dtype)


# %% vector by vector
def rms_norm(x, gamma, eps):
    rows = [row / math.sqrt((row @ row).item() / len(row) + eps) for row in x.reshape(-1, x.shape[-1])]
    return torch.stack(rows).reshape(x.shape) * gamma


# %% from the length
def rms_norm(x, gamma, eps):
    length = x.norm(dim=-1, keepdim=True)
    return x * (length**2 / x.shape[-1] + eps) ** -0.5 * gamma
