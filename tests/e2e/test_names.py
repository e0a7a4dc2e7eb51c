"""Names that are generated, that are long, and that come back."""

import pytest

import objects
from harness import parallel, wait_until


def test_generated_names_get_an_address_each(lab_of_two):
    lab = lab_of_two
    lab.pool(size=40)

    def create(index):
        created = lab.create_as_told(lab.service("web-", auto=True), server=index % 2)
        # The final name, and the uid, from the first moment on.
        claim = lab.claimed(objects.external(created)[0], created)
        assert len(claim["spec"]["services"]) == 1
        return created

    answers = parallel(20, create, range(40))
    assert len({objects.external(service)[0] for service in answers}) == 40
    assert len(lab.claims()) == 40
    lab.check_at_rest()


def test_a_load_balancer_with_a_generated_name_is_served(lab):
    lab.pool(size=2)
    created = lab.create(lab.load_balancer("web-"))
    stored = lab.with_ingress(created)
    lab.claimed(objects.ingress(stored)[0], stored)
    lab.check_at_rest()


def test_generated_names_beside_given_ones_with_the_same_prefix(lab):
    lab.pool(size=10)
    services = [
        lab.create(lab.service(name, auto=True)) for name in ("web-", "web-a", "web-", "web-b")
    ]
    assert len({objects.external(service)[0] for service in services}) == 4
    for service in services:
        lab.claimed(objects.external(service)[0], service)
    lab.check_at_rest()


@pytest.mark.parametrize("name", ["a", "a" * 63, "x" * 57 + "-"])
def test_names_of_any_length_are_served(lab, name):
    lab.pool(size=1)
    created = lab.create(lab.service(name, auto=True))
    lab.claimed(objects.external(created)[0], created)


@pytest.mark.parametrize("name", ["UPPER", "a" * 64, "web.shop", "we b"])
def test_a_name_that_the_api_server_refuses_is_refused_by_it_and_leaves_nothing(lab, name):
    lab.pool(size=1)
    answer = lab.try_create(lab.service(name, auto=True))
    assert answer.status == 422 and "metadata.name" in answer.message, answer
    assert not lab.claims()
    lab.create(lab.service(auto=True))


@pytest.mark.parametrize("size", [1, 8])
def test_a_service_made_again_under_its_name_again_and_again_has_an_address(lab, size):
    lab.pool(size=size)
    service = lab.service("web", auto=True)
    uids = set()
    for _ in range(50):
        created = wait_until(
            lambda: (answer := lab.try_create(service)).ok and answer.body, "room for it"
        )
        assert len(objects.external(created)) == 1
        uids.add(created["metadata"]["uid"])
        lab.delete(created)
    assert len(uids) == 50
    created = wait_until(lambda: (a := lab.try_create(service)).ok and a.body, "room for it")
    lab.claimed(objects.external(created)[0], created)
    wait_until(lambda: len(lab.claims()) == 1, lambda: f"one claim, not {lab.claims()}")
    lab.check_at_rest()


def test_a_load_balancer_made_again_under_its_name_is_served(lab):
    lab.pool(size=2)
    for _ in range(10):
        created = lab.create(lab.load_balancer("web"))
        stored = lab.with_ingress(created)
        assert stored["metadata"]["uid"] == created["metadata"]["uid"]
        lab.delete(created)
    wait_until(lambda: not lab.claims(), lambda: f"no claims, but {lab.claims()}")


def test_the_same_name_in_two_namespaces_is_two_services(lab):
    lab.pool(size=2)
    other = lab.add_namespace(lab.unique(lab.name))
    services = [lab.create(lab.service("web", auto=True, namespace=ns)) for ns in lab.namespaces]
    assert objects.external(services[0]) != objects.external(services[1])
    lab.delete(services[0])
    lab.gone(objects.external(services[0])[0])
    lab.claimed(objects.external(services[1])[0], services[1])
    assert services[1]["metadata"]["namespace"] == other
