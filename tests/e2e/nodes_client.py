"""A client outside: asks addresses over HTTP from its own host, and notes when it was answered."""

import errno
import selectors
import socket
import threading
import time
from typing import NamedTuple

REQUEST = b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n"
# Seconds between two requests of one address, and after which one counts as lost.
PACE = 0.02
LOST = 1.5


class Answer(NamedTuple):
    """One answered request: when it was sent and answered, who answered, and whom that saw."""

    address: str
    asked: float
    at: float
    node: str
    client: str


class Asking:
    """Asks addresses at a pace, each time on a new connection, whatever became of those before.

    with Asking(host, [("203.0.113.100", 80)]) as asking: ...
    asking.longest_gap("203.0.113.100")

    It is told of more addresses by ask(). What is unanswered after a while counts as lost.
    """

    def __init__(self, host, addresses=(), pace=PACE):
        self.answers = []
        self.refused = 0
        self._host = host
        self._pace = pace
        self._targets = list(addresses)
        self._over = threading.Event()
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True, name="asking")
        self._failure = None

    def __enter__(self):
        self.began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self.ended = time.monotonic()
        if self._failure:
            raise self._failure

    def ask(self, address, port=80):
        self._targets.append((address, port))

    def forget(self, address):
        self._targets = [target for target in self._targets if target[0] != address]

    def of(self, address, since=0.0):
        """The answers of requests that were made since then, in the order in which they came."""
        return sorted(
            (answer for answer in list(self.answers)
             if answer.address == address and answer.asked >= since),
            key=lambda answer: answer.at,
        )  # fmt: skip

    def wait_answer(self, address, since=0.0, seconds=30, node=None):
        """The first answer to what was asked since then, by the node if one is named."""

        def found():
            return next(
                (a for a in self.of(address, since) if node is None or a.node == node), None
            )

        deadline = time.monotonic() + seconds
        with self._news:
            while not (answer := found()):
                left = deadline - time.monotonic()
                assert left > 0, (
                    f"{address} is not answered in {seconds} s"
                    f"{f' by {node}' if node else ''}; last: {self.of(address)[-1:]}"
                )
                self._news.wait(min(left, 0.5))
        return answer

    def longest_gap(self, address, since=None, until=None):
        """The longest time in seconds between two answers; the ends of the time asked count too."""
        since = self.began if since is None else since
        until = until or (self.ended if not self._thread.is_alive() else time.monotonic())
        times = [answer.at for answer in self.of(address) if since <= answer.at <= until]
        edges = [since, *times, until]
        return max(later - earlier for earlier, later in zip(edges, edges[1:]))

    def _run(self):
        try:
            with self._host.net.entered():
                self._ask_all()
        except BaseException as error:  # raised again where it was started
            self._failure = error

    def _ask_all(self):
        under_way = {}
        with selectors.DefaultSelector() as selector:
            due = time.monotonic()
            while not self._over.is_set():
                now = time.monotonic()
                if now >= due:
                    due = max(due + self._pace, now)
                    for address, port in list(self._targets):
                        self._begin(selector, under_way, address, port, now)
                    self._give_up(selector, under_way, now)
                for key, _ in selector.select(max(0, due - time.monotonic())):
                    self._go_on(selector, under_way, key)
            for connection in list(under_way):
                connection.close()

    def _begin(self, selector, under_way, address, port, now):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            connection.connect((address, port))
        except BlockingIOError:
            pass
        except OSError:  # nobody has the address, as the kernel knows already
            connection.close()
            return
        under_way[connection] = [address, now, b""]
        selector.register(connection, selectors.EVENT_WRITE)

    def _go_on(self, selector, under_way, key):
        connection = key.fileobj
        state = under_way[connection]
        try:
            if key.events & selectors.EVENT_WRITE:
                connection.sendall(REQUEST)
                selector.modify(connection, selectors.EVENT_READ)
                return
            data = connection.recv(4096)
        except OSError as error:
            self.refused += error.errno == errno.ECONNREFUSED
            self._end(selector, under_way, connection)
            return
        state[2] += data
        if data and not state[2].endswith(b"\n"):
            return
        self._end(selector, under_way, connection)
        if state[2]:
            node, client = state[2].rpartition(b"\r\n")[2].decode().split()
            answer = Answer(state[0], state[1], time.monotonic(), node, client)
            with self._news:
                self.answers.append(answer)
                self._news.notify_all()

    def _give_up(self, selector, under_way, now):
        for connection, state in list(under_way.items()):
            if now - state[1] > LOST:
                self._end(selector, under_way, connection)

    def _end(self, selector, under_way, connection):
        selector.unregister(connection)
        connection.close()
        del under_way[connection]


class Stream:
    """Small requests on one connection, one after the other; a broken one is opened again.

    with Stream(host, address) as stream: ...
    stream.retries, stream.answered
    """

    def __init__(self, host, address, port=80, pace=0.01):
        self.retries = 0
        self.answered = 0
        self.slowest = 0.0
        self._host = host
        self._target = (address, port)
        self._pace = pace
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="stream")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _run(self):
        with self._host.net.entered():
            connection = None
            while not self._over.wait(self._pace):
                began = time.monotonic()
                while not self._over.is_set():
                    try:
                        connection = connection or socket.create_connection(self._target, 3)
                        connection.sendall(REQUEST)
                        if not connection.recv(4096):
                            raise ConnectionResetError
                        break
                    except OSError:
                        self.retries += 1
                        if connection:
                            connection.close()
                        connection = None
                self.answered += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
            if connection:
                connection.close()


def get(host, address, port=80, timeout=1.0):
    """(node, client as it saw it) of one request from the host, or None when none is answered."""
    try:
        with host.net.entered():
            connection = socket.create_connection((address, port), timeout)
        with connection:
            connection.sendall(REQUEST)
            data = b""
            while not data.endswith(b"\n") or b"\r\n\r\n" not in data[:-1]:
                more = connection.recv(4096)
                if not more:
                    return None
                data += more
        return tuple(data.rpartition(b"\r\n")[2].decode().split())
    except OSError:
        return None
