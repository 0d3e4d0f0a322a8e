# %% torch's own
def embed(input_ids, table):
    return torch.nn.functional.embedding(input_ids, table)


# %% one-hot times the table
def embed(input_ids, table):
    return torch.nn.functional.one_hot(input_ids, num_classes=len(table)).float() @ table


# %% loops
def embed(input_ids, table):
    return torch.stack([torch.stack([table[i] for i in ids]) for ids in input_ids])


# %% flattened and put back
def embed(input_ids, table):
    return table.index_select(0, input_ids.reshape(-1)).view(*input_ids.shape, -1)
