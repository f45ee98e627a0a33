"""D3 parameters: names and usual spellings of functionals of the dftd3 package, and nothing else."""

import logging
import math

import numpy as np
import pytest
from ase.build import molecule
from dftd3.interface import DispersionModel, RationalDampingParam

from molcalc.dispersion import parameters
from molcalc.dispersion.parameters import (
    ALIASES,
    CRITICAL_RADII,
    D3_TABLE,
    D3Parameters,
    D4Parameters,
    FunctionalTable,
    as_stored,
    available_functionals,
    canonical,
    d3_parameters,
    d4_parameters,
    nearly_functionals,
)
from molcalc.dispersion.reference import reference_tables
from molcalc.errors import ConfigError


def test_published_values_of_pbe0():
    # Grimme, Ehrlich, Goerigk, J. Comput. Chem. 32, 1456 (2011), table 2 (PBE0).
    assert d3_parameters("pbe0") == D3Parameters(s6=1.0, s8=1.2177, a1=0.4145, a2=4.8593)


@pytest.mark.parametrize("name", ["pbe", "pbe0", "b3lyp", "b97-3c", "wb97m", "wb97x", "b2plyp", "hf-3c"])
@pytest.mark.parametrize("atm", [False, True])
def test_values_are_those_of_the_compiled_library(name, atm):
    atoms = molecule("CH3CONH2")
    model = DispersionModel(atoms.numbers, atoms.positions * 1.89)
    p = d3_parameters(name, atm=atm)
    ours = RationalDampingParam(s6=p.s6, s8=p.s8, a1=p.a1, a2=p.a2, s9=p.s9)
    theirs = RationalDampingParam(method=name, atm=atm)
    energies = [float(model.get_dispersion(x, grad=False)["energy"]) for x in (ours, theirs)]
    assert energies[0] == pytest.approx(energies[1], abs=1e-14)


@pytest.mark.parametrize("name", ["B97-3c", "b973C", "d3bj:b973c", "D3BJ:b97-3c", " b973c "])
def test_case_dashes_and_prefix_do_not_change_the_functional(name):
    assert d3_parameters(name) == d3_parameters("b973c")


def test_atm_is_off_unless_asked_for():
    assert d3_parameters("pbe0").s9 == 0.0
    assert d3_parameters("pbe0", atm=True).s9 == 1.0


def test_names_are_exact_and_never_substrings():
    assert d3_parameters("revpbe") != d3_parameters("pbe")
    assert d3_parameters("rpbe") != d3_parameters("pbe")
    for name in ("pbe-something", "xpbe0", "pb", ""):
        with pytest.raises(ConfigError, match="no D3 parameters"):
            d3_parameters(name)


@pytest.mark.parametrize(
    ("alias", "name"),
    [("BP86", "bp"), ("PBE1PBE", "pbe0"), ("b3-lyp", "b3lyp"), ("B97-D3BJ", "b97d"), ("BHandHLYP", "bhlyp"),
     ("ωB97M-D3(BJ)", "wb97m"), ("BP86-D3BJ", "bp"), ("d3bj:r²SCAN-D3", "r2scan"), ("mPW1PW91", "mpw1pw")],
)  # fmt: skip
def test_usual_spellings_stand_for_a_functional_and_say_so(alias, name, caplog):
    with caplog.at_level(logging.INFO, logger="molcalc"):
        assert d3_parameters(alias) == d3_parameters(name)
    said = f"stands for '{name}'" in caplog.text
    assert said == (canonical(alias.removeprefix("d3bj:")) != name)
    assert as_stored(f"d3bj:{alias.removeprefix('d3bj:')}") == f"d3bj:{name}"


def test_every_alias_names_a_functional_and_none_hides_one():
    stored = {canonical(name) for name in (*D3_TABLE.names("bj"), "mpwpw91", "b1p86")}
    assert set(ALIASES.values()) <= stored
    assert not set(ALIASES) & {canonical(name) for name in available_functionals()}


@pytest.mark.parametrize("name", ["wB97X-D3", "wb97x-d", "wb97mv", "B97M-V"])
def test_functionals_with_dispersion_of_their_own_are_not_taken_for_others(name):
    with pytest.raises(ConfigError, match="another functional than"):
        d3_parameters(name)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("pbbe0", "pbe0"), ("b3lpy/def2-SVP", "b3lyp"), ("PBE0", None), ("bp86", None), ("b3lyp/6-31g*", None),
        ("wb97x-v", None), ("pbe0-d3bj", None), ("ccsd(t)", None), ("gfn2-xtb", None),
    ],
)  # fmt: skip
def test_a_slip_of_the_pen_is_told_from_another_method(name, near):
    assert nearly_functionals(name)[:1] == ([] if near is None else [near])


def test_unknown_name_lists_near_matches():
    with pytest.raises(ConfigError, match="'wb97mm'.*wb97m"):
        d3_parameters("wb97mm")
    with pytest.raises(ConfigError, match=r"give D3Parameters"):
        d3_parameters("zzzzzzzz")


@pytest.mark.parametrize("name", ["m062x", "M06-2X"])
def test_functional_without_bj_parameters_says_so(name):
    with pytest.raises(ConfigError, match=r"m062x.*no D3\(BJ\) parameters.*zero"):
        d3_parameters(name)
    assert "m062x" not in available_functionals()


