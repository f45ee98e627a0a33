"""Options of commands that train: data that are held out, files of options, and settings."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from typing import Any

from molcalc.cli.options import (
    Arguments,
    add_labels,
    add_skip_bad,
    add_units,
    number,
    parse_data,
    parse_held_out,
    parse_labels,
    parse_units,
)

FLAGS: dict[str, dict[str, Any]] = {
    "init": {"metavar": "MODEL", "help": "published name or model directory to start from"},
    "epochs": {"type": number(int, 1), "metavar": "N", "help": "passes over the training data"},
    "batch-size": {"type": number(int, 1), "metavar": "N", "help": "molecules or atoms (batch_mode) in a batch"},
    "optimizer": {"metavar": "NAME", "help": "adamw, adam, rmsprop, muon or muon-documented"},
    "learning-rate": {"type": number(float, 0), "metavar": "RATE", "help": "default: recommended for data and model"},
    "seed": {
        "type": number(int, 0),
        "metavar": "N",
        "help": "of weights and order of the batches; split_seed divides the data",
    },
    "precision": {"choices": ("float32", "bf16", "float64"), "help": "arithmetic of the network"},
    "device": {"choices": ("auto", "cpu", "cuda"), "help": "default auto"},
    "threads": {"type": number(int, 1), "metavar": "N", "help": "of the processor"},
    "track": {"choices": ("tensorboard", "wandb"), "help": "log every validation there as well"},
}
"""Options of :class:`molcalc.train.config.FitConfig` that have a flag of their own."""


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Options about data and training."""
    parser.add_argument("--valid", nargs="+", metavar="X", help="share, number, or files held out (default 0.1)")
    parser.add_argument("--test", nargs="+", metavar="X", help="the same for the final test (default 0.1)")
    add_units(parser)
    add_labels(parser)
    add_skip_bad(parser)
    options = parser.add_argument_group("options of the training")
    options.add_argument("--config", action="append", default=[], metavar="FILE", help="YAML options (repeatable)")
    options.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="any option, such as loss.weights.energy=5 (repeatable)",
    )  # fmt: skip
    for name, settings in FLAGS.items():
        options.add_argument(f"--{name}", **settings)
    options.add_argument("--no-plots", action="store_true", help="draw no pictures")
    options.add_argument("--quiet", action="store_true", help="no progress bar and no notes, only warnings")


def setting_names() -> Collection[str]:
    """Names that ``--set`` takes."""
    from molcalc.train.config import make_config

    return make_config({}).flat().keys()


def said_options(args: Arguments, *others: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Data and options of --config files, --set and flags, each over those before.

    Parameters
    ----------
    others : options of the command beside :data:`FLAGS` that are options of training.

    Returns
    -------
    arguments that name data, and options, by name

    Raises
    ------
    ConfigError
        For an unknown option or a value of the wrong type.
    """
    from molcalc.train.config import make_config, parse_setting, read_options
    from molcalc.train.run_data import separated

    return gathered(args, (*others, *FLAGS), lambda path: separated(read_options(path)), parse_setting, make_config)


def gathered(
    args: Arguments,
    flags: Collection[str],
    read: Callable[[str], tuple[dict[str, Any], dict[str, Any]]],
    parse: Callable[[str], dict[str, Any]],
    check: Callable[[dict[str, Any]], object],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Data and options of --config files, --set and flags, each over those before, for any configuration.

    Parameters
    ----------
    flags : options of the command that are options of training.
    read : arguments that name data, and options, of a file.
    parse : options of a --set.
    check : refuses options that do not fit together, before any data is read.

    Returns
    -------
    arguments that name data, and options, by name

    Raises
    ------
    ConfigError
        For an unknown option or a value of the wrong type.
    """
    from molcalc.train.config import join_options
    from molcalc.train.run_data import separated

    files: dict[str, Any] = {}
    parts = []
    for path in args.config:
        its_files, its_options = read(path)
        files.update(its_files)
        parts.append(its_options)
    parts += [parse(text) for text in args.settings]
    said = {name.replace("-", "_"): getattr(args, name.replace("-", "_")) for name in flags}
    held_out = {name: parse_held_out(getattr(args, name)) for name in ("valid", "test")}
    named = {**said, **held_out, "data": parse_data(args.data) or None, "units": parse_units(args.units) or None}
    named |= {"labels": parse_labels(args.labels) or None, "skip_bad": args.skip_bad or None}
    its_files, its_options = separated({name: value for name, value in named.items() if value is not None})
    files.update(its_files)
    parts.append(its_options)
    if args.no_plots:
        parts.append({"plots": False})
    options = join_options(*parts)
    check(options)
    return files, options
