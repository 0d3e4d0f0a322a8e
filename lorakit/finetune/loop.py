"""One plain training loop for LoRA and QLoRA: nothing differs between the two but the base model that is loaded."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict
from peft import set_peft_model_state_dict as load_adapter_weights
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lorakit.data import Example, Row, check_rows, collate, encode, length_buckets, split_reviews, step_rows
from lorakit.errors import LorakitError
from lorakit.finetune.adapters import add_adapters, check_quantization, require_gradients
from lorakit.finetune.config import TrainConfig
from lorakit.finetune.evaluation import Evaluation, completion_loss, evaluate
from lorakit.finetune.folder import CHECKPOINT, claim, save_adapter
from lorakit.finetune.machine import Progress, interrupt_after_step, measured_peak, progress_bar
from lorakit.housekeeping import write_whole
from lorakit.models import compute_dtype, load_model, model_name

QUICK_EVALUATION = 400
"""Held-out sentences that a run is evaluated on, before and after, where nothing else is given."""


@dataclass(frozen=True)
class Step:
    """What a callback is told after each optimizer step; `loss` is in nats a token, `seconds` since training began."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    seconds: float


@dataclass
class History:
    """What a fine-tune did, and the model it made.

    `seconds` is training alone. `peak_memory_bytes` covers the evaluations too: GPU memory allocated by torch, or on a
    CPU the resident memory of this process.
    """

    config: TrainConfig
    before: Evaluation
    after: Evaluation
    losses: list[float]
    seconds: float
    tokens: int
    peak_memory_bytes: int
    stopped: bool
    model: PeftModel = field(repr=False)
    tokenizer: PreTrainedTokenizerBase = field(repr=False)

    @property
    def tokens_per_second(self) -> float:
        """Tokens that were trained on, padding not counted, a second of training."""
        return self.tokens / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict:
        """The record of the run, ready for JSON; the predictions are left out."""
        record = {name: getattr(self, name) for name in ("losses", "seconds", "tokens", "tokens_per_second")}
        record |= {"peak_memory_bytes": self.peak_memory_bytes, "stopped": self.stopped, "config": asdict(self.config)}
        for name in ("before", "after"):
            record[name] = {key: value for key, value in asdict(getattr(self, name)).items() if key != "predictions"}
        return record


def finetune(
    config: TrainConfig,
    model: PreTrainedModel | PeftModel | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    train: Sequence[Row] | None = None,
    held_out: Sequence[Row] | None = None,
    callback: Callable[[Step], bool | None] | None = None,
    output_dir: str | Path | None = None,
    checkpoint_every: int = 20,
    resume: bool = False,
    progress: Progress = progress_bar,
) -> History:
    """Fine-tune `model` with adapters. With nothing but a config: the default model, on the review data.

    Args:
        model: a base model, or one that `add_adapters` has been given already; trained in place.
        train: rows to train on; None takes the reviews, and evaluates on 400 held-out ones.
        held_out: rows to evaluate on before and after; given `train` alone, on at most 400 of those.
        callback: called after each step; when it returns True the run ends there with all it has learned. So does an
            interrupt (Ctrl-C, or Kernel > Interrupt): after the step it falls in.
        output_dir: folder for the adapter, as peft saves it, `history.json`, and a checkpoint every
            `checkpoint_every` steps. An adapter that is there already is never overwritten.
        resume: go on from the checkpoint in `output_dir`, to the same adapter, bit for bit, on a CPU.
        progress: makes the bars of the evaluations and of the training, of text where nothing else is given.

    Raises:
        LorakitError: bad rows or layers, a folder in use, a checkpoint of another run, or no gradient at the adapters.
    """
    if type(checkpoint_every) is not int or checkpoint_every < 1:
        raise LorakitError(f"checkpoint_every is {checkpoint_every!r}: it is a whole number of at least 1.")
    if resume and output_dir is None:
        raise LorakitError("resume=True goes on in the folder of a run: name it as output_dir.")
    if (model is None) != (tokenizer is None):
        raise LorakitError("a model needs its own tokenizer: pass both, as load_model() returns them, or neither.")
    train, held_out = rows_or_reviews(train, held_out)
    folder = claim(output_dir, resume)
    if model is None:
        model, tokenizer = load_model(quant_type=config.quant_type, double_quant=config.double_quant)
    if isinstance(model, PeftModel):
        _check_adapters(model, config, folder)
    else:
        model = add_adapters(model, config)
    examples = encode(train, tokenizer)
    _check_lengths(examples, model)
    rows_at_once = 4 * config.micro_batch_size  # without gradients no activation is kept, so more rows fit
    with measured_peak(model.device) as peak:
        run = _Run(config, model, tokenizer, examples, held_out)
        saved = run.load(folder / CHECKPOINT) if folder and resume and (folder / CHECKPOINT).exists() else None
        before = Evaluation(**saved) if saved else evaluate(model, tokenizer, held_out, rows_at_once, progress)
        stopped = run.train(before, callback, folder, checkpoint_every, progress)
        after = evaluate(model, tokenizer, held_out, rows_at_once, progress)
    history = History(config, before, after, run.losses, run.seconds, run.tokens, peak[0], stopped, model, tokenizer)
    if folder:
        save_adapter(model, folder)
        write_whole(
            folder / "history.json", lambda path: path.write_text(json.dumps(history.as_dict(), indent=1) + "\n")
        )
        if not stopped:
            (folder / CHECKPOINT).unlink(missing_ok=True)
    return history


