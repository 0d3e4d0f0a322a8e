"""lorakit: real LoRA and QLoRA fine-tunes, from token embeddings to logits, that run on a laptop.

Importing this package loads nothing heavy: torch and its friends load with the module that needs them.
"""

import logging
import os

# How long a thread of torch's spins before it sleeps, on Linux. Beside a program that wants a core as well, the default
# spins away the time that the other threads wait for; never to spin is slow where no such program runs. The figures:
# tests/bench/records/waiting_threads.json. Read when torch is first loaded; a policy of the user's own stands.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from lorakit.errors import LorakitError

__version__ = "0.1.0"
__all__ = ["LorakitError", "__version__"]

# Where a CPU multiplies in bf16, oneDNN compiles a kernel for each shape of matrix, and two caches keep the last 1,024:
# a fine-tune on rows of many lengths then takes 0.6 GiB more, and no less time. The figures:
# tests/bench/records/kernel_caches.json. Read when torch first multiplies.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")
os.environ.setdefault("LRU_CACHE_CAPACITY", "32")

# On a CPU with AVX512-BF16 bitsandbytes says, as it is loaded (peft loads it too), that it has no kernel to fetch from
# a hub. Nobody who reads a lesson asked for one.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
