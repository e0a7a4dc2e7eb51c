"""Agents of many nodes in one process, as the API server sees them: heartbeats with the period that agents
have, watches by the fields that agents watch, and a status for each claim that names them. They have no
network, so nobody takes over directly; and each has the token of its own node.

    with Swarm(server, ssl_context, tokens) as swarm: ...

Run as threads' work in one event loop; what each was told is in swarm.agents.
"""

import asyncio
import http.client
import json
import random
import threading
import time
from urllib.parse import quote, urlsplit

IP_NODES = "/apis/ipcontroller.ext/v2/ipnodes"
CLAIMS = "/apis/ipcontroller.ext/v2/ipclaims"
FIELDS = ("spec.nodeName", "spec.standbyNode", "spec.announce")
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
# As server/agent/agent_heartbeat.c has them, in seconds.
LEAST, SHARE, COUNT_EVERY = 2.0, 0.055, 30.0
DEADLINE = 10
WRITES = 2  # of statuses at a time, for each agent


class Agent:
    """One node's agent."""

    def __init__(self, swarm, name, token):
        self.swarm = swarm
        self.name = name
        self.interval = LEAST
        self.told = 0  # events of its watches
        self.strange = []  # claims that it was shown and that don't name it
        self.beaten_at = None
        self.failed = 0
        self._token = token
        self._revision = int(time.time())
        self._tasks = []
        self._claims = {}
        self._dirty = asyncio.Queue()
        self._apart = False
        self._line = None  # a connection for heartbeats, which wait behind nothing

    async def live(self):
        body = {
            "apiVersion": "ipcontroller.ext/v2",
            "kind": "IpNode",
            "metadata": {"name": self.name},
            "spec": {"nodeName": self.name},
        }
        await self._request("POST", IP_NODES, body, (201, 409))
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ready = {"type": "Ready", "status": "True", "reason": "LinkUp", "message": ""}
        status = {"addresses": [], "links": [], "conditions": [{**ready, "lastTransitionTime": since}]}
        path = f"{IP_NODES}/{self.name}/status"
        await self._request(
            "PATCH", f"{path}?fieldManager=ipwarden-agent&force=true",
            {**body, "status": status}, kind=APPLY,
        )  # fmt: skip
        makers = [self._beat(path), self._count(), *(self._watch(field) for field in FIELDS)]
        makers += [self._write() for _ in range(WRITES)]
        self._tasks = [asyncio.create_task(maker) for maker in makers]

    async def die(self):
        """What a power cut does."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self._hang_up()

    async def _beat(self, path):
        while True:
            self._revision += 1
            status = {
                "revision": str(self._revision),
                "heartbeatTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "heartbeatInterval": f"{int(self.interval * 1000)}ms",
            }
            began = time.monotonic()
            done = await self._send_beat(path, {"status": status})
            self.beaten_at = began if done else self.beaten_at
            self.failed += not done
            pause = self.interval * random.uniform(15 / 16, 1)
            if self.interval > LEAST and not self._apart:
                self._apart = True
                pause = self.interval * random.uniform(1 / 8, 1)
            await asyncio.sleep(max(0, pause - (time.monotonic() - began)))

    async def _send_beat(self, path, body):
        try:
            async with asyncio.timeout(max(1, self.interval)):
                self._line = self._line or await self.swarm.connect()
                send(self._line, "PATCH", path, json.dumps(body).encode(), MERGE, self._token)
                status, _ = await receive(self._line[0])
                return status == 200
        except (OSError, ValueError, asyncio.IncompleteReadError):
            self._hang_up()
            return False

    def _hang_up(self):
        if self._line:
            self._line[1].close()
        self._line = None

    async def _count(self):
        while True:
            found = await self._request("GET", f"{IP_NODES}?limit=1")
            if found:
                nodes = len(found["items"]) + found["metadata"].get("remainingItemCount", 0)
                self.interval = max(LEAST, SHARE * nodes)
            await asyncio.sleep(COUNT_EVERY)

    async def _watch(self, field):
        value = "AllNodes" if field == "spec.announce" else self.name
        selector = f"fieldSelector={quote(f'{field}={value}')}"
        while True:
            try:
                listed = await self._request("GET", f"{CLAIMS}?{selector}")
                for claim in listed["items"]:
                    self._take("ADDED", claim, field, value)
                version = listed["metadata"]["resourceVersion"]
                query = f"{selector}&watch=1&resourceVersion={version}"
                async for event in self.swarm.stream(f"{CLAIMS}?{query}", self._token):
                    self._take(event["type"], event["object"], field, value)
            except (OSError, ValueError, TypeError, KeyError, asyncio.IncompleteReadError):
                pass
            await asyncio.sleep(1)

    def _take(self, kind, claim, field, value):
        self.told += 1
        if kind not in ("ADDED", "MODIFIED"):
            return
        name = claim["metadata"]["name"]
        if claim["spec"].get(field.removeprefix("spec.")) != value:
            self.strange.append(name)
        bound = claim.get("status", {}).get("boundNode", "")
        if field == "spec.nodeName" and bound != self.name and self.swarm.binds:
            self._dirty.put_nowait(name)

    async def _write(self):
        while True:
            name = await self._dirty.get()
            body = {"status": {"boundNode": self.name}}
            await self._request("PATCH", f"{CLAIMS}/{name}/status", body, kind=MERGE)

    async def _request(self, method, path, body=None, expect=(200, 201), kind="application/json"):
        """The object, or None; answers that aren't expected count as none."""
        try:
            status, answer = await self.swarm.request(method, path, body, kind, self._token)
        except (OSError, ValueError, http.client.HTTPException, asyncio.IncompleteReadError):
            return None
        return answer if status in expect else None


