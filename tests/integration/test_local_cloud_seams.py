"""Every seam refuses to start when the pinned MiniStack has not what it replaces."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local_cloud.client import ROOT

_PREPARE = """
import json, os, sys
from pathlib import Path
from local_cloud import server
from local_cloud.seams import patching
from local_cloud.settings import Settings
settings = Settings(port=1, region="us-east-1", state=Path(sys.argv[1]), programs=(), lambda_python=Path(sys.argv[2]))
server.configure(settings)
"""
_RECORD = """
used = []
def record(method, kind):
    original = getattr(patching.Pinned, method)
    def call(self, name, *rest):
        names = (name, *rest) if kind == "require" else (name,)
        used.extend([self._module.__name__, one, kind, list(rest[:1]) if kind == "entry" else []] for one in names)
        return original(self, name, *rest)
    setattr(patching.Pinned, method, call)
for method in ("require", "replace", "replace_value", "replace_entry"):
    record(method, method.removeprefix("replace_"))
server.install_seams(settings)
unique = {json.dumps(one): one for one in used}
print(json.dumps(list(unique.values())))
"""
# One process for each name: what is changed in a module stays changed.
_BREAK = """
import importlib
for module_name, *_ in json.loads(sys.argv[3]):
    importlib.import_module(module_name)
wrong = []
for module_name, name, kind, key in json.loads(sys.argv[3]):
    if os.fork() == 0:
        module = importlib.import_module(module_name)
        if kind == "entry":
            del getattr(module, name)[key[0]]
        elif kind == "replace":
            setattr(module, name, lambda other: None)
        else:
            delattr(module, name)
        status = 1
        try:
            server.install_seams(settings)
        except patching.SeamError as error:
            status = 0 if name in str(error) and "the pinned version changed" in str(error) else 1
        except BaseException:
            status = 2
        os._exit(status)
    if os.waitstatus_to_exitcode(os.wait()[1]):
        wrong.append(f"{module_name}.{name} ({kind})")
print(json.dumps(wrong))
"""


def _in_the_cloud(script: str, state: Path, *arguments: str) -> Any:
    python = ROOT / ".venv-cloud" / "bin" / "python"
    runtime = str(ROOT / ".venv-lambda" / "bin" / "python")
    argv = [str(python), "-c", _PREPARE + script, str(state), runtime, *arguments]
    done = subprocess.run(argv, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> list[list[Any]]:
    """Every name of MiniStack that a seam checks: module, name, how, and the key of a table."""
    found: list[list[Any]] = _in_the_cloud(_RECORD, tmp_path_factory.mktemp("state"))
    return found


def test_each_changed_name_fails_the_start_by_name(used: list[list[Any]], tmp_path: Path) -> None:
    assert _in_the_cloud(_BREAK, tmp_path, json.dumps(used)) == []


def test_the_seams_are_these(used: list[list[Any]]) -> None:
    replaced = {f"{module.rpartition('.')[2]}.{name}" for module, name, kind, _ in used if kind in ("replace", "entry")}
    assert replaced == {
        "cloudwatch._evaluate_alarm",
        "cloudwatch.record_metric",
        "ec2._ACTION_MAP",
        "ecs._ACTION_MAP",
        "ecs._forward_awslogs",
        "ecs._mark_task_stopped",
        "ecs._start_awslogs_forwarder",
        "ecs._stop_task",
        "iam_actions.extract_resource_arn",
        "iam_actions.request_tag_context",
        "iam_actions.verified_access_resource_arns",
        "imds.handle_request",
        "lambda_svc._emit_lambda_metrics",
        "lambda_svc._execute_function_warm",
        "provisioners._normalize_container_defs",
        "rds._ACTION_MAP",
        "rds._handle_request_sync",
        "s3._collect_list_entries",
        "s3._create_bucket",
        "scheduler.start_scheduler",
        "ssm.handle_request",
        "stepfunctions._SERVICE_DISPATCH",
        "stepfunctions._apply_parameters",
        "stepfunctions._apply_result_selector",
        "stepfunctions._emit_execution_status_event",
        "stepfunctions._error_matches",
        "stepfunctions._evaluate_rule",
        "stepfunctions._execute_choice",
        "stepfunctions._execute_map",
        "stepfunctions._execute_parallel",
        "stepfunctions._execute_pass",
        "stepfunctions._execute_task",
        "stepfunctions._execute_wait",
        "stepfunctions._fail_execution",
        "stepfunctions._invoke_resource",
        "stepfunctions._invoke_resource_with_timeout",
        "stepfunctions._invoke_with_callback",
        "stepfunctions._read_map_items",
        "stepfunctions._resolve_params_obj",
        "stepfunctions._run_distributed_map",
        "stepfunctions._run_execution",
        "stepfunctions._run_sub_machine",
        "stepfunctions._scaled_sleep",
        "stepfunctions._start_execution",
        "stepfunctions._stop_execution",
        "tagging.resource_tags",
    }


def test_the_server_needs_nothing_of_the_project(tmp_path: Path) -> None:
    """Its environment has no boto3 and no pydantic; importing them would fail on another machine only."""
    script = "server.install_seams(settings)\nprint(json.dumps(sorted(n for n in sys.modules if '.' not in n)))"
    loaded = set(_in_the_cloud(script, tmp_path))
    assert not loaded & {"backups", "functions", "infra", "boto3", "pydantic", "worker_image"}
