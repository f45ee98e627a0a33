"""Databases as writers leave them that are killed in the middle of a transaction."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_WRITE = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(f"PRAGMA journal_mode={sys.argv[2]}")
connection.execute("PRAGMA cache_size=2")
connection.execute("PRAGMA wal_autocheckpoint=0")
connection.execute("UPDATE systems SET username = 'committed'")
connection.execute("BEGIN")
connection.execute("UPDATE systems SET energy = 0, data = zeroblob(4000)")
os.kill(os.getpid(), 9)
"""


def leave_half_written(database: Path, mode: str = "delete") -> list[str]:
    """Kill a writer of a database after it has written half; the mode of its journal is ``delete`` or ``wal``.

    Returns
    -------
    names of the files that are left beside it
    """
    subprocess.run([sys.executable, "-c", _WRITE, str(database), mode], check=False)
    left = [path.name for path in database.parent.glob(f"{database.name}-*") if path.stat().st_size]
    assert left
    return left
