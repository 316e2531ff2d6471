"""What gives out tokens and credentials, on loopback: Google's token, exchange and impersonation endpoints, the
metadata server of Google's machines, and the endpoint from which a Fargate task gets the credentials of its role.

Each checks what the real one does: an account's signature, the signature of a session of AWS, a token that may be
impersonated with, the header that the metadata server wants.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

CLIENT = "backups@example.iam.gserviceaccount.com"
TOKEN = "ya29.t0ken-of-the-test"
"""The only one that the storage takes."""
FEDERATED = "ya29.t0ken-of-the-federation"
"""What an exchange gives where an account is to be impersonated with it."""
TASK_ROLE = Credentials("ASIATASKROLE", "s3cr3t-of-the-task", "session-of-the-task")
_METADATA = "/computeMetadata/v1/instance/service-accounts/default/"


@dataclass
class Identity:
    """Runs from ``start`` to ``stop``."""

    key: rsa.RSAPublicKey
    """Of the service account ``CLIENT``."""
    grants: list[dict[str, str]] = field(default_factory=list)
    """What tokens were asked for with."""
    seen: list[str] = field(default_factory=list)
    """The path of every request."""

    def start(self) -> None:
        """Listen."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def token_url(self) -> str:
        """Gives tokens for a service account's signature, or for a session of AWS."""
        return f"http://{self.address}/token"

    @property
    def task_role_url(self) -> str:
        """Gives a task the credentials of its role."""
        return f"http://{self.address}/task-role"

    def federation(self, *, impersonate: bool = False) -> dict[str, Any]:
        """A configuration as ``gcloud iam workload-identity-pools create-cred-config … --aws`` makes it."""
        made = {
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/aws/providers/aws",
            "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
            "token_url": f"http://{self.address}/{'federation' if impersonate else 'token'}",
            "credential_source": {
                "environment_id": "aws1",
                "region_url": "http://169.254.169.254/latest/meta-data/placement/availability-zone",
                "url": "http://169.254.169.254/latest/meta-data/iam/security-credentials",
                "regional_cred_verification_url": "https://sts.{region}.amazonaws.com"
                "?Action=GetCallerIdentity&Version=2011-06-15",
            },
        }
        account = f"http://{self.address}/v1/projects/-/serviceAccounts/{CLIENT}:generateAccessToken"
        return {**made, "service_account_impersonation_url": account} if impersonate else made

    def answer(self, path: str, headers: Any, body: str) -> tuple[int, dict[str, Any]]:
        """Status and content."""
        self.seen.append(path)
        if path in ("/token", "/federation"):
            return self._token(dict(urllib.parse.parse_qsl(body)), TOKEN if path == "/token" else FEDERATED)
        if path.endswith(":generateAccessToken"):
            if headers.get("Authorization") != f"Bearer {FEDERATED}":
                return 403, {"error": {"code": 403, "message": "Permission iam.serviceAccounts.getAccessToken denied"}}
            return 200, {"accessToken": TOKEN, "expireTime": "2099-01-01T00:00:00Z"}
        if path == "/task-role":
            given = {"AccessKeyId": TASK_ROLE.access_key, "SecretAccessKey": TASK_ROLE.secret_key}
            return 200, {**given, "Token": TASK_ROLE.token, "Expiration": "2099-01-01T00:00:00Z"}
        return _metadata(path) if headers.get("Metadata-Flavor") == "Google" else (403, {})

    def _token(self, asked: dict[str, str], token: str) -> tuple[int, dict[str, Any]]:
        self.grants.append(asked)
        kind = asked.get("grant_type", "")
        answer = {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}
        if "jwt-bearer" in kind and self._signed(asked["assertion"]):
            return 200, answer
        if "token-exchange" in kind and _signed_by_the_task(asked):
            return 200, {**answer, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
        return 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}

    def _signed(self, assertion: str) -> bool:
        head, claims, signature = assertion.split(".")
        try:
            self.key.verify(_decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return bool(json.loads(_decoded(claims))["iss"] == CLIENT)


def _metadata(path: str) -> tuple[int, dict[str, Any]]:
    if path.startswith(f"{_METADATA}token"):
        return 200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
    if path.startswith(_METADATA):
        return 200, {"email": CLIENT, "scopes": ["https://www.googleapis.com/auth/devstorage.read_write"]}
    return (200 if path == "/" else 404), {}


def _signed_by_the_task(asked: dict[str, str]) -> bool:
    """What Google has AWS check: the signature of a request for the caller's identity, bound to this pool."""
    signed = json.loads(urllib.parse.unquote(asked["subject_token"]))
    headers = {entry["key"].lower(): entry["value"] for entry in signed["headers"]}
    told = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=(\S+?)/\d{8}/(\S+)/sts/aws4_request, ?SignedHeaders=(\S+), ?Signature=(\S+)",
        headers["authorization"],
    )
    if not told or told[1] != TASK_ROLE.access_key or headers["x-amz-security-token"] != TASK_ROLE.token:
        return False
    if headers["x-goog-cloud-target-resource"] != asked["audience"]:
        return False
    if signed["url"] != f"https://sts.{told[2]}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15":
        return False
    request = AWSRequest("POST", signed["url"], {name: headers[name] for name in told[3].split(";")}, b"")
    request.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(TASK_ROLE, "sts", told[2])
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return bool(signer.signature(text, request) == told[4])


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _handler(identity: Identity) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """One request."""

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            status, answer = identity.answer(self.path, self.headers, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Metadata-Flavor", "Google")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _handle  # noqa: N815 - what the base class calls

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: a test's output is no log."""

    return Handler