def rows_or_reviews(train: Sequence[Row] | None, held_out: Sequence[Row] | None) -> tuple[Sequence[Row], Sequence[Row]]:
    """The rows that a fine-tune trains on and is evaluated on, checked; what is None is filled in (see `finetune`)."""
    if train is None:
        reviews, quick = split_reviews()
        train, held_out = reviews, held_out if held_out is not None else quick[:QUICK_EVALUATION]
    held_out = held_out if held_out is not None else train[:QUICK_EVALUATION]
    check_rows(train)
    check_rows(held_out)
    return train, held_out


class _Run:
    """The state that a checkpoint keeps: adapter, optimizer, loss scaler, random numbers, what was seen so far."""

    def __init__(
        self,
        config: TrainConfig,
        model: PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        examples: list[Example],
        held_out: Sequence[Row],
    ):
        self.config, self.model, self.tokenizer = config, model, tokenizer
        self.examples, self.held_out = examples, held_out
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.weights, lr=config.learning_rate, weight_decay=0.0)
        # fp16 gradients underflow to zero unless the loss is scaled up; float32 and bf16 have the range.
        self.scaler = torch.amp.GradScaler(model.device.type, enabled=compute_dtype(model) == torch.float16)
        self.losses: list[float] = []
        self.tokens, self.seconds = 0, 0.0
        torch.manual_seed(config.seed)  # dropout

    def train(
        self, before: Evaluation, callback, folder: Path | None, checkpoint_every: int, progress: Progress
    ) -> bool:
        """Train to the last step; returns whether it was stopped before that."""
        config = self.config
        self.prove_gradients()
        steps = enumerate(step_rows(self.examples, config.rows_per_step, config.steps, config.seed))
        bar = progress(config.steps, "training", "step")
        with interrupt_after_step() as interrupted, bar:
            for index, rows in steps:
                bar.update()
                if index < len(self.losses):  # done before the checkpoint
                    continue
                step = self.step(index, rows)
                bar.set_postfix(loss=f"{step.loss:.3f}")
                last = step.step == config.steps
                stop = bool(callback and callback(step)) or interrupted.is_set()
                if folder and (stop or last or step.step % checkpoint_every == 0):  # last: what follows may fail
                    self.save(folder / CHECKPOINT, before)
                if stop and not last:
                    return True
        return False

    def step(self, index: int, rows: list[Example]) -> Step:
        """One optimizer step over `rows`, a micro-batch at a time."""
        start = time.perf_counter()
        config, model = self.config, self.model
        model.train()
        learning_rate = learning_rate_at(index, config)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        completion_tokens = sum(len(row.completion) for row in rows)
        loss = 0.0
        for micro_batch in length_buckets(rows, config.micro_batch_size):
            batch = collate(micro_batch, self.tokenizer.pad_token_id)
            # A mean over the tokens of the whole step: the mean of the micro-batches' means would weigh them wrongly.
            part = completion_loss(model, batch) / completion_tokens
            self.backward(part)
            loss += part.item()
        if loss > 1e-6:  # a model that has nothing left to learn has no gradient either
            require_gradients(model)
        self.scaler.unscale_(self.optimizer)
        grad_norm = nn.utils.clip_grad_norm_(self.weights, config.max_grad_norm).item()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.losses.append(loss)
        self.tokens += sum(len(row.input_ids) for row in rows)
        self.seconds += time.perf_counter() - start
        return Step(index + 1, config.steps, loss, learning_rate, grad_norm, self.tokens, self.seconds)

    def prove_gradients(self) -> None:
        """Before the first step: one micro-batch forth and back, and the random numbers as they were."""
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            self.model.train()
            rows = self.examples[: self.config.micro_batch_size]
            loss = completion_loss(self.model, collate(rows, self.tokenizer.pad_token_id))
            self.backward(loss / sum(len(row.completion) for row in rows))
        require_gradients(self.model)
        self.optimizer.zero_grad(set_to_none=True)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of `loss` to those that are there."""
        if loss.requires_grad:  # else no adapter has any part in it: require_gradients() will say so, in words
            self.scaler.scale(loss).backward()

    def save(self, path: Path, before: Evaluation) -> None:
        """Write the checkpoint in one step: a run that is killed meanwhile leaves the older one."""
        state = {
            "config": asdict(self.config),
            "data": self.fingerprint(),
            "before": asdict(before),
            "losses": self.losses,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "adapter": get_peft_model_state_dict(self.model, save_embedding_layers=False),  # else peft asks the hub
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        write_whole(path, lambda temporary: torch.save(state, temporary))

    def load(self, path: Path) -> dict:
        """Restore the state from a checkpoint; returns the evaluation before training."""
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise LorakitError(f"checkpoint '{path}' cannot be read ({error}): delete it and run again.") from error
        for item in fields(TrainConfig):
            then, now = state["config"][item.name], getattr(self.config, item.name)
            if then != now:
                raise LorakitError(
                    f"the checkpoint in '{path.parent}' was made with {item.name} {then!r}, not {now!r}: resume it "
                    "with the same config, or name another folder."
                )
        if state["data"] != self.fingerprint():
            raise LorakitError(
                f"the checkpoint in '{path.parent}' was made with other rows, to train or to judge on, or with another "
                "model: resume it with the same ones, or name another folder."
            )
        load_adapter_weights(self.model, state["adapter"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"])
        if torch.cuda.is_available() and state["cuda_random"]:
            torch.cuda.set_rng_state_all(state["cuda_random"])
        self.losses, self.tokens, self.seconds = state["losses"], state["tokens"], state["seconds"]
        return state["before"]

    def fingerprint(self) -> str:
        """Hash of the model's name and of all rows, those to train on as token ids."""
        told = (model_name(self.model.config), self.examples, list(self.held_out))
        return hashlib.sha256(repr(told).encode()).hexdigest()


