"""lorakit: real LoRA and QLoRA fine-tunes, from token embeddings to logits, that run on a laptop.

Importing this package loads nothing heavy: torch and its friends load with the module that needs them.
"""

from lorakit.errors import LorakitError

__version__ = "0.1.0"
__all__ = ["LorakitError", "__version__"]
