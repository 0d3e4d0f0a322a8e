"""A real JupyterLab and a real Chromium, and a learner's hand on them."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEWPORT = {"width": 1200, "height": 1000}


@contextmanager
def chromium() -> Iterator[Any]:
    """The machine's own Chromium, headless, in playwright's hands."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def jupyterlab(folder: Path) -> Iterator[Callable[[str], str]]:
    """A JupyterLab on `folder`, its token on; yields a function that gives the address of a notebook in it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}"]
    command += [f"--ServerApp.root_dir={folder}"]
    own = {  # nothing of the user's is touched
        "JUPYTERLAB_SETTINGS_DIR": ".settings",
        "JUPYTERLAB_WORKSPACES_DIR": ".workspaces",
        "LORAKIT_DATA": "data",
    }
    token = secrets.token_hex()
    environment = os.environ | {name: str(folder / own_folder) for name, own_folder in own.items()}
    environment["JUPYTER_TOKEN"] = token
    log = (folder / "lab.log").open("w")
    server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    base = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{base}/api/status?token={token}", timeout=5)
                break
            except OSError:
                assert time.monotonic() < deadline, (folder / "lab.log").read_text()
                time.sleep(0.3)
        yield lambda notebook: f"{base}/lab/tree/{notebook}?token={token}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:  # it waits for a kernel
            os.killpg(server.pid, signal.SIGKILL)


def small_notebook(path: Path, *cells: str) -> None:
    """Write a notebook of these cells."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells], metadata=kernel), path)


def open_notebook(page: Any, address: str) -> None:
    """Open a notebook and wait until its kernel is ready."""
    page.goto(address)
    page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell", timeout=60_000)
    page.wait_for_selector("text=/ipykernel.*[|] Idle/", timeout=90_000)
