"""HTTP requests to the API servers, over connections that stay open: hundreds a second."""

import http.client
import json
import select
import ssl
import threading
import weakref

import cluster_netns


class Client:
    """Requests to one API server as one user. Each thread that asks has a connection of its own."""

    def __init__(self, address, port, ca_file, certificate, key, netns=None):
        self.netns = netns
        self.address = address
        self.port = port
        self.context = ssl.create_default_context(cafile=ca_file)
        self.context.load_cert_chain(certificate, key)
        self._local = threading.local()
        self._connections = weakref.WeakSet()

    def request(self, method, path, body=None, content_type=None, timeout=30):
        """Sends one request and returns (status, body).

        The body sent is bytes or text as it is, anything else as JSON; the body returned is parsed
        when it is JSON, and text otherwise. A request is never sent twice, so an OSError or
        http.client.HTTPException leaves open whether the server carried it out.
        """
        if content_type is None:
            json_type = "application/json"
            content_type = "application/merge-patch+json" if method == "PATCH" else json_type
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
            if not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            if isinstance(body, str):
                body = body.encode()
        connection = self._connection(timeout)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = response.read()
        except BaseException:
            connection.close()
            raise
        if response.headers.get_content_type() == "application/json":
            # What tenants write isn't always UTF-8, and an API server passes it on.
            return response.status, json.loads(answer.decode(errors="replace"))
        return response.status, answer.decode(errors="replace")

    def close(self):
        """Closes every thread's connection. To be called when none of them is asking any more."""
        for connection in list(self._connections):
            connection.close()

    def _connection(self, timeout):
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = _Connection(self.address, self.port, context=self.context)
            connection.netns = self.netns
            self._local.connection = connection
            self._connections.add(connection)
        # A server that went away since the last answer has left an end of file to read. Looking for
        # it first is what makes it safe never to repeat a request.
        if connection.sock is not None and _readable(connection.sock):
            connection.close()
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        return connection


class _Connection(http.client.HTTPSConnection):
    netns = None

    def connect(self):
        with cluster_netns.entered(self.netns):
            super().connect()

    def __del__(self):
        """Closes the connection of a thread that ended."""
        self.close()


def _readable(sock):
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
