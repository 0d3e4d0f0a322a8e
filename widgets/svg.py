"""A drawing in a notebook."""

import base64
from html import escape


def svg_image(svg: bytes, width: int, alt: str) -> str:
    """HTML that shows an SVG as an image: a notebook strips bare SVG from files that it does not trust, not images."""
    data = base64.b64encode(svg).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" width="{width}" style="max-width: 100%" alt="{escape(alt)}">'
