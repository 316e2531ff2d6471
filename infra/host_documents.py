"""The Systems Manager documents that the stack deploys: what its workers may ask the agent on a host to do.

Each parameter has a pattern that leaves no way out of the single quotes it is put into; paths and excludes come in
base64 and are never evaluated, so a host runs nothing but these scripts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backups.sources.tar import FORMAT

_FOLDER = Path(__file__).with_name("host_folder.sh")
_FLAG = Path(__file__).with_name("host_flag.sh")
_WORD = "[A-Za-z0-9+/]+={0,2}"
_ADDRESS = "https?://[A-Za-z0-9.:/?&=%_~+-]+"

Parameter = dict[str, Any]


def folder_document() -> dict[str, Any]:
    """Archives a folder into the staging area. ``executionTimeout`` is in seconds; the agent ends what takes longer."""
    parameters = {
        "leaseUrl": _text("Where the host learns which parts it may upload, and where to", f"^{_ADDRESS}$"),
        "folder": _text("Absolute path, in base64", f"^{_WORD}$"),
        "rename": _text("How names begin in the archive, in base64", f"^{_WORD}$"),
        "anywhere": _text("Excludes that match at any depth, each in base64", f"^({_WORD}( {_WORD})*)?$", ""),
        "below": _text("Excludes that match at the top, each in base64", f"^({_WORD}( {_WORD})*)?$", ""),
        "oneFileSystem": _text("Leave out what is mounted below", "^(true|false)$", "false"),
        "partBytes": _text("Size of a part", "^[1-9][0-9]{0,9}$", str(64 << 20)),
        "beat": _text("Seconds between looks at the lease", "^[1-9][0-9]{0,2}$", "20"),
        "silence": _text("Seconds without a new lease after which the host gives up", "^[1-9][0-9]{0,4}$", "600"),
        "uploads": _text("Parts that are sent at once", "^[1-9]$", "4"),
        "tries": _text("Times that each part is tried", "^[1-9][0-9]?$", "7"),
        "executionTimeout": _text("Seconds that all of it may take", "^[1-9][0-9]{0,5}$", "21600"),
    }
    values = {
        "lease_url": "leaseUrl",
        "one_file_system": "oneFileSystem",
        "part_bytes": "partBytes",
        **{name: name for name in ("folder", "rename", "anywhere", "below", "beat", "silence", "uploads", "tries")},
    }
    script = _FOLDER.read_text(encoding="utf-8").replace("{{FORMAT}}", " ".join(FORMAT))
    return _document(
        "archives a folder of this host into the staging area, which the worker empties", parameters, values, script
    )


def flag_document() -> dict[str, Any]:
    """Writes a flag file. ``executionTimeout`` is in seconds."""
    parameters = {
        "file": _text("Absolute path, in base64", f"^{_WORD}$"),
        "executionTimeout": _text("Seconds that it may take", "^[1-9][0-9]{0,2}$", "30"),
    }
    script = _FLAG.read_text(encoding="utf-8")
    return _document("writes a flag file, which monitoring reads the age of", parameters, {"file": "file"}, script)


def _document(about: str, parameters: dict[str, Parameter], values: dict[str, str], script: str) -> dict[str, Any]:
    """``values`` names the parameter of each variable of the script."""
    return {
        "schemaVersion": "2.2",
        "description": f"Backups: {about}",
        "parameters": parameters,
        "mainSteps": [
            {
                "action": "aws:runShellScript",
                "name": "run",
                "precondition": {"StringEquals": ["platformType", "Linux"]},
                "inputs": {
                    "timeoutSeconds": "{{ executionTimeout }}",
                    "runCommand": [
                        *(f"{variable}='{{{{ {parameter} }}}}'" for variable, parameter in values.items()),
                        *script.splitlines(),
                    ],
                },
            }
        ],
    }


def _text(description: str, pattern: str, default: str | None = None) -> Parameter:
    given = {} if default is None else {"default": default}
    return {"type": "String", "description": description, "allowedPattern": pattern, **given}
