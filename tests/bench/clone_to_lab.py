"""From a clone to lesson 00 in JupyterLab, by the README's own start command, downloads apart. Level: 120 s.

    python tests/bench/clone_to_lab.py [--wheels FOLDER]

First, untimed, all that pip would download is put into a folder (`--wheels`, kept for the next time). Then, timed: a
clone of what is committed, a new environment, the installation from that folder, and `lorakit lab` until the lab page
and lesson 00 answer. The clone lies in a folder of its own and is taken away again.
"""

import argparse
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from machine import ROOT, describe_machine

from lorakit.errors import LorakitError

LEVEL = 120
LESSON = "00_start_here.ipynb"


def run(step: str, command: str, **options) -> float:
    """Run a shell command to its end; seconds that it took."""
    start = time.perf_counter()
    done = subprocess.run(command, shell=True, capture_output=True, text=True, **options)
    if done.returncode:
        raise LorakitError(f"{step} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return time.perf_counter() - start


def start_command() -> tuple[str, str]:
    """The README's start command, in two parts: the installation, and what opens the lab."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    install, _, opening = re.search(r"<!-- start command -->\n```bash\n(.+)\n```", text)[1].rpartition(" && ")
    return install, opening


def download(wheels: Path) -> None:
    """Put all that the installation needs into `wheels`, its build tools included."""
    pip = f"{sys.executable} -m pip download --quiet -c binder/constraints.txt -d {wheels}"
    run("downloading PyTorch", f"{pip} --no-deps -r binder/cpu.txt", cwd=ROOT)
    run("downloading the rest", f"{pip} --find-links {wheels} '.[lab]' hatchling editables", cwd=ROOT)


@contextlib.contextmanager
def lab(opening: Path, clone: Path, port: int, environment: dict) -> Iterator[subprocess.Popen]:
    """`lorakit lab` while the block runs; afterwards it is gone, with all that it started."""
    options = [f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--allow-root"]
    with (clone / "lab.log").open("w") as log:
        process = subprocess.Popen(
            [*str(opening).split(), "--no-browser", "--", *options],
            cwd=clone,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            for sign in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, sign)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)


def wait_for_lesson(process: subprocess.Popen, port: int, log: Path) -> None:
    """Return when the lab page answers with 200, and the server has the lesson that the page will open."""
    deadline = time.monotonic() + LEVEL
    for path in (f"lab/tree/{LESSON}", f"api/contents/{LESSON}?content=0"):
        while True:
            with contextlib.suppress(OSError):
                if urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5).status == 200:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise LorakitError(f"the lab did not answer with {LESSON}; its log ends: {log.read_text()[-2000:]}")
            time.sleep(0.1)


def measure(wheels: Path) -> dict[str, float]:
    """Seconds of each part."""
    install, opening = start_command()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
        environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
        for kind in ("CONFIG", "DATA", "RUNTIME"):  # nothing of this user's own Jupyter
            environment[f"JUPYTER_{kind}_DIR"] = str(Path(folder) / kind.lower())
        seconds = {"git clone": run("git clone", f"git clone --quiet {ROOT} {clone}")}
        seconds["installation"] = run("the installation", install, cwd=clone, env=environment)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        start = time.perf_counter()
        with lab(clone / opening, clone, port, environment) as process:
            wait_for_lesson(process, port, clone / "lab.log")
            seconds["lorakit lab"] = time.perf_counter() - start
        return seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Download, measure and print; 1 where the whole is over the level."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--wheels", type=Path, default=ROOT / "runs" / "wheels", help="folder for the downloads")
    wheels = parser.parse_args(arguments).wheels.absolute()
    if not wheels.is_dir():
        wheels.mkdir(parents=True)
        download(wheels)
    seconds = measure(wheels)
    print(describe_machine()["summary"])
    for part, value in {**seconds, "all of it": sum(seconds.values())}.items():
        print(f"{part:<18}{value:>7.1f} s")
    return int(sum(seconds.values()) > LEVEL)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except LorakitError as error:
        raise SystemExit(f"clone_to_lab: {error}") from None
