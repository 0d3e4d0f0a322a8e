"""What `import lorakit` does, and does not do."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("own", "spin"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
)
def test_importing_the_package_sets_how_torchs_threads_wait(own, spin):
    script = "import os, lorakit; print(os.environ.get('GOMP_SPINCOUNT'))"
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run([sys.executable, "-c", script], env=clean | own, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(spin)


def test_importing_the_package_mutes_what_bitsandbytes_says_when_it_is_loaded():
    script = "import lorakit, logging; print(logging.getLogger('bitsandbytes.backends.cpu.ops').isEnabledFor(30))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"  # 30: a warning


@pytest.mark.parametrize(("own", "kept"), [({}, "32"), ({"LRU_CACHE_CAPACITY": "7"}, "7")])
def test_importing_the_package_keeps_few_compiled_kernels_unless_told_otherwise(own, kept):
    script = (
        "import os, lorakit; print(os.environ['LRU_CACHE_CAPACITY'], os.environ['ONEDNN_PRIMITIVE_CACHE_CAPACITY'])"
    )
    names = ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run([sys.executable, "-c", script], env=clean | own, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [kept, "32"]
