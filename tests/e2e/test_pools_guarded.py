"""Whose claim it is says the pool that it names; and what a pool consists of can't be exchanged."""

import contextlib
import ipaddress
import json

import pytest

import objects
from harness import SPACE, WEBHOOKS, grant, wait_until

FOREIGN_FINALIZER = "example.com/keeps"
NETWORK = "198.51.100.0/24"


def is_guarded(lab):
    """Waits until the API server asks ipwarden again."""
    probe = objects.pool(f"{lab.name}-probe", "127.0.0.0/29")
    wait_until(lambda: lab.try_create(probe, dry_run=True).status == 422, "the webhooks to be back")


@contextlib.contextmanager
def unguarded(lab):
    """For a moment nobody judges what is written: as if two replicas had judged it at once."""
    path = f"{WEBHOOKS}/validatingwebhookconfigurations"
    kept = lab.read(f"{path}/ipwarden").body
    assert lab.request("DELETE", f"{path}/ipwarden").ok
    try:
        yield
    finally:
        for name in ("resourceVersion", "uid", "creationTimestamp", "managedFields"):
            kept["metadata"].pop(name, None)
        answer = lab.request("POST", path, kept)
        assert answer.ok, answer
        if any(replica.running() for replica in lab.fleet.replicas):
            is_guarded(lab)


def pool_of(lab, request, **spec):
    """A pool made from that request, not yet created."""
    chosen = {"name": request["metadata"]["name"], "namespace": request["metadata"]["namespace"]}
    return objects.pool(f"{lab.name}-{lab.unique('p')}", None, fromRequest=chosen, **spec)


def ready(lab, pool):
    wait_until(lambda: lab.pool_ready(pool), lambda: f"a ready pool, not {lab.get(pool)}")
    return lab.get(pool)


def two_that_overlap(lab, how):
    """A pool that serves, and one with the same addresses: one after the other.

    how: "unseen", as if two replicas had judged them at once; or "request", where a request is
    granted what the other pool has; "older" where that is even the older of the two.
    """
    request = lab.ask("later", "198.51.100.0/29", name="late")
    if how == "older":
        other = lab.create(pool_of(lab, request))
    serves = lab.pool(network="198.51.100.0/29")
    if how == "unseen":
        # The API server's clock of creation has whole seconds, and names decide within one.
        item = objects.pool(f"{lab.name}-z", "198.51.100.0/29")
        with unguarded(lab):
            other = wait_until(
                lambda: (answer := lab.try_create(item)).ok and answer.body, "nobody to judge"
            )
    if how == "request":
        other = lab.create(pool_of(lab, request))
    if how != "unseen":
        lab.create(request)
        lab.range(NETWORK, name="later")
    lab.is_for_reason(other, "Conflict")
    assert objects.condition(lab.get(other), "Conflict")["status"] == "True"
    return serves, lab.get(other)


def is_deleted_at_once(lab, pool):
    lab.delete(pool)
    lab.is_gone(pool)


@pytest.mark.parametrize("how", ["unseen", "request", "older"])
def test_of_two_pools_that_overlap_the_loser_can_be_cured(lab, how):
    serves, loser = two_that_overlap(lab, how)
    balancer = lab.with_ingress(lab.create(lab.load_balancer()))
    claim = lab.claimed(objects.ingress(balancer)[0], balancer)
    assert claim["spec"]["pool"] == serves["metadata"]["name"]
    # What adds no overlap can be edited, on either side.
    lab.patch(serves, {"spec": {"priority": 4}})
    if how == "unseen":
        lab.patch(loser, {"spec": {"priority": 5}})
    answer = lab.try_patch(serves, {"spec": {"addresses": ["198.51.100.0"]}})
    assert answer.status == 422 and claim["metadata"]["name"] in answer.message, answer
    other = str(SPACE.ipv4(29))
    lab.patch(loser, {"spec": {"fromRequest": None, "addresses": [other]}})
    ready(lab, loser)
    lab.check_at_rest()