def learning_rate_at(index: int, config: TrainConfig) -> float:
    """Learning rate of step `index` (from 0): up in a line over the warm-up, then down to 0 after the last step."""
    if index < config.warmup_steps:
        return config.learning_rate * (index + 1) / (config.warmup_steps + 1)
    done = (index - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)  # 0 to 1
    factor = {"linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2, "constant": 1.0}
    return config.learning_rate * factor[config.lr_scheduler_type]


def _check_adapters(model: PeftModel, config: TrainConfig, folder: Path | None) -> None:
    """Refuse adapters or a base that are not what `config` says, and a name that peft saves in a folder of its own."""
    check_quantization(model, config)
    if folder and model.active_adapter != "default":
        raise LorakitError(
            f"the adapter in use is called {model.active_adapter!r}, and output_dir keeps the one called 'default': "
            "load it under that name, or leave output_dir out."
        )
    adapter = model.active_peft_config
    modules = adapter.target_modules
    if not isinstance(modules, str) and set(modules) != set(config.target_modules):
        raise LorakitError(
            f"the model's adapters are on {sorted(modules)} and the config has {sorted(config.target_modules)}: make "
            "them agree."
        )
    for name in ("r", "lora_alpha", "lora_dropout"):
        has, wanted = getattr(adapter, name), getattr(config, name)
        if has != wanted:
            raise LorakitError(
                f"the model's adapters have {name} {has!r} and the config has {wanted!r}: make them agree."
            )


def _check_lengths(examples: Sequence[Example], model: PreTrainedModel) -> None:
    limit = getattr(model.config, "max_position_embeddings", None) or math.inf
    for number, example in enumerate(examples):
        if len(example.input_ids) > limit:
            raise LorakitError(
                f"row {number} has {len(example.input_ids)} tokens, and this model reads {limit}: shorten it."
            )
        if example.prompt_length == 0 or not example.completion:
            raise LorakitError(f"row {number} has no token of its own for prompt or completion: lengthen it.")
