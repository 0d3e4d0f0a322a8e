"""A real JupyterLab and a real Chromium, for each test of its own."""

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


@pytest.fixture
def lab(tmp_path):
    """A JupyterLab on `tmp_path`: a function that gives the address of a notebook in it."""
    with jupyterlab(tmp_path) as address:
        yield address


@pytest.fixture
def page(browser):
    """An empty page; `page.errors` lists what it has logged as an error since."""
    page = browser.new_page(viewport=VIEWPORT)
    page.errors = []
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    page.close()
