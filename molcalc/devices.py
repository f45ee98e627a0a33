"""Devices that this package computes on: the processor, and graphics cards of CUDA (or ROCm, which torch names so)."""

from __future__ import annotations

from pathlib import Path

import torch

from molcalc.errors import ConfigError, short

Device = str | int | torch.device
"""What names a device: "auto", "cpu", "cuda", "cuda:1", the number of a graphics card, or a device of torch."""
DEVICE_KINDS = ("cpu", "cuda")


def usable_device(device: Device) -> torch.device:
    """The device that a user asks for; "auto" is a graphics card where there is one.

    Returns
    -------
    device of torch, which is here

    Raises
    ------
    ConfigError
        For what names no device, a kind that is not supported, and a graphics card that is not here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shown, choices = f"device={short(device)}", 'use "auto", "cpu", "cuda", or the number of a graphics card'
    if isinstance(device, bool) or not isinstance(device, (str, int, torch.device)):
        raise ConfigError(f"{shown} is no device; {choices}")
    try:
        found = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    except (RuntimeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{shown} is not a torch device; {choices}") from error
    if found.type not in DEVICE_KINDS:
        raise ConfigError(f"{shown}: {found.type!r} is not supported; {choices}")
    if found.type == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(f'{shown}: torch finds no GPU here; use device="cpu"')
        if found.index is not None and found.index >= torch.cuda.device_count():
            raise ConfigError(f"{shown}: torch finds {torch.cuda.device_count()} graphics card(s), numbered from 0")
    return found


def device_memory(device: torch.device) -> tuple[float, float] | None:
    """Free and all bytes of a device; None where the system does not say."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return float(free), float(total)
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    kilobytes = {name: float(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return 1024 * kilobytes["MemAvailable"], 1024 * kilobytes["MemTotal"]
