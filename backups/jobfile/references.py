"""Whether the references to secrets in a text are well formed; ``secrets`` resolves them."""

from __future__ import annotations

import re

from backups.config import alternatives
from backups.secrets import REFERENCE

FORMS = {
    "secretsmanager": "{{resolve:secretsmanager:NAME:SecretString:KEY}}",
    "ssm-secure": "{{resolve:ssm-secure:NAME}}",
    "ssm": "{{resolve:ssm:NAME}}",
    "env": "{{resolve:env:NAME}}",
    "file": "{{resolve:file:PATH}}",
}
"""Each service with the form of its references."""

_START = re.compile(r"\{\{\s*resolve\b", re.IGNORECASE)
_SERVICE = re.compile(r"\{\{\s*resolve\s*:\s*([\w-]+)\s*:", re.IGNORECASE)
_ARN = r"arn:[\w-]+:secretsmanager:[\w-]*:\d*:secret:[^:]+"
_REST = {
    "secretsmanager": re.compile(rf"({_ARN}|[\w/+=.@-]+)(:SecretString(:[^:]*){{0,3}})?"),
    "ssm-secure": re.compile(r"[\w/.-]+(:\d+)?"),
    "ssm": re.compile(r"[\w/.-]+(:\d+)?"),
    "env": re.compile(r"[A-Za-z_]\w*"),
    "file": re.compile(r"\S(.*\S)?"),
}


def reference_problem(text: str) -> str:
    """What is wrong with the references in a text; empty when there is nothing. Never shows the text."""
    matches = {match.start(): match for match in REFERENCE.finditer(text)}
    for start in _START.finditer(text):
        match = matches.get(start.start())
        if match is None:
            return _malformed(text[start.start() :])
        if not _REST[match["service"]].fullmatch(match["rest"]):
            return f"malformed reference: write {FORMS[match['service']]}"
    return ""


def is_whole_reference(text: str) -> bool:
    """Whether a text is nothing but references, so that it may stand in a file that others read."""
    return bool(text) and not REFERENCE.sub("", text)


def _malformed(text: str) -> str:
    service = _SERVICE.match(text)
    if service and service[1] in FORMS:
        return f"malformed reference: write {FORMS[service[1]]}"
    similar = alternatives(service[1], FORMS) if service else ""
    return f"a reference to an unknown service{similar}; known are: {', '.join(FORMS.values())}"
