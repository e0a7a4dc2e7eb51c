/* Who may have one address, by tables: what is refused to whom, and who shares. */
#include "server/state/state_claims.h"
#include "tests/unit/policy_fixture.h"

static const struct policy_case cases[] = {
    {.name = "another's address, listed by hand",
     .pools = {BLUE},
     .claims = {CLAIM("192-0-2-5-32", "192.0.2.5/32", "{'namespace':'other','name':'web'}")},
     .stage = POLICY_CLAIM,
     .service = HAS("web", "") SPEC(EXTERNAL("'192.0.2.5'")),
     .outcome = POLICY_REFUSED,
     .text = "192.0.2.5 belongs to Service other/web (claim 192-0-2-5-32)",
     .doubt = "192.0.2.5"},
    {.name = "another uid under the same name is another",
     .pools = {BLUE},
     .claims = {CLAIM("192-0-2-5-32", "192.0.2.5/32",
                      "{'namespace':'default','name':'web','uid':'u-before','ports':['TCP/80']}")},
     .stage = POLICY_CLAIM,
     .service = HAS("web", "") SPEC(EXTERNAL("'192.0.2.5'")),
     .outcome = POLICY_REFUSED,
     .text = "port TCP/80 of ",
     .doubt = "192.0.2.5"},
    {.name = "what another lists without a claim",
     .pools = {BLUE},
     .services = {HAS("old", "") SPEC(EXTERNAL("'192.0.2.1'"))},
     .stage = POLICY_CLAIM,
     .service = HAS("web", "") SPEC(EXTERNAL("'192.0.2.1'")),
     .outcome = POLICY_REFUSED,
     .text = "192.0.2.1 is used by Service default/old",
     .doubt = "192.0.2.1"},
    {.name = "a claim that is being released blocks the address",
     .pools = {BLUE},
     .claims = {"{'metadata':{'name':'192-0-2-5-32','uid':'c','deletionTimestamp':"
                "'2026-01-01T00:00:00Z'},'spec':{'cidr':'192.0.2.5/32','services':[" HAND(
                    "web") "]}}"},
     .stage = POLICY_CLAIM,
     .old = HAS("web", "") SPEC(""),
     .service = HAS("web", "") SPEC(EXTERNAL("'192.0.2.5'")),
     .outcome = POLICY_REFUSED,
     .text = "is just being released",
     .doubt = "192.0.2.5"},
    {.name = "a manual hold",
     .pools = {BLUE},
     .claims = {CLAIM("192-0-2-2-32", "192.0.2.2/32", "")},
     .stage = POLICY_CLAIM,
     .service = HAS("web", "") SPEC(EXTERNAL("'192.0.2.2'")),
     .outcome = POLICY_REFUSED,
     .text = "names no Service",
     .doubt = "192.0.2.2"},
    {.name = "in no pool",
     .pools = {BLUE},
     .stage = POLICY_CLAIM,
     .service = HAS("web", "") SPEC(EXTERNAL("'198.51.100.9'")),
     .outcome = POLICY_REFUSED,
     .text = "in no pool",
     .doubt = "pools"},
    {.name = "in no pool, but foreign ones are allowed: claimed all the same",
     .pools = {BLUE},
     .stage = POLICY_CLAIM,
     .service = HAS("web", "") SPEC(EXTERNAL("'198.51.100.9'")),
     .external = "198.51.100.9",
     .given = "",
     .steps = "create 198.51.100.9 - hand",
     .options = {.foreign_addresses_allowed = true}},
    {.name = "excluded",
     .pools = {POOL("blue", "192.0.2.0/29", ",'exclude':['192.0.2.2']")},
     .stage = POLICY_CLAIM,
     .service = HAS("web", "") SPEC(EXTERNAL("'192.0.2.2'")),
     .outcome = POLICY_REFUSED,
     .text = "excluded by pool blue",
     .doubt = "pools"},
    {.name = "a pool that doesn't serve the namespace",
     .pools = {POOL("red", "192.0.2.0/29", ",'namespaces':['team']")},
     .stage = POLICY_CLAIM,
     .service = HAS("web", "") SPEC(EXTERNAL("'192.0.2.2'")),
     .outcome = POLICY_REFUSED,
     .text = "doesn't serve namespace default",
     .doubt = "pools"},

    {.name = "one namespace, another port: shared",
     .pools = {BLUE},
     .claims = {CLAIM("192-0-2-2-32", "192.0.2.2/32", HAND("first"))},
     .stage = POLICY_CLAIM,
     .service = HAS("web", "") ON("443", EXTERNAL("'192.0.2.2'")),
     .external = "192.0.2.2",
     .given = "",
     .steps = "update 192.0.2.2 hand"},
    {.name = "one namespace, the same port",
     .pools = {BLUE},
     .claims = {CLAIM("192-0-2-2-32", "192.0.2.2/32", HAND("first"))},
     .stage = POLICY_CLAIM,
     .service = HAS("web", "") SPEC(EXTERNAL("'192.0.2.2'")),
     .outcome = POLICY_REFUSED,
     .text = "port TCP/80 of ",
     .doubt = "192.0.2.2"},
    {.name = "the same port as the stored Service has now, whatever the claim notes",
     .pools = {BLUE},
     .claims = {CLAIM("192-0-2-2-32", "192.0.2.2/32", HAND("first"))},
     .services = {HAS("first", "") ON("443", EXTERNAL("'192.0.2.2'"))},
     .stage = POLICY_CLAIM,
     .service = HAS("web", "") ON("443", EXTERNAL("'192.0.2.2'")),
     .outcome = POLICY_REFUSED,
     .text = "port TCP/443 of ",
     .doubt = "192.0.2.2"},
    {.name = "sharing Never",
     .pools = {POOL("blue", "192.0.2.0/29", ",'sharing':'Never'")},
     .claims = {CLAIM("192-0-2-2-32", "192.0.2.2/32", HAND("first"))},
     .stage = POLICY_CLAIM,
     .service = HAS("web", "") ON("443", EXTERNAL("'192.0.2.2'")),
     .outcome = POLICY_REFUSED,
     .text = "sharing is Never",
     .doubt = "192.0.2.2"},
    {.name = "sharing Any",
     .pools = {POOL("blue", "192.0.2.0/29", ",'sharing':'Any'")},
     .claims = {CLAIM("192-0-2-2-32", "192.0.2.2/32",
                      "{'namespace':'other','name':'x','ports':['TCP/80']}")},
     .stage = POLICY_CLAIM,
     .service = HAS("web", "") ON("443", EXTERNAL("'192.0.2.2'")),
     .external = "192.0.2.2",
     .given = "",
     .steps = "update 192.0.2.2 hand"},
};

