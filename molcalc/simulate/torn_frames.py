"""Frames at the end of a trajectory that it counts and that are not whole, as a crash of the machine leaves them.

The system puts the parts of a file on the disk in an order of its own: the count of the frames can be there before the
last of them. A process that is killed leaves no such frames.
"""

from __future__ import annotations

from ase import Atoms
from ase.io.trajectory import TrajectoryReader

from molcalc.io.growing import GrowingFile

_COUNT, _TABLE = 32, 40
"""Bytes of an ULM file at which its number of frames and the place of their table of offsets stand, as int64."""
_GROWTH = 42
"""Factor by which ASE lets that table grow, from one frame on."""


def read_whole_frames(trajectory: TrajectoryReader, only_last: bool) -> tuple[list[Atoms], int]:
    """Frames before the first torn one; of several torn ones in a row at the end, none is whole.

    Parameters
    ----------
    only_last : read the last whole frame only.

    Returns
    -------
    The frames, and how many there are in the file.
    """
    frames: list[Atoms] = []
    numbers = range(len(trajectory))
    for k in reversed(numbers) if only_last else numbers:
        try:
            frames.append(trajectory[k])
        except Exception:  # noqa: BLE001 bytes of any kind are in place of a torn frame
            if only_last:
                continue
            return frames, k
        if only_last:
            return frames, k + 1
    return frames, len(frames)


def forget_frames(file: GrowingFile, n_frames: int, n_whole: int) -> None:
    """Let a trajectory count its whole frames only; the next one comes behind what there is.

    Parameters
    ----------
    n_frames : that it counts.
    n_whole : how many of them are whole, from the first on.
    """
    capacity = 1
    while capacity < n_frames:
        capacity *= _GROWTH
    file.seek(_TABLE)
    end = int.from_bytes(file.read(8), "little") + 8 * capacity
    file.cut(max(end, file.seek(0, 2)))  # frames must not come to lie in a table that is torn itself
    file.seek(_COUNT)
    file.write(n_whole.to_bytes(8, "little"))
    file.finish_piece()
