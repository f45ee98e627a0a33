"""Lowest versions that ``setup.cfg`` allows, as constraints for pip; run as ``python lowest_versions.py setup.cfg``."""

from __future__ import annotations

import configparser
import sys
from pathlib import Path


def lowest_versions(settings: Path) -> list[str]:
    """Constraints of all requirements that have a lowest version, those of extras too.

    Parameters
    ----------
    settings : the file ``setup.cfg``.

    Returns
    -------
    lines such as ``ase==3.27``
    """
    parsed = configparser.ConfigParser()
    parsed.read(settings, encoding="utf-8")
    named = [parsed["options"]["install_requires"], *parsed["options.extras_require"].values()]
    lines = "\n".join(named).splitlines()
    return sorted({line.strip().replace(" >= ", "==", 1) for line in lines if " >= " in line.partition(";")[0]})


if __name__ == "__main__":
    print("\n".join(lowest_versions(Path(sys.argv[1]))))
