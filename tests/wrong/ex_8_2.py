# %% hard-coded -> returns the same for every input
def mixed_batch(x, W, adapters, names):
    return torch.zeros(4, 2, 8)


# %% the first adapter for all -> One adapter is used for all
def mixed_batch(x, W, adapters, names):
    A, B, scaling = next(iter(adapters.values()))
    return x @ W.T + scaling * (x @ A.T @ B.T)


# %% the first name for all that have one -> One adapter is used for all
def mixed_batch(x, W, adapters, names):
    A, B, scaling = adapters[names[0]]
    y = x @ W.T
    for i, name in enumerate(names):
        if name is not None:
            y[i] += scaling * (x[i] @ A.T @ B.T)
    return y


# %% None keeps the last adapter -> A request with None gets an adapter here
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
        y[i] += scaling * (x[i] @ A.T @ B.T)
    return y


# %% None gets the first adapter -> A request with None gets an adapter here
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, name in enumerate(names):
        A, B, scaling = adapters.get(name, list(adapters.values())[0])
        y[i] += scaling * (x[i] @ A.T @ B.T)
    return y


# %% zeros for None -> A request with None is left out
def mixed_batch(x, W, adapters, names):
    y = torch.zeros(*x.shape[:2], W.shape[0])
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
            y[i] = x[i] @ W.T + scaling * (x[i] @ A.T @ B.T)
    return y


# %% nothing for None -> A request with None is left out
def mixed_batch(x, W, adapters, names):
    outputs = []
    for request, name in zip(x, names):
        if name is None:
            continue
        A, B, scaling = adapters[name]
        outputs.append(request @ W.T + scaling * (request @ A.T @ B.T))
    return torch.stack(outputs)


# %% all adapters -> Every request gets all adapters
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for A, B, scaling in adapters.values():
        y += scaling * (x @ A.T @ B.T)
    return y


# %% all adapters, except for None -> Every request gets all adapters
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, name in enumerate(names):
        if name is not None:
            for A, B, scaling in adapters.values():
                y[i] += scaling * (x[i] @ A.T @ B.T)
    return y


# %% the whole batch for each name -> Every request gets all adapters
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for name in names:
        if name is not None:
            A, B, scaling = adapters[name]
            y += scaling * (x @ A.T @ B.T)
    return y


# %% the whole batch for each name that is wanted -> Every request gets all adapters
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for name in set(names) - {None}:
        A, B, scaling = adapters[name]
        y += scaling * (x @ A.T @ B.T)
    return y


# %% one request's change for all -> Every request gets all adapters
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
            y += scaling * (x[i] @ A.T @ B.T)
    return y


# %% merged for good -> Adapters of the requests before act on it too
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
            W += scaling * (B @ A)
            y[i] = x[i] @ W.T
    return y


# %% merged for good, for None too -> Adapters of the requests before act on it too
def mixed_batch(x, W, adapters, names):
    outputs = []
    for request, name in zip(x, names):
        if name is not None:
            A, B, scaling = adapters[name]
            W = W + scaling * (B @ A)
        outputs.append(request @ W.T)
    return torch.stack(outputs)


# %% by number, starting again -> The adapters go by their order in the dict
def mixed_batch(x, W, adapters, names):
    y, loaded = x @ W.T, list(adapters.values())
    for i in range(len(names)):
        A, B, scaling = loaded[i % len(loaded)]
        y[i] += scaling * (x[i] @ A.T @ B.T)
    return y


# %% by number, except for None -> The adapters go by their order in the dict
def mixed_batch(x, W, adapters, names):
    y, loaded = x @ W.T, list(adapters.values())
    for i in range(len(names)):
        if names[i] is not None:
            A, B, scaling = loaded[i % len(loaded)]
            y[i] += scaling * (x[i] @ A.T @ B.T)
    return y


# %% zip -> The adapters go by their order in the dict
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, (A, B, scaling) in zip(range(len(x)), adapters.values()):
        y[i] += scaling * (x[i] @ A.T @ B.T)
    return y


# %% zip, except for None -> The adapters go by their order in the dict
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, (name, (A, B, scaling)) in enumerate(zip(names, adapters.values())):
        if name is not None:
            y[i] += scaling * (x[i] @ A.T @ B.T)
    return y


