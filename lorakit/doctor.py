"""What `lorakit doctor` looks at: the machine, the packages, the device, bitsandbytes, and the cache.

Every check yields findings, and none stops the others: a package that is missing or fails on import is a finding too.
"""

import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30
OK, OPTIONAL, BROKEN = "ok", "--", "!!"  # a text mark, so that colour is never needed
NEEDED = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "gguf", "ipywidgets", "anywidget", "plotly")
WANTED = ("jupyterlab", "nbval", "jupytext")  # for `lorakit lab`, for grading, for writing lessons


@dataclass(frozen=True)
class Finding:
    """One line of the report; `cure` is the command, or the words, that mend it."""

    mark: str
    name: str
    value: str
    cure: str = ""

    def __str__(self) -> str:
        line = f"{self.mark}  {self.name:<16} {self.value}"
        return f"{line}\n{'':21}to mend: {self.cure}" if self.cure else line


def examine() -> Iterator[Finding]:
    """Run every check and yield its findings one by one, so that a slow import does not hold the others back."""
    for name, check in CHECKS.items():
        try:
            yield from check()
        except Exception as error:  # a doctor reports what it meets, whatever it is
            yield Finding(BROKEN, name, _in_one_line(error), "see the lines marked !! above, then run this again")


def python_and_platform() -> Iterator[Finding]:
    """The interpreter and the system that it runs on."""
    value = f"{platform.python_version()} on {platform.platform()}"
    yield (
        Finding(OK, "python", value)
        if sys.version_info >= (3, 10)
        else Finding(BROKEN, "python", value, "install Python 3.10 or newer")
    )


def packages() -> Iterator[Finding]:
    """Each package by a real import: an installed package can still fail to load."""
    for name in (*NEEDED, *WANTED):
        yield package(name)


def package(name: str) -> Finding:
    """Import `name` and say its version, or what is wrong with it."""
    wanted = _specifiers().get(name, "")
    install = f'pip install "{name}{wanted}"'
    if (version := _version(name)) is None:
        return Finding(BROKEN if name in NEEDED else OPTIONAL, name, "not installed", install)
    try:
        importlib.import_module(name)
    except Exception as error:  # a missing library of the system raises OSError, a clash of versions nearly anything
        value = f"{version} does not import: {_in_one_line(error)}"
        return Finding(BROKEN, name, value, f"pip install --force-reinstall {name}")
    if wanted and not wanted.contains(version, prereleases=True):
        return Finding(BROKEN, name, f"{version}, but lorakit needs {wanted}", install)
    return Finding(OK, name, version)


def _specifiers() -> dict:
    """The versions that lorakit asks for, by package; empty in a clone that was never installed."""
    try:
        from packaging.requirements import Requirement

        asked = map(Requirement, importlib.metadata.requires("lorakit") or ())
    except ImportError:  # PackageNotFoundError is one too
        return {}
    specifiers = {}
    for requirement in asked:  # those of an extra come last; what it asks for beyond is its own affair
        specifiers.setdefault(requirement.name, requirement.specifier)
    return specifiers


def widgets_in_jupyterlab() -> Iterator[Finding]:
    """Where JupyterLab is there: whether it is one that shows the widgets of the ipywidgets beside it."""
    lab, widgets = _version("jupyterlab"), _version("ipywidgets")
    if lab is None or widgets is None:
        return
    value = f"JupyterLab {lab} and ipywidgets {widgets}"
    if int(lab.split(".")[0]) >= 4 and int(widgets.split(".")[0]) < 8:
        yield Finding(BROKEN, "widgets", f"{value}: it will show no slider", 'pip install "ipywidgets>=8"')
    else:
        yield Finding(OK, "widgets", value)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def device() -> Iterator[Finding]:
    """The device and the dtypes that the lessons will use, and why."""
    import torch

    from lorakit.models import pick_device

    choice = pick_device()
    dtypes = f"weights {_short(choice.dtype)}, compute {_short(choice.compute_dtype)}"
    yield Finding(OK, "device", f"{choice.device}, {dtypes}: {choice.why}")
    yield Finding(OK, "CPU", f"{torch.get_num_threads()} threads for torch, {os.cpu_count()} cores seen")


