"""The `lorakit` command.

Nothing heavy is imported up here, so that help answers at once: each command imports what it needs. For the same reason
the defaults of `TrainConfig` and `TrainingPlan` stand in the help as text; a test holds them to the two.
"""

import contextlib
import importlib.util
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option
from typer.core import TyperGroup

from lorakit.errors import LorakitError

if TYPE_CHECKING:
    from lorakit.grading.report import Report

FIRST_LESSON = "00_start_here.ipynb"
GIB = 2**30
DEFAULT_PARAMETERS = 134_515_008


class _Commands(TyperGroup):
    def invoke(self, ctx: typer.Context) -> object:
        """Run a command; what a learner can mend is one line, not a traceback."""
        try:
            return super().invoke(ctx)
        except LorakitError as error:
            typer.echo(f"lorakit: {error}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:  # left to itself, an older typer says "Aborted." and ends with 1
            raise typer.Exit(130) from None


def _given(ctx: typer.Context, settings: type) -> dict:
    """The values of a settings class that the command line gives."""
    values = {field.name: ctx.params.get(field.name) for field in fields(settings)}
    if values["target_modules"] is not None:
        values["target_modules"] = tuple(name.strip() for name in values["target_modules"].split(","))
    return {name: value for name, value in values.items() if value is not None}


app = typer.Typer(
    cls=_Commands,
    help="Real LoRA and QLoRA fine-tunes, from token embeddings to logits, that run on a laptop.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line; LorakitError and Ctrl-C are seen to by `_Commands`."""
    app()


@app.command()
def lab(
    jupyter: Annotated[
        list[str] | None, typer.Argument(metavar="JUPYTER_OPTION", help="After --, for Jupyter.")
    ] = None,
    no_browser: Annotated[bool, Option("--no-browser", help="Print the address and open no window.")] = False,
    folder: Annotated[Path | None, Option(file_okay=False, help="Copy the lessons there, and open that copy.")] = None,
) -> None:
    """Open the course in JupyterLab, at its map."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise LorakitError("JupyterLab is not installed here: run `pip install jupyterlab` and try again.")
    from lorakit import course
    from lorakit.course_map import write_map

    if course.clone_lessons() and folder is None:
        folder = course.clone_lessons()
    else:
        folder = folder or course.COPIED_TO
        typer.echo(course.copy_lessons(course.shipped_lessons(), folder))
    try:
        first = write_map(folder).name
    except OSError:  # lessons that can only be read can still be opened
        first = FIRST_LESSON
    # Not as a file to open: then the address that `--no-browser` prints would lead past it.
    where = [f"--ServerApp.root_dir={folder.absolute()}", f"--LabApp.default_url=/lab/tree/{first}"]
    command = [sys.executable, "-m", "jupyterlab", *where]
    raise typer.Exit(_run(command + ["--no-browser"] * no_browser + (jupyter or [])))


def _run(command: list[str]) -> int:
    process = subprocess.Popen(command)
    # Jupyter answers Ctrl-C itself, with a question; were we to end first, nobody could answer it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    return process.wait()


@app.command()
def reset(
    lesson: Annotated[str, typer.Argument(help="07, 07_lora_finetune, or the path of a notebook.")],
) -> None:
    """Put a lesson's fresh notebook back, and keep yours under a dated name."""
    from lorakit import course

    path, lesson = course.find_notebook(lesson)
    kept = course.reset_lesson(path, lesson)
    done = f"fresh again; yours is kept as {kept.name}" if kept else "fresh; there was none before"
    typer.echo(f"{path} is {done}")


@app.command()
def doctor() -> None:
    """Check this machine and say what mends it."""
    from lorakit.doctor import BROKEN, examine

    typer.echo("ok: fine   --: optional, not there   !!: broken")
    broken = 0
    for finding in examine():
        typer.echo(str(finding))
        broken += finding.mark == BROKEN
    if broken:
        raise typer.Exit(1)


@app.command()
def models(
    fetch: Annotated[bool, Option("--fetch", help="Fetch the default model and the data now, to go offline.")] = False,
) -> None:
    """Show the models to choose from."""
    import torch

    from lorakit import cache
    from lorakit.data import load_reviews
    from lorakit.models import DEFAULT_MODEL, KNOWN_MODELS, MODEL_SOURCE, fetch_default_model, suggest_models

    if fetch:
        fetch_default_model()
        load_reviews()
    place = cache.folder(MODEL_SOURCE)
    if cache.ready(MODEL_SOURCE):
        size = sum(file.stat().st_size for file in place.iterdir())
        where = f"cached, {size / 2**20:.1f} MiB in {place}"
    else:
        where = f"not cached: `lorakit models --fetch` fetches {MODEL_SOURCE.download_bytes / 1e6:.0f} MB to {place}"
    typer.echo(f"default: {DEFAULT_MODEL}, {DEFAULT_PARAMETERS:,} parameters\n         {where}\n")

    has_gpu = torch.cuda.is_available()
    gpu_bytes = torch.cuda.mem_get_info()[1] if has_gpu else 0
    fitting = suggest_models(gpu_bytes)
    typer.echo(f"{'larger, on the hub, ungated':<38} {'parameters':>14} {'16-bit GiB':>11}  fits")
    for model in KNOWN_MODELS:
        fits = ("yes" if model in fitting else "no") if has_gpu else "?"
        typer.echo(f"{model.name:<38} {model.parameters:>14,} {model.weights_bytes / GIB:>11.2f}  {fits}")
    gpu = f"{torch.cuda.get_device_name()}, {gpu_bytes / GIB:.1f} GiB" if has_gpu else "no GPU was found"
    typer.echo(f"\nfits: the weights fill at most half of the GPU's memory, the rest is for training ({gpu}).")
    typer.echo(f"To choose one, set LORAKIT_MODEL to a name or to a folder: LORAKIT_MODEL={KNOWN_MODELS[0].name}")


@app.command()
def finetune(
    ctx: typer.Context,
    method: Annotated[
        str | None, Option(metavar="lora|qlora", help="QLoRA holds the base in 4 bits.  [default: lora]")
    ] = None,
    r: Annotated[int | None, Option("--r", help="Rank of the adapters.  [default: 8]")] = None,
    lora_alpha: Annotated[
        float | None, Option(help="The adapters are scaled by lora_alpha / r.  [default: 16]")
    ] = None,
    lora_dropout: Annotated[float | None, Option(help="Dropout before lora_A, in training.  [default: 0.0]")] = None,
    target_modules: Annotated[
        str | None, Option(help="Linear layers that get an adapter, by name.  [default: q_proj,v_proj]")
    ] = None,
    quant_type: Annotated[
        str | None, Option(metavar="nf4|fp4|int8", help="How QLoRA holds the base.  [default: nf4]")
    ] = None,
    double_quant: Annotated[
        bool | None,
        Option("--double-quant/--no-double-quant", help="Quantise the scales too.  [default: double-quant]"),
    ] = None,
    steps: Annotated[int | None, Option(help="Optimiser steps.  [default: 40]")] = None,
    micro_batch_size: Annotated[int | None, Option(help="Rows at once: memory.  [default: 4]")] = None,
    gradient_accumulation_steps: Annotated[int | None, Option(help="Micro batches a step.  [default: 2]")] = None,
    learning_rate: Annotated[float | None, Option(help="Its highest value.  [default: 0.002]")] = None,
    seed: Annotated[int | None, Option(help="Of the adapters, the rows' order and dropout.  [default: 0]")] = None,
    gradient_checkpointing: Annotated[
        bool | None, Option("--gradient-checkpointing", help="Compute activations twice, hold fewer.")
    ] = None,
    rows: Annotated[Path | None, Option(metavar="FILE.jsonl", help="Rows of prompt and completion.")] = None,
    model: Annotated[str | None, Option(help="Hub id or folder.  [default: LORAKIT_MODEL, or the course's]")] = None,
    output: Annotated[Path | None, Option(help="Folder for the adapter.  [default: runs/METHOD]")] = None,
    checkpoint_every: Annotated[int, Option(min=1, help="Steps between checkpoints.")] = 20,
    resume: Annotated[bool, Option("--resume", help="Go on from the last checkpoint in the output folder.")] = False,
    eval_rows: Annotated[int, Option(min=1, help="Held-out rows to measure on; a fifth of your own at most.")] = 400,
) -> None:
    """Fine-tune, as in lessons 07 and 10."""
    from lorakit import finetune as finetuning
    from lorakit.data import split_reviews, split_rows
    from lorakit.finetune.report import finetune_report
    from lorakit.models import load_model

    config = finetuning.TrainConfig(**_given(ctx, finetuning.TrainConfig))
    output = output or Path("runs") / config.method
    _refuse_used(output, resume)
    train, held_out = split_rows(rows, eval_rows) if rows else split_reviews()
    held_out = held_out[:eval_rows]
    base, tokenizer = load_model(model, quant_type=config.quant_type, double_quant=config.double_quant)
    typer.echo(f"{len(train):,} rows to train on, {config.rows_per_step} a step; {len(held_out):,} to measure on")
    history = finetuning.finetune(
        config,
        base,
        tokenizer,
        train=train,
        held_out=held_out,
        output_dir=output,
        checkpoint_every=checkpoint_every,
        resume=resume,
    )
    typer.echo(finetune_report(history, output))
    if history.stopped:
        typer.echo(
            f"stopped after step {len(history.losses)} of {config.steps}: the same command with `--resume` goes on."
        )
        raise typer.Exit(130)


@app.command()
def memory(
    ctx: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            help="Llama-2-7B or another known shape, hub id or folder.  [default: LORAKIT_MODEL, or the course's]"
        ),
    ] = None,
    method: Annotated[
        str | None, Option(metavar="full|lora|qlora", help="What learns, beside what base.  [default: lora]")
    ] = None,
    dtype: Annotated[str | None, Option(metavar="fp32|bf16|fp16", help="Of the weights.  [default: bf16]")] = None,
    quant_type: Annotated[str | None, Option(metavar="nf4|fp4", help="Of a qlora base.  [default: nf4]")] = None,
    double_quant: Annotated[
        bool | None,
        Option("--double-quant/--no-double-quant", help="Quantise the scales too.  [default: double-quant]"),
    ] = None,
    r: Annotated[int | None, Option("--r", help="Rank of the adapters.  [default: 8]")] = None,
    target_modules: Annotated[
        str | None, Option(help="Linear layers that get an adapter, by name.  [default: q_proj,v_proj]")
    ] = None,
    adapter_dtype: Annotated[
        str | None, Option(metavar="fp32|bf16|fp16", help="Of the adapters.  [default: fp32]")
    ] = None,
    micro_batch_size: Annotated[int | None, Option(help="Rows at once.  [default: 4]")] = None,
    seq_len: Annotated[int | None, Option(help="Tokens of each row.  [default: 512]")] = None,
    optimizer: Annotated[
        str | None, Option(help="adamw, adamw_8bit, paged_adamw_8bit, sgd or none.  [default: adamw]")
    ] = None,
    gradient_checkpointing: Annotated[
        bool | None, Option("--gradient-checkpointing", help="Compute activations twice, hold fewer.")
    ] = None,
    attention: Annotated[str | None, Option(help="sdpa, eager, math, efficient or flash.  [default: sdpa]")] = None,
    keep_outputs: Annotated[bool | None, Option("--keep-outputs", help="Hold the logits to the end.")] = None,
    card: Annotated[str | None, Option(help="The card to fit.  [default: the first that is too small]")] = None,
    measure: Annotated[
        bool, Option("--measure", help="Measure a grid of plans on this GPU instead; goes on where it was stopped.")
    ] = False,
    output: Annotated[
        Path | None, Option(metavar="FILE", help="Of the record.  [default: in lorakit/measurements, by the GPU]")
    ] = None,
    published: Annotated[
        bool, Option("--published", help="Hold the prediction against published measurements instead.")
    ] = False,
) -> None:
    """Predict a training step's GPU memory, as in lesson 11, and say what makes it fit."""
    from lorakit.memory import TrainingPlan, find_card, find_config

    settings = _given(ctx, TrainingPlan)
    if output and not measure:
        raise LorakitError(f"`--output {output}` names the record of `--measure`: give both, or neither.")
    if (measure or published) and (model or card or settings or measure == published):
        raise LorakitError("`--measure` and `--published` stand alone, with no model and no plan: leave the rest out.")
    if published:
        from lorakit.memory.published import published_table

        typer.echo(published_table())
        return
    if measure:
        from lorakit.memory.grid import measure_grid

        measure_grid(output, typer.echo)
        return
    from lorakit.memory.report import memory_report

    plan = TrainingPlan(**settings)  # refused before a model is looked for
    asked = find_card(card) if card else None
    typer.echo(memory_report(*find_config(model), plan, asked))


