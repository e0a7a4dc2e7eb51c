"""Proxies between ipwarden and an API server that break what passes through them.

TcpProxy knows connections only: it cuts, delays and swallows bytes. HttpProxy ends the TLS (with
the API server's own certificate) and knows requests: a rule answers one in the API server's place,
loses the answer of one that was carried out, or breaks off in the middle.

A fault is a function of an Exchange, and is in force until it has met so many requests:

    with HttpProxy(cluster) as proxy:
        rule = proxy.add(refuse(500), "POST", r"/ipclaims$", times=3)
        ...
        assert rule.met == 3
"""

import contextlib
import http.client
import http.server
import json
import queue
import re
import socket
import ssl
import threading
import time
import urllib.parse


class TcpProxy:
    """Passes connections on to a port of this machine."""

    def __init__(self, port):
        self._target = ("127.0.0.1", port)
        self._open = threading.Event()
        self._open.set()
        self.delay = 0.0
        self._pairs = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        _close(self._listener)
        self.cut()
        self._open.set()

    def cut(self):
        """Resets all connections."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    # Reset, not closed: what is under way is lost.
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                _close(end)

    def swallow(self):
        """From now on nothing gets through, and nobody is told."""
        self._open.clear()

    def pass_on(self):
        self._open.set()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                _close(client)
                continue
            self.accepted += 1
            with self._lock:
                self._pairs.add((client, server))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source, sink):
        try:
            while data := source.recv(65536):
                self._open.wait()
                if self.delay:
                    time.sleep(self.delay)
                sink.sendall(data)
        except OSError:
            pass
        _close(source)
        _close(sink)


class Rule:
    """A fault that waits for `times` requests."""

    def __init__(self, fault, method, path, times):
        self.fault = fault
        self.method = re.compile(method)
        self.path = re.compile(path)
        self.left = times
        self.met = 0
        self.done = 0  # of those met, how many are over


class HttpProxy:
    """Passes requests on to an API server, but for those that a rule is made for."""

    def __init__(self, cluster, server=0):
        self._rules = []
        self._lock = threading.Lock()
        self._clients = set()
        self._upstreams = set()
        self.upstream = urllib.parse.urlsplit(cluster.servers[server])
        self.client_context = ssl.create_default_context(cafile=cluster.ca_file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificates = cluster.directory / "certificates"
        context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
        self._server = _Server(self, context)
        self.port = self._server.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self.cut()

    def add(self, fault, method, path, times=1):
        """A rule for the next `times` requests whose method, and path and query, match."""
        rule = Rule(fault, method, path, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self):
        with self._lock:
            self._rules.clear()

    def cut(self):
        """Ends all connections, watches among them."""
        with self._lock:
            # Those of the clients first, so that none of them is told of a proper end.
            sockets = [*self._clients, *self._upstreams]
        for connection in sockets:
            _close(connection)

    def take(self, method, path):
        """The rule for a request, or None."""
        with self._lock:
            for rule in self._rules:
                if rule.left and rule.method.fullmatch(method) and rule.path.search(path):
                    rule.left -= 1
                    rule.met += 1
                    return rule
        return None

    @contextlib.contextmanager
    def serving(self, connection):
        with self._lock:
            self._clients.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._clients.discard(connection)

    @contextlib.contextmanager
    def asking(self, connection):
        with self._lock:
            self._upstreams.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._upstreams.discard(connection)
            _close(connection)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, proxy, context):
        self.proxy = proxy
        self._context = context
        super().__init__(("127.0.0.1", 0), Exchange)

    def finish_request(self, request, client_address):
        # Here, in the connection's own thread, a slow handshake holds nobody up.
        with (
            contextlib.suppress(OSError),
            self._context.wrap_socket(request, server_side=True) as connection,
        ):
            with self.proxy.serving(connection):
                super().finish_request(connection, client_address)

    def handle_error(self, request, client_address):
        """Broken connections are what this is for."""


class Exchange(http.server.BaseHTTPRequestHandler):
    """One request through the proxy, as a fault sees it."""

    protocol_version = "HTTP/1.1"

    def serve(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        rule = self.server.proxy.take(self.command, self.path)
        try:
            (rule.fault if rule else Exchange.pass_on)(self)
        except (OSError, http.client.HTTPException):
            self.hang_up()
        finally:
            if rule:
                rule.done += 1

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve

    def log_message(self, *_):
        pass

    @contextlib.contextmanager
    def forward(self):
        """Has the API server carry the request out: gives its response, not yet read."""
        proxy = self.server.proxy
        upstream = http.client.HTTPSConnection(
            proxy.upstream.hostname, proxy.upstream.port, context=proxy.client_context
        )
        hop = ("host", "connection", "content-length", "transfer-encoding", "accept-encoding")
        headers = {key: value for key, value in self.headers.items() if key.lower() not in hop}
        upstream.connect()
        with proxy.asking(upstream.sock):
            upstream.request(self.command, self.path, self.body or None, headers)
            yield upstream.getresponse()

    def relay(self, response, limit=None):
        """Answers with the response as it comes in, or with its first bytes only."""
        self.send_response_only(response.status)
        for key in ("Content-Type", "Retry-After", "Audit-Id"):
            if response.headers.get(key):
                self.send_header(key, response.headers[key])
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        while limit is None or limit > 0:
            data = response.read1(65536)[:limit]
            if not data:
                break
            if limit is not None:
                limit -= len(data)
            self.chunk(data)
        if limit is None:
            self.wfile.write(b"0\r\n\r\n")

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def pass_on(self):
        with self.forward() as response:
            self.relay(response)

    def answer(self, status, body, **headers):
        """Answers in the API server's place."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response_only(status)
        for key, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def hang_up(self):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


