"""Compares WireGuard programs on one machine: two network namespaces and a pair of interfaces between them.

Both ends run the same program. Prints a table: megabits a second both ways with 1 and 8 TCP flows, CPU
seconds of both ends per gigabit, and round trips beside 8 flows. Called by `scripts/bench tunnel`.

The figures flatter whoever uses segmentation offloads, since the interfaces between the namespaces carry
64 KiB as one packet; they compare programs on one machine and say nothing of a line.
"""

import errno
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SECONDS = int(os.environ.get("ROOST_BENCH_SECONDS", "5"))
BOX, RELAY = "10.82.0.2", "10.82.0.1"
OUTER = {"home": "10.0.0.2", "relay": "10.0.0.1"}
INNER = {"home": BOX, "relay": RELAY}
PORT = 51820
TICKS = os.sysconf("SC_CLK_TCK")
folder = tempfile.TemporaryDirectory(prefix="roost-bench-tunnel-")
work = Path(folder.name)


def run(line, **more):
    done = subprocess.run(line.split(), capture_output=True, text=True, check=False, **more)
    if done.returncode:
        sys.exit(f"{line}: {done.stderr}")
    return done.stdout


def within(name):
    return ["nsenter", f"--net=/run/netns/{name}"]


def world():
    run("mount -t tmpfs run /run")
    run("mkdir -p /run/netns /run/wireguard")
    for name in OUTER:
        run(f"ip netns add {name}")
        run(f"ip -n {name} link set lo up")
    run("ip link add eth0 netns home type veth peer name eth0 netns relay")
    for name, address in OUTER.items():
        run(f"ip -n {name} addr add {address}/24 dev eth0")
        run(f"ip -n {name} link set eth0 up")


def keys():
    made = {}
    for name in OUTER:
        private = run("wg genkey")
        (work / f"{name}.key").write_text(private)
        made[name] = run("wg pubkey", input=private).strip()
    return made


def other(name):
    return "relay" if name == "home" else "home"


def ours(program, public):
    """Two boxes; each takes the other for its relay."""
    processes = []
    for name in OUTER:
        data = work / f"ours-{name}"
        data.mkdir()
        key = data / "private.key"
        key.write_text((work / f"{name}.key").read_text())
        key.chmod(0o600)
        far = other(name)
        config = {
            "relay": {"public_key": public[far], "endpoint": f"{OUTER[far]}:{PORT}", "address4": INNER[far]},
            "address4": INNER[name],
            "listen_port": PORT,
            "mtu": 1420,
            "interface": "wg0",
        }
        (data / "tunnel.json").write_text(json.dumps(config))
        (data / "services.json").write_text("[]")
        variables = {"ROOST_DATA": data, "ROOST_SERVICES": data / "services.json"}
        processes.append(
            subprocess.Popen([*within(name), program], env={**os.environ, **variables}, stdout=subprocess.DEVNULL)
        )
    time.sleep(1)
    # Programs that bind no address shall find the way, too.
    for name in OUTER:
        run(f"ip -n {name} route add {INNER[other(name)]} dev wg0 src {INNER[name]}")
    return processes


