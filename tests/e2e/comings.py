"""Services that come and go while something is broken, for the tests of faults."""

import objects
from harness import parallel, wait_until

# Above what one create takes, faults included, and short enough to wait for.
GRACE = 6
SERVICES, BALANCERS = 10, 4
# What a create may be refused with while something is broken. 403: what an earlier attempt claimed
# can leave too few addresses, until the grace is over. 429: another replica was first.
CLEAR = (403, 429, 500, 503, 504)

CLAIMS = r"/ipclaims(\?|$)"
CLAIM = r"/ipclaims/[^/]+(\?|$)"
WRITE = "PUT|PATCH"


def create_in_the_end(lab, service):
    """Creates the Service, again after each clear refusal."""

    def attempt():
        answer = lab.try_create(service)
        assert answer.ok or (answer.status in CLEAR and answer.message), answer
        return answer.body if answer.ok else None

    return wait_until(attempt, f"{service['metadata']['name']} to be created")


def come_and_go(lab):
    """Uses each address of a pool twice over, so that none may stay behind."""
    lab.pool(size=SERVICES + BALANCERS, wait=False)
    for _ in range(2):
        services = parallel(
            4,
            lambda _: create_in_the_end(lab, lab.service(auto=True)),
            range(SERVICES),
        )
        balancers = [lab.create(lab.load_balancer()) for _ in range(BALANCERS)]
        given = {address for service in services for address in objects.external(service)}
        given |= {objects.ingress(lab.with_ingress(balancer))[0] for balancer in balancers}
        assert len(given) == SERVICES + BALANCERS
        lab.check(rules=("I1", "I2"))
        for service in (*services, *balancers):
            lab.delete(service)
    wait_until(lambda: not lab.claims(), lambda: f"no claims, but {lab.claims()}", GRACE + 30)
