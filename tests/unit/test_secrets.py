from __future__ import annotations

import json
import logging
import re
import shlex
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from moto import mock_aws
from pydantic import BaseModel, SecretStr

from backups.errors import SecretError
from backups.secrets import Scrubber, ScrubbingFilter, Secrets, is_reference, references

PLANTED = "s3cr3t /&%\"'\\ü#"


class Inner(BaseModel):
    password: SecretStr
    url: str = ""


class Outer(BaseModel):
    inner: Inner
    names: tuple[str, ...] = ()
    options: dict[str, str] = {}
    port: int = 1


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield


def create_secret(name: str, **content: Any) -> str:
    return str(boto3.client("secretsmanager").create_secret(Name=name, **content)["ARN"])


def test_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", PLANTED)
    assert Secrets().text("a{{resolve:env:PLANTED}}b") == f"a{PLANTED}b"


def test_a_missing_environment_variable_is_named() -> None:
    with pytest.raises(SecretError, match="environment variable NO_SUCH_ONE is not set"):
        Secrets().text("{{resolve:env:NO_SUCH_ONE}}")


def test_a_file_without_the_newline_that_editors_add(tmp_path: Path) -> None:
    path = tmp_path / "a file: with colons"
    path.write_text(f" {PLANTED} \n")
    assert Secrets().text(f"{{{{resolve:file:{path}}}}}") == f" {PLANTED} "


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match=r"secret file .*none: No such file or directory"):
        Secrets().text(f"{{{{resolve:file:{tmp_path / 'none'}}}}}")


def test_a_file_that_is_no_text_is_an_error_that_shows_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfeplanted")
    with pytest.raises(SecretError, match="not UTF-8 text") as caught:
        Secrets().text(f"{{{{resolve:file:{path}}}}}")
    assert "planted" not in str(caught.value)


@pytest.mark.usefixtures("aws")
class TestSecretsManager:
    def test_a_whole_secret(self) -> None:
        create_secret("nightly/db", SecretString=PLANTED)
        assert Secrets().text("{{resolve:secretsmanager:nightly/db}}") == PLANTED
        assert Secrets().text("{{resolve:secretsmanager:nightly/db:SecretString}}") == PLANTED

    def test_a_key_of_a_json_secret(self) -> None:
        create_secret("db", SecretString=json.dumps({"password": PLANTED, "port": 3306}))
        assert Secrets().text("{{resolve:secretsmanager:db:SecretString:password}}") == PLANTED
        assert Secrets().text("{{resolve:secretsmanager:db:SecretString:port}}") == "3306"
        assert Secrets().text("{{resolve:secretsmanager:db:SecretString:port::}}") == "3306"

    def test_an_arn_has_colons_of_its_own(self) -> None:
        arn = create_secret("db", SecretString=json.dumps({"password": PLANTED}))
        assert arn.count(":") == 6
        assert Secrets().text(f"{{{{resolve:secretsmanager:{arn}:SecretString:password}}}}") == PLANTED

    def test_a_stage_and_a_version(self) -> None:
        create_secret("db", SecretString=json.dumps({"password": "older value"}))
        client = boto3.client("secretsmanager")
        version = client.put_secret_value(SecretId="db", SecretString=json.dumps({"password": PLANTED}))["VersionId"]
        text = Secrets().text
        assert text("{{resolve:secretsmanager:db:SecretString:password:AWSPREVIOUS}}") == "older value"
        assert text(f"{{{{resolve:secretsmanager:db:SecretString:password:AWSCURRENT:{version}}}}}") == PLANTED

    def test_a_missing_secret_is_named(self) -> None:
        with pytest.raises(SecretError, match=r"secret none: .*ResourceNotFound") as caught:
            Secrets().text("{{resolve:secretsmanager:none}}")
        assert "may this role read it" in caught.value.hint

    @pytest.mark.parametrize("content", ['{"user": "planted"}', '["planted"]', "planted", '"planted"'])
    def test_a_missing_key_is_named_and_nothing_of_the_secret_shown(self, content: str) -> None:
        create_secret("db", SecretString=content)
        with pytest.raises(SecretError, match="secret db has no JSON key 'password'") as caught:
            Secrets().text("{{resolve:secretsmanager:db:SecretString:password}}")
        assert "planted" not in str(caught.value)

    @pytest.mark.parametrize("value", [None, True, ["planted"], {"planted": 1}])
    def test_a_key_that_holds_no_text_is_an_error(self, value: object) -> None:
        create_secret("db", SecretString=json.dumps({"password": value}))
        with pytest.raises(SecretError, match="neither text nor a number") as caught:
            Secrets().text("{{resolve:secretsmanager:db:SecretString:password}}")
        assert "planted" not in str(caught.value)

    def test_a_binary_secret_is_an_error(self) -> None:
        create_secret("db", SecretBinary=b"planted")
        with pytest.raises(SecretError, match="secret db is binary"):
            Secrets().text("{{resolve:secretsmanager:db}}")

    def test_without_a_region_the_error_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_DEFAULT_REGION")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
        with pytest.raises(SecretError, match="region"):
            Secrets().text("{{resolve:secretsmanager:db}}")


