"""The folder of a run: its adapter, as peft saves it, and its checkpoint. What is there is never overwritten."""

from pathlib import Path

from peft import PeftModel
from safetensors import SafetensorError

from lorakit.errors import LorakitError

CHECKPOINT = "checkpoint.pt"


def held_by(folder: Path) -> str | None:
    """What a run would overwrite in `folder`: an "unfinished run", else a "finished adapter"."""
    if (folder / CHECKPOINT).exists():
        return "unfinished run"
    files = ("adapter_config.json", "adapter_model.safetensors")
    return "finished adapter" if any((folder / name).exists() for name in files) else None


def claim(output_dir: str | Path | None, resume: bool) -> Path | None:
    """The output folder, made where it is missing; refused where it holds a run that would be overwritten."""
    if output_dir is None:
        return None
    folder = Path(output_dir)
    held = held_by(folder)
    if held == "unfinished run" and not resume:
        raise LorakitError(f"'{folder}' holds an unfinished run: resume it (resume=True), or name another folder.")
    if held == "finished adapter":
        raise LorakitError(f"'{folder}' holds a finished adapter, which is never overwritten: name another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LorakitError(f"folder '{folder}' cannot be made ({error.strerror}): name another one.") from error
    return folder


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Save the adapters of `model`, as peft does; raises LorakitError, with a way out, where that fails."""
    try:
        model.save_pretrained(folder)
    except (OSError, SafetensorError) as error:
        raise LorakitError(
            f"the adapter could not be written to '{folder}' ({error}): make room on its disk and call "
            "`model.save_pretrained` on another folder, or resume from its last checkpoint."
        ) from error
