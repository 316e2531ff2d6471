"""CloudWatch: executions are counted as Step Functions counts them, and alarms see only the metric that they name.

MiniStack publishes nothing for executions, evaluates alarms only after PutMetricData, and leaves dimensions out: the
errors of one function would ring the alarms of all.
"""

from __future__ import annotations

import operator
import time
from typing import Any

from local_cloud.seams.patching import Pinned, service
from local_cloud.settings import Settings

Record = dict[str, Any]

_METRICS = {
    "SUCCEEDED": "ExecutionsSucceeded",
    "FAILED": "ExecutionsFailed",
    "TIMED_OUT": "ExecutionsTimedOut",
    "ABORTED": "ExecutionsAborted",
}
_COMPARISONS = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


class Alarms:
    """Counts, and evaluates at every count."""

    def __init__(self, sfn: Pinned, cloudwatch: Pinned) -> None:
        self._cloudwatch = cloudwatch
        self._emit, self._record = sfn._emit_execution_status_event, cloudwatch.record_metric

    def execution_changed(self, execution: Record) -> None:
        """Tell EventBridge, as before, and count an execution that has ended."""
        self._emit(execution)
        if name := _METRICS.get(execution["status"]):
            dimensions = {"StateMachineArn": execution["stateMachineArn"]}
            self.record("AWS/States", name, 1, "Count", dimensions)

    def record(
        self, namespace: str, metric_name: str, value: float, unit: str = "None", dimensions: Record | None = None
    ) -> None:
        """A service's own metric."""
        self._record(namespace, metric_name, value, unit, dimensions)
        self._cloudwatch._evaluate_all_alarms()

    def evaluate(self, alarm: Record) -> None:
        """Compare the alarm's own metric, over its periods up to now, with its threshold."""
        compare = _COMPARISONS.get(alarm.get("ComparisonOperator", ""))
        dimensions = self._cloudwatch._dims_from_list(alarm.get("Dimensions") or [])
        key = (alarm.get("Namespace"), alarm.get("MetricName"), self._cloudwatch._dims_key(dimensions))
        begin = time.time() - alarm.get("Period", 60) * alarm.get("EvaluationPeriods", 1)
        points = [point for point in self._cloudwatch._metrics.get(key) or [] if point["Timestamp"] >= begin]
        statistic = alarm.get("Statistic", "Average")
        value = self._cloudwatch._calc_stats(points).get(statistic)
        if compare is None or value is None:
            return
        old, new = alarm["StateValue"], "ALARM" if compare(value, alarm["Threshold"]) else "OK"
        if old == new:
            return
        reason = f"Threshold Crossed: {statistic} {value} against {alarm['Threshold']}"
        alarm.update(StateValue=new, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
        self._cloudwatch._record_history(alarm["AlarmName"], old, new, reason)
        self._cloudwatch._dispatch_alarm_actions(alarm, old, new, reason)


def install(settings: Settings) -> None:  # noqa: ARG001
    """Replace the counting and the comparison."""
    sfn, cloudwatch = service("stepfunctions"), service("cloudwatch")
    cloudwatch.require("_evaluate_all_alarms", "_dims_from_list", "_dims_key", "_metrics", "_calc_stats")
    cloudwatch.require("_record_history", "_dispatch_alarm_actions")
    alarms = Alarms(sfn, cloudwatch)
    sfn.replace("_emit_execution_status_event", "execution", alarms.execution_changed)
    cloudwatch.replace("record_metric", "namespace metric_name value unit dimensions", alarms.record)
    cloudwatch.replace("_evaluate_alarm", "alarm", alarms.evaluate)
