"""What takes long is told before it begins."""

from __future__ import annotations

import sys

import pytest
from ase import Atoms

from molcalc import D3, D4
from molcalc.cli.patience import MANY_FOR_TRIPLES, tell_of_triples

pytest.importorskip("dftd4")
LARGE, SMALL = Atoms(f"Ar{MANY_FOR_TRIPLES}"), Atoms("Ar2")


def test_the_triples_of_d4_are_told_of_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tell_of_triples(D4("pbe0"), [LARGE])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for calculator, images in (
        (D4("pbe0"), [SMALL]),
        (D4("pbe0"), []),
        (D4("pbe0", atm=False), [LARGE]),
        (D3("pbe0"), [LARGE]),
    ):
        tell_of_triples(calculator, images)
    assert capsys.readouterr().err == ""
    tell_of_triples(D4("pbe0"), [SMALL, LARGE])
    assert "Ar500: the three-body term of D4 sums over all near triples of 500 atoms" in capsys.readouterr().err
