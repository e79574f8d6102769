"""Compares name servers on one machine: the same signed zone, one server at a time on one processor, dnsperf on another.

Prints a table: for three mixes of questions answers a second, processor time of each and the time within which
99 of 100 come, and memory. Called by `scripts/bench dns`. Every question asks for signatures.
"""

import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS = os.environ.get("ROOST_BENCH_SECONDS", "5")
ZONE = "example.org"
NAMES = 300
PORT = "5300"
#: Questions a second while the time that each takes is looked at: far below what any of them can do.
CALM = "2000"
TICKS = os.sysconf("SC_CLK_TCK")
folder = tempfile.TemporaryDirectory(prefix="roost-bench-dns-")
work = Path(folder.name)


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def make_zone():
    """A zone with addresses, mail servers and delegations, signed as the box signs: P-256, NSEC."""
    lines = [f"$ORIGIN {ZONE}.", "$TTL 3600", "@ SOA ns1 hostmaster 1 14400 3600 1209600 900", "@ NS ns1", "ns1 A 192.0.2.1"]
    for number in range(NAMES):
        lines += [f"host{number} A 192.0.2.{number % 250 + 1}", f"host{number} AAAA 2001:db8::{number + 1:x}"]
        lines += [f"host{number} MX 10 host{number}", f"below{number} NS ns.below{number}", f"ns.below{number} A 198.51.100.1"]
    (work / "zone").write_text("\n".join(lines) + "\n")
    for flags in ((), ("-f", "KSK")):
        run("dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", *flags, ZONE, cwd=work)
    run("dnssec-signzone", "-q", "-S", "-o", ZONE, "-f", "signed", "zone", cwd=work)


def make_questions():
    """Files for dnsperf: names that are there, names that are not, names in delegated zones."""
    chance = random.Random(1)
    numbers = [chance.randrange(NAMES) for _ in range(5000)]
    kinds = ["A", "AAAA", "MX"]
    for mix, line in {
        "there": lambda n: f"host{n}.{ZONE} {kinds[n % 3]}",
        "not there": lambda n: f"host{n}.nobody{n * 7}.{ZONE} A",
        "delegated": lambda n: f"www.below{n}.{ZONE} A",
    }.items():
        (work / mix).write_text("\n".join(map(line, numbers)) + "\n")
        yield mix


def servers():
    """Each with its command; one thread, no limits on rates, no log."""
    signed = work / "signed"
    (work / "named.conf").write_text(f"""
        options {{ directory "{work}"; listen-on port {PORT} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no;
                   pid-file none; session-keyfile none; dnssec-validation no; minimal-responses yes; }};
        controls {{ }};
        zone "{ZONE}" {{ type primary; file "signed"; }};
    """)
    (work / "nsd.conf").write_text(f"""
server:
  ip-address: 127.0.0.1@{PORT}
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "{work}"
  pidfile: ""
  database: ""
  zonelistfile: "{work}/nsd.list"
  xfrdfile: "{work}/nsd.xfrd"
  logfile: "/dev/null"
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: {ZONE}
  zonefile: signed
""")
    (work / "knot.conf").write_text(f"""
server:
  rundir: {work}
  listen: 127.0.0.1@{PORT}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: {work}/knot
log:
  - target: stderr
    any: error
zone:
  - domain: {ZONE}
    storage: {work}
    file: signed
    zonefile-load: whole
    journal-content: none
""")
    yield "`dns`", (os.environ["ROOST_DNS_PROGRAM"], f"127.0.0.1:{PORT}", f"{ZONE}={signed}")
    yield "BIND", ("/usr/sbin/named", "-f", "-n", "1", "-c", str(work / "named.conf"))
    yield "NSD", ("/usr/sbin/nsd", "-d", "-c", str(work / "nsd.conf"))
    yield "Knot", ("/usr/sbin/knotd", "-c", str(work / "knot.conf"))


def children(process):
    """The process and those below it: NSD answers in one that it makes."""
    found, open_ = [], [process.pid]
    while open_:
        pid = open_.pop()
        found.append(pid)
        open_ += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return found


def used(process):
    """Seconds of processor time so far."""
    total = 0
    for pid in children(process):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory(process):
    """Bytes that are this program's own."""
    total = 0
    for pid in children(process):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.M)[1]) * 1024
    return total


def wait_until_it_answers(name):
    for _ in range(200):
        asked = ["dig", "@127.0.0.1", "-p", PORT, ZONE, "SOA", "+time=1", "+tries=1", "+short"]
        if subprocess.run(asked, capture_output=True, text=True).stdout.startswith("ns1."):
            return
        time.sleep(0.1)
    sys.exit(f"{name} does not answer")


def dnsperf(mix, *options):
    base = ["taskset", "-c", "0", "dnsperf", "-s", "127.0.0.1", "-p", PORT, "-d", str(work / mix), "-D", "-l", SECONDS]
    return run(*base, *options)


def measure(name, command, mixes):
    process = subprocess.Popen(["taskset", "-c", "1", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until_it_answers(name)
    cells = []
    for mix in mixes:
        before = used(process)
        said = dnsperf(mix, "-c", "4", "-T", "1", "-q", "200")
        completed = int(re.search(r"Queries completed:\s+(\d+)", said)[1])
        rate = float(re.search(r"Queries per second:\s+([\d.]+)", said)[1])
        processor = (used(process) - before) / completed * 1e6
        # Each answer on a line of its own, the seconds at its end.
        calm = dnsperf(mix, "-Q", CALM, "-v")
        times = sorted(float(line.split()[-1]) for line in calm.splitlines() if re.match(r"> (NOERROR|NXDOMAIN) ", line))
        late = times[int(len(times) * 0.99)] * 1000
        cells.append(f"{rate:,.0f} / {processor:.1f} / {late:.2f}")
    print(f"| {name} | {' | '.join(cells)} | {memory(process) / 1e6:.1f} MB |", flush=True)
    process.terminate()
    process.wait(20)


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    make_zone()
    mixes = list(make_questions())
    print("| server | names that are there: a second / µs of processor each / 99 of 100 within, in ms | not there | delegated | memory |")
    print("|---|---|---|---|---|")
    for name, command in servers():
        measure(name, command, mixes)


main()
