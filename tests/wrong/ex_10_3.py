# %% hard-coded -> returns the same for every input
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    return torch.ones(2, 64)


# %% halves swapped -> The two halves of a byte are swapped
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed & 15, packed >> 4], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% halves one after the other -> All higher halves come first
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.cat([packed >> 4, packed & 15]).long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% lower halves first, then the higher -> All higher halves come first
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.cat([packed & 15, packed >> 4]).long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% levels alone -> The levels are not multiplied by their scales
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = levels[codes].view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% the largest scale for all -> One scale is used for all weights
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax.max()).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% the first scale for all -> One scale is used for all weights
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[0]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% the mean scale for all -> One scale is used for all weights
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax.mean()).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% scales go round -> The scales go round weight by weight
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes] * absmax.repeat(64)).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% divided -> The levels are divided by their scales
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) / absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% codes as numbers -> The codes themselves are taken for numbers
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (codes.view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% int4 -> The codes themselves are taken for numbers
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (((codes - 8) / 7).view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% int4, unscaled -> The codes themselves are taken for numbers
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = ((codes - 8).view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% evenly spaced levels -> The codes themselves are taken for numbers
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (torch.linspace(-1, 1, 16)[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% its own table of nf4 -> These are NF4's own levels
from lorakit.quantization import code_book


def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (code_book("nf4")[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% alpha -> The change is scaled by alpha: it is alpha / r
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha * (x @ A.T @ B.T)


# %% unscaled -> The change is not scaled
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + x @ A.T @ B.T


# %% without alpha -> alpha is left out
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + x @ A.T @ B.T / len(A)


# %% divided by alpha -> The change is divided by alpha
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + len(A) / lora_alpha * (x @ A.T @ B.T)


# %% times r -> The change is scaled by alpha times r
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha * len(A) * (x @ A.T @ B.T)


# %% rslora -> that is rsLoRA, a variant
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) ** 0.5 * (x @ A.T @ B.T)


# %% r from the wrong axis -> r is one of the layer's sizes here
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / A.shape[1] * (x @ A.T @ B.T)


# %% all scaled -> W's own output is scaled too
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return lora_alpha / len(A) * (x @ W.T + x @ A.T @ B.T)


# %% adapter alone -> W's own output is missing
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    return lora_alpha / len(A) * (x @ A.T @ B.T)


# %% base alone -> This is W's own output alone
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T


# %% taken off -> The change is taken off
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T - lora_alpha / len(A) * (x @ A.T @ B.T)


# %% added twice -> The change is added twice
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + 2 * lora_alpha / len(A) * (x @ A.T @ B.T)


# %% not transposed -> W is not transposed
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% b before a -> one of the two may have to be transposed
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) * (x @ B.T @ A.T)


# %% whole bytes as codes -> raised IndexError
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = packed.long().repeat_interleave(2)
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% codes still uint8 -> The shape of the mask
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha / len(A) * (x @ A.T @ B.T)


# %% the weight itself -> Not right yet
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return W + lora_alpha / len(A) * (B @ A)


# %% whole numbers -> The scale is a whole number here
def qlora_forward(x, packed, absmax, levels, A, B, lora_alpha):
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten().long()
    W = (levels[codes].view(-1, 64) * absmax[:, None]).view(len(B), A.shape[1])
    return x @ W.T + lora_alpha // len(A) * (x @ A.T @ B.T)
