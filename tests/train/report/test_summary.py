"""The report of a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from molcalc.io import checkpoint
from molcalc.train.data import open_dataset
from molcalc.train.data.comparison import USUAL
from molcalc.train.loop.potential_task import PotentialTask
from molcalc.train.loop.processes import Processes
from molcalc.train.loop.trainer import Trainer
from molcalc.train.report import figures, summary
from molcalc.train.report.display import with_unit
from molcalc.train.report.document import Code, Heading, Table, Text, as_html, as_markdown
from molcalc.train.report.evaluation import Evaluation, potential_spread
from molcalc.train.report.recording import Recording, ReportConfig
from molcalc.train.report.summary import RunReport
from tests.helpers.training_runs import fit_co2, fit_molecules


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "molecules"
    fit_molecules(folder, learning_rate=2e-3)
    return folder


def section(text: str, title: str) -> str:
    """Text between a heading and the next of the same level."""
    return text.split(f"## {title}\n", 1)[1].split("\n## ")[0]


def test_the_report_says_what_was_trained_on_what(run: Path) -> None:
    text = (run / "report.md").read_text()
    assert text.startswith("# molecules\n")
    assert "2 of 2 epochs, 6 steps" in text
    data = section(text, "Data")
    assert "train 32, valid 4, test 4" in data
    assert "| training labels | energy 32, forces 32, dipole 32, charges 32 |" in data
    assert re.search(r"\| data hash \| [0-9a-f]{32} \|", data)
    assert "small_molecules.db" in data
    assert str(run.parent) not in data


def test_only_options_that_differ_from_the_defaults_are_listed(run: Path) -> None:
    options = section((run / "report.md").read_text(), "Options that differ from the defaults")
    assert "| learning_rate | 0.002 | – |" in options
    assert "| epochs | 2 | 200 |" in options
    assert "| arguments.n_channels | 4 | – |" in options
    assert "grad_clip" not in options


def test_errors_are_in_units_of_people_and_by_group(run: Path) -> None:
    errors = section((run / "report.md").read_text(), "Errors")
    assert re.search(r"\| energy \| \S+ meV \| \S+ meV \| \S+ kcal/mol \| \S+ kcal/mol \| -?\d\.\d+ \| 4 \|", errors)
    for title in ("By molecule, test systems", "By element, test systems", "Largest errors"):
        assert f"### {title}" in errors
    assert re.search(r"small_molecules.db row \d+", errors)


def test_the_lines_on_use_work(run: Path) -> None:
    from ase.build import molecule

    text = section((run / "report.md").read_text(), "How to use it")
    code = text.split("```python\n")[1].split("```")[0]
    assert code.count("\n") == 3
    exec(code, {"atoms": molecule("H2O"), "print": lambda *values: None})  # noqa: S102


def test_the_html_needs_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    drawn: list[Any] = []

    def few(folder: Path, course: Any) -> list[Any]:
        drawn.append(course)
        return real(folder, summary.RunCourse(course.history, course.measured))

    real = summary.draw_run
    monkeypatch.setattr(summary, "draw_run", few)
    fit_co2(tmp_path / "co2", plots=True)
    page = (tmp_path / "co2" / "report.html").read_text()
    assert page.count('src="data:image/png;base64,') == 1
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert (tmp_path / "co2" / "plots" / "learning_curves.png").is_file()
    assert "ESP errors are over points at least 1.4 van der Waals radii away" in page
    assert set(drawn[0].examples) == {"median error", "largest error"}
    assert set(drawn[0].evaluations) == {"valid", "test"}
    assert len(page) < 1_000_000


def test_without_matplotlib_there_is_a_report_that_says_how_to_get_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "can_draw", lambda: False)
    fit_co2(tmp_path / "co2", plots=True)
    assert "matplotlib is not installed (pip install 'molcalc[plot]')" in (tmp_path / "co2" / "report.md").read_text()
    assert not (tmp_path / "co2" / "plots").exists()


def test_pictures_that_cannot_be_drawn_do_not_end_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(folder: Path, course: Any) -> list[Any]:
        raise RuntimeError("no font")

    monkeypatch.setattr(figures, "can_draw", lambda: True)
    monkeypatch.setattr(summary, "draw_run", fail)
    result = fit_co2(tmp_path / "co2", plots=True)
    assert "could not be drawn: no font" in caplog.text
    assert result.metrics["test"]
    assert (tmp_path / "co2" / "report.html").is_file()


def test_texts_are_escaped() -> None:
    blocks = [Heading("a<b", 1), Text("x & y"), Code("print('<')"), Table(["n"], [["<1|2>"]])]
    page = as_html(blocks)
    for text in ("<title>a&lt;b</title>", "x &amp; y", "print(&#x27;&lt;&#x27;)", "<td>&lt;1|2&gt;</td>"):
        assert text in page
    assert "| &lt;1\\|2> |" in as_markdown(blocks, Path("."))


def test_groups_without_values_do_not_make_tables() -> None:
    evaluation = Evaluation({}, {"formula": {"H2": {}, "O2": {}}})
    assert summary._groups(evaluation, "test") == []


Ended = tuple[RunReport, Trainer[PotentialTask]]


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ended:
    """A run that has just ended, with a report that is not written yet."""
    trainers: list[Trainer[PotentialTask]] = []
    reports: list[RunReport] = []
    real = RunReport.__init__

    def keep(self: RunReport, trainer: Trainer[PotentialTask], *more: Any, **options: Any) -> None:
        real(self, trainer, *more, **options)
        trainers.append(trainer)
        reports.append(self)

    with monkeypatch.context() as patch:
        patch.setattr(RunReport, "__init__", keep)
        patch.setattr(RunReport, "write", lambda report: {})
        fit_co2(tmp_path / "co2")
    return reports[0], trainers[0]


def test_an_update_in_the_middle_of_a_run_changes_nothing_of_it(
    ended: Ended,
) -> None:
    report, trainer = ended
    before = {name: value.clone() for name, value in trainer.task.network.state_dict().items()}
    random = torch.get_rng_state()
    report.update()
    assert all(torch.equal(value, before[name]) for name, value in trainer.task.network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    text = (trainer.folder.path / "report.md").read_text()
    assert "The run goes on" in text
    errors = section(text, "Errors")
    measured = trainer.history[-1]["energy_mae"]
    assert f"| energy | {with_unit('energy', measured)} |" in errors
    assert "test systems" not in errors


def test_the_averaged_model_keeps_averages_while_the_network_goes_back_to_its_weights(
    ended: Ended,
) -> None:
    _, trainer = ended
    model = trainer.averaged
    raw = {f"members.0.{name}": value for name, value in trainer.task.network.state_dict().items()}
    assert any(not torch.equal(model.weights[name], value) for name, value in raw.items())
    with trainer.average.applied():
        assert all(torch.equal(model.weights[name], value) for name, value in raw.items())


def test_recording_draws_when_it_is_time_and_never_ends_a_run(
    ended: Ended, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    report, trainer = ended
    drawn: list[int] = []
    monkeypatch.setattr(RunReport, "update", lambda report: drawn.append(len(trainer.history)))
    rows = [dict(trainer.history[0]) for _ in range(5)]
    with Recording(ReportConfig(plot_every=2), trainer, report, {}) as record:
        for k in range(5):
            trainer.history = rows[: k + 1]
            record(trainer)
        assert drawn == [2, 4]
        monkeypatch.setattr(RunReport, "update", lambda report: 1 / 0)
        trainer.history = [*rows, rows[0]]
        record(trainer)
        record(trainer)
    assert caplog.text.count("recording the run stops here, training goes on: ZeroDivisionError") == 1


def test_only_the_first_process_records(ended: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    report, trainer = ended
    drawn: list[int] = []
    monkeypatch.setattr(trainer, "processes", Processes(rank=1, size=2))
    monkeypatch.setattr(RunReport, "update", lambda report: drawn.append(1))
    with Recording(ReportConfig(plot_every=1, track="tensorboard"), trainer, report, {}) as record:
        record(trainer)
    assert not drawn
    assert not (trainer.folder.path / "tensorboard").exists()


def test_the_report_says_how_much_the_potential_of_a_plain_head_depends_on_orientation(tmp_path: Path) -> None:
    fit_co2(tmp_path / "co2")
    (found,) = re.findall(r"standard deviation of (\S+) mV", (tmp_path / "co2" / "report.md").read_text())
    data = open_dataset(tmp_path / "co2_esp.db")
    spread = potential_spread(checkpoint.load(tmp_path / "co2"), data, USUAL, seed=0)
    assert 1e3 * spread == pytest.approx(float(found), rel=0.5)  # of other systems
    assert spread > 1e-4
