"""``python -m infra.app``, which the CDK command line calls: settings and job files in, ``cdk.out`` out.

No call to AWS and no Docker; what is wrong with settings or job files is said at once, all of it, with exit code 2.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from aws_cdk import App

from backups.errors import BackupsError
from infra.bundle import ROOT
from infra.jobs import read_jobs
from infra.settings import read_settings
from infra.stacks.backups_stack import BackupsStack


def build(context: Mapping[str, Any] | None = None, *, outdir: str | None = None) -> App:
    """The app with its stack; ``context`` stands above cdk.json. Raises UsageError and JobError."""
    defaults = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
    # Without the command line nobody else reads cdk.json. What the command line says stands above this.
    app = App(context={**defaults, **(context or {})}, outdir=outdir, analytics_reporting=False)
    settings = read_settings(app.node.get_all_context())
    jobs = read_jobs(settings.jobs if settings.jobs.is_absolute() else ROOT / settings.jobs)
    BackupsStack(app, settings=settings, jobs=jobs)
    return app


def main() -> int:
    """Synthesize. Returns the exit code."""
    try:
        build(outdir=os.environ.get("CDK_OUTDIR", "cdk.out")).synth()
    except BackupsError as error:
        print(f"{error.message}\n{error.hint}".rstrip(), file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
