# %% step by step
def weights_mib(n_weights, bits):
    return n_weights * (bits / 8) / 1024 / 1024


# %% a tensor
def weights_mib(n_weights, bits):
    return torch.tensor(n_weights * bits / 2**23, dtype=torch.float64)
