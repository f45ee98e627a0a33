"""Parameters of dispersion from short texts."""

import pytest

from molcalc.dispersion.parameters import D3Parameters, D4Parameters, d3_parameters, d4_parameters, parse_dispersion
from molcalc.errors import ConfigError


def test_functionals_and_values_of_both_methods():
    assert parse_dispersion("d3bj:pbe0") == d3_parameters("pbe0")
    assert parse_dispersion("d3bj:s8=0.4,a1=0.5,a2=3.0,s9=1") == D3Parameters(1.0, 0.4, 0.5, 3.0, s9=1.0)
    assert parse_dispersion("d4:s6=0.6,s8=0.4,a1=0.5,a2=3.0,ga=2,gc=1") == D4Parameters(0.6, 0.4, 0.5, 3.0, 1.0, 2, 1)


def test_functionals_of_d4():
    pytest.importorskip("dftd4")
    assert parse_dispersion("d4:pbe0") == d4_parameters("pbe0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pbe0", "d3bj:FUNCTIONAL"),
        ("d3:pbe0", "did you mean 'd3bj'"),
        ("d5:pbe0", "d4:FUNCTIONAL"),
        ("d4:", "d4:FUNCTIONAL"),
        ("D3(BJ)", "d3bj:FUNCTIONAL"),
        ("d3bj:pbee0", "near matches: .*pbe0"),
        ("d3bj:s8=1.0", "missing a1, a2"),
        ("d4:a1=1.0,a2=2.0", "missing s8"),
        ("d3bj:s8=x,a1=1,a2=1", "s8='x' is not a number"),
        ("d3bj:s8=1,a1=1,a2=1,ga=3", "unknown parameter 'ga'; known: s6, s8, a1, a2, s9"),
        ("d4:s8=1,a1=0,a2=0", "switch the damping off"),
        ("d4:s8=nan,a1=1,a2=1", "s8='nan' is not a number"),
    ],
    ids=str,
)
def test_wrong_texts_are_named(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_dispersion(text)
