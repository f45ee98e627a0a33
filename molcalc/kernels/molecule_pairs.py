"""Compiled loops over the pairs of molecules of up to 64 atoms. Import only where numba is available.

Bit j of the mask of atom i says whether the j-th atom of its molecule is within the cutoff. Lists are filled without
a branch on that bit, which the processor could not predict: a place is written and kept only if the bit is set.
"""

import numba
import numpy as np

from molcalc.kernels.runtime import OPTIONS

_ONE = np.uint64(1)


@numba.njit(**OPTIONS)
def mark_pairs(
    start: int, stop: int, offsets: np.ndarray, listed: np.ndarray, positions: np.ndarray, cutoff_squared: float,
    masks: np.ndarray, counts: np.ndarray,
) -> None:  # fmt: skip
    """Masks of atoms, and counts[s] = number of unordered pairs, with r² < r_c² of the ``listed`` of start…stop."""
    for s in range(start, stop):
        if not listed[s]:
            continue
        found = 0
        first, last = offsets[s], offsets[s + 1]
        for i in range(first, last):
            masks[i] = np.uint64(0)
        for i in range(first, last):
            x, y, z = positions[i, 0], positions[i, 1], positions[i, 2]
            bit, mask = _ONE << np.uint64(i - first), masks[i]
            for j in range(i + 1, last):
                dx, dy, dz = positions[j, 0] - x, positions[j, 1] - y, positions[j, 2] - z
                near = np.uint64(dx * dx + dy * dy + dz * dz < cutoff_squared)
                mask |= near << np.uint64(j - first)
                masks[j] |= near * bit
                found += int(near)
            masks[i] = mask
        counts[s] = found


@numba.njit(**OPTIONS)
def fill_marked(
    start: int, stop: int, offsets: np.ndarray, listed: np.ndarray, masks: np.ndarray, ordered: bool,
    places: np.ndarray, index: np.ndarray,
) -> None:  # fmt: skip
    """Write the pairs of molecule s to index[:, places[s] : places[s + 1]], sorted by i and then j; both (i, j) and
    (j, i) if ``ordered``, else those with i < j."""
    for s in range(start, stop):
        if not listed[s]:
            continue
        e, end = places[s], places[s + 1]
        first, last = offsets[s], offsets[s + 1]
        for i in range(first, last):
            mask = masks[i]
            for j in range(first if ordered else i + 1, last):
                if e == end:
                    break
                index[0, e] = i
                index[1, e] = j
                e += np.int64((mask >> np.uint64(j - first)) & _ONE)


@numba.njit(**OPTIONS)
def fill_all(start: int, stop: int, offsets: np.ndarray, places: np.ndarray, index: np.ndarray) -> None:
    """Write every (i, j) with i < j of molecules start…stop, whatever their size."""
    for s in range(start, stop):
        e = places[s]
        for i in range(offsets[s], offsets[s + 1]):
            for j in range(i + 1, offsets[s + 1]):
                index[0, e] = i
                index[1, e] = j
                e += 1
