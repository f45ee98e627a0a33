"""Energy terms that complete a network, by a model's declaration and the user's choices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from molcalc.assembly.by_fidelity import ByFidelity
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.dispersion.d4 import D4Dispersion
from molcalc.dispersion.parameters import D3Parameters, D4Parameters, Parameters, parse_dispersion
from molcalc.electrostatics.coulomb import DSFCoulomb, EwaldCoulomb, PhysNetCoulomb, PMECoulomb, SimpleCoulomb
from molcalc.electrostatics.thole import TholeCoulomb
from molcalc.electrostatics.zbl import ZBLRepulsion
from molcalc.energy_term import EnergyTerm
from molcalc.errors import CheckpointMismatchError, ConfigError, MissingPackageError, short, suggest
from molcalc.fidelity import Fidelity
from molcalc.io.checkpoint import ModelConfig

DispersionChoice = str | D3Parameters | D4Parameters | None
"""Dispersion that a user chooses: "auto", a text such as "d3bj:pbe0", parameters, or None for none."""
SHIFTED_CUTOFF = 15.0
"""Å, where PhysNet's Coulomb energy ends in crystals and liquids."""
SWITCH_WIDTH = 2.0
"""Å, over which dispersion falls to zero before its cutoff where that is asked for."""


@dataclass(frozen=True)
class CoulombSum:
    """One way to sum the Coulomb energy of a model.

    Attributes
    ----------
    trained_with : Coulomb energy of the models that it is for, as :class:`molcalc.io.checkpoint.ModelConfig` names it.
    name : what a user calls it; "auto" is what the model was trained with.
    build : the energy term, from a model's declaration and options.
    options : names of the options that it takes.
    """

    trained_with: str
    name: str
    build: Callable[..., EnergyTerm]
    options: tuple[str, ...] = ()


COULOMB_SUMS = (
    CoulombSum("simple", "auto", lambda config: SimpleCoulomb(config.coulomb_range)),
    CoulombSum("simple", "simple", lambda config: SimpleCoulomb(config.coulomb_range)),
    CoulombSum(
        "simple",
        "dsf",
        lambda config, **options: DSFCoulomb(short_range_cutoff=config.coulomb_range, **options),
        ("cutoff", "alpha"),
    ),
    CoulombSum(
        "simple",
        "ewald",
        lambda config, **options: EwaldCoulomb(short_range_cutoff=config.coulomb_range, **options),
        ("accuracy", "alpha", "real_cutoff", "reciprocal_cutoff"),
    ),
    CoulombSum(
        "simple",
        "pme",
        lambda config, **options: PMECoulomb(short_range_cutoff=config.coulomb_range, **options),
        ("accuracy", "real_cutoff"),
    ),
    CoulombSum("physnet", "auto", lambda config: PhysNetCoulomb(config.coulomb_range or 10.0, None)),
    CoulombSum(
        "physnet",
        "shifted",
        lambda config, cutoff=SHIFTED_CUTOFF: PhysNetCoulomb(config.coulomb_range or 10.0, cutoff),
        ("cutoff",),
    ),
    CoulombSum("distributed", "auto", lambda config: TholeCoulomb()),
)
"""All ways to sum the Coulomb energy. A new one is a row here."""
TRAINED_COULOMB = tuple(
    dict.fromkeys([row.trained_with for row in COULOMB_SUMS] + [r.name for r in COULOMB_SUMS if r.name != "auto"])
)
"""What a model can be trained with: an energy summed over all pairs, or one of its other sums."""
REPULSIONS: dict[str, Callable[[], EnergyTerm]] = {
    "zbl": ZBLRepulsion,
    "zbl-close": lambda: ZBLRepulsion(covalent=0.8),
}
"""Repulsion of nuclei that a model may be trained with, by its name."""
REPULSION_OF_NEW_MODELS = {"zbl": "zbl-close"}
"""Name in new models of a repulsion that a user asks for. "zbl" reaches 2 Å, beyond bonds: there it is worth some 10 eV
that the network would have to learn away again."""


def completing_terms(
    config: ModelConfig,
    chosen: int,
    *,
    coulomb: str | None = "auto",
    dispersion: DispersionChoice = "auto",
    legacy: bool = False,
) -> tuple[EnergyTerm, ...]:
    """Energy terms that complete a model at every fidelity.

    Dispersion ends smoothly where the other terms allow periodic structures, for which it is cut off.

    Parameters
    ----------
    chosen : index of the fidelity that ``dispersion`` is for; the others have what they declare.
    coulomb, dispersion, legacy : as in :func:`coulomb_term` and :func:`dispersion_term`.

    Returns
    -------
    tuple of EnergyTerm
        Coulomb energy, repulsion and dispersion, as far as they are there.

    Raises
    ------
    ConfigError, CheckpointMismatchError
        As :func:`coulomb_term`, :func:`repulsion_term` and :func:`dispersion_term`.
    """
    charged, repulsion = coulomb_term(config, coulomb), repulsion_term(config)
    crystals = charged is None or charged.supports_periodic
    terms: dict[str, EnergyTerm | None] = {}
    by_fidelity = []
    for fidelity, choice in _choices(config, chosen, dispersion):
        words = dispersion_words(fidelity, choice)
        if words not in terms:
            with _declared_by_model(fidelity, choice):
                terms[words] = dispersion_term(fidelity, choice, smooth=crystals, legacy=legacy)
        by_fidelity.append(terms[words])
    dispersed = by_fidelity[0]
    if any(term is not dispersed for term in by_fidelity):
        dispersed = ByFidelity(by_fidelity)
    return tuple(term for term in (charged, repulsion, dispersed) if term is not None)


