"""Models that work without this package: one level of theory as one file."""

from molcalc.export.exporting import Exported, export

__all__ = ["Exported", "export"]