@pytest.mark.parametrize("how", ["unseen", "request", "older"])
def test_of_two_pools_that_overlap_the_loser_goes_while_the_other_serves(lab, how):
    serves, loser = two_that_overlap(lab, how)
    balancer = lab.with_ingress(lab.create(lab.load_balancer()))
    is_deleted_at_once(lab, loser)
    lab.delete(serves)
    assert objects.ingress(lab.get(balancer)) == objects.ingress(balancer)
    lab.is_for_reason(serves, "Deleting")
    lab.delete_services()
    lab.is_gone(serves)


def test_a_request_brings_its_cidr_once_the_pool_that_has_it_is_gone(lab):
    serves, loser = two_that_overlap(lab, "older")
    assert "request" not in lab.get(loser)["status"]
    lab.delete(serves)
    lab.is_gone(serves)
    assert ready(lab, loser)["status"]["request"]["cidr"] == "198.51.100.0/29"


def test_a_pool_under_deletion_is_edited_as_any_other(lab):
    pool = lab.pool(network=SPACE.ipv4(29))
    created = lab.create(lab.service(auto=True))
    (address,) = objects.external(created)
    lab.claimed(address, created)
    lab.delete(pool)
    for spec in ({"addresses": [str(SPACE.ipv4(29))]}, {"exclude": [address]}):
        answer = lab.try_patch(pool, {"spec": spec})
        assert answer.status == 422 and objects.claim_name(address) in answer.message, answer
    assert lab.try_patch(pool, {"spec": {"addresses": ["nonsense"]}}).status == 422
    lab.patch(pool, {"spec": {"priority": 7}})
    lab.patch(pool, {"metadata": {"labels": {"team": "x"}}})
    lab.is_for_reason(pool, "Deleting")
    # No edit makes it give again.
    assert not objects.external(lab.try_create(lab.service(auto=True), dry_run=True).body)
    assert lab.claim(address)["spec"]["pool"] == pool["metadata"]["name"]
    lab.check_at_rest()
    lab.delete(created)
    lab.is_gone(pool)


def test_a_pool_that_somebody_else_keeps_says_that_it_is_being_deleted(lab):
    pool = lab.pool(network=SPACE.ipv4(29))
    kept = [*lab.get(pool)["metadata"]["finalizers"], FOREIGN_FINALIZER]
    lab.patch(pool, {"metadata": {"finalizers": kept}})
    lab.delete(pool)
    stored = lab.is_for_reason(pool, "Deleting")
    wait_until(
        lambda: lab.get(pool)["metadata"]["finalizers"] == [FOREIGN_FINALIZER],
        lambda: f"no finalizer of ours in {lab.get(pool)}",
    )
    assert objects.condition(stored, "Ready")["status"] == "False"
    lab.patch(pool, {"metadata": {"finalizers": None}})
    lab.is_gone(pool)


def test_claims_that_were_there_before_their_pool_get_its_name(lab):
    network = SPACE.ipv4(29)
    foreign = str(SPACE.ipv4(29)[3])
    addresses = [str(network[1]), str(network[2]), foreign]
    lab.fleet.replace("--foreign-addresses=allow")
    services = [lab.create(lab.service(externalIPs=[address])) for address in addresses]
    claims = [lab.claimed(*pair) for pair in zip(addresses, services, strict=True)]
    assert not any(claim["spec"].get("pool") for claim in claims)
    hold = lab.create(objects.claim(str(network[5])))
    pool = lab.pool(network=network)
    name = pool["metadata"]["name"]
    for address, service, before in list(zip(addresses, services, claims, strict=True))[:2]:
        wait_until(
            lambda a=address: lab.claim(a)["spec"].get("pool") == name,
            lambda a=address: f"the pool's name in {lab.claim(a)}",
        )
        after = lab.claimed(address, service)
        assert after["metadata"]["labels"] == {"ip-pool-name": name}
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert after["spec"]["services"] == before["spec"]["services"]
        assert objects.external(lab.get(service)) == [address]
    assert not lab.claim(foreign)["spec"].get("pool")
    # Nobody touches a hold; its address counts as the pool's all the same.
    assert lab.get(hold)["metadata"]["resourceVersion"] == hold["metadata"]["resourceVersion"]
    answer = lab.try_patch(pool, {"spec": {"exclude": [str(network[5])]}})
    assert answer.status == 422 and hold["metadata"]["name"] in answer.message, answer
    lab.check_at_rest(foreign_allowed=True)
    lab.delete(hold)


