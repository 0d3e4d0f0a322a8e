# %% torch's own cosine, as a list
def nearest(vector, table, k):
    return torch.nn.functional.cosine_similarity(table, vector, dim=-1).argsort(descending=True)[:k].tolist()


# %% rows brought to length 1, the vector as it is
def nearest(vector, table, k):
    table = table / (table * table).sum(dim=1, keepdim=True).sqrt()
    return torch.mv(table, vector).topk(k).indices.to(torch.int32)


# %% loops, with plain numbers
def nearest(vector, table, k):
    def length(v):
        return math.sqrt(sum(x * x for x in v))

    def cosine(i):
        return sum(a * b for a, b in zip(rows[i], v)) / (length(rows[i]) * length(v))

    rows, v = table.tolist(), vector.tolist()
    return tuple(sorted(range(len(rows)), key=cosine, reverse=True)[:k])


# %% numpy, and one row after the other
def nearest(vector, table, k):
    import numpy

    cosines = numpy.array([(row @ vector / row.norm() / vector.norm()).item() for row in table])
    return cosines.argsort()[::-1][:k]


# %% one maximum after the other
def nearest(vector, table, k):
    cosines, found = table @ vector / (table.norm(dim=-1) * vector.norm()), []
    for _ in range(k):
        found.append(cosines.argmax())
        cosines[found[-1]] = -2
    return found
