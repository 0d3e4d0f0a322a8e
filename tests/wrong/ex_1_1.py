# %% hard-coded -> returns the same for every input
def embed(input_ids, table):
    return torch.tensor([[[4.0, 5.0], [0.0, 1.0]]])


# %% columns -> These are columns of the table
def embed(input_ids, table):
    return table[:, input_ids]


# %% rows of the transpose -> These are columns of the table
def embed(input_ids, table):
    return table.T[input_ids]


# %% first text -> This is the first text alone
def embed(input_ids, table):
    return table[input_ids[0]]


# %% first text, its axis kept -> This is the first text alone
def embed(input_ids, table):
    return table[input_ids[0]].unsqueeze(0)


# %% returns in the loop -> This is the first text alone
def embed(input_ids, table):
    for ids in input_ids:
        return torch.stack([table[i] for i in ids])


# %% last token -> This is one token of each text alone
def embed(input_ids, table):
    return table[input_ids[:, -1]]


# %% first token -> This is one token of each text alone
def embed(input_ids, table):
    return table[input_ids[:, 0]]


# %% mean over the text -> The rows of a text are added up or averaged
def embed(input_ids, table):
    return table[input_ids].mean(dim=1)


# %% sum over the text -> The rows of a text are added up or averaged
def embed(input_ids, table):
    counts = torch.nn.functional.one_hot(input_ids, len(table)).sum(dim=1)
    return counts.float() @ table


# %% no batch -> This runs the texts together
def embed(input_ids, table):
    return table[input_ids.flatten()]


# %% ids from 1 -> the rows beside those that the ids name
def embed(input_ids, table):
    return table[input_ids - 1]


# %% the row after -> the rows beside those that the ids name
def embed(input_ids, table):
    return table[input_ids + 1]


# %% positions for ids -> whose numbers are the positions
def embed(input_ids, table):
    return torch.stack([torch.stack([table[t] for t, _ in enumerate(ids)]) for ids in input_ids])


# %% the first rows -> whose numbers are the positions
def embed(input_ids, table):
    return table[: input_ids.shape[1]]


# %% one-hot alone -> These are the one-hot rows of the ids
def embed(input_ids, table):
    return torch.nn.functional.one_hot(input_ids, num_classes=len(table)).float()


# %% one-hot as wide as its largest id -> These are the one-hot rows of the ids
def embed(input_ids, table):
    return torch.nn.functional.one_hot(input_ids)


# %% one number -> This is a single number of each row
def embed(input_ids, table):
    return table[input_ids, 0]


# %% positions first -> the order of the axes is not
def embed(input_ids, table):
    return torch.stack([table[ids] for ids in input_ids], dim=1)


# %% numbers before positions -> the order of the axes is not
def embed(input_ids, table):
    return table[input_ids].transpose(1, 2)


# %% a list -> one tensor is wanted
def embed(input_ids, table):
    return [table[ids] for ids in input_ids]


# %% each text turned round -> Not right yet
def embed(input_ids, table):
    return table[input_ids].flip(1)
