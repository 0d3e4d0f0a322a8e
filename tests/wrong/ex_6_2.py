# %% hard-coded -> returns the same for every input
def lora_forward(x, W, A, B, lora_alpha):
    return torch.zeros(2, 2)


# %% alpha -> The change is scaled by alpha: it is alpha / r
def lora_forward(x, W, A, B, lora_alpha):
    return x @ W.T + lora_alpha * (x @ A.T @ B.T)


# %% not scaled -> The change is not scaled
def lora_forward(x, W, A, B, lora_alpha):
    return x @ W.T + x @ A.T @ B.T


# %% 1 / r -> but alpha is left out
def lora_forward(x, W, A, B, lora_alpha):
    r = A.shape[0]
    return x @ W.T + x @ A.T @ B.T / r


# %% r / alpha -> The change is divided by alpha
def lora_forward(x, W, A, B, lora_alpha):
    r = A.shape[0]
    return x @ W.T + r / lora_alpha * (x @ A.T @ B.T)


# %% alpha times r -> scaled by alpha times r
def lora_forward(x, W, A, B, lora_alpha):
    r = A.shape[0]
    return x @ W.T + lora_alpha * r * (x @ A.T @ B.T)


# %% rsLoRA -> that is rsLoRA
def lora_forward(x, W, A, B, lora_alpha):
    r = A.shape[0]
    return x @ W.T + lora_alpha / r**0.5 * (x @ A.T @ B.T)


# %% r is in_features -> r is one of the layer's sizes
def lora_forward(x, W, A, B, lora_alpha):
    r = A.shape[1]
    return x @ W.T + lora_alpha / r * (x @ A.T @ B.T)


# %% r is out_features -> r is one of the layer's sizes
def lora_forward(x, W, A, B, lora_alpha):
    r = len(B)
    return x @ W.T + lora_alpha / r * (x @ A.T @ B.T)


# %% all scaled -> W's own output is scaled too
def lora_forward(x, W, A, B, lora_alpha):
    r = A.shape[0]
    return lora_alpha / r * (x @ (W + B @ A).T)


# %% no base -> W's own output is missing
def lora_forward(x, W, A, B, lora_alpha):
    r = A.shape[0]
    return lora_alpha / r * (x @ A.T @ B.T)


# %% base alone -> This is W's own output alone
def lora_forward(x, W, A, B, lora_alpha):
    return x @ W.T


# %% taken off -> The change is taken off
def lora_forward(x, W, A, B, lora_alpha):
    r = A.shape[0]
    return x @ W.T - lora_alpha / r * (x @ A.T @ B.T)


# %% twice -> The change is added twice
def lora_forward(x, W, A, B, lora_alpha):
    r = A.shape[0]
    W = W + lora_alpha / r * B @ A
    return x @ W.T + lora_alpha / r * (x @ A.T @ B.T)


# %% W not transposed -> W is not transposed
def lora_forward(x, W, A, B, lora_alpha):
    r = A.shape[0]
    return x @ W + lora_alpha / r * (x @ A.T @ B.T)


# %% half of W -> Not right yet
def lora_forward(x, W, A, B, lora_alpha):
    r = A.shape[0]
    return x @ W.T / 2 + lora_alpha / r * (x @ A.T @ B.T)


# %% whole numbers -> The scale is a whole number here
def lora_forward(x, W, A, B, lora_alpha):
    return x @ W.T + lora_alpha // len(A) * (x @ A.T @ B.T)
