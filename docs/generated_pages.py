"""Pages of the site that are made from the package itself: commands, options, errors, Python.

What is there is asked of the code, so that no page can name an option that does not exist. They are written into
``docs/made``, which belongs to the build alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from molcalc.io.schema import Choice

REPOSITORY = Path(__file__).parents[1]
PUBLIC = {
    "molcalc": "Calculators, many structures at once, training",
    "molcalc.analysis": "What a model says of a molecule",
    "molcalc.conformers": "Conformers",
    "molcalc.conformers.metrics": "What generated conformers are worth",
    "molcalc.train": "Training",
    "molcalc.simulate": "Relaxation and dynamics",
    "molcalc.export": "Export",
    "molcalc.testing": "Checks",
}
"""Rooms whose public names are on the page of Python, with titles."""


def write_pages(docs: Path) -> None:
    """Write every page that is made here into ``made`` of the folder of the docs, and the pictures on them."""
    from schedule_pictures import write_pictures

    folder = docs / "made"
    folder.mkdir(exist_ok=True)
    write_pictures(folder / "schedules")
    for name, made in MADE.items():
        (folder / f"{name}.md").write_text(made(), encoding="utf-8")


def python_page() -> str:
    """Every public name, once, where it is found first."""
    lines, seen = ["# Python\n"], set()
    for room, title in PUBLIC.items():
        module = importlib.import_module(room)
        lines.append(f"\n## `{room}`: {title}\n")
        for name in sorted(module.__all__, key=str.lower):
            value = getattr(module, name)
            if not (inspect.isclass(value) or inspect.isfunction(value)):
                continue
            home = f"{value.__module__}.{value.__qualname__}"
            if home not in seen:
                seen.add(home)
                lines += [f"\n### {name}\n", "```{eval-rst}", *_documented(home, value), "```"]
    return "\n".join(lines)


def _documented(home: str, value: Any) -> list[str]:
    """Directive for a class or function."""
    if inspect.isclass(value):
        foreign = ", ".join(base.__name__ for base in value.__mro__ if not base.__module__.startswith("molcalc"))
        return [f".. autoclass:: {home}", "   :members:", f"   :inherited-members: {foreign}"]
    return [f".. autofunction:: {home}"]


def commands_page() -> str:
    """The help of every command and of every command inside it."""
    from molcalc.cli import build_parser

    lines = ["# Commands\n", "What `--help` prints.\n"]
    for name, parser in _commands(build_parser()):
        lines += [f"\n## {name}\n", "```text", parser.format_help().rstrip(), "```"]
    return "\n".join(lines)


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield parser.prog, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _commands(inner)


def options_page() -> str:
    """Every option of ``fit`` and of generators of conformers with its kind, default, recommended values and words."""
    from molcalc.conformers.vae.config import BY_TRAJECTORY, VAE_RECOMMENDED
    from molcalc.registry import GENERATOR, MODELS
    from molcalc.train.config import FitConfig

    recommended = {name: _flat(kind.training.options) for name, kind in MODELS.items()}
    recommended[GENERATOR] = _flat({**VAE_RECOMMENDED, **BY_TRAJECTORY})
    lines = [
        "# Options of training\n",
        "Keys of `fit(..., key=value)`, of YAML files, and of `molcalc train --set key=value`. A key of a part may be",
        "written in it or without it (`loop: {epochs: 300}` or `epochs: 300`); those of `loss` always stand inside.",
        "Rates and decays that are `null` are chosen for the data: [optimizers](../optimizers.md).\n",
    ]
    for part, hint in typing.get_type_hints(FitConfig, include_extras=True).items():
        if not dataclasses.is_dataclass(hint):
            words = _words_of(FitConfig)[part]
            lines += [f"\n`{part}` (default `{getattr(FitConfig, part)}`): {words}\n"]
            continue
        lines += _section_of(part, hint, f"{part}." if part == "loss" else "", recommended)
    return "\n".join([*lines, *_network_arguments(), *_generator_options()])


def _network_arguments() -> Iterator[str]:
    """Sizes of the networks, which are keys of one option."""
    from molcalc.registry import MODELS

    yield "\n## arguments of networks\n"
    yield "Keys of `arguments`, such as `--set arguments.n_features=64`; elements and levels follow from the data.\n"
    for name, kind in MODELS.items():
        yield from (f"\n### {name}\n", *_TABLE)
        yield from _options_of(kind.config, "arguments.", {}, without=("elements", "bases", "n_fidelities"))


def _generator_options() -> Iterator[str]:
    """Options that only generators of conformers have, and those of others that mean nothing to them."""
    from molcalc.conformers.vae.config import STEPS, VAE_PARTS, WITHOUT_MEANING
    from molcalc.registry import GENERATOR
    from molcalc.train.config import FitConfig

    shared = [part for part in VAE_PARTS if part in FitConfig.__dataclass_fields__]
    yield "\n## generators of conformers\n"
    yield f"`--model {GENERATOR}` and `ConformerVAE.fit` take `seed`, the options of"
    yield f"{', '.join(f'`{each}`' for each in shared)} above, and those below, which"
    yield "`ConformerVAE.for_molecule` takes as well. A run that does not say how many `epochs` it has takes about"
    yield f"{STEPS} steps. Without meaning here:"
    yield "; ".join(f"`{name}` ({reason})" for name, reason in WITHOUT_MEANING.items()) + ".\n"
    for part in (each for each in VAE_PARTS if each not in shared):
        yield from _section_of(part, VAE_PARTS[part], "", {}, level="###")


def _section_of(
    part: str, config: Any, prefix: str, recommended: dict[str, dict[str, Any]], level: str = "##"
) -> Iterator[str]:
    """Heading and table of a part of the options."""
    summary = inspect.getdoc(config).splitlines()[0]
    yield from (f"\n{level} {part}\n", f"{summary}\n", *_TABLE)
    yield from _options_of(config, prefix, recommended)


_TABLE = ("| option | default | recommended | |", "|---|---|---|---|")


def _options_of(
    config: Any, prefix: str, recommended: dict[str, dict[str, Any]], without: tuple[str, ...] = ()
) -> Iterator[str]:
    hints, words = typing.get_type_hints(config, include_extras=True), _words_of(config)
    for field in dataclasses.fields(config):
        if field.name in without:
            continue
        hint, name = hints[field.name], f"{prefix}{field.name}"
        if dataclasses.is_dataclass(hint):
            yield f"| `{name}` | | | {words.get(field.name, '')} |"
            yield from _options_of(hint, f"{name}.", recommended)
            continue
        default = field.default if field.default is not dataclasses.MISSING else _made(field)
        also = {model: values[name] for model, values in recommended.items() if name in values}
        shown = "<br>".join(f"{model}: `{value}`" for model, value in also.items())
        yield f"| `{name}` | {_shown(default)} | {shown} | {words.get(field.name, '')} *{_kind(hint)}* |"


def _made(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else None


def _shown(value: Any) -> str:
    return f"`{'null' if value is None else value}`"


def _kind(hint: Any) -> str:
    if typing.get_origin(hint) is Annotated:
        inner, *limits = typing.get_args(hint)
        return ", ".join([_kind(inner), *map(_allowed, limits)])
    arguments = typing.get_args(hint)
    if arguments and hint.__class__.__name__ in {"UnionType", "Union", "_UnionGenericAlias"}:
        return " or ".join("null" if kind is type(None) else _kind(kind) for kind in arguments)
    if arguments:
        return f"{hint.__origin__.__name__} of {', '.join(_kind(kind) for kind in arguments if kind is not ...)}"
    return "anything" if hint is Any else str(getattr(hint, "__name__", hint))


def _allowed(limit: Any) -> str:
    return f"one of {', '.join(limit.names)}" if isinstance(limit, Choice) else str(limit)


def _words_of(config: Any) -> dict[str, str]:
    """Words of every attribute in the docstrings of a configuration and of what it extends."""
    found: dict[str, str] = {}
    for kind in reversed(config.__mro__ if inspect.isclass(config) else type(config).__mro__):
        part = inspect.cleandoc(kind.__doc__ or "").partition("Attributes\n----------\n")[2]
        for names, words in re.findall(r"(?m)^(\w[\w, ]*) : ((?:.+)(?:\n[ ]+.+)*)", part):
            text = re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", " ".join(words.split())).replace("``", "`").replace("|", "\\|")
            found |= dict.fromkeys(names.split(", "), text)
    return found


def _flat(options: Any, prefix: str = "") -> dict[str, Any]:
    """Options by name; those inside the loss keep its name before them."""
    found: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}." if prefix or key == "loss" else "")
        else:
            found[f"{prefix}{key}"] = value
    return found


def schedules_page() -> str:
    """Every schedule of the learning rate with its picture and its file."""
    from schedule_pictures import FILES

    lines = [
        "# Schedules of the learning rate\n",
        "The rate of each step is that of the optimizer times a factor between 0 and 1. Pictures are drawn from the",
        "files of `examples/config/schedules`, for a run of 7,000 steps of which 10 make an epoch; `--config FILE`",
        "takes one of them. [Options](options.md#optimize) lists the keys. The default is `cosine`, with the warm-up",
        "of the model; runs from given weights rise for the first tenth.\n",
        "A run that goes on with other epochs or another schedule takes the rate that a run of the new length would",
        "have there: [going on](../resuming.md).\n",
    ]
    for path in FILES:
        first, _, options = path.read_text(encoding="utf-8").partition("\n")
        lines += [f"\n## {path.stem}\n", f"{first.removeprefix('# ')}\n"]
        lines += [f"![learning rate of {path.stem}](schedules/{path.stem}.svg)\n"]
        lines += ["```yaml", options.rstrip(), "```"]
    return "\n".join(lines)


def errors_page() -> str:
    """Every error and warning with what it means, and what it is besides."""
    errors = importlib.import_module("molcalc.errors")
    lines = [
        "# Errors and warnings\n",
        "All are in `molcalc.errors`. [Troubleshooting](../troubleshooting.md) says what to do.\n",
        "| | is also | |",
        "|---|---|---|",
    ]
    for name, kind in vars(errors).items():
        if inspect.isclass(kind) and issubclass(kind, Exception) and kind.__module__ == "molcalc.errors":
            also = ", ".join(
                f"`{base.__name__}`" for base in kind.__mro__[1:] if base not in (object, Exception, BaseException)
            )
            lines.append(f"| `{name}` | {also} | {inspect.getdoc(kind).splitlines()[0]} |")
    return "\n".join(lines)


def contributing_page() -> str:
    """What a change needs, from the file at the top of the repository."""
    return (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("(docs/", "(../")


MADE = {
    "python": python_page,
    "commands": commands_page,
    "options": options_page,
    "schedules": schedules_page,
    "errors": errors_page,
    "contributing": contributing_page,
}
"""Pages by name."""
