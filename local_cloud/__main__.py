"""``python -m local_cloud --port N --programs FILE.json --state-dir DIR``, run by ``.venv-cloud``'s interpreter."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from local_cloud import server
from local_cloud.settings import Settings, SettingsError, load_programs


def main() -> int:
    """Serve until told to stop. Exit status 0, 1 when serving failed, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m local_cloud", description="AWS on this machine, without Docker.")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 picks a free one (default)")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--programs", type=Path, required=True, help="JSON: image pattern -> argv")
    parser.add_argument("--state-dir", type=Path, required=True, help="logs, unpacked code, temporary files")
    parser.add_argument("--lambda-python", type=Path, required=True, help="the interpreter that has awslambdaric")
    parser.add_argument("--no-iam", action="store_true", help="allow every request")
    parser.add_argument("--wait-scale", type=float, default=1.0, help="shortens Wait states and pauses of retries")
    parser.add_argument("--objects", type=Path, help="what new buckets hold: lines of bucket, key, size, with tabs")
    parser.add_argument("--watch-parent", action="store_true", help="end when standard input reaches its end")
    arguments = parser.parse_args()
    try:
        programs = load_programs(arguments.programs)
        state = server.state_directory(arguments.state_dir)
        listener = server.bind(arguments.port)
    except (SettingsError, OSError) as error:
        print(f"local_cloud: {error}", file=sys.stderr)
        return 2
    settings = Settings(
        port=listener.getsockname()[1],
        region=arguments.region,
        state=state,
        programs=programs,
        # Not resolved: a venv's interpreter is a link, and knows its packages by its own place.
        lambda_python=arguments.lambda_python.absolute(),
        enforce_iam=not arguments.no_iam,
        wait_scale=arguments.wait_scale,
        objects=arguments.objects,
    )
    server.run(settings, listener, watch_parent=arguments.watch_parent)
    return 0


if __name__ == "__main__":
    try:
        status = main()
    except Exception as error:
        print(f"local_cloud: {type(error).__name__}: {error}", file=sys.stderr)
        status = 1
    server.exit_now(status)