@pytest.mark.parametrize(
    "cidr",
    ["127.0.0.0/29", "0.0.0.8/29", "169.254.7.0/29", "239.1.1.0/29", "fe80::/125", "ff0e::/125"],
)
def test_a_pool_whose_addresses_no_service_can_have_is_refused(lab, cidr):
    answer = lab.try_create(objects.pool(f"{lab.name}-p", cidr))
    assert answer.status == 422 and "no Service can have" in answer.message, answer


def test_of_a_pool_that_reaches_into_such_a_network_only_the_rest_is_given(lab):
    ranges = ["169.253.255.254-169.254.0.5"]
    item = objects.pool(f"{lab.name}-p", *ranges)
    done = lab.kubectl("create", "-f", "-", input=json.dumps(item), namespace=False)
    assert "Warning: " in done.stderr and "169.254.0.0/16 (link-local)" in done.stderr, done.stderr
    lab.try_create(item)  # which is there; its end is the lab's business from now on
    assert ready(lab, item)["status"]["ipv4"]["total"] == 2
    given = [objects.ingress(lab.with_ingress(lab.create(lab.load_balancer()))) for _ in range(2)]
    assert sorted(given) == [["169.253.255.254"], ["169.253.255.255"]]
    balancer = lab.create(lab.load_balancer())
    assert "2 of 2" in lab.event(balancer, "AddressPending")
    assert not objects.ingress(lab.get(balancer))


# Pools that are made from a request


def finalizer_of(lab, request):
    wait_until(
        lambda: objects.REQUEST_FINALIZER in lab.get(request)["metadata"].get("finalizers", ()),
        "the finalizer of a pool",
    )


def test_a_tenant_can_not_take_the_finalizer_from_the_request_of_a_pool(lab):
    request = lab.granted(lab.create(lab.ask(lab.range(NETWORK), "/29")))
    pool = ready(lab, lab.create(pool_of(lab, request)))
    tenant = f"{lab.name}-tenant"
    lab.cluster.user_kubeconfig(tenant)
    rules = {"apiGroups": ["ipam.mandelsoft.org"], "resources": ["*"], "verbs": ["*"]}
    grant(lab.cluster, tenant, [rules])
    wait_until(
        lambda: lab.request("GET", objects.path_of(request), user=tenant).ok, "rights of the tenant"
    )
    finalizer_of(lab, request)
    for patch in ({"metadata": {"finalizers": None}}, {"metadata": {"finalizers": ["a.b/c"]}}):
        answer = lab.try_patch(request, patch, user=tenant)
        assert not answer.ok and pool["metadata"]["name"] in answer.message, answer
    # Its own may come and go.
    kept = lab.get(request)["metadata"]["finalizers"]
    for finalizers in ([*kept, "a.b/c"], kept):
        answer = lab.try_patch(request, {"metadata": {"finalizers": finalizers}}, user=tenant)
        assert answer.ok, answer
    lab.fleet.stop()
    assert not lab.try_patch(request, {"metadata": {"finalizers": None}}, user=tenant).ok
    assert lab.try_patch(request, {"metadata": {"labels": {"a": "b"}}}, user=tenant).ok
    lab.request("DELETE", objects.path_of(request), user=tenant)
    assert not lab.try_patch(request, {"metadata": {"finalizers": None}}, user=tenant).ok
    lab.fleet.start()
    answer = lab.try_patch(request, {"metadata": {"finalizers": None}}, user=tenant)
    assert not answer.ok and pool["metadata"]["name"] in answer.message, answer
    lab.delete(pool)
    lab.is_gone(pool)
    lab.is_gone(request)


def take_by_force(lab, request):
    """Deletes the request although a pool consists of it, as nobody could who is judged."""

    def is_taken():
        lab.try_patch(request, {"metadata": {"finalizers": None}})
        # Refused when the finalizer has been put back before.
        lab.request("DELETE", objects.path_of(request))
        return lab.get(request) is None

    with unguarded(lab):
        wait_until(is_taken, "a request to be deleted by force")


