"""What only shares do: connections that break, servers that restart, disks that fill up, names that SMB forbids."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import json
import os
import resource
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import smbclient

from backups.context import Cancel, Context
from backups.destinations import Destination
from backups.destinations.samba.destination import Samba
from backups.destinations.samba.names import PARTIAL, to_names
from backups.destinations.samba.request import packs
from backups.errors import DeniedError, DestinationError, MissingError, StoppedError, VerificationError
from tests.contract.objects import KEY, MIB, content, fetch, keys, push, store
from tests.servers import samba
from tests.servers.faulty_proxy import FOREVER, Fault, FaultyProxy, faulty_proxy

BLOCK = 4 * MIB
BIG = 3 * BLOCK + 4321
SAMPLED = "size, blocks chosen at random read back"
WHOLE = "size and sha256, read back"
ANY = ""
"""The pattern that all connections match."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses between attempts."""
    monkeypatch.setattr("backups.destinations.samba.link.PAUSES", (0.01, 0.2, 0.2))
    monkeypatch.setattr("backups.destinations.samba.upload.BUSY_PAUSES", (0.01, 0.2, 0.5, 2.0))


@pytest.fixture
def folder(samba_server: samba.Samba) -> str:
    name = uuid.uuid4().hex
    (samba_server.root / name).mkdir()
    return name


@pytest.fixture
def proxy(samba_server: samba.Samba) -> Iterator[FaultyProxy]:
    with faulty_proxy(samba_server.port) as running:
        yield running


def settings(port: int, **changes: Any) -> Samba:
    given = {"hostname": "127.0.0.1", "port": port, "share": samba.SHARE}
    return Samba.model_validate({**given, "username": samba.USER, "password": samba.PASSWORD, **changes})


@pytest.fixture
def destination(proxy: FaultyProxy, folder: str, context: Context) -> Iterator[Destination]:
    """Reached through the proxy."""
    with settings(proxy.port, folder=folder).connect(context) as opened:
        yield opened


@pytest.fixture
def direct(samba_server: samba.Samba, folder: str, context: Context) -> Iterator[Destination]:
    """The same place past the proxy: the truth."""
    with settings(samba_server.port, folder=folder).connect(context) as opened:
        yield opened


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[samba.Samba]:
    """One that a test may kill."""
    (tmp_path / "server").mkdir()
    with samba.samba(tmp_path / "server") as server:
        yield server


def partials(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if PARTIAL.fullmatch(path.name)]


# ---------------------------------------------------------------------- connections that break


@pytest.mark.parametrize(
    "fault",
    [
        Fault(ANY, cut_request=2 * BLOCK + 1000),
        Fault(ANY, cut_request=3000),
        Fault(ANY, times=2, cut_request=BLOCK + 100_000),
        Fault(ANY, cut_answer=4000),
        Fault(ANY, corrupt=BLOCK + 100_000),
        Fault(ANY, pace=0.001),
    ],
    ids=["in the middle", "at the beginning", "twice", "an answer", "a byte changes", "slow"],
)
def test_a_fault_that_passes_does_no_harm(
    destination: Destination,
    direct: Destination,
    proxy: FaultyProxy,
    samba_server: samba.Samba,
    folder: str,
    fault: Fault,
) -> None:
    with contextlib.suppress(DestinationError):
        keys(destination)  # the first use ever is not tried again: the settings may be wrong
    proxy.stop()
    proxy.start()
    proxy.add(fault)
    data = content(BIG)
    store(destination, data)
    assert fault.hits
    assert fetch(direct) == data
    assert partials(samba_server.root / folder) == []


def test_what_survived_a_lost_connection_is_read_back_whole(
    destination: Destination, direct: Destination, proxy: FaultyProxy
) -> None:
    data = content(BIG)
    upload = destination.create(KEY)
    push(upload, data[: 2 * BLOCK])
    proxy.stop()
    proxy.start()
    push(upload, data[2 * BLOCK :])
    assert upload.commit(BIG, hashlib.sha256(data).hexdigest()) == WHOLE
    assert fetch(direct) == data
    assert store(destination, data) == SAMPLED


