"""Plant one error at a time in a copy of the package and see whether the tests notice.

    python tests/planted_errors.py [NAME ...]          (or: make planted-errors)

Prints a table; exits 1 if an error goes unnoticed. Begins only if every error has exactly one place in the code and its
tests exist.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Planted(NamedTuple):
    """What is changed where, and the tests that must fail."""

    file: str
    right: str
    wrong: str
    tests: str


ERRORS = {
    "distances of a generator's loss over the flattened batch": Planted(
        "conformers/vae/losses.py", "* weights).sum(1) / weights.sum()", "* weights).mean() / weights.mean()",
        "tests/conformers/vae/test_losses.py",
    ),
    "a mirror image is a rotation": Planted(
        "conformers/vae/losses.py", "flip[:, 2] = torch.linalg.det(u @ vh)", "flip[:, 2] = 1.0",
        "tests/conformers/vae/test_losses.py",
    ),
    "the hand of centers does not count": Planted(
        "conformers/vae/losses.py", "torsion_cost(made, true, topology) + center_cost(made, true, topology)",
        "torsion_cost(made, true, topology)", "tests/conformers/vae/test_losses.py",
    ),
    "vectors rejected over all degrees together": Planted(
        "nn/visnet.py", "(slice(0, 3), slice(3, 8))[:", "(slice(0, 8), slice(0, 0))[:", "tests/nn/test_visnet.py",
    ),
    "log-variances that begin anywhere": Planted(
        "conformers/vae/losses.py", "log_variances.exp() - log_variances - 1.0", "log_variances.exp() - 1.0",
        "tests/conformers/vae/test_losses.py",
    ),
    "directions of motion that are longer with more structures": Planted(
        "conformers/vae/network.py", "(sizes / len(some) ** 0.5)", "sizes", "tests/conformers/vae/test_network.py",
    ),
    "collapsed latents pass in silence": Planted(
        "conformers/vae/latent_advice.py", "(means.var(0) > ACTIVE).any()", "(means.var(0) > -1.0).any()",
        "tests/conformers/vae/test_latent_advice.py",
    ),
    "a report takes the place of the structures": Planted(
        "cli/sample.py", "check_distinct([output, Path(args.report)])", "check_distinct([output])",
        "tests/cli/test_sample.py",
    ),
    "a search of maps that goes back too far": Planted(
        "conformers/graphs.py", "max(causes, default=-1)\n", "max(causes, default=-1) - 1\n",
        "tests/conformers/test_graphs.py",
    ),
    "texts on pictures that touch": Planted(
        "analysis/picture_labels.py", "centers += SHARE", "centers += 0.0", "tests/analysis/test_picture_labels.py",
    ),
    "modes that are drawn inwards": Planted(
        "calculators/normal_modes.py", "np.where(outwards < 0, -amplitude, amplitude)",
        "np.where(outwards > 0, -amplitude, amplitude)", "tests/analysis/test_pictures.py",
    ),
    "translations along a long cell that lead nowhere": Planted(
        "dispersion/lattice.py", "np.ceil(cutoff * inverse_heights) + 1", "np.ceil(reach * inverse_heights) + 1",
        "tests/dispersion/test_lattice.py",
    ),
    "notes that are told twice": Planted("cli/terminal.py", "return new", "return True", "tests/cli/test_terminal.py"),
    "second derivatives that do not move their bar": Planted(
        "second_derivatives.py", "bar.update(len(rows))", "bar.update(0)", "tests/test_second_derivatives.py",
    ),
    "what a killed run left of a folder stays in the way": Planted(
        "io/files.py", 'found["target"] == path.name:', 'found["target"] == "":', "tests/cli/test_examples.py",
    ),
    "a model that is listed is not completed": Planted(
        "cli/completion.py", "(*PUBLISHED, *BUNDLED)", "(*BUNDLED,)", "tests/cli/test_completion.py",
    ),
    "widgets where ipywidgets is missing": Planted(
        "progress.py", 'bar = tqdm if find_spec("ipywidgets") is None else notebook.tqdm', "bar = notebook.tqdm",
        "tests/test_progress.py",
    ),
    "starts that are near to each other come first": Planted(
        "conformers/metrics/start_sources.py", "int(nearest.argmax())", "int(nearest.argmin())",
        "tests/conformers/metrics/test_minima_search.py",
    ),
    "labels of rotors in an order that needs a mirror": Planted(
        "conformers/vae/rotor_labels.py", "np.roll(np.arange(3), -shift)", "np.roll(np.arange(3)[::-1], -shift)",
        "tests/conformers/vae/test_rotor_labels.py",
    ),
    "frames of other bonds are learned": Planted(
        "conformers/vae/reference.py", "(ratios > BROKEN) & bonded", "(ratios > 99.0) & bonded",
        "tests/conformers/vae/test_reference.py",
    ),
    "frames of the other hand are learned": Planted(
        "conformers/vae/reference.py", "turn(self.positions, atom, ligands) < 0",
        "turn(self.positions, atom, ligands) < -2",
        "tests/conformers/vae/test_reference.py",
    ),
    "a mixture with covariances of the wrong root": Planted(
        "conformers/vae/prior.py", '"kij,kj->ki", roots[chosen]', '"kji,kj->ki", roots[chosen]',
        "tests/conformers/vae/test_prior.py",
    ),
    "components of a mixture that are drawn by chance": Planted(
        "conformers/vae/prior.py", "(np.arange(n) + rng.random(n)) / n", "np.sort(rng.random(n))",
        "tests/conformers/vae/test_prior.py",
    ),
    "noise of a batch that is always the same": Planted(
        "conformers/vae/training.py", "[self._seed, epoch, place, self._processes.rank]", "[self._seed]",
        "tests/conformers/vae/test_training.py",
    ),
    "torsions of the wrong sign": Planted(
        "conformers/torsions.py", "np.linalg.norm(axis, axis=2) * (one", "-np.linalg.norm(axis, axis=2) * (one",
        "tests/conformers/metrics/test_internal_coordinates.py",
    ),
    "margins of a cube that is not written": Planted(
        "cli/esp.py", "if given is not None and not written:", "if False:", "tests/cli/test_esp.py",
    ),
    "frames told of where a key divides them": Planted(
        "train/data/parts.py", "and config.split_key is None and config.split_by is None", "",
        "tests/train/data/test_trajectories.py",
    ),
    "text for the periodicity of a row": Planted(
        "train/data/formats/rows.py", 'columns["pbc"])) <= {int,', 'columns["pbc"])) <= {int, str,',
        "tests/train/data/test_formats.py",
    ),
    "places of charges turn and do not move": Planted(
        "analysis/motions.py", "if record.quantity is LENGTH:", "if record.quantity is None:",
        "tests/analysis/test_motions.py",
    ),
    "reflections ask nothing of a model": Planted(
        "analysis/equivariance.py", 'turns or motion not in ("rotation", "reflection")',
        'turns or motion in ("rotation", "reflection")', "tests/analysis/test_equivariance.py",
    ),
    "structures of validation are compared on": Planted(
        "analysis/model_comparison.py", "kept.parts != held_out", "kept.parts == 0",
        "tests/analysis/test_model_comparison.py",
    ),
    "every kind has its own recommended loss": Planted(
        "analysis/equal_training.py", "weights[name] = weight", "weights.setdefault(name, weight)",
        "tests/analysis/test_equal_training.py",
    ),
    "errors of molecules averaged without their numbers of points": Planted(
        "analysis/esp_errors.py", "float(np.average(values, weights=counts))", "float(np.average(values))",
        "tests/analysis/test_esp_errors.py",
    ),
    "a head that makes charge": Planted(
        "models/pair_head.py", ".index_add(0, j, -flow)", "", "tests/models/test_pair_head.py",
    ),
    "a pair of charges that is not paid for": Planted(
        "models/pair_head.py", 'found["dcm_charges"] - pair.sum(dim=1, keepdim=True) / c.n_directed',
        'found["dcm_charges"]', "tests/models/test_pair_head.py",
    ),
    "elements that a head did not learn": Planted(
        "models/pair_head.py", "if c.head_elements:", "if False:", "tests/models/test_pair_head.py",
    ),
    "quadrupoles in the potential by a third": Planted(
        "kernels/point_potential.py", "of_quadrupole = 1.5 * of_dipole * square", "of_quadrupole = of_dipole * square",
        "tests/electrostatics/test_point_potential.py",
    ),
    "axes with first derivatives only": Planted(
        "nn/principal_axis.py", "for _ in range(2):", "for _ in range(1):", "tests/nn/test_principal_axis.py",
    ),
    "dipoles of atoms left out of the quadrupole": Planted(
        "electrostatics/sites.py", "product = arms[:, :, None] * self.dipoles[:, None]",
        "product = 0.0 * arms[:, :, None] * self.dipoles[:, None]", "tests/electrostatics/test_sites.py",
    ),
    "a head refits what free atoms have": Planted(
        "train/start/transfer.py", "        if new_head or fidelity.name", "        if fidelity.name",
        "tests/train/start/test_transfer.py",
    ),
    "surface points inside of neighbors": Planted(
        "analysis/surface.py", "squares >= radii[part] ** 2", "squares >= 0.0 * radii[part] ** 2",
        "tests/analysis/test_surface.py",
    ),
    "minima of the potential are maxima": Planted(
        "analysis/surface.py", "values = sign * self.potential", "values = self.potential",
        "tests/analysis/test_surface.py",
    ),
    "cube file in volts": Planted(
        "analysis/cube.py", "potential.at(plane) / HARTREE", "potential.at(plane)", "tests/analysis/test_cube.py",
    ),
    "grid point on a charge": Planted(
        "analysis/cube.py", "origin = low - shift * spacing", "origin = low", "tests/analysis/test_cube.py",
    ),
    "planar average of a crystal as of a slab": Planted(
        "analysis/planar.py", "-np.abs(u) + u**2 / period", "-np.abs(u)", "tests/analysis/test_planar.py",
    ),
    "nearest atom by length alone": Planted(
        "analysis/esp_errors.py", "nearer = own / VDW_RADII[z] < best", "nearer = own < best",
        "tests/analysis/test_esp_errors.py",
    ),
    "points in Bohr taken for Å": Planted(
        "analysis/point_files.py", " * LENGTHS[unit]", "", "tests/analysis/test_point_files.py",
    ),
    "what is behind is drawn in front": Planted(
        "analysis/rendering.py", "hit = (nearest >= 0) & (depth > self.depth)", "hit = nearest >= 0",
        "tests/analysis/test_rendering.py",
    ),
    "texts of others are read as HTML": Planted(
        "analysis/html_view.py", '.replace("<", "\\\\u003c")', "", "tests/analysis/test_html_view.py",
    ),
    "ions are colored about zero": Planted(
        "analysis/color_scale.py", "if potential.total_charge else 0.0", "if False else 0.0",
        "tests/analysis/test_color_scale.py",
    ),
    "triangles of the surface seen from inside": Planted(
        "analysis/surface_mesh.py", "(one, [((a, b), (a, c), (a, d))])", "(one, [((a, b), (a, d), (a, c))])",
        "tests/analysis/test_surface_mesh.py",
    ),
    "one texture for all corners of a scene": Planted(
        "analysis/povray.py", "', '.join(map(str, which[face]))", "', '.join(map(str, which[face] * 0))",
        "tests/analysis/test_povray.py",
    ),
    "temperature of twice the energy": Planted(
        "analysis/dynamics_plot.py", "kelvins = 2.0 * kinetic", "kelvins = 4.0 * kinetic",
        "tests/analysis/test_dynamics_plot.py",
    ),
    "spectrum of dynamics by one power of the frequency": Planted(
        "analysis/spectra.py", "omega**2 * power", "omega * power", "tests/analysis/test_spectra.py",
    ),
    "vibrations without Coriolis coupling": Planted(
        "analysis/contact_transformation.py", "total += constant * (momentum", "total += 0.0 * (momentum",
        "tests/analysis/test_vpt2.py",
    ),
    "combinations in resonance by the limit of overtones": Planted(
        "analysis/contact_transformation.py", "256.0 if j == k else 64.0", "256.0",
        "tests/analysis/test_contact_transformation.py",
    ),
    "transition dipoles without the transformation": Planted(
        "analysis/contact_transformation.py", "linear[0] + square + linear[0] @ change -", "linear[0] + square -",
        "tests/analysis/test_vpt2.py",
    ),
    "quartic constants of one side": Planted(
        "analysis/quartic_field.py", "sum(axis=1) - 2.0 * self._center[0]", "sum(axis=1) - self._center[0]",
        "tests/analysis/test_quartic_field.py",
    ),
    "gaps between frames of a spectrum": Planted(
        "analysis/spectra.py", "    if len(odd):", "    if len(odd) > 9:", "tests/analysis/test_spectra.py",
    ),
    "models compared where they stand": Planted(
        "analysis/models_beside.py", "    minimize_rotation_and_translation(reference.atoms, moved)\n", "",
        "tests/analysis/test_models_beside.py",
    ),
    "rotations count as vibrations": Planted(
        "calculators/normal_modes.py", "if rigid_motions > 3:", "if rigid_motions > 6:",
        "tests/calculators/test_normal_modes.py",
    ),
    "isotopes keep the symmetry": Planted(
        "calculators/thermochemistry.py", "atoms.numbers + 1000.0 * atoms.get_masses()", "atoms.numbers",
        "tests/calculators/test_thermochemistry.py",
    ),
    "entropy without spin": Planted(
        "calculators/thermochemistry.py", "spin=(multiplicity - 1) / 2", "spin=0",
        "tests/calculators/test_thermochemistry.py",
    ),
    "charge of a molfile on an atom that is not there": Planted(
        "structure_files/molfiles.py", "if strange or len(set(numbers)) < len(numbers):",
        "if len(set(numbers)) < len(numbers):", "tests/structure_files/test_molfiles.py",
    ),
    "existing file replaced unasked": Planted(
        "io/targets.py", "os.path.lexists(path) and not force:", "os.path.lexists(path) and force is None:",
        "tests/io/test_targets.py",
    ),
    "broken link overwritten": Planted(
        "io/targets.py", "if os.path.lexists(path) and not force", "if path.exists() and not force",
        "tests/io/test_targets.py",
    ),
    "half a file under its name": Planted(
        "io/files.py", "yield new.temporary\n", "yield path\n", "tests/io/test_files.py",
    ),
    "two runs work for one new file": Planted(
        "io/targets.py", "    check_file(path, force=force, inputs=files, error=error)\n    with only_writer(path):\n",
        "    if True:\n", "tests/io/test_targets.py",
    ),
    "ions that share their charge are passed over": Planted(
        "prediction/extrapolation.py", "if n_fragments == 1 or not (state.charge or odd.any()):",
        "if n_fragments == 1 or not state.charge:", "tests/prediction/test_extrapolation.py",
    ),
    "a torn frame counts as whole": Planted(
        "simulate/torn_frames.py", "return frames, k + 1", "return frames, len(numbers)",
        "tests/simulate/test_torn_frames.py",
    ),
    "edited momenta are believed": Planted(
        "simulate/frame_checksums.py", "atoms.cell.array, atoms.get_momenta()]", "atoms.cell.array]",
        "tests/simulate/test_frame_checksums.py",
    ),
    "lock of another machine taken over": Planted(
        "io/locks.py", "if self.host != platform.node():\n            return False",
        "if self.host != platform.node():\n            return True", "tests/io/test_locks.py",
    ),
    "lock that everybody gets": Planted(
        "io/locks.py", "held = locked(file.fileno())", "held = True", "tests/io/test_locks.py",
    ),
    "a trajectory under two names has two writers": Planted(
        "io/growing.py", "if locked(self._file.fileno()) is False:", "if False:", "tests/io/test_growing.py",
    ),
    "files that belong together come one by one": Planted(
        "io/files.py", "            if waiting is None:\n", "            if True:\n", "tests/io/test_files.py",
    ),
    "what lies beside a linked database is not seen": Planted(
        "io/sqlite.py", "real = Path(os.path.realpath(path))  # SQLite", "real = path  # SQLite",
        "tests/io/test_sqlite.py",
    ),
    "truth values of lists are numbers": Planted(
        "io/exact_numbers.py", "if isinstance(values, bool):", "if False:", "tests/io/test_exact_numbers.py",
    ),
    "lock of a link beside that of its file": Planted(
        "io/locks.py", "Path(os.path.realpath(target))", "Path(os.path.abspath(target))", "tests/io/test_locks.py",
    ),
    "temporary file of a living writer removed": Planted(
        "io/files.py", "held.enter_context(only_writer(path.with_name(owner)))", "held.close()",
        "tests/io/test_files.py",
    ),
    "old pages rolled into a new database": Planted(
        "io/files.py", "        clear_away(self.path, self.temporary)\n", "", "tests/io/test_sqlite.py",
    ),
    "database of a killed writer read as it is": Planted(
        "io/sqlite.py", "    if may_write:\n        _open_once(real, path)", "    if may_write:\n        pass",
        "tests/io/test_sqlite.py",
    ),
    "checksums of archives not compared": Planted(
        "io/archives.py", "damaged = archive.testzip()", "damaged = None", "tests/io/test_archives.py",
    ),
    "archives without a budget": Planted(
        "io/archives.py", "if claimed > budget_of(len(data)):", "if claimed < 0:", "tests/io/test_archives.py",
    ),
    "any seal holds": Planted(
        "io/seals.py", "if values.get(name) != sha256(canonical_json(found)):", "if name not in values:",
        "tests/io/test_seals.py",
    ),
    "factor of the budget not asked for": Planted(
        "io/budget.py", "int(size * _expansion())", "int(size * EXPANSION)", "tests/io/test_budget.py",
    ),
    "readers of others without a limit": Planted(
        "io/budget.py", "(mapped + more, before[1])", "before", "tests/io/test_budget.py",
    ),
    "compressed bytes not added up": Planted(
        "io/compressed.py", "self._total += count", "self._total = count", "tests/io/test_compressed.py",
    ),
    "torn piece left in a file that grows": Planted(
        "io/growing.py", "self._file.truncate(self._whole)", "pass", "tests/io/test_growing.py",
    ),
    "old file gone before the first frame": Planted(
        "io/growing.py", "self._new = begun.enter_context(contextlib.closing(Replacement(real)))",
        "real.unlink(missing_ok=True)\n                self._new = "
        "begun.enter_context(contextlib.closing(Replacement(real)))",
        "tests/io/test_growing.py",
    ),
    "arrays written behind the back of Python": Planted(
        "io/files.py",
        'raise io.UnsupportedOperation("whoever writes to the number of this file loses errors of the disk")',
        "return self.raw.fileno()", "tests/io/test_files.py",
    ),
    "texts of others command the terminal": Planted(
        "io/escapes.py", "return _COMMANDS.sub(lambda found: ascii(found[0])[1:-1], text)", "return text",
        "tests/io/test_escapes.py",
    ),
    "formulas in cells of sheets": Planted(
        "io/escapes.py", "formula = shown.startswith(_FORMULA)", 'formula = shown.startswith("=")',
        "tests/io/test_escapes.py",
    ),
    "folder of something else taken for a killed run": Planted(
        "train/loop/run_folder.py", "all(checkpoint.is_unfinished(name) for name", "all(True for name",
        "tests/train/loop/test_trainer_resume.py",
    ),
    "noise of a restart begins anew": Planted(
        "simulate/dynamics_run.py", "generator(self._settings, self._step + 1)",
        "generator(self._settings, self._step + 1 - max(self._initial.step, 0))",
        "tests/simulate/test_dynamics.py",
    ),
    "relaxations in a batch swap their results": Planted(
        "simulate/side_by_side.py", "zip(active, found)", "zip(active, found[::-1])",
        "tests/simulate/test_relaxation.py",
    ),
    "lost chunks not done again": Planted(
        "simulate/distribution.py", "for part in chunk.again():", "for part in chunk.again()[:1]:",
        "tests/simulate/test_distribution.py",
    ),
    "equal random numbers for all systems": Planted(
        "simulate/dynamics_run.py", "replace(work.settings, system=item.system)", "work.settings",
        "tests/simulate/test_dynamics.py",
    ),
    "rows of results left in the order of their ends": Planted(
        "simulate/results_database.py", "if ids == sorted(ids):", "if ids:", "tests/simulate/test_results_database.py",
    ),
    "mirror images superimposed": Planted(
        "conformers/superposition.py", "8.0 * _determinant(products)", "8.0 * np.abs(_determinant(products))",
        "tests/conformers/test_superposition.py",
    ),
    "equal atoms keep their places": Planted(
        "conformers/shapes.py", "second.positions[np.array(chunk)]", "second.positions[np.sort(np.array(chunk))]",
        "tests/conformers/test_shapes.py",
    ),
    "torsions beyond half a turn lost": Planted(
        "conformers/metrics/distributions.py", "astype(int) % (len(edges) - 1)", "astype(int) % len(edges)",
        "tests/conformers/metrics/test_distributions.py",
    ),
    "calls that made the starts forgotten": Planted(
        "conformers/metrics/start_sources.py", "n * (self._steps + 1)", "0",
        "tests/conformers/metrics/test_minima_search.py",
    ),
    "pyramids turned inside out": Planted(
        "conformers/stereo.py", "return self.sign * _parity(order) == other.sign", "return True",
        "tests/conformers/test_stereo.py",
    ),
    "double bonds turned": Planted(
        "conformers/stereo.py", "return self.sign * (-1) ** changed == other.sign", "return True",
        "tests/conformers/test_stereo.py",
    ),
    "conformers of one energy are one": Planted(
        "conformers/minima.py", "return math.isfinite(symmetric_rmsd", "return not math.isnan(symmetric_rmsd",
        "tests/conformers/test_ranking.py",
    ),
    "a moved proton passes": Planted(
        "conformers/molecules.py", "bonded & (ratios > BROKEN) & upper", "bonded & (ratios > 9 * BROKEN) & upper",
        "tests/conformers/test_molecules.py",
    ),
    "weights without degeneracy": Planted(
        "conformers/ranked.py", "np.asarray(degeneracies) * np.exp(", "np.exp(", "tests/conformers/test_ranked.py",
    ),
    "relaxed structures of an interrupted ranking forgotten": Planted(
        "conformers/kept.py", "if key in kept}", "if not kept}", "tests/conformers/test_ranking.py",
    ),
    "quasi-Newton steps without what steps have shown": Planted(
        "simulate/quasi_newton.py", "np.outer(change, change) / curvature - np.outer(product, product) / expected",
        "0.0 * np.outer(change, change)", "tests/simulate/test_quasi_newton.py",
    ),
    "model of a bend of three equal signs": Planted(
        "simulate/model_hessian.py", "np.stack([first, -first - last, last])", "np.stack([first, first + last, last])",
        "tests/simulate/test_model_hessian.py",
    ),
    "optimizer forgets what it learned": Planted(
        "simulate/relaxation_run.py", "self._recorded[0] if self._recorded else item.atoms",
        "self._recorded[-1] if self._recorded else item.atoms", "tests/simulate/test_relaxation.py",
    ),
    "structures of the caller moved": Planted(
        "simulate/dynamics_run.py", "item.atoms.copy() if", "item.atoms if", "tests/simulate/test_dynamics.py",
    ),
    "signal in the middle of a frame": Planted(
        "simulate/interrupts.py", "    if not _held:\n        raise", "    if True:\n        raise",
        "tests/simulate/test_interrupts.py",
    ),
    "held-out geometries compared at any fidelity": Planted(
        "train/data/parts.py", "geometry_hashes(train)[there])", "geometry_hashes(train))",
        "tests/train/data/test_parts.py",
    ),
    "orientation of the potential not turned": Planted(
        "train/report/evaluation.py", "rotated(batch, rng), (", "batch, (", "tests/train/report/test_summary.py",
    ),
    "one energy head for all fidelities": Planted(
        "models/aimnet2.py", "added.index_select(0, batch.fidelity)", "added.index_select(0, 0 * batch.fidelity)",
        "tests/models/test_aimnet2.py",
    ),
    "fidelities without heads of their own": Planted(
        "models/fidelity_transfer.py", "value = fresh if begins else", "value = fresh if True else",
        "tests/models/test_fidelity_transfer.py",
    ),
    "known reference energies fitted again": Planted(
        "train/start/initial_model.py", "if k in known:", "if False:", "tests/train/start/test_transfer.py",
    ),
    "other elements kept after transfer": Planted(
        "train/start/transfer.py", "    if going_on is None:\n        return fidelity\n", "",
        "tests/train/start/test_transfer.py",
    ),
    "charge accepted that a charge-blind model never saw": Planted(
        "prediction/extrapolation.py", "if not self._sees_charge:\n            raise", "if False:\n            raise",
        "tests/prediction/test_extrapolation.py",
    ),
    "undetermined energies of free atoms": Planted(
        "knowledge.py", "np.abs(found - wanted).max() <=", "np.abs(found - wanted).max() <= 10.0 +",
        "tests/test_knowledge.py",
    ),
    "fidelities pooled in the validation loss": Planted(
        "train/loop/validation.py", "totals[int(batch.fidelity[0])] +=", "totals[0] +=",
        "tests/train/start/test_transfer.py",
    ),
    "stale energy after a change of fidelity": Planted(
        "calculators/base.py", "self.predictor.fidelity = value\n        self.reset()",
        "self.predictor.fidelity = value",
        "tests/calculators/test_aimnet2_fidelities.py",
    ),
    "dispersion of another fidelity": Planted(
        "assembly/by_fidelity.py", "return self.terms[wanted[0]]", "return self.terms[0]",
        "tests/calculators/test_aimnet2_fidelities.py",
    ),
    "mixed fidelities share one dispersion": Planted(
        "assembly/by_fidelity.py", "part_of(batch, term_of == k)", "part_of(batch, term_of > -9)",
        "tests/assembly/test_by_fidelity.py",
    ),
    "explicit dispersion at every fidelity": Planted(
        "assembly/terms.py", 'dispersion if k == chosen else "auto"', "dispersion",
        "tests/calculators/test_aimnet2_fidelities.py",
    ),
    "provenance of another fidelity": Planted(
        "predictor.py", "**self.completed_by[self._fidelity]", "**self.completed_by[0]",
        "tests/calculators/test_aimnet2_fidelities.py",
    ),
    "elements of another fidelity": Planted(
        "predictor.py", "self.fidelities, [state.fidelity]", "self.fidelities, [0]", "tests/test_predictor.py",
    ),
    "runs joined by place of fidelity": Planted(
        "assembly/opening.py", "if _names(run) != _names(first):", "if not run.members:",
        "tests/assembly/test_opening_joined_runs.py",
    ),
    "gradients taken for forces": Planted(
        "train/data/formats/molecule_groups.py", "-values if theirs in layout.negative else values", "values",
        "tests/train/data/formats/test_molecule_groups.py",
    ),
    "total charges of PhysNet taken for quadrupoles": Planted(
        "train/data/formats/npz.py", 'arrays["Q"].size == len(np.atleast_1d(arrays["Q"]))', "False",
        "tests/train/data/formats/test_npz.py",
    ),
    "the usual label in place of the chosen one": Planted(
        "train/data/formats/row_labels.py", "changes[column] = _column_value(ours, value)", "pass",
        "tests/train/data/formats/test_row_labels.py",
    ),
    "charge of the data against that of the keys": Planted(
        "train/data/formats/rows.py", "single(value) not in (None, single(said))", "False",
        "tests/train/data/formats/test_row_labels.py",
    ),
    "charge column beside charge lines of molfiles": Planted(
        "structure_files/molfiles.py", "charges, radicals = {}, {}", "pass",
        "tests/cli/test_input_structures_stated_charges.py",
    ),
    "dispersion added to labels": Planted(
        "train/data/dispersion_subtraction.py", "label - value", "label + value",
        "tests/train/data/test_dispersion_subtraction.py",
    ),
    "D4 without the total charge": Planted(
        "dispersion/d4.py", "float(self.charges[s])", "0.0", "tests/dispersion/test_d4.py"
    ),
    "D4 Hessian by a wrong stencil": Planted(
        "dispersion/d4.py", "(2, -1 / 12)", "(2, 1 / 12)", "tests/dispersion/test_d4_differentiation.py"
    ),
    "sign of forces": Planted(
        "derivatives.py", 'results["forces"] = -total', 'results["forces"] = total', "tests/test_derivatives.py"
    ),
    "sign of stress": Planted(
        "derivatives.py", 'stress = total["strain"] / volume', 'stress = -total["strain"] / volume',
        "tests/test_derivatives.py",
    ),
    "strain counted twice": Planted(
        "derivatives.py", "0.5 * (strain + strain.mT)", "(strain + strain.mT)", "tests/test_derivatives.py"
    ),
    "Voigt order": Planted(
        "properties.py", "(1, 2), (0, 2), (0, 1))", "(0, 1), (0, 2), (1, 2))", "tests/test_derivatives.py"
    ),
    "cell not strained": Planted(
        "derivatives.py", "cell=batch.cell @ deformation", "cell=batch.cell", "tests/test_derivatives.py"
    ),
    "lost periodic image": Planted(
        "neighbors.py", 'np.argsort(index[0], kind="stable")', 'np.argsort(index[0], kind="stable")[1:]',
        "tests/test_neighbors.py",
    ),
    "shift with the wrong sign": Planted(
        "batch.py", "vectors = vectors + torch.einsum", "vectors = vectors - torch.einsum",
        "tests/models/test_network_contract.py",
    ),
    "Verlet list followed too far": Planted(
        "neighbors.py", "> 0.5 * self.skin", "> 3.0 * self.skin", "tests/test_neighbors.py"
    ),
    "stale result after a new charge": Planted(
        "calculators/base.py", 'return [] if self.resolve(atoms) == self._state else ["info"]', "return []",
        "tests/calculators/test_base.py",
    ),
    "total_charge in info ignored": Planted(
        "state.py",
        'CHARGE_KEYS = ("charge", "total_charge", ', 'CHARGE_KEYS = ("charge", ', "tests/test_state.py",
    ),
    "contradictory charges accepted": Planted(
        "state.py", "if len(set(stated.values())) > 1:", "if False:", "tests/test_state.py",
    ),
    "rounded initial charges veto a charge": Planted(
        "state.py", "<= allowed, nearest, total)", "<= 1e-6, nearest + 0.0, total)", "tests/test_state.py",
    ),
    "rows of one molecule share a state": Planted(
        "train/data/states.py", "repeat(names), *texts)", "repeat(names))", "tests/test_state.py",
    ),
    "triplets trained as singlets": Planted(
        "train/data/parts.py", "np.flatnonzero(multiplicity > 2)", "np.flatnonzero(multiplicity > 99)",
        "tests/train/test_fitting.py",
    ),
    "half results after an error": Planted(
        "calculators/base.py", "            return [\"info\"]  # the old", "            return []  # the old",
        "tests/prediction/test_batching.py",
    ),
    "setter keeps results": Planted(
        "calculators/base.py", "self.predictor.charge = charge_argument(value)\n        self.reset()",
        "self.predictor.charge = charge_argument(value)",
        "tests/calculators/test_base.py",
    ),
    "positions cast before differences": Planted(
        "batch.py", "vectors = self.positions.index_select(0, j) - self.positions.index_select(0, i)",
        "p = self.positions.float().double(); vectors = p.index_select(0, j) - p.index_select(0, i)",
        "tests/models/test_network_contract.py",
    ),
    "energies summed in float32": Planted(
        "models/aimnet2.py", "return energies.double() + shifts", "return (energies.float() + shifts.float()).double()",
        "tests/test_derivatives.py tests/models/test_network_contract.py",
    ),
    "dispersion dropped": Planted(
        "assembly/terms.py", "(charged, repulsion, dispersed) if", "(charged, repulsion) if",
        "tests/assembly/test_terms.py",
    ),
    "half a pair energy": Planted(
        "electrostatics/coulomb.py", "energies = COULOMB * self", "energies = 0.5 * COULOMB * self",
        "tests/electrostatics/test_coulomb.py",
    ),
    "total charge ignored": Planted(
        "models/aimnet2.py", "total = batch.total_charge[:, None]", "total = 0 * batch.total_charge[:, None]",
        "tests/models",
    ),
    "charges not equilibrated per structure": Planted(
        "models/aimnet2.py", "share.index_select(0, system_idx)", "share.index_select(0, 0 * system_idx)",
        "tests/models",
    ),
    "leak between structures": Planted(
        "batch.py", 'edge_index=join("edge_index", atom_offsets, dim=1)', 'edge_index=join("edge_index", None, dim=1)',
        "tests/test_batch.py tests/models/test_network_contract.py",
    ),
    "wrong derivative of the cutoff": Planted(
        "kernels/vector_basis.py", "-0.5 * math.pi / cutoff", "-0.4 * math.pi / cutoff", "tests/nn"
    ),
    "last channel skipped": Planted(
        "kernels/neighbor_sum.py", "if n_channels % 2:", "if n_channels % 2 and n_channels > 1:", "tests/nn"
    ),
    "Hessian not of all atoms": Planted(
        "second_derivatives.py", "values.gather(1, rows[:, None])", "values.gather(1, 0 * rows[:, None])",
        "tests/test_derivatives.py",
    ),
    "activations without curvature": Planted(
        "models/aimnet2_hessian.py", "upstream * density * (2.0 - x * x)", "0.0 * upstream",
        "tests/test_second_derivatives.py",
    ),
    "products of basis and features without curvature": Planted(
        "models/aimnet2_hessian.py", "mixed = own.flatten(1) @ flat", "mixed = 0.0 * own.flatten(1) @ flat",
        "tests/test_second_derivatives.py",
    ),
    "equilibration without curvature": Planted(
        "models/aimnet2_hessian.py", "2.0 * self._share[c] * self._excess[:, c]", "0.0 * self._excess[:, c]",
        "tests/test_second_derivatives.py",
    ),
    "charges that answer no displacement": Planted(
        "second_derivatives.py", "mixed = added[:n, n:] @ moves.T", "mixed = 0.0 * added[:n, n:] @ moves.T",
        "tests/test_second_derivatives.py",
    ),
    "points on nuclei between charges": Planted(
        "prediction/points.py", "inverse.numpy() < 1.0 / ON_NUCLEUS", "inverse.numpy() < np.inf",
        "tests/calculators/test_physnet_dcm.py",
    ),
    "cells are computed as they are given": Planted(
        "prediction/batching.py", "cell = reduced_cell(atoms.cell.array, pbc).cell",
        "cell = np.array(atoms.cell.array)", "tests/test_cells.py",
    ),
    "untrained elements accepted": Planted(
        "prediction/batching.py", "unknown = set(atomic_numbers.tolist()).difference(elements)",
        "unknown: set[int] = set()", "tests/prediction/test_batching.py",
    ),
    "no finite check": Planted(
        "calculators/base.py", "        check_finite(prediction.results, self.model)\n", "",
        "tests/prediction/test_batching.py",
    ),
    "results shared with the caller": Planted(
        "calculators/base.py", "return value.copy() if isinstance(value, np.ndarray) else value", "return value",
        "tests/calculators/test_base.py",
    ),
    "derivative runs on from one input into another": Planted(
        "kernels/differentiation.py", "[x.view_as(x) if x.requires_grad else x for x in inputs]", "list(inputs)",
        "tests/kernels/test_differentiation.py",
    ),
    "curvature of the switch": Planted(
        "kernels/switch.py", "(1.0 - t) * (1.0 - 2.0 * t)", "(1.0 - t) * (1.0 - t)", "tests/nn/test_switch.py"
    ),
    "sums of torch-scatter over the wrong axis": Planted(
        "nn/segments.py", "dim=0, dim_size", "dim=-1, dim_size", "tests/nn/test_segments.py"
    ),
    "charges that do not share what is missing": Planted(
        "kernels/aimnet2.py", "shares[s, c] * gradient", "gradient", "tests/test_steps.py",
    ),
    "compiled step without the charges' part of forces": Planted(
        "models/aimnet2_step.py", "by_q += by_charges[:, None]", "by_q += 0.0 * by_charges[:, None]",
        "tests/test_steps.py",
    ),
    "compiled step that forgets all passes but one": Planted(
        "models/aimnet2_step.py", "add_to_basis=t < last", "add_to_basis=False", "tests/test_steps.py",
    ),
    "compiled step whose stress has no cell": Planted(
        "steps.py", "+ batch.cell.mT @ found.by_cell", "+ 0.0 * batch.cell", "tests/test_steps.py",
    ),
    "few rows without the last columns": Planted(
        "kernels/few_rows.py", "rest = n_in % WIDTH\n", "rest = 0 * n_in\n",
        "tests/test_steps.py",
    ),
    "few rows without the slope of their activation": Planted(
        "kernels/few_rows.py", "by_x[k] *= slope[k]", "by_x[k] *= 1.0", "tests/kernels/test_few_rows.py",
    ),
    "neighbors of small molecules in one direction": Planted(
        "kernels/neighbors.py", "if j != i and x * x", "if j > i and x * x", "tests/test_neighbors.py",
    ),
    "torsions as stiff as their atoms are far": Planted(
        "kernels/model_hessian.py", "constant * strength, 4, hessian", "constant, 4, hessian",
        "tests/simulate/test_model_hessian.py",
    ),
    "whatever has neighbors is one fragment": Planted(
        "prediction/extrapolation.py", "if counts[center] >= n_atoms - 1:", "if counts[center] >= 1:",
        "tests/prediction/test_extrapolation.py",
    ),
    "edges that act on one atom": Planted(
        "kernels/edges.py", "by_positions[i, x] -= by_vectors", "by_positions[i, x] -= 0.0 * by_vectors",
        "tests/test_steps.py",
    ),
    "curvature of GELU": Planted("kernels/gelu.py", "(_TWO - v * v)", "(_TWO + v * v)", "tests/nn/test_gelu.py"),
    "half the way back of a message": Planted(
        "kernels/message.py", "_spread(begin, end, source, up_basis,", "_spread(begin, begin, source, up_basis,",
        "tests/nn/test_message.py",
    ),
    "equal atoms told apart by element only": Planted(
        "models/aimnet2.py", "kinds=rows_of_atoms(batch, batch.fidelity",
        "kinds=rows_of_atoms(batch, 0 * batch.fidelity",
        "tests/models/test_aimnet2.py",
    ),
    "weights grow by the decay": Planted(
        "train/optimize/optimizers.py", '1.0 - group["lr"] * decay', '1.0 + group["lr"] * decay',
        "tests/train/optimize/test_optimizers.py",
    ),
    "biases decay": Planted(
        "train/optimize/optimizers.py", "if parameter.ndim >= 2 and not _NO_DECAY", "if not _NO_DECAY",
        "tests/train/optimize/test_optimizers.py",
    ),
    "average without warm-up": Planted(
        "train/loop/ema.py", "min(self.decay, (1 + self.steps) / (10 + self.steps))", "self.decay",
        "tests/train/loop/test_ema.py",
    ),
    "average stays applied": Planted(
        "train/loop/ema.py", "parameter.copy_(value)", "parameter.copy_(parameter)", "tests/train/loop/test_ema.py"
    ),
    "missing labels counted": Planted(
        "train/loop/losses.py", "return _weighted(self.present(batch).double(), batch).sum()",
        "return _weighted(torch.ones_like(self.present(batch)).double(), batch).sum()",
        "tests/train/loop/test_losses.py",
    ),
    "stress of molecules": Planted(
        "train/data/usable.py", "    _drop_undefined_stress(block)\n", "", "tests/train/loop/test_predictions.py"
    ),
    "stress without a graph": Planted(
        "derivatives.py", 'stress = total["strain"] / volume', 'stress = total["strain"].detach() / volume',
        "tests/train/loop/test_predictions.py",
    ),
    "stress of nothing": Planted(
        "derivatives.py", "abs(), 1.0)[:, None, None]", "abs(), 0.0)[:, None, None]",
        "tests/train/loop/test_predictions.py",
    ),
    "quadrupoles in Voigt order": Planted(
        "properties.py", "(0, 1), (1, 2), (2, 0))", "(1, 2), (0, 2), (0, 1))", "tests/test_properties.py"
    ),
    "dipole of the wrong charges": Planted(
        "train/loop/losses.py", 'labels = ("dipole",)', 'labels = ("charges",)', "tests/train/loop/test_losses.py"
    ),
    "missing labels taken for zero": Planted(
        "train/loop/losses.py",
        "torch.where(present, results[self.name].double() - torch.where(present, label, 0.0), 0.0)",
        "results[self.name].double() - torch.where(present, label, 0.0)", "tests/train/loop/test_losses.py",
    ),
    "average over terms that are absent": Planted(
        "train/loop/losses.py", "torch.where(counts > 0, counts, 1.0)", "counts", "tests/train/loop/test_losses.py"
    ),
    "resume without the optimizer": Planted(
        "train/loop/trainer.py", 'self.optimizer.load_state_dict(state["optimizer"])', "pass",
        "tests/train/loop/test_trainer_resume.py",
    ),
    "resume without averages": Planted(
        "train/loop/trainer.py", 'self.average.load_state_dict(state["average"])', "pass",
        "tests/train/loop/test_trainer_resume.py",
    ),
    "resume with parameters by position": Planted(
        "train/optimize/optimizers.py", "saved[name]) for k, name in enumerate(names)",
        "saved[name]) for k, name in enumerate(reversed(names))", "tests/train/optimize/test_optimizers.py",
    ),
    "resume with rows in other parts": Planted(
        "train/data/kept_parts.py", "part[known] = self.parts[places[known]]", "pass",
        "tests/train/data/test_parts.py",
    ),
    "resume with another network": Planted(
        "train/continuation.py", "if is_option and change.option in kept.options:", "if False:",
        "tests/train/loop/test_trainer_resume.py",
    ),
    "another epoch after patience": Planted(
        "train/loop/trainer.py", "self.progress.waited >= patience", "self.progress.waited > patience",
        "tests/train/loop/test_trainer.py",
    ),
    "state of a run on a GPU": Planted(
        "train/loop/run_folder.py", 'map_location="cpu", ', "", "tests/train/loop/test_trainer_resume.py"
    ),
    "fine-tuning at the rate of random weights": Planted(
        "train/optimize/optimizers.py", "rate = min(rate, FINE_TUNING_RATE)", "pass",
        "tests/train/optimize/test_optimizers.py",
    ),
    "averages over steps without labels": Planted(
        "train/loop/running_losses.py", "torch.stack([averages * counts, counts])",
        "torch.stack([averages, torch.ones_like(counts)])", "tests/train/loop/test_running_losses.py",
    ),
    "resume at the beginning of the epoch": Planted(
        "train/loop/trainer.py", 'replace(Progress(), **state["progress"])',
        'replace(Progress(), **{**state["progress"], "batch": 0})', "tests/train/loop/test_trainer_resume.py",
    ),
    "sampler without fidelity weights": Planted(
        "train/loop/sampler.py", "if self._weights is None else", "if True else", "tests/train/loop/test_sampler.py"
    ),
    "every epoch in the same order": Planted(
        "train/loop/sampler.py", "default_rng([self._seed, epoch])", "default_rng([self._seed])",
        "tests/train/loop/test_sampler.py",
    ),
    "block in the order of the store": Planted(
        "train/data/dataset.py", "systems = self._systems[chosen]", "systems = chosen",
        "tests/train/data/test_dataset.py",
    ),
    "view in the order of the store": Planted(
        "train/data/dataset.py", "        if self._whole:\n", "        if True:\n", "tests/train/data/test_dataset.py"
    ),
    "split without a seed": Planted(
        "train/data/split.py", "np.random.default_rng(seed)", "np.random.default_rng()",
        "tests/train/data/test_split.py",
    ),
    "last model for best": Planted(
        "train/loop/trainer.py", "if improved:", "if True:",
        "tests/train/loop/test_trainer.py",
    ),
    "first model for best": Planted(
        "train/loop/trainer.py", "score < self.progress.best", "score > self.progress.best",
        "tests/train/loop/test_trainer.py",
    ),
    "one outlier picks the best": Planted(
        "train/loop/validation.py", 'max(row["mae"], SMALLEST_ERROR)', 'max(row["rmse"], SMALLEST_ERROR)',
        "tests/train/loop/test_trainer.py",
    ),
    "sums by own element": Planted(
        "models/aimnet2_passes.py", "kind.index_select(0, rows.source)", "kind.index_select(0, rows.receiver)",
        "tests/models/test_aimnet2_passes_element_sums.py",
    ),
    "change across an edge forgotten": Planted(
        "kernels/vector_basis.py", "dg * uz + g * tz", "dg * uz", "tests/nn/test_vector_basis.py"
    ),
    "half of a split batch lost": Planted(
        "predictor.py", "self.predict(batches[half:], gradients, second)", "[]", "tests/test_predictor.py",
    ),
    "clipping at zero freezes": Planted(
        "train/loop/trainer.py", "if self.config.grad_clip > 0:", "if self.config.grad_clip >= 0:",
        "tests/train/loop/test_trainer.py",
    ),
    "schedule by epochs": Planted(
        "train/loop/trainer.py", "self.schedule.factor(self.position))",
        "self.schedule.factor(self.progress.epoch))", "tests/train/loop/test_trainer.py",
    ),
    "a Debye is one e·Å": Planted(
        "properties.py", '"Debye": DEBYE,', '"Debye": 1.0,', "tests/train/data"
    ),
    "a Debye·Å is one e·Å²": Planted(
        "properties.py", '"Debye*Angstrom": DEBYE,', '"Debye*Angstrom": 1.0,', "tests/train/data"
    ),
    "no word about Debye": Planted(
        "train/data/suspicions.py", "(0.8 / DEBYE, 1.25 / DEBYE)", "(0.8 * DEBYE, 1.25 * DEBYE)", "tests/train/data"
    ),
}  # fmt: skip


def misplaced(error: Planted) -> str | None:
    """Why an error cannot be planted or noticed: its place or its tests are gone, or its place is not one place."""
    path = ROOT / "molcalc" / error.file
    if not path.is_file():
        return f"there is no molcalc/{error.file}"
    if (count := path.read_text().count(error.right)) != 1:
        return f"{error.right!r} occurs {count} times in molcalc/{error.file}; it must occur once"
    missing = [test for test in error.tests.split() if not (ROOT / test).exists()]
    return f"there are no {', '.join(missing)}" if missing or not error.tests else None


def noticed(error: Planted, folder: Path) -> bool:
    """Whether its tests fail for one error in a fresh copy of the package."""
    shutil.copytree(ROOT / "molcalc", folder / "molcalc", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("data", "output"))
    shutil.copy(ROOT / "setup.cfg", folder)
    path = folder / "molcalc" / error.file
    path.write_text(path.read_text().replace(error.right, error.wrong))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *error.tests.split()]
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True).returncode == 1


def main() -> int:
    chosen = sys.argv[1:] or list(ERRORS)
    if lost := {name: why for name in chosen if (why := misplaced(ERRORS[name]))}:
        print("\n".join(f"{name}: {why}" for name, why in lost.items()))
        return 1
    missed = 0
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            seen = noticed(ERRORS[name], Path(folder))
        missed += not seen
        print(f"{name:<42} {'yes' if seen else 'NO'}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} planted errors noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
