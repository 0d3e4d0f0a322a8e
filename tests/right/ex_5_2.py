# %% a model without weights
def census(config):
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    marks = {"embedding": "embed_tokens", "norm": "norm", "head": "lm_head"}
    marks |= {role: f".{role}_proj" for role in ("q", "k", "v", "o", "gate", "up", "down")}
    return {
        role: sum(weight.numel() for name, weight in model.named_parameters() if mark in name)
        for role, mark in marks.items()
    }


# %% block by block
def census(config):
    from collections import Counter

    counts, D = Counter(), config.hidden_size
    counts["embedding"] = counts["head"] = config.vocab_size * D
    for _ in range(config.num_hidden_layers):
        for role in ("q", "o"):
            counts[role] += D * config.num_attention_heads * config.head_dim
        for role in ("k", "v"):
            counts[role] += D * config.num_key_value_heads * config.head_dim
        for role in ("gate", "up", "down"):
            counts[role] += D * config.intermediate_size
        counts["norm"] += 2 * D
    counts["norm"] += D
    counts["head"] *= not config.tie_word_embeddings
    return counts


# %% shapes, as floats
def census(config):
    D, L = config.hidden_size, config.num_hidden_layers
    queries, keys = (n * config.head_dim for n in (config.num_attention_heads, config.num_key_value_heads))
    shapes = {"q": (queries, D), "k": (keys, D), "v": (keys, D), "o": (D, queries)}
    shapes |= dict.fromkeys(("gate", "up", "down"), (config.intermediate_size, D))
    counts = {role: float(L * math.prod(shape)) for role, shape in shapes.items()}
    counts["head"] = counts["embedding"] = torch.empty(config.vocab_size, D, device="meta").numel()
    counts["norm"] = torch.tensor(D * L * 2 + D)
    return {**counts, "head": 0} if config.tie_word_embeddings else counts
