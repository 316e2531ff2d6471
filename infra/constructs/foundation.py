"""What everything else stands on: the key, the state bucket, the queue of what was lost, the topic of alarms."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from backups.staging import PREFIX
from infra.acknowledged import acknowledge
from infra.grants import allow


class Foundation(Construct):
    """Encrypted with one key of the stack's own, which rotates every year."""

    def __init__(self, scope: Construct, id_: str, *, run_days: int, alarm_mail: str) -> None:
        super().__init__(scope, id_)
        self.key = self._key()
        self.state = self._state_bucket(run_days)
        self.dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=self.key,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        acknowledge(self.dead_letters, {"AwsSolutions-SQS3": "This queue is where others put what they can't deliver."})
        self.alarms = sns.Topic(self, "Alarms", master_key=self.key, enforce_ssl=True)
        # A topic with a policy of its own lets nobody publish who is not named in it.
        self.alarms.add_to_resource_policy(
            self._by("cloudwatch", ("sns:Publish",), self.alarms.topic_arn, "PublishAlarms")
        )
        if alarm_mail:
            self.alarms.add_subscription(subscriptions.EmailSubscription(alarm_mail))

    def allow_key(self) -> iam.PolicyStatement:
        """What whoever reads or writes records needs of the key."""
        services = [f"{name}.{Stack.of(self).region}.amazonaws.com" for name in ("s3", "sqs")]
        only_by_them = {"StringEquals": {"kms:ViaService": services}}
        return allow(("kms:Decrypt", "kms:GenerateDataKey"), [self.key.key_arn], only_by_them)

    def _key(self) -> kms.Key:
        stack = Stack.of(self)
        key = kms.Key(
            self, "Key", description=f"{stack.stack_name}: records, logs, queue, alarms", enable_key_rotation=True
        )
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="Logs",
                principals=[iam.ServicePrincipal(f"logs.{stack.region}.amazonaws.com")],
                actions=["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"],
                resources=["*"],
                conditions={
                    "ArnLike": {
                        "kms:EncryptionContext:aws:logs:arn": stack.format_arn(
                            service="logs", resource=f"log-group:/{stack.stack_name}/*"
                        )
                    }
                },
            )
        )
        use = ("kms:Decrypt", "kms:GenerateDataKey*")
        key.add_to_resource_policy(self._by("cloudwatch", use, "*", "Alarms"))
        key.add_to_resource_policy(self._by("events", use, "*", "LostEvents"))
        return key

    def _by(self, service: str, actions: tuple[str, ...], resource: str, sid: str) -> iam.PolicyStatement:
        return iam.PolicyStatement(
            sid=sid,
            principals=[iam.ServicePrincipal(f"{service}.amazonaws.com")],
            actions=list(actions),
            resources=[resource],
            conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
        )

    def _state_bucket(self, run_days: int) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "State",
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self.key,
            bucket_key_enabled=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id=kind,
                    prefix=f"{kind}/",
                    expiration=Duration.days(run_days),
                    abort_incomplete_multipart_upload_after=Duration.days(1),
                )
                for kind in ("runs", "notices")
            ],
            removal_policy=RemovalPolicy.RETAIN,
        )
        # Emptied as it is read; what is left of a worker that died stays no longer than this.
        day = Duration.days(1)
        bucket.add_lifecycle_rule(
            id="staging", prefix=PREFIX, expiration=day, abort_incomplete_multipart_upload_after=day
        )
        acknowledge(
            bucket, {"AwsSolutions-S1": "Records of runs without content; CloudTrail's data events can watch it."}
        )
        return bucket
