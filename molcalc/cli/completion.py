"""``molcalc completion``: what makes a shell complete commands, options, their choices, models and files.

It is a script for the shell, made once and read when the shell starts; pressing the key runs nothing of molcalc.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from molcalc.cli.options import Arguments, Subparsers

COMPLETED_SHELLS = ("bash", "zsh", "fish")
OF_FILES = {"FILE", "DATA", "DATABASE", "SOURCE", "TARGET", "RUN", "OUT", "PATH"}
"""What help calls a value that may be a file."""
OF_FOLDERS = {"FOLDER"}
_MODELS = {
    "bash": '_molcalc_files_and_models() {{ compgen -W "{names}" -- "$1"; compgen -f -- "$1"; }}',
    "zsh": "_molcalc_files_and_models() {{ compadd -- {names}; _files; }}",
    "fish": "function _molcalc_files_and_models\n"
    "  printf '%s\\n' {names}\n"
    "  __fish_complete_path (commandline -ct)\n"
    "end",
}
"""Function of each shell that offers names of models, and files; bash wants the name to tell that it offers files."""
_EPILOG = """\
Make the script again after an update of molcalc.

examples:
  mkdir -p ~/.local/share/bash-completion/completions ~/.zfunc ~/.config/fish/completions    # of your shell
  molcalc completion bash > ~/.local/share/bash-completion/completions/molcalc
  molcalc completion zsh > ~/.zfunc/_molcalc    # with 'fpath+=~/.zfunc; autoload -Uz compinit; compinit' in ~/.zshrc
  molcalc completion fish > ~/.config/fish/completions/molcalc.fish
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "completion", help="completion of commands for a shell", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument("shell", choices=COMPLETED_SHELLS, metavar="SHELL", help="bash, zsh or fish")
    parser.set_defaults(run=run)


def run(args: Arguments) -> int:
    """Print the script."""
    from molcalc.cli import build_parser

    print(completion_script(build_parser(), args.shell))
    return 0


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Text that a shell reads to complete the words of a parser.

    Parameters
    ----------
    parser : of all commands; what completes them is noted on its options.
    shell : one of :data:`COMPLETED_SHELLS`.

    Returns
    -------
    text
    """
    import shtab

    from molcalc.pretrained.catalog import BUNDLED, PUBLISHED
    from molcalc.registry import GENERATOR, MODELS

    models = {"bash": "_molcalc_files_and_models", "zsh": "_molcalc_files_and_models"}
    models["fish"] = "(_molcalc_files_and_models)"
    for action in _options_with_a_value(parser):
        if action.metavar in OF_FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar in OF_FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar == "MODEL":
            action.complete = models  # type: ignore[attr-defined]
        elif action.metavar == "KIND":
            action.choices = (*MODELS, GENERATOR)
        elif action.metavar == "POTENTIAL":
            action.choices = tuple(MODELS)
    preamble = {shell: _MODELS[shell].format(names=" ".join((*PUBLISHED, *BUNDLED)))}
    return str(shtab.complete(parser, shell=shell, preamble=preamble))


def _options_with_a_value(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Options and arguments of a parser and of every command in it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _options_with_a_value(command)
        elif action.nargs != 0:
            yield action
