"""Lambda: functions run in awslambdaric, with AWS's error names, in as many environments as are needed at once.

MiniStack's own workers report every exception as ``Runtime.HandlerError``, so that Retry and Catch by name could not
be tested, and import from the server's environment.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tempfile
import threading
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_cloud.lambda_runtime import Environment
from local_cloud.seams import emf
from local_cloud.seams.patching import service
from local_cloud.settings import Settings

_BOOTSTRAP = Path(__file__).parent.parent / "lambda_bootstrap.py"
_DEFAULT_TIMEOUT_SECONDS = 3
# What a venv holds besides awslambdaric and its needs; a function must not find it.
_INSTALLERS = frozenset({"pip", "setuptools", "pkg_resources", "_distutils_hack", "wheel"})
_EXTENSION = re.compile(r"\.cpython-(\d)(\d+)-")

Record = dict[str, Any]


class Bundles:
    """Unpacked code, one directory for each content, kept in the state directory between starts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()

    def unpacked(self, code: bytes) -> Path:
        """The bundle's directory, read-only as on AWS."""
        target = self._directory / hashlib.sha256(code).hexdigest()
        with self._lock:
            if not target.exists():
                partial = Path(tempfile.mkdtemp(dir=self._directory))
                with zipfile.ZipFile(io.BytesIO(code)) as archive:
                    archive.extractall(partial)
                partial.rename(target)
        return target


class Functions:
    """The execution environments of all functions."""

    def __init__(self, settings: Settings, record: Callable[..., None]) -> None:
        self._settings = settings
        self._record = record
        self._bundles = Bundles(settings.scratch("bundles"))
        self._packages = runtime_packages(settings.lambda_python, settings.scratch("lambda-runtime"))
        self._version = self._packages.parent.name
        self._logs = settings.scratch("functions")
        self._idle: dict[str, tuple[str, list[Environment]]] = {}
        self._lock = threading.Lock()

    def execute(self, func: Record, event: object, request_id: str) -> Record:
        """Invoke a function and answer as MiniStack's executors do."""
        config, code = func["config"], func.get("code_zip")
        if not code:
            return _error("Runtime.InvalidEntrypoint", "the function has no code")
        key = json.dumps(config, sort_keys=True, default=str)
        environment = self._take(config["FunctionName"], key) or self._start(config, self._bundles.unpacked(code))
        if isinstance(environment, str):
            return _error("Runtime.ImportModuleError", environment)
        timeout = float(config.get("Timeout") or _DEFAULT_TIMEOUT_SECONDS)
        outcome = environment.invoke(request_id, event, timeout=timeout, arn=config["FunctionArn"])
        if outcome.reusable:
            self._give_back(config["FunctionName"], key, environment)
        self._count(config["FunctionName"], failed=outcome.failed)
        for metric in emf.metrics(outcome.log):
            self._record(*metric)
        answer: Record = {"body": outcome.body, "log": outcome.log}
        return {**answer, "error": True} if outcome.failed else answer

    def _count(self, name: str, *, failed: bool) -> None:
        """Every invocation, whoever asked for it; MiniStack counts only those that come as requests."""
        for metric, value in {"Invocations": 1, "Errors": int(failed), "Throttles": 0}.items():
            self._record("AWS/Lambda", metric, value, "Count", {"FunctionName": name})

    def throttled(self, function_name: str, duration_ms: float, error: bool, throttle: bool) -> None:  # noqa: ARG002
        """An invocation that was refused reaches no environment."""
        if throttle:
            self._record("AWS/Lambda", "Throttles", 1, "Count", {"FunctionName": function_name})

    def _take(self, name: str, key: str) -> Environment | None:
        with self._lock:
            current, idle = self._idle.get(name, (key, []))
            if current != key:
                # The function's code or configuration changed: its old environments are not used again.
                for old in idle:
                    old.close()
                idle = []
            self._idle[name] = (key, idle)
            while idle:
                environment = idle.pop()
                if environment.alive:
                    return environment
        return None

    def _give_back(self, name: str, key: str, environment: Environment) -> None:
        with self._lock:
            current, idle = self._idle[name]
            if current == key:
                idle.append(environment)
                return
        environment.close()

    def _start(self, config: Record, bundle: Path) -> Environment | str:
        if problem := foreign_extensions(bundle, self._version):
            return problem
        name = config["FunctionName"]
        python = str(self._settings.lambda_python)
        # Bundles are never written to; their bytecode is kept beside them, which makes the next start faster.
        bytecode = f"pycache_prefix={self._settings.scratch('bytecode')}"
        argv = [python, "-I", "-S", "-X", bytecode, str(_BOOTSTRAP), str(self._packages), config["Handler"]]
        output = self._logs / f"{name}-{uuid.uuid4().hex[:8]}.log"
        return Environment(argv, self._variables(config), bundle, output)

    def _variables(self, config: Record) -> dict[str, str]:
        logging = config.get("LoggingConfig") or {}
        credentials = service("lambda_svc").execution_credentials(config)
        return {
            **self._settings.base_environment(),
            **credentials,
            **{key: str(value) for key, value in (config.get("Environment") or {}).get("Variables", {}).items()},
            "TMPDIR": str(self._settings.scratch("tmp")),
            "_HANDLER": config["Handler"],
            "AWS_LAMBDA_FUNCTION_NAME": config["FunctionName"],
            "AWS_LAMBDA_FUNCTION_VERSION": config.get("Version", "$LATEST"),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.get("MemorySize", 128)),
            "AWS_LAMBDA_LOG_GROUP_NAME": logging.get("LogGroup") or f"/aws/lambda/{config['FunctionName']}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "local",
            "AWS_LAMBDA_LOG_FORMAT": logging.get("LogFormat", "Text"),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        }


def _error(kind: str, message: str) -> Record:
    return {"body": {"errorType": kind, "errorMessage": message}, "error": True, "log": f"{kind}: {message}\n"}


def runtime_packages(python: Path, directory: Path) -> Path:
    """A directory of links to awslambdaric and what it needs, without the venv's installers."""
    found = sorted(python.parent.parent.glob("lib/python3.*/site-packages"))
    if not found or not (found[0] / "awslambdaric").is_dir():
        raise FileNotFoundError(f"{python} has no awslambdaric: run scripts/setup")
    site = found[0]
    target = directory / site.parent.name / "packages"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for entry in site.iterdir():
        if entry.name not in _INSTALLERS and entry.suffix not in (".pth", ".dist-info"):
            (target / entry.name).symlink_to(entry)
    return target


def foreign_extensions(bundle: Path, version: str) -> str | None:
    """What is wrong when the bundle's compiled modules are for another Python than ``version`` (``python3.11``)."""
    for path in bundle.rglob("*.cpython-*.so"):
        if (match := _EXTENSION.search(path.name)) and f"python{match[1]}.{match[2]}" != version:
            return f"{path.relative_to(bundle)} is compiled for Python {match[1]}.{match[2]}, here runs {version}"
    return None


def install(settings: Settings) -> None:
    """Replace the executor of Python functions."""
    lambda_svc, cloudwatch = service("lambda_svc"), service("cloudwatch")
    lambda_svc.require("execution_credentials")

    def record(*metric: object) -> None:
        # Looked up at each call: the seam of the alarms replaces it.
        cloudwatch.record_metric(*metric)

    functions = Functions(settings, record)
    lambda_svc.replace("_execute_function_warm", "func event request_id", functions.execute)
    lambda_svc.replace("_emit_lambda_metrics", "function_name duration_ms error throttle", functions.throttled)
