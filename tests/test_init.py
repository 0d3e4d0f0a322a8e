"""What `import lorakit` does, and does not do."""

import os
import subprocess
import sys


def test_importing_the_package_makes_torchs_threads_wait_kindly():
    script = "import os, lorakit; print(os.environ['OMP_WAIT_POLICY'])"
    clean = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    for environment, policy in [(clean, "PASSIVE"), ({**clean, "OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")]:
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == policy
