"""What PostgreSQL's server and clients say when they refuse, in plain words and with what to do about it.

Clients show no code for a refused connection, so the text decides. A server may be set to another language than
English: then its own words are all there is.
"""

from __future__ import annotations

import re

from backups.errors import SourceError

_MEANINGS = (
    (
        r"no password supplied",
        "it wants a password",
        "give 'dbpass', or let the user in without one in the server's pg_hba.conf",
    ),
    (
        r"authentication failed for user|FATAL:  role \"[^\n]*\" does not exist|is not permitted to log in",
        "the user or the password is wrong",
        "correct the credentials in the job file or the secret it names",
    ),
    (
        r"no pg_hba\.conf entry|pg_hba\.conf rejects",
        "its pg_hba.conf does not let this user and host into the database",
        "add a line such as: host DATABASE USER ADDRESS/32 scram-sha-256; then reload the server; "
        "a line that begins with hostssl needs a 'sslmode' that encrypts",
    ),
    (r"FATAL:  database \"[^\n]*\" does not exist", "there is no such database", "correct the name, or create it"),
    (
        r"permission denied for database",
        "the user may not use this database",
        "GRANT CONNECT ON DATABASE … TO the user",
    ),
    (
        r"could not translate host name",
        "its name is unknown",
        "correct the host name, or the DNS of this host",
    ),
    (
        r"too many clients|remaining connection slots|too many connections",
        "it has too many connections",
        "raise max_connections, or run the job at a quieter time",
    ),
    (
        r"the database system is (starting up|shutting down|not accepting|in recovery)",
        "it takes no connections now",
        "try again when it has started",
    ),
    (
        r"does not support SSL|SSL error|certificate|sslmode",
        "the encrypted connection failed",
        "check 'sslmode', 'sslrootcert' and the certificate of the server",
    ),
    (
        r"Connection refused|timeout expired|timed out|No route to host|is unreachable|Is the server running",
        "it can't be reached",
        "is the server running, and do the port and the firewall let this host in?",
    ),
    (
        r"server closed the connection|connection to server was lost|terminating connection",
        "the connection broke",
        "is the server overloaded or restarting?",
    ),
)


def explained(server: object, text: str) -> SourceError:
    """What a client said about a server, in plain words."""
    text = re.sub(r"\s*^password retrieved from file .*", "", text, flags=re.MULTILINE)  # ours, and gone by now
    for pattern, meaning, hint in _MEANINGS:
        if re.search(pattern, text):
            return SourceError(f"PostgreSQL server {server}: {meaning}: {text}", hint=hint)
    return SourceError(f"PostgreSQL server {server}: it refused: {text}")
