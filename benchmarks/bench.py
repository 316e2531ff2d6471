"""The tables of benchmarks/README.md: speed and memory, each against its plain counterpart in the same run."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.buckets import bucket_cases
from benchmarks.cases import Bench, machine, workplace
from benchmarks.dataset import make_dataset
from benchmarks.destinations import destination_lines
from benchmarks.hosts import host_cases
from benchmarks.peers import peer_cases
from benchmarks.table import README, write_table

Section = Callable[[Bench, argparse.Namespace], list[str]]


def folder(bench: Bench, _: argparse.Namespace) -> list[str]:
    """Local directories, against the plain pipeline and against each other."""
    bench.together(
        {
            "tar, zstd -3 -T0, gpg, sync": bench.plain,
            "backups to one local directory": lambda: bench.ours([bench.local("a")]),
        }
    )
    bench.together(
        {
            "backups to one directory": lambda: bench.ours([bench.local("a")]),
            "backups to two directories": lambda: bench.ours([bench.local("a"), bench.local("b")]),
        }
    )
    return bench.table()


def buckets(bench: Bench, arguments: argparse.Namespace) -> list[str]:
    """One bucket and two."""
    for server in arguments.servers:
        bucket_cases(bench, server)
    return bench.table()


def hosts(bench: Bench, arguments: argparse.Namespace) -> list[str]:
    """Through the staging area, and directly."""
    for server in arguments.servers:
        host_cases(bench, server)
    return bench.table()


def peers(bench: Bench, _: argparse.Namespace) -> list[str]:
    """Tools that people know."""
    peer_cases(bench)
    return bench.table()


def large(bench: Bench, arguments: argparse.Namespace) -> list[str]:
    """Memory at a size that could not hide anything, two S3 destinations included."""
    folder = make_dataset(bench.work / "large", arguments.large << 30)
    big = Bench(bench.work, folder, rounds=1)
    two = [big.local("a"), big.local("b")]
    big.together({"backups to two directories": lambda: big.ours(two)})
    for place in two:
        shutil.rmtree(str(place["path"]))
    for server in arguments.servers:
        bucket_cases(big, server, only_two=True)
    shutil.rmtree(folder)
    return big.table()


def destinations(bench: Bench, arguments: argparse.Namespace) -> list[str]:
    """Each kind against its own plain clients."""
    return destination_lines(bench.work, arguments.mib, arguments.rounds, arguments.kinds, arguments.servers)


SECTIONS: dict[str, Section] = {
    "folder": folder,
    "buckets": buckets,
    "hosts": hosts,
    "destinations": destinations,
    "peers": peers,
}


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    add = parser.add_argument
    add("--mib", type=int, default=1024, help="size of the folder, and of the file for each destination (1024)")
    add("--rounds", type=int, default=3, help="times that each case is measured; the median counts (3)")
    add("--only", nargs="+", choices=SECTIONS, default=[*SECTIONS], help="only these tables (all)")
    add("--servers", nargs="+", choices=("light", "seaweed"), default=["light", "seaweed"], help="S3 servers (both)")
    add("--kinds", nargs="+", default=[], help="only these kinds of destinations, such as samba; nothing is written")
    add("--large", type=int, metavar="GIB", help="also look at memory with a folder of this size")
    add("--no-write", action="store_true", help="print the tables and leave the README as it is")
    add("--readme", type=Path, default=README, help="where to write them (benchmarks/README.md)")
    add("--directory", type=Path, default=Path("/var/tmp"), help="where to work (/var/tmp)")
    return parser.parse_args()


def main() -> None:
    """Measure what was asked for, and write each table as soon as it is there."""
    arguments = options()
    sections = {name: SECTIONS[name] for name in arguments.only}
    if arguments.large:
        sections["large"] = large
    with workplace(arguments.directory) as work:
        source = make_dataset(work / "folder", arguments.mib << 20)
        for name, section in sections.items():
            os.sync()
            about = f"Measured {machine()}; median of {arguments.rounds if name in SECTIONS else 1} rounds."
            print(f"\n{name}: {about}", flush=True)
            lines = section(Bench(work, source, arguments.rounds), arguments)
            if not (arguments.no_write or arguments.kinds):
                write_table(name, [about, "", *lines], arguments.readme)


if __name__ == "__main__":
    main()
