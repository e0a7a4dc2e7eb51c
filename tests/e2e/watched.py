"""All objects of a kind, seen one change after the other as the API server stores them."""

import http.client
import json
import threading
import urllib.parse


class Watched:
    """A watch on all objects below a path; what is made of a change is a subclass's note().

    with Subclass(lab, path) as seen: ...
    """

    def __init__(self, lab, path, server=0):
        self.lab = lab
        self.error = None
        self._path = path
        self._over = False
        url = urllib.parse.urlsplit(lab.cluster.servers[server])
        context = lab.cluster.ssl_context()
        self._connection = http.client.HTTPSConnection(url.hostname, url.port, context=context)
        listed = lab.read(path)
        for item in listed.body["items"]:
            self.note("ADDED", item)
        self._version = listed.body["metadata"]["resourceVersion"]
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        path = f"{self._path}?watch=1&resourceVersion={self._version}&timeoutSeconds=3600"
        self._connection.request("GET", path)
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over = True
        # Ends the read that waits for the next change.
        self._connection.sock.shutdown(2)
        self._thread.join()
        self._connection.close()

    def note(self, kind, item):
        """kind: ADDED, MODIFIED or DELETED. Called in the watch's own thread, but for the first."""
        raise NotImplementedError

    def _watch(self):
        try:
            while line := self._response.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise RuntimeError(f"the watch ended: {event['object']}")
                self.note(event["type"], event["object"])
            raise RuntimeError("the watch ended")
        except Exception as error:  # pylint: disable=broad-except  # shown by the subclass's check
            if not self._over:
                self.error = error