REASONS = {
    409: "Conflict", 410: "Expired", 429: "TooManyRequests", 500: "InternalError",
    503: "ServiceUnavailable", 504: "Timeout",
}  # fmt: skip


def status(code, reason=None):
    """A Status as API servers answer it."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"made up: {code}",
        "reason": reason or REASONS[code],
        "code": code,
    }


def refuse(code, reason=None, **headers):
    """Answers so without carrying the request out."""
    return lambda exchange: exchange.answer(code, status(code, reason), **headers)


def carry_out_and_answer(code):
    """Carries the request out and says that it failed."""

    def fault(exchange):
        with exchange.forward() as response:
            response.read()
        exchange.answer(code, status(code))

    return fault


def carry_out_and_hang_up(exchange):
    """Carries the request out; the answer is lost."""
    with exchange.forward() as response:
        response.read()
    exchange.hang_up()


def hang_up(exchange):
    """Loses the request."""
    exchange.hang_up()


def slow(seconds):
    """Waits before the request is carried out."""

    def fault(exchange):
        time.sleep(seconds)
        exchange.pass_on()

    return fault


def late(seconds):
    """A watch whose events come so many seconds after they happened, each of them."""

    def fault(exchange):
        with exchange.forward() as response:
            exchange.relay(_Late(response, seconds))

    return fault


class _Late:
    """A response whose data can be read a while after it came in."""

    def __init__(self, response, seconds):
        self.status, self.headers = response.status, response.headers
        self._response = response
        self._seconds = seconds
        self._data = queue.SimpleQueue()
        threading.Thread(target=self._receive, daemon=True).start()

    def read1(self, _):
        due, data = self._data.get()
        time.sleep(max(0, due - time.monotonic()))
        return data

    def _receive(self):
        data = b"any"
        while data:
            try:
                data = self._response.read1(65536)
            except (OSError, ValueError, http.client.HTTPException):
                data = b""
            self._data.put((time.monotonic() + self._seconds, data))


def break_off(after):
    """Carries the request out, and breaks off after so many bytes of the answer."""

    def fault(exchange):
        with exchange.forward() as response:
            exchange.relay(response, limit=after)
        exchange.hang_up()

    return fault


def nonsense(exchange):
    """Answers 200 with what is no JSON."""
    exchange.answer(200, b'{"kind": "List", "items": [{]')


def change_objects(change):
    """Passes on what a list, a watch or a read shows, each object after change(object)."""

    def fault(exchange):
        with exchange.forward() as response:
            if "watch=" in exchange.path:
                exchange.relay(_Changed(response, change))
                return
            body = json.loads(response.read())
            for item in body.get("items") or [body]:
                change(item)
            exchange.answer(response.status, body)

    return fault


class _Changed:
    """A watch's response, event by event, each with its object changed."""

    def __init__(self, response, change):
        self.status, self.headers = response.status, response.headers
        self._response = response
        self._change = change

    def read1(self, _):
        line = self._response.readline()
        if not line.strip():
            return line
        event = json.loads(line)
        self._change(event["object"])
        return json.dumps(event).encode() + b"\n"


def expire_watch(exchange):
    """A watch that tells at once that its resource version is too old."""
    exchange.answer(200, json.dumps({"type": "ERROR", "object": status(410)}).encode() + b"\n")


def _close(connection):
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            connection.close()
