"""One forward pass as named tensors: recorded from a model of transformers', and computed by hand. Lessons 01 to 05.

Both give the same names. Shapes: B texts, T tokens, D hidden, H heads, K key and value heads, d numbers a head, F wide.

    embeddings            (B, T, D)      rows of the embedding table
    0.normed              (B, T, D)      block 0's input, after its first RMSNorm
    0.q  0.k  0.v         (B, H or K, T, d)   before rotation
    0.q_rotated 0.k_rotated              after it
    0.attention           (B, H, T, T)   softmax weights: row i says where token i looks
    0.attention_output    (B, T, D)      what attention adds to the residual stream
    0.residual_mid        (B, T, D)      the stream between the two halves of the block
    0.normed_mid          (B, T, D)      the same after the second RMSNorm
    0.gate  0.up          (B, T, F)
    0.down                (B, T, D)      what the feed-forward half adds
    0.residual            (B, T, D)      the stream after the block
    final_normed          (B, T, D)      what lm_head is multiplied with
"""

from lorakit.activations.by_hand import (
    embed,
    forward,
    grouped_attention,
    rms_norm,
    rotary,
    swiglu,
    unembed,
)
from lorakit.activations.record import run_with_cache

__all__ = [
    "embed",
    "forward",
    "grouped_attention",
    "rms_norm",
    "rotary",
    "run_with_cache",
    "swiglu",
    "unembed",
]
