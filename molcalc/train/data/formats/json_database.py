"""ASE databases as JSON text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from molcalc.train.data.block import Block
from molcalc.train.data.formats.atoms import atoms_of, data_of, keys_of
from molcalc.train.data.formats.database import Database
from molcalc.train.data.formats.database_keys import DatabaseKeys


class JSONDatabase(Database):
    """An ASE database in one file of text; ASE's own writer would write all of it again for every row."""

    @staticmethod
    def write(path: Path, blocks: Iterator[Block], metadata: Mapping[str, Any]) -> int:
        """Write structures one after another."""
        from ase.db.core import now
        from ase.db.row import AtomsRow
        from ase.io.jsonio import encode

        count = 0
        named = DatabaseKeys()
        with open(path, "w", encoding="utf-8") as stream:
            stream.write("{")
            for block in blocks:
                for k in range(len(block)):
                    count += 1
                    row = AtomsRow(atoms_of(block, k))
                    values = {name: value for name, value in vars(row).items() if not name.startswith("_")}
                    keys, data = named.divide(keys_of(block, k), data_of(block, k))
                    values.update(ctime=float(now()), mtime=float(now()), user="", key_value_pairs=keys)
                    if data:
                        values["data"] = data
                    listed = ",\n ".join(f'"{name}": {encode(value)}' for name, value in sorted(values.items()))
                    stream.write(f'"{count}": {{\n {listed}}},\n')
            ids = list(range(1, count + 1))
            stream.write(f'"metadata": {encode(dict(metadata))},\n"ids": {ids},\n"nextid": {count + 1}}}\n')
        named.report()
        return count
