"""Settings of predictions that do not depend on the model, as users give them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from molcalc.devices import Device, usable_device
from molcalc.errors import ConfigError, short, suggest
from molcalc.prediction.extrapolation import checked_choice
from molcalc.state import charge_argument, multiplicity_argument

DTYPES = {"float32": torch.float32, "float64": torch.float64}
"""Arithmetic of the networks' large matrix products, by the name that a user gives."""


@dataclass(frozen=True, kw_only=True)
class PredictorOptions:
    """Settings of a predictor, whatever its potential.

    Attributes
    ----------
    charge, multiplicity : for every structure; None takes what each Atoms states (:mod:`molcalc.state`).
    mult, spin : other names of ``multiplicity`` (2S+1), taken over by it.
    device : "auto", "cpu", "cuda", the number of a graphics card or a device of torch; "auto" takes a GPU if there is
        one.
    dtype : "float32" or "float64" (or those of torch), arithmetic of the large matrix products; the rest is in float64
        in any case.
    min_distance : Å below which two atoms are an error; None takes a quarter of their covalent radii.
    on_extrapolation : "warn", "raise" or "ignore" structures that are unlike the training data (docs/limits.md).

    Raises
    ------
    ConfigError
        For an unknown dtype, a device that is not here, or a distance out of range.
    ChargeError, SpinError
        For a charge or multiplicity that is not a whole number, or names that contradict each other.
    """

    charge: int | None = None
    multiplicity: int | None = None
    mult: int | None = None
    spin: int | None = None
    device: Device = "auto"
    dtype: str | torch.dtype = "float32"
    min_distance: float | None = None
    on_extrapolation: str = "warn"

    def __post_init__(self) -> None:
        checked_choice(self.on_extrapolation)
        decided = {
            "charge": charge_argument(self.charge),
            "multiplicity": multiplicity_argument(self.multiplicity, mult=self.mult, spin=self.spin),
            "mult": None,
            "spin": None,
            "device": usable_device(self.device),
            "dtype": _dtype_name(self.dtype),
            "min_distance": checked_min_distance(self.min_distance),
        }
        for name, value in decided.items():
            object.__setattr__(self, name, value)


def _dtype_name(dtype: str | torch.dtype) -> str:
    name = str(dtype).removeprefix("torch.") if isinstance(dtype, torch.dtype) else dtype
    if not isinstance(name, str) or name not in DTYPES:
        raise ConfigError(f"dtype={short(dtype)}{suggest(str(dtype), DTYPES)}; choose one of {list(DTYPES)}")
    return name


def checked_min_distance(value: float | None) -> float | None:
    """Smallest distance of two atoms in Å, or None.

    Returns
    -------
    Å, or None

    Raises
    ------
    ConfigError
        When it is no number between 0 and 1.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 < value < 1.0:
        raise ConfigError(f"min_distance={short(value)} Å; allowed is 0 < min_distance < 1")
    return float(value)
