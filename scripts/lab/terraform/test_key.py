"""How an instance gets its secrets: by its role, from the parameter store, in nobody's sight.

The script under test is the relay's own. In the place of AWS there is a small server that checks the
signature of each request as AWS documents it, by Amazon's own library.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from aws import MODULE, REGION
from test_module import key

SCRIPT = MODULE / "modules/userdata/files/key"
ROLE = "home-relay-eu-central-1"
CREDENTIALS = {"AccessKeyId": "ASIATEST", "SecretAccessKey": "se/cr+et", "Token": "session//token=="}
NAMES = {"wireguard": "/home/relay/wireguard-key", "tsig": "/home/relay/tsig-secret"}


class Fake(ThreadingHTTPServer):
    """Instance metadata and parameter store in one."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.parameters: dict[str, str] = {}
        #: Why requests were refused.
        self.refused: list[str] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Answers as AWS does."""

    server: Fake

    def log_message(self, *_: object) -> None:
        """Nothing to say."""

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_PUT(self) -> None:
        ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
        self._answer(200, "imds-token") if self.path == "/latest/api/token" and ttl else self._answer(400, "")

    def do_GET(self) -> None:
        begin = "/latest/meta-data/iam/security-credentials/"
        if self.headers.get("X-aws-ec2-metadata-token") != "imds-token":
            self._answer(401, "")
        elif self.path == begin:
            self._answer(200, ROLE)
        elif self.path == begin + ROLE:
            self._answer(200, json.dumps({"Code": "Success", "Type": "AWS-HMAC", **CREDENTIALS}, indent=2))
        else:
            self._answer(404, "")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        sent = self.headers["Authorization"]
        signed = sent.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        again = AWSRequest("POST", f"{self.server.url}{self.path}", data=body,
                           headers={name: self.headers[name] for name in signed if name not in ("host", "x-amz-date", "x-amz-security-token")})
        again.context["timestamp"] = self.headers["X-Amz-Date"]
        signer = FixedTime(Credentials(*CREDENTIALS.values()), "ssm", REGION)
        signer.date, signer.signed = self.headers["X-Amz-Date"], signed
        signer.add_auth(again)
        if sent.partition("Signature=")[2] != again.headers["Authorization"].partition("Signature=")[2]:
            self.server.refused.append(f"{sent} instead of {again.headers['Authorization']}")
            self._answer(400, '{"__type":"InvalidSignatureException"}')
            return
        if self.headers["X-Amz-Security-Token"] != CREDENTIALS["Token"] or self.headers["X-Amz-Target"] != "AmazonSSM.GetParameter":
            self._answer(400, '{"__type":"UnrecognizedClientException"}')
            return
        wanted = json.loads(body)
        value = self.server.parameters.get(wanted["Name"])
        if value is None or not wanted["WithDecryption"]:
            self._answer(400, '{"__type":"ParameterNotFound"}')
            return
        self._answer(200, json.dumps({"Parameter": {
            "ARN": f"arn:aws:ssm:{REGION}:123456789012:parameter{wanted['Name']}", "DataType": "text", "LastModifiedDate": 1.7e9,
            "Name": wanted["Name"], "Type": "SecureString", "Value": value, "Version": 1,
        }}, separators=(",", ":")))


class FixedTime(SigV4Auth):
    """Signs for the moment, and over the headers, of the request that is checked."""

    date = ""
    signed: list[str] = []

    def add_auth(self, request: AWSRequest) -> None:
        request.context["timestamp"] = self.date
        self._modify_request_before_signing(request)
        canonical = self.canonical_request(request)
        self._inject_signature_to_request(request, self.signature(self.string_to_sign(request, canonical), request))

    def headers_to_sign(self, request: AWSRequest) -> Any:
        found = super().headers_to_sign(request)
        for name in found.keys():
            if name.lower() not in self.signed:
                del found[name]
        return found


@pytest.fixture
def fake() -> Iterator[Fake]:
    """AWS, with both parameters in it."""
    server = Fake()
    server.parameters = {name: key() for name in NAMES.values()}
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


class Instance:
    """Where the script finds its settings and puts what it gets."""

    def __init__(self, folder: Path, url: str, region: str = REGION) -> None:
        self.keys, self.knot = folder / "wireguard", folder / "knot"
        (folder / "relay.env").write_text(
            f"REGION='{region}'\nKEY_PARAMETER='{NAMES['wireguard']}'\nTSIG_PARAMETER='{NAMES['tsig']}'\nZONES='example.org'\n"
        )
        self._environment = {
            **os.environ, "ROOST_ENV": str(folder / "relay.env"), "ROOST_KEYS": str(self.keys), "ROOST_KNOT": str(self.knot),
            "ROOST_IMDS": url, "ROOST_SSM": url,
        }

    def run(self) -> subprocess.CompletedProcess[str]:
        """Runs the script as the relay's unit does."""
        return subprocess.run(["sh", str(SCRIPT)], env=self._environment, capture_output=True, text=True, timeout=120)


