"""Programs of other Debian releases, run beside this machine's own with the libraries that they were built for.

Packages come from the mirror that apt is configured with, are verified by apt, and are unpacked into ``.cache/debian``
of the checkout: nothing is installed, and no root is needed. A cached release is used without the network.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.servers.kept import CACHE, kept, or_left_out, run

_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
# What packages depend on but the programs run without; the largest of them are a third of all.
_LEFT_OUT = ("perl", "libperl", "libc-gconv", "debconf", "adduser", "passwd", "dpkg", "tzdata", "locales", "ucf")
_PROGRAMS = ("usr/bin/*", "usr/sbin/*", "usr/lib/postgresql/*/bin/*")
_EXCLUDED = (
    *("./usr/share/doc", "./usr/share/man", "./usr/share/locale", "./usr/share/info", "./usr/share/lintian"),
    # PostgreSQL does without its compiler of queries, which is larger than all else.
    *("*/libLLVM*", "./usr/lib/postgresql/*/lib/bitcode", "./usr/lib/postgresql/*/lib/llvmjit*"),
)


def unpacked(release: str, *packages: str) -> Path:
    """Root of the packages of a release with what they need, from the cache or from apt's own mirror.

    Its programs run where they lie, such as ``usr/sbin/mysqld``. Raises RuntimeError when the mirror can't be reached
    or the release has no such package.
    """
    return kept(CACHE / "debian" / f"{release}-{'-'.join(packages)}", lambda place: _unpack(release, packages, place))


def unpacked_or_left_out(release: str, *packages: str) -> Path:
    """The same for a fixture."""
    what = f"{', '.join(packages)} of Debian {release}, by apt's own mirror"
    return or_left_out(what, lambda: unpacked(release, *packages))


def mirror() -> str:
    """Address of the Debian mirror that this machine's apt is configured with. Raises RuntimeError."""
    asked = run(["apt-get", "update", "--print-uris"], "apt-get does not tell its mirror")
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    found = re.search(rf"^'(\S+)/dists/{re.escape(codename)}/InRelease'", asked, re.MULTILINE)
    if not found:
        raise RuntimeError(f"apt is configured with no mirror of Debian {codename}")
    return found[1]


def apt_options(state: Path, source: str) -> dict[str, object]:
    """Options for an apt that knows nothing of this machine but one source; all that it keeps is below ``state``."""
    for name in ("lists/partial", "cache/archives/partial", "sources.list.d"):
        (state / name).mkdir(parents=True)
    (state / "status").touch()  # as if nothing was installed: then everything that is needed is fetched
    (state / "sources.list").write_text(f"{source}\n")
    return {
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": state / "sources.list.d",
        "Acquire::Languages": "none",
        "Acquire::Retries": 3,
        "APT::Sandbox::User": "",
        "APT::Update::Error-Mode": "any",
        "Debug::NoLocking": "true",
    }


def _unpack(release: str, packages: Sequence[str], target: Path) -> None:
    state = target.with_suffix(".apt")
    shutil.rmtree(state, ignore_errors=True)
    options = apt_options(state, f"deb [signed-by={_KEYS}] {mirror()} {release} main")
    apt = ["apt-get", "--yes", "--quiet", *(f"--option={name}={value}" for name, value in options.items())]
    run([*apt, "update"], f"the lists of Debian {release} can't be fetched")
    run(
        [*apt, "install", "--download-only", "--no-install-recommends", *packages],
        f"{', '.join(packages)} of Debian {release} can't be fetched",
    )
    for name in ("bin", "lib", "lib64", "sbin"):
        (target / "usr" / name).mkdir(parents=True)
        (target / name).symlink_to(f"usr/{name}")
    for archive in sorted((state / "cache" / "archives").glob("*.deb")):
        if not archive.name.startswith(_LEFT_OUT):
            _extract(archive, target)
    shutil.rmtree(state)
    for pattern in _PROGRAMS:
        for program in sorted(target.glob(pattern)):
            _front(program)


def _extract(archive: Path, target: Path) -> None:
    content = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE)
    excluded = [f"--exclude={name}" for name in _EXCLUDED]
    # Into directories that are links: older releases have /lib and /usr/lib apart.
    tar = ["tar", "--extract", "--keep-directory-symlink", "--no-same-owner", f"--directory={target}", *excluded]
    done = subprocess.run(tar, stdin=content.stdout, capture_output=True, text=True, check=False)
    assert content.stdout is not None
    content.stdout.close()
    if content.wait() != 0 or done.returncode != 0:
        raise RuntimeError(f"{archive.name} can't be unpacked: {done.stderr}")


def _front(program: Path) -> None:
    """Put a script before a program that starts it with the linker and the libraries of its own release.

    The program takes the script's name for its own, since some look for others and for files beside themselves;
    linkers before 2.33 can't tell it another than that of its file, which is there too.
    """
    if program.is_symlink():
        return
    with program.open("rb") as stream:
        if stream.read(4) != b"\x7fELF":
            return
    up = "/".join(".." for _ in program.parent.relative_to(_root(program)).parts)
    libraries = f"$here/{up}/usr/lib/{platform.machine()}-linux-gnu"
    (linker,) = _root(program).glob(f"usr/lib/{platform.machine()}-linux-gnu/ld-linux*.so.?")
    named = f'--argv0 "$here/{program.name}" ' if b"--argv0" in linker.read_bytes() else ""
    real = program.with_name(f".{program.name}.real")
    program.rename(real)
    program.write_text(
        "#!/bin/sh\n"
        'here=$(cd -- "$(dirname -- "$0")" && pwd)\n'
        f'exec "{libraries}/{linker.name}" --library-path "{libraries}" {named}"$here/{real.name}" "$@"\n'
    )
    program.chmod(0o755)


def _root(program: Path) -> Path:
    return next(parent.parent for parent in program.parents if parent.name == "usr")
