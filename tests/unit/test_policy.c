/* The decision, by tables: a state, a Service as it shall be, and what must come of it. */
#include "tests/unit/state_fixture.h"

#include <stdio.h>

#define POOL(name, cidr, more)                                                                     \
    "{\"metadata\":{\"name\":\"" name "\",\"uid\":\"p-" name                                       \
    "\",\"generation\":1},\"spec\":{\"cidr\":\"" cidr "\"" more "}}"
#define META(name, more) "{\"metadata\":{\"namespace\":\"default\",\"name\":\"" name "\"" more "}"
#define AUTO ",\"annotations\":{\"external-ip\":\"auto\"}"
#define AUTO_GIVEN(address)                                                                        \
    ",\"annotations\":{\"external-ip\":\"auto\",\"ipcontroller.ext/address\":\"" address "\"}"
#define STORED(name, more) META(name, ",\"uid\":\"u-" name "\",\"resourceVersion\":\"1\"" more)
#define PORT(port) "\"ports\":[{\"port\":" port "}]"
#define SPEC(more) ",\"spec\":{\"type\":\"ClusterIP\"," PORT("80") more "}}"
#define LB(more) ",\"spec\":{\"type\":\"LoadBalancer\"," PORT("80") more "}}"
#define EXTERNAL(list) ",\"externalIPs\":[" list "]"
#define CLAIM(name, address, services)                                                             \
    "{\"metadata\":{\"name\":\"" name "\",\"uid\":\"c-" name                                       \
    "\",\"resourceVersion\":\"5\"},\"spec\":{\"cidr\":\"" address "\",\"services\":[" services     \
    "]}}"
#define OWNER(name) "{\"namespace\":\"default\",\"name\":\"" name "\",\"ports\":[\"TCP/80\"]}"
#define OWNER_UID(name)                                                                            \
    "{\"namespace\":\"default\",\"name\":\"" name "\",\"uid\":\"u-" name                           \
    "\",\"ports\":[\"TCP/80\"]}"
#define REQUIRE_DUAL ",\"ipFamilyPolicy\":\"RequireDualStack\""
#define PREFER_DUAL ",\"ipFamilyPolicy\":\"PreferDualStack\""

#define BLUE POOL("blue", "192.0.2.0/29", "")
#define SIX POOL("six", "2001:db8::/124", "")
#define FULL POOL("blue", "192.0.2.0/30", ",\"ranges\":[\"192.0.2.1\"]")

struct policy_case {
    const char *name;
    const char *pools[3];
    const char *claims[3];
    const char *services[3]; /* stored */
    const char *service;     /* as it shall be */
    const char *old;         /* UPDATE */
    bool stored;
    enum policy_outcome outcome;
    const char *external; /* expected, "" none */
    const char *assigned;
    const char *steps; /* "create 192.0.2.1 blue" or "update 192.0.2.1", joined by "; " */
    const char *text;  /* part of the text, or NULL */
    struct state_options options;
};

