"""What the benches share: where a measurement was made, runs that are kept, and a record that is never overwritten."""

import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timezone
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
import torch

from lorakit.errors import LorakitError
from lorakit.housekeeping import write_whole
from lorakit.models import DEFAULT_MODEL, pick_device

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "tests" / "bench" / "records"
GIB = 2**30


def provenance(*packages: str) -> dict:
    """How a record came about: date, command, machine, and versions, those of more `packages` too."""
    script = Path(sys.argv[0]).resolve()
    if script.name == "__main__.py":  # python -m
        command = ["-m", script.parent.name]
    else:
        command = [script.relative_to(ROOT).as_posix() if script.is_relative_to(ROOT) else script.name]
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "command": shlex.join(["python", *command, *sys.argv[1:]]),
        "machine": describe_machine(),
        "versions": versions(*packages),
    }


def describe_machine() -> dict:
    """This machine, and its `summary` in one line: what is measured depends on all of it."""
    choice = pick_device()
    compute = str(choice.compute_dtype).removeprefix("torch.")
    gpu = torch.cuda.get_device_name() if choice.device.type == "cuda" else None
    cpu, cores, memory = _cpu_name(), os.cpu_count(), psutil.virtual_memory().total
    summary = f"{cpu}, {cores} cores, {memory / GIB:.0f} GiB of memory"
    return {
        "summary": f"{gpu}, computing in {compute}; {summary}" if gpu else f"{summary}, computing in {compute}",
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu,
        "cores": cores,
        "threads": torch.get_num_threads(),
        "memory_bytes": memory,
        "gpu": gpu,
        "compute_dtype": compute,
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of the libraries that a fine-tune rests on, and of `packages`."""
    names = ("torch", "transformers", "peft", "bitsandbytes", *packages)
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def model_name() -> str:
    """The model that load_model() takes."""
    return os.environ.get("LORAKIT_MODEL") or DEFAULT_MODEL


def run_apart(work: Callable[..., dict], *arguments: Any) -> dict:
    """What `work` gives in a fresh process, whose peak memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


def run_source(source: str, *arguments: str, environment: Mapping[str, str]) -> Any:
    """What a program prints in its last line, as JSON, in a fresh Python with these environment variables.

    For what has to be set before torch is loaded, which `run_apart` is too late for.
    """
    command = [sys.executable, "-c", source, *arguments]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise LorakitError(f"a run apart failed: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def kept_run(folder: Path, name: str, settings: list, work: Callable[[], dict]) -> dict:
    """A run from a folder of kept ones, done first where it is not there for these settings, machine and versions."""
    told = json.dumps([name, settings, model_name(), describe_machine(), versions()])
    path = folder / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        print(name, flush=True)
        result = work()
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda temporary: temporary.write_text(json.dumps(result)))
    return json.loads(path.read_text())


def refuse_existing(path: Path) -> None:
    """Raise LorakitError where a record is there already: asked before hours of measuring, not after."""
    if path.exists():
        raise LorakitError(f"'{path}' is a record already, which is never overwritten: move it, or name an --output.")


def write_record(path: Path, record: dict) -> None:
    """Write a new record as JSON, whole or not at all."""
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda temporary: temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8"))
    print(f"written: {path}")
