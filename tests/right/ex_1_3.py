# %% two ways out
def table_weights(vocab_size, hidden_size, tied):
    if tied:
        return vocab_size * hidden_size
    return 2 * vocab_size * hidden_size


# %% True is 1
def table_weights(vocab_size, hidden_size, tied):
    return (2 - tied) * hidden_size * vocab_size


# %% real tables, counted
def table_weights(vocab_size, hidden_size, tied):
    embedding = torch.empty(vocab_size, hidden_size, device="meta")
    head = embedding if tied else torch.empty(vocab_size, hidden_size, device="meta")
    return sum(table.numel() for table in {id(table): table for table in (embedding, head)}.values())


# %% a tensor
def table_weights(vocab_size, hidden_size, tied):
    return torch.tensor([vocab_size * hidden_size] * (1 if tied else 2)).sum()
