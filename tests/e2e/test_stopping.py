"""A replica that is told to stop takes its time, and less when it is told again."""

import threading
import time

import objects
from harness import PATIENCE, Load, wait_until

# Above the patience of wait_ended, so that a test which waits for it fails.
DRAIN = 10 * PATIENCE
# How long an answer under way is waited for: the time that the webhook configurations give it.
ANSWER = 10


def says(replica, text):
    return lambda: text in replica.log.read_text(errors="replace")


def test_a_second_signal_ends_the_drain(fleet):
    (replica,) = fleet.replace(f"--drain={DRAIN:.0f}s").replicas
    began = replica.log.read_text(errors="replace").count("stopping")
    replica.terminate()
    wait_until(lambda: replica.log.read_text(errors="replace").count("stopping") > began, "a drain")
    assert replica.get("/healthz") == (200, "ok\n")
    assert replica.get("/readyz")[0] == 503
    replica.terminate()
    replica.wait_ended()


def test_a_further_signal_ends_the_wait_for_answers(proxied_lab):
    lab = proxied_lab
    (replica,) = lab.fleet.replicas
    lab.pool(size=4)
    held = threading.Event()
    over = threading.Event()

    def hold(exchange):
        held.set()
        over.wait(2 * ANSWER)
        exchange.hang_up()

    lab.fleet.proxy.add(hold, "POST", objects.PATHS["IpClaim"])
    lab.leaves_unstored = True
    with Load(1, lambda index: lab.try_create(lab.service(auto=True)), pause=PATIENCE):
        assert held.wait(PATIENCE)
        began = time.monotonic()
        while replica.running():
            assert time.monotonic() - began < ANSWER / 2, "the answer is waited for"
            replica.terminate()
            time.sleep(0.05)
        over.set()
    assert replica.process.returncode == 1
    replica.kill()
    replica.start()