# %% zip, and a list -> The adapters go by their order in the dict
def mixed_batch(x, W, adapters, names):
    return torch.stack([x[i] @ (W + scaling * B @ A).T for i, (A, B, scaling) in zip(range(len(x)), adapters.values())])


# %% the next adapter for each name -> The adapters go by their order in the dict
def mixed_batch(x, W, adapters, names):
    from itertools import cycle

    y, loaded = x @ W.T, cycle(adapters.values())
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = next(loaded)
            y[i] += scaling * (x[i] @ A.T @ B.T)
    return y


# %% the request before -> This is the adapter of the request before
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i in range(len(names)):
        if names[i - 1] is not None:
            A, B, scaling = adapters[names[i - 1]]
            y[i] += scaling * (x[i] @ A.T @ B.T)
    return y


# %% the request before, from the second on -> This is the adapter of the request before
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, name in enumerate(names[:-1], start=1):
        if name is not None:
            A, B, scaling = adapters[name]
            y[i] += scaling * (x[i] @ A.T @ B.T)
    return y


# %% the request after -> This is the adapter of the request before
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
            y[i - 1] += scaling * (x[i - 1] @ A.T @ B.T)
    return y


# %% not scaled -> The change is not scaled
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
            y[i] += x[i] @ A.T @ B.T
    return y


# %% scaling / r -> scaling is divided by r here
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
            y[i] += scaling / A.shape[0] * (x[i] @ A.T @ B.T)
    return y


# %% all scaled -> W's own output is scaled too
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
            y[i] = scaling * (x[i] @ (W + B @ A).T)
    return y


# %% = for += -> W's own output is missing
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
            y[i] = scaling * (x[i] @ A.T @ B.T)
    return y


# %% the changes alone -> W's own output is missing
def mixed_batch(x, W, adapters, names):
    y = torch.zeros(*x.shape[:2], W.shape[0])
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
            y[i] += scaling * (x[i] @ A.T @ B.T)
    return y


# %% W alone -> This is W's output alone
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
            y[i] + scaling * (x[i] @ A.T @ B.T)
    return y


# %% first token -> added to one token alone
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
            y[i, 0] += scaling * (x[i, 0] @ A.T @ B.T)
    return y


# %% last token -> added to one token alone
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
            y[i, -1] += scaling * (x[i, -1] @ A.T @ B.T)
    return y


# %% return in the loop -> The first request alone gets its adapter
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
            y[i] += scaling * (x[i] @ A.T @ B.T)
        return y


# %% a list -> one tensor is wanted
def mixed_batch(x, W, adapters, names):
    outputs = []
    for request, name in zip(x, names):
        output = request @ W.T
        if name is not None:
            A, B, scaling = adapters[name]
            output += scaling * (request @ A.T @ B.T)
        outputs.append(output)
    return outputs


# %% W not transposed -> W is not transposed
def mixed_batch(x, W, adapters, names):
    y = x @ W
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
            y[i] += scaling * (x[i] @ A.T @ B.T)
    return y


# %% nothing transposed -> W is not transposed
def mixed_batch(x, W, adapters, names):
    y = x @ W
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
            y[i] = x[i] @ (W + scaling * B @ A)
    return y


# %% B and A not transposed -> A and B are not transposed
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
            y[i] += scaling * (x[i] @ B @ A)
    return y


# %% grouped by adapter, and left so -> The requests come out in another order
def mixed_batch(x, W, adapters, names):
    outputs = []
    for wanted in [None, *adapters]:
        rows = x[[name == wanted for name in names]]
        outputs.append(rows @ W.T)
        if wanted is not None:
            A, B, scaling = adapters[wanted]
            outputs[-1] += scaling * (rows @ A.T @ B.T)
    return torch.cat(outputs)


# %% taken off -> Not right yet
def mixed_batch(x, W, adapters, names):
    y = x @ W.T
    for i, name in enumerate(names):
        if name is not None:
            A, B, scaling = adapters[name]
            y[i] -= scaling * (x[i] @ A.T @ B.T)
    return y
