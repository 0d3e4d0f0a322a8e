"""lorakit: real LoRA and QLoRA fine-tunes, from token embeddings to logits, that run on a laptop.

Importing this package loads nothing heavy: torch and its friends load with the module that needs them.
"""

import os

# Torch's threads wait for each other in a busy loop by default. Where another program wants a core as well, they burn
# their time slices waiting: a training step then took ten times as long on 2 cores. Read when torch is first loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from lorakit.errors import LorakitError

__version__ = "0.1.0"
__all__ = ["LorakitError", "__version__"]
