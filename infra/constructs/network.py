"""Where workers run: an existing VPC by its ids, never looked up, or a new one; nothing can connect to a worker."""

from __future__ import annotations

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.constructs.logs import log_group
from infra.settings import Settings


class Network(Construct):
    """Subnets and a security group that lets workers out and nobody in.

    A new VPC has public subnets by default: a NAT gateway costs more each month than most nights of backups, and a
    security group without a rule for incoming connections hides a worker as well. ``nat_gateways`` chooses the other.
    """

    def __init__(self, scope: Construct, id_: str, *, settings: Settings, key: kms.IKey) -> None:
        super().__init__(scope, id_)
        self.vpc = self._existing(settings) if settings.vpc_id else self._new(settings, key)
        if settings.vpc_id:
            self.subnet_ids = list(settings.vpc_subnet_ids)
            self.public_addresses = settings.assign_public_ip
        else:
            self.subnet_ids = [s.subnet_id for s in self.vpc.private_subnets or self.vpc.public_subnets]
            self.public_addresses = not settings.nat_gateways
        self.security_group = ec2.SecurityGroup(
            self,
            "Workers",
            vpc=self.vpc,
            description="Backup workers: out to anywhere, in from nowhere",
            allow_all_outbound=True,
        )

    def _existing(self, settings: Settings) -> ec2.IVpc:
        return ec2.Vpc.from_vpc_attributes(
            self, "Vpc", vpc_id=settings.vpc_id, availability_zones=list(settings.availability_zones)
        )

    def _new(self, settings: Settings, key: kms.IKey) -> ec2.Vpc:
        subnets = [ec2.SubnetConfiguration(name="Public", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=20)]
        if settings.nat_gateways:
            subnets.append(
                ec2.SubnetConfiguration(name="Workers", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS, cidr_mask=20)
            )
        zones = list(settings.zones)
        vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr("10.83.0.0/16"),
            availability_zones=zones or None,
            max_azs=None if zones else 2,
            nat_gateways=settings.nat_gateways,
            subnet_configuration=subnets,
            restrict_default_security_group=False,  # it would take a custom resource; no worker uses that group
            # Copies go to S3 by this way: for nothing, and not through a NAT gateway.
            gateway_endpoints={"S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)},
        )
        flows = log_group(self, "Flows", name="refused-connections", days=settings.log_days, key=key)
        vpc.add_flow_log(
            "Refused",
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(flows),
            traffic_type=ec2.FlowLogTrafficType.REJECT,
        )
        return vpc
