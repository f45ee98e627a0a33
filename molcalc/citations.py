"""What to cite: this package, the methods and the published weights, as BibTeX."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from molcalc._version import __version__


@dataclass(frozen=True)
class Reference:
    """A paper.

    Attributes
    ----------
    authors : separated by " and ".
    journal, volume, pages, doi : where it is; of conferences, ``journal`` is the proceedings.
    what : of this package it is the source of.
    """

    authors: str
    title: str
    journal: str
    volume: str
    pages: str
    year: int
    doi: str
    what: str

    def bibtex(self, key: str) -> str:
        """Entry of a bibliography.

        Returns
        -------
        text with the source of what before it, as a comment
        """
        entries = {name: getattr(self, name) for name in ("title", "journal", "volume", "pages", "year", "doi")}
        lines = [
            f"  author = {{{self.authors}}},",
            *(f"  {name} = {{{value}}}," for name, value in entries.items() if value),
        ]
        return "\n".join([f"% {self.what}", f"@article{{{key},", *lines, "}"])


REFERENCES = {
    "aimnet2": Reference(
        "Anstine, Dylan M. and Zubatyuk, Roman and Isayev, Olexandr",
        "{AIMNet2}: a neural network potential to meet your neutral, charged, organic, and elemental-organic needs",
        "Chem. Sci.", "16", "10228", 2025, "10.1039/D4SC08572H", "AIMNet2 and its published weights",
    ),
    "physnet": Reference(
        "Unke, Oliver T. and Meuwly, Markus",
        "{PhysNet}: A Neural Network for Predicting Energies, Forces, Dipole Moments, and Partial Charges",
        "J. Chem. Theory Comput.", "15", "3678", 2019, "10.1021/acs.jctc.9b00181", "the trunk of PhysNet-DCM",
    ),
    "dcm": Reference(
        "Unke, Oliver T. and Devereux, Mike and Meuwly, Markus",
        "Minimal distributed charges: Multipolar quality at the cost of point charge electrostatics",
        "J. Chem. Phys.", "147", "161712", 2017, "10.1063/1.4993424", "distributed charges",
    ),
    "d3": Reference(
        "Grimme, Stefan and Antony, Jens and Ehrlich, Stephan and Krieg, Helge",
        "A consistent and accurate ab initio parametrization of density functional dispersion correction ({DFT-D}) "
        "for the 94 elements {H-Pu}",
        "J. Chem. Phys.", "132", "154104", 2010, "10.1063/1.3382344", "D3 dispersion",
    ),
    "d3bj": Reference(
        "Grimme, Stefan and Ehrlich, Stephan and Goerigk, Lars",
        "Effect of the damping function in dispersion corrected density functional theory",
        "J. Comput. Chem.", "32", "1456", 2011, "10.1002/jcc.21759", "D3 with rational damping",
    ),
    "d4": Reference(
        "Caldeweyher, Eike and Ehlert, Sebastian and Hansen, Andreas and Neugebauer, Hagen and Spicher, Sebastian and "
        "Bannwarth, Christoph and Grimme, Stefan",
        "A generally applicable atomic-charge dependent {London} dispersion correction",
        "J. Chem. Phys.", "150", "154122", 2019, "10.1063/1.5090222", "D4 dispersion",
    ),
    "ase": Reference(
        "Larsen, Ask Hjorth and others",
        "The atomic simulation environment---a {Python} library for working with atoms",
        "J. Phys.: Condens. Matter", "29", "273002", 2017, "10.1088/1361-648X/aa680e", "structures, optimizers",
    ),
    "visnet": Reference(
        "Wang, Yusong and Wang, Tong and Li, Shaoning and He, Xinheng and Li, Mingyu and Wang, Zun and Zheng, Nanning "
        "and Shao, Bin and Liu, Tie-Yan",
        "Enhancing geometric representations for molecules with equivariant vector-scalar interactive message passing",
        "Nat. Commun.", "15", "313", 2024, "10.1038/s41467-023-43720-2", "encoder of the generator of conformers",
    ),
    "egnn": Reference(
        "Satorras, V{\\'i}ctor Garcia and Hoogeboom, Emiel and Welling, Max",
        "{E(n)} Equivariant Graph Neural Networks",
        "Proc. 38th Int. Conf. Machine Learning", "139", "9323--9332", 2021, "10.48550/arXiv.2102.09844",
        "decoder of the generator of conformers",
    ),
}  # fmt: skip
"""Papers by key."""
OF_KINDS = {
    "aimnet2": ("aimnet2",),
    "aimnet2-dcm": ("aimnet2", "dcm"),
    "aimnet2-noneq-dcm": ("aimnet2", "dcm"),
    "physnet-dcm": ("physnet", "dcm"),
    "noneq-dcm": ("physnet", "dcm"),
    "conformer-vae": ("visnet", "egnn"),
}
"""Papers of each kind of model."""
OF_DISPERSION = {"d3bj": ("d3", "d3bj"), "d4": ("d4",)}
"""Papers of each kind of dispersion."""


def bibliography(keys: Iterable[str] | None = None) -> str:
    """This package and papers as BibTeX.

    Parameters
    ----------
    keys : of :data:`REFERENCES`; None takes all.

    Returns
    -------
    text of a .bib file
    """
    chosen = REFERENCES if keys is None else dict.fromkeys(keys)
    package = f"% this package\n@software{{molcalc,\n  title = {{molcalc}},\n  version = {{{__version__}}},\n}}"
    return "\n\n".join([package, *(REFERENCES[key].bibtex(key) for key in chosen)]) + "\n"
