"""Which energy terms complete a network, from a model's declaration and the user's wishes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from molcalc.assembly.by_fidelity import ByFidelity
from molcalc.dispersion.declared import dispersion_from
from molcalc.dispersion.parameters import D3Parameters, D4Parameters
from molcalc.electrostatics.coulomb import DSFCoulomb, EwaldCoulomb, PhysNetCoulomb, PMECoulomb, SimpleCoulomb
from molcalc.electrostatics.thole import TholeCoulomb
from molcalc.electrostatics.zbl import ZBLRepulsion
from molcalc.energy_term import EnergyTerm
from molcalc.errors import CheckpointMismatchError, ConfigError, suggest
from molcalc.fidelity import Fidelity
from molcalc.io.checkpoint import ModelConfig

COULOMB_METHODS = ("auto", "simple", "dsf", "ewald", "pme", "shifted")
SHIFTED_CUTOFF = 15.0
"""Å, where PhysNet's Coulomb energy ends in crystals and liquids."""
Wish = str | D3Parameters | D4Parameters | None
"""What a user may say of dispersion."""
_ALLOWED = {
    "simple": ("auto", "simple", "dsf", "ewald", "pme"),
    "physnet": ("auto", "shifted"),
    "distributed": ("auto",),
}
"""What a user may choose, by the method a model was trained with."""


@dataclass(frozen=True)
class Completion:
    """What completes a network at one fidelity.

    Attributes
    ----------
    shared : Coulomb energy and repulsion, as far as they are there: the same at every fidelity.
    dispersion : or None.
    provenance : what was chosen, in words.
    """

    shared: tuple[EnergyTerm, ...]
    dispersion: EnergyTerm | None
    provenance: dict[str, str]

    @property
    def terms(self) -> tuple[EnergyTerm, ...]:
        """All energy terms."""
        return self.shared if self.dispersion is None else (*self.shared, self.dispersion)


def completion(
    config: ModelConfig, fidelity: Fidelity, *, coulomb: str = "auto", dispersion: Wish = "auto", legacy: bool = False
) -> Completion:
    """What completes a model at one fidelity.

    Dispersion ends smoothly where the other terms allow periodic structures, for which it is cut off.

    Parameters
    ----------
    coulomb, dispersion, legacy : as in :func:`coulomb_term` and :func:`dispersion_term`.

    Raises
    ------
    ConfigError, CheckpointMismatchError
    """
    charged, repulsion = coulomb_term(config, coulomb), repulsion_term(config)
    crystals = charged is None or charged.supports_periodic
    dispersed, described = dispersion_term(fidelity, dispersion, smooth=crystals, legacy=legacy)
    method = (config.coulomb or "none") if coulomb == "auto" else coulomb
    shared = tuple(term for term in (charged, repulsion) if term is not None)
    return Completion(shared, dispersed, {"dispersion": described, "coulomb": method})


def completions(
    config: ModelConfig, chosen: int, *, coulomb: str = "auto", dispersion: Wish = "auto", legacy: bool = False
) -> tuple[tuple[EnergyTerm, ...], list[dict[str, str]]]:
    """Terms that complete a model at every fidelity, and by fidelity what they are, in words.

    Parameters
    ----------
    chosen : index of the fidelity that ``dispersion`` is for; the others have what they declare.
    """
    found = [
        completion(config, fidelity, coulomb=coulomb, dispersion=dispersion if k == chosen else "auto", legacy=legacy)
        for k, fidelity in enumerate(config.fidelities)
    ]
    equal: dict[str, EnergyTerm | None] = {}
    dispersed = [equal.setdefault(each.provenance["dispersion"], each.dispersion) for each in found]
    first = dispersed[0]
    if any(term is not first for term in dispersed):
        first = ByFidelity(dispersed)
    return replace(found[0], dispersion=first).terms, [each.provenance for each in found]


