# %% one-hot
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = torch.nn.functional.one_hot(input_ids, len(table)).to(table.dtype) @ table
    for block in blocks:
        x = block(x)
    return torch.nn.functional.linear(final_norm(x), head)


# %% reduce
def whole_pass(input_ids, table, blocks, final_norm, head):
    from functools import reduce

    x = reduce(lambda x, block: block(x), blocks, torch.nn.functional.embedding(input_ids, table))
    return torch.einsum("btd,vd->btv", final_norm(x), head)


# %% recursion
def whole_pass(input_ids, table, blocks, final_norm, head):
    def through(x, rest):
        return through(rest[0](x), rest[1:]) if rest else x

    return final_norm(through(table[input_ids], blocks)).matmul(head.mT)


# %% text by text
def whole_pass(input_ids, table, blocks, final_norm, head):
    logits = []
    for ids in input_ids:
        x = torch.stack([table[i] for i in ids.tolist()])[None]
        for i in range(len(blocks)):
            x = blocks[i](x)
        logits.append((head @ final_norm(x)[0].T).T)
    return torch.stack(logits)
