"""A tiny Llama with random weights and the real tokenizer, and a few rows to train it on."""

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


def save_tiny_model(folder, hidden_size=64, seed=0):
    """A Llama of 2 layers with grouped heads and tied embeddings."""
    tokenizer = AutoTokenizer.from_pretrained(fetch_default_model())
    config = LlamaConfig(
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=len(tokenizer),
        tie_word_embeddings=True,
        max_position_embeddings=256,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        initializer_range=0.1,
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
