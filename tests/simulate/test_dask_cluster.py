"""Workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import molcalc
from molcalc.calculators import AIMNet2
from molcalc.errors import ConfigError, ResourceError
from molcalc.simulate import distribution
from molcalc.simulate.dask_cluster import connected
from tests.helpers.structures import rattled

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Client of two workers, threads of this process."""
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as found,
    ):
        yield found


@pytest.mark.parametrize("face", ["client", "executor"])
def test_equal_trajectories_are_moved_one_by_one_and_come_back_in_order(
    client: Any, calculator: AIMNet2, monkeypatch: pytest.MonkeyPatch, face: str
) -> None:
    monkeypatch.setattr(distribution, "GROUP_ATOMS", 4)
    executor = client if face == "client" else client.get_executor()
    images = [rattled(name, seed=1) for name in ("H2O", "CO2", "N2")]
    relaxed = molcalc.relax(images, calculator, fmax=1e-6, steps=3, executor=executor, progress=False)
    here = molcalc.relax(images, calculator, fmax=1e-6, steps=3, progress=False)
    for one, two in zip(relaxed, here):
        assert one.positions == pytest.approx(two.positions, abs=1e-8)
    replicas = molcalc.md([images[0]] * 10, calculator, 2, executor=executor, progress=False)
    assert len({atoms.positions.tobytes() for atoms in replicas}) == 10


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molcalc.simulate.dask_cluster.CONNECT_WITHIN", 0.5)
    with (
        pytest.raises(ResourceError, match="no scheduler answers at tcp://127.0.0.1:1 within"),
        connected("tcp://127.0.0.1:1"),
    ):
        pass
    with pytest.raises(ConfigError, match="expected an address such as tcp://node7:8786"), connected("http://[x"):
        pass
