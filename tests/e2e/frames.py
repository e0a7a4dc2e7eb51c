"""What is on the wire before a client: who answers for an address, asked over and over.

A Capture asks for addresses by broadcast ARP requests and neighbour solicitations of its own, so that
everybody who has one answers, and notes the answers and announcements that arrive, with the kernel's
time. It also sends what no honest host sends (spoof).
"""

import ipaddress
import selectors
import socket
import struct
import threading
import time
from contextlib import suppress

from invariants_nodes import Heard
from nodes_net import LINK

ETH_P_ALL, ARP, IPV6 = 0x0003, 0x0806, 0x86DD
REQUEST, REPLY = 1, 2
ICMPV6, SOLICITATION, ADVERTISEMENT = 58, 135, 136
BROADCAST = b"\xff" * 6
SO_TIMESTAMPNS = 35
OUTGOING = 4  # PACKET_OUTGOING
RECEIVE_BUFFER = 8 << 20


class Capture:
    """with Capture(client) as capture: capture.ask(address); ...; capture.heard: list of Heard."""

    def __init__(self, host, addresses=(), pace=0.1):
        self.heard = []
        self._host = host
        self._pace = pace
        self._addresses = list(addresses)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="capture")
        self._failure = None
        with host.net.entered():
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)
            )
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self._socket.bind((LINK, ETH_P_ALL))
            self._socket.setblocking(False)
        self._mac = bytes.fromhex(host.mac.replace(":", ""))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self._socket.close()
        if self._failure:
            raise self._failure

    def ask(self, *addresses):
        self._addresses += addresses

    def macs(self, address, since=0.0):
        """The MACs heard for the address since then, in the order in which they were first heard."""
        return list(
            dict.fromkeys(
                h.mac for h in list(self.heard) if h.address == address and h.at >= since
            )
        )

    def send(self, frame):
        with suppress(OSError):
            self._socket.send(frame)

    def _run(self):
        try:
            due = time.monotonic()
            with selectors.DefaultSelector() as selector:
                selector.register(self._socket, selectors.EVENT_READ)
                while not self._over.is_set():
                    if time.monotonic() >= due:
                        due = time.monotonic() + self._pace
                        for address in list(self._addresses):
                            self.send(self._question(address))
                    selector.select(max(0, due - time.monotonic()))
                    self._read()
        except BaseException as error:  # raised again where it was started
            self._failure = error

    def _read(self):
        # What the kernel stamps is the time of day; it may be set, so only its age counts.
        with suppress(BlockingIOError):
            while True:
                frame, ancillary, _, source = self._socket.recvmsg(2048, 64)
                if source[2] == OUTGOING:
                    continue
                for address, mac in parse(frame):
                    age = max(0.0, time.time() - _stamp(ancillary))
                    self.heard.append(Heard(time.monotonic() - age, address, mac))

    def _question(self, address):
        if ":" in address:
            return solicitation(self._mac, self._host.address6, address)
        return arp(REQUEST, self._mac, self._host.address, bytes(6), address)


def parse(frame):
    """(address, mac) of who claims in the frame to have an address: one at most."""
    if len(frame) < 14:
        return
    kind = struct.unpack_from("!H", frame, 12)[0]
    if kind == ARP and len(frame) >= 42 and frame[14:20] == b"\0\1\10\0\6\4":
        sender = frame[28:32]
        if sender != bytes(4):  # a probe has no sender, and claims nothing
            yield str(ipaddress.ip_address(sender)), _mac(frame[22:28])
    elif kind == IPV6 and len(frame) >= 78 and frame[20] == ICMPV6 and frame[54] == ADVERTISEMENT:
        option = 78
        mac = frame[6:12]
        while option + 8 <= len(frame) and frame[option + 1]:
            if frame[option] == 2:  # the target's link-layer address
                mac = frame[option + 2 : option + 8]
            option += frame[option + 1] * 8
        yield str(ipaddress.ip_address(frame[62:78])), _mac(mac)


def arp(operation, sender_mac, sender, target_mac, target, to=BROADCAST):
    """An ARP frame; the addresses as text, MACs as bytes."""
    return b"".join((
        to, sender_mac, struct.pack("!HHHBBH", ARP, 1, 0x0800, 6, 4, operation),
        sender_mac, socket.inet_aton(sender), target_mac, socket.inet_aton(target),
    ))  # fmt: skip


def solicitation(mac, source, target):
    """A neighbour solicitation to the target's group, which everybody who has it listens to."""
    packed = ipaddress.ip_address(target).packed
    group = bytes.fromhex("ff0200000000000000000001ff") + packed[-3:]
    message = bytes((SOLICITATION, 0, 0, 0, 0, 0, 0, 0)) + packed + b"\1\1" + mac
    return _neighbour_frame(mac, b"\x33\x33" + group[-4:], source, group, message)


def advertisement(mac, address, override=True):
    """An unsolicited neighbour advertisement to all nodes."""
    group = ipaddress.ip_address("ff02::1").packed
    flags = 0x20 if override else 0
    message = bytes((ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0))
    message += ipaddress.ip_address(address).packed + b"\2\1" + mac
    return _neighbour_frame(mac, b"\x33\x33\0\0\0\1", address, group, message)


def _neighbour_frame(mac, to, source, group, message):
    packed = ipaddress.ip_address(source).packed
    pseudo = packed + group + struct.pack("!LL", len(message), ICMPV6)
    checksum = struct.pack("!H", _checksum(pseudo + message))
    message = message[:2] + checksum + message[4:]
    header = struct.pack("!LHBB", 0x60000000, len(message), ICMPV6, 255) + packed + group
    return to + mac + struct.pack("!H", IPV6) + header + message


def _checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _stamp(ancillary):
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("=qq", data[:16])
            return seconds + nanoseconds / 1e9
    return time.time()


def _mac(data):
    return ":".join(f"{byte:02x}" for byte in data)
