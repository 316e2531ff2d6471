"""Messages that no run sends itself: of runs that were cut off, and of what the watch has found."""

from __future__ import annotations

import json

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.acknowledged import acknowledge
from infra.constructs.foundation import Foundation
from infra.constructs.functions import Functions
from infra.constructs.logs import log_group
from infra.constructs.run import definition
from infra.grants import allow
from infra.settings import Settings

_CUT_OFF = ("ABORTED", "TIMED_OUT", "FAILED")
"""Runs that did not store everything fail as well; they have told of it, and Ended sees that they have."""


def messages_definition(partition: str) -> str:
    """The step of a run that sends messages, as a state machine of its own: the same tries, the same queue."""
    step = json.loads(definition(partition))["States"]["Channels"]
    step.pop("Next")
    return json.dumps({"StartAt": "Channels", "TimeoutSeconds": 3600, "States": {"Channels": {**step, "End": True}}})


class Messages(Construct):
    """The state machine that sends them, and the rule that notices runs which were cut off."""

    def __init__(
        self, scope: Construct, id_: str, *, settings: Settings, name: str, foundation: Foundation, functions: Functions
    ) -> None:
        super().__init__(scope, id_)
        self._foundation = foundation
        self.state_machine = sfn.StateMachine(
            self,
            "StateMachine",
            state_machine_name=name,
            definition_body=sfn.DefinitionBody.from_string(messages_definition(settings.partition)),
            definition_substitutions={
                "Notify": functions["notify"].function_arn,
                "DeadLetters": foundation.dead_letters.queue_url,
            },
            tracing_enabled=True,
            logs=sfn.LogOptions(
                destination=log_group(self, "Log", name="messages", days=settings.log_days, key=foundation.key),
                level=sfn.LogLevel.ALL,
                include_execution_data=False,
            ),
        )
        for statement in (
            allow(("lambda:InvokeFunction",), [functions["notify"].function_arn]),
            allow(("sqs:SendMessage",), [foundation.dead_letters.queue_arn]),
            foundation.allow_key(),
        ):
            self.state_machine.add_to_role_policy(statement)
        acknowledge(self.state_machine, {"AwsSolutions-IAM5[Resource::*]": "Log delivery and X-Ray know no resources."})

    def tell_of_runs_cut_off(self, runs: sfn.StateMachine, functions: Functions) -> None:
        """Have the function Ended look at every run that did not succeed."""
        rule = events.Rule(
            self,
            "CutOff",
            description="Runs of backups that were stopped, ran out of time or failed",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={"stateMachineArn": [runs.state_machine_arn], "status": list(_CUT_OFF)},
            ),
        )
        rule.add_target(
            targets.LambdaFunction(
                functions["ended"],
                dead_letter_queue=self._foundation.dead_letters,
                max_event_age=Duration.hours(6),
                retry_attempts=20,
            )
        )
