# %% cross entropy
def loss_of_completion(logits, labels):
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


# %% classes second
def loss_of_completion(logits, labels):
    return torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2).float(), labels[:, 1:]).item()


# %% loops
def loss_of_completion(logits, labels):
    losses = []
    for b in range(labels.shape[0]):
        for t in range(1, labels.shape[1]):
            if labels[b, t] != -100:
                losses.append(-math.log(logits[b, t - 1].softmax(-1)[labels[b, t]]))
    return sum(losses) / len(losses)


# %% a mask
def loss_of_completion(logits, labels):
    log_p, wanted = logits[:, :-1].log_softmax(-1), labels[:, 1:]
    mask = (wanted != -100).to(logits.dtype)
    nats = -log_p.gather(-1, wanted.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return (nats * mask).sum() / mask.sum()
