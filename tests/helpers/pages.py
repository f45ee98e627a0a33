"""Pages that molcalc writes: what is in them, and what a browser shows of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SIZE = (900, 600)


def data_of(path: Path) -> dict[str, Any]:
    """What a page holds for its program."""
    found = re.search(r'<script type="application/json" id="views">(.*?)</script>', path.read_text(), re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def photographed(page: Path, view: int = 0) -> tuple[np.ndarray, str]:
    """A page as a browser without a network shows it.

    Returns
    -------
    (height, width, 3) from 0 to 255, and what the page said to the console
    """
    from PIL import Image

    assert BROWSER is not None
    target = page.with_name(f"{page.stem}-{view}.png")
    done = subprocess.run(
        [
            BROWSER, "--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
            "--hide-scrollbars", f"--window-size={SIZE[0]},{SIZE[1]}", "--host-resolver-rules=MAP * ~NOTFOUND",
            "--enable-logging=stderr", "--virtual-time-budget=3000", f"--user-data-dir={page.parent / 'browser'}",
            f"--screenshot={target}", f"{page.as_uri()}#{view}",
        ],
        capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    said = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return np.asarray(Image.open(target).convert("RGB")), said
