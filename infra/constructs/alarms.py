"""Alarms: each has a section in docs/operations.md with what it means, where to look, and the way out."""

from __future__ import annotations

from collections.abc import Iterable

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

_PERIOD = Duration.minutes(5)


class Alarms(Construct):
    """Everything that a person must hear of, told to one topic."""

    def __init__(self, scope: Construct, id_: str, *, topic: sns.ITopic) -> None:
        super().__init__(scope, id_)
        self._action = actions.SnsAction(topic)

    def watch_runs(self, machine: sfn.StateMachine) -> None:
        """Runs that ended badly, were stopped, or never ended."""
        self._count("ExecutionsFailed", machine.metric_failed(period=_PERIOD), "A run failed, wholly or partly")
        self._count("ExecutionsTimedOut", machine.metric_timed_out(period=_PERIOD), "A run took more than three days")
        self._count("ExecutionsAborted", machine.metric_aborted(period=_PERIOD), "Someone stopped a run")

    def watch_function(self, name: str, function: lambda_.Function) -> None:
        """Errors and throttling of one function."""
        self._count(f"{name}Errors", function.metric_errors(period=_PERIOD), f"Function {name} failed")
        self._count(f"{name}Throttles", function.metric_throttles(period=_PERIOD), f"Function {name} was held back")

    def watch_queue(self, queue: sqs.Queue) -> None:
        """Events and messages that could not be delivered."""
        metric = queue.metric_approximate_number_of_messages_visible(period=_PERIOD, statistic="Maximum")
        self._count("DeadLetters", metric, "An event or a message could not be delivered")

    def tell(self, alarms: Iterable[cloudwatch.Alarm]) -> None:
        """Alarms that were made elsewhere."""
        for alarm in alarms:
            alarm.add_alarm_action(self._action)
            alarm.add_ok_action(self._action)

    def _count(self, id_: str, metric: cloudwatch.IMetric, meaning: str) -> None:
        alarm = cloudwatch.Alarm(
            self,
            id_,
            alarm_description=f"{meaning}; docs/operations.md says what to do",
            metric=metric,
            threshold=1,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        self.tell([alarm])
