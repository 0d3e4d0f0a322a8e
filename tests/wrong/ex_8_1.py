# %% hard-coded -> returns the same for every input
def merge(W, A, B, lora_alpha):
    return torch.ones(8, 8)


# %% not scaled -> The change is not scaled
def merge(W, A, B, lora_alpha):
    return W + B @ A


# %% alpha -> The change is scaled by alpha: it is alpha / r
def merge(W, A, B, lora_alpha):
    return W + lora_alpha * (B @ A)


# %% 1 / r -> but alpha is left out
def merge(W, A, B, lora_alpha):
    return W + B @ A / A.shape[0]


# %% r / alpha -> The change is divided by alpha
def merge(W, A, B, lora_alpha):
    return W + A.shape[0] / lora_alpha * (B @ A)


# %% 1 / alpha -> The change is divided by alpha
def merge(W, A, B, lora_alpha):
    return W + B @ A / lora_alpha


# %% alpha times r -> scaled by alpha times r
def merge(W, A, B, lora_alpha):
    return W + lora_alpha * A.shape[0] * (B @ A)


# %% rsLoRA -> that is rsLoRA
def merge(W, A, B, lora_alpha):
    return W + lora_alpha / math.sqrt(A.shape[0]) * (B @ A)


# %% both scaled -> alpha / r counts twice here
def merge(W, A, B, lora_alpha):
    scaling = lora_alpha / A.shape[0]
    return W + (scaling * B) @ (scaling * A)


# %% r is in_features -> r is one of the layer's sizes
def merge(W, A, B, lora_alpha):
    return W + lora_alpha / A.shape[1] * (B @ A)


# %% r is out_features -> r is one of the layer's sizes
def merge(W, A, B, lora_alpha):
    return W + lora_alpha / len(B) * (B @ A)


# %% twice -> The adapter is merged twice
def merge(W, A, B, lora_alpha):
    W += lora_alpha / A.shape[0] * (B @ A)
    return W + lora_alpha / A.shape[0] * (B @ A)


# %% taken off -> The change is taken off
def merge(W, A, B, lora_alpha):
    return W - lora_alpha / A.shape[0] * (B @ A)


# %% all scaled -> W itself is scaled too
def merge(W, A, B, lora_alpha):
    return lora_alpha / A.shape[0] * (W + B @ A)


# %% the scaled change alone -> This is the change alone
def merge(W, A, B, lora_alpha):
    return lora_alpha / A.shape[0] * (B @ A)


# %% the change alone -> This is the change alone
def merge(W, A, B, lora_alpha):
    return B @ A


# %% W alone -> This is W alone
def merge(W, A, B, lora_alpha):
    merged = W
    W = W + lora_alpha / A.shape[0] * (B @ A)
    return merged


# %% change transposed -> The change is transposed
def merge(W, A, B, lora_alpha):
    return W + lora_alpha / A.shape[0] * (A.T @ B.T)


# %% W transposed -> W is transposed, the change is not
def merge(W, A, B, lora_alpha):
    return W.T + lora_alpha / A.shape[0] * (B @ A)


# %% all transposed -> The sum is transposed
def merge(W, A, B, lora_alpha):
    return W.T + lora_alpha / A.shape[0] * (A.T @ B.T)


# %% in place -> W itself is changed
def merge(W, A, B, lora_alpha):
    W += lora_alpha / A.shape[0] * (B @ A)
    return W


# %% in place and back, but for rounding -> W itself is changed
def merge(W, A, B, lora_alpha):
    W += lora_alpha / A.shape[0] * (B @ A)
    merged = W.clone()
    W -= lora_alpha / A.shape[0] * (B @ A)
    return merged


# %% B scaled in place -> B itself is changed
def merge(W, A, B, lora_alpha):
    B *= lora_alpha / A.shape[0]
    return W + B @ A


# %% half of W -> Not right yet
def merge(W, A, B, lora_alpha):
    return W / 2 + lora_alpha / A.shape[0] * (B @ A)
