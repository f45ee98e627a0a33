"""What a chemist asks of a calculator beyond energies and forces: potentials and their surfaces, pictures.

Everything takes Atoms and a calculator of molcalc. Names are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from molcalc.analysis.cube import write_cube
    from molcalc.analysis.dynamics_plot import draw_dynamics
    from molcalc.analysis.equivariance import equivariance_errors
    from molcalc.analysis.equivariance_pictures import draw_equivariance
    from molcalc.analysis.html_view import write_html
    from molcalc.analysis.model_comparison import compare_models
    from molcalc.analysis.pictures import (
        draw_charges,
        draw_distributed_charges,
        draw_esp_surface,
        draw_molecule,
        draw_spectrum,
    )
    from molcalc.analysis.planar import planar_potential
    from molcalc.analysis.povray import render_pov, write_pov
    from molcalc.analysis.spectra import infrared_spectrum, md_infrared_spectrum
    from molcalc.analysis.surface import esp_surface
    from molcalc.analysis.vpt2 import anharmonic_vibrations

_HOMES = {
    "anharmonic_vibrations": "vpt2",
    "compare_models": "model_comparison",
    "draw_charges": "pictures",
    "draw_distributed_charges": "pictures",
    "draw_equivariance": "equivariance_pictures",
    "draw_dynamics": "dynamics_plot",
    "draw_esp_surface": "pictures",
    "draw_molecule": "pictures",
    "draw_spectrum": "pictures",
    "equivariance_errors": "equivariance",
    "esp_surface": "surface",
    "infrared_spectrum": "spectra",
    "md_infrared_spectrum": "spectra",
    "planar_potential": "planar",
    "render_pov": "povray",
    "write_cube": "cube",
    "write_html": "html_view",
    "write_pov": "povray",
}
__all__ = [
    "anharmonic_vibrations", "compare_models", "draw_charges", "draw_distributed_charges", "draw_dynamics",
    "draw_equivariance", "draw_esp_surface", "draw_molecule", "draw_spectrum", "equivariance_errors", "esp_surface",
    "infrared_spectrum", "md_infrared_spectrum", "planar_potential", "render_pov", "write_cube", "write_html",
    "write_pov",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"molcalc.analysis.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
