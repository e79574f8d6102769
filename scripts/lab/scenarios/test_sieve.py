"""A Sieve script put there by a real ManageSieve client files the mail that comes later."""

from __future__ import annotations

from pathlib import Path

import pytest

from clients import STRANGER, Clients, new_message

SCRIPT = """require ["fileinto", "mailbox"];
if header :contains "subject" "[orchard]" {
    fileinto :create "Orchard";
}
"""


@pytest.fixture
def script(tmp_path: Path, clients: Clients):
    """A script file on this side; nothing is left active on the box."""
    file = tmp_path / "orchard.sieve"
    file.write_text(SCRIPT)
    yield file
    clients.sieve("--deactivate")


def test_script_files_mail(clients: Clients, script: Path) -> None:
    """Check, put, list, activate; then only the mail that the script names is filed."""
    before = new_message("[orchard] before the script", STRANGER, clients.account.address)
    clients.deliver(before)
    clients.wait_message(before)

    for action in (
        ["--checkscript", "--localsieve", str(script)],
        ["--upload", "--localsieve", str(script), "--remotesieve", "orchard"],
        ["--activate", "--remotesieve", "orchard"],
    ):
        done = clients.sieve(*action)
        assert done.returncode == 0, done.stderr
    listed = clients.sieve("--list")
    assert '"orchard" ACTIVE' in listed.stdout, listed
    copy = script.with_name("copy.sieve")
    fetched = clients.sieve("--download", "--remotesieve", "orchard", "--localsieve", str(copy))
    assert fetched.returncode == 0, fetched.stderr
    assert copy.read_text().split() == SCRIPT.split()

    filed = new_message("[orchard] apples", STRANGER, clients.account.address)
    other = new_message("pears", STRANGER, clients.account.address)
    clients.deliver(filed)
    clients.deliver(other)
    clients.wait_message(filed, "Orchard")
    clients.wait_message(other)
    assert clients.folders_of(filed["Message-ID"]) == ["Orchard"]


def test_broken_script_is_refused(clients: Clients, script: Path) -> None:
    """A script with a fault is neither found good nor stored."""
    script.write_text('if header :contains "subject" { fileinto')
    assert clients.sieve("--checkscript", "--localsieve", str(script)).returncode != 0
    put = clients.sieve("--upload", "--localsieve", str(script), "--remotesieve", "broken")
    assert put.returncode != 0
    assert "broken" not in clients.sieve("--list").stdout
