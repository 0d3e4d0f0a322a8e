# %% hard-coded -> returns the same for every input
def rms_norm(x, gamma, eps):
    return torch.tensor([0.849, 11.314])


# %% LayerNorm -> subtracts the mean of each vector
def rms_norm(x, gamma, eps):
    return torch.nn.functional.layer_norm(x, gamma.shape, gamma, eps=eps)


# %% LayerNorm by hand -> subtracts the mean of each vector
def rms_norm(x, gamma, eps):
    x = x - x.mean(dim=-1, keepdim=True)
    return gamma * x / (x.std(dim=-1, keepdim=True) + eps)


# %% standard deviation -> divides by the standard deviation
def rms_norm(x, gamma, eps):
    return gamma * x / (x.std(dim=-1, keepdim=True) + eps)


# %% variance and eps -> divides by the standard deviation
def rms_norm(x, gamma, eps):
    return gamma * x * torch.rsqrt(x.var(dim=-1, keepdim=True, unbiased=False) + eps)


# %% sum of the squares -> root of the sum of the squares
def rms_norm(x, gamma, eps):
    return gamma * x / (x.pow(2).sum(dim=-1, keepdim=True) + eps).sqrt()


# %% length -> root of the sum of the squares
def rms_norm(x, gamma, eps):
    return gamma * x / x.norm(dim=-1, keepdim=True)


# %% normalize -> root of the sum of the squares
def rms_norm(x, gamma, eps):
    return gamma * torch.nn.functional.normalize(x, dim=-1, eps=eps)


# %% eps outside the root -> adds eps to the root
def rms_norm(x, gamma, eps):
    return gamma * x / (x.pow(2).mean(dim=-1, keepdim=True).sqrt() + eps)


# %% no eps -> leaves out eps
def rms_norm(x, gamma, eps):
    return gamma * x / x.pow(2).mean(dim=-1, keepdim=True).sqrt()


# %% torch's own, without eps -> leaves out eps
def rms_norm(x, gamma, eps):
    return torch.nn.functional.rms_norm(x, gamma.shape, gamma)


# %% eps of most Llamas -> takes 1e-5 for eps
def rms_norm(x, gamma, eps):
    return gamma * x / (x.pow(2).mean(dim=-1, keepdim=True) + 1e-5).sqrt()


# %% eps of transformers -> takes 1e-6 for eps
def rms_norm(x, gamma, eps):
    return gamma * x / (x.pow(2).mean(dim=-1, keepdim=True) + 1e-6).sqrt()


# %% no root -> its root is missing
def rms_norm(x, gamma, eps):
    return gamma * x / (x.pow(2).mean(dim=-1, keepdim=True) + eps)


# %% mean of absolute values -> without their signs
def rms_norm(x, gamma, eps):
    return gamma * x / (x.abs().mean(dim=-1, keepdim=True) + eps)


# %% square of the mean -> squares the mean
def rms_norm(x, gamma, eps):
    return gamma * x / (x.mean(dim=-1, keepdim=True).pow(2) + eps).sqrt()


# %% no gamma -> leaves out gamma
def rms_norm(x, gamma, eps):
    return x / (x.pow(2).mean(dim=-1, keepdim=True) + eps).sqrt()


# %% Gemma's norm -> scales by 1 + gamma
def rms_norm(x, gamma, eps):
    return (1 + gamma) * x / (x.pow(2).mean(dim=-1, keepdim=True) + eps).sqrt()


# %% gamma added -> adds gamma
def rms_norm(x, gamma, eps):
    return gamma + x / (x.pow(2).mean(dim=-1, keepdim=True) + eps).sqrt()


# %% divided by gamma -> divides by gamma
def rms_norm(x, gamma, eps):
    return x / ((x.pow(2).mean(dim=-1, keepdim=True) + eps).sqrt() * gamma)


# %% multiplied -> so that large vectors grow
def rms_norm(x, gamma, eps):
    return gamma * x * (x.pow(2).mean(dim=-1, keepdim=True) + eps).sqrt()


# %% mean over everything -> runs over all numbers of x
def rms_norm(x, gamma, eps):
    return gamma * x / (x.pow(2).mean() + eps).sqrt()


# %% mean over the first axis -> runs across the vectors
def rms_norm(x, gamma, eps):
    return gamma * x / (x.pow(2).mean(dim=0) + eps).sqrt()


# %% mean over axis 1 -> runs across the vectors
def rms_norm(x, gamma, eps):
    return gamma * x / (x.pow(2).mean(dim=1, keepdim=True) + eps).sqrt()


# %% mean over the last axis but one -> runs across the vectors
def rms_norm(x, gamma, eps):
    return gamma * x / (x.pow(2).mean(dim=-2, keepdim=True) + eps).sqrt()


# %% axis lost -> keepdim=True keeps it
def rms_norm(x, gamma, eps):
    return gamma * x / (x.pow(2).mean(dim=-1) + eps).sqrt()


# %% the roots -> These are the roots alone
def rms_norm(x, gamma, eps):
    return (x.pow(2).mean(dim=-1, keepdim=True) + eps).sqrt()


# %% the roots, an axis less -> These are the roots alone
def rms_norm(x, gamma, eps):
    return (x.pow(2).mean(dim=-1) + eps).sqrt()


# %% scaled twice -> Not right yet
def rms_norm(x, gamma, eps):
    return gamma * gamma * x / (x.pow(2).mean(dim=-1, keepdim=True) + eps).sqrt()
