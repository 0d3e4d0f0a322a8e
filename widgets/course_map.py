"""The picture of the whole course: the model, and the lesson that opens each part of it."""

import base64
from pathlib import Path

from IPython.display import HTML

PICTURE = Path(__file__).parent / "static" / "course_map.svg"


def show_course_map() -> HTML:
    """The map as an image: a notebook strips bare SVG from files that it does not trust, and keeps images."""
    data = base64.b64encode(PICTURE.read_bytes()).decode()
    return HTML(
        f'<img src="data:image/svg+xml;base64,{data}" width="960" style="max-width: 100%" '
        'alt="The model from text to logits, with the lesson that opens each part">'
    )
