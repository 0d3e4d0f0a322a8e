"""Llamas with random weights, in a folder for load_model(), and a few rows to train them on."""

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from lorakit.models import fetch_default_model

ROWS = [
    {
        "prompt": f"Review: it was {word} to sit through\nSentiment:",
        "completion": label,
        "label_words": (" bad", " good"),
    }
    for word, label in [
        ("a joy", " good"),
        ("a pain", " bad"),
        ("a long and quite wonderful treat", " good"),
        ("dull", " bad"),
        ("a thrill from start to end", " good"),
        ("far too slow for me, and far too long", " bad"),
        ("fun", " good"),
        ("grim", " bad"),
    ]
]


TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.1,
}
"""Grouped heads, and rows that divide into blocks of 64."""


def save_llama(folder, tokenizer, shape):
    """Put a Llama with random weights and tied embeddings into a folder, beside its tokenizer; returns the folder."""
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "eos_token_id", "bos_token_id")}
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**shape, **ids, tie_word_embeddings=True, max_position_embeddings=256))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def save_tiny_model(folder, hidden_size=64):
    """A Llama of 2 layers with the real tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(fetch_default_model())
    sizes = {"hidden_size": hidden_size, "intermediate_size": 2 * hidden_size, "vocab_size": len(tokenizer)}
    return save_llama(folder, tokenizer, TINY | sizes)
