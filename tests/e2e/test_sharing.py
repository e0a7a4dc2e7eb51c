"""Services share an address by naming it, on ports of their own."""

import pytest

import objects
from harness import parallel, wait_until


@pytest.fixture
def address(lab):
    """A free address of the test's pool."""
    return lab.pool(size=4)["spec"]["addresses"][0].split("-")[0]


def by_annotation(lab, address, **options):
    annotations = {objects.ADDRESSES: address}
    return lab.service(auto=True, annotations=annotations, **options)


def by_external_ips(lab, address, **options):
    return lab.service(externalIPs=[address], **options)


def holders(lab, address):
    claim = lab.claim(address)
    return {entry["name"] for entry in claim["spec"]["services"]} if claim else set()


@pytest.mark.parametrize("naming", [by_annotation, by_external_ips])
def test_services_on_different_ports_share_one_claim(lab, address, naming):
    first = lab.create(naming(lab, address, ports=(80, 443)))
    second = lab.create(naming(lab, address, ports=(25, "UDP/80")))
    assert objects.external(first) == objects.external(second) == [address]
    for service in (first, second):
        lab.claimed(address, service)
    third = lab.try_create(naming(lab, address, ports=(8080, 443)))
    assert third.status == 403, third
    assert "443" in third.message and first["metadata"]["name"] in third.message
    lab.check_at_rest()


def test_load_balancers_share_by_naming_too(lab, address):
    asks = {objects.ADDRESSES: address}
    services = [
        lab.create(lab.load_balancer(annotations=asks, ports=(port,))) for port in (80, 443)
    ]
    for service in services:
        assert objects.ingress(lab.with_ingress(service)) == [address]
    # A load balancer waits for what it names, as it does for any address.
    third = lab.create(lab.load_balancer(annotations=asks, ports=(80,)))
    assert services[0]["metadata"]["name"] in lab.event(third, "AddressPending")
    assert not objects.ingress(lab.get(third))
    lab.delete(services[0])
    assert objects.ingress(lab.with_ingress(third)) == [address]
    lab.check_at_rest()


def test_the_address_is_free_when_the_last_one_goes(lab, address):
    services = [lab.create(by_annotation(lab, address, ports=(port,))) for port in (80, 81, 82)]
    for service in services:
        lab.claimed(address, service)
    left = {service["metadata"]["name"] for service in services}
    for service in services[:-1]:
        lab.delete(service)
        left.remove(service["metadata"]["name"])
        wait_until(
            lambda left=frozenset(left): holders(lab, address) == left,
            lambda left=frozenset(left): f"{left}, not {lab.claim(address)}",
        )
    assert objects.external(lab.get(services[-1])) == [address]
    lab.delete(services[-1])
    lab.gone(address)
    lab.check_at_rest()


def test_the_port_of_one_that_went_is_free_for_another(lab, address):
    first, second = (lab.create(by_annotation(lab, address, ports=(port,))) for port in (80, 81))
    lab.delete(first)
    wait_until(lambda: len(holders(lab, address)) == 1, lambda: f"one in {lab.claim(address)}")
    third = lab.create(by_annotation(lab, address, ports=(80,)))
    assert holders(lab, address) == {s["metadata"]["name"] for s in (second, third)}
    lab.check_at_rest()


def test_an_edit_to_a_port_that_is_taken_is_refused(lab, address):
    first, second = (lab.create(by_annotation(lab, address, ports=(port,))) for port in (80, 81))
    answer = lab.try_patch(second, {"spec": {"ports": [{"name": "p", "port": 80}]}})
    assert answer.status == 403 and first["metadata"]["name"] in answer.message
    lab.patch(second, {"spec": {"ports": [{"name": "p", "port": 82}]}})
    # Free for another once the edit has been seen in storage: until then both ports count.
    freed = {"spec": {"ports": [{"name": "p", "port": 81}]}}
    wait_until(lambda: lab.try_patch(first, freed).ok, "port 81 to be free")
    lab.check_at_rest()


def test_sharing_is_within_a_namespace_unless_the_pool_says_otherwise(lab):
    other = lab.add_namespace(lab.unique(lab.name))
    for sharing, same, across in (
        (None, True, False),
        ("SameNamespace", True, False),
        ("Never", False, False),
        ("Any", True, True),
    ):
        pool = lab.pool(size=1, **({"sharing": sharing} if sharing else {}))
        address = pool["spec"]["addresses"][0].split("-")[0]
        created = [lab.create(by_annotation(lab, address, ports=(80,)))]
        for namespace, port, allowed in ((lab.namespace, 81, same), (other, 82, across)):
            service = by_annotation(lab, address, ports=(port,), namespace=namespace)
            answer = lab.try_create(service)
            assert answer.status == (201 if allowed else 403), (sharing, namespace, answer)
            created += [answer.body] if answer.ok else []
        assert len(lab.claim(address)["spec"]["services"]) == len(created)
    lab.check_at_rest()


def test_many_at_once_share_one_address_on_ports_of_their_own(lab_of_two):
    lab = lab_of_two
    address = lab.pool(size=2)["spec"]["addresses"][0].split("-")[0]
    items = [by_annotation(lab, address, ports=(port,)) for port in range(1000, 1020)]
    answers = parallel(20, lambda n: lab.try_create(items[n], server=n % 2), range(20))
    refused = [str(answer) for answer in answers if not answer.ok]
    assert not refused, refused
    assert len(holders(lab, address)) == 20
    lab.check_at_rest()


def test_of_many_at_once_on_the_same_port_one_gets_it(lab_of_two):
    lab = lab_of_two
    address = lab.pool(size=2)["spec"]["addresses"][0].split("-")[0]
    items = [by_annotation(lab, address, ports=(80,)) for _ in range(20)]
    answers = parallel(20, lambda n: lab.try_create(items[n], server=n % 2), range(20))
    assert sorted(answer.status for answer in answers) == [201] + [403] * 19
    lab.check_at_rest()
