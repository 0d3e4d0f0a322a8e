"""What the lessons draw. Imports lorakit, never the other way round.

Figures that stand still are plotly's: a function makes one, and the lesson shows it with `fig.show()`.
"""

from widgets.adapter_size import show_adapter_size
from widgets.course_map import show_course_map
from widgets.live_training import show_training
from widgets.progress import progress
from widgets.training import accuracy_figure, loss_figure

__all__ = ["accuracy_figure", "loss_figure", "progress", "show_adapter_size", "show_course_map", "show_training"]
