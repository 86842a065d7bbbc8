"""`lab table`: tables in files."""

from __future__ import annotations

from pathlib import Path

import click

from lab.cli.options import json_option
from lab.console import Verbs, busy, emit, figure, print_table

__all__ = ["table"]


@click.group(cls=Verbs)
def table() -> None:
    """Build a table, tell two apart, or watch two over time."""


@table.command(
    "build", epilog="Example: lab table build --algorithm maglev --size 65537 --backends backends.txt --out table.json"
)
@click.option(
    "--algorithm",
    help="A builder: maglev, balanced-stratified, maglev@1, learned, es:RUN, ... (lab list tables)",
)
@click.option(
    "--roster",
    "roster_path",
    type=click.Path(path_type=Path),
    help="Instead: a file with every backend that may ever be present. Nothing moves needlessly then.",
)
@click.option(
    "--rankings",
    help="With a roster: those of a run of table_roster, or of those that come with the lab, as 47-8, other ones "
    "than the smallest that fit; every instance must name the same.",
)
@click.option("--size", required=True, type=click.IntRange(min=1), help="Entries of the table.")
@click.option(
    "--backends",
    "backends_path",
    required=True,
    type=click.Path(path_type=Path),
    help="A file with one key a line, such as 10.0.0.1:80.",
)
@click.option(
    "--weights",
    "weights_path",
    type=click.Path(path_type=Path),
    help="A file with one `key weight` a line, if the other has none; 0 drains.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The JSON file to write.")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@json_option
def table_build(
    algorithm: str | None,
    roster_path: Path | None,
    rankings: str | None,
    size: int,
    backends_path: Path,
    weights_path: Path | None,
    out: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Build a table for the backends of a file."""
    from lab.table_files import build_table, builder_for, read_backends, refuse_to_replace, write_table

    refuse_to_replace(out, force=force)
    with busy("building the table"):
        roster = None if roster_path is None else read_backends(roster_path)
        backends = read_backends(backends_path, weights_path)
        builder = builder_for(algorithm, size, backends, roster, rankings)
        document = build_table(builder, size, backends)
    write_table(out, document, force=force)
    if as_json:
        emit(document.to_json())
    else:
        click.echo(
            f"{out}: {document.algorithm}@{document.version}, {size} entries, {len(document.backends.keys)} backends"
        )
        if roster is not None:
            click.echo(builder.summary)


@table.command("diff", epilog="Example: lab table diff before.json after.json")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@json_option
def table_diff(before: Path, after: Path, as_json: bool) -> None:
    """Score the step from one table to another, with the entries each backend lost and gained."""
    from dataclasses import asdict

    from lab.table_diff import diff
    from lab.table_files import read_table

    difference = diff(read_table(before), read_table(after))
    if as_json:
        emit(difference.to_json())
        return
    one, other = asdict(difference.before), asdict(difference.after)
    print_table(
        f"tables of {difference.size} entries",
        ["score", "before", "after"],
        [(k, figure(one[k]), figure(other[k])) for k in one],
    )
    print_table(
        "from one to the other, shares of entries",
        ["score", "value"],
        [(k, figure(v)) for k, v in asdict(difference.transition).items()],
    )
    changes = [
        (c.key, c.state, str(c.load_before), str(c.load_after), str(len(c.lost)), str(len(c.gained)))
        for c in difference.backends
    ]
    print_table("entries by backend", ["backend", "state", "before", "after", "lost", "gained"], changes)


@table.command(
    "animate",
    epilog="Example: lab table animate --algorithm maglev --algorithm learned --n 7 --size 47 --out fleet.webp",
)
@click.option(
    "--algorithm",
    "algorithms",
    multiple=True,
    default=("maglev", "learned"),
    show_default=True,
    help="Two builders, one for each side: maglev, learned, es:RUN, ... (lab list tables)",
)
@click.option("--backends", "backends_path", type=click.Path(path_type=Path), help="A file with one key a line.")
@click.option("--n", type=int, help="Instead: so many backends, 10.0.0.1:80 and on.  [default: 7]")
@click.option("--size", type=click.IntRange(min=1), default=47, show_default=True, help="Entries of the tables.")
@click.option(
    "--steps", type=click.IntRange(min=1), default=12, show_default=True, help="How many backends leave or come back."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Who leaves and comes back.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The .webp or .gif file to write.")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@json_option
def table_animate(
    algorithms: tuple[str, ...],
    backends_path: Path | None,
    n: int | None,
    size: int,
    steps: int,
    seed: int,
    out: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Show a fleet whose backends leave and come back under two tables, entries that move needlessly in red."""
    from lab.files import write_bytes
    from lab.table_animation import Fleet, animate, follow, format_of, keys_of, sides_of, summary
    from lab.table_files import refuse_to_replace

    form, sides = format_of(out), sides_of(algorithms)
    refuse_to_replace(out, force=force)
    with busy("drawing"):
        fleet = Fleet.of(keys_of(backends_path, n), steps, seed)
        moves = follow(fleet, sides, size)
        drawn = animate(fleet, moves, form)
    write_bytes(out, drawn)
    if as_json:
        needless = {each.label: each.needless_so_far(steps) for each in moves}
        emit({"file": str(out), "backends": fleet.keys, "size": size, "steps": steps, "needless": needless})
    else:
        click.echo(f"{out}: {summary(moves)}")