def test_both_secrets_come_and_only_root_may_read_them(fake: Fake, tmp_path: Path) -> None:
    instance = Instance(tmp_path, fake.url)
    done = instance.run()
    assert (done.returncode, fake.refused) == (0, []), done.stderr
    assert (instance.keys / "roost.key").read_text() == fake.parameters[NAMES["wireguard"]] + "\n"
    assert f"secret: {fake.parameters[NAMES['tsig']]}\n" in (instance.knot / "roost-tsig.conf").read_text()
    for path in (instance.keys / "roost.key", instance.knot / "roost-tsig.conf"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o037 == 0
    for secret in [*fake.parameters.values(), *CREDENTIALS.values()]:
        assert secret not in done.stdout + done.stderr


def test_a_rebuilt_instance_has_the_same_keys_and_a_changed_one_is_taken(fake: Fake, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        assert Instance(tmp_path / name, fake.url).run().returncode == 0
    assert (tmp_path / "one/wireguard/roost.key").read_text() == (tmp_path / "two/wireguard/roost.key").read_text()
    fake.parameters[NAMES["wireguard"]] = key()
    assert Instance(tmp_path / "one", fake.url).run().returncode == 0
    assert (tmp_path / "one/wireguard/roost.key").read_text().strip() == fake.parameters[NAMES["wireguard"]]


def test_a_relay_restarts_without_the_store(fake: Fake, tmp_path: Path) -> None:
    instance = Instance(tmp_path, fake.url)
    assert instance.run().returncode == 0
    before = (instance.keys / "roost.key").read_text()
    fake.parameters.clear()
    done = instance.run()
    assert done.returncode == 0
    assert "stays as it is" in done.stderr
    assert (instance.keys / "roost.key").read_text() == before


@pytest.mark.parametrize("value", [None, "", "no key", "K" * 43])
def test_without_a_key_it_fails_and_says_where_it_looked(fake: Fake, tmp_path: Path, value: str | None) -> None:
    fake.parameters = {} if value is None else {NAMES["wireguard"]: value}
    done = Instance(tmp_path, fake.url).run()
    assert done.returncode == 1
    assert f"error: {NAMES['wireguard']} in {REGION} did not give a WireGuard key" in done.stderr
    assert not (tmp_path / "wireguard/roost.key").exists()


def test_a_machine_elsewhere_makes_its_own_once(fake: Fake, tmp_path: Path) -> None:
    instance = Instance(tmp_path, fake.url, region="")
    assert instance.run().returncode == 0
    made = (instance.keys / "roost.key").read_text(), (instance.knot / "roost-tsig.conf").read_text()
    assert made[0].strip() not in fake.parameters.values()
    assert instance.run().returncode == 0
    assert made == ((instance.keys / "roost.key").read_text(), (instance.knot / "roost-tsig.conf").read_text())