static void judges(void **unused)
{
    (void)unused;
    policy_check_cases(cases, sizeof(cases) / sizeof(cases[0]));
}

struct question {
    const char *name;
    const char *address;
    const char *claim;
    bool could;       /* as a dry run says */
    const char *text; /* part of the explanation */
};

static const struct question questions[] = {
    {"free", "192.0.2.5", NULL, true, "192.0.2.5 is not claimed for Service default/web"},
    {"its own", "192.0.2.5", CLAIM("192-0-2-5-32", "192.0.2.5/32", HAND("web")), true,
     "is not claimed"},
    {"another's", "192.0.2.5", CLAIM("192-0-2-5-32", "192.0.2.5/32", HAND("first")), false,
     "port TCP/80 of 192.0.2.5 belongs to Service default/first"},
    {"of another namespace", "192.0.2.5",
     CLAIM("192-0-2-5-32", "192.0.2.5/32", "{'namespace':'other','name':'x'}"), false,
     "belongs to Service other/x"},
    {"its own, on its way out", "192.0.2.5",
     "{'metadata':{'name':'192-0-2-5-32','uid':'c','deletionTimestamp':'2026-01-01T00:00:00Z'},"
     "'spec':{'cidr':'192.0.2.5','services':[" HAND("web") "]}}",
     false, "is just being released"},
    {"in no pool", "198.51.100.1", NULL, false, "is in no pool"},
};

