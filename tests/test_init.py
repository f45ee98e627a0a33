"""What the package offers at its top."""

from __future__ import annotations

import subprocess
import sys

import pytest

import molcalc
import molcalc.calculators
import molcalc.train


@pytest.mark.parametrize("name", molcalc.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(molcalc, name) is not None
    assert name in dir(molcalc)


def test_public_names_are_those_of_their_rooms() -> None:
    assert set(molcalc.__all__) == {*molcalc.HOMES, "__version__"}
    assert molcalc.AIMNet2 is molcalc.calculators.AIMNet2
    assert molcalc.D4 is molcalc.calculators.D4
    assert molcalc.fit is molcalc.train.fit
    assert molcalc.evaluate is molcalc.train.evaluate


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'molcalc' has no attribute 'AIMNet3'"):
        molcalc.AIMNet3  # noqa: B018


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys, molcalc\n"
        "dir(molcalc), molcalc.__all__\n"
        "heavy = [m for m in ('torch', 'ase', 'numpy', 'numba') if m in sys.modules]\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