static const struct policy_case cases[] = {
    {.name = "a plain Service gets nothing",
     .pools = {BLUE},
     .service = META("web", "") SPEC(""),
     .external = "",
     .assigned = "",
     .steps = ""},
    {.name = "auto gets the lowest, past the network address",
     .pools = {BLUE},
     .service = META("web", AUTO) SPEC(""),
     .external = "192.0.2.1",
     .assigned = "192.0.2.1",
     .steps = "create 192.0.2.1 blue"},
    {.name = "a LoadBalancer gets one, but not in externalIPs",
     .pools = {BLUE},
     .service = META("web", "") LB(""),
     .external = "",
     .assigned = "192.0.2.1",
     .steps = "create 192.0.2.1 blue"},
    {.name = "a LoadBalancer gets it in externalIPs too when told so",
     .pools = {BLUE},
     .service = META("web", "") LB(""),
     .external = "192.0.2.1",
     .assigned = "192.0.2.1",
     .steps = "create 192.0.2.1 blue",
     .options = {.external_ips_for_load_balancer = true}},
    {.name = "a LoadBalancer of another class is not ours",
     .pools = {BLUE},
     .service = META("web", "") LB(",\"loadBalancerClass\":\"example.com/other\""),
     .external = "",
     .assigned = "",
     .steps = ""},
    {.name = "a LoadBalancer without class is not ours in mode class",
     .pools = {BLUE},
     .service = META("web", "") LB(""),
     .external = "",
     .assigned = "",
     .steps = "",
     .options = {.load_balancer = STATE_LOAD_BALANCER_CLASS}},
    {.name = "what a stored Service lists without a claim is busy",
     .pools = {BLUE},
     .services = {STORED("old", "") SPEC(EXTERNAL("\"192.0.2.1\""))},
     .service = META("web", AUTO) SPEC(""),
     .external = "192.0.2.2",
     .assigned = "192.0.2.2",
     .steps = "create 192.0.2.2 blue"},
    {.name = "a reservation of the same name is used again, by a write",
     .pools = {BLUE},
     .claims = {CLAIM("192-0-2-3-32", "192.0.2.3/32", OWNER("web"))},
     .service = META("web", AUTO) SPEC(""),
     .external = "192.0.2.3",
     .assigned = "192.0.2.3",
     .steps = "update 192.0.2.3 reserve"},
    {.name = "full: auto is refused with the counts",
     .pools = {FULL},
     .claims = {CLAIM("192-0-2-1-32", "192.0.2.1/32", OWNER_UID("other"))},
     .service = META("web", AUTO) SPEC(""),
     .outcome = POLICY_REFUSED,
     .steps = "",
     .text = "pool blue: 1 of 1 IPv4 addresses in use"},
    {.name = "full: a LoadBalancer waits",
     .pools = {FULL},
     .claims = {CLAIM("192-0-2-1-32", "192.0.2.1/32", OWNER_UID("other"))},
     .service = META("web", "") LB(""),
     .outcome = POLICY_WAITING,
     .external = "",
     .assigned = "",
     .steps = "",
     .text = "1 of 1"},
    {.name = "full with onExhausted Pending: auto waits",
     .pools = {POOL("blue", "192.0.2.0/30",
                    ",\"ranges\":[\"192.0.2.1\"],\"onExhausted\":\"Pending\"")},
     .claims = {CLAIM("192-0-2-1-32", "192.0.2.1/32", OWNER_UID("other"))},
     .service = META("web", AUTO) SPEC(""),
     .outcome = POLICY_WAITING,
     .external = "",
     .assigned = "",
     .steps = ""},
    {.name = "full with onExhausted Reject: a LoadBalancer is refused",
     .pools = {POOL("blue", "192.0.2.0/30",
                    ",\"ranges\":[\"192.0.2.1\"],\"onExhausted\":\"Reject\"")},
     .claims = {CLAIM("192-0-2-1-32", "192.0.2.1/32", OWNER_UID("other"))},
     .service = META("web", "") LB(""),
     .outcome = POLICY_REFUSED,
     .steps = ""},
    {.name = "no pool at all",
     .service = META("web", AUTO) SPEC(""),
     .outcome = POLICY_REFUSED,
     .steps = "",
     .text = "create an IpClaimPool"},
    {.name = "a pool for other namespaces is passed over",
     .pools = {POOL("red", "198.51.100.0/29", ",\"namespaces\":[\"team\"]"), BLUE},
     .service = META("web", AUTO) SPEC(""),
     .external = "192.0.2.1",
     .assigned = "192.0.2.1",
     .steps = "create 192.0.2.1 blue"},
    {.name = "the lower priority comes first",
     .pools = {POOL("a", "198.51.100.0/29", ",\"priority\":5"), BLUE},
     .service = META("web", AUTO) SPEC(""),
     .external = "192.0.2.1",
     .assigned = "192.0.2.1",
     .steps = "create 192.0.2.1 blue"},
    {.name = "without autoAssign only by name",
     .pools = {POOL("a", "198.51.100.0/29", ",\"autoAssign\":false"), BLUE},
     .service = META("web", AUTO) SPEC(""),
     .external = "192.0.2.1",
     .assigned = "192.0.2.1",
     .steps = "create 192.0.2.1 blue"},
    {.name = "the pool annotation chooses",
     .pools = {POOL("a", "198.51.100.0/29", ",\"autoAssign\":false"), BLUE},
     .service = META("web", ",\"annotations\":{\"external-ip\":\"auto\",\"ipcontroller.ext/pool\":"
                            "\"a\"}") SPEC(""),
     .external = "198.51.100.1",
     .assigned = "198.51.100.1",
     .steps = "create 198.51.100.1 a"},
    {.name = "a pool that is not there",
     .pools = {BLUE},
     .service = META("web", ",\"annotations\":{\"external-ip\":\"auto\",\"ipcontroller.ext/pool\":"
                            "\"a\"}") SPEC(""),
     .outcome = POLICY_REFUSED,
     .steps = "",
     .text = "no pool called a"},
    {.name = "an address set by hand is claimed",
     .pools = {BLUE},
     .service = META("web", "") SPEC(EXTERNAL("\"192.0.2.5\"")),
     .external = "192.0.2.5",
     .assigned = "",
     .steps = "create 192.0.2.5 blue"},
    {.name = "by hand and auto: the family has its address",
     .pools = {BLUE},
     .service = META("web", AUTO) SPEC(EXTERNAL("\"192.0.2.5\"")),
     .external = "192.0.2.5",
     .assigned = "",
     .steps = "create 192.0.2.5 blue"},
    {.name = "the annotation addresses is obeyed",
     .pools = {BLUE},
     .service =
         META("web", ",\"annotations\":{\"ipcontroller.ext/addresses\":\"192.0.2.6\"}") LB(""),
     .external = "",
     .assigned = "192.0.2.6",
     .steps = "create 192.0.2.6 blue"},
    {.name = "loadBalancerIP is obeyed",
     .pools = {BLUE},
     .service = META("web", "") LB(",\"loadBalancerIP\":\"192.0.2.6\""),
     .external = "",
     .assigned = "192.0.2.6",
     .steps = "create 192.0.2.6 blue"},
    {.name = "another's address is refused",
     .pools = {BLUE},
     .claims = {CLAIM("192-0-2-5-32", "192.0.2.5/32",
                      "{\"namespace\":\"other\",\"name\":\"web\"}")},
     .service = META("web", "") SPEC(EXTERNAL("\"192.0.2.5\"")),
     .outcome = POLICY_REFUSED,
     .steps = "",
     .text = "192.0.2.5 belongs to Service other/web (claim 192-0-2-5-32)"},
    {.name = "what another lists without a claim is refused",
     .pools = {BLUE},
     .services = {STORED("old", "") SPEC(EXTERNAL("\"192.0.2.1\""))},
     .service = META("web", "") SPEC(EXTERNAL("\"192.0.2.1\"")),
     .outcome = POLICY_REFUSED,
     .steps = "",
     .text = "192.0.2.1 is used by Service default/old"},
    {.name = "in no pool: refused",
     .pools = {BLUE},
     .service = META("web", "") SPEC(EXTERNAL("\"198.51.100.9\"")),
     .outcome = POLICY_REFUSED,
     .steps = "",
     .text = "in no pool"},
    {.name = "in no pool, but foreign ones are allowed: claimed all the same",
     .pools = {BLUE},
     .service = META("web", "") SPEC(EXTERNAL("\"198.51.100.9\"")),
     .external = "198.51.100.9",
     .assigned = "",
     .steps = "create 198.51.100.9 -",
     .options = {.foreign_addresses_allowed = true}},
    {.name = "excluded: refused",
     .pools = {POOL("blue", "192.0.2.0/29", ",\"exclude\":[\"192.0.2.2\"]")},
     .service = META("web", "") SPEC(EXTERNAL("\"192.0.2.2\"")),
     .outcome = POLICY_REFUSED,
     .steps = "",
     .text = "excluded by pool blue"},
    {.name = "a pool that doesn't serve the namespace: refused",
     .pools = {POOL("red", "192.0.2.0/29", ",\"namespaces\":[\"team\"]")},
     .service = META("web", "") SPEC(EXTERNAL("\"192.0.2.2\"")),
     .outcome = POLICY_REFUSED,
     .steps = "",
     .text = "doesn't serve namespace default"},
    {.name = "a manual hold: refused",
     .pools = {BLUE},
     .claims = {CLAIM("192-0-2-2-32", "192.0.2.2/32", "")},
     .service = META("web", "") SPEC(EXTERNAL("\"192.0.2.2\"")),
     .outcome = POLICY_REFUSED,
     .steps = "",
     .text = "names no Service"},
    {.name = "one namespace, another port: shared",
     .pools = {BLUE},
     .claims = {CLAIM("192-0-2-2-32", "192.0.2.2/32", OWNER_UID("first"))},
     .service = META("web", "") ",\"spec\":{" PORT("443") EXTERNAL("\"192.0.2.2\"") "}}",
     .external = "192.0.2.2",
     .assigned = "",
     .steps = "update 192.0.2.2 reserve"},
    {.name = "one namespace, the same port: refused",
     .pools = {BLUE},
     .claims = {CLAIM("192-0-2-2-32", "192.0.2.2/32", OWNER_UID("first"))},
     .service = META("web", "") SPEC(EXTERNAL("\"192.0.2.2\"")),
     .outcome = POLICY_REFUSED,
     .steps = "",
     .text = "uses port TCP/80 too"},
    {.name = "sharing Never",
     .pools = {POOL("blue", "192.0.2.0/29", ",\"sharing\":\"Never\"")},
     .claims = {CLAIM("192-0-2-2-32", "192.0.2.2/32", OWNER_UID("first"))},
     .service = META("web", "") ",\"spec\":{" PORT("443") EXTERNAL("\"192.0.2.2\"") "}}",
     .outcome = POLICY_REFUSED,
     .steps = "",
     .text = "sharing is Never"},
    {.name = "sharing Any",
     .pools = {POOL("blue", "192.0.2.0/29", ",\"sharing\":\"Any\"")},
     .claims = {CLAIM("192-0-2-2-32", "192.0.2.2/32",
                      "{\"namespace\":\"other\",\"name\":\"x\",\"ports\":[\"TCP/80\"]}")},
     .service = META("web", "") ",\"spec\":{" PORT("443") EXTERNAL("\"192.0.2.2\"") "}}",
     .external = "192.0.2.2",
     .assigned = "",
     .steps = "update 192.0.2.2 reserve"},
    {.name = "RequireDualStack gets one of each",
     .pools = {BLUE, SIX},
     .service = META("web", AUTO) SPEC(REQUIRE_DUAL),
     .external = "192.0.2.1,2001:db8::",
     .assigned = "192.0.2.1,2001:db8::",
     .steps = "create 192.0.2.1 blue; create 2001:db8:: six"},
    {.name = "RequireDualStack without one family is refused whole",
     .pools = {BLUE},
     .service = META("web", AUTO) SPEC(REQUIRE_DUAL),
     .outcome = POLICY_REFUSED,
     .steps = "",
     .text = "IPv6"},
    {.name = "PreferDualStack takes what there is",
     .pools = {BLUE},
     .service = META("web", AUTO) SPEC(PREFER_DUAL),
     .external = "192.0.2.1",
     .assigned = "192.0.2.1",
     .steps = "create 192.0.2.1 blue"},
    {.name = "PreferDualStack takes the other family when there is only that",
     .pools = {SIX},
     .service = META("web", AUTO) SPEC(PREFER_DUAL),
     .external = "2001:db8::",
     .assigned = "2001:db8::",
     .steps = "create 2001:db8:: six"},
    {.name = "PreferDualStack with nothing at all is refused",
     .service = META("web", AUTO) SPEC(PREFER_DUAL),
     .outcome = POLICY_REFUSED,
     .steps = "",
     .text = "IPv4"},
    {.name = "the family named first stands first, whatever the order of claims",
     .pools = {BLUE, SIX},
     .stored = true,
     .claims = {CLAIM("2001-0db8-0000-0000-0000-0000-0000-0001-128", "2001:db8::1/128",
                      OWNER_UID("web")),
                CLAIM("192-0-2-3-32", "192.0.2.3/32", OWNER_UID("web"))},
     .service = STORED("web", AUTO_GIVEN("2001:db8::1,192.0.2.3"))
         SPEC(REQUIRE_DUAL EXTERNAL("\"2001:db8::1\",\"192.0.2.3\"")),
     .external = "2001:db8::1,192.0.2.3",
     .assigned = "192.0.2.3,2001:db8::1",
     .steps = ""},
    {.name = "ipFamilies decides the family",
     .pools = {BLUE, SIX},
     .service = META("web", AUTO) SPEC(",\"ipFamilies\":[\"IPv6\"]"),
     .external = "2001:db8::",
     .assigned = "2001:db8::",
     .steps = "create 2001:db8:: six"},
    {.name = "an edit that drops the address has it put back",
     .pools = {BLUE},
     .claims = {CLAIM("192-0-2-3-32", "192.0.2.3/32", OWNER_UID("web"))},
     .services = {STORED("web", AUTO_GIVEN("192.0.2.3")) SPEC(EXTERNAL("\"192.0.2.3\""))},
     .old = STORED("web", AUTO_GIVEN("192.0.2.3")) SPEC(EXTERNAL("\"192.0.2.3\"")),
     .service = STORED("web", AUTO) SPEC(""),
     .external = "192.0.2.3",
     .assigned = "192.0.2.3",
     .steps = ""},
    {.name = "the annotation goes: what was given is taken out, what was set stays",
     .pools = {BLUE},
     .claims = {CLAIM("192-0-2-3-32", "192.0.2.3/32", OWNER_UID("web")),
                CLAIM("192-0-2-4-32", "192.0.2.4/32", OWNER_UID("web"))},
     .old = STORED("web", AUTO_GIVEN("192.0.2.3")) SPEC(EXTERNAL("\"192.0.2.3\",\"192.0.2.4\"")),
     .service = STORED("web", "") SPEC(EXTERNAL("\"192.0.2.3\",\"192.0.2.4\"")),
     .external = "192.0.2.4",
     .assigned = "",
     .steps = ""},
    {.name = "other ports are noted on the claim",
     .pools = {BLUE},
     .claims = {CLAIM("192-0-2-3-32", "192.0.2.3/32", OWNER_UID("web"))},
     .old = STORED("web", AUTO_GIVEN("192.0.2.3")) SPEC(EXTERNAL("\"192.0.2.3\"")),
     .service = STORED("web", AUTO_GIVEN("192.0.2.3")) ",\"spec\":{" PORT("443")
         EXTERNAL("\"192.0.2.3\"") "}}",
     .external = "192.0.2.3",
     .assigned = "192.0.2.3",
     .steps = "update 192.0.2.3"},
    {.name = "ports that collide with one that shares: refused",
     .pools = {BLUE},
     .claims = {CLAIM(
         "192-0-2-3-32", "192.0.2.3/32",
         "{\"namespace\":\"default\",\"name\":\"web\",\"uid\":\"u-web\",\"ports\":[\"TCP/"
         "443\"]}," OWNER_UID("other"))},
     .old = STORED("web", "") ",\"spec\":{" PORT("443") EXTERNAL("\"192.0.2.3\"") "}}",
     .service = STORED("web", "") SPEC(EXTERNAL("\"192.0.2.3\"")),
     .outcome = POLICY_REFUSED,
     .steps = "",
     .text = "uses port TCP/80 too"},
    {.name = "the hint is no proof: another's address in the annotation is not given",
     .pools = {BLUE},
     .claims = {CLAIM("192-0-2-1-32", "192.0.2.1/32", OWNER_UID("other"))},
     .service = META("web", AUTO_GIVEN("192.0.2.1")) SPEC(""),
     .external = "192.0.2.2",
     .assigned = "192.0.2.2",
     .steps = "create 192.0.2.2 blue"},
    {.name = "naming another address moves the Service",
     .pools = {BLUE},
     .claims = {CLAIM("192-0-2-1-32", "192.0.2.1/32", OWNER_UID("web"))},
     .old = STORED("web", AUTO_GIVEN("192.0.2.1")) SPEC(EXTERNAL("\"192.0.2.1\"")),
     .service =
         STORED("web", ",\"annotations\":{\"external-ip\":\"auto\",\"ipcontroller.ext/"
                       "address\":\"192.0.2.1\",\"ipcontroller.ext/addresses\":\"192.0.2.4\"}")
             SPEC(EXTERNAL("\"192.0.2.1\"")),
     .external = "192.0.2.4",
     .assigned = "192.0.2.4",
     .steps = "create 192.0.2.4 blue"},
    {.name = "stored: an address without a claim is adopted, wherever it is",
     .pools = {BLUE},
     .stored = true,
     .services = {STORED("old", "") SPEC(EXTERNAL("\"198.51.100.7\""))},
     .service = STORED("old", "") SPEC(EXTERNAL("\"198.51.100.7\"")),
     .external = "198.51.100.7",
     .assigned = "",
     .steps = "create 198.51.100.7 -"},
    {.name = "stored: the ingress of our LoadBalancer is adopted",
     .pools = {BLUE},
     .stored = true,
     .service = STORED("old", "") ",\"spec\":{\"type\":\"LoadBalancer\"},\"status\":{"
                                  "\"loadBalancer\":{\"ingress\":[{\"ip\":\"192.0.2.4\"}]}}}",
     .external = "",
     .assigned = "192.0.2.4",
     .steps = "create 192.0.2.4 blue"},
    {.name = "stored: left without an address, it gets one",
     .pools = {BLUE},
     .stored = true,
     .service = STORED("web", "") LB(""),
     .external = "",
     .assigned = "192.0.2.1",
     .steps = "create 192.0.2.1 blue"},
    {.name = "stored: what it was given comes before anything new, though its claim isn't seen",
     .pools = {BLUE},
     .stored = true,
     .service =
         STORED("web", ",\"annotations\":{\"ipcontroller.ext/address\":\"192.0.2.5\"}") LB(""),
     .external = "",
     .assigned = "192.0.2.5",
     .steps = "create 192.0.2.5 blue"},
    {.name = "stored: held by another: both keep running",
     .pools = {BLUE},
     .stored = true,
     .claims = {CLAIM("192-0-2-5-32", "192.0.2.5/32", OWNER_UID("first"))},
     .service = STORED("web", "") SPEC(EXTERNAL("\"192.0.2.5\"")),
     .external = "192.0.2.5",
     .assigned = "",
     .steps = "",
     .text = "192.0.2.5"},
    {.name = "stored: settled with less, PreferDualStack isn't given more later",
     .pools = {BLUE, SIX},
     .stored = true,
     .claims = {CLAIM("192-0-2-3-32", "192.0.2.3/32", OWNER_UID("web"))},
     .service = STORED("web", AUTO_GIVEN("192.0.2.3")) SPEC(PREFER_DUAL EXTERNAL("\"192.0.2.3\"")),
     .external = "192.0.2.3",
     .assigned = "192.0.2.3",
     .steps = ""},
    {.name = "an unnamed Service can't take the reservation of a named one",
     .pools = {BLUE},
     .claims = {CLAIM("192-0-2-3-32", "192.0.2.3/32", OWNER("web"))},
     .service = "{\"metadata\":{\"namespace\":\"default\",\"generateName\":\"web\"" AUTO_GIVEN(
         "192.0.2.3") "}" SPEC(""),
     .external = "192.0.2.1",
     .assigned = "192.0.2.1",
     .steps = "create 192.0.2.1 blue"},
    {.name = "an unnamed Service asked again keeps its reservation",
     .pools = {BLUE},
     .claims = {CLAIM("192-0-2-3-32", "192.0.2.3/32",
                      "{\"namespace\":\"default\",\"generateName\":\"web-\"}")},
     .service = "{\"metadata\":{\"namespace\":\"default\",\"generateName\":\"web-\"" AUTO_GIVEN(
         "192.0.2.3") "}" SPEC(EXTERNAL("\"192.0.2.3\"")),
     .external = "192.0.2.3",
     .assigned = "192.0.2.3",
     .steps = "update 192.0.2.3 reserve"},
};

