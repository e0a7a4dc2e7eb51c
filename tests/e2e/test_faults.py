"""The proxies themselves: what they promise to break is broken, and all else gets through."""

import http.client
import json
import ssl

import pytest

import faults
from faults import HttpProxy, TcpProxy
from harness import Answer, wait_until
from replicas import timed


class Client:
    """Requests through a proxy, as the administrator as far as the API server is concerned."""

    def __init__(self, cluster, proxy):
        status, token = cluster.request(
            "POST",
            "/api/v1/namespaces/ipwarden-system/serviceaccounts/ipwarden/token",
            {"spec": {"expirationSeconds": 3600}},
        )
        assert status == 201, token
        self.token = token["status"]["token"]
        self.proxy = proxy
        self.context = ssl.create_default_context(cafile=cluster.ca_file)

    def open(self, method, path, body=None):
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.proxy.port, context=self.context, timeout=10
        )
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        return connection.getresponse()

    def request(self, method, path, body=None):
        response = self.open(method, path, body)
        return Answer(response.status, json.loads(response.read()))


CLAIMS = "/apis/ipcontroller.ext/v2/ipclaims"


def test_what_no_rule_is_for_gets_through(cluster):
    with HttpProxy(cluster) as proxy:
        rule = proxy.add(faults.refuse(500), "POST", "/ipclaims$")
        client = Client(cluster, proxy)
        assert client.request("GET", CLAIMS).body["kind"] == "IpClaimList"
        assert rule.met == 0
        answer = client.request("POST", CLAIMS, {})
        assert (answer.status, answer.message, rule.met) == (500, "made up: 500", 1)
        assert client.request("POST", CLAIMS, {}).status != 500


def test_a_lost_answer_is_of_a_request_that_was_carried_out(cluster):
    # A Service that nobody needs to be asked about.
    path = "/api/v1/namespaces/default/services"
    body = {"metadata": {"name": "lost"}, "spec": {"ports": [{"port": 80}]}}
    assert cluster.request("POST", path, body)[0] == 201
    with HttpProxy(cluster) as proxy:
        client = Client(cluster, proxy)
        proxy.add(faults.hang_up, "GET", "/lost")
        proxy.add(faults.break_off(20), "GET", "/lost")
        for _ in range(2):
            with pytest.raises((OSError, http.client.HTTPException)):
                client.request("GET", f"{path}/lost")
        assert client.request("GET", f"{path}/lost").ok
    assert cluster.request("DELETE", f"{path}/lost")[0] == 200


def test_a_watch_streams_through_and_is_cut(cluster):
    with HttpProxy(cluster) as proxy:
        watch = Client(cluster, proxy).open("GET", "/api/v1/services?watch=1")
        assert watch.status == 200
        # There's one in every cluster.
        assert json.loads(watch.readline())["object"]["metadata"]["name"] == "kubernetes"
        proxy.cut()
        with pytest.raises((OSError, http.client.HTTPException)):
            watch.read()


def test_a_watch_is_late_by_so_much_and_no_more(cluster):
    path = "/api/v1/namespaces/default/services"
    with HttpProxy(cluster) as proxy:
        rule = proxy.add(faults.late(0.5), "GET", "watch=1", times=2)
        client = Client(cluster, proxy)
        (seconds, watch) = timed(lambda: client.open("GET", f"{path}?watch=1"))
        assert watch.status == 200 and seconds < 0.5
        assert json.loads(watch.readline())["object"]["metadata"]["name"] == "kubernetes"
        for name in ("late-1", "late-2", "late-3"):
            body = {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}
            assert cluster.request("POST", path, body)[0] == 201
            assert cluster.request("DELETE", f"{path}/{name}")[0] == 200
        seconds, events = timed(lambda: [json.loads(watch.readline()) for _ in range(6)])
        # One delay for all of them, not one after the other.
        assert 0.3 < seconds < 1.5
        assert [event["type"] for event in events] == ["ADDED", "DELETED"] * 3
        assert client.request("GET", CLAIMS).ok
        assert rule.met == 1


def test_bytes_are_passed_on_cut_and_swallowed(cluster):
    port = int(cluster.servers[0].rpartition(":")[2])
    with TcpProxy(port) as proxy:
        client = Client(cluster, proxy)
        assert client.request("GET", CLAIMS).ok
        connection = http.client.HTTPSConnection(
            "127.0.0.1", proxy.port, context=client.context, timeout=0.5
        )
        connection.request("GET", "/version")
        assert connection.getresponse().read()
        proxy.swallow()
        connection.request("GET", "/version")
        with pytest.raises(TimeoutError):
            connection.getresponse()
        connection.close()
        proxy.pass_on()
        connection.request("GET", "/version")
        assert connection.getresponse().read()
        proxy.cut()

        def is_cut():
            try:
                connection.request("GET", "/version")
                connection.getresponse().read()
                return False
            except (OSError, http.client.HTTPException):
                return True

        # HTTPSConnection connects again by itself, but not before it has seen the end.
        assert is_cut()
        wait_until(lambda: client.request("GET", CLAIMS).ok, "the proxy to go on")
