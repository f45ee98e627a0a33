"""Several processes on one training run (torchrun), or one, and the device of each."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from molcalc.devices import usable_device
from molcalc.errors import ConfigError, ResourceError


class Processes:
    """This process among all that train together.

    Attributes
    ----------
    rank, size : number of this process, and of all.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes, in place.

        Returns
        -------
        the tensor itself

        Raises
        ------
        ResourceError
            When another process died or does not answer.
        """
        if self.size > 1:
            try:
                dist.all_reduce(values)
            except RuntimeError as error:
                raise ResourceError(
                    f"process {self.rank} of {self.size} lost contact: another process of this run died or hangs "
                    f"({str(error).splitlines()[0][:120]}); the last checkpoint is intact: resume from it"
                ) from error
        return values

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Add up the gradients of all processes; a missing gradient counts as zero."""
        if self.size == 1:
            return
        by_dtype: dict[torch.dtype, list[Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            by_dtype.setdefault(parameter.dtype, []).append(parameter.grad)
        for gradients in by_dtype.values():
            flat = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
            parts = flat.split([gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts):
                gradient.copy_(part.view_as(gradient))

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        """For every flag whether any process raises it."""
        if self.size == 1:
            return flags
        return tuple((self.sum(torch.tensor(flags, dtype=torch.float64)) > 0).tolist())


def chosen_device(name: str) -> torch.device:
    """The device that this process computes on.

    Parameters
    ----------
    name : "cpu", "cuda", or "auto" for a GPU where there is one; torchrun says which GPU.

    Returns
    -------
    device of torch

    Raises
    ------
    ConfigError
        When it is unknown, or a GPU is asked for and torch finds none.
    """
    device = usable_device(name)
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return device


@contextlib.contextmanager
def joined(device: torch.device, timeout_s: float) -> Iterator[Processes]:
    """Join the processes that torchrun started; alone without it.

    Parameters
    ----------
    timeout_s : seconds after which a process that does not answer ends the run.

    Raises
    ------
    ConfigError
        When the environment names several processes but not how to reach them.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Processes()
        return
    rank = int(os.environ.get("RANK", "0"))
    try:
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"  # counts and flags are on the processor
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout_s))
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"cannot join {size} training processes: {error}; start them with torchrun") from error
    try:
        yield Processes(rank, size)
    finally:
        dist.destroy_process_group()