static void format_steps(const struct policy_plan *plan, char *text, size_t size)
{
    size_t length = 0;
    *text = '\0';
    for (size_t i = 0; i < plan->step_count && length < size; i++) {
        const struct policy_step *step = &plan->steps[i];
        char address[ADDRESS_TEXT_SIZE];
        address_format(&step->address, address);
        bool create = step->action == POLICY_CREATE;
        length += (size_t)snprintf(text + length, size - length, "%s%s %s%s%s", i > 0 ? "; " : "",
                                   create ? "create" : "update", address,
                                   create && step->pool != NULL ? " "
                                   : create                     ? " -"
                                   : step->reserve              ? " reserve"
                                                                : "",
                                   create && step->pool != NULL ? step->pool : "");
    }
}

static void check_case(const struct policy_case *row)
{
    struct state *state = state_new(&row->options);
    struct service *service = fixture_service(row->service, true);
    struct service *old = row->old != NULL ? fixture_service(row->old, false) : NULL;
    struct policy_plan plan;
    char text[SERVICE_ADDRESSES_TEXT_SIZE];
    for (int i = 0; i < 3; i++) {
        if (row->pools[i] != NULL)
            fixture_put_pool(state, row->pools[i]);
        if (row->claims[i] != NULL)
            fixture_put_claim(state, row->claims[i]);
        if (row->services[i] != NULL)
            fixture_put_service(state, row->services[i]);
    }
    fixture_synced(state);
    struct policy_request request = {.service = service, .old = old, .stored = row->stored};
    mutex_lock(&state->mutex);
    assert_int_equal(policy_decide(state, &request, &plan, NULL), 0);
    mutex_unlock(&state->mutex);
    assert_int_equal(plan.outcome, row->outcome);
    format_steps(&plan, text, sizeof(text));
    assert_string_equal(text, row->steps);
    if (row->text != NULL && strstr(plan.text, row->text) == NULL)
        fail_msg("text \"%s\" has no \"%s\"", plan.text, row->text);
    if (row->outcome != POLICY_REFUSED) {
        service_addresses_format(&plan.external, text);
        assert_string_equal(text, row->external);
        service_addresses_format(&plan.assigned, text);
        assert_string_equal(text, row->assigned);
    }
    policy_plan_clear(&plan);
    service_free(service);
    service_free(old);
    state_free(state);
}

