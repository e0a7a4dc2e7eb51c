"""Floods of the ports that anybody in the cluster reaches, as a pod without credentials makes them.

with Flood("silent", port, 2000): ...

Each is a process of its own: `floods.py KIND PORT COUNT PATH`. It keeps so many connections open, each
for as long as the other side lets it, and ends with its standard input. It says "flooding" once it has
opened each of them for the first time.
"""

import asyncio
import contextlib
import functools
import json
import logging
import resource
import ssl
import subprocess
import sys

BODY = 6_900_000
# A connection that was closed is opened again after so many seconds. Less would show how fast this
# machine opens connections.
PAUSE = 5
# More than one core has to do with their handshakes at once would only measure that.
OPENING = 100


class Flood:
    """A flood while this lasts."""

    def __init__(self, kind, port, count, path="/"):
        self._command = [sys.executable, __file__, kind, str(port), str(count), path]
        self._process = None

    def __enter__(self):
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout.readline() == "flooding\n", "the flood didn't begin"
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        assert self._process.wait(30) == 0, "the flood ended too early"


def head(path, length):
    return f"POST {path} HTTP/1.1\r\nHost: flood\r\nContent-Length: {length}\r\n\r\n".encode()


async def until_closed(reader):
    with contextlib.suppress(OSError):
        while await reader.read(65536):
            pass


async def silent(_, reader, writer):
    """Says nothing."""
    await until_closed(reader)


async def hello(_, reader, writer):
    """Begins a TLS handshake and doesn't go on."""
    outgoing = ssl.MemoryBIO()
    session = no_checks().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="flood")
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        writer.write(outgoing.read())
    await until_closed(reader)


async def headers(path, reader, writer):
    """Sends a header that never ends, a byte a second."""
    writer.write(head(path, 1)[:-2] + b"X-Slow: ")
    ended = asyncio.ensure_future(until_closed(reader))
    while not ended.done():
        writer.write(b"x")
        await asyncio.wait([ended], timeout=1)


async def body(path, reader, writer):
    """Sends all of a large body but its last byte."""
    writer.write(head(path, BODY))
    ended = asyncio.ensure_future(until_closed(reader))
    piece = bytes(65536)
    left = BODY - 1
    while left and not ended.done():
        writer.write(piece[:left])
        left -= min(left, len(piece))
        await writer.drain()
    await ended


async def convert(path, reader, writer):
    """Has a large review of many objects converted, again and again."""
    ended = asyncio.ensure_future(until_closed(reader))
    while not ended.done():
        writer.write(head(path, len(review())) + review())
        await writer.drain()
    await ended


# name: (what one connection does, whether it is one with TLS)
KINDS = {
    "silent": (silent, False),
    "hello": (hello, False),
    "headers": (headers, True),
    "body": (body, True),
    "convert": (convert, True),
}


@functools.cache
def review():
    """A ConversionReview of about the size of BODY."""
    spec = {"cidr": "203.0.113.7/32", "pool": "p", "services": [{"namespace": "a", "name": "b"}] * 20}
    metadata = {"name": "203-0-113-7-32"}
    claim = {"apiVersion": "ipcontroller.ext/v2", "kind": "IpClaim", "metadata": metadata, "spec": spec}
    request = {"uid": "u", "desiredAPIVersion": "ipcontroller.ext/v1"}
    request["objects"] = [claim] * (BODY // len(json.dumps(claim)))
    whole = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "request": request}
    return json.dumps(whole).encode()


@functools.cache
def no_checks():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def keep(kind, port, path, slots, first):
    """One connection, again and again."""
    behave, tls = KINDS[kind]
    while True:
        writer = None
        try:
            async with slots:
                options = {"ssl": no_checks()} if tls else {}
                reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
            first()
            await behave(path, reader, writer)
        except OSError:
            first()  # refused, or closed by the other side: that is an answer, too
        finally:
            if writer:
                writer.close()
        await asyncio.sleep(PAUSE)


async def flood(kind, port, count, path):
    slots = asyncio.Semaphore(OPENING)
    waiting = set(range(count))
    begun = asyncio.Event()

    def tell(index):
        waiting.discard(index)
        if not waiting:
            begun.set()

    tasks = [
        asyncio.ensure_future(keep(kind, port, path, slots, lambda index=index: tell(index)))
        for index in range(count)
    ]
    await begun.wait()
    print("flooding", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()


def main():
    kind, port, count, path = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # It tells of each write to a connection that the other side has closed.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    asyncio.run(flood(kind, int(port), int(count), path))


if __name__ == "__main__":
    main()
