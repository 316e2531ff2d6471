"""One example of each type, as the documentation shows it; the tests read every one of them."""

from __future__ import annotations

from typing import Any

Example = dict[str, Any]


def _secret(key: str) -> str:
    return f"{{{{resolve:secretsmanager:backups/nightly:SecretString:{key}}}}}"


SMALLEST: Example = {
    "encryption": {"passphrase": "{{resolve:file:/etc/backups/passphrase}}"},
    "compression": "zstd",
    "sources": [{"id": "config", "type": "folder", "path": "/etc"}],
    "destinations": [{"id": "disk", "type": "local", "path": "/mnt/backups", "retention_days": 30}],
}

EXAMPLES: dict[str, dict[str, Example]] = {
    "sources": {
        "folder": {
            "id": "accountsdata",
            "name": "Live Accounts Data",
            "type": "folder",
            "path": "/var/lib/accounts/data",
            "excludes": ["tmp", "*~"],
        },
        "mysql": {
            "id": "livecompanydb",
            "name": "Live Company Data",
            "type": "mysql",
            "dbhost": "db.example.org",
            "dbname": "livecompany",
            "dbuser": "backups",
            "dbpass": _secret("dbpass"),
        },
        "pgsql": {
            "id": "ledger",
            "type": "pgsql",
            "dbhost": "db.example.org",
            "dbname": "ledger",
            "dbuser": "backups",
            "dbpass": _secret("dbpass"),
        },
        "rds": {
            "id": "shop",
            "type": "rds",
            "instancename": "shop-production",
            "region": "eu-west-1",
            "security_group": "sg-0123456789abcdef0",
            "dbname": "shop",
            "dbuser": "backups",
            "dbpass": _secret("dbpass"),
        },
        "snapshot": {"id": "volume", "type": "snapshot", "volume_id": "vol-0123456789abcdef0"},
    },
    "destinations": {
        "local": {"id": "disk", "type": "local", "path": "/mnt/backups", "retention_copies": 14},
        "s3": {
            "id": "offsite",
            "type": "s3",
            "bucket": "example-backups",
            "region": "eu-west-1",
            "retention": {"keep_daily": 7, "keep_weekly": 5, "keep_monthly": 12},
        },
        "gs": {
            "id": "google",
            "type": "gs",
            "bucket": "example-backups",
            "gs_service_client_id": "backups@example.iam.gserviceaccount.com",
            "gs_service_key_file": "/etc/backups/google.p12",
            "gs_service_key_file_password": _secret("google"),
        },
        "samba": {
            "id": "bigshare",
            "type": "samba",
            "hostname": "files.example.org",
            "share": "Backups",
            "workgroup": "WORKGROUP",
            "username": "backups",
            "password": _secret("bigshare"),
        },
        "rclone": {
            "id": "storagebox",
            "type": "rclone",
            "remote": "storagebox",
            "path": "backups",
            "config": _secret("rclone"),
        },
    },
    "notifications": {
        "smtp": {
            "type": "smtp",
            "host": "smtp.example.org",
            "use_tls": True,
            "username": "backups",
            "password": _secret("smtp"),
            "failure_to": "admin@example.org",
        },
        "slack": {"type": "slack", "url": _secret("slack"), "notify_on_success": False},
        "flagfile": {"type": "flagfile", "filename": "/var/lib/backups/nightly.ok"},
        "hipchat": {"type": "hipchat", "url": _secret("hipchat"), "notify_on_success": False},
        "discord": {"type": "discord", "url": _secret("discord"), "notify_on_success": False},
        "matrix": {
            "type": "matrix",
            "url": "https://matrix.example.org",
            "access_token": _secret("matrix"),
            "room_id": "!abc:example.org",
        },
        "telegram": {"type": "telegram", "api_token": _secret("telegram"), "chat_id": "38123456"},
        "prometheus": {
            "type": "prometheus",
            "url": "https://push.example.org/",
            "username": "prometheus",
            "password": _secret("prometheus"),
        },
        "sns": {
            "type": "sns",
            "topic_arn": "arn:aws:sns:eu-west-1:123456789012:backups",
            "notify_on": "change",
            "remind_days": 7,
        },
        "webhook": {"type": "webhook", "url": _secret("hook"), "secret": _secret("hook_key")},
        "healthchecks": {"type": "healthchecks", "ping_url": _secret("healthchecks")},
        "apprise": {"type": "apprise", "url": _secret("apprise"), "notify_on_success": False},
    },
}
