"""Numbers in texts as every program reads them."""

from __future__ import annotations

import pytest

from molcalc.io.plain_numbers import decimal, numbers_of_python, whole_number


@pytest.mark.parametrize(("text", "value"), [("1", 1.0), ("-.5e-3", -5e-4), ("+2.", 2.0), (" 7E2 ", 700.0)])
def test_decimal_numbers_are_read(text: str, value: float) -> None:
    assert decimal(text) == value


@pytest.mark.parametrize("text", ["1_0", "1e1_0", "١٢", "nan", "-inf", "Infinity", "0x10", "1d3", "", "1 2"])
def test_what_only_python_takes_for_a_number_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        decimal(text)


@pytest.mark.parametrize("text", ["1_0", "٣", "1.0", "-", ""])
def test_whole_numbers_are_digits(text: str) -> None:
    assert whole_number("-12") == -12
    with pytest.raises(ValueError, match="is not a whole number"):
        whole_number(text)


def test_numbers_of_python_are_found_among_words() -> None:
    assert numbers_of_python("H 1_0 0.5,2_5.0 ٣ nan C_1 REF_energy=1_0") == ["1_0", "2_5.0", "٣", "1_0"]
    assert numbers_of_python("H 1.0 nan 2e5") == []
