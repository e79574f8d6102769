"""The booted box as the name server of its domain, behind a relay with the name server of its user data.

    client ── internet (1:1 NAT) ── relay (Knot: copies)
                          └── home (router, NAT) ── box, whose tunnel leads to the relay
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Boot, Subject
from home import Home
from internet import CLIENT4, PUBLIC4, PUBLIC6, SECOND6, Relay, connect_client, why_not
from laptop import Api, Laptop
from namespaces import Machine
from test_behind_relay import PASSWORD, flash
from waiting import wait_until

#: Seconds until a change is everywhere, or until the relay's copies take over.
PATIENCE = 60.0


class Resolver:
    """Somebody on the internet who asks name servers."""

    def __init__(self, machine: Machine, domain: str, folder: Path) -> None:
        self._machine, self._domain, self._folder = machine, domain, folder

    def dig(self, server: str, *query: str) -> str:
        """What an authoritative server says."""
        return self._machine.run("dig", f"@{server}", *query, "+norecurse", "+tries=1", "+time=3", check=False)

    def answer(self, server: str, name: str, kind: str, *options: str) -> list[str]:
        """The data of an authoritative answer, sorted; nothing if none comes."""
        said = self.dig(server, name, kind, *options)
        if " aa" not in said.partition("flags:")[2].partition(";")[0]:
            return []
        lines = [line.split(None, 4) for line in said.splitlines() if line and not line.startswith(";")]
        return sorted(line[4] for line in lines if line[3] == kind)

    def serial(self, server: str) -> int | None:
        """The zone's serial number."""
        soa = self.answer(server, self._domain, "SOA")
        return int(soa[0].split()[2]) if soa else None

    def validates(self, server: str, name: str, kind: str, ds: str) -> bool:
        """Whether the answer proves itself to somebody who knows the DS record."""
        tag, algorithm, digest_type, digest = ds.partition(" DS ")[2].split(None, 3)
        anchors = self._folder / "anchors.conf"
        anchors.write_text(
            f'trust-anchors {{ "{self._domain}." static-ds {tag} {algorithm} {digest_type} "{digest.replace(" ", "")}"; }};\n'
        )
        said = self._machine.run(
            "delv", f"@{server}", "-a", str(anchors), f"+root={self._domain}", name, kind, "+multiline", check=False
        )
        return "; fully validated" in said or "; negative response, fully validated" in said


