"""What a chemist asks of a calculator beyond energies and forces: potentials and their surfaces, pictures.

Everything takes Atoms and a calculator of molcalc. Names are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from molcalc.first_use import on_first_use

if TYPE_CHECKING:
    from molcalc.analysis.cube import write_cube as write_cube
    from molcalc.analysis.dynamics_plot import draw_dynamics as draw_dynamics
    from molcalc.analysis.equivariance import equivariance_errors as equivariance_errors
    from molcalc.analysis.equivariance_pictures import draw_equivariance as draw_equivariance
    from molcalc.analysis.html_view import write_html as write_html
    from molcalc.analysis.model_comparison import compare_models as compare_models
    from molcalc.analysis.pictures import draw_charges as draw_charges
    from molcalc.analysis.pictures import draw_distributed_charges as draw_distributed_charges
    from molcalc.analysis.pictures import draw_esp_surface as draw_esp_surface
    from molcalc.analysis.pictures import draw_mode as draw_mode
    from molcalc.analysis.pictures import draw_molecule as draw_molecule
    from molcalc.analysis.pictures import draw_spectrum as draw_spectrum
    from molcalc.analysis.planar import planar_potential as planar_potential
    from molcalc.analysis.povray import render_pov as render_pov
    from molcalc.analysis.povray import write_pov as write_pov
    from molcalc.analysis.spectra import infrared_spectrum as infrared_spectrum
    from molcalc.analysis.spectra import md_infrared_spectrum as md_infrared_spectrum
    from molcalc.analysis.surface import esp_surface as esp_surface
    from molcalc.analysis.vpt2 import anharmonic_vibrations as anharmonic_vibrations

_HOMES = {
    "anharmonic_vibrations": "molcalc.analysis.vpt2",
    "compare_models": "molcalc.analysis.model_comparison",
    "draw_charges": "molcalc.analysis.pictures",
    "draw_distributed_charges": "molcalc.analysis.pictures",
    "draw_equivariance": "molcalc.analysis.equivariance_pictures",
    "draw_dynamics": "molcalc.analysis.dynamics_plot",
    "draw_esp_surface": "molcalc.analysis.pictures",
    "draw_mode": "molcalc.analysis.pictures",
    "draw_molecule": "molcalc.analysis.pictures",
    "draw_spectrum": "molcalc.analysis.pictures",
    "equivariance_errors": "molcalc.analysis.equivariance",
    "esp_surface": "molcalc.analysis.surface",
    "infrared_spectrum": "molcalc.analysis.spectra",
    "md_infrared_spectrum": "molcalc.analysis.spectra",
    "planar_potential": "molcalc.analysis.planar",
    "render_pov": "molcalc.analysis.povray",
    "write_cube": "molcalc.analysis.cube",
    "write_html": "molcalc.analysis.html_view",
    "write_pov": "molcalc.analysis.povray",
}
__all__ = [*_HOMES]
__getattr__, __dir__ = on_first_use(__name__, _HOMES)
