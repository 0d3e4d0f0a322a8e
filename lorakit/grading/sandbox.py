"""Runs a command that must not do harm by accident: killed whole at a time limit or a memory cap, without a network.

This is no jail. Its processes run as you, and see your files: it holds off accidents, not an attacker.
"""

import contextlib
import functools
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

TAG = "LORAKIT_GRADING"
"""The environment variable by which every process of a run is known, wherever it has gone."""
CUT_OFF = "LORAKIT_GRADING_CUT_OFF"


def run(
    command: Sequence[str],
    folder: Path,
    log: Path,
    environment: dict[str, str],
    *,
    seconds: float,
    memory_bytes: float,
    each_tick: Callable[[], None] = lambda: None,
) -> str:
    """Run a command to its end, and then end whatever it has left running.

    Args:
        log: where its output goes.
        seconds: after these it is killed.
        memory_bytes: when all its processes together hold more, it is killed.
        each_tick: called about five times a second.

    Returns:
        How it ended: "itself", "time" or "memory".
    """
    tag = f"{os.environ.get(TAG, '')}/{uuid.uuid4()}"
    deadline = time.monotonic() + seconds
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment | {TAG: tag},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.2)
                return "itself"
            each_tick()
            if time.monotonic() > deadline:
                return "time"
            if held_bytes(process.pid) > memory_bytes:
                return "memory"
    finally:
        kill(tag)
        process.wait()


def held_bytes(pid: int) -> int:
    """Memory of a process and of all that it started, without the files that it only maps (as weights are)."""
    held = 0
    with contextlib.suppress(psutil.Error):
        family = [psutil.Process(pid)]
        family += family[0].children(recursive=True)
        for member in family:
            with contextlib.suppress(psutil.Error):
                memory = member.memory_info()
                held += memory.rss - getattr(memory, "shared", 0)
    return held


def kill(tag: str) -> None:
    """Kill every process that was started under a tag, those that left their group and parent behind included."""
    for _ in range(100):  # one that is starting another just now is seen in the next round
        members = [process for process in psutil.process_iter() if _tag_of(process).startswith(tag)]
        if not members:
            return
        for member in members:
            with contextlib.suppress(psutil.Error):
                member.kill()
        psutil.wait_procs(members, timeout=1)


def _tag_of(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error, OSError):
        if process.status() != psutil.STATUS_ZOMBIE:
            return process.environ().get(TAG, "")
    return ""


@functools.cache
def cut_off() -> tuple[str, ...]:
    """What stands before a command that is to have no network; nothing where this system has no way to do that."""
    prefix = ("unshare", "--user", "--map-root-user", "--net", "--")
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        return ()
    return prefix


def raise_loopback() -> None:
    """Switch on `lo` in a network of our own, which begins with nothing: a kernel talks to its client over it."""
    import fcntl
    import socket
    import struct

    set_flags, up_and_running = 0x8914, 0x41  # SIOCSIFFLAGS; IFF_UP | IFF_RUNNING
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh", b"lo", up_and_running))
