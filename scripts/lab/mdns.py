"""One question by multicast DNS (RFC 6762), asked from a machine on the box's network.

Run as a program in that machine's namespace (`python3 mdns.py INTERFACE FAMILY NAME TYPE`) it
prints the answers to it that came by multicast, one JSON list of [name, type, value], or none
after some seconds.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
import sys
import time

PORT = 5353
GROUPS = {4: "224.0.0.251", 6: "ff02::fb"}
TYPES = {"A": 1, "PTR": 12, "TXT": 16, "AAAA": 28, "SRV": 33}
#: Seconds that answers are waited for, and between two questions.
LISTEN = 20.0
ASK_EVERY = 1.0


def encode(name: str) -> bytes:
    """A name as labels."""
    labels = name.rstrip(".").split(".")
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def decode(message: bytes, at: int) -> tuple[str, int]:
    """The name at a place, and the place behind it."""
    labels = []
    end = 0
    for _ in range(128):
        length = message[at]
        if length >= 0xC0:
            end = end or at + 2
            at = (length & 0x3F) << 8 | message[at + 1]
        elif length:
            labels.append(message[at + 1 : at + 1 + length].decode())
            at += 1 + length
        else:
            return ".".join(labels), end or at + 1
    raise ValueError("a name without an end")


def answers(message: bytes) -> list[list[str]]:
    """All records of a response."""
    _, flags, questions, *counts = struct.unpack_from(">6H", message)
    if not flags & 0x8000:
        return []
    at = 12
    for _ in range(questions):
        _, at = decode(message, at)
        at += 4
    found = []
    kinds = {number: name for name, number in TYPES.items()}
    for _ in range(sum(counts)):
        name, at = decode(message, at)
        kind, _, _, length = struct.unpack_from(">HHIH", message, at)
        at += 10
        data = message[at : at + length]
        if kind in (1, 28):
            value = str(ipaddress.ip_address(data))
        elif kind == 12:
            value = decode(message, at)[0]
        elif kind == 33:
            value = decode(message, at + 6)[0]
        else:
            value = data.decode(errors="replace")
        at += length
        if kind in kinds:
            found.append([name, kinds[kind], value])
    return found


def join(family: int, interface: str) -> tuple[socket.socket, tuple[object, ...]]:
    """A socket in the group, and where questions go."""
    index = socket.if_nametoindex(interface)
    if family == 4:
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        link.bind(("", PORT))
        member = socket.inet_aton(GROUPS[4]) + struct.pack("=4si", bytes(4), index)
        link.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), bytes(4), index))
        link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        return link, (GROUPS[4], PORT)
    link = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    link.bind(("::", PORT))
    member = socket.inet_pton(socket.AF_INET6, GROUPS[6]) + struct.pack("=i", index)
    link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
    link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    return link, (GROUPS[6], PORT, 0, index)


def ask(interface: str, family: int, name: str, kind: str) -> list[list[str]]:
    """Asks until there is an answer to just this."""
    link, group = join(family, interface)
    question = struct.pack(">6H", 0, 0, 1, 0, 0, 0) + encode(name) + struct.pack(">HH", TYPES[kind], 1)
    end = time.monotonic() + LISTEN
    with link:
        while time.monotonic() < end:
            link.sendto(question, group)
            link.settimeout(ASK_EVERY)
            try:
                while True:
                    found = answers(link.recv(9000))
                    if any((record[0], record[1]) == (name, kind) for record in found):
                        return found
            except TimeoutError:
                pass
    return []


if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])))
