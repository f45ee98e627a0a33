"""``molcalc sample``: structures that a trained generator of conformers proposes, relaxed and ranked if asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from molcalc.cli.conformers import add_ranking_options, rank_and_write
from molcalc.cli.failures import Failures
from molcalc.cli.options import Arguments, Subparsers, add_html, add_model_options, input_paths, number, parse_data
from molcalc.cli.table import (
    Column,
    ShownTable,
    add_table_options,
    check_table_target,
    prints_text,
    show_table,
    text_table,
)

if TYPE_CHECKING:
    from ase import Atoms

    from molcalc.conformers.molecules import Ensemble
    from molcalc.conformers.vae.vae import ConformerVAE

_EPILOG = """\
RUN is the folder of a generator ('molcalc train --model conformer-vae', or ConformerVAE.save). What it proposes is like
its training structures and has no weights: relax it. --relax does so with the named calculator and ranks what is left,
as 'molcalc conformers' does; a structure whose bonds or stereochemistry change is dropped, and counted.

A generator of heavy atoms alone needs --smiles for that, from which bond orders and hydrogen atoms come.
docs/conformer_vae.md says what a generator is for.

--report compares what is proposed with structures that were held out of the training: distributions, validity,
coverage, what is only remembered, with pictures. docs/conformer_metrics.md explains the numbers.

examples:
  molcalc sample runs/generator -n 1000 -o proposed.xyz
  molcalc sample runs/generator -n 1000 -o proposed.xyz --report runs/generator_report
  molcalc sample runs/generator -n 200 --relax wb97m-d3 -o ranked.sdf
  molcalc sample runs/heavy -n 200 --relax wb97m-d3 --smiles 'CC(=O)NC(C)(C)C(=O)NC' -o ranked.db
