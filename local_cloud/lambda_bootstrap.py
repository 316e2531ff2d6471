"""Starts awslambdaric with the function's bundle and nothing else to import from.

``python -I -S lambda_bootstrap.py RUNTIME_PACKAGES HANDLER``: without site packages, user site and PYTHONPATH a module
is found in the standard library, in the bundle (LAMBDA_TASK_ROOT), or is awslambdaric with what it needs itself. A
dependency missing from the bundle fails here as it would on AWS.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from runpy import run_module


def main(packages: str, handler: str) -> None:
    """Run the runtime interface client; it never returns."""
    # Last, so that the bundle's own packages win, and only for the client: the bundle comes first.
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    sys.path.append(packages)
    if find_spec("awslambdaric") is None:
        sys.exit(f"no awslambdaric in {packages}")
    sys.argv = ["awslambdaric", handler]
    run_module("awslambdaric", run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:3])
