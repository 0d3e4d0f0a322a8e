"""Fetching through pip, from a folder of files (pip's --find-links), so that no test needs a network."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
import zipfile
from types import SimpleNamespace

import pytest

from lorakit import LorakitError, cache


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A wheel of 100 kB in a folder that pip looks in, and an empty cache."""
    links = tmp_path / "links"
    links.mkdir()
    wheel = links / "lorakit_test_archive-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("payload.bin", os.urandom(100_000))
        meta = "lorakit_test_archive-1.0.dist-info"
        archive.writestr(f"{meta}/METADATA", "Metadata-Version: 2.1\nName: lorakit-test-archive\nVersion: 1.0\n")
        archive.writestr(
            f"{meta}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{meta}/RECORD", "")
    monkeypatch.setenv("LORAKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return cache.Source("thing", "lorakit-test-archive==1.0", sha256, wheel.stat().st_size, 100_000)


def build(archive, destination):
    (destination / "model.bin").write_bytes(archive.read_bytes())


def leftovers():
    """What lies in the cache, locks aside (a lock file is empty, and stays)."""
    return sorted(path.name for path in cache.cache_dir().iterdir() if path.suffix != ".lock")


def test_builds_once_and_then_only_looks(source):
    calls = []

    def counting(archive, destination):
        calls.append(archive.name)
        build(archive, destination)

    assert not cache.ready(source)
    first = cache.ensure(source, counting)
    second = cache.ensure(source, counting)
    assert calls == ["lorakit_test_archive-1.0-py3-none-any.whl"]
    assert first == second == cache.cache_dir() / f"thing-{source.sha256[:8]}"
    assert hashlib.sha256((first / "model.bin").read_bytes()).hexdigest() == source.sha256
    assert leftovers() == [first.name]


def test_another_hash_is_refused_and_leaves_nothing(source, tmp_path):
    wheel = next((tmp_path / "links").iterdir())
    wheel.write_bytes(wheel.read_bytes() + b"changed")
    with pytest.raises(LorakitError, match=source.sha256[:16]):
        cache.ensure(source, build)
    assert leftovers() == []


def test_a_download_cut_short_is_refused_and_leaves_nothing(source, tmp_path):
    wheel = next((tmp_path / "links").iterdir())
    wheel.write_bytes(wheel.read_bytes()[:50_000])
    with pytest.raises(LorakitError, match="cut or changed"):
        cache.ensure(source, build)
    assert leftovers() == []


def test_no_network_says_what_to_bring(source, monkeypatch):
    monkeypatch.delenv("PIP_FIND_LINKS")
    with pytest.raises(LorakitError, match=r"pip download --no-deps lorakit-test-archive==1.0.*PIP_FIND_LINKS"):
        cache.ensure(source, build)
    assert leftovers() == []


def test_no_pip_says_how_to_get_it(source, tmp_path, monkeypatch):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(LorakitError, match="-m ensurepip"):
        cache.ensure(source, build)


def test_a_full_disk_is_seen_before_the_download(source, monkeypatch):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(LorakitError, match=r"full \(.* MiB needed, 0 MiB free\).*LORAKIT_CACHE"):
        cache.ensure(source, build)
    assert leftovers() == []


def test_a_disk_that_fills_while_building_leaves_nothing(source):
    def filling(archive, destination):
        (destination / "half").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(LorakitError, match="No space left on device"):
        cache.ensure(source, filling)
    assert leftovers() == []
    assert cache.ensure(source, build).is_dir()


def test_a_cache_that_cannot_be_written_is_named(source, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("LORAKIT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(LorakitError, match="LORAKIT_CACHE"):
        cache.ensure(source, build)


@pytest.mark.parametrize("damage", ["truncate", "delete", "manifest"])
def test_a_damaged_folder_is_built_again(source, damage):
    place = cache.ensure(source, build)
    whole = (place / "model.bin").read_bytes()
    if damage == "truncate":
        (place / "model.bin").write_bytes(whole[:10])
    elif damage == "delete":
        (place / "model.bin").unlink()
    else:
        (place / cache.MANIFEST).write_text("{half")
    assert not cache.ready(source)
    assert (cache.ensure(source, build) / "model.bin").read_bytes() == whole


SCRIPT = """
import pathlib, sys, time
from lorakit import cache
source = cache.Source(*{arguments!r})
def build(archive, destination):
    with open({log!r}, "a") as log:
        log.write("built\\n")
    (destination / "model.bin").write_bytes(archive.read_bytes()[:10])
    time.sleep({seconds})
    (destination / "model.bin").write_bytes(archive.read_bytes())
print(cache.ensure(source, build))
"""


def start(source, log, seconds):
    arguments = (source.name, source.requirement, source.sha256, source.download_bytes, source.ready_bytes)
    script = SCRIPT.format(arguments=arguments, log=str(log), seconds=seconds)
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def test_two_processes_at_once_build_once(source, tmp_path):
    log = tmp_path / "log"
    both = [start(source, log, seconds=1) for _ in range(2)]
    answers = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert answers[0] == answers[1]
    assert log.read_text() == "built\n"
    assert cache.ready(source)


def test_a_process_killed_while_building_leaves_nothing_in_the_way(source, tmp_path):
    log = tmp_path / "log"
    process = start(source, log, seconds=60)
    deadline = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert leftovers() == [f"thing-{source.sha256[:8]}.partial"]  # half written, and beside its place
    assert not cache.ready(source)
    place = cache.ensure(source, build)
    assert hashlib.sha256((place / "model.bin").read_bytes()).hexdigest() == source.sha256
    assert leftovers() == [place.name]