def memory() -> Iterator[Finding]:
    """Main memory, and the smaller limit that a container such as Binder's puts on it."""
    import psutil

    seen = psutil.virtual_memory()
    value = f"{seen.total / GIB:.1f} GiB, {seen.available / GIB:.1f} GiB free"
    limit = _container_limit()
    yield Finding(OK, "memory", f"{value}; this container may use {limit / GIB:.1f} GiB" if limit else value)


def _container_limit(path: Path = Path("/sys/fs/cgroup/memory.max")) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such file outside Linux containers; "max" where there is no limit
        return None


def gpu() -> Iterator[Finding]:
    """The first CUDA GPU, or why there is none."""
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        yield Finding(OK, "GPU", f"{torch.cuda.get_device_name()}, {total / GIB:.1f} GiB, {free / GIB:.1f} GiB free")
    elif shutil.which("nvidia-smi"):
        value = f"this torch ({torch.__version__}) cannot use the NVIDIA GPU of this machine"
        yield Finding(OPTIONAL, "GPU", value, "pip install --force-reinstall torch, in its CUDA build")
    else:
        yield Finding(OPTIONAL, "GPU", "none found, and none needed: the lessons run on a CPU")


def bitsandbytes_quantises() -> Iterator[Finding]:
    """Whether a small layer in 4 bits gives nearly what it gives in float, on the device of the lessons."""
    import bitsandbytes

    from lorakit.models import pick_device

    choice = pick_device()
    if choice.device.type == "mps":  # load_model() takes the CPU for a quantised model
        choice = pick_device("cpu")
    error = four_bit_error(choice.device, choice.compute_dtype)
    value = f"a 4-bit layer on {choice.device} is {error:.1%} off its float result"
    if error < 0.2:  # nf4 is 10 % off on Gaussian weights, noise or zeros 100 % and more; nan is not < 0.2
        yield Finding(OK, "4 bits", value)
    else:
        cure = "pip install --upgrade --force-reinstall bitsandbytes"
        yield Finding(BROKEN, "4 bits", f"{value}: QLoRA would train on wrong weights", cure)
    if bitsandbytes.functional.has_avx512bf16():
        yield Finding(
            OK, "AVX512-BF16", "yes: lorakit switches off a kernel without gradient, so that QLoRA trains here"
        )
    else:
        yield Finding(OK, "AVX512-BF16", "no: QLoRA trains on this CPU as it is")


def four_bit_error(device, compute_dtype) -> float:
    """Relative error of a 64 x 64 layer in NF4 against the same layer in float32."""
    import torch
    from bitsandbytes.nn import Linear4bit

    generator = torch.Generator().manual_seed(0)
    weight, x = (torch.randn(64, 64, generator=generator) for _ in range(2))
    layer = Linear4bit(64, 64, bias=False, quant_type="nf4", compute_dtype=compute_dtype)
    layer.load_state_dict({"weight": weight})
    with torch.no_grad():
        quantized = layer.to(device)(x.to(device, compute_dtype)).float().cpu()
    expected = x @ weight.T
    return ((quantized - expected).norm() / expected.norm()).item()


def caches() -> Iterator[Finding]:
    """The model and the data set in the cache, and room for what is not there yet."""
    from lorakit import cache
    from lorakit.data import RATED_SOURCE
    from lorakit.models import MODEL_SOURCE

    missing = 0
    for name, source in {"model cache": MODEL_SOURCE, "data cache": RATED_SOURCE}.items():
        if cache.ready(source):
            yield Finding(OK, name, str(cache.folder(source)))
        else:
            missing += 2 * source.download_bytes + source.ready_bytes  # pip holds two copies while it works
            value = f"not there yet: first use fetches {source.download_bytes / 1e6:.0f} MB"
            yield Finding(OPTIONAL, name, value, "lorakit models --fetch")
    yield disk(cache.cache_dir(), missing)


def disk(folder: Path, needed: int) -> Finding:
    """Free space where `folder` is, or will be."""
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    value = f"{free / GIB:.1f} GiB free at {folder}"
    if free >= needed:
        return Finding(OK, "disk", value)
    cure = "make room, or set LORAKIT_CACHE to a folder on a larger disk"
    return Finding(BROKEN, "disk", f"{value}, {needed / GIB:.1f} GiB needed", cure)


def _short(dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


CHECKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "python": python_and_platform,
    "packages": packages,
    "widgets": widgets_in_jupyterlab,
    "device": device,
    "memory": memory,
    "GPU": gpu,
    "4 bits": bitsandbytes_quantises,
    "cache": caches,
}