@contextmanager
def _declared_by_model(fidelity: Fidelity, choice: DispersionChoice) -> Iterator[None]:
    """Blame the model, not the user, for a dispersion that it declares and that does not exist."""
    try:
        yield
    except MissingPackageError:
        raise
    except ConfigError as error:
        if not isinstance(choice, str) or choice != "auto":
            raise
        raise CheckpointMismatchError(
            f"fidelity {fidelity.name!r} of the model is completed by {short(fidelity.dispersion)}: {error}"
        ) from error


def completed_by(
    config: ModelConfig, chosen: int, *, coulomb: str | None = "auto", dispersion: DispersionChoice = "auto"
) -> tuple[dict[str, str], ...]:
    """Energy terms that complete a model, in words.

    Parameters
    ----------
    chosen, coulomb, dispersion : as in :func:`completing_terms`.

    Returns
    -------
    tuple of dict
        By fidelity, what ``dispersion`` and ``coulomb`` are.

    Raises
    ------
    ConfigError
        As :func:`dispersion_term`.
    """
    return tuple(
        {"dispersion": dispersion_words(fidelity, choice), "coulomb": coulomb_words(config, coulomb)}
        for fidelity, choice in _choices(config, chosen, dispersion)
    )


def _choices(config: ModelConfig, chosen: int, dispersion: DispersionChoice) -> list[tuple[Fidelity, DispersionChoice]]:
    """Every fidelity with the dispersion that is chosen for it."""
    return [(each, dispersion if k == chosen else "auto") for k, each in enumerate(config.fidelities)]


def coulomb_words(config: ModelConfig, method: str | None = "auto") -> str:
    """How the Coulomb energy of a model is summed, in words: "simple", "none", "dsf (cutoff=12)"."""
    if method is None:
        return "none"
    method, options = _sum_of(config, method)
    if method == "auto":
        return config.coulomb or "none"
    return method + (f" ({', '.join(f'{key}={value:g}' for key, value in options.items())})" if options else "")


def trained_coulomb(name: str, options: Mapping[str, float]) -> tuple[str, str | None, dict[str, float]]:
    """Declaration of the Coulomb energy that a user wants a model to be trained with.

    Parameters
    ----------
    name : of an energy ("simple", "physnet", "distributed") or of another sum of one ("dsf", "ewald", …).
    options : of that sum.

    Returns
    -------
    energy : as :class:`molcalc.io.checkpoint.ModelConfig` names it.
    summed : name of the sum, None for that over all pairs.
    options : as they are stored.

    Raises
    ------
    ConfigError
        For a name that is not in the table, or an option that this sum does not take.
    """
    rows = [row for row in COULOMB_SUMS if row.name == name] or [
        row for row in COULOMB_SUMS if row.trained_with == name and row.name == "auto"
    ]
    if not rows:
        raise ConfigError(f"coulomb={name!r}{suggest(name, TRAINED_COULOMB)}; choose one of {TRAINED_COULOMB}")
    row = rows[0]
    for key in options:
        if key not in row.options:
            known = ", ".join(row.options) or "none"
            raise ConfigError(f"coulomb_options: {key!r}{suggest(key, row.options)}; those of {name!r} are: {known}")
    summed = None if row.name in ("auto", row.trained_with) else row.name
    return row.trained_with, summed, dict(options)


def _sum_of(config: ModelConfig, method: str) -> tuple[str, Mapping[str, float]]:
    """Name of a sum, and its options: those of training where it is the one of training."""
    if method == "auto" and config.coulomb_sum is not None:
        method = config.coulomb_sum
    return method, config.coulomb_options if method == config.coulomb_sum else {}


