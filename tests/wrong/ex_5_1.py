# %% hard-coded -> returns the same for every input
def whole_pass(input_ids, table, blocks, final_norm, head):
    return torch.zeros(1, 5, 49152)


# %% no final norm -> final norm is missing
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks:
        x = block(x)
    return x @ head.T


# %% norm before the blocks -> norm comes before the blocks
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = final_norm(table[input_ids])
    for block in blocks:
        x = block(x)
    return x @ head.T


# %% norm before and after the blocks -> norm comes before the blocks
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = final_norm(table[input_ids])
    for block in blocks:
        x = block(x)
    return final_norm(x) @ head.T


# %% norm before each block and after -> norm comes before every block
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks:
        x = block(final_norm(x))
    return final_norm(x) @ head.T


# %% norm before each block -> norm comes before every block
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks:
        x = block(final_norm(x))
    return x @ head.T


# %% norm in the loop -> norm comes after every block
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks:
        x = final_norm(block(x))
    return x @ head.T


# %% norm in the loop and after -> norm comes after every block
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks:
        x = final_norm(block(x))
    return final_norm(x) @ head.T


# %% reversed -> come in reverse order
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in reversed(blocks):
        x = block(x)
    return final_norm(x) @ head.T


# %% always the embeddings -> Every block is given the embeddings
def whole_pass(input_ids, table, blocks, final_norm, head):
    embeddings = table[input_ids]
    for block in blocks:
        x = block(embeddings)
    return final_norm(x) @ head.T


# %% sum of the blocks -> adds up what each block makes of the embeddings
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    x = sum(block(x) for block in blocks)
    return final_norm(x) @ head.T


# %% sum of the blocks and the embeddings -> adds up what each block makes of the embeddings
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    x = x + sum(block(x) for block in blocks)
    return final_norm(x) @ head.T


# %% x added -> adds what a block returns to what it was given
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks:
        x = x + block(x)
    return final_norm(x) @ head.T


# %% no blocks -> No block is in this
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    return final_norm(x) @ head.T


# %% block's value forgotten -> No block is in this
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks:
        block(x)
    return final_norm(x) @ head.T


# %% returns in the loop -> This is the first block alone
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks:
        x = block(x)
        return final_norm(x) @ head.T


# %% first block left out -> The first block is left out
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks[1:]:
        x = block(x)
    return final_norm(x) @ head.T


# %% last block left out -> The last block is left out
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks[:-1]:
        x = block(x)
    return final_norm(x) @ head.T


# %% table as the head -> takes the embedding table for the head
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks:
        x = block(x)
    return final_norm(x) @ table.T


# %% head as the table -> looks the tokens up in the head
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = head[input_ids]
    for block in blocks:
        x = block(x)
    return final_norm(x) @ head.T


# %% no head -> These are vectors still
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks:
        x = block(x)
    return final_norm(x)


# %% no head and no norm -> These are vectors still
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks:
        x = block(x)
    return x


# %% last position -> These are the last position's logits
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks:
        x = block(x)
    return final_norm(x)[:, -1] @ head.T


# %% last position, axis kept -> These are the last position's logits
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks:
        x = block(x)
    return final_norm(x)[:, -1:] @ head.T


# %% first text -> These are the first text's logits
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids[:1]]
    for block in blocks:
        x = block(x)
    return (final_norm(x) @ head.T)[0]


# %% first text, axis kept -> These are the first text's logits
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids[:1]]
    for block in blocks:
        x = block(x)
    return final_norm(x) @ head.T


# %% softmax -> These are probabilities
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks:
        x = block(x)
    return (final_norm(x) @ head.T).softmax(dim=-1)


# %% ids -> These are ids
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks:
        x = block(x)
    return (final_norm(x) @ head.T).argmax(dim=-1)


# %% norm of the logits -> final_norm takes (B, T,
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks:
        x = block(x)
    return final_norm(x @ head.T)


# %% a mean over the positions -> Not right yet
def whole_pass(input_ids, table, blocks, final_norm, head):
    x = table[input_ids]
    for block in blocks:
        x = block(x)
    return (final_norm(x) @ head.T).mean(dim=1)
