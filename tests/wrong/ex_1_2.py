# %% hard-coded -> returns the same for every input
def nearest(vector, table, k):
    return torch.tensor([2, 1])


# %% dot product -> No row is divided by its own length
def nearest(vector, table, k):
    return (table @ vector).topk(k).indices


# %% the vector's length alone -> No row is divided by its own length
def nearest(vector, table, k):
    return (table @ vector / vector.norm()).topk(k).indices


# %% one length for the whole table -> No row is divided by its own length
def nearest(vector, table, k):
    return (table @ vector / (table.norm() * vector.norm())).topk(k).indices


# %% distance -> This goes by distance
def nearest(vector, table, k):
    return (table - vector).norm(dim=-1).argsort()[:k]


# %% absolute cosine -> the sign of the cosine was lost
def nearest(vector, table, k):
    return torch.nn.functional.cosine_similarity(table, vector, dim=-1).abs().topk(k).indices


# %% smallest cosine -> the rows with the smallest cosine
def nearest(vector, table, k):
    return torch.nn.functional.cosine_similarity(table, vector, dim=-1).argsort()[:k]


# %% smallest first -> the right rows in the wrong order
def nearest(vector, table, k):
    return torch.nn.functional.cosine_similarity(table, vector, dim=-1).argsort()[-k:]


# %% in the table's order -> the right rows in the wrong order
def nearest(vector, table, k):
    cosines = torch.nn.functional.cosine_similarity(table, vector, dim=-1)
    return (cosines >= cosines.topk(k).values[-1]).nonzero().flatten()


# %% no root -> by the square of a row's length
def nearest(vector, table, k):
    return (table @ vector / (table**2).sum(dim=-1)).topk(k).indices


# %% cosines -> These are the cosines
def nearest(vector, table, k):
    return torch.nn.functional.cosine_similarity(table, vector, dim=-1).topk(k).values


# %% all cosines -> These are the cosines
def nearest(vector, table, k):
    return table @ vector / (table.norm(dim=-1) * vector.norm())


# %% cosines times the vector's length -> These are the cosines
def nearest(vector, table, k):
    return (table @ vector / table.norm(dim=-1)).sort(descending=True).values[:k].tolist()


# %% the rows -> These are the rows themselves
def nearest(vector, table, k):
    return table[torch.nn.functional.cosine_similarity(table, vector, dim=-1).topk(k).indices]


# %% the rows in a list -> These are the rows themselves
def nearest(vector, table, k):
    return sorted(table, key=lambda row: -(row @ vector / row.norm()).item())[:k]


# %% lengths of the columns -> Columns are taken for rows here
def nearest(vector, table, k):
    return (table @ vector / (table.norm(dim=0) * vector.norm())).topk(k).indices


# %% torch's cosine over dim 0 -> Columns are taken for rows here
def nearest(vector, table, k):
    return torch.nn.functional.cosine_similarity(table, vector, dim=0).topk(k).indices


# %% vector first -> Columns are taken for rows here
def nearest(vector, table, k):
    return (vector @ table / (table.norm(dim=-1) * vector.norm())).topk(k).indices


# %% lengths without their axis -> Columns are taken for rows here
def nearest(vector, table, k):
    return (table / table.norm(dim=-1) @ vector).topk(k).indices


# %% columns brought to length 1 -> Columns are taken for rows here
def nearest(vector, table, k):
    return (table / table.norm(dim=0) @ (vector / vector.norm())).topk(k).indices


# %% columns throughout -> Columns are taken for rows here
def nearest(vector, table, k):
    return (vector @ table / (table.norm(dim=0) * vector.norm())).topk(k).indices


# %% without the nearest -> The nearest row is left out
def nearest(vector, table, k):
    return torch.nn.functional.cosine_similarity(table, vector, dim=-1).topk(k + 1).indices[1:]


# %% without the nearest, so too few -> The nearest row is left out
def nearest(vector, table, k):
    return torch.nn.functional.cosine_similarity(table, vector, dim=-1).topk(k).indices[1:]


# %% without the vector itself -> The nearest row is left out
def nearest(vector, table, k):
    cosines = torch.nn.functional.cosine_similarity(table, vector, dim=-1)
    return cosines.masked_fill(cosines > 0.9999, -1).topk(k).indices


# %% one too many -> one row more than k
def nearest(vector, table, k):
    return torch.nn.functional.cosine_similarity(table, vector, dim=-1).topk(k + 1).indices


# %% all of them -> These are all rows of the table
def nearest(vector, table, k):
    return torch.nn.functional.cosine_similarity(table, vector, dim=-1).argsort(descending=True)


# %% argmax -> This is the nearest row alone
def nearest(vector, table, k):
    return torch.nn.functional.cosine_similarity(table, vector, dim=-1).argmax()


# %% argmax, as a number -> This is the nearest row alone
def nearest(vector, table, k):
    return torch.nn.functional.cosine_similarity(table, vector, dim=-1).argmax().item()


# %% argmax in a list -> This is the nearest row alone
def nearest(vector, table, k):
    return [torch.nn.functional.cosine_similarity(table, vector, dim=-1).argmax()]


# %% rows from 1 -> here it has the number 1
def nearest(vector, table, k):
    cosines = {n: row @ vector / row.norm() for n, row in enumerate(table, start=1)}
    return sorted(cosines, key=cosines.get, reverse=True)[:k]


# %% a column of numbers -> an axis of length 1 is left over
def nearest(vector, table, k):
    cosines = table @ vector[:, None] / (table.norm(dim=-1, keepdim=True) * vector.norm())
    return cosines.topk(k, dim=0).indices


# %% a row of numbers -> an axis of length 1 is left over
def nearest(vector, table, k):
    return torch.nn.functional.cosine_similarity(table, vector, dim=-1)[None].topk(k).indices


# %% all that topk returns -> one list of row numbers is wanted
def nearest(vector, table, k):
    return torch.nn.functional.cosine_similarity(table, vector, dim=-1).topk(k)


# %% the second column's largest -> Not right yet
def nearest(vector, table, k):
    return table[:, 1].topk(k).indices