def coulomb_term(config: ModelConfig, method: str | None = "auto") -> EnergyTerm | None:
    """Coulomb term of a model.

    Parameters
    ----------
    method : "auto" takes the one the model was trained with; "simple" sums all pairs of a molecule; "dsf" (damped,
        shifted, 15 Å), "ewald" and "pme" (three periodic directions) replace it in crystals and liquids; "shifted" does
        for models with PhysNet's Coulomb energy; None leaves it out.

    Returns
    -------
    EnergyTerm or None
        None for a model that was trained without, or where it is left out.

    Raises
    ------
    ConfigError
        For an unknown method, or one for a model that has no Coulomb term.
    CheckpointMismatchError
        When the model names a Coulomb energy that is not in the table.
    """
    if method is None:
        return None
    known = list(dict.fromkeys(row.name for row in COULOMB_SUMS))
    if method not in known:
        raise ConfigError(f"coulomb={method!r}{suggest(str(method), known)}; choose one of {known}")
    if config.coulomb is None:
        if method != "auto":
            raise ConfigError(f"coulomb={method!r}: this model was trained without a Coulomb term")
        return None
    allowed = {row.name: row for row in COULOMB_SUMS if row.trained_with == config.coulomb}
    if not allowed or config.coulomb_sum not in (None, *allowed):
        unknown = config.coulomb if not allowed else config.coulomb_sum
        raise CheckpointMismatchError(f"unknown Coulomb method {unknown!r} in the model file")
    taken = allowed[config.coulomb_sum].options if config.coulomb_sum is not None else ()
    strange = [key for key in config.coulomb_options if key not in taken]
    if strange:
        raise CheckpointMismatchError(
            f"unknown option {strange[0]!r} of the Coulomb sum {config.coulomb_sum or config.coulomb!r} in the model "
            "file"
        )
    method, options = _sum_of(config, method)
    if method not in allowed:
        raise ConfigError(
            f"coulomb={method!r}: this model was trained with {config.coulomb!r}, which allows {', '.join(allowed)}"
        )
    return allowed[method].build(config, **options)


def repulsion_term(config: ModelConfig) -> EnergyTerm | None:
    """Repulsion of nuclei that a model was trained with, or None.

    Returns
    -------
    the term; None for a model that was trained without

    Raises
    ------
    CheckpointMismatchError
        When the model names one that is not in the table.
    """
    if config.repulsion is None:
        return None
    if config.repulsion not in REPULSIONS:
        raise CheckpointMismatchError(f"unknown repulsion {config.repulsion!r} in the model file")
    return REPULSIONS[config.repulsion]()


def dispersion_term(
    fidelity: Fidelity, choice: DispersionChoice = "auto", *, smooth: bool = False, legacy: bool = False
) -> EnergyTerm | None:
    """Dispersion term of a fidelity, or None.

    Parameters
    ----------
    choice : "auto" as the model declares, None for none, "d3bj:FUNCTIONAL", "d4:FUNCTIONAL", or parameters.
    smooth, legacy : as in :func:`dispersion_from`.

    Returns
    -------
    the term; None where nothing is added

    Raises
    ------
    ConfigError
        When labels already contain dispersion and a term is asked for, or the functional is unknown.
        Or the choice is nothing of the above.
    """
    added = _added_dispersion(fidelity, choice)
    return None if added is None else dispersion_from(added, smooth=smooth, legacy=legacy)


def dispersion_from(wish: str | Parameters, *, smooth: bool = False, legacy: bool = False) -> EnergyTerm:
    """The energy term of a text or of parameters.

    Parameters
    ----------
    smooth : let energies fall to zero over the last 2 Å of their range, as crystals need: where they are cut off, the
        stress misses what crosses the cutoff under strain (4e-6 eV/Å³ in urea).
    legacy : D3 in the form inside the published AIMNet2 files; see :class:`molcalc.dispersion.d3.D3Dispersion`.

    Returns
    -------
    term of D3 or of D4

    Raises
    ------
    ConfigError : as :func:`molcalc.dispersion.parameters.parse_dispersion`, or ``legacy`` with D4.
    """
    parameters = parse_dispersion(wish) if isinstance(wish, str) else wish
    width = SWITCH_WIDTH if smooth and not legacy else 0.0
    if isinstance(parameters, D3Parameters):
        return D3Dispersion(parameters, switch_width=width, legacy=legacy)
    if legacy:
        raise ConfigError(f"dispersion={wish!r}: legacy=True reproduces models with D3; leave it out with D4")
    return D4Dispersion(parameters, switch_width=width)


def dispersion_words(fidelity: Fidelity, choice: DispersionChoice = "auto") -> str:
    """The dispersion of a fidelity in words: "d3bj:pbe0", "none", or "in labels"; errors as :func:`dispersion_term`."""
    added = _added_dispersion(fidelity, choice)
    if added is None:
        return "in labels" if choice is not None and fidelity.dispersion_in_labels else "none"
    if isinstance(added, str):
        return added
    return f"{'d4' if isinstance(added, D4Parameters) else 'd3bj'}:{added}"


def _added_dispersion(fidelity: Fidelity, choice: DispersionChoice) -> DispersionChoice:
    """Text or parameters of what is added at a fidelity, or None; never "auto"."""
    if choice is None:
        return None
    if isinstance(choice, str) and choice == "auto":
        return None if fidelity.dispersion_in_labels else fidelity.dispersion
    if not isinstance(choice, (str, D3Parameters, D4Parameters)):
        raise ConfigError(
            f"dispersion={short(choice)} is a {type(choice).__name__}; give 'auto', None, 'd3bj:FUNCTIONAL', "
            "'d4:FUNCTIONAL', D3Parameters or D4Parameters"
        )
    if fidelity.dispersion_in_labels:
        raise ConfigError(
            f"dispersion={choice!r}: the labels of fidelity {fidelity.name!r} already contain dispersion; adding "
            "it would count it twice: use dispersion='auto'"
        )
    return choice
