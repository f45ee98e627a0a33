"""``molcalc train --model conformer-vae``: from structures of a molecule to a generator of others."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from molcalc.cli.options import Arguments, input_paths
from molcalc.cli.table import Column, ShownTable, check_table_target, show_table, text_table
from molcalc.cli.terminal import log_shown_from
from molcalc.cli.training_options import FLAGS, gathered

if TYPE_CHECKING:
    from molcalc.conformers.vae.run import VAEFitResult


def run_generator(args: Arguments) -> int:
    """Train, and print the errors of the best model."""
    from molcalc.conformers.vae.run import fit_generator
    from molcalc.train.run_data import FILES, named_files

    data, options = _said_options(args)
    files = [file for name in FILES for file in named_files(data.get(name, []))]
    check_table_target(args, input_paths(files))
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    with log_shown_from(logging.ERROR if not first else logging.WARNING if args.quiet else logging.INFO):
        result, _ = fit_generator(
            None,
            data,
            options,
            {},
            output=args.output,
            resume="auto" if args.resume == "auto" else args.resume is not None,
            progress=not args.quiet and sys.stderr.isatty(),
        )
    if first:
        show_table(args, _table(result), {"output": result.output, "metrics": result.metrics}, _text(result))
    return 0


def _said_options(args: Arguments) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments that name data, and options: of the files, --set, and flags, each over those before."""
    from molcalc.conformers.vae.config import VAE_OPTIONS, vae_config
    from molcalc.errors import ConfigError
    from molcalc.train.loop.run_folder import RunFolder

    if args.init is not None:
        raise ConfigError(f"init={args.init!r}: a generator begins with new weights; leave it out, or resume a run")
    if args.labels:
        raise ConfigError(f"labels={args.labels[0]!r}: a generator learns structures, and no labels; leave it out")
    flags = FLAGS.keys() - {"init"}
    data, options = gathered(args, flags, VAE_OPTIONS.read, VAE_OPTIONS.parse_setting, vae_config)
    begins = args.resume is None or (args.resume == "auto" and not RunFolder(args.output).started)
    if begins and "data" not in data:
        raise ConfigError("which data? Give a database, a trajectory or another file of structures")
    return data, options


def _text(result: VAEFitResult) -> str:
    """Errors of the best model as the terminal shows them, and where it is."""
    from molcalc.conformers.vae.report import MEANINGS
    from molcalc.train.report.display import three_digits

    lines = []
    for part, errors in result.metrics.items():
        rows = [[MEANINGS[name], three_digits(value)] for name, value in errors.items()]
        lines += ["", f"reconstructions of the {part} part", str(text_table(["", ""], rows))]
    report = os.path.join(result.output, "report.html")
    return "\n".join([*lines, "", f"model: {result.output}", f"report: {report}"])


def _table(result: VAEFitResult) -> ShownTable:
    """Errors of the best model, one in a row."""
    table = ShownTable([Column("part", text=True), Column("error", text=True), Column("value")])
    for part, errors in result.metrics.items():
        table.rows += [(part, name, value) for name, value in errors.items()]
    return table
