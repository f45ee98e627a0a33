"""Progress bars: a line on a terminal, a widget or a line in a notebook, and few or none in files and pipes."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

from tqdm import tqdm

SECONDS, SECONDS_IN_FILES = 0.5, 10.0
"""Between two updates; a file, unlike a terminal, keeps every one."""
SECONDS_BEFORE = 10.0
"""Before work that usually takes a moment shows a bar: its ``delay``."""


def progress_bar(*, visible: bool = True, in_files: bool = False, **settings: Any) -> tqdm:
    """A bar on stderr, or in a notebook: a widget where ipywidgets is installed, text elsewhere.

    Parameters
    ----------
    visible : False shows nothing anywhere.
    in_files : show it also where the output is neither a terminal nor a notebook, such as the log of a job.
    settings : of tqdm, such as ``total``, ``desc`` and ``unit``.

    Returns
    -------
    bar, to be used in a ``with`` statement
    """
    if visible and in_notebook():
        from tqdm import notebook

        bar = tqdm if find_spec("ipywidgets") is None else notebook.tqdm
        return bar(mininterval=SECONDS, **settings)
    terminal = sys.stderr.isatty()
    return tqdm(
        disable=not (visible and (terminal or in_files)),
        mininterval=SECONDS if terminal else SECONDS_IN_FILES,
        file=sys.stderr,
        **settings,
    )


def in_notebook() -> bool:
    """Whether the process is the kernel of a notebook, whose output is no terminal and is looked at all the same."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config
