#!/usr/bin/env python3
"""The HTTP server on a node: answers every request with the node's name and the client's address.

    nodes_backend.py NODE PORT

Connections stay open, and requests on one are answered in their order.
"""

import asyncio
import sys


class Answers(asyncio.Protocol):
    def __init__(self, node):
        self._node = node
        self._unread = b""

    def connection_made(self, transport):
        self._transport = transport
        client = transport.get_extra_info("peername")[0].removeprefix("::ffff:")
        text = f"{self._node} {client}\n".encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n\r\n"
        self._answer = head.encode() + text

    def data_received(self, data):
        *requests, self._unread = (self._unread + data).split(b"\r\n\r\n")
        if requests:
            self._transport.write(self._answer * len(requests))


async def serve(node, port):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answers(node), ["0.0.0.0", "::"], port, backlog=1000)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
