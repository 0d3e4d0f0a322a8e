"""A real JupyterLab and a real Chromium, and a learner's hand on them."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbformat import NotebookNode
from nbformat.reader import NotJSONError
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
OWN = {  # what a server keeps, in folders of its own: nothing of the user's is touched
    "JUPYTERLAB_SETTINGS_DIR": ".settings",
    "JUPYTERLAB_WORKSPACES_DIR": ".workspaces",
    "LORAKIT_DATA": "data",
}


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """The machine's own Chromium, headless, in playwright's hands."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class JupyterLab:
    """A JupyterLab on `folder`, its token on: called with a notebook's path in there, it gives the address."""

    def __init__(self, folder: Path, port: int):
        self.folder, self.base, self.token = folder, f"http://127.0.0.1:{port}", secrets.token_hex()
        self.pid = 0

    def __call__(self, notebook: str) -> str:
        return f"{self.base}/lab/tree/{notebook}?token={self.token}"

    def api(self, path: str, method: str = "GET") -> Any:
        """What the server's REST API answers; None where that is nothing."""
        request = urllib.request.Request(f"{self.base}/api/{path}?token={self.token}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def forget(self) -> None:
        """Lose what was set and done so far: open tabs, a theme, the learner's progress."""
        for own in OWN.values():
            shutil.rmtree(self.folder / own, ignore_errors=True)

    def kernel_pid(self) -> int:
        """The process of the kernel that runs, if it is the only one."""
        below = psutil.Process(self.pid).children(recursive=True)
        (kernel,) = [process for process in below if "ipykernel_launcher" in process.cmdline()]
        return kernel.pid

    def shut_down_kernels(self) -> None:
        """End every session, and its kernel with it."""
        for session in self.api("sessions"):
            self.api(f"sessions/{session['id']}", "DELETE")


@contextlib.contextmanager
def jupyterlab(folder: Path) -> Iterator[JupyterLab]:
    """Start a JupyterLab on a folder, and end it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lab = JupyterLab(folder, port)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}"]
    command += [f"--ServerApp.root_dir={folder}"]
    environment = os.environ | {name: str(folder / own) for name, own in OWN.items()} | {"JUPYTER_TOKEN": lab.token}
    log = (folder / "lab.log").open("w")
    server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    lab.pid = server.pid
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                lab.api("status")
                break
            except OSError:
                assert time.monotonic() < deadline, (folder / "lab.log").read_text()
                time.sleep(0.3)
        yield lab
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


def run_all(page: Any) -> None:
    """Run > Run All Cells."""
    page.click('text="Run" >> visible=true')
    page.click("text=Run All Cells >> visible=true")


def wait_until_run(page: Any, seconds: float) -> None:
    """Wait until the last code cell has its number, and the kernel is idle."""
    page.wait_for_function(
        """() => {
            const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.textContent);
            return prompts.length && prompts.every(text => /\\[\\d+\\]/.test(text));
        }""",
        timeout=seconds * 1000,
    )


def saved(page: Any, path: Path) -> NotebookNode:
    """The notebook as the page saves it.

    Once more, where the page's own autosave came at that moment: the server writes both into one file, mixed
    (https://github.com/jupyter-server/jupyter_server/issues/1416).
    """
    for _ in range(2):
        page.keyboard.press("Control+s")
        time.sleep(2)
        with contextlib.suppress(NotJSONError):
            return nbformat.read(path, as_version=4)
    raise AssertionError(f"{path} was saved twice, and is no notebook")
