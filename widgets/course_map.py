"""The picture of the whole course: the model, and the lesson that opens each part of it."""

from IPython.display import HTML

from lorakit.course import MAP_PICTURE, shipped_lessons
from widgets.svg import svg_image


def show_course_map() -> HTML:
    """The map as an image."""
    alt = "The model from text to logits, with the lesson that opens each part"
    return HTML(svg_image((shipped_lessons() / MAP_PICTURE).read_bytes(), 960, alt))
