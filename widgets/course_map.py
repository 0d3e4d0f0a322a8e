"""The picture of the whole course: the model, and the lesson that opens each part of it."""

from pathlib import Path

from IPython.display import HTML

from widgets.svg import svg_image

PICTURE = Path(__file__).parent / "static" / "course_map.svg"


def show_course_map() -> HTML:
    """The map as an image."""
    alt = "The model from text to logits, with the lesson that opens each part"
    return HTML(svg_image(PICTURE.read_bytes(), 960, alt))
