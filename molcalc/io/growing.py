"""Files that grow piece by piece while a run goes on: of one writer, and without a torn piece after an error."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from molcalc.errors import InUseError, ResourceError
from molcalc.io.files import Replacement, remove_leftovers
from molcalc.io.locks import locked, only_writer
from molcalc.io.targets import check_file


class GrowingFile:
    """File that takes pieces; every finished piece is with the system whatever happens next.

    Nothing is buffered, and it has no ``fileno``: numpy writes arrays past Python where there is one, and loses errors
    of the disk. A new file takes its name when its first piece is whole.

    Parameters
    ----------
    path : of the file; other writers are kept from it until it is closed. What a link points to is written.
    append : go on with the file that is there.
    force : replace a file that is there, when the first piece is whole.

    Raises
    ------
    InUseError
        When another process writes it.
    InputError
        When it is there and not to be replaced.
    ResourceError
        When it cannot be opened for writing.
    """

    def __init__(self, path: Path, *, append: bool, force: bool = False) -> None:
        self.path = path
        self.broken = False
        with contextlib.ExitStack() as begun:
            begun.enter_context(only_writer(path))
            if not append:
                check_file(path, force=force)
            self._new: Replacement | None = None
            real = Path(os.path.realpath(path))
            if append:
                remove_leftovers(real)
            else:
                self._new = begun.enter_context(contextlib.closing(Replacement(real)))
                real = self._new.temporary
            try:
                self._file = begun.enter_context(open(real, "r+b" if append else "x+b", buffering=0))
            except OSError as error:
                raise ResourceError(f"cannot write {path}: {error.strerror or error}") from error
            if locked(self._file.fileno()) is False:  # the lock beside it is of this name only
                raise InUseError(f"{path} is being written by another process, under another name: wait for it")
            self._open = begun.pop_all()
        self._whole = self._file.seek(0, os.SEEK_END)
        self._may_cut = True

    def write(self, data: bytes) -> int:
        """Write at the present position.

        Returns
        -------
        number of bytes, all of them

        Raises
        ------
        ResourceError
            When the disk is full or fails. The unfinished piece is gone then, and nothing more is written.
        """
        if self.broken:
            raise ResourceError(f"cannot write {self.path} after an error")
        try:
            self._may_cut &= self._file.tell() >= self._whole
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.broken = True
            if self._may_cut:
                with contextlib.suppress(OSError):
                    self._file.truncate(self._whole)
            raise ResourceError(f"cannot write {self.path}: {error.strerror or error}") from error
        return len(data)

    def finish_piece(self) -> None:
        """Note that what was written until now is whole.

        Raises
        ------
        ResourceError
            When a new file cannot take its name.
        """
        if self._new is not None:
            try:
                self._new.flush()
                self._new.take_place()
            except OSError as error:
                self.broken = True
                raise ResourceError(f"cannot write {self.path}: {error.strerror or error}") from error
            self._new.close()
            self._new = None
        self._whole = self._file.seek(0, os.SEEK_END)
        self._may_cut = True

    def cut(self, size: int) -> None:
        """Drop everything beyond a size.

        Raises
        ------
        ResourceError
            When the disk fails; the file is closed then.
        """
        try:
            self._file.truncate(size)
        except OSError as error:
            self.close()
            raise ResourceError(f"cannot write {self.path}: {error.strerror or error}") from error
        self.finish_piece()

    def read(self, n_bytes: int = -1) -> bytes:
        """Bytes from the present position on."""
        return self._file.read(n_bytes) or b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position, as files do."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        return self._file.tell()

    def flush(self) -> None:
        """Nothing is buffered here."""

    def close(self) -> None:
        """Close the file and let others write it; nothing is left of one without any piece."""
        self._open.close()