"""

_OF_RELAXED = (
    "restart", "html", "fmax", "steps", "optimizer", "window", "temperature", "gibbs", "pressure", "enantiomers",
    "duplicate_energy", "duplicate_rmsd", "fidelity", "member", "charge", "multiplicity", "dispersion", "coulomb",
)  # fmt: skip
"""Options that mean nothing without --relax."""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "sample", help="propose conformers by a trained generator", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument("run_folder", metavar="RUN", help="folder of the generator")
    parser.add_argument(
        "-n", "--structures", type=number(int, 1), default=100, metavar="N", dest="n_structures", help="(default 100)"
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="structures: .db, .sdf with --relax, or what ASE writes"
    )
    where = "where latents are drawn from: about training structures (default), or all of the latent space"
    parser.add_argument("--prior", choices=("gmm", "normal"), default="gmm", help=where)
    parser.add_argument("--seed", type=number(int, 0), default=0, metavar="K", help="of the latents (default 0)")
    parser.add_argument("--smiles", metavar="SMILES", help="the molecule with its bond orders, for hydrogen atoms")
    parser.add_argument("--report", metavar="FOLDER", help="write a report on the structures as they are proposed")
    parser.add_argument(
        "--reference", nargs="+", metavar="FILE", help="structures that the report compares with, in the order of time "
        "(default: those that the run held out)",
    )  # fmt: skip
    parser.add_argument("--restart", action="store_true", help="go on with the relaxed structures of an earlier run")
    parser.add_argument("--force", action="store_true", help="replace existing files, but no input")
    add_html(parser, "with --relax the ranked list with its structures")
    add_ranking_options(parser)
    add_table_options(parser, unit=True, usual=None)
    add_model_options(parser, flag="--relax", default="without it nothing is relaxed")
    parser.set_defaults(run=run, of_relaxed={name: parser.get_default(name) for name in _OF_RELAXED})


def run(args: Arguments) -> int:
    """Propose structures; write them or rank them, and report on them."""
    from molcalc.conformers.hydrogens import with_hydrogens
    from molcalc.conformers.metrics.conformer_report import CONFORMER_REPORT_FILES
    from molcalc.conformers.molecules import Ensemble
    from molcalc.conformers.sdf import with_bond_orders
    from molcalc.conformers.vae.vae import ConformerVAE
    from molcalc.io.targets import check_distinct, reserved_folder

    generator = ConformerVAE.load(args.run_folder)
    output, inputs = Path(args.output), input_paths([args.run_folder, *(args.reference or [])], *(args.model or []))
    compared = _compared(args, generator)
    if args.report is not None:
        check_distinct([output, Path(args.report)])
        held = reserved_folder(
            Path(args.report), force=args.force, kind="a report", owns=CONFORMER_REPORT_FILES.__contains__
        )
        args.held.enter_context(held)
    drawn: list[Atoms] = []

    def proposed() -> Ensemble:
        drawn[:] = generator.sample(args.n_structures, prior=args.prior, seed=args.seed)
        ensemble = Ensemble(molecule=generator.reference.molecule, structures=drawn)
        return ensemble if args.smiles is None else with_hydrogens(ensemble, args.smiles)

    if args.model:
        status = rank_and_write(
            args,
            output,
            inputs,
            lambda in_sdf: [with_bond_orders(proposed()) if in_sdf else proposed()],
            Failures(args.words, args.debug),
        )
    else:
        status = _write(args, output, inputs, proposed)
    if args.report is not None:
        _report(args, generator, drawn, compared)
    return status


def _write(args: Arguments, output: Path, inputs: Sequence[Path], proposed: Callable[[], Ensemble]) -> int:
    """Write structures as they are proposed."""
    from molcalc.cli.output import output_format, write_frames
    from molcalc.errors import ConfigError
    from molcalc.io.files import together
    from molcalc.io.targets import check_file

    for name, default in args.of_relaxed.items():
        if vars(args)[name] != default:
            flag = name.replace("_", "-")
            raise ConfigError(f"--{flag} is about relaxed structures: give --relax MODEL as well")
    if output.suffix == ".sdf":
        raise ConfigError(f"{output}: .sdf holds ranked structures: give --relax MODEL as well, or write .xyz or .db")
    check_file(output, force=args.force, inputs=inputs)
    output_format(output)
    check_table_target(args, inputs, [output])
    ensemble = proposed()
    table = ShownTable([Column("molecule", text=True), Column("structures")])
    table.rows.append((ensemble.molecule.name, len(ensemble.structures)))
    document = {"molecule": ensemble.molecule.name, "structures": len(ensemble.structures), "output": str(output)}
    text = f"{len(ensemble.structures)} structures of {ensemble.molecule.name} in {output}"
    with together():
        write_frames(output, list(ensemble.structures))
        show_table(args, table, document, text)
    return 0


def _compared(args: Arguments, generator: ConformerVAE) -> dict[str, list[Atoms]]:
    """Structures that the report compares with (``reference``), and those of the training where they are known."""
    import numpy as np

    from molcalc.conformers.vae.run import structures_of_run
    from molcalc.errors import ConfigError
    from molcalc.train.data import open_dataset

    if args.report is None:
        if args.reference is not None:
            raise ConfigError("--reference is what a report compares with: give --report FOLDER as well")
        return {}
    if args.reference is not None:
        named = open_dataset(parse_data(args.reference), structures_only=True)
        found = {"reference": generator.reference.frames_in(named)}
    else:
        of_run = structures_of_run(args.run_folder)
        found = {"train": of_run["train"], "reference": np.concatenate([of_run["valid"], of_run["test"]])}
    molecule = generator.reference.molecule
    return {name: [molecule.structure(each) for each in part] for name, part in found.items()}


def _report(
    args: Arguments, generator: ConformerVAE, drawn: Sequence[Atoms], compared: Mapping[str, Sequence[Atoms]]
) -> None:
    """Write the report, and print its numbers."""
    from molcalc.conformers.vae.sample_report import report_samples

    folder = Path(args.report)
    metrics = report_samples(folder, generator, drawn, compared["reference"], compared.get("train"))
    if prints_text(args):
        print(f"\n{text_table(('', 'proposed', 'reference'), metrics.rows())}\n\nreport: {folder / 'report.html'}")