GRADE_WARNING = """Grading runs the code of the notebooks it is given. Each runs in a scratch folder, with a time limit,
a memory cap and, where this system allows it, no network, and all its processes are ended after it; but it runs as you,
and with your files in reach. Grade strangers' notebooks where there is nothing that you would miss."""


@app.command(epilog=GRADE_WARNING)
def grade(
    lessons: Annotated[
        list[str] | None, typer.Argument(metavar="LESSON", help="07, 07_lora_finetune or a notebook; all if none.")
    ] = None,
    json_file: Annotated[Path | None, Option("--json", metavar="FILE", help="Write the report there too.")] = None,
    timeout: Annotated[float, Option(metavar="S", min=1, help="Seconds that a notebook may take.")] = 600,
    class_folder: Annotated[
        Path | None, Option("--class", metavar="FOLDER", help="Grade all learners' notebooks below this folder.")
    ] = None,
    csv_file: Annotated[Path | None, Option("--csv", metavar="FILE", help="Write a row for each exercise.")] = None,
) -> None:
    """Grade exercises: yours, or those of a class. Ends with 0 where all points are earned, else with 1."""
    if missing := [name for name in ("nbval", "xdist") if importlib.util.find_spec(name) is None]:
        raise LorakitError(f"Grading needs `{missing[0]}`: run `pip install 'lorakit[grade]'`.")
    from lorakit.grading import classroom, grade, report

    for file in filter(None, (json_file, csv_file)):
        report.check_writable(file)
    if class_folder is None:
        reports = []
        for path, lesson in _to_grade(lessons or []):
            typer.echo(f"grading {path} …", err=True)
            reports.append(grade.grade_file(path, lesson, timeout=timeout))
    elif lessons:
        raise LorakitError(f"`--class {class_folder}` grades whatever is in that folder: leave out {lessons[0]!r}.")
    else:
        reports = classroom.grade_class(class_folder, timeout=timeout, on_report=_say)
    if class_folder is None or csv_file is None:
        typer.echo("\n\n".join(map(report.table, reports)))
    if json_file:
        report.write_json(reports, json_file)
    if csv_file:
        report.write_csv(reports, csv_file)
    raise typer.Exit(0 if all(each.points == each.out_of > 0 for each in reports) else 1)


