"""What to compute on, and in which dtypes."""

from dataclasses import dataclass

import torch

from lorakit.errors import LorakitError


@dataclass(frozen=True)
class Choice:
    """What to run on: `dtype` of the weights, `compute_dtype` of the matrix products (autocast where they differ)."""

    device: torch.device
    dtype: torch.dtype
    compute_dtype: torch.dtype
    why: str


def pick_device(device: str | torch.device | None = None) -> Choice:
    """Choose device and dtypes for this machine, or the dtypes for a `device` that is already chosen."""
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(device)
    except RuntimeError:
        raise LorakitError(f"device {device!r} is none that torch knows: say 'cpu', 'cuda' or 'mps'.") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise LorakitError(f"device '{device}' is not there (torch sees no CUDA GPU): leave `device` out.")
        if device.index and device.index >= (gpus := torch.cuda.device_count()):
            raise LorakitError(f"device '{device}' is not there (torch sees {gpus} CUDA GPUs): leave `device` out.")
        gpu = torch.cuda.get_device_name(device)
        # A T4 says yes to the plain question, since torch emulates bf16 there, many times slower than fp16.
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Choice(device, torch.bfloat16, torch.bfloat16, f"{gpu} computes in bf16")
        return Choice(device, torch.float16, torch.float16, f"{gpu} has no bf16 of its own, so fp16 with a loss scaler")
    if device.type == "mps":
        if not torch.backends.mps.is_available():
            raise LorakitError(f"device '{device}' is not there (torch sees no Apple GPU): leave `device` out.")
        return Choice(device, torch.float32, torch.float32, "Apple GPU; float32 needs no loss scaler")
    if device.type != "cpu":
        raise LorakitError(f"device '{device}' is none that the course runs on: say 'cpu', 'cuda' or 'mps'.")
    gpu = "its GPU left out" if torch.cuda.is_available() or torch.backends.mps.is_available() else "no GPU"
    if _cpu_has_bf16():
        return Choice(device, torch.float32, torch.bfloat16, f"{gpu}; this CPU multiplies bf16 matrices natively")
    return Choice(device, torch.float32, torch.float32, f"{gpu}; this CPU has no AVX-512 or AMX for bf16")


def _cpu_has_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