class Swarm:
    """All of them, in a thread with an event loop; a pool of connections for what isn't a watch."""

    CONNECTIONS = 16

    def __init__(self, server, context, tokens, binds=True):
        """tokens: {name of a node: token}."""
        self.agents = {}
        self.binds = binds
        url = urlsplit(server)
        self._target = (url.hostname, url.port)
        self._context = context
        self._tokens = tokens
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="swarm", daemon=True)
        self._free = None

    def __enter__(self):
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(self, *_):
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def kill(self, name):
        self._do(self.agents[name].die())

    def revive(self, name):
        self._do(self.agents[name].live())

    def _do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _start(self):
        self._free = asyncio.LifoQueue()
        for _ in range(self.CONNECTIONS):
            self._free.put_nowait(None)
        self.agents = {name: Agent(self, name, token) for name, token in self._tokens.items()}
        for agent in self.agents.values():
            await agent.live()

    async def _stop(self):
        for agent in self.agents.values():
            await agent.die()

    async def request(self, method, path, body, kind, token):
        connection = await self._free.get()
        fresh = None
        try:
            async with asyncio.timeout(DEADLINE):
                connection = connection or await self.connect()
                data = json.dumps(body).encode() if body is not None else b""
                send(connection, method, path, data, kind, token)
                status, text = await receive(connection[0])
            fresh = connection
            return status, json.loads(text)
        finally:
            # One that was cut short has half an answer in it.
            if connection and fresh is None:
                connection[1].close()
            self._free.put_nowait(fresh)

    async def stream(self, path, token):
        """The events of a watch."""
        reader, writer = connection = await self.connect()
        try:
            send(connection, "GET", path, b"", "application/json", token)
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n")[0]:
                return
            rest = b""
            while size := int(await reader.readline(), 16):
                rest += await reader.readexactly(size)
                await reader.readexactly(2)
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    yield json.loads(line)
        finally:
            writer.close()

    async def connect(self):
        return await asyncio.open_connection(*self._target, ssl=self._context, limit=1 << 24)


def send(connection, method, path, data, kind, token):
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    connection[1].write(head.encode() + data)


async def receive(reader):
    """(status, body) of one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    status = int(head.split()[1])
    if "transfer-encoding: chunked" not in head:
        length = int(head.partition("content-length:")[2].split()[0])
        return status, await reader.readexactly(length)
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return status, body
