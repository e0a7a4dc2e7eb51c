"""Who asked whom how often: writes by the API servers' own count, and calls of ipwarden by its own."""

import collections

import invariants

READS = ("GET", "LIST", "WATCH")


class Writes:
    """The writes that the API servers have carried out since this was made."""

    def __init__(self, cluster):
        self._cluster = cluster
        self._before = self._read()

    def of(self, resource, verb=None, subresource=""):
        """How many there were of a resource ("services"), of all verbs or one, without dry runs."""
        return sum(
            count
            for (resource_, subresource_, verb_), count in self.all().items()
            if (resource_, subresource_) == (resource, subresource) and verb in (None, verb_)
        )

    def all(self):
        """{(resource, subresource, verb): count} of all that there were."""
        after = self._read()
        after.subtract(self._before)
        return {key: count for key, count in after.items() if count}

    def _read(self):
        found = collections.Counter()
        for server in range(len(self._cluster.servers)):
            status, text = self._cluster.request("GET", "/metrics", server=server)
            assert status == 200, text
            lines = [line for line in text.splitlines() if line.startswith("apiserver_request_to")]
            for (name, labels), value in invariants.parse_metrics("\n".join(lines)).items():
                labels = dict(labels)
                if (
                    name == "apiserver_request_total"
                    and labels["verb"] not in READS
                    and labels["code"].startswith("2")
                    and not labels["dry_run"]
                ):
                    key = (labels["resource"], labels["subresource"], labels["verb"])
                    found[key] += round(value)
        return found


class Calls:
    """The calls about Services that ipwarden has answered since this was made."""

    def __init__(self, fleet):
        self._fleet = fleet
        self._before = self._read()

    def count(self):
        """How many there were; each is counted before it is answered."""
        return self._read() - self._before

    def _read(self):
        name = "ipwarden_admission_requests_total"
        return sum(self._fleet.count(name, kind=kind) for kind in ("services", "services/status"))


def settle(lab):
    """Waits until what was set off before has been done: by a Service that the leader serves after it.

    The leader's queue is in order, and what an informer sees is, too.
    """
    return lab.with_ingress(lab.create(lab.load_balancer()))
