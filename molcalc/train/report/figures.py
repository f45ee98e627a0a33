"""Style of all pictures, and saving them without touching the settings of a user's matplotlib."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from molcalc.errors import ConfigError
from molcalc.io.files import write_atomic

log = logging.getLogger(__name__)

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GRAY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#7F7F7F",
)  # fmt: skip
"""Okabe and Ito (2008): distinguishable with every kind of color vision."""
CYCLE = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY)
DIVERGING, SEQUENTIAL = "RdBu_r", "cividis"
PNG = ".png"
"""Ending of the names of pictures."""
DPI = 110
"""Points per inch: a page of pictures stays below 1 MB."""
COLORS = 256
"""Colors of a picture: a third of the size of true color."""
LOG_DECADES = 3e3
"""Span of a logarithmic axis up to which 2 and 5 are labelled beside powers of ten."""

_SETTINGS = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 9.0, "text.usetex": False,
    "axes.titlesize": 10.0, "axes.labelsize": 9.0, "legend.fontsize": 8.0, "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0, "axes.facecolor": "white", "figure.facecolor": "white", "axes.edgecolor": "#404040",
    "axes.grid": True, "grid.color": "#DDDDDD", "grid.linewidth": 0.6, "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "legend.framealpha": 0.85,
    "legend.edgecolor": "none", "lines.linewidth": 1.4,
    "axes.formatter.use_locale": False, "image.cmap": SEQUENTIAL, "savefig.transparent": False,
    "axes.unicode_minus": True,
}  # fmt: skip

Drawn = TypeVar("Drawn")
INSTALL_PLOT = "pip install 'molcalc[plot]'"


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def drawn(draw: Callable[[], Drawn], folder: Path) -> Drawn | None:
    """What a function draws at the end of a run, or None where that fails: a log says why, and the report does without.

    Parameters
    ----------
    folder : of the pictures, for the log.

    Returns
    -------
    what the function returns, or None
    """
    try:
        return draw()
    except Exception as error:  # hours of training must not end with a font that matplotlib cannot find
        log.warning("the pictures in %s could not be drawn: %s", folder, error)
        return None


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Our settings inside the block; the user's again after it.

    Raises
    ------
    ConfigError
        When matplotlib is not installed.
    """
    if not can_draw():
        raise ConfigError(f"pictures need matplotlib, which is not installed: {INSTALL_PLOT}")
    import matplotlib

    with matplotlib.rc_context(_SETTINGS):
        yield


def new_figure(
    n_rows: int, n_columns: int, width: float, height: float, dots_per_inch: float = DPI, **options: Any
) -> tuple[Any, Any]:
    """A figure that no window system knows of, and its (n_rows, n_columns) axes.

    Parameters
    ----------
    width, height : inches.
    dots_per_inch : of files, unless they are written with another resolution.

    Returns
    -------
    figure : of matplotlib.
    axes : (n_rows, n_columns) array of its axes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dots_per_inch, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(n_rows, n_columns, squeeze=False, **options)


def log_scale(axis: Any) -> None:
    """Make the vertical axis logarithmic, with more than powers of ten where it spans few of them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_yscale("log")
    low, high = axis.get_ylim()
    if low > 0 and high / low < LOG_DECADES:
        steps = (1.0, 2.0, 5.0) if high / low > 20 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
        axis.yaxis.set_major_locator(LogLocator(subs=steps))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())


def save_figure(figure: Any, path: Path, colors: int | None = COLORS, dots_per_inch: float = DPI) -> Path:
    """Write a picture as PNG, in one step.

    Parameters
    ----------
    colors : of the file; None keeps all, for pictures with shades.

    Returns
    -------
    ``path``
    """
    import numpy as np
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.set_dpi(dots_per_inch)
    figure.canvas.draw()
    pixels = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    if colors is not None:
        pixels = pixels.quantize(colors, dither=Image.Dither.NONE)
    pixels.save(buffer, format="png", optimize=True)
    write_atomic(path, buffer.getvalue())
    return path