def test_a_connection_that_breaks_before_the_commit(
    destination: Destination, direct: Destination, proxy: FaultyProxy
) -> None:
    store(direct, b"the old one")
    upload = destination.create(KEY)
    upload.write(b"the new one")
    proxy.stop()
    proxy.start()
    assert upload.commit(11, hashlib.sha256(b"the new one").hexdigest()) == WHOLE
    assert fetch(direct) == b"the new one"


def test_a_rename_whose_answer_is_lost_is_found_done(
    direct: Destination, folder: str, samba_server: samba.Samba, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backups.destinations.samba import tree as samba_tree
    from backups.destinations.samba.errors import LostError

    real = samba_tree.rename
    lost: list[Any] = []

    def rename(*given: Any) -> None:
        real(*given)
        if not lost:
            lost.append(given)
            raise LostError("cut")

    monkeypatch.setattr("backups.destinations.samba.tree.rename", rename)
    assert store(direct, b"whole") == SAMPLED
    assert lost
    assert fetch(direct) == b"whole"
    assert partials(samba_server.root / folder) == []


def test_reading_goes_on_where_the_connection_broke(
    destination: Destination, direct: Destination, proxy: FaultyProxy
) -> None:
    data = content(BIG)
    store(direct, data)
    assert keys(destination) == [KEY]
    proxy.stop()
    proxy.start()
    proxy.add(Fault(ANY, cut_answer=5 * MIB))
    proxy.add(Fault(ANY, cut_answer=3 * MIB))
    assert fetch(destination) == data


def test_reading_never_mixes_two_objects(destination: Destination, direct: Destination, proxy: FaultyProxy) -> None:
    store(direct, content(BIG, 1))
    blocks = destination.read(KEY)
    got = next(blocks)
    proxy.stop()  # first, since not every server replaces a file that is open
    store(direct, content(BIG, 2))
    proxy.start()
    with pytest.raises(DestinationError, match="replaced while it was read"):
        for block in blocks:
            got += block
    assert content(BIG, 1).startswith(got)


@contextlib.contextmanager
def opened(upload: Any, key: str = KEY) -> Iterator[Any]:
    """A file that is being read on the upload's own connection: then Samba too refuses to replace it."""
    link = upload._connected()
    path = link.share.path(to_names(key))
    file = smbclient.open_file(path, mode="rb", buffering=0, share_access="rwd", **link.options)
    try:
        yield file
    finally:
        file.close()


def test_a_copy_that_is_read_stays_and_the_new_one_is_not_lost_silently(
    direct: Destination, samba_server: samba.Samba, folder: str
) -> None:
    store(direct, b"the old one")
    upload = direct.create(KEY)
    upload.write(b"the new one")
    with opened(upload):
        with pytest.raises(DestinationError, match="can't be replaced while it is open elsewhere") as caught:
            upload.commit(11, hashlib.sha256(b"the new one").hexdigest())
        assert not caught.value.permanent
        assert "run again" in caught.value.hint
    upload.abort()
    assert fetch(direct) == b"the old one"
    assert partials(samba_server.root / folder) == []


def test_a_copy_that_is_read_is_replaced_when_the_reader_has_ended(
    direct: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(direct, b"the old one")
    upload = direct.create(KEY)
    upload.write(b"the new one")
    with contextlib.ExitStack() as reading:
        reading.enter_context(opened(upload))
        waited: list[float] = []

        def wait(cancel: Cancel, seconds: float) -> None:
            waited.append(seconds)
            reading.close()

        monkeypatch.setattr(Cancel, "wait", wait)
        upload.commit(11, hashlib.sha256(b"the new one").hexdigest())
    assert len(waited) == 1
    assert fetch(direct) == b"the new one"


def test_a_server_that_restarts_is_waited_for(own_server: samba.Samba, context: Context) -> None:
    data = content(BIG)
    with settings(own_server.port).connect(context) as destination:
        store(destination, b"x", "host/other")
        upload = destination.create(KEY)
        push(upload, data[: 2 * BLOCK])
        own_server.kill()
        own_server.start()
        push(upload, data[2 * BLOCK :])
        assert upload.commit(BIG, hashlib.sha256(data).hexdigest()) == WHOLE
        own_server.kill()
        own_server.start()
        assert keys(destination) == [KEY, "host/other"]
        own_server.kill()
        own_server.start()
        assert fetch(destination) == data
        own_server.kill()
        own_server.start()
        assert destination.remove(["host/other"]) == {}
    assert partials(own_server.root) == []


def test_a_server_that_dies_leaves_what_was_there_and_is_cleaned_later(
    own_server: samba.Samba, context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    with settings(own_server.port).connect(context) as destination:
        store(destination, b"the old one")
        upload = destination.create(KEY)
        push(upload, content(BLOCK + 1))
        own_server.kill()
        with pytest.raises(DestinationError) as caught:
            upload.commit(BLOCK + 1, "0" * 64)
        assert not caught.value.permanent
        upload.abort()
        (left,) = partials(own_server.root)
        assert left.name in caplog.text
        own_server.start()
        assert keys(destination) == [KEY]
        assert fetch(destination) == b"the old one"
        store(destination, b"a new one")
        assert partials(own_server.root) == [left]
        os.utime(left, (0, 0))
        store(destination, b"a newer one")
        assert partials(own_server.root) == []


def test_a_server_that_hangs_is_given_up(
    destination: Destination, direct: Destination, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.destinations.samba.link.CONNECT_SECONDS", 0.3)
    proxy.add(Fault(ANY, times=FOREVER, stall=True))
    with pytest.raises(DestinationError) as caught:
        destination.create(KEY)
    assert "SMB 3" in caught.value.hint
    assert keys(direct) == []


def test_a_stop_ends_an_upload_that_hangs_and_removes_its_file(
    samba_server: samba.Samba, folder: str, tmp_path: Path, proxy: FaultyProxy, direct: Destination
) -> None:
    context = Context(tmpdir=tmp_path, cancel=Cancel())
    upload = settings(proxy.port, folder=folder).connect(context).create(KEY)
    proxy.stop()
    proxy.start()
    fault = proxy.add(Fault(ANY, times=FOREVER, stall=True))
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        writing = thread.submit(push, upload, content(BIG))
        assert fault.stalled.wait(60)
        context.cancel.set(15)
        with pytest.raises(StoppedError):
            writing.result(60)
    proxy.heal()
    upload.abort()
    assert partials(samba_server.root / folder) == []
    assert keys(direct) == []


# ---------------------------------------------------------------------- writers that were killed

_KILLED = """
import json, os, pathlib, signal, sys
from backups.context import Context
from backups.destinations.samba.destination import Samba
upload = Samba.model_validate_json(sys.argv[1]).connect(Context(tmpdir=pathlib.Path(sys.argv[2]))).create(sys.argv[3])
for _ in range(9):
    upload.write(b"x" * (1 << 20))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_nothing_visible_and_is_cleaned_when_that_is_safe(
    samba_server: samba.Samba, folder: str, direct: Destination, tmp_path: Path
) -> None:
    config = settings(samba_server.port, folder=folder).model_dump(exclude_defaults=True) | {"password": samba.PASSWORD}
    done = subprocess.run([sys.executable, "-c", _KILLED, json.dumps(config), str(tmp_path), KEY], check=False)
    assert done.returncode == -9
    (left,) = partials(samba_server.root / folder)
    assert keys(direct) == []
    store(direct, b"x")
    assert partials(samba_server.root / folder) == [left]  # its writer may be getting its connection back
    os.utime(left, (0, 0))
    store(direct, b"x")
    assert partials(samba_server.root / folder) == []


def test_a_living_writer_keeps_its_file_however_old_it_is(
    samba_server: samba.Samba, folder: str, direct: Destination, context: Context
) -> None:
    data = content(BLOCK)
    with settings(samba_server.port, folder=folder).connect(context) as other:
        upload = other.create(KEY)
        upload.write(data)
        (partial,) = partials(samba_server.root / folder)
        os.utime(partial, (0, 0))
        store(direct, b"x", "host/another")
        assert partials(samba_server.root / folder) == [partial]
        upload.commit(len(data), hashlib.sha256(data).hexdigest())
    assert fetch(direct) == data


# ---------------------------------------------------------------------- room


def test_a_full_disk_is_told_of_and_leaves_what_was_there(own_server: samba.Samba, context: Context) -> None:
    assert own_server.process
    with settings(own_server.port).connect(context) as destination:
        store(destination, b"the old one")
    limits = resource.prlimit(own_server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(own_server.process.pid, resource.RLIMIT_FSIZE, (6 * MIB, limits[1]))
    with settings(own_server.port).connect(context) as destination:
        with pytest.raises(DestinationError, match="the server's disk is full") as caught:
            store(destination, content(BIG))
        assert caught.value.permanent
        assert "retention_copies" in caught.value.hint
        assert fetch(destination) == b"the old one"
    assert partials(own_server.root) == []


def test_a_share_without_room_is_not_written_to(samba_server: samba.Samba, folder: str, context: Context) -> None:
    with settings(samba_server.port, folder=folder, share=samba.SMALL).connect(context) as destination:
        samba_server.free_kib(1 << 10)
        try:
            with pytest.raises(DestinationError, match=r"the disk is full, 1\.0 MB free") as caught:
                store(destination, b"x")
        finally:
            samba_server.free_kib(1 << 20)
        assert caught.value.permanent
        assert not [*(samba_server.root / folder).iterdir()]


def test_room_that_others_take_is_noticed_while_writing(
    samba_server: samba.Samba, folder: str, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.destinations.samba.upload.LOOK_BYTES", BLOCK)
    with settings(samba_server.port, folder=folder, share=samba.SMALL).connect(context) as destination:
        upload = destination.create(KEY)
        try:
            push(upload, content(BLOCK))
            samba_server.free_kib(5 << 10)
            with pytest.raises(DestinationError, match=r"the disk is full, 5\.0 MB free"):
                push(upload, content(2 * BLOCK))
        finally:
            samba_server.free_kib(1 << 20)
        upload.abort()
        assert not [*(samba_server.root / folder).iterdir()]


# ---------------------------------------------------------------------- what users meet


def test_a_share_that_may_only_be_read(samba_server: samba.Samba, direct: Destination, folder: str) -> None:
    store(direct, b"x")
    with settings(samba_server.port, folder=folder, share=samba.READ_ONLY).connect(_context()) as destination:
        assert fetch(destination) == b"x"
        with pytest.raises(DeniedError, match=r"ACCESS_DENIED|WRITE_PROTECTED") as caught:
            store(destination, b"y")
        assert "right to write" in caught.value.hint
        assert list(destination.remove([KEY])) == [KEY]
    assert fetch(direct) == b"x"


def _context() -> Context:
    return Context(tmpdir=Path("/nonexistent"))


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"share": "Nope"}, MissingError, "there is no share Nope"),
        ({"folder": "not/there"}, MissingError, "does not exist"),
        ({"password": "wr0ng"}, DeniedError, "user name or password is wrong"),
        ({"username": "nobody-here"}, DeniedError, "user name or password is wrong"),
        ({"hostname": "no-such-host.invalid"}, DestinationError, "no such host"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_settings_are_told_in_plain_words(
    samba_server: samba.Samba, changes: dict[str, Any], kind: type[DestinationError], words: str
) -> None:
    with settings(samba_server.port, **changes).connect(_context()) as destination:
        for use in (lambda: store(destination, b"x"), lambda: keys(destination), lambda: fetch(destination)):
            with pytest.raises(kind, match=words) as caught:
                use()
            assert caught.value.hint
            assert "wr0ng" not in str(caught.value)


def test_a_closed_port_is_told_of_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with settings(taken.getsockname()[1]).connect(_context()) as destination:
            with pytest.raises(DestinationError, match=r"port \d+ is closed") as caught:
                keys(destination)
            assert not caught.value.permanent


@pytest.mark.parametrize(("oldest", "newest"), [("NT1", "NT1"), ("SMB2_02", "SMB2_10")])
def test_a_server_that_is_too_old_is_told_of(tmp_path: Path, oldest: str, newest: str) -> None:
    (tmp_path / "server").mkdir()
    dialects = {"server_min_protocol": oldest, "server_max_protocol": newest, "server_smb_encrypt": "default"}
    with samba.samba(tmp_path / "server", **dialects) as server:
        with settings(server.port).connect(_context()) as destination:
            with pytest.raises(DestinationError, match="SMB 2") as caught:
                store(destination, b"x")
            assert "SMB 3" in caught.value.hint
        if newest != "NT1":
            with settings(server.port, encrypt="0").connect(_context()) as destination:
                store(destination, content(BIG))
                assert fetch(destination) == content(BIG)


@pytest.mark.parametrize(
    "limits",
    [
        {"smb2_max_write": "1048576", "smb2_max_read": "1048576"},
        {"smb2_max_credits": "20"},
        {"smb2_max_credits": "100"},
    ],
)
def test_a_server_that_takes_little_at_once_gets_all_of_it(
    limits: dict[str, str], tmp_path: Path, context: Context
) -> None:
    """Requests smaller than ours, and fewer of them on their way than we would have."""
    (tmp_path / "server").mkdir()
    data = content(13 * MIB + 17)
    with samba.samba(tmp_path / "server", **limits) as server:
        for verify in ("sampled", "full"):
            with settings(server.port, verify=verify).connect(context) as destination:
                assert "read back" in store(destination, data)
                assert fetch(destination) == data


@pytest.mark.parametrize(("ciphers", "packed"), [("AES-128-GCM", True), ("AES-256-GCM", True), ("AES-128-CCM", False)])
def test_all_ciphers(ciphers: str, packed: bool, tmp_path: Path, context: Context) -> None:
    """Requests are packed here for those that all servers of today prefer, and by the library for the others."""
    (tmp_path / "server").mkdir()
    with (
        samba.samba(tmp_path / "server", server_smb3_encryption_algorithms=ciphers) as server,
        settings(server.port).connect(context) as destination,
    ):
        upload: Any = destination.create(KEY)
        assert packs(upload._file.fd) is packed
        push(upload, content(BIG))
        upload.commit(BIG, hashlib.sha256(content(BIG)).hexdigest())
        assert fetch(destination) == content(BIG)


@pytest.mark.parametrize("workgroup", ["", "ACME-BACKUP"])
def test_a_domain_belongs_to_the_user(
    samba_server: samba.Samba, folder: str, monkeypatch: pytest.MonkeyPatch, workgroup: str
) -> None:
    """A server without a domain takes any; logging in is not encrypted, so it shows what was said."""
    sent = sent_by_sockets(monkeypatch)
    with settings(samba_server.port, folder=folder, workgroup=workgroup).connect(_context()) as destination:
        store(destination, b"x")
        assert fetch(destination) == b"x"
    said = b"".join(sent)
    assert ("ACME-BACKUP".encode("utf-16-le") in said) is bool(workgroup)
    assert samba.USER.encode("utf-16-le") in said


def test_an_account_that_can_not_log_in_is_told_of(own_server: samba.Samba) -> None:
    """Each as whoever looks after the server may leave it."""
    for options, words in (
        (("--account-control=[D]",), "the account is disabled"),
        (("--account-control=[L]",), "the account is locked"),
        (("--account-control=[ ]", "--kickoff-time=1"), "the account has expired"),
    ):
        own_server.change_account(*options)
        with settings(own_server.port).connect(_context()) as destination:
            with pytest.raises(DeniedError, match=words) as caught:
                store(destination, b"x")
            assert caught.value.permanent
            assert "accounts" in caught.value.hint


# ---------------------------------------------------------------------- names


def test_forbidden_characters_are_stored_as_other_systems_write_them(
    samba_server: samba.Samba, folder: str, direct: Destination
) -> None:
    key = 'host. /2026-11-23/a"b*c:d<e>f?g\\h|i\tj.'
    store(direct, b"x", key)
    (path,) = (path for path in (samba_server.root / folder).rglob("*") if path.is_file())
    assert path.name == "a\uf020b\uf021c\uf022d\uf023e\uf024f\uf025g\uf026h\uf027i\uf009j\uf029"
    assert path.parent.parent.name == "host.\uf028"
    assert keys(direct) == [key]
    assert fetch(direct, key) == b"x"
    assert direct.remove([key]) == {}
    assert not [*(samba_server.root / folder).iterdir()]


def test_a_name_that_differs_only_in_case_is_refused(direct: Destination) -> None:
    store(direct, b"one", "host/2026-11-23/db.sql.gpg")
    with pytest.raises(DestinationError, match=r"DB\.sql\.gpg can't be stored beside db\.sql\.gpg") as caught:
        store(direct, b"two", "host/2026-11-23/DB.sql.gpg")
    assert caught.value.permanent
    assert fetch(direct, "host/2026-11-23/db.sql.gpg") == b"one"


@pytest.mark.parametrize(
    "key", ["../x", "a//b", "/a", "a/", ".", "a\0b", "x\uf022y", ".backups-0123456789abcdef.partial"]
)
def test_keys_that_are_no_names(direct: Destination, key: str) -> None:
    with pytest.raises(DestinationError, match="can't be the name of a file"):
        direct.create(key)
    assert list(direct.remove([key])) == [key]


def test_a_link_on_the_share_is_not_followed(samba_server: samba.Samba, folder: str, direct: Destination) -> None:
    store(direct, b"x")
    (samba_server.root / folder / "host" / "outside").symlink_to("/")
    assert keys(direct) == [KEY]


# ---------------------------------------------------------------------- verification


@pytest.mark.parametrize("verify", ["sampled", "full"])
def test_bytes_that_change_on_the_server_are_noticed(
    samba_server: samba.Samba, folder: str, context: Context, verify: str
) -> None:
    data = content(BIG)
    with settings(samba_server.port, folder=folder, verify=verify).connect(context) as destination:
        upload = destination.create(KEY)
        push(upload, data)
        (partial,) = partials(samba_server.root / folder)
        with partial.open("r+b") as file:
            file.seek(BLOCK + 5)
            file.write(bytes([data[BLOCK + 5] ^ 1]))
        with pytest.raises(VerificationError, match="reads back with other bytes"):
            upload.commit(BIG, hashlib.sha256(data).hexdigest())
        upload.abort()
        assert keys(destination) == []
    assert partials(samba_server.root / folder) == []


def test_all_that_others_see_is_encrypted(
    samba_server: samba.Samba, folder: str, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even to a server that would take it in plain."""
    sent = sent_by_sockets(monkeypatch)
    with settings(samba_server.port, folder=folder).connect(context) as destination:
        store(destination, b"plain words " * 1000)
    assert len(sent) > 5
    assert max(map(len, sent)) > len(b"plain words " * 1000)  # the data is among it
    assert not any(b"plain words" in data or "db.sql.gpg".encode("utf-16-le") in data for data in sent)


def sent_by_sockets(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """All that leaves this process from now on."""
    sent: list[bytes] = []

    def watch(name: str) -> None:
        real = getattr(socket.socket, name)

        def send(self: socket.socket, data: bytes) -> Any:
            sent.append(bytes(data))
            return real(self, data)

        monkeypatch.setattr(socket.socket, name, send)

    watch("send")
    watch("sendall")
    return sent
