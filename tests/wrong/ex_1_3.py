# %% hard-coded -> returns the same for every input
def table_weights(vocab_size, hidden_size, tied):
    return 80


# %% one table -> one table in every model
def table_weights(vocab_size, hidden_size, tied):
    return vocab_size * hidden_size


# %% two tables -> two tables in every model
def table_weights(vocab_size, hidden_size, tied):
    return 2 * vocab_size * hidden_size


# %% tied doubles -> It is the wrong way round
def table_weights(vocab_size, hidden_size, tied):
    return vocab_size * hidden_size * (1 + tied)


# %% sizes added -> adds the two sizes of a table
def table_weights(vocab_size, hidden_size, tied):
    return (vocab_size + hidden_size) * (1 if tied else 2)


# %% sizes added, once -> adds the two sizes of a table
def table_weights(vocab_size, hidden_size, tied):
    return vocab_size + hidden_size


# %% a column for lm_head -> a single row or column
def table_weights(vocab_size, hidden_size, tied):
    weights = vocab_size * hidden_size
    return weights if tied else weights + vocab_size


# %% a row for lm_head -> a single row or column
def table_weights(vocab_size, hidden_size, tied):
    weights = vocab_size * hidden_size
    return weights if tied else weights + hidden_size


# %% the lesson's model -> the sizes of one model
def table_weights(vocab_size, hidden_size, tied):
    return 49_152 * 576 * (1 if tied else 2)


# %% bytes -> These are bytes in float32
def table_weights(vocab_size, hidden_size, tied):
    return 4 * vocab_size * hidden_size * (1 if tied else 2)


# %% a shape -> Not right yet
def table_weights(vocab_size, hidden_size, tied):
    return (vocab_size, hidden_size) if tied else (2 * vocab_size, hidden_size)
