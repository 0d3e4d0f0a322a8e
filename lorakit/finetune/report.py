"""What a fine-tune did, as `lorakit finetune` prints it."""

from pathlib import Path

from lorakit.finetune.evaluation import Evaluation
from lorakit.finetune.loop import History

GIB = 2**30


def finetune_report(history: History, output: Path) -> str:
    """What a fine-tune did, a line a fact; `output` is the folder that its adapter is in."""
    config, before, after = history.config, history.before, history.after
    method = f"{config.method} ({config.quant_type})" if config.quant_type else config.method
    modules = ", ".join(config.target_modules)
    facts = {"method": f"{method}, r = {config.r}, lora_alpha = {config.lora_alpha:g}, on {modules}"}
    if before.accuracy is not None:
        facts |= {"accuracy before": _accuracy(before), "accuracy after": _accuracy(after)}
    facts |= {
        "held-out loss": f"{before.loss:.3f} before, {after.loss:.3f} after, nats a token",
        "training loss": f"{history.losses[0]:.3f} first, {history.losses[-1]:.3f} last, nats a token",
        "speed": f"{history.tokens_per_second:,.0f} tokens/s",
        "time": f"{history.seconds:,.1f} s of training, {len(history.losses)} steps",
        "peak memory": f"{history.peak_memory_bytes / GIB:.2f} GiB",
        "adapter": str(output),
    }
    return "\n".join(f"{name:<17}{value}" for name, value in facts.items())


def _accuracy(evaluation: Evaluation) -> str:
    return (
        f"{evaluation.accuracy:.1%} (95 % interval {evaluation.low:.1%} to {evaluation.high:.1%}, {evaluation.n} rows)"
    )
