"""Connections to the API server that are cut, slow or silent: all is well in the end."""

import contextlib

import objects
from comings import CLEAR, GRACE, come_and_go, create_in_the_end
from faults import TcpProxy
from harness import Load, wait_until
from replicas import Replica


@contextlib.contextmanager
def behind(lab, proxy):
    """The fleet is one replica that reaches the API server through the proxy."""
    lab.fleet.stop()
    lab.fleet.replicas = [
        Replica(
            lab.cluster,
            lab.fleet.port,
            index=9,
            url=proxy.url,
            extra_args=[f"--grace={GRACE}s"],
        )
    ]
    try:
        yield lab.fleet.replicas[0]
        lab.fleet.stop()
    finally:
        lab.fleet.kill()
        lab.fleet.resize(1)


def test_connections_that_are_cut_again_and_again_do_no_harm(lab):
    port = int(lab.cluster.servers[0].rpartition(":")[2])
    with TcpProxy(port) as proxy, behind(lab, proxy) as replica:
        replica.start()
        lab.pool(size=500)

        def create(index):
            return create_in_the_end(lab, lab.service(f"svc-{index}", auto=True))

        with Load(4, create) as load:
            for _ in range(5):
                before = len(load.results)
                wait_until(
                    lambda before=before: load.errors or len(load.results) >= before + 8,
                    "creates to go on",
                )
                proxy.cut()
        given = [objects.external(service)[0] for service in load.results]
        assert len(set(given)) == len(given)
        lab.check_at_rest(seconds=GRACE + 60)


def test_a_slow_connection_is_slow_and_no_more(lab):
    port = int(lab.cluster.servers[0].rpartition(":")[2])
    with TcpProxy(port) as proxy, behind(lab, proxy) as replica:
        proxy.delay = 0.1
        replica.start()
        come_and_go(lab)
        lab.check_at_rest()


def test_a_connection_that_goes_silent_refuses_clearly_and_comes_back(lab):
    port = int(lab.cluster.servers[0].rpartition(":")[2])
    with TcpProxy(port) as proxy, behind(lab, proxy) as replica:
        replica.start()
        lab.pool(size=20)
        service = lab.service(auto=True)
        proxy.swallow()
        answer = lab.try_create(service)
        assert answer.status in CLEAR and answer.message, answer
        proxy.cut()
        proxy.pass_on()
        created = create_in_the_end(lab, service)
        lab.claimed(objects.external(created)[0], created)
        come_and_go_more(lab)
        lab.check_at_rest(seconds=GRACE + 60)


def come_and_go_more(lab):
    """Fills what the pool has left, which an address that was claimed without an answer must be part of."""
    for _ in range(19):
        create_in_the_end(lab, lab.service(auto=True))