@pytest.mark.usefixtures("aws")
class TestParameterStore:
    @pytest.mark.parametrize("service", ["ssm", "ssm-secure"])
    def test_a_parameter(self, service: str) -> None:
        boto3.client("ssm").put_parameter(Name="/nightly/db", Value=PLANTED, Type="SecureString")
        assert Secrets().text(f"{{{{resolve:{service}:/nightly/db}}}}") == PLANTED

    def test_a_missing_parameter_is_named(self) -> None:
        with pytest.raises(SecretError, match=r"parameter /none: .*ParameterNotFound"):
            Secrets().text("{{resolve:ssm-secure:/none}}")


def test_a_value_is_looked_up_once() -> None:
    asked: list[str] = []

    def look_up(name: str) -> str:
        asked.append(name)
        return PLANTED

    secrets = Secrets({"env": look_up})
    assert secrets.text("{{resolve:env:A}}{{resolve:env:A}}") == secrets.text("{{resolve:env:A}}") * 2
    assert asked == ["A"]


def test_a_value_that_looks_like_a_reference_is_not_resolved_again() -> None:
    secrets = Secrets({"env": lambda name: "{{resolve:file:/etc/passwd}}"})
    assert secrets.text("{{resolve:env:A}}") == "{{resolve:file:/etc/passwd}}"


def test_a_model_is_resolved_wherever_a_reference_stands() -> None:
    secrets = Secrets({"env": {"A": "first-secret", "B": "second-secret"}.__getitem__})
    model = Outer(
        inner=Inner(password=SecretStr("{{resolve:env:A}}"), url="https://x/{{resolve:env:B}}"),
        names=("{{resolve:env:A}}", "plain"),
        options={"key": "{{resolve:env:B}}"},
    )
    resolved = secrets.resolve(model)
    assert resolved.inner.password.get_secret_value() == "first-secret"
    assert resolved.inner.url == "https://x/second-secret"
    assert resolved.names == ("first-secret", "plain")
    assert resolved.options == {"key": "second-secret"}
    assert resolved.port == 1
    assert model.inner.password.get_secret_value() == "{{resolve:env:A}}", "the original is as it was"
    assert "secret" not in repr(resolved.inner.password)
    assert secrets.scrub("first-secret second-secret") == "**** ****"
    assert set(references(model)) == {("env", "A"), ("env", "B")}


def test_a_secret_in_plain_is_masked_too() -> None:
    secrets = Secrets()
    secrets.resolve(Inner(password=SecretStr("plain-secret")))
    assert secrets.scrub("it was plain-secret") == "it was ****"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("{{resolve:env:A}}", True), ("x{{resolve:file:/a b}}y", True), ("{{resolve:other:A}}", False), ("plain", False)],
)
def test_what_is_a_reference(text: str, expected: bool) -> None:
    assert is_reference(text) is expected


SECRET_TEXTS = st.text(min_size=4, max_size=40).filter(lambda text: len(text.strip()) >= 4 and "*" not in text)


@given(SECRET_TEXTS)
@example(PLANTED)
@example("it's")
@example("a/b+c d%")
@example("two lines\nof a private key")
def test_a_secret_is_masked_in_every_form_that_programs_write(secret: str) -> None:
    scrub = Scrubber()
    scrub.add(secret)
    forms = [
        secret,
        secret.strip(),
        urllib.parse.quote(secret),
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote_plus(secret),
        re.sub("%..", lambda match: match[0].lower(), urllib.parse.quote_plus(secret)),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
    ]
    for form in forms:
        assert scrub(f"<{form}>") == "<****>"
    assert scrub(shlex.quote(secret)) in ("****", "'****'")


@given(st.lists(SECRET_TEXTS, min_size=2, max_size=5), st.data())
def test_of_secrets_that_hold_each_other_nothing_stays(secrets: list[str], data: st.DataObject) -> None:
    scrub = Scrubber()
    outer = secrets[0] + secrets[1]
    for secret in (*secrets, outer):
        scrub.add(secret)
    assert scrub(f"<{outer}>") == "<****>"


def test_a_short_value_would_mask_half_of_every_message() -> None:
    scrub = Scrubber()
    scrub.add("a")
    scrub.add("")
    scrub.add("   ")
    assert scrub("a banana   ") == "a banana   "


def test_a_value_that_is_no_utf_8_is_masked() -> None:
    """An environment variable may hold any bytes."""
    scrub = Scrubber()
    scrub.add("pass\udcffword")
    assert scrub("pass\udcffword pass%FFword") == "**** ****"


def test_log_records_are_masked_with_their_arguments_and_traceback(caplog: pytest.LogCaptureFixture) -> None:
    scrub = Scrubber()
    scrub.add("planted-secret")
    log = logging.getLogger("test of secrets")
    masking = ScrubbingFilter(scrub)
    log.addFilter(masking)
    try:
        int("planted-secret")
    except ValueError:
        log.exception("it was %s", "planted-secret")
    finally:
        log.removeFilter(masking)
    assert "planted" not in caplog.text
    assert "it was ****" in caplog.text
    assert "ValueError: invalid literal for int() with base 10: '****'" in caplog.text