@pytest.mark.parametrize("seen", [True, False])
def test_a_request_made_anew_does_not_become_the_pool(lab, seen):
    request = lab.granted(lab.create(lab.ask(lab.range(NETWORK), "/29", name="net")))
    pool = ready(lab, lab.create(pool_of(lab, request)))
    pinned = pool["status"]["request"]
    assert pinned == {
        "namespace": lab.namespace,
        "name": "net",
        "uid": request["metadata"]["uid"],
        "cidr": objects.cidr(request),
    }
    created = lab.create(lab.service(auto=True))
    (address,) = objects.external(created)
    lab.claimed(address, created)
    theirs = lab.range("8.8.8.0/24", name="own")
    if not seen:
        lab.fleet.stop()
    take_by_force(lab, request)
    if not seen:
        lab.fleet.start()
        is_guarded(lab)
    again = lab.granted(lab.create(lab.ask(theirs, "8.8.8.0/28", name="net")))
    assert again["metadata"]["uid"] != request["metadata"]["uid"]
    stored = lab.is_for_reason(pool, "RequestChanged")
    condition = objects.condition(stored, "Ready")
    assert condition["status"] == "False" and f"{lab.namespace}/net" in condition["message"]
    assert stored["status"]["request"] == pinned
    # What runs runs on, and counts; nothing more is given, least of all 8.8.8.8.
    assert objects.external(lab.get(created)) == [address]
    wait_until(lambda: lab.get(pool)["status"]["ipv4"]["used"] == 1, "a pool that counts")
    lab.check_at_rest()
    assert not objects.external(lab.try_create(lab.service(auto=True), dry_run=True).body)
    for wanted in ("8.8.8.8", str(ipaddress.ip_address(address) + 1)):
        assert lab.try_create(lab.service(externalIPs=[wanted])).status == 403
    # The pool stays while it is used, and can be told to have the other one.
    answer = lab.try_patch(pool, {"spec": {"fromRequest": None, "addresses": ["8.8.8.0/28"]}})
    assert answer.status == 422 and objects.claim_name(address) in answer.message, answer
    lab.delete(pool)
    lab.is_for_reason(pool, "Deleting")
    lab.delete(created)
    lab.is_gone(pool)


# Ranges that are being deleted


def test_a_range_that_somebody_else_keeps_says_so_to_who_asks_for_it(lab):
    chosen = lab.range(NETWORK)
    kept = [*lab.get(chosen)["metadata"]["finalizers"], FOREIGN_FINALIZER]
    lab.patch(chosen, {"metadata": {"finalizers": kept}})
    lab.delete(chosen)
    wait_until(
        lambda: lab.get(chosen)["metadata"]["finalizers"] == [FOREIGN_FINALIZER],
        lambda: f"no finalizer of ours in {lab.get(chosen)}",
    )
    stored = lab.is_for_reason(chosen, "Deleting")
    assert objects.condition(stored, "Ready")["status"] == "False"
    late = lab.create(lab.ask(chosen, "/29"))
    lab.is_for_reason(late, "Deleting")
    wait_until(lambda: lab.get(chosen)["status"]["requests"] == 1, "a range that counts")
    lab.patch(chosen, {"metadata": {"finalizers": None}})
    lab.is_gone(chosen)
    lab.is_for_reason(late, "RangeNotFound")


def test_a_range_names_the_requests_of_others_that_keep_it(lab):
    chosen = lab.range(NETWORK)
    others = [lab.add_namespace(f"{lab.name}-{n}") for n in range(2)]
    own = lab.granted(lab.create(lab.ask(chosen, "/29")))
    theirs = [
        lab.granted(lab.create(lab.ask(chosen, "/29", namespace=others[n % 2]))) for n in range(4)
    ]
    lab.delete(chosen)
    lab.is_for_reason(chosen, "Deleting")
    named = sorted("{namespace}/{name}".format(**request["metadata"]) for request in theirs)

    def message():
        return objects.condition(lab.get(chosen), "Ready")["message"]

    wanted = f"4 of others ({', '.join(named[:3])} and 1 more)"
    wait_until(lambda: wanted in message(), lambda: f"{wanted} in {message()}")
    lab.delete(own)
    lab.delete(theirs[0])
    wait_until(lambda: ": 0 of its own namespace and 3 of others (" in message(), message)
    for request in theirs[1:]:
        lab.delete(request)
    lab.is_gone(chosen)
