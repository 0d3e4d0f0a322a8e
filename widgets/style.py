"""One look for every plotly figure: a palette that colour-blind readers can tell apart (Okabe & Ito 2008)."""

import plotly.graph_objects as go
import plotly.io as pio

BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#777777"
PALETTE = (BLUE, ORANGE, GREEN, PINK)

pio.templates["lorakit"] = go.layout.Template(
    layout=go.Layout(
        colorway=PALETTE,
        font={"size": 14},
        margin={"l": 70, "r": 30, "t": 60, "b": 60},
        height=360,
        paper_bgcolor="white",
        plot_bgcolor="white",
        xaxis={"gridcolor": "#E5E5E5", "zeroline": False},
        yaxis={"gridcolor": "#E5E5E5", "zeroline": False},
    )
)
# The default renderer copies plotly's whole library, 4.9 MB, into a notebook; Colab and VS Code have their own.
if "notebook" in pio.renderers.default:
    pio.renderers.default = "plotly_mimetype"


def figure(title: str, x: str, y: str) -> go.Figure:
    """An empty figure in the course's look; axis titles name their units."""
    return go.Figure(layout={"template": "lorakit", "title": title, "xaxis_title": x, "yaxis_title": y})
