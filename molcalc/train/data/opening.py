"""From a user's files to a packed dataset, through a cache that is keyed by their content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from molcalc.errors import DatasetError, InUseError, ResourceError, short
from molcalc.fidelity import UNNAMED
from molcalc.io.locks import only_writer
from molcalc.properties import LABELS
from molcalc.train.data import store
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.declaration import Declaration
from molcalc.train.data.formats import open_files
from molcalc.train.data.formats.base import DataFile
from molcalc.train.data.formats.in_memory import AtomsList
from molcalc.train.data.lookalikes import hint, lookalikes
from molcalc.train.data.problems import Problems
from molcalc.train.data.selection import chosen_files, problems_of
from molcalc.train.data.usable import usable_blocks

Files = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Sequence[Atoms]
Data = Files | Mapping[str, Files] | Dataset
"""What a user may give as data: files (also FILE@ROWS and patterns, see :mod:`molcalc.train.data.selection`) or Atoms;
either of them by name of the fidelity; or a dataset."""

CACHE_FOLDER = ".molcalc_cache"
CACHE_TAG = "CACHEDIR.TAG"
CACHE_SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55"
KEPT_VERSIONS = 3
"""Packed copies of the same files that the cache keeps, of other contents, units or names of labels; the ones that were
used last."""
READER_VERSION = 7
"""Raised whenever the same file would be packed differently."""

log = logging.getLogger(__name__)


def open_dataset(
    data: Data,
    *,
    cache: str | os.PathLike[str] | None = None,
    units: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    require: Collection[str] = (),
    allow_missing: bool = False,
    skip_bad: bool = False,
    structures_only: bool = False,
) -> Dataset:
    """Open files as a dataset; they are read once and packed into a cache.

    Parameters
    ----------
    data : an ASE database, extended XYZ, trajectory, HDF5 file grouped by size or npz archives, or a list of them; or
        a dict of the name of a fidelity to such files.
    cache : folder of packed copies; None takes the folder MOLCALC_CACHE, else one beside the first file, else one in
        the user's cache folder when that cannot be written. Of the same files it keeps the three copies that were used
        last.
    units : unit of each label (and of positions) in the files, where it is not eV, Å and e and not declared in them.
    labels : name in the files of each label that is called otherwise there, ``{"energy": "REF_energy"}``; also of
        esp_points, total_charge, multiplicity and fidelity. What it takes the place of is called ``other_energy``.
    require : labels that must be there.
    allow_missing : whether only some structures need to have them.
    skip_bad : leave out rows that cannot be used, with a warning, instead of raising.
    structures_only : whether labels are not wanted, so that nothing is said of those that are missing.

    Returns
    -------
    All structures of all files, in their order.

    Raises
    ------
    DatasetError
        When a file is damaged, rows cannot be used, a unit is declared nowhere, nothing has a name that ``labels``
        give, or a required label is missing.
    ResourceError
        When the cache cannot be written.
    """
    if isinstance(data, Dataset):
        check_labels(data, require, allow_missing)
        return data
    sources, names = open_sources(data, Declaration(units or {}, labels or {}))
    packed = _cached(sources, names, cache)
    for source, found, doubted in zip(sources, packed.index["problems"], packed.index["doubts"]):
        problems = Problems(**found)
        if not skip_bad:
            problems.raise_if_any(source.name, source.word, source.row_label)
        problems.warn_if_any(f"{source.name}: left out", source.word, source.row_label)
        Problems(**doubted).warn_if_any(source.name, source.word, source.row_label)
    if "numbers" not in packed.arrays:
        raise DatasetError(f"{', '.join(source.name for source in sources)}: no structures that can be used")
    dataset = Dataset(packed, sources)
    _report_lookalikes(dataset, structures_only)
    check_labels(dataset, require, allow_missing)
    return dataset


def check_labels(dataset: Dataset, require: Collection[str], allow_missing: bool) -> None:
    """Refuse a dataset that lacks required labels.

    Raises
    ------
    DatasetError
        When no structure has one, or not all have it and that is not allowed.
    """
    names = ", ".join(source.name for source in dataset.sources)
    for name in require:
        if name not in LABELS:
            raise DatasetError(f"{name!r} is no label; labels are: {', '.join(LABELS)}")
        has = dataset.has(name)
        found = int(has.sum())
        if found == 0:
            present = ", ".join(f"{label} ({count})" for label, count in dataset.counts().items()) or "none"
            similar = hint(dataset.lookalikes, [name])
            raise DatasetError(f"{names}: no structure has {name}; labels found: {present}{similar}")
        if found < len(dataset):
            missing = [dataset.row_name(int(k)) for k in (~has).nonzero()[0][:5]]
            text = f"{names}: {found} of {len(dataset)} structures have {name} (missing: {', '.join(missing)}, …)"
            if not allow_missing:
                raise DatasetError(f"{text}; train on what is there with allow_missing=True")
            log.warning("%s", text)


def check_any_label(dataset: Dataset) -> None:
    """Refuse a dataset without any label.

    Raises
    ------
    DatasetError
        Names what looks like labels.
    """
    if not dataset.labels:
        names = ", ".join(source.name for source in dataset.sources)
        raise DatasetError(f"{names}: no labels, such as energy or forces{hint(dataset.lookalikes, LABELS)}")


def _report_lookalikes(dataset: Dataset, structures_only: bool) -> None:
    """Say what looks like a label, or a charge or spin, that is absent or there as well, and is not used.

    Who wants structures only is told of charges and spins, and has no option for names.
    """
    wanted = () if structures_only else tuple(LABELS)
    names = ", ".join(source.name for source in dataset.sources)
    absent = [label for label in wanted if label not in dataset.labels]
    absent += [] if dataset.total_charge.any() else ["total_charge"]
    absent += [] if (dataset.multiplicity > 2).any() else ["multiplicity"]
    present = [label for label in wanted if label in dataset.labels]
    for level, labels in ((logging.WARNING, absent), (logging.INFO, present)):
        if text := hint(dataset.lookalikes, labels, has_option=not structures_only):
            has = "no structure has" if level == logging.WARNING else "beside"
            about = ", ".join(label for label in labels if label in dataset.lookalikes.values())
            log.log(level, "%s: %s %s%s", names, has, about, text)


def open_sources(data: Files | Mapping[str, Files], declared: Declaration) -> tuple[list[DataFile], list[str | None]]:
    """Readers of all files, with the name of the fidelity that the user gave each.

    Parameters
    ----------
    declared : what the user says of units and names of labels.

    Returns
    -------
    files : readers, in the given order.
    names : fidelity of each file; None where the user gave none.

    Raises
    ------
    DatasetError
        As :func:`molcalc.train.data.formats.open_files`, or when there are no files.
    """
    named = list(data.items()) if isinstance(data, Mapping) else [(None, data)]
    sources: list[DataFile] = []
    names: list[str | None] = []
    for name, files in named:
        if name is not None and not str(name).strip():
            raise DatasetError(f"the fidelity of {short(files)} has no name: give it one")
        opened = _opened(files, declared)
        sources += opened
        names += [None if name is None else str(name)] * len(opened)
    if not sources:
        raise DatasetError("no data: give an ASE database, or a list or dict of them")
    return sources, names


def _opened(files: Files, declared: Declaration) -> list[DataFile]:
    """Readers of the files, or of the Atoms, that a user gives."""
    items: Any = files if isinstance(files, Iterable) and not isinstance(files, (str, Atoms)) else [files]
    listed = list(items)
    kinds = [kind for kind in ((str, os.PathLike), Atoms) if any(isinstance(item, kind) for item in listed)]
    for item in listed:
        if not isinstance(item, (str, os.PathLike, Atoms)):
            raise DatasetError(f"data: {short(item)} is neither a file nor Atoms")
    if len(kinds) > 1:
        raise DatasetError("data: files and Atoms in one list; give one or the other, or write the Atoms into a file")
    if kinds == [Atoms]:
        return [AtomsList(listed, declared)]
    found: list[DataFile] = []
    chosen = chosen_files(listed)
    # Path.resolve() raises RuntimeError for a loop of links before Python 3.13.
    for item, count in Counter((os.path.realpath(item.path), item.rows) for item in chosen).items():
        if count > 1:
            raise DatasetError(f"{item[0]} is named {count} times, and its rows would count as often: name it once")
    for rows in dict.fromkeys(item.rows for item in chosen):  # files that belong together are opened together
        for file in open_files([item.path for item in chosen if item.rows == rows], declared):
            file.selection = rows
            found.append(file)
    order = [item.path for item in chosen]
    return sorted(found, key=lambda file: order.index(file.path))


def _cached(sources: Sequence[DataFile], names: Sequence[str | None], cache: Any) -> store.Store:
    """The packed arrays of files, from the cache if they are there and intact."""
    key = _key(sources, names)
    folder = _cache_folder(sources, cache)
    target = folder / key
    if (target / store.INDEX).is_file():
        try:
            packed = store.load_store(target)
            with contextlib.suppress(OSError):  # of a cache that can only be read
                os.utime(target / store.INDEX)
            return packed
        except DatasetError as error:
            log.warning("%s; it is made again", error)
            shutil.rmtree(target, ignore_errors=True)
    with _temporary(folder, key) as temporary:
        _build(temporary, key, sources, names)
        store.publish(temporary, target)
    _forget_old(folder, _paths(sources))
    return store.load_store(target, verify=False)


def _paths(sources: Sequence[DataFile]) -> list[str]:
    return [str(source.path.absolute()) for source in sources]


def _forget_old(folder: Path, paths: list[str]) -> None:
    """Delete packed copies of files beyond those that were used last; other processes keep what they have mapped."""
    found = []
    for index in folder.glob(f"[!.]*/{store.INDEX}"):  # those that are being built begin with a dot
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if json.loads(index.read_text(encoding="utf-8"))["paths"] == paths:
                found.append((index.stat().st_mtime_ns, index.parent))
    for _, old in sorted(found)[:-KEPT_VERSIONS]:
        shutil.rmtree(old, ignore_errors=True)


def _key(sources: Sequence[DataFile], names: Sequence[str | None]) -> str:
    digest = hashlib.blake2b(f"{store.FORMAT} {READER_VERSION}".encode(), digest_size=16)
    for source, name in zip(sources, names):
        digest.update(source.content_hash())
        said = (sorted(source.factors.items()), sorted(source.declared.labels.items()), source.selection)
        digest.update(repr((type(source).__name__, *said, name)).encode())
    return digest.hexdigest()


def _cache_folder(sources: Sequence[DataFile], cache: Any) -> Path:
    """The first folder that can be written."""
    chosen = cache or os.environ.get("MOLCALC_CACHE")
    if chosen:
        candidates = [Path(chosen)]
    else:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        beside = [sources[0].path.parent / CACHE_FOLDER] if sources[0].path.exists() else []
        candidates = [*beside, home / "molcalc"]
    reason = "read-only"
    for folder in candidates:
        try:
            if _writable(folder):
                folder.mkdir(parents=True, exist_ok=True)
                _tag(folder)
                return folder
        except OSError as error:
            reason = error.strerror or str(error)
    raise ResourceError(
        f"no cache can be written in {' or '.join(map(str, candidates))} ({reason}): "
        "set MOLCALC_CACHE to a folder with space"
    )


def _tag(folder: Path) -> None:
    """Tell programs that make backups or look for data that a folder is a cache (https://bford.info/cachedir)."""
    tag = folder / CACHE_TAG
    if not tag.exists():
        text = f"{CACHE_SIGNATURE}\n# Packed copies of data, made by molcalc; they can be deleted.\n"
        tag.write_text(text, encoding="utf-8")


def _writable(folder: Path) -> bool:
    """Whether a folder can be made and written; one whose mode forbids it is left alone, even by root."""
    while not folder.exists():
        folder = folder.absolute().parent
    return bool(folder.stat().st_mode & 0o222) and os.access(folder, os.W_OK)


@contextlib.contextmanager
def _temporary(folder: Path, key: str) -> Iterator[Path]:
    """Name of a folder to build in; it is removed when the build fails, as are those that nobody builds any more."""
    for path in folder.glob(".*.building"):
        with contextlib.suppress(InUseError), only_writer(path):
            shutil.rmtree(path, ignore_errors=True)
    temporary = folder / f".{key}.{secrets.token_hex(8)}.building"
    try:
        with only_writer(temporary):
            yield temporary
    except OSError as error:
        raise ResourceError(f"cannot write the cache {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _build(folder: Path, key: str, sources: Sequence[DataFile], names: Sequence[str | None]) -> None:
    """Read all sources and write a store."""
    fidelities = list(dict.fromkeys(name for name in names if name is not None))
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    similar: dict[str, str] = {}
    writer = store.StoreWriter(folder)
    try:
        for k, (source, name) in enumerate(zip(sources, names)):
            problems, doubts = problems_of(source), Problems()
            for block in usable_blocks(source, fidelities, problems, doubts, name):
                similar.update(lookalikes(block, similar))
                writer.append(block, k)
            found.append((problems.record, doubts.record))
        writer.finish(
            {
                "key": key,
                "fidelities": fidelities or [UNNAMED],
                "problems": [problems for problems, _ in found],
                "doubts": [doubts for _, doubts in found],
                "lookalikes": similar,
                "paths": _paths(sources),
            }
        )
    finally:
        writer.close()
