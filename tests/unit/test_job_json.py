"""JSON mistakes are reported at their place, also those that the standard library forgives."""

from __future__ import annotations

import json

import pytest

from tests.jobs import DATA, problems

# The shape of each broken example of the old manual.
ROOT = b'{\n  "hostname": "my.hostname.com",\n  "sources": [],\n  "notifications": [],\n}\n'
BUCKET = b'{\n  "bucket": "backups-123456789",\n}\n'
MAIL = b"""{
  "host": "smtp.mycompany.com",
  "port": 587,
  "credentials": {}
    "username": "backups",
    "password": "relaypassword"
  },
  "use_tls": 1
}
"""


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (ROOT, "4:22: not valid JSON: a comma after the last item"),
        (BUCKET, "2:32: not valid JSON: a comma after the last item"),
        (MAIL, "5:5: not valid JSON: Expecting ',' delimiter"),
        (b'{"a": [1, 2, ]}', "1:12: not valid JSON: a comma after the last item"),
        (b'{"a": 1,, "b": 2}', "1:9: not valid JSON: Expecting property name"),
        (b'{"a": "x\ny"}', "1:9: not valid JSON: Invalid control character"),
        (b"{'a': 1}", "1:2: not valid JSON: Expecting property name"),
        (b'{"a": 1', "1:8: not valid JSON: Expecting ',' delimiter"),
        (b"", "1:1: not valid JSON: Expecting value"),
        (b'{"a": 1} {}', "1:10: not valid JSON: Extra data"),
        (b'{"a": NaN}', "not valid JSON: NaN is no number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON: a number is too long"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "a job file is a JSON object"),
        (b'"text"', "a job file is a JSON object"),
    ],
)
def test_the_error_says_where(content: bytes, place: str) -> None:
    found = problems(content)
    assert len(found) == 1
    assert found[0].startswith(place)


def test_the_old_manuals_complete_example_as_printed_is_an_error_with_its_place() -> None:
    content = (DATA / "complete-as-printed.json").read_bytes()
    assert problems(content) == ["30:6: not valid JSON: a comma after the last item"]


@pytest.mark.parametrize("depth", [500, 900, 950, 970, 990, 2000, 20_000])
def test_any_depth_is_a_problem_not_a_traceback(depth: int) -> None:
    assert problems(b'{"sources": ' + b"[" * depth + b"]" * depth + b"}")


def test_a_value_never_shows_in_a_syntax_error() -> None:
    assert "hunter2" not in "\n".join(problems(b'{"passphrase": "hunter2" "hunter2"}'))


def test_a_key_given_twice_is_an_error_wherever_it_stands() -> None:
    found = problems(b'{"tmpdir": "/a", "tmpdir": "/b", "sources": [{"type": "folder", "path": 1, "path": 2}]}')
    assert "tmpdir: this key is given twice" in found
    assert "sources[0].path: this key is given twice" in found


def test_a_byte_order_mark_is_no_mistake() -> None:
    content = (DATA / "complete.json").read_bytes()
    assert problems(b"\xef\xbb\xbf" + content) == []


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_characters_that_nothing_can_hold_are_refused(text: str) -> None:
    content = json.dumps({"sources": [{"type": "folder", "path": text}]}).encode()
    assert "sources[0].path: holds a character that no file name, command or message can hold" in problems(content)
