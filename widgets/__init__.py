"""What the lessons draw. Imports lorakit, never the other way round.

A function that ends in `_figure` makes a figure of plotly's, and the lesson shows it with `fig.show()`. Drawings that
stand still, such as `show_model`'s, are SVG in an `HTML`; the other `show_` functions make widgets.
"""

import lorakit  # noqa: F401  first: it quiets what bitsandbytes says where peft loads it
from widgets.adapter_dial import show_adapter_dial
from widgets.adapter_size import show_adapter_size
from widgets.attention import show_attention
from widgets.census import census_figure
from widgets.course_map import show_course_map
from widgets.forward_pass import by_block_figure, lens_figure, rotation_figure
from widgets.live_training import show_training
from widgets.logits import show_logits
from widgets.lora_picture import show_lora, show_qlora
from widgets.memory import show_memory
from widgets.memory_figures import measured_figure, moments_figure, step_figure
from widgets.model_picture import show_model
from widgets.progress import progress
from widgets.quantization import show_quantization
from widgets.quantization_figures import show_number_formats
from widgets.tokens import show_tokens
from widgets.training import accuracy_figure, loss_figure

__all__ = [
    "accuracy_figure",
    "by_block_figure",
    "census_figure",
    "lens_figure",
    "loss_figure",
    "measured_figure",
    "moments_figure",
    "progress",
    "rotation_figure",
    "show_adapter_dial",
    "show_adapter_size",
    "show_attention",
    "show_course_map",
    "show_logits",
    "show_lora",
    "show_memory",
    "show_model",
    "show_number_formats",
    "show_qlora",
    "show_quantization",
    "show_tokens",
    "show_training",
    "step_figure",
]
