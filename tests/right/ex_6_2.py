# %% functional
def lora_forward(x, W, A, B, lora_alpha):
    r = A.shape[0]
    F = torch.nn.functional
    return F.linear(x, W) + F.linear(F.linear(x, A), B) * (lora_alpha / r)


# %% merged first
def lora_forward(x, W, A, B, lora_alpha):
    scaling = lora_alpha / B.shape[1]
    return x @ (W + scaling * B @ A).T


# %% einsum
def lora_forward(x, W, A, B, lora_alpha):
    r = A.shape[0]
    return torch.einsum("bti,oi->bto", x, W) + lora_alpha / r * torch.einsum("bti,ri,or->bto", x, A, B)
