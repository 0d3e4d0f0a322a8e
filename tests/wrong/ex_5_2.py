# %% hard-coded -> returns the same for every input
def census(config):
    roles = ("embedding", "q", "k", "v", "o", "gate", "up", "down", "norm", "head")
    return dict.fromkeys(roles, 28_311_552)


# %% vocabulary alone -> leaves out the size of the vectors
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": config.vocab_size, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% head among the embedding -> counts the head in with the embedding
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table * (1 if config.tie_word_embeddings else 2), "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% one block -> counts one block alone
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, 1
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% norms of one block -> counts one block alone
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": 3 * D, "head": 0 if config.tie_word_embeddings else table}


# %% norms of one block, no final one -> counts one block alone
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": 2 * D, "head": 0 if config.tie_word_embeddings else table}


# %% head_dim divided -> takes head_dim to be hidden_size / num_attention_heads
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = D // config.num_attention_heads, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% square q and o -> takes head_dim to be hidden_size / num_attention_heads
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = D, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% one head -> counts one head alone
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = head_dim, head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% one key head -> counts one head alone
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% hidden_size for every head -> gives every head hidden_size numbers
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = D, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% all heads' keys -> gives keys and values as many heads as queries
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_attention_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% square k and v -> gives keys and values as many heads as queries
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, D
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% few query heads -> gives q and o as few heads as keys and values
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_key_value_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% o like k -> gives q and o as few heads as keys and values
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["k"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% 4 times as wide -> 4 times as wide as the vectors
def census(config):
    D, F, L = config.hidden_size, 4 * config.hidden_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% as wide as the vectors -> half to be as wide as the vectors
def census(config):
    D, F, L = config.hidden_size, config.hidden_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% biases of the attention -> counts biases
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * (D + 1) * queries, "k": L * (D + 1) * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% biases of the feed-forward half -> counts biases
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * (D * F + D)}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% one norm a block -> counts one norm a block
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% one norm a block, no final one -> counts one norm a block
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": L * D, "head": 0 if config.tie_word_embeddings else table}


# %% no final norm -> final norm is left out
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": 2 * L * D, "head": 0 if config.tie_word_embeddings else table}


# %% numbers of norms -> counts one number for each norm
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": 2 * L + 1, "head": 0 if config.tie_word_embeddings else table}


# %% head although tied -> counts the head where it is tied
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": table}


# %% no head although not tied -> counts no head where it is not tied
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0}


# %% ties the wrong way round -> counted the wrong way round
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": table if config.tie_word_embeddings else 0}


# %% bytes in 32 bits -> These are bytes
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    counts |= {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}
    return {role: 4 * count for role, count in counts.items()}


# %% bytes in 16 bits -> These are bytes
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    counts |= {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}
    return {role: 2 * count for role, count in counts.items()}


# %% two mistakes, the first -> takes head_dim to be hidden_size / num_attention_heads
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = D // config.num_attention_heads, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% total -> a dict with ten entries is wanted
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    counts |= {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}
    return sum(counts.values())


# %% no gate -> The entry `gate` is missing
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% another name -> There is an entry 'lm_head'
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    counts |= {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}
    return counts | {"lm_head": 0}


# %% shapes -> one number is wanted
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": (config.vocab_size, D), "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% half a table -> Not right yet
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table // 2, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": counts["k"], "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% gamma and beta -> counts a beta beside each gamma
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": L * D * keys}
    counts |= {"v": L * D * keys, "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": 2 * (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}


# %% k and v in one -> counts keys and values together
def census(config):
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head_dim, table = config.head_dim, config.vocab_size * D
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    counts = {"embedding": table, "q": L * D * queries, "k": 2 * L * D * keys}
    counts |= {"v": L * D * keys, "o": counts["q"], "gate": L * D * F, "up": L * D * F, "down": L * D * F}
    return counts | {"norm": (2 * L + 1) * D, "head": 0 if config.tie_word_embeddings else table}