@pytest.mark.parametrize("name", ["d4:pbe0", "d3zero:pbe0"])
def test_other_dispersion_schemes_are_refused(name):
    with pytest.raises(ConfigError, match="d3bj:pbe0"):
        d3_parameters(name)


def test_every_listed_functional_can_be_looked_up():
    names = available_functionals()
    assert len(names) > 100
    assert len({d3_parameters(name) for name in names}) > 100


@pytest.mark.parametrize("value", [None, True, 1.0])
def test_functional_must_be_a_string(value):
    with pytest.raises(ConfigError, match="must be a string"):
        d3_parameters(value)


@pytest.mark.parametrize("name", ["s6", "s8", "a1", "a2", "s9"])
@pytest.mark.parametrize("value", [math.nan, math.inf, None, "0.4", True])
def test_values_must_be_finite_numbers(name, value):
    values = {"s6": 1.0, "s8": 0.8, "a1": 0.4, "a2": 4.8, "s9": 0.0, name: value}
    with pytest.raises(ConfigError, match=f"D3 parameter {name}"):
        D3Parameters(**values)


def test_numpy_numbers_are_taken_as_floats():
    p = D3Parameters(np.float32(1), np.int64(1), np.float64(0.4), 4)
    assert all(type(x) is float for x in (p.s6, p.s8, p.a1, p.a2, p.s9))


def test_missing_damping_parameters_are_an_error():
    with pytest.raises(TypeError, match="a1"):
        D3Parameters(s6=1.0, s8=0.8)


def test_damping_radius_must_be_positive():
    with pytest.raises(ConfigError, match="a1=0 and a2=0"):
        D3Parameters(1.0, 0.8, 0.0, 0.0)
    with pytest.raises(ConfigError, match="damping radius"):
        D3Parameters(1.0, 0.8, -1.0, 4.0)
    with pytest.raises(ConfigError, match="damping radius"):
        D3Parameters(1.0, 0.8, 0.1, -4.0)


def test_critical_radii_cover_all_elements():
    radii = math.sqrt(3.0) * reference_tables().r4r2[1:]
    assert CRITICAL_RADII[0] < radii.min()
    assert CRITICAL_RADII[1] > radii.max()


# D4


@pytest.fixture
def dftd4():
    return pytest.importorskip("dftd4.interface")


def test_published_d4_values_of_pbe0(dftd4):
    # Caldeweyher et al., J. Chem. Phys. 150, 154122 (2019), supplement: PBE0-D4(EEQ)-ATM.
    assert d4_parameters("d4:PBE0") == D4Parameters(s6=1.0, s8=1.20065498, a1=0.40085597, a2=5.02928789, s9=1.0)
    assert d4_parameters("pbe0", atm=False).s9 == 0.0


@pytest.mark.parametrize("name", ["pbe", "pbe0", "b3lyp", "wb97x", "wb97m", "r2scan", "b2plyp", "revpbe", "hf"])
def test_d4_values_are_those_of_the_compiled_library(name, dftd4):
    atoms = molecule("CH3CONH2")
    model = dftd4.DispersionModel(atoms.numbers, atoms.positions * 1.89)
    p = d4_parameters(name)
    ours = dftd4.DampingParam(s6=p.s6, s8=p.s8, a1=p.a1, a2=p.a2, s9=p.s9)
    energies = [float(model.get_dispersion(x, grad=False)["energy"]) for x in (ours, dftd4.DampingParam(method=name))]
    assert energies[0] == pytest.approx(energies[1], abs=1e-14)


def test_r2scan_3c_has_its_own_charge_scaling(dftd4):
    # Grimme, Hansen, Ehlert, Mewes, J. Chem. Phys. 154, 064103 (2021).
    assert d4_parameters("r2SCAN-3c") == D4Parameters(1.0, 0.0, 0.42, 5.65, s9=2.0, ga=2.0, gc=1.0)
    assert d4_parameters("r2scan").ga == 3.0


def test_unknown_d4_names_are_refused_with_near_matches(dftd4):
    with pytest.raises(ConfigError, match="no D4 parameters for functional 'pbbe0'; near matches: pbe0"):
        d4_parameters("pbbe0")
    with pytest.raises(ConfigError, match=r"give D4Parameters"):
        d4_parameters("zzzzzzzz")
    with pytest.raises(ConfigError, match="write 'd4:pbe0' for D4"):
        d4_parameters("d3bj:pbe0")


def test_looking_up_d4_without_its_package_says_how_to_get_it(monkeypatch):
    table = FunctionalTable("D4", prefix="d4:", package="dftd4", folder="dftd4", key="d4", endings=("d4",))
    monkeypatch.setattr(parameters, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"the package dftd4, which is not installed: pip install 'molcalc\[d4\]'"):
        table.find("pbe0")


@pytest.mark.parametrize("name", ["s6", "s8", "a1", "a2", "s9", "ga", "gc"])
def test_d4_values_must_be_finite_numbers(name):
    values = {"s6": 1.0, "s8": 0.8, "a1": 0.4, "a2": 4.8, name: math.nan}
    with pytest.raises(ConfigError, match=f"D4 parameter {name}=nan is not finite"):
        D4Parameters(**values)