def coulomb_term(config: ModelConfig, method: str) -> EnergyTerm | None:
    """Coulomb term of a model.

    Parameters
    ----------
    method : "auto" takes the one the model was trained with; "simple" sums all pairs of a molecule; "dsf" (damped,
        shifted, 15 Å), "ewald" and "pme" (three periodic directions) replace it in crystals and liquids; "shifted" does
        for models with PhysNet's Coulomb energy.

    Raises
    ------
    ConfigError
        For an unknown method, or one for a model that has no Coulomb term.
    """
    if method not in COULOMB_METHODS:
        raise ConfigError(
            f"coulomb={method!r}{suggest(str(method), COULOMB_METHODS)}; choose one of {list(COULOMB_METHODS)}"
        )
    if config.coulomb is None:
        if method != "auto":
            raise ConfigError(f"coulomb={method!r}: this model was trained without a Coulomb term")
        return None
    allowed = _ALLOWED.get(config.coulomb)
    if allowed is None:
        raise CheckpointMismatchError(f"unknown Coulomb method {config.coulomb!r} in the model file")
    if method not in allowed:
        raise ConfigError(
            f"coulomb={method!r}: this model was trained with {config.coulomb!r}, which allows {', '.join(allowed)}"
        )
    if config.coulomb == "distributed":
        return TholeCoulomb()
    if config.coulomb == "physnet":
        return PhysNetCoulomb(config.coulomb_range or 10.0, SHIFTED_CUTOFF if method == "shifted" else None)
    if method == "dsf":
        return DSFCoulomb(short_range_cutoff=config.coulomb_range)
    if method == "ewald":
        return EwaldCoulomb(short_range_cutoff=config.coulomb_range)
    if method == "pme":
        return PMECoulomb(short_range_cutoff=config.coulomb_range)
    return SimpleCoulomb(config.coulomb_range)


def repulsion_term(config: ModelConfig) -> EnergyTerm | None:
    """Repulsion of nuclei that a model was trained with; raises CheckpointMismatchError for an unknown one."""
    if config.repulsion is None:
        return None
    if config.repulsion != "zbl":
        raise CheckpointMismatchError(f"unknown repulsion {config.repulsion!r} in the model file")
    return ZBLRepulsion()


def dispersion_term(
    fidelity: Fidelity, wish: Wish, *, smooth: bool = False, legacy: bool = False
) -> tuple[EnergyTerm | None, str]:
    """Dispersion term of a fidelity, and its description.

    Parameters
    ----------
    wish : "auto" as the model declares, None for none, "d3bj:FUNCTIONAL", "d4:FUNCTIONAL", or parameters.
    smooth, legacy : as in :func:`molcalc.dispersion.declared.dispersion_from`.

    Raises
    ------
    ConfigError
        When labels already contain dispersion and a term is asked for, or the functional is unknown.
    """
    if wish is None:
        return None, "none"
    if isinstance(wish, str) and wish == "auto":
        if fidelity.dispersion_in_labels or fidelity.dispersion is None:
            return None, "in labels" if fidelity.dispersion_in_labels else "none"
        wish = fidelity.dispersion
    if not isinstance(wish, (str, D3Parameters, D4Parameters)):
        raise TypeError(
            f"dispersion={wish!r} is a {type(wish).__name__}; give 'auto', None, 'd3bj:FUNCTIONAL', 'd4:FUNCTIONAL', "
            "D3Parameters or D4Parameters"
        )
    if fidelity.dispersion_in_labels:
        raise ConfigError(
            f"dispersion={wish!r}: the labels of fidelity {fidelity.name!r} already contain dispersion; adding "
            "it would count it twice: use dispersion='auto'"
        )
    prefix = "d4" if isinstance(wish, D4Parameters) else "d3bj"
    description = wish if isinstance(wish, str) else f"{prefix}:{wish}"
    return dispersion_from(wish, smooth=smooth, legacy=legacy), description
