"""The one stack: wires the constructs together."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Annotations, ArnFormat, CfnOutput, Environment, Stack
from constructs import Construct

from backups.job import Job
from infra.constructs.alarms import Alarms
from infra.constructs.backup_job import BackupJob
from infra.constructs.checks import Checks
from infra.constructs.dashboard import Dashboard
from infra.constructs.foundation import Foundation
from infra.constructs.functions import Functions
from infra.constructs.hosts import WHY_WILD, Hosts
from infra.constructs.janitor import Janitor
from infra.constructs.messages import Messages
from infra.constructs.network import Network
from infra.constructs.run import Run
from infra.constructs.schedules import Schedules
from infra.constructs.workers import Workers
from infra.grants import Grants
from infra.jobs import DeployedJob, warnings
from infra.settings import Settings


class BackupsStack(Stack):
    """A deployment of every job file. Makes no call to AWS and needs no Docker."""

    def __init__(self, scope: Construct, *, settings: Settings, jobs: Sequence[DeployedJob]) -> None:
        super().__init__(
            scope,
            settings.stack_name,
            description="Encrypted backups of folders and databases to many destinations",
            env=Environment(account=settings.account, region=settings.region) if settings.region else None,
        )
        name = f"{settings.stack_name}-run"
        # Made from its name: the state machine calls the orchestrator, which starts the state machine.
        state_machine_arn = self._state_machine(name)
        messages_name = f"{settings.stack_name}-messages"
        parameters = f"/{settings.stack_name}/jobs/"
        foundation = Foundation(self, "Foundation", run_days=settings.run_days, alarm_mail=settings.alarm_mail)
        network = Network(self, "Network", settings=settings, key=foundation.key)
        functions = Functions(
            self,
            "Functions",
            settings=settings,
            foundation=foundation,
            state_machine_arn=state_machine_arn,
            messages_arn=self._state_machine(messages_name),
            job_parameters=parameters,
        )
        on_hosts = Hosts(self, "Hosts", foundation=foundation)
        functions["notify"].add_environment("BACKUPS_FLAG_DOCUMENT", on_hosts.flag_document.ref)
        functions.allow("notify", on_hosts.notify(deployed.job for deployed in jobs), why_wild=WHY_WILD)
        functions.allow("settle", on_hosts.settle(deployed.job for deployed in jobs), why_wild=WHY_WILD)
        workers = Workers(self, "Workers", settings=settings, foundation=foundation, hosts=on_hosts)
        run = Run(
            self,
            "Run",
            settings=settings,
            name=name,
            foundation=foundation,
            functions=functions,
            workers=workers,
            network=network,
        )
        messages = Messages(
            self, "Messages", settings=settings, name=messages_name, foundation=foundation, functions=functions
        )
        messages.tell_of_runs_cut_off(run.state_machine, functions)
        grants = Grants(self, settings.key_arns)
        hosts = "The copies of the jobs' hosts, whose days and sources come and go."
        functions.allow("retention", grants.retention(deployed.job for deployed in jobs), why_wild=hosts)
        functions.allow("notify", grants.notify(deployed.job for deployed in jobs), why_wild="Keys by their alias.")
        schedules = Schedules(self, "Schedules", settings=settings, foundation=foundation, functions=functions)
        Janitor(
            self,
            "Janitor",
            jobs=[deployed.job for deployed in jobs],
            foundation=foundation,
            functions=functions,
            schedules=schedules,
            grants=grants,
        )
        checks = Checks(
            self,
            "Checks",
            settings=settings,
            foundation=foundation,
            functions=functions,
            workers=workers,
            network=network,
            schedules=schedules,
        )
        made = [
            BackupJob(
                self,
                f"Job-{deployed.name}",
                deployed=deployed,
                functions=functions,
                workers=workers,
                hosts=on_hosts,
                grants=grants,
                parameters=parameters,
                schedules=schedules,
                checks=checks,
            )
            for deployed in jobs
        ]
        checks.finish()
        run.runs_tasks_of([job.name for job in made], [job.task.task_role for job in made])
        for deployed, job in zip(jobs, made, strict=True):
            for index, warning in enumerate(warnings(deployed.job)):
                Annotations.of(job).add_warning_v2(f"backups:{deployed.name}:{index}", f"{deployed.path}: {warning}")
        schedules.watch(Construct(self, "Watch"), functions["watch"], [deployed.name for deployed in jobs])
        self._alarms(foundation, functions, run, checks, [deployed.job for deployed in jobs], settings)
        Dashboard(
            self,
            "Overview",
            jobs=[deployed.job for deployed in jobs],
            window_minutes=settings.flexible_minutes,
        )
        CfnOutput(self, "HostFolderDocument", value=on_hosts.folder_document.ref)
        CfnOutput(self, "HostFlagDocument", value=on_hosts.flag_document.ref)
        self._outputs(foundation, network, functions, workers, run, checks)

    def _state_machine(self, name: str) -> str:
        return self.format_arn(
            service="states", resource="stateMachine", resource_name=name, arn_format=ArnFormat.COLON_RESOURCE_NAME
        )

    def _alarms(
        self,
        foundation: Foundation,
        functions: Functions,
        run: Run,
        checks: Checks,
        jobs: Sequence[Job],
        settings: Settings,
    ) -> None:
        alarms = Alarms(self, "Alarms", topic=foundation.alarms, manual=settings.manual_url)
        alarms.watch_runs(run.state_machine)
        alarms.watch_checks(checks.state_machine)
        for name, function in functions.by_name.items():
            alarms.watch_function(name, function)
        alarms.watch_queue(foundation.dead_letters)
        alarms.watch_instances()
        alarms.watch_the_watch()
        for job in jobs:
            alarms.watch_job(job, window_minutes=settings.flexible_minutes)

    def _outputs(
        self,
        foundation: Foundation,
        network: Network,
        functions: Functions,
        workers: Workers,
        run: Run,
        checks: Checks,
    ) -> None:
        """What the command line, operators and tests need to find the parts."""
        outputs = {
            "StateMachineArn": run.state_machine.state_machine_arn,
            "OrchestratorName": functions["orchestrator"].function_name,
            "NotifyName": functions["notify"].function_name,
            "EndedName": functions["ended"].function_name,
            "WatchName": functions["watch"].function_name,
            "ChecksArn": checks.state_machine.state_machine_arn,
            "StateBucket": foundation.state.bucket_name,
            "Cluster": workers.cluster.ref,
            "WorkerSecurityGroup": network.security_group.security_group_id,
            "WorkerLog": workers.log.log_group_name,
            "DeadLetterQueue": foundation.dead_letters.queue_url,
            "AlarmTopic": foundation.alarms.topic_arn,
        }
        for key, value in outputs.items():
            CfnOutput(self, key, value=value)
