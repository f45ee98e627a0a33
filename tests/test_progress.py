"""Progress bars, by where they would be seen."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from tqdm import notebook

from molcalc import progress
from molcalc.progress import SECONDS, SECONDS_IN_FILES, in_notebook, progress_bar


class Terminal(io.StringIO):
    """A stream that is one."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Callable[[io.StringIO], io.StringIO]:
    def put(stream: io.StringIO) -> io.StringIO:
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return put


def kernel(monkeypatch: pytest.MonkeyPatch, config: dict[str, object]) -> None:
    """Be IPython with a configuration."""
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(config=config)))


def worked(**settings: object) -> None:
    with progress_bar(total=2, desc="relax", **settings) as bar:
        for _ in range(2):
            bar.update()


@pytest.mark.parametrize(
    ("stream", "settings", "shown"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"visible": False}, False),
        (io.StringIO(), {}, False),
        (io.StringIO(), {"in_files": True}, True),
        (io.StringIO(), {"in_files": True, "visible": False}, False),
    ],
    ids=["terminal", "hidden", "file", "log", "hidden log"],
)
def test_a_bar_is_shown_where_somebody_looks(
    stderr: Callable[..., io.StringIO], stream: io.StringIO, settings: dict[str, bool], shown: bool
) -> None:
    output = stderr(stream)
    worked(**settings)
    assert ("relax: 100%" in output.getvalue()) == shown


def test_files_get_few_updates(stderr: Callable[..., io.StringIO]) -> None:
    stderr(Terminal())
    with progress_bar() as bar:
        assert bar.mininterval == SECONDS
    stderr(io.StringIO())
    with progress_bar(in_files=True) as bar:
        assert bar.mininterval == SECONDS_IN_FILES


def test_a_notebook_without_widgets_gets_text(
    stderr: Callable[..., io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel(monkeypatch, {"IPKernelApp": {}})
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    output = stderr(io.StringIO())
    worked()
    assert "relax: 100%" in output.getvalue()


def test_a_notebook_with_widgets_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(monkeypatch, {"IPKernelApp": {}})
    monkeypatch.setattr(progress, "find_spec", lambda name: name)
    monkeypatch.setattr(notebook, "tqdm", lambda **settings: settings)
    assert progress_bar(total=3) == {"total": 3, "mininterval": SECONDS}


def test_ipython_on_a_terminal_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(monkeypatch, {})
    assert not in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()
