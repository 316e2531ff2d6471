"""What the models share: flags and spellings of old job files, ids that are made up, the list of types."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, TypeAdapter, ValidationError

from backups.config import Flag, Identifier, Plugin, WebAddress, alternatives, derived_id
from backups.naming import Compression, copy_key, parse_key
from backups.registry import Registry

FLAG = TypeAdapter[bool](Flag)
IDENTIFIER = TypeAdapter[str](Identifier)


class Box(Plugin):
    """A plugin with every kind of spelling."""

    identity: ClassVar[tuple[str, ...]] = ("place", "key")
    aliases: ClassVar[dict[str, str]] = {"host": "place"}
    nested: ClassVar[tuple[str, ...]] = ("credentials",)

    type: Literal["box"] = "box"
    place: str = ""
    key: SecretStr | None = None


@pytest.mark.parametrize("value", [True, 1, "1", "true", "TRUE", " yes ", "on"])
def test_flags_that_are_set(value: Any) -> None:
    assert FLAG.validate_python(value) is True


@pytest.mark.parametrize("value", [False, 0, "0", "false", "False", "no", " OFF ", ""])
def test_flags_that_are_not_set(value: Any) -> None:
    assert FLAG.validate_python(value) is False


@pytest.mark.parametrize("value", [2, -1, "2", "maybe", None, [], {}, 0.5])
def test_anything_else_is_no_flag(value: Any) -> None:
    with pytest.raises(ValidationError):
        FLAG.validate_python(value)


@given(st.sampled_from(["1", "0", "true", "false", "yes", "no", "on", "off"]), st.data())
def test_case_and_space_do_not_change_a_flag(word: str, data: st.DataObject) -> None:
    mixed = "".join(data.draw(st.sampled_from([c.lower(), c.upper()])) for c in word)
    assert FLAG.validate_python(f" {mixed}\t") is FLAG.validate_python(word)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "box", "place": "a", "key": "k"},
        {"type": "box", "host": "a", "credentials": {"key": "k"}},
        {"type": "box", "credentials": {"host": "a", "key": "k"}},
        {"type": "box", "host": "a", "place": "a", "key": "k"},
    ],
)
def test_every_spelling_means_the_same(item: dict[str, Any]) -> None:
    assert Box.model_validate(item) == Box(place="a", key=SecretStr("k"))


@pytest.mark.parametrize(
    "item",
    [{"place": "a", "host": "b"}, {"key": "a", "credentials": {"key": "b"}}, {"credentials": "a"}, {"Place": "a"}],
)
def test_two_values_or_an_unknown_key_are_an_error(item: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Box.model_validate(item)


def test_models_show_no_input_in_their_errors() -> None:
    with pytest.raises(ValidationError) as caught:
        Box.model_validate({"place": {"deep": "hunter2"}})
    assert "hunter2" not in str(caught.value)


def test_an_id_tells_what_it_is_of() -> None:
    assert derived_id("local", ["backups"]) == "local-backups"
    assert derived_id("s3", ["bucket", None, ""]) == "s3-bucket"
    assert derived_id("flagfile", []) == "flagfile"
    assert derived_id("folder", ["/etc"]).startswith("folder-etc-")
    assert derived_id("folder", ["/srv/a"]) != derived_id("folder", ["/srv-a"])


def test_an_id_shows_nothing_of_a_secret_and_yet_tells_two_apart() -> None:
    one, two = (derived_id("discord", [SecretStr(f"https://discord.com/api/{token}")]) for token in ("abc", "xyz"))
    assert one != two
    assert len(one) == len("discord-") + 6
    assert "http" not in one


def test_a_plugin_without_an_id_gets_one_and_keeps_one_it_has() -> None:
    assert Box(place="a").id == "box-a"
    assert Box(id="mine", place="a").id == "mine"
    assert Box(place="a", key=SecretStr("one")).id != Box(place="a", key=SecretStr("two")).id


PARTS = st.lists(st.one_of(st.text(max_size=80), st.none(), st.text(max_size=80).map(SecretStr)), max_size=4)


@given(PARTS)
def test_every_made_up_id_is_a_good_one(parts: list[Any]) -> None:
    id_ = derived_id("folder", parts)
    assert IDENTIFIER.validate_python(id_) == id_
    assert id_ == derived_id("folder", parts)


@given(st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9 ._@+=-]{0,127}\Z"), st.sampled_from(Compression), st.dates())
def test_an_object_key_gives_back_any_id(id_: str, compression: Compression, date: Any) -> None:
    assert IDENTIFIER.validate_python(id_) == id_
    key = copy_key("host", date, id_, "sql", compression)
    assert parse_key(str(key)) == key


@pytest.mark.parametrize("text", ["", "-x", ".x", " x", "a/b", "a\nb", "a\0", "ä", "x" * 129, "a\n"])
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(ValidationError):
        IDENTIFIER.validate_python(text)


@pytest.mark.parametrize("text", ["https://example.org", "HTTP://127.0.0.1:9091/", "{{resolve:env:URL}}"])
def test_web_addresses(text: str) -> None:
    assert TypeAdapter[str](WebAddress).validate_python(text) == text


@pytest.mark.parametrize(
    "text", ["", "example.org", "ftp://example.org", "https://", "https:///x", "file:///etc/passwd"]
)
def test_what_is_no_web_address(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter[str](WebAddress).validate_python(text)


def test_alternatives_name_what_is_close_and_nothing_else() -> None:
    assert alternatives("dbhots", ["dbhost", "dbname"]) == " (did you mean 'dbhost'?)"
    assert alternatives("DBHOST", ["dbhost"]) == " (did you mean 'dbhost'?)"
    assert alternatives("zzz", ["dbhost", "dbname"]) == ""


class OtherBox(Box):
    """Another type that claims the same name."""


class Crate(Plugin):
    """A type that claims another's name as its second."""

    type: Literal["crate"] = "crate"


def test_a_type_is_found_by_each_of_its_names() -> None:
    registry: Registry[Plugin] = Registry("thing")
    assert registry.add(Box, aliases=("carton",)) is Box
    assert registry.get("box") is Box
    assert registry.get("carton") is Box
    assert registry.get("crate") is None
    assert registry.canonical("carton") == "box"
    assert registry.canonical("crate") == "crate"
    assert registry.names() == ["box", "carton"]
    assert list(registry) == [Box]


def test_a_name_belongs_to_one_type() -> None:
    registry: Registry[Plugin] = Registry("thing")
    registry.add(Box)
    registry.add(Box)
    with pytest.raises(ValueError, match="thing type 'box' is registered twice"):
        registry.add(OtherBox)
    with pytest.raises(ValueError, match="thing type 'box' is registered twice"):
        registry.add(Crate, aliases=("box",))
    assert registry.get("crate") is None
