"""Data for training: from a user's files to batches."""

from molcalc.train.data.dataset import Dataset
from molcalc.train.data.opening import open_dataset
from molcalc.train.data.split import Split, split

__all__ = ["Dataset", "Split", "open_dataset", "split"]
