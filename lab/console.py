"""What the verbs share: one-line errors, exit statuses, tables, and machine-readable output."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from lab.errors import RequestError, WorkError, unknown_name

__all__ = ["Name", "Verbs", "busy", "emit", "figure", "print_aside", "print_table", "progress", "run_cli"]


class Name(click.ParamType):
    """A name out of a fixed list; a wrong one is answered with the nearest."""

    name = "name"

    def __init__(self, kind: str, known: Iterable[str]) -> None:
        self.kind, self.known = kind, list(known)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.known:
            raise unknown_name(self.kind, value, self.known)
        return str(value)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "|".join(self.known)


class Verbs(click.Group):
    """A group whose unknown verbs are answered with the nearest one, and which lists verbs as they were written."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise unknown_name("verb", args[0], self.commands)
        return super().resolve_command(ctx, args)


def run_cli(command: click.Command, arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs `command` and exits: 0, 1 (the work failed or was interrupted) or 2 (the request was wrong).

    An error is one line on standard error. `--debug`, anywhere on the line, shows the traceback instead.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    try:
        status = command.main(args=given, prog_name="lab", standalone_mode=False)
    except Exception as error:
        if debug:
            raise
        _fail(error)
    except KeyboardInterrupt:
        click.echo("lab: interrupted", err=True)
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(error: Exception) -> NoReturn:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        sys.exit(2)
    if isinstance(error, RequestError):
        line, status = str(error), 2
    elif isinstance(error, click.ClickException):
        line, status = error.format_message(), error.exit_code
    elif isinstance(error, click.Abort):
        line, status = "interrupted", 1
    elif isinstance(error, WorkError):
        line, status = str(error), 1
    else:
        line, status = f"{type(error).__name__}: {error} (--debug shows where)", 1
    click.echo("lab: " + " ".join(line.split()), err=True)
    sys.exit(status)


@contextmanager
def busy(what: str) -> Iterator[None]:
    """A spinner on standard error for work that says nothing of how far it is; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status(escape(what)):
        yield


@contextmanager
def progress(description: str) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on standard error, or a line every ten seconds where that is not a terminal.

    Yields:
        `update(done, total, what)`.
    """
    if not sys.stderr.isatty():
        said = time.monotonic()

        def say(done: int, total: int, what: str) -> None:
            nonlocal said
            if time.monotonic() - said >= 10.0:
                said = time.monotonic()
                click.echo(f"{description}: {done / max(total, 1):.0%}, {what}", err=True)

        yield say
        return
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[what]}", markup=False),
    )
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=None, what="")
        yield lambda done, total, what: bar.update(task, completed=done, total=total, what=what)


def emit(value: Any) -> None:
    """Prints `value` as JSON on standard output; NaN and infinities become null."""
    click.echo(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def figure(value: float | None, digits: int = 4) -> str:
    """A number for a table; a dash where there is none, powers of ten where digits would say nothing of it."""
    if value is None or not math.isfinite(value):
        return "–"
    if value and not 10**-digits <= abs(value) < 1e6:
        return f"{value:.1e}"
    return f"{value:.{digits}f}"


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table on standard output, as wide as it needs when that is not a terminal."""
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    if title:
        console.print(escape(title), style="bold")
    table = Table(header_style="bold")
    for column in columns:
        table.add_column(escape(column), overflow="fold")
    for row in rows:
        # A backend such as [fe80::1]:80 is no markup.
        table.add_row(*map(escape, row))
    console.print(table)


def print_aside(what: RenderableType) -> None:
    """Prints on standard error what is not the result itself; plain text where that is no terminal."""
    console = Console(stderr=True, highlight=False)
    # What was laid out for 80 columns is easier to read folded by the terminal than by rich.
    console.width = max(console.width, 80)
    console.print(what)
