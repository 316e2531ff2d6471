"""Names on shares, statuses of servers, and blocks to read back: the parts of the Samba destination that need none."""

from __future__ import annotations

import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from smbprotocol.exceptions import SMBAuthenticationError, SMBConnectionClosed, SMBException, SMBOSError

from backups.destinations.samba import errors as samba_errors
from backups.destinations.samba.destination import Samba
from backups.destinations.samba.errors import LostError, explain
from backups.destinations.samba.names import to_names, to_part
from backups.destinations.samba.samples import SAMPLES, Samples
from backups.errors import DeniedError, DestinationError, MissingError

FORBIDDEN = set('"*:<>?\\|') | {chr(number) for number in range(32)}
PLAIN = {"hostname": "h", "share": "s", "username": "u", "password": "p"}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_every_key_is_mapped_to_allowed_names_and_back_or_refused(key: str) -> None:
    try:
        names = to_names(key)
    except DestinationError as error:
        assert error.permanent
        return
    assert "/".join(map(to_part, names)) == key
    for name in names:
        assert not FORBIDDEN & set(name)
        assert name[-1] not in " ."


@given(st.lists(st.text("ab:\uf022. ", min_size=1, max_size=6), min_size=2, max_size=8, unique=True))
def test_two_keys_never_get_one_name(keys: list[str]) -> None:
    mapped = []
    for key in keys:
        try:
            mapped.append(to_names(key))
        except DestinationError:
            continue
    assert len(set(mapped)) == len(mapped)


def test_ordinary_names_stay_as_they_are() -> None:
    assert to_names("host/2026-11-23/my db.sql.gpg") == ("host", "2026-11-23", "my db.sql.gpg")
    assert to_names("ünï/日本.x") == ("ünï", "日本.x")


def test_names_that_are_too_long_are_refused() -> None:
    to_names("x" * 255)
    with pytest.raises(DestinationError):
        to_names("x" * 256)
    with pytest.raises(DestinationError):
        to_names("\N{MUSICAL SYMBOL G CLEF}" * 128)


@pytest.mark.parametrize(
    ("status", "kind", "words", "permanent"),
    [
        (0xC000006D, DeniedError, "user name or password is wrong", True),
        (0xC0000072, DeniedError, "disabled", True),
        (0xC0000234, DeniedError, "locked", True),
        (0xC0000071, DeniedError, "expired", True),
        (0xC0000022, DeniedError, "access is denied", True),
        (0xC00000CC, MissingError, "no such share", True),
        (0xC000003A, MissingError, "does not exist", True),
        (0xC000007F, DestinationError, "disk is full", True),
        (0xC0000044, DestinationError, "quota", True),
        (0xC00000BB, DestinationError, "too old", True),
        (0xC0000043, DestinationError, "in use", False),
        (0xC00000D0, DestinationError, "too many connections", False),
        (0xC0000203, LostError, "ended the session", False),
        (0xC00000C9, LostError, "taken away", False),
        (0xC0001234, DestinationError, "0xC0001234", False),
    ],
)
def test_each_status_is_told_in_plain_words(
    status: int, kind: type[DestinationError], words: str, permanent: bool
) -> None:
    told = explain(SMBOSError(status, "x"), "\\\\server\\share: a/b can't be written")
    assert type(told) is kind
    assert told.permanent is permanent
    assert words in told.message
    assert told.message.startswith("\\\\server\\share: a/b can't be written: ")


def test_every_status_that_a_person_can_do_something_about_says_what() -> None:
    tables = (samba_errors._DENIED, samba_errors._MISSING, samba_errors._REFUSED, samba_errors._PASSING)
    statuses = [status for table in tables for status in table]
    assert max(collections.Counter([*statuses, *samba_errors._LOST]).values()) == 1
    for status in statuses:
        assert explain(SMBOSError(status, "x"), "here").hint


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (SMBException("signing was required but session was authenticated as a guest"), DeniedError, "guest"),
        (SMBException("SMB encryption is required but the connection does not support it"), DestinationError, "SMB 2"),
        (SMBAuthenticationError("Failed to authenticate with server: no ticket"), DeniedError, "no ticket"),
        (SMBConnectionClosed("closed"), LostError, "broke"),
        (BrokenPipeError(32, "Broken pipe"), LostError, "broke"),
        (SMBException("Request requires 64 credits"), LostError, "credits"),
    ],
)  # fmt: skip
def test_what_the_client_says_itself(error: Exception, kind: type[DestinationError], words: str) -> None:
    told = explain(error, "here")
    assert type(told) is kind
    assert words in told.message


def test_samples_are_of_the_whole_file_and_always_of_its_end() -> None:
    seen: collections.Counter[int] = collections.Counter()
    for _ in range(200):
        samples = Samples()
        for number in range(100):
            samples.add(number * 10, bytes([number]) * 10)
        chosen = list(samples)
        assert SAMPLES <= len(chosen) <= SAMPLES + 1
        assert [sample.offset for sample in chosen] == sorted({sample.offset for sample in chosen})
        assert chosen[-1].offset == 990
        for sample in chosen:
            right, wrong = samples.sum(), samples.sum()
            for number in bytes([sample.offset // 10]) * sample.size:
                right.update(bytes([number]))
            wrong.update(bytes([sample.offset // 10]) * (sample.size - 1) + b"\xff")
            assert right.tag() == sample.tag != wrong.tag()
        seen.update(sample.offset // 10 for sample in chosen)
    assert set(seen) == set(range(100))  # the chance that one of them is never chosen is below 1e-12


def test_a_small_file_is_sampled_whole() -> None:
    samples = Samples()
    for number in range(SAMPLES):
        samples.add(number, b"x")
    assert len(list(samples)) == SAMPLES
    assert list(Samples()) == []


def test_settings() -> None:
    config = Samba.model_validate(PLAIN)
    assert config.encrypt
    assert config.port == 445
    assert config.verify == "sampled"
    for wrong in ({"hostname": "a\\b"}, {"share": "a/b"}, {"folder": "../x"}, {"folder": "a\\..\\b"}, {"port": 0}):
        with pytest.raises(ValidationError):
            Samba.model_validate(PLAIN | wrong)
