"""Whoever reaches the ports can flood them; creates succeed all the same, and no replica grows."""

import time

import pytest

import objects
from conftest import SERVE
from floods import Flood
from harness import FULL
from lab import Lab
from replicas import Fleet
from webhook import Webhook

CREATES = 500 if FULL else 40
RATE = 20 if FULL else 100  # a second, at most
MOST = 128 << 20
# AddressSanitizer keeps what was freed, and pads what is used; its own needs are of no interest.
SANITIZER = {"ASAN_OPTIONS": "quarantine_size_mb=0:thread_local_quarantine_size_kb=0"}
PROBE = 2  # seconds, as the kubelet waits

# What comes, to which port, by how many connections, with which path. All of it has the API server's
# own address.
FLOODS = {
    "bodies to a wrong path": ("body", "listen", 153, "/wrong"),
    "bodies that don't end": ("body", "listen", 153 if FULL else 40, "right"),
    "conversions that don't end": ("body", "listen", 153 if FULL else 40, "/convert"),
    "conversions": ("convert", "listen", 40, "/convert"),
    "silent connections": ("silent", "listen", 9000 if FULL else 5000, "/"),
    "handshakes that don't end": ("hello", "listen", 1500, "/"),
    "headers that don't end": ("headers", "listen", 600, "right"),
    "connections to the metrics": ("silent", "metrics", 4200, "/"),
    "connections to the probes": ("silent", "health", 1000, "/"),
}


@pytest.fixture(scope="module")
def flooded_lab(cluster, session_fleet):
    """A replica that no other test uses, since its memory is looked at."""
    session_fleet.stop()
    fleet = Fleet(cluster, extra_args=SERVE)
    try:
        for replica in fleet.replicas:
            replica.environment.update(SANITIZER)
        fleet.start()
        lab = Lab(cluster, fleet, "floods")
        lab.pool(size=len(FLOODS) * (CREATES + 1))
        yield lab
        lab.close()
        fleet.stop()
    finally:
        fleet.close()


@pytest.mark.parametrize("name", FLOODS)
def test_creates_and_probes_work_in_a_flood(flooded_lab, name):
    lab = flooded_lab
    kind, port, count, path = FLOODS[name]
    (replica,) = lab.fleet.replicas
    lab.create(lab.service(auto=True))
    if path == "right":
        path = Webhook(lab.cluster).paths["validating"]
    largest = 0
    with Flood(kind, replica.ports[port], count, path):
        for _ in range(CREATES):
            created = lab.create(lab.service(auto=True))
            assert objects.external(created)
            largest = max(largest, replica.resident())
            time.sleep(1 / RATE)
        for probe in ("/healthz", "/readyz"):
            assert replica.get(probe, replica.ports["health"], timeout=PROBE)[0] == 200
    print(f"{name}: {largest >> 20} MiB")
    assert largest < MOST
