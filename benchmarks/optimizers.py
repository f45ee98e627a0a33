"""Calls that ASE's optimizers need with a float32 network, beside double precision.

    python benchmarks/optimizers.py [--fmax 0.001]

Ten molecules, each displaced at random by 0.1 Å; published ωB97M-D3 network, energies summed in float64 in both cases.
"""

from __future__ import annotations

import argparse

import torch
from ase.build import molecule
from ase.optimize import BFGS, FIRE, LBFGS, BFGSLineSearch

from molcalc import AIMNet2

MOLECULES = (
    "H2O", "CH3OH", "CH3CONH2", "C6H6", "CH3COOH", "C5H5N", "C4H4NH", "C4H4O", "CH3SH", "CH3CH2OCH3",
)  # fmt: skip
LIMIT = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fmax", type=float, default=1e-3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    calculators = {dtype: AIMNet2("wb97m-d3", member=0, dtype=dtype) for dtype in ("float64", "float32")}
    print(f"{'optimizer':<15} {'float64':>8} {'float32':>8} {'ratio':>6}   not converged")
    for optimizer in (BFGS, LBFGS, FIRE, BFGSLineSearch):
        calls, failed = {}, []
        for dtype, calculator in calculators.items():
            calls[dtype] = 0
            for name in MOLECULES:
                atoms = molecule(name)
                atoms.rattle(0.1, seed=1)
                atoms.calc = calculator
                count = _counted(calculator)
                if not optimizer(atoms, logfile=None).run(fmax=options.fmax, steps=LIMIT):
                    failed.append(f"{name}/{dtype}")
                calls[dtype] += len(count)
                del calculator.calculate  # the counter
        ratio = calls["float32"] / calls["float64"]
        print(f"{optimizer.__name__:<15} {calls['float64']:8d} {calls['float32']:8d} {ratio:6.3f}   {failed or 'none'}")


def _counted(calculator: AIMNet2) -> list[int]:
    """List that grows by one with every evaluation."""
    original, count = type(calculator).calculate, []

    def calculate(*args, **kwargs) -> None:
        count.append(1)
        original(calculator, *args, **kwargs)

    calculator.calculate = calculate
    return count


if __name__ == "__main__":
    main()
