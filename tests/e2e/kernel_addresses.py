"""Watches the address tables of the kernels of all nodes: each change, when, and by whose mark.

The kernel tells by rtnetlink, so nothing is missed between two looks. One thread reads for all of
them; what two nodes did at once is in the order in which it was read.
"""

import ctypes
import ipaddress
import os
import selectors
import socket
import struct
import threading
import time
from contextlib import suppress

from invariants_nodes import Change

NEWADDR, DELADDR, GETADDR = 20, 21, 22
GROUPS = 0x10 | 0x100  # RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_PROTO = 1, 2, 3, 11
MARK = 0x69
LABEL = ":ipw"
LOOPBACK = 1  # the index of lo, in every namespace
RECEIVE_BUFFER = 8 << 20


class KernelWatch:
    """with KernelWatch(nodes) as watch: ...; watch.changes is a list of Change.

    It begins with what is there.
    """

    def __init__(self, nodes):
        self.changes = []
        self._nodes = nodes
        self._sockets = {}
        self._over, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True, name="kernel-addresses")
        self._failure = None

    def __enter__(self):
        for node in self._nodes:
            with node.net.entered():
                watch = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            watch.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            watch.bind((0, GROUPS))
            # Both families in one dump; everything that changes meanwhile is told as well.
            watch.send(struct.pack("=LHHLL", 24, GETADDR, REQUEST_DUMP, 1, 0) + bytes(8))
            watch.setblocking(False)
            self._sockets[watch] = node.name
        self._thread.start()
        return self

    def __exit__(self, *_):
        # What the kernel has told until now is read by the thread's last look.
        os.write(self._wake, b"!")
        self._thread.join()
        for watch in self._sockets:
            watch.close()
        os.close(self._over)
        os.close(self._wake)
        if self._failure:
            raise self._failure

    def _run(self):
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._over, selectors.EVENT_READ)
                for watch in self._sockets:
                    selector.register(watch, selectors.EVENT_READ)
                over = False
                while not over:
                    ready = [key.fileobj for key, _ in selector.select()]
                    over = self._over in ready
                    for watch, name in self._sockets.items():
                        self._read(watch, name)
        except BaseException as error:  # raised again where it was started
            self._failure = error

    def _read(self, watch, name):
        with suppress(BlockingIOError):
            while True:
                now = time.monotonic()
                for change in parse(watch.recv(1 << 16), name, now):
                    self.changes.append(change)


def parse(data, node, at):
    """The changes in the messages of one datagram, of links other than lo."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind = struct.unpack_from("=LH", data, offset)
        if length < 16:
            break
        if kind in (NEWADDR, DELADDR):
            change = _change(data[offset + 16 : offset + length], node, at, kind == NEWADDR)
            if change:
                yield change
        offset += (length + 3) & ~3


def _change(body, node, at, held):
    family, _, _, _, index = struct.unpack_from("=BBBBL", body)
    if index == LOOPBACK or family not in (socket.AF_INET, socket.AF_INET6):
        return None
    found = {}
    offset = 8
    while offset + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, offset)
        if length < 4:
            break
        found[kind] = body[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    address = found.get(IFA_LOCAL) or found.get(IFA_ADDRESS)
    label = ctypes.create_string_buffer(found.get(IFA_LABEL, b"")).value.decode()
    marked = found.get(IFA_PROTO, b"\0")[0] == MARK or label.endswith(LABEL)
    return Change(at, node, str(ipaddress.ip_address(address)), held, marked)
