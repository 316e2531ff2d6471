"""Snapshots that AWS keeps: of EBS volumes and of RDS databases, begun, waited for, counted and removed."""
