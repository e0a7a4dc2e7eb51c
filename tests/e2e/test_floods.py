"""Whoever reaches the ports can flood them; creates succeed all the same, and no replica grows."""

import contextlib
import time

import pytest

import objects
from floods import Flood
from harness import FULL
from webhook import Webhook

CREATES = 500 if FULL else 40
# AddressSanitizer keeps what was freed, and more with everything: its own bound is of no interest.
MOST = 128 << 20
PROBE = 2  # seconds, as the kubelet waits

# kind, which port, connections, which path. What comes from 127.0.0.1 has the API server's address.
FLOODS = {
    "bodies to a wrong path": ("body", "listen", 153, "/wrong"),
    "bodies that don't end": ("body", "listen", 153, "right"),
    "silent connections": ("silent", "listen", 3000, "/"),
    "handshakes that don't end": ("hello", "listen", 1500, "/"),
    "headers that don't end": ("headers", "listen", 600, "right"),
    "connections to the metrics": ("silent", "metrics", 4200, "/"),
    "connections to the probes": ("silent", "health", 1000, "/"),
}


@pytest.mark.parametrize("name", FLOODS)
def test_creates_and_probes_work_in_a_flood(lab, name):
    kind, port, count, path = FLOODS[name]
    (replica,) = lab.fleet.replicas
    lab.pool(size=CREATES + 10)
    lab.create(lab.service(auto=True))
    if path == "right":
        path = Webhook(lab.cluster).paths["validating"]
    with Flood(kind, replica.ports[port], count, path):
        largest = 0
        for _ in range(CREATES):
            created = lab.create(lab.service(auto=True))
            assert objects.external(created)
            largest = max(largest, replica.resident())
            time.sleep(0.02)
        assert replica.get("/healthz", replica.ports["health"], timeout=PROBE)[0] == 200
        assert replica.get("/readyz", replica.ports["health"], timeout=PROBE)[0] == 200
    print("largest", largest >> 20)
