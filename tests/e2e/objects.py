"""Services, pools, claims, ranges and requests as tests make them, and where they live."""

import ipaddress

import invariants

GROUP = "/apis/ipcontroller.ext/v2"
PATHS = {
    "IpClaimPool": f"{GROUP}/ipclaimpools",
    "IpClaim": f"{GROUP}/ipclaims",
    "IpNode": f"{GROUP}/ipnodes",
}
IPAM = "ipam.mandelsoft.org/v1beta1"
NAMESPACED = {
    "Service": ("/api/v1", "services"),
    "IPAMRange": (f"/apis/{IPAM}", "ipamranges"),
    "IPAMRequest": (f"/apis/{IPAM}", "ipamrequests"),
}
RANGE_FINALIZER = "ipam.mandelsoft.org/requests"
REQUEST_FINALIZER = "ipcontroller.ext/pool"
AUTO = "external-ip"
POOL = "ipcontroller.ext/pool"
ADDRESSES = "ipcontroller.ext/addresses"
CLASS = "ipcontroller.ext/ipwarden"
CONDITION = "ipcontroller.ext/AddressAssigned"


def service(name, namespace, auto=False, annotations=None, ports=(80,), labels=None, **spec):
    """A Service; ports are numbers (TCP) or "UDP/53". `auto` asks for an address by annotation."""
    annotations = {**({AUTO: "auto"} if auto else {}), **(annotations or {})}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "namespace": namespace,
            **({"generateName": name} if name.endswith("-") else {"name": name}),
            **({"annotations": annotations} if annotations else {}),
            **({"labels": labels} if labels else {}),
        },
        "spec": {"ports": [_port(port) for port in ports], **spec},
    }


def load_balancer(name, namespace, **options):
    """A LoadBalancer Service without node ports, of which a cluster has only 2,768."""
    spec = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}
    return service(name, namespace, **{**spec, **options})


def pool(name, *addresses, **spec):
    """A pool of these entries; without any it is one from a request, or whatever spec says."""
    entries = [str(entry) for entry in addresses if entry is not None]
    return {
        "apiVersion": "ipcontroller.ext/v2",
        "kind": "IpClaimPool",
        "metadata": {"name": name},
        "spec": {**({"addresses": entries} if entries else {}), **spec},
    }


def has_address(pool, address):
    """Whether the address is among the pool's, given or not."""
    return invariants.covers(pool, ipaddress.ip_address(address))


def nth(pool, number):
    """The nth address, from 1, of the first range among the pool's addresses."""
    return str(ipaddress.ip_address(pool["spec"]["addresses"][0].split("-")[0]) + number - 1)


def ip_range(name, namespace, *ranges, **spec):
    return {
        "apiVersion": IPAM,
        "kind": "IPAMRange",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"ranges": list(map(str, ranges)), **spec},
    }


def ip_request(name, namespace, range_name, request=None, range_namespace=None, **spec):
    """A request; request is its specification, nothing for the default size of the range."""
    chosen = {"name": range_name, **({"namespace": range_namespace} if range_namespace else {})}
    wanted = {} if request is None else {"request": request}
    return {
        "apiVersion": IPAM,
        "kind": "IPAMRequest",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"range": chosen, **wanted, **spec},
    }


def claim(address, **spec):
    """A claim named as ipwarden names them; without services it's a hold made by hand."""
    address = ipaddress.ip_address(address)
    return {
        "apiVersion": "ipcontroller.ext/v2",
        "kind": "IpClaim",
        "metadata": {"name": claim_name(address)},
        "spec": {"cidr": f"{address}/{address.max_prefixlen}", **spec},
    }


def claim_name(address):
    address = ipaddress.ip_address(address)
    separator = "." if address.version == 4 else ":"
    return f"{address.exploded.replace(separator, '-')}-{address.max_prefixlen}"


def path_of(item, collection=False):
    """The object's path in the API, or that of the collection it's in."""
    metadata, kind = item["metadata"], item["kind"]
    if kind in NAMESPACED:
        group, plural = NAMESPACED[kind]
        path = f"{group}/namespaces/{metadata['namespace']}/{plural}"
    else:
        path = PATHS[kind]
    return path if collection else f"{path}/{metadata['name']}"


def external(service_):
    """spec.externalIPs, as texts in order."""
    return list(service_["spec"].get("externalIPs") or ())


def ingress(service_):
    """The addresses in status.loadBalancer.ingress, as texts in order."""
    entries = service_.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    return [entry["ip"] for entry in entries if "ip" in entry]


def cidr(request):
    """What an IPAMRequest was given, or None."""
    return (request.get("status") or {}).get("cidr")


def reason(item):
    """The reason of the condition Ready, or None."""
    return condition(item, "Ready").get("reason")


def annotation(item, name):
    return (item["metadata"].get("annotations") or {}).get(name)


def condition(item, kind):
    """The condition of that type in status.conditions, or {}."""
    conditions = item.get("status", {}).get("conditions") or ()
    return next((entry for entry in conditions if entry["type"] == kind), {})


def span(network, first, last):
    """The range of a network's addresses from the one of index first to that of index last."""
    return f"{network[first]}-{network[last]}"


def _port(port):
    protocol, _, number = str(port).rpartition("/")
    # Names, since the API server wants them where there are several.
    entry = {"name": f"p{str(port).lower().replace('/', '-')}", "port": int(number)}
    return {**entry, "protocol": protocol} if protocol else entry