def test_the_box_answers_for_its_domain(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """Signed, by both families, with copies at the relay that answer when the box is off."""
    if why := why_not("the name server behind the relay"):
        pytest.skip(why)
    domain = subject.account.domain
    card = tmp_path / "card.img"
    flash(subject, card, tmp_path / "desk-of-the-card")
    machine = boot(tmp_path / "box", image=card, options=("--lan",))
    card.unlink()
    with (
        Machine("internet") as internet,
        Machine("client") as client,
        Home(internet, str(machine.lan_path), "", tmp_path / "home") as home,
    ):
        connect_client(client, internet)
        resolver = Resolver(client, domain, tmp_path)
        machine.wait_ready()
        laptop = Laptop(subject.roost, tmp_path / "desk", PASSWORD)
        assert machine.code
        laptop.pair(machine, "--code", machine.code)
        api = Api(machine, laptop)
        home.wait_address(lambda: machine.status()["addresses"])

        # The name server starts, or has not asked the mail service yet which domains there are.
        nothing: dict[str, Any] = {"domain": domain, "fault": None, "serial": None, "secondary": None}

        def zone() -> dict[str, Any]:
            status, told = api.call("GET", "dns")
            if status == 503:
                return nothing
            assert status == 200, told
            return next((zone for zone in told["zones"] if zone["domain"] == domain), nothing)

        def wait_zone(what: str, so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
            try:
                return wait_until(what, lambda: found if so(found := zone()) else None, PATIENCE)
            except AssertionError as late:
                raise AssertionError(f"{late}\n{zone()}\n" + "\n".join(machine.logs("dns"))) from late

        nowhere = wait_zone("the zone's fault", lambda zone: zone["fault"] is not None)
        assert "no address on the internet" in nowhere["fault"] and nowhere["serial"] is None, nowhere

        with Relay(internet, api.wait_state("unconfigured")["public_key"], tmp_path / "relay") as relay:
            relay.answer_dns()
            assert api.call("PUT", "relay", relay.text | {"outside": relay.outside}) == (204, None)
            api.wait_state("up")
            served = wait_zone("the zone", lambda zone: zone["serial"] is not None)
            assert served["fault"] is None and len(served["ds"]) == 1, served
            ds = served["ds"][0]

            # The box itself, with either family, by UDP and TCP.
            for server in (PUBLIC4, PUBLIC6):
                for options in ((), ("+tcp",)):
                    wait_until(
                        f"an answer of {server} {options}",
                        lambda server=server, options=options: resolver.answer(server, domain, "MX", *options),
                        PATIENCE,
                    )
            assert resolver.answer(PUBLIC4, domain, "MX") == [f"10 mail.{domain}."]
            assert resolver.answer(PUBLIC4, f"mail.{domain}", "A") == [PUBLIC4]
            assert resolver.answer(PUBLIC4, f"mail.{domain}", "AAAA") == [PUBLIC6]
            assert resolver.answer(PUBLIC4, domain, "NS") == [f"ns1.{domain}.", f"ns2.{domain}."]
            assert any("v=spf1" in text for text in resolver.answer(PUBLIC4, domain, "TXT"))
            names = [record["name"] for record in api.call("GET", f"dns/{domain}/records")[1]["records"]]
            keys = [name for name in names if name.endswith(f"._domainkey.{domain}")]
            assert len(keys) == 2, names
            for key in keys:
                assert any("v=DKIM1" in text for text in resolver.answer(PUBLIC4, key, "TXT", "+tcp")), key
            for name, kind in ((domain, "MX"), (f"mail.{domain}", "A"), (keys[0], "TXT"), (f"nobody.{domain}", "A"), (domain, "CAA")):
                assert resolver.validates(PUBLIC4, name, kind, ds), f"{name} {kind} does not prove itself"
            assert not resolver.validates(PUBLIC4, domain, "MX", re.sub(r"\w{8}$", "00000000", ds)), "another key is believed"

            # Nothing for strangers.
            assert "status: REFUSED" in resolver.dig(PUBLIC4, "example.com", "A")
            assert "Transfer failed" in resolver.dig(PUBLIC4, domain, "AXFR"), "a stranger got the zone"

            # The relay's copies follow at once, and the box knows.
            def wait_copy(serial: int) -> None:
                try:
                    wait_until("the copy", lambda: resolver.serial(SECOND6) == serial, PATIENCE)
                except AssertionError as late:
                    logs = "\n".join(machine.logs("dns") + machine.logs("tunnel"))
                    raise AssertionError(f"{late}, not {serial}: {relay.zones()}{zone()}{logs}") from late

            serial = zone()["serial"]
            wait_zone("the relay's word", lambda zone: (zone["secondary"] or {}).get("told") == serial)
            wait_copy(serial)
            own = tmp_path / "own.zone"
            own.write_text(f"; my page\nwww 600 IN A {CLIENT4}\n")
            laptop.run("dns", "own", "--set", str(own))
            for server in (PUBLIC4, SECOND6):
                wait_until(
                    f"the owner's record at {server}",
                    lambda server=server: resolver.answer(server, f"www.{domain}", "A") == [CLIENT4],
                    PATIENCE,
                )
            assert resolver.validates(SECOND6, f"www.{domain}", "A", ds)
            wrong = tmp_path / "wrong.zone"
            wrong.write_text("www A nonsense\n")
            laptop.run("dns", "own", "--set", str(wrong), expect=1)

            # What is given out is a zone that others take.
            exported = laptop.run("dns", "export", "--signed")[-1]["text"]
            whole = tmp_path / "whole.zone"
            whole.write_text(exported)
            for command in (("named-checkzone", domain, str(whole)), ("ldns-verify-zone", str(whole)), ("kzonecheck", "-o", domain, str(whole))):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
            shown = laptop.run("dns", "show")[-1]["records"]
            assert shown and all(record["why"] for record in shown)
            told = laptop.run("dns", "ds")[-1]
            assert told["ds"] == [ds]
            assert {record["value"] for record in told["name_servers"]} == {PUBLIC4, PUBLIC6, SECOND6}

            # The program ends in the middle of its work: the next one knows keys, records and serial number.
            last = zone()["serial"]
            machine.kill("dns")
            again = wait_zone("the zone after a restart", lambda zone: (zone["serial"] or 0) > last)
            assert again["ds"] == [ds], again
            wait_copy(again["serial"])
            assert resolver.answer(SECOND6, f"www.{domain}", "A") == [CLIENT4]

            # The box is away: its address answers all the same, with what it said last.
            machine.power_off()
            for server in (PUBLIC4, PUBLIC6):
                wait_until(
                    f"the copies' answer at {server}",
                    lambda server=server: resolver.answer(server, f"www.{domain}", "A") == [CLIENT4],
                    PATIENCE,
                )
            assert resolver.validates(PUBLIC4, domain, "MX", ds)
            assert resolver.serial(PUBLIC4) == again["serial"]