def theirs(program, arguments, public):
    """Programs that are set up with `wg`."""
    processes = []
    for name in OUTER:
        variables = {"WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "error", "WG_SUDO": "1"}
        interface = f"wg-{name}"
        # Not every program takes its socket away.
        Path(f"/run/wireguard/{interface}.sock").unlink(missing_ok=True)
        processes.append(
            subprocess.Popen(
                [*within(name), program, *arguments, interface],
                env={**os.environ, **variables},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        for _ in range(100):
            if Path(f"/run/wireguard/{interface}.sock").exists():
                break
            time.sleep(0.05)
        far = other(name)
        subprocess.run(
            [*within(name), "wg", "set", interface, "listen-port", str(PORT), "private-key", work / f"{name}.key",
             "peer", public[far], "endpoint", f"{OUTER[far]}:{PORT}", "allowed-ips", f"{INNER[far]}/32"],
            check=True,
        )
        run(f"ip -n {name} addr add {INNER[name]}/32 dev {interface}")
        run(f"ip -n {name} link set {interface} mtu 1420 up")
        run(f"ip -n {name} route add {INNER[far]} dev {interface}")
    return processes


def cpu(processes):
    """Seconds that these programs have used so far."""
    total = 0
    for process in processes:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def iperf(server, flows, down):
    arguments = ["-c", server, "-P", str(flows), "-t", str(SECONDS), "-J", *(["-R"] if down else [])]
    # The server closes its port for a moment after each test.
    for _ in range(5):
        time.sleep(1)
        done = subprocess.run([*within("home"), "iperf3", *arguments], capture_output=True, text=True)
        result = json.loads(done.stdout)
        if "error" not in result:
            break
    else:
        sys.exit(f"iperf3: {result['error']}")
    received = result["end"]["sum_received"]
    return received["bits_per_second"] / 1e6, received["bytes"] * 8 / 1e9


class RoundTrips(threading.Thread):
    """Small datagrams to the other side and back, in a program within the namespace."""

    CODE = """
import socket, sys, time
near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
near.settimeout(1)
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    began = time.monotonic()
    near.sendto(b'x', (sys.argv[1], 7))
    try:
        near.recv(10)
        print((time.monotonic() - began) * 1000)
    except TimeoutError:
        print(1000)
    time.sleep(0.02)
"""
    ECHO = """
import socket, sys
far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
far.bind((sys.argv[1], 7))
while True:
    data, who = far.recvfrom(10)
    far.sendto(data, who)
"""

    def __init__(self, server):
        super().__init__()
        self.server = server
        self.times = []

    def run(self):
        echo = subprocess.Popen([*within("relay"), sys.executable, "-c", self.ECHO, self.server])
        time.sleep(1.5)
        seconds = str(SECONDS - 1)
        code = [*within("home"), sys.executable, "-c", self.CODE, self.server, seconds]
        said = subprocess.run(code, capture_output=True, text=True).stdout
        self.times = [float(line) for line in said.split()]
        echo.kill()
        echo.wait()


def measure(name, processes, server):
    listen = [*within("relay"), "iperf3", "-s", "-B", server]
    daemon = subprocess.Popen(listen, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # A port where nobody listens: being refused proves the way there and back.
    probe = f"import socket, sys; sys.exit(socket.socket().connect_ex(('{server}', 9)) != {errno.ECONNREFUSED})"
    for _ in range(100):
        if subprocess.run([*within("home"), sys.executable, "-c", probe]).returncode == 0:
            break
        time.sleep(0.1)
    else:
        sys.exit(f"{name}: {server} cannot be reached")
    cells = []
    used, carried = 0.0, 0.0
    for flows in (1, 8):
        for down in (False, True):
            before = cpu(processes)
            speed, gigabits = iperf(server, flows, down)
            used += cpu(processes) - before
            carried += gigabits
            cells.append(f"{speed:,.0f}")
    trips = RoundTrips(server)
    trips.start()
    iperf(server, 8, False)
    trips.join()
    middle = statistics.median(trips.times)
    worst = sorted(trips.times)[int(len(trips.times) * 0.99)]
    per = f"{used / carried:.2f}" if processes else "0"
    print(f"| {name} | {' | '.join(cells)} | {per} | {middle:.1f} / {worst:.1f} ms |", flush=True)
    for process in [daemon, *processes]:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    time.sleep(0.5)


def main():
    world()
    public = keys()
    print("| program | 1 flow up, Mbit/s | down | 8 flows up | down | CPU s per Gbit, both ends | round trip, middle / 99 % |")
    print("|---|---|---|---|---|---|---|")
    measure("`tunnel`", ours(os.environ["ROOST_TUNNEL_PROGRAM"], public), RELAY)
    measure("wireguard-go", theirs("wireguard-go", ["-f"], public), RELAY)
    arguments = ["--foreground", "--disable-drop-privileges"]
    measure("gotatun", theirs(os.environ["ROOST_GOTATUN"], arguments, public), RELAY)
    measure("boringtun-cli", theirs(os.environ["ROOST_BORINGTUN"], arguments, public), RELAY)
    measure("no tunnel", [], OUTER["relay"])


main()
