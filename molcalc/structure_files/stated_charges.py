"""Charge and multiplicity that the text of a file states and that ASE's readers leave there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from molcalc.io.files import open_text

_READ = 1 << 20
"""Characters of a file that are searched."""
_SCF_WORDS = {"singlet": 1, "doublet": 2, "triplet": 3, "quartet": 4, "quintet": 5, "sextet": 6, "septet": 7}


def _by(charge: str, multiplicity: str) -> Callable[[str], dict[str, int]]:
    """Reader that takes the first number that each of two patterns finds."""
    patterns = {
        "charge": re.compile(charge, re.IGNORECASE | re.MULTILINE | re.ASCII),
        "multiplicity": re.compile(multiplicity, re.IGNORECASE | re.MULTILINE | re.ASCII),
    }

    def read(text: str) -> dict[str, int]:
        found = {name: pattern.search(text) for name, pattern in patterns.items()}
        return {name: int(match[1]) for name, match in found.items() if match is not None}

    return read


def _nwchem_input(text: str) -> dict[str, int]:
    """``charge``, and ``mult`` of DFT or a word or ``nopen`` of SCF."""
    stated = _by(r"^\s*charge\s+([+-]?\d+)\s*$", r"^\s*mult\s+(\d+)")(text)
    for word, multiplicity in _SCF_WORDS.items():
        if re.search(rf"^\s*{word}\s*$", text, re.IGNORECASE | re.MULTILINE):
            stated.setdefault("multiplicity", multiplicity)
    if nopen := re.search(r"^\s*nopen\s+(\d+)", text, re.IGNORECASE | re.MULTILINE):
        stated.setdefault("multiplicity", int(nopen[1]) + 1)
    return stated


def _pdb(text: str) -> dict[str, int]:
    """Formal charges in columns 79 and 80 of the atoms of the first model, and remarks such as "TOTAL CHARGE -1"."""
    remark = re.search(r"^(?:REMARK|TITLE|HEADER|COMPND).*?\bcharge\b\s*(?:of|is|[:=])?\s*([+-]?\d+)\s*$", text,
                       re.IGNORECASE | re.MULTILINE)  # fmt: skip
    model = text.split("ENDMDL")[0]
    formal = re.findall(r"^(?:ATOM  |HETATM).{72}(\d[+-]|[+-]\d)", model, re.MULTILINE)
    if formal:
        return {"charge": sum(int(re.sub(r"(\d)([+-])", r"\2\1", each)) for each in formal)}
    return {} if remark is None else {"charge": int(remark[1])}


_MORE = r"(?:[ \t,]+[+-]?\d+)*\s*$"
"""Charges and multiplicities of fragments behind those of all."""
_READERS: Mapping[str, Callable[[str], dict[str, int]]] = {
    "gaussian-in": _by(rf"^\s*([+-]?\d+)[ \t,]+\d+{_MORE}", rf"^\s*[+-]?\d+[ \t,]+(\d+){_MORE}"),
    "gaussian-out": _by(r"Charge\s*=\s*([+-]?\d+)\s+Multiplicity", r"Multiplicity\s*=\s*(\d+)"),
    "nwchem-in": _nwchem_input,
    "nwchem-out": _by(r"^\s*Charge\s*:\s*([+-]?\d+)", r"^\s*(?:Spin )?multiplicity\s*:\s*(\d+)"),
    "orca-output": _by(r"Total Charge\s+Charge\s+\.+\s+([+-]?\d+)", r"Multiplicity\s+Mult\s+\.+\s+(\d+)"),
    "cp2k-restart": _by(r"^\s*CHARGE\s+([+-]?\d+)", r"^\s*MULTIPLICITY\s+(\d+)"),
    "proteindatabank": _pdb,
}
"""What is searched for, by ASE's name of the format."""
_TEXT = {*_READERS, "turbomole", "aims", "aims-output", "castep-cell", "cjson", "dmol-car", "dmol-incoor", "gen",
         "gamess-us-out", "gamess-us-punch", "cif", "dftb", "acemolecule-input", "acemolecule-out", "xsd"}  # fmt: skip
"""Formats whose text is looked through for a charge that nothing here reads."""
_MENTION = re.compile(r"^.*\bcharge\b\s*(?:of|is|[:=])?\s*([+-]?[1-9]\d*)(?![\d.]).*$", re.IGNORECASE | re.MULTILINE)


def stated_in(path: Path, form: str) -> dict[str, int]:
    """Charge and multiplicity of a file, as keys of ``atoms.info``.

    Parameters
    ----------
    form : ASE's name of the format.

    Returns
    -------
    values by key; only what the file states
    """
    return _READERS[form](_text(path)) if form in _READERS else {}


def unread_mention(path: Path, form: str) -> str | None:
    """A line of a file that speaks of a charge other than zero, in a format from which no charge is read.

    Returns
    -------
    line number and text, or None
    """
    if form not in _TEXT or form in _READERS:
        return None
    text = _text(path)
    found = _MENTION.search(text)
    return None if found is None else f"line {text.count(chr(10), 0, found.start()) + 1}: {found[0].strip()!r}"


def _text(path: Path) -> str:
    with open_text(path) as stream:
        return stream.read(_READ)
