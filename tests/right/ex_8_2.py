# %% a list, stacked
def mixed_batch(x, W, adapters, names):
    outputs = []
    for request, name in zip(x, names):
        output = request @ W.T
        if name is not None:
            A, B, scaling = adapters[name]
            output = output + scaling * (request @ A.T @ B.T)
        outputs.append(output)
    return torch.stack(outputs)


# %% merged for each request
def mixed_batch(x, W, adapters, names):
    y = torch.empty(*x.shape[:2], W.shape[0])
    for i, name in enumerate(names):
        weight = W
        if name in adapters:
            A, B, scaling = adapters[name]
            weight = W + scaling * B @ A
        y[i] = x[i] @ weight.T
    return y


# %% grouped by adapter, with a mask
def mixed_batch(x, W, adapters, names):
    y = torch.nn.functional.linear(x, W)
    for wanted, (A, B, scaling) in adapters.items():
        mask = torch.tensor([name == wanted for name in names])
        y[mask] += scaling * (x[mask] @ A.T @ B.T)
    return y


# %% grouped by adapter, with index_select
def mixed_batch(x, W, adapters, names):
    groups = {}
    for i, name in enumerate(names):
        groups.setdefault(name, []).append(i)
    y = x @ W.T
    for name, rows in groups.items():
        if name is not None:
            A, B, scaling = adapters[name]
            rows = torch.tensor(rows)
            y.index_add_(0, rows, scaling * (x.index_select(0, rows) @ A.T @ B.T))
    return y


# %% all adapters, and weights of 0 and 1
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for wanted, (A, B, scaling) in adapters.items():
        gate = torch.tensor([float(name == wanted) for name in names])
        y = y + gate[:, None, None] * scaling * (x @ A.T @ B.T)
    return y


# %% einsum over stacked adapters
def mixed_batch(x, W, adapters, names):
    A0, B0, _ = next(iter(adapters.values()))
    nothing = (torch.zeros_like(A0), torch.zeros_like(B0), 0.0)
    chosen = [adapters.get(name, nothing) for name in names]
    A = torch.stack([A for A, _, _ in chosen])
    B = torch.stack([scaling * B for _, B, scaling in chosen])
    return torch.einsum("bti,oi->bto", x, W) + torch.einsum("bti,bri,bor->bto", x, A, B)


# %% batched products
def mixed_batch(x, W, adapters, names):
    weights = []
    for name in names:
        weights.append(W.clone())
        if name is not None:
            A, B, scaling = adapters[name]
            weights[-1] += scaling * (B @ A)
    return torch.bmm(x, torch.stack(weights).mT)


# %% in float64
def mixed_batch(x, W, adapters, names):
    y = x.double() @ W.double().T
    for i, name in enumerate(names):
        if name:
            A, B, scaling = adapters[name]
            y[i] += scaling * (x[i].double() @ A.double().T @ B.double().T)
    return y


# %% token by token
def mixed_batch(x, W, adapters, names):
    y = torch.zeros(x.shape[0], x.shape[1], len(W))
    for i in range(x.shape[0]):
        for t in range(x.shape[1]):
            y[i, t] = W @ x[i, t]
            if names[i] is not None:
                A, B, scaling = adapters[names[i]]
                y[i, t] += scaling * (B @ (A @ x[i, t]))
    return y


# %% W merged and unmerged in place
def mixed_batch(x, W, adapters, names):
    outputs = []
    for request, name in zip(x, names):
        if name is not None:
            A, B, scaling = adapters[name]
            W += scaling * (B @ A)
        outputs.append(request @ W.T)
        if name is not None:
            W -= scaling * (B @ A)
    return torch.stack(outputs)