static void explains(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        const struct question *row = &questions[i];
        struct policy_case world = {.pools = {BLUE}, .claims = {row->claim}};
        struct state *state = policy_state(&world);
        struct service *service = fixture_service(Q(HAS("web", "") SPEC("")));
        struct address address = fixture_address(row->address);
        char text[512];
        print_message("    %s\n", row->name);
        mutex_lock(&state->mutex);
        assert_int_equal(policy_could_claim(state, &address, service), row->could);
        policy_explain(state, &address, service, text, sizeof(text));
        mutex_unlock(&state->mutex);
        if (strstr(text, row->text) == NULL)
            fail_msg("\"%s\" has no \"%s\"", text, row->text);
        service_free(service);
        state_free(state);
    }
}

/* --- edits at the same time --- */

#define PORTED(ports) "{'namespace':'default','name':'web','uid':'u-web','ports':[" ports "]}"

static void ports_text(const struct policy_plan *plan, char *ret_text, size_t size)
{
    size_t length = 0;
    ret_text[0] = '\0';
    assert_int_equal(plan->step_count, 1);
    /* The Service's own entry comes last. */
    const struct policy_step *step = &plan->steps[0];
    const struct claim_service *entry = &step->services[step->service_count - 1];
    for (size_t i = 0; i < entry->port_count; i++)
        length += (size_t)snprintf(ret_text + length, size - length, "%u ", entry->ports[i].port);
}

static void an_edit_keeps_the_ports_that_others_have_noted(void **unused)
{
    (void)unused;
    struct policy_case world = {
        .pools = {BLUE},
        .claims = {CLAIM("192-0-2-5-32", "192.0.2.5", PORTED("'TCP/82','TCP/81'"))}};
    struct state *state = policy_state(&world);
    struct service *old = fixture_service(Q(HAS("web", "") ON("82", EXTERNAL("'192.0.2.5'"))));
    struct service *service =
        fixture_service_request(Q(HAS("web", "") ON("83", EXTERNAL("'192.0.2.5'"))));
    struct policy_request request = {.stage = POLICY_CLAIM, .service = service, .old = old};
    struct policy_plan plan;
    char text[64];
    policy_make(state, &request, &plan);
    ports_text(&plan, text, sizeof(text));
    assert_string_equal(text, "83 82 81 ");
    policy_plan_clear(&plan);
    service_free(service);
    service_free(old);
    state_free(state);
}

/* The API server shows an edit of a version that isn't the stored one any more: in the stored one the
 * Service has moved to port 82, and another has come to use 80. */
static void a_port_that_another_has_by_now_is_not_noted(void **unused)
{
    (void)unused;
    struct policy_case world = {
        .pools = {POOL("blue", "192.0.2.0/29", ",'sharing':'Any'")},
        .claims = {CLAIM("192-0-2-5-32", "192.0.2.5",
                         "{'namespace':'other','name':'x','uid':'u-x','ports':['TCP/80']}," PORTED(
                             "'TCP/82'"))}};
    struct state *state = policy_state(&world);
    struct service *old = fixture_service(Q(HAS("web", "") ON("80", EXTERNAL("'192.0.2.5'"))));
    struct service *service =
        fixture_service_request(Q(HAS("web", "") ON("83", EXTERNAL("'192.0.2.5'"))));
    struct policy_request request = {
        .stage = POLICY_CLAIM, .service = service, .old = old, .verified = true};
    struct policy_plan plan;
    char text[64];
    policy_make(state, &request, &plan);
    assert_int_equal(plan.outcome, POLICY_GRANTED);
    ports_text(&plan, text, sizeof(text));
    assert_string_equal(text, "83 82 ");
    policy_plan_clear(&plan);
    service_free(service);
    service_free(old);
    state_free(state);
}

/* The leader may be releasing what the Service has stopped listing: it renews the entry before it
 * lists the address again. */
static void what_may_be_leaving_is_renewed_before_it_is_listed(void **unused)
{
    (void)unused;
    struct policy_case world = {.pools = {BLUE},
                                .claims = {CLAIM("192-0-2-5-32", "192.0.2.5", GAVE("web"))}};
    struct state *state = policy_state(&world);
    struct policy_request request = {.stage = POLICY_STORED};
    for (int seen = 0; seen < 2; seen++) {
        struct policy_plan plan;
        if (seen)
            fixture_put_service(state, Q(HAS("web", AUTO) SPEC(EXTERNAL("'192.0.2.5'"))));
        fixture_put_service(state, Q(HAS("web", AUTO) SPEC("")));
        struct service *service = fixture_service(Q(HAS("web", AUTO) SPEC("")));
        request.service = service;
        policy_make(state, &request, &plan);
        policy_assert_addresses(&plan.external, "192.0.2.5");
        policy_assert_steps(&plan, seen ? "update 192.0.2.5 given" : NULL);
        policy_plan_clear(&plan);
        service_free(service);
    }
    state_free(state);
}

