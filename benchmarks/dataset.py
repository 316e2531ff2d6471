"""Makes the folder that everything is measured on: the same bytes on every machine, and nothing to deduplicate."""

from __future__ import annotations

import argparse
import random
import string
from collections.abc import Iterator
from pathlib import Path

SMALL_FILES_PER_GIB = 13_000
_BLOCK = 1 << 20
_NOISE = 32 << 20
_TEMPLATE_ROWS = 120_000
_FILES_PER_DIRECTORY = 100
_WORDS = ["".join(random.Random(number).choices(string.ascii_lowercase, k=3 + number % 8)) for number in range(2_000)]


def make_dataset(folder: Path, size: int) -> Path:
    """Write ``size`` bytes below ``folder``: 40 % SQL text, 40 % random, the rest small files of both kinds."""
    folder.mkdir(parents=True)
    large = size * 2 // 5
    chance = random.Random(size)
    text = _sql(chance)
    _write(folder / "dump.sql", large, text)
    _write(folder / "media.bin", large, _noise(chance))
    _write_small(folder / "small", size - 2 * large, chance)
    return folder


def _sql(chance: random.Random) -> Iterator[bytes]:
    """Rows as mysqldump writes them, without end. Compresses about as well as a real dump (zstd -3: four times).

    Making each row would take minutes for gigabytes: a few megabytes of them are repeated, each time with another
    permutation of letters and digits, so that no window and no deduplication finds them again.
    """
    rows = [
        f"({number},'{chance.choice(_WORDS)} {chance.choice(_WORDS)} {chance.choice(_WORDS)}',"
        f"'2026-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02} {chance.randrange(24):02}:00:00',"
        f"{chance.randrange(100_000) / 100},NULL,'{chance.choice(_WORDS)}@example.com',{chance.randrange(5)})"
        for number in range(_TEMPLATE_ROWS)
    ]
    lines = [",".join(rows[start : start + 50]) for start in range(0, len(rows), 50)]
    template = "".join(f"INSERT INTO `orders` VALUES {line};\n" for line in lines).encode()
    while True:
        letters, digits = [*string.ascii_lowercase], [*string.digits]
        chance.shuffle(letters)
        chance.shuffle(digits)
        table = bytes.maketrans(
            (string.ascii_lowercase + string.digits).encode(), "".join([*letters, *digits]).encode()
        )
        yield template.translate(table)


def _noise(chance: random.Random) -> Iterator[bytes]:
    """What photographs and archives look like to a compressor."""
    while True:
        yield chance.randbytes(_BLOCK)


def _write(path: Path, size: int, blocks: Iterator[bytes]) -> None:
    with path.open("wb") as file:
        while size > 0:
            block = next(blocks)[:size]
            file.write(block)
            size -= len(block)


def _write_small(folder: Path, size: int, chance: random.Random) -> None:
    count = max(1, round(size * 5 / (1 << 30) * SMALL_FILES_PER_GIB))
    each, rest = divmod(size, count)
    text, noise = next(_sql(chance)), chance.randbytes(max(_NOISE, 2 * each))
    for number in range(count):
        directory = folder / f"{number // _FILES_PER_DIRECTORY:04}"
        if number % _FILES_PER_DIRECTORY == 0:
            directory.mkdir(parents=True)
        length = each + (rest if number == count - 1 else 0)
        content = text if number % 2 else noise
        start = chance.randrange(max(1, len(content) - length))
        (directory / f"file {number:06}").write_bytes((content[start : start + length]).ljust(length, b" "))


def main() -> None:
    """``python -m benchmarks.dataset FOLDER MIB``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("mib", type=int)
    arguments = parser.parse_args()
    make_dataset(arguments.folder, arguments.mib << 20)


if __name__ == "__main__":
    main()
