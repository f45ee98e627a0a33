"""Published data sets in HDF5: their keys, units, signs and charges, in tiny files of the same layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from molcalc.errors import DatasetError
from molcalc.train.data import open_dataset
from molcalc.train.data.convert import convert
from molcalc.train.data.formats.molecule_groups import charge_of_smiles
from molcalc.units import BOHR, HARTREE

RNG = np.random.default_rng(0)
R, F, MU = RNG.normal(size=(3, 2, 3)), RNG.normal(size=(3, 2, 3)), RNG.normal(size=(3, 3))
E = np.array([-75.0, -75.1, -75.2])


def group(parent: Any, name: str, **arrays: Any) -> Any:
    made = parent.create_group(name)
    for key, values in arrays.items():
        made.create_dataset(key, data=values)
    return made


def test_spice_is_in_atomic_units_with_gradients_and_charges_in_smiles(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        for name, smiles in (("hydroxide", "[O-:1][H:2]"), ("other", "[O:1][H:2]")):
            group(file, name, atomic_numbers=np.array([8, 1], dtype="i2"), conformations=R.astype("f4"),
                  dft_total_energy=E, dft_total_gradient=F, scf_dipole=MU, mbis_charges=RNG.normal(size=(3, 2, 1)),
                  mayer_indices=np.zeros((3, 2, 2)), smiles=[smiles], subset=["a"])  # fmt: skip
        del file["other"]
    dataset = open_dataset(tmp_path / "a.hdf5")
    assert dataset.total_charge.tolist() == [-1, -1, -1]
    assert dataset.labels["energy"] == pytest.approx(E * HARTREE)
    assert dataset.labels["forces"] == pytest.approx(-F.reshape(6, 3) * HARTREE / BOHR)
    assert dataset.labels["dipole"] == pytest.approx(MU * BOHR)
    assert dataset.positions == pytest.approx(R.reshape(6, 3) * BOHR, abs=1e-6)
    assert dataset.row_name(1) == "a.hdf5 group/row hydroxide/1"
    assert convert(tmp_path / "a.hdf5", tmp_path / "b.db") == 3


@pytest.mark.parametrize(
    ("smiles", "charge"),
    [("[O-:1][H:2]", -1), ("[NH3+]CC([O-])=O", 0), ("[Ca+2:3]", 2), ("[Fe+++]", 3), ("[S--]", -2), ("C-C", 0),
     ("[13C@H](C)[N+](=O)[O-:12]", 0), ("[Mg+2].[Cl-].[Cl-]", 0)],
)  # fmt: skip
def test_smiles_tell_charges(smiles: str, charge: int) -> None:
    assert charge_of_smiles(smiles) == charge


def ani(path: Path, **others: Any) -> Path:
    energies = E.copy()
    energies[1] = np.nan
    with h5py.File(path, "w") as file:
        group(file, "H1O1", **{"atomic_numbers": np.array([8, 1], dtype="u1"), "coordinates": R.astype("f4"),
              "wb97x_dz.energy": energies, "wb97x_dz.forces": F, "wb97x_dz.cm5_charges": F[:, :, 0],
              **others})  # fmt: skip
    return path


def test_the_level_of_ani1x_is_chosen_where_there_are_several(tmp_path: Path) -> None:
    one = open_dataset(ani(tmp_path / "one.h5"))
    assert one.counts() == {"energy": 2, "forces": 3}
    assert one.labels["energy"][[0, 2]] == pytest.approx(E[[0, 2]] * HARTREE)
    assert one.labels["forces"] == pytest.approx(F.reshape(6, 3) * HARTREE)
    several = ani(tmp_path / "two.h5", **{"ccsd(t)_cbs.energy": E - 1})
    with pytest.raises(DatasetError, match=r"several levels of ANI-1x: choose one.*ccsd\(t\)_cbs.energy"):
        open_dataset(several)
    chosen = open_dataset(several, labels={"energy": "ccsd(t)_cbs.energy", "charges": "wb97x_dz.cm5_charges"})
    assert chosen.labels["energy"] == pytest.approx((E - 1) * HARTREE)
    assert chosen.counts() == {"energy": 3, "charges": 3}


def test_transition1x_is_read_once_in_ev(tmp_path: Path) -> None:
    level = "wB97x_6-31G(d)"
    with h5py.File(tmp_path / "a.h5", "w") as file:
        arrays = {"atomic_numbers": [8, 1], "positions": R, f"{level}.energy": E, f"{level}.forces": F,
                  f"{level}.atomization_energy": E + 70}  # fmt: skip
        reaction = group(file, "data/H1O1/rxn0001", **arrays)
        group(reaction, "reactant", **{name: values if name == "atomic_numbers" else values[:1]
                                       for name, values in arrays.items()})  # fmt: skip
        file["train/H1O1/rxn0001"] = h5py.SoftLink("/data/H1O1/rxn0001")
    dataset = open_dataset(tmp_path / "a.h5")
    assert dataset.labels["energy"].tolist() == E.tolist()
    assert np.array_equal(dataset.labels["forces"], F.reshape(6, 3))
    assert open_dataset(tmp_path / "a.h5", labels={"energy": f"{level}.atomization_energy"}).labels["energy"][0] == -5.0


def test_qm7x_has_a_group_for_each_geometry(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "1000.hdf5", "w") as file:
        for k in range(3):
            group(file, f"1/Geom-m1-i1-c1-d{k}", **{"atNUM": [8, 1], "atXYZ": R[k], "ePBE0+MBD": [E[k]], "DIP": [1.0],
                  "ePBE0": [0.0], "totFOR": F[k], "vDIP": MU[k], "hCHG": F[k, :, 0], "KSE": [[1.0]]})  # fmt: skip
    dataset = open_dataset(tmp_path / "1000.hdf5")
    assert dataset.counts() == {"energy": 3, "forces": 3, "dipole": 3, "charges": 3}
    assert dataset.labels["energy"].tolist() == E.tolist()
    assert np.array_equal(dataset.labels["dipole"], MU)
    assert dataset.row_name(2) == "1000.hdf5 group/row 1/Geom-m1-i1-c1-d2/0"


def test_a_wrong_shape_names_its_group(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group(file, "CO", atomic_numbers=[6, 8], conformations=R, dft_total_energy=E[:2])
    with pytest.raises(DatasetError, match=r"/CO/energy has shape \(2,\); expected \(3,\)"):
        open_dataset(tmp_path / "a.h5")
