"""Forked processes do not wait for threads that their parent had."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

CODE = """
import os
{first}
import torch
from molcalc.kernels.runtime import share_range
torch.set_num_threads(2)

def work(start, stop):
    torch.rand(300, 300) @ torch.rand(300, 300)
    torch.rand(2_000_000).exp().sum()

def compute():
    work(0, 1)
    share_range(work, 4, 1e9)
    {more}

compute()
child = os.fork()
if child == 0:
    compute()
    os._exit(torch.get_num_threads())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), torch.get_num_threads())
"""
NO_PLACE = """
import warnings, numpy as np
from molcalc.errors import CompilationWarning
from molcalc.neighbors import VerletList
box, where = np.eye(3) * 5, np.random.default_rng(0).uniform(0, 5, (9, 3))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    followed = VerletList(3.0)
    for _ in range(3):
        index, _ = followed.update(where, box, np.ones(3, dtype=bool))
print([w.category is CompilationWarning for w in told], index.shape[1] > 0)
"""
FIRST = "import dftd4.interface"  # before torch, so that it keeps an OpenMP of its own
D4 = "from ase.build import molecule; from molcalc.calculators import D4; D4('pbe0').calculate(molecule('C60'))"


def test_a_forked_process_computes_with_one_thread() -> None:
    """Torch, our loops and the library of dftd4 (if it is there) have all worked with two before."""
    first, more = (FIRST, D4) if importlib.util.find_spec("dftd4") else ("", "")
    env = {**os.environ, "OMP_NUM_THREADS": "4"}
    code = CODE.format(first=first, more=more)
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stdout.strip()) == (0, "1 2"), found.stderr


def test_loops_are_compiled_in_memory_where_none_can_be_kept() -> None:
    """As in a container without a home whose installation is read-only."""
    nowhere = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "NUMBA_CACHE_DIR": "/dev/null/none"}
    found = subprocess.run(
        [sys.executable, "-c", NO_PLACE], env={**os.environ, **nowhere}, capture_output=True, text=True, timeout=60
    )
    assert found.stdout.strip() == "[True] True", found.stdout + found.stderr
