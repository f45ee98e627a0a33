"""Settings of torch and numpy around a call, kept from changing its results, and forked processes explained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch

from molcalc.errors import ResourceError

AUTOCAST_DEVICES = ("cpu", "cuda")


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """Compute as if nobody had set anything: no autocast, no gradient or inference mode, tensors on the processor.

    Nor is an underflow an error, which a program around may have told numpy.

    All of these belong to one thread, and are back afterwards. The default dtype belongs to the process and is left
    alone: no result depends on it. Only new weights are drawn in it, see :func:`molcalc.train.fit`.

    Raises
    ------
    ResourceError
        In a forked process, where torch cannot go on because its parent used a graphics card.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        for device in AUTOCAST_DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            stack.enter_context(torch.enable_grad())
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        try:
            yield
        except RuntimeError as error:
            if "fork" not in str(error):  # torch says it in words only, of CUDA and of its threads
                raise
            raise ResourceError(
                "this process was forked from one that used a graphics card, and torch works in neither of both then: "
                'start workers with multiprocessing.get_context("spawn"), or fork before the first calculation'
            ) from error
