# %% in steps
def combine(adapters, weights):
    (A, B, _), *_ = adapters
    total = torch.zeros(B.shape[0], A.shape[1])
    for i in range(len(adapters)):
        A, B, lora_alpha = adapters[i]
        change = lora_alpha / A.shape[0] * (B @ A)
        total += weights[i] * change
    return total


# %% one long adapter
def combine(adapters, weights):
    A = torch.cat([w * lora_alpha / A.shape[0] * A for (A, _, lora_alpha), w in zip(adapters, weights)])
    B = torch.cat([B for _, B, _ in adapters], dim=1)
    return B @ A


# %% stacked and summed
def combine(adapters, weights):
    changes = torch.stack([lora_alpha / B.shape[1] * (B @ A) for A, B, lora_alpha in adapters])
    return (torch.tensor(weights)[:, None, None] * changes).sum(dim=0)


# %% padded to one rank
def combine(adapters, weights):
    r = max(len(A) for A, _, _ in adapters)
    pad = torch.nn.functional.pad
    all_a = torch.stack([pad(A, (0, 0, 0, r - len(A))) for A, _, _ in adapters])
    all_b = torch.stack([pad(B, (0, r - B.shape[1])) for _, B, _ in adapters])
    factors = [weight * lora_alpha / len(A) for (A, _, lora_alpha), weight in zip(adapters, weights)]
    return torch.einsum("n,nor,nri->oi", torch.tensor(factors), all_b, all_a)


# %% in float64
def combine(adapters, weights):
    factors = torch.tensor(weights, dtype=torch.float64)
    changes = [lora_alpha / A.shape[0] * (B.double() @ A.double()) for A, B, lora_alpha in adapters]
    return torch.tensordot(factors, torch.stack(changes), dims=1)


# %% numpy
def combine(adapters, weights):
    import numpy as np

    changes = [lora_alpha / A.shape[0] * (B.numpy() @ A.numpy()) for A, B, lora_alpha in adapters]
    return torch.from_numpy(np.tensordot(np.array(weights), np.array(changes), axes=1))


# %% the first in place
def combine(adapters, weights):
    total = None
    for (A, B, lora_alpha), weight in zip(adapters, weights):
        B *= weight * lora_alpha / A.shape[0]
        total = B @ A if total is None else total.add_(B @ A)
    return total


# %% recursion
def combine(adapters, weights):
    A, B, lora_alpha = adapters[0]
    change = weights[0] * lora_alpha / A.shape[0] * (B @ A)
    return change + combine(adapters[1:], weights[1:]) if adapters[1:] else change