static void test_decides(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("    %s\n", cases[i].name);
        check_case(&cases[i]);
    }
}

static void test_steps_away_when_others_are_faster(void **unused)
{
    struct state *state = state_new(NULL);
    struct service *service = fixture_service(META("web", AUTO) SPEC(""), true);
    struct address low = fixture_address("10.0.0.1");
    bool away = false;
    (void)unused;
    fixture_put_pool(state, POOL("big", "10.0.0.0/16", ""));
    fixture_synced(state);
    for (uint64_t random = 0; random < 8; random++) {
        struct policy_request request = {.service = service, .contention = 1, .random = random};
        struct policy_plan plan;
        mutex_lock(&state->mutex);
        assert_int_equal(policy_decide(state, &request, &plan, NULL), 0);
        mutex_unlock(&state->mutex);
        assert_int_equal(plan.step_count, 1);
        away = away || !address_equal(&plan.steps[0].address, &low);
        policy_plan_clear(&plan);
    }
    assert_true(away);
    service_free(service);
    state_free(state);
}

/* Decides for a new Service; "" when it gets nothing. */
static void pick(struct state *state, uint64_t random, unsigned int contention, char *ret_address)
{
    struct service *service = fixture_service(META("web", AUTO) SPEC(""), true);
    struct policy_request request = {
        .service = service, .contention = contention, .random = random};
    struct policy_plan plan;
    mutex_lock(&state->mutex);
    assert_int_equal(policy_decide(state, &request, &plan, NULL), 0);
    mutex_unlock(&state->mutex);
    ret_address[0] = '\0';
    if (plan.step_count > 0)
        address_format(&plan.steps[0].address, ret_address);
    policy_plan_clear(&plan);
    service_free(service);
}