/* What failing creates of another namespace have noted blocks nobody for long. */
static void ports_of_a_create_that_failed_block_nobody(void **unused)
{
    (void)unused;
    struct clock_fake now;
    clock_fake_init(&now, CLOCK_SECOND, CLOCK_SECOND);
    struct policy_case world = {
        .pools = {POOL("blue", "192.0.2.0/29", ",'sharing':'Any'")},
        .claims = {CLAIM("192-0-2-5-32", "192.0.2.5",
                         "{'namespace':'other','name':'x','uid':'u-x','ports':['TCP/80']}")},
        .options = {.clock = &now.clock},
    };
    struct state *state = policy_state(&world);
    mutex_lock(&state->mutex);
    state_claims_refresh(state);
    mutex_unlock(&state->mutex);
    struct service *service =
        fixture_service_request(Q(HAS("web", "") SPEC(EXTERNAL("'192.0.2.5'"))));
    for (int i = 0; i < 4; i++) {
        bool old = i >= 2;
        struct policy_request request = {
            .stage = POLICY_CLAIM, .service = service, .verified = i % 2 != 0};
        struct policy_plan plan;
        if (i == 2)
            clock_fake_advance(&now, POLICY_UNSTORED_AGE);
        policy_make(state, &request, &plan);
        assert_int_equal(plan.outcome, old && request.verified ? POLICY_GRANTED : POLICY_RETRY);
        assert_int_equal(plan.doubt.pending, plan.outcome == POLICY_RETRY);
        if (plan.outcome == POLICY_GRANTED) {
            char text[64];
            ports_text(&plan, text, sizeof(text));
            assert_string_equal(text, "80 ");
        }
        policy_plan_clear(&plan);
    }
    service_free(service);
    state_free(state);
}

/* An edit adds a port to a Service that lists an address, and the claim names others even after a look: what may join them does, by
 * a write that fails should there be another claim by now; what may not join them is only told. */
static void a_port_is_noted_or_its_service_has_no_claim_to_note_it_on(void **unused)
{
    (void)unused;
    static const char *const pools[] = {POOL("blue", "192.0.2.0/29", ",'sharing':'Any'"),
                                        POOL("blue", "192.0.2.0/29", ",'sharing':'Never'")};
    static const char *const steps[] = {"update 192.0.2.5 hand", NULL};
    for (size_t i = 0; i < 2; i++) {
        struct policy_case world = {
            .pools = {pools[i]},
            .claims = {CLAIM("192-0-2-5-32", "192.0.2.5",
                             "{'namespace':'other','name':'x','uid':'u-x','ports':['TCP/443']}")},
        };
        struct state *state = policy_state(&world);
        struct service *old = fixture_service(Q(HAS("web", "") SPEC(EXTERNAL("'192.0.2.5'"))));
        struct service *service =
            fixture_service_request(Q(HAS("web", "") ON("81", EXTERNAL("'192.0.2.5'"))));
        struct policy_request request = {
            .stage = POLICY_CLAIM, .service = service, .old = old, .verified = true};
        struct policy_plan plan;
        policy_make(state, &request, &plan);
        assert_int_equal(plan.outcome, POLICY_GRANTED);
        policy_assert_steps(&plan, steps[i]);
        policy_plan_clear(&plan);
        service_free(service);
        service_free(old);
        state_free(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges),
        cmocka_unit_test(explains),
        cmocka_unit_test(an_edit_keeps_the_ports_that_others_have_noted),
        cmocka_unit_test(a_port_that_another_has_by_now_is_not_noted),
        cmocka_unit_test(what_may_be_leaving_is_renewed_before_it_is_listed),
        cmocka_unit_test(ports_of_a_create_that_failed_block_nobody),
        cmocka_unit_test(a_port_is_noted_or_its_service_has_no_claim_to_note_it_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