def _to_grade(names: list[str]) -> list[tuple[Path, str | None]]:
    """The notebooks to grade, each with its lesson; None where the notebook itself must tell."""
    from lorakit.course import find_lesson, learner_notebook, lesson_names

    if names:
        paths = [Path(name) for name in names]
        if gone := [path for path in paths if path.suffix == ".ipynb" and not path.exists()]:
            raise LorakitError(f"There is no notebook '{gone[0]}': give the path of yours, or the number of a lesson.")
        return [
            (path, None) if path.suffix == ".ipynb" else (learner_notebook(name), find_lesson(name))
            for name, path in zip(names, paths, strict=True)
        ]
    found = []
    for lesson in lesson_names():
        with contextlib.suppress(LorakitError):
            found.append((learner_notebook(lesson), lesson))
    if not found:
        raise LorakitError(
            "There is no lesson's notebook here: go to the folder that they are in, or give their paths."
        )
    return found


def _say(report: "Report") -> None:
    typer.echo(f"{report.learner}: {report.lesson or report.file}   {report.points}/{report.out_of}", err=True)


def _refuse_used(output: Path, resume: bool) -> None:
    """Before anything is loaded, and in the words of the command line."""
    from lorakit.finetune.folder import held_by

    held = held_by(output)
    if held == "unfinished run" and not resume:
        raise LorakitError(
            f"'{output}' holds an unfinished run: go on with `--resume`, or name another folder with `--output`."
        )
    if held == "finished adapter":
        raise LorakitError(
            f"'{output}' holds a finished adapter, which is never overwritten: name another folder with `--output`."
        )