/* A decision that comes to nothing, as in a dry run, is made again with the same address; what is claimed moves it on, past what
 * is busy and round the end. */
static void test_round_robin(void **unused)
{
    struct state *state = state_new(NULL);
    char picked[ADDRESS_TEXT_SIZE];
    static const char *const order[] = {"192.0.2.1", "192.0.2.2", "192.0.2.4",
                                        "192.0.2.6", "192.0.2.1", ""};
    (void)unused;
    fixture_put_pool(state, POOL("blue", "192.0.2.0/29", ",\"mode\":\"RoundRobin\""));
    fixture_put_claim(state, CLAIM("192-0-2-3-32", "192.0.2.3/32", OWNER_UID("other")));
    fixture_put_service(state, STORED("unclaimed", "") SPEC(EXTERNAL("\"192.0.2.5\"")));
    fixture_synced(state);
    /* A book that lags behind, as for want of memory: what is known to be busy counts. */
    struct address lagging = fixture_address("192.0.2.3");
    struct cidr single = cidr_single(&lagging);
    mutex_lock(&state->mutex);
    assert_int_equal(blocks_release(state_pool(state, "blue")->blocks, &single, NULL), 0);
    mutex_unlock(&state->mutex);
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        char json[512];
        char name[ADDRESS_CLAIM_NAME_SIZE];
        for (uint64_t again = 0; again < 3; again++) {
            pick(state, again, (unsigned int)again, picked);
            assert_string_equal(picked, order[i]);
        }
        if (*picked == '\0')
            break;
        struct address address = fixture_address(picked);
        address_claim_name(&address, name);
        snprintf(json, sizeof(json),
                 "{\"metadata\":{\"name\":\"%s\",\"uid\":\"c-%zu\"},\"spec\":{\"cidr\":\"%s\"}}",
                 name, i, picked);
        fixture_put_claim(state, json);
        if (i == 2)
            state_remove_claim(state, "192-0-2-1-32", NULL); /* free again, but behind us */
    }
    state_free(state);
}

