"""Devices that users name."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from molcalc.devices import usable_device
from molcalc.errors import ConfigError


@pytest.mark.parametrize("device", ["mps", "meta", "hip", "xpu", "gpu", "", "cuda:x", None, 1.5, True, [0], -1, 10**30])
def test_what_is_no_usable_device_is_named(device: Any) -> None:
    with pytest.raises(ConfigError, match="device="):
        usable_device(device)


@pytest.mark.parametrize("device", ["cuda", "cuda:9", 0, 9, torch.device("cuda", 1)])
def test_graphics_cards_that_are_not_here_are_named(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match='no GPU here; use device="cpu"'):
        usable_device(device)


def test_graphics_cards_go_by_numbers_and_devices_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert usable_device("auto") == usable_device("cuda") == torch.device("cuda")
    assert usable_device(1) == usable_device(torch.device("cuda:1")) == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match="device=2: torch finds 2 graphics"):
        usable_device(2)
    assert usable_device(torch.device("cpu")) == usable_device("cpu") == torch.device("cpu")
