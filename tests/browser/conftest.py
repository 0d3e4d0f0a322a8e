"""A real JupyterLab and a real Chromium, one of each for all tests; a page and a folder for each test of its own."""

import os

import pytest
from lab import CHROMIUM, VIEWPORT, chromium, jupyterlab


@pytest.fixture(scope="session")
def browser():
    """Chromium, headless. Where CI has none, that is a failure and no reason to skip."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium on this machine: CI must install it")
        pytest.skip("no Chromium on this machine: `apt-get install chromium`")
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A JupyterLab on the folder that every test's `tmp_path` is in."""
    with jupyterlab(tmp_path_factory.getbasetemp()) as started:
        yield started


@pytest.fixture
def lab(server, tmp_path):
    """A function that gives the address of a notebook in `tmp_path`, in a JupyterLab that nobody has used yet."""
    server.forget()
    yield lambda notebook: server(f"{tmp_path.name}/{notebook}")
    server.shut_down_kernels()


@pytest.fixture
def page(browser):
    """An empty page; `page.errors` lists what it has logged as an error since."""
    page = browser.new_page(viewport=VIEWPORT)
    page.errors = []
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    page.close()