/* A pool without addresses gives none, and says so. */
static void test_pool_that_waits_for_its_request(void **unused)
{
    struct state *state = state_new(NULL);
    char picked[ADDRESS_TEXT_SIZE];
    (void)unused;
    fixture_put_pool(state, "{\"metadata\":{\"name\":\"blue\"},\"spec\":{\"fromRequest\":{"
                            "\"namespace\":\"a\",\"name\":\"net\"}}}");
    fixture_synced(state);
    pick(state, 0, 0, picked);
    assert_string_equal(picked, "");
    fixture_put_range(state, "{\"metadata\":{\"namespace\":\"a\",\"name\":\"lan\"},\"spec\":{"
                             "\"ranges\":[\"192.0.2.0/24\"]}}");
    fixture_put_request(state, "{\"metadata\":{\"namespace\":\"a\",\"name\":\"net\"},\"spec\":{"
                               "\"range\":{\"name\":\"lan\",\"namespace\":\"a\"}},\"status\":{"
                               "\"cidr\":\"192.0.2.64/28\"}}");
    pick(state, 0, 0, picked);
    assert_string_equal(picked, "192.0.2.65");
    state_free(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decides),
        cmocka_unit_test(test_steps_away_when_others_are_faster),
        cmocka_unit_test(test_round_robin),
        cmocka_unit_test(test_pool_that_waits_for_its_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
