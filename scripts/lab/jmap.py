"""A small JMAP client (RFC 8620, RFC 8621) over `requests`."""

from __future__ import annotations

from typing import Any

from clients import ANSWER_TIMEOUT, Clients

CORE = "urn:ietf:params:jmap:core"
MAIL = "urn:ietf:params:jmap:mail"


class Jmap:
    """One account's mail over JMAP."""

    def __init__(self, clients: Clients) -> None:
        """Finds the service as RFC 8620 section 2.2 says, from the well-known address."""
        self._clients = clients
        self._https = clients.https()
        answer = self._https.get(clients.well_known("jmap"), timeout=ANSWER_TIMEOUT)
        answer.raise_for_status()
        session = answer.json()
        self._api = self._clients.here(session["apiUrl"])
        self._download = session["downloadUrl"]
        self._account = session["primaryAccounts"][MAIL]

    def call(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """One method call; its result."""
        answer = self._https.post(
            self._api,
            json={
                "using": [CORE, MAIL],
                "methodCalls": [[method, {"accountId": self._account, **arguments}, "0"]],
            },
            timeout=ANSWER_TIMEOUT,
        )
        answer.raise_for_status()
        name, result, _ = answer.json()["methodResponses"][0]
        assert name == method, result
        return result

    def emails(self) -> list[dict[str, Any]]:
        """The newest messages: id, blob id, message id and subject."""
        newest = {"sort": [{"property": "receivedAt", "isAscending": False}], "limit": 50}
        ids = self.call("Email/query", newest)["ids"]
        wanted = {"ids": ids, "properties": ["id", "blobId", "messageId", "subject"]}
        return self.call("Email/get", wanted)["list"]

    def download(self, blob: str) -> bytes:
        """The bytes of a message."""
        url = self._download
        for name, value in {
            "{accountId}": self._account, "{blobId}": blob, "{name}": "message.eml", "{type}": "message/rfc822",
        }.items():
            url = url.replace(name, value)
        answer = self._https.get(self._clients.here(url), timeout=ANSWER_TIMEOUT)
        answer.raise_for_status()
        return answer.content
