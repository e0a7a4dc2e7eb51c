/* Tables of decisions: a state, a Service, the stage, and what must come of it. JSON is written in single quotes. */
#ifndef IPWARDEN_TESTS_POLICY_FIXTURE_H
#define IPWARDEN_TESTS_POLICY_FIXTURE_H

#include "tests/unit/addresses_text.h"
#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include <stdio.h>

#define POOL(name, cidr, more)                                                                     \
    "{'metadata':{'name':'" name "','uid':'p-" name                                                \
    "','generation':1},'spec':{'addresses':['" cidr "']" more "}}"
#define BLUE POOL("blue", "192.0.2.0/29", "")
#define SIX POOL("six", "2001:db8::/124", "")
#define TINY(more) POOL("blue", "192.0.2.1", more)

/* A Service as somebody asks for it, and one that has its uid. */
#define NEW(name, more) "{'metadata':{'namespace':'default','name':'" name "'" more "}"
#define HAS(name, more) NEW(name, ",'uid':'u-" name "','resourceVersion':'1'" more)
#define AUTO ",'annotations':{'external-ip':'auto'}"
#define AUTO_AND(more) ",'annotations':{'external-ip':'auto'," more "}"
#define ANNOTATED(more) ",'annotations':{" more "}"
#define IN_POOL(name) "'ipcontroller.ext/pool':'" name "'"
#define NAMES(list) "'ipcontroller.ext/addresses':'" list "'"
/* Somebody other than ipwarden has set spec.externalIPs. */
#define LISTED_BY(manager)                                                                         \
    ",'managedFields':[{'manager':'" manager "','fieldsV1':{'f:spec':{'f:externalIPs':{}}}}]"
#define BY_HAND LISTED_BY("kubectl")

#define ON(port, more) ",'spec':{'type':'ClusterIP','ports':[{'port':" port "}]" more "}}"
#define SPEC(more) ON("80", more)
#define LB(more) ",'spec':{'type':'LoadBalancer','ports':[{'port':80}]" more "}}"
#define EXTERNAL(list) ",'externalIPs':[" list "]"
#define REQUIRE_DUAL ",'ipFamilyPolicy':'RequireDualStack'"
#define PREFER_DUAL ",'ipFamilyPolicy':'PreferDualStack'"

#define CLAIM(name, address, services)                                                             \
    "{'metadata':{'name':'" name "','uid':'c-" name                                                \
    "','resourceVersion':'5'},'spec':{'cidr':'" address "','services':[" services "]}}"
/* An entry of a claim: given by ipwarden, or listed by hand. */
#define GAVE(name)                                                                                 \
    "{'namespace':'default','name':'" name "','uid':'u-" name "','given':true,'ports':['TCP/80']}"
#define HAND(name) "{'namespace':'default','name':'" name "','uid':'u-" name "','ports':['TCP/80']}"

struct policy_case {
    const char *name;
    const char *pools[3];
    const char *claims[3];
    const char *services[3]; /* stored */
    enum policy_stage stage;
    const char *service; /* as it shall be; STORED: as it is */
    const char *old;     /* the stored object that an UPDATE replaces */
    struct state_options options;
    /* Expected. */
    enum policy_outcome outcome;
    const char *external; /* "" for none; not looked at when refused, nor is given */
    const char *given;
    /* "create 192.0.2.1 blue given; update 192.0.2.2 hand"; of CHOOSE: what the validating call has to write for what was
     * chosen. NULL for none. */
    const char *steps;
    const char *text;  /* part of the text, or NULL */
    const char *doubt; /* "pools", "blue" and the address, joined by blanks; NULL for none */
    bool conflict;
};

static inline void policy_steps_format(const struct policy_plan *plan, char *ret_text, size_t size)
{
    size_t length = 0;
    ret_text[0] = '\0';
    for (size_t i = 0; i < plan->step_count && length < size; i++) {
        const struct policy_step *step = &plan->steps[i];
        const struct claim_service *entry = &step->services[step->service_count - 1];
        const char *pool = step->pool != NULL ? step->pool : "-";
        bool create = step->action == POLICY_CREATE;
        char address[ADDRESS_TEXT_SIZE];
        address_format(&step->address, address);
        length +=
            (size_t)snprintf(ret_text + length, size - length, "%s%s %s%s%s %s", i > 0 ? "; " : "",
                             create ? "create" : "update", address, create ? " " : "",
                             create ? pool : "", entry->given ? "given" : "hand");
    }
}

static inline void policy_doubt_format(const struct policy_doubt *doubt, char *ret_text,
                                       size_t size)
{
    char address[ADDRESS_TEXT_SIZE] = "";
    if (doubt->address.family != 0)
        address_format(&doubt->address, address);
    snprintf(ret_text, size, "%s%s%s%s%s", doubt->pools ? "pools" : "",
             *doubt->pool != '\0' ? " " : "", doubt->pool, doubt->pools && *address ? " " : "",
             address);
}

static inline void policy_assert_addresses(const struct service_addresses *list,
                                           const char *expected)
{
    char text[SERVICE_ADDRESSES_TEXT_SIZE];
    addresses_text(list, text);
    assert_string_equal(text, expected);
}

static inline void policy_assert_steps(const struct policy_plan *plan, const char *expected)
{
    char text[1024];
    policy_steps_format(plan, text, sizeof(text));
    assert_string_equal(text, expected != NULL ? expected : "");
}

/* With what the validating call sees: a uid, and what the mutating call chose. */
static inline void policy_patch(struct service *service, const struct policy_plan *plan)
{
    if (*service->meta.uid == '\0') {
        free(service->meta.uid);
        service->meta.uid = strdup("u-made-up");
    }
    free(service->external.items);
    service->external = (struct service_addresses){0};
    for (size_t i = 0; i < plan->external.count; i++)
        assert_int_equal(service_addresses_add(&service->external, &plan->external.items[i]), 0);
}

static inline void policy_make(struct state *state, const struct policy_request *request,
                               struct policy_plan *ret_plan)
{
    mutex_guard(&state->mutex);
    assert_int_equal(policy_decide(state, request, ret_plan, NULL), 0);
}

/* What was chosen can be claimed, by the steps that the row says. */
static inline void policy_check_claiming(const struct policy_case *row, struct state *state,
                                         struct service *service, const struct service *old,
                                         const struct policy_plan *choice)
{
    struct policy_request request = {.stage = POLICY_CLAIM, .service = service, .old = old};
    struct policy_plan plan;
    assert_int_equal(choice->step_count, 0);
    if (choice->outcome != POLICY_GRANTED)
        return;
    policy_patch(service, choice);
    policy_make(state, &request, &plan);
    assert_int_equal(plan.outcome, POLICY_GRANTED);
    policy_assert_steps(&plan, row->steps);
    policy_assert_addresses(&plan.external, row->external);
    policy_assert_addresses(&plan.given, row->given);
    policy_plan_clear(&plan);
}

static inline void policy_check_plan(const struct policy_case *row, const struct policy_plan *plan)
{
    char doubt[256];
    if (plan->outcome != row->outcome)
        fail_msg("outcome %d instead of %d: %s", plan->outcome, row->outcome, plan->text);
    policy_doubt_format(&plan->doubt, doubt, sizeof(doubt));
    assert_string_equal(doubt, row->doubt != NULL ? row->doubt : "");
    assert_int_equal(plan->conflict, row->conflict);
    if (row->text != NULL && strstr(plan->text, row->text) == NULL)
        fail_msg("text \"%s\" has no \"%s\"", plan->text, row->text);
    if (row->stage != POLICY_CHOOSE)
        policy_assert_steps(plan, row->steps);
    if (row->outcome >= POLICY_RETRY)
        return;
    policy_assert_addresses(&plan->external, row->external);
    policy_assert_addresses(&plan->given, row->given);
}

static inline struct state *policy_state(const struct policy_case *row)
{
    struct state *state = state_new(&row->options);
    for (int i = 0; i < 3; i++) {
        if (row->pools[i] != NULL)
            fixture_put_pool(state, Q(row->pools[i]));
        if (row->claims[i] != NULL)
            fixture_put_claim(state, Q(row->claims[i]));
        if (row->services[i] != NULL)
            fixture_put_service(state, Q(row->services[i]));
    }
    fixture_synced(state);
    return state;
}

static inline void policy_check_case(const struct policy_case *row)
{
    struct state *state = policy_state(row);
    bool stored = row->stage == POLICY_STORED;
    struct service *service =
        stored ? fixture_service(Q(row->service)) : fixture_service_request(Q(row->service));
    struct service *old = row->old != NULL ? fixture_service(Q(row->old)) : NULL;
    struct policy_request request = {.stage = row->stage, .service = service, .old = old};
    struct policy_plan plan;
    policy_make(state, &request, &plan);
    policy_check_plan(row, &plan);
    if (row->stage == POLICY_CHOOSE)
        policy_check_claiming(row, state, service, old, &plan);
    policy_plan_clear(&plan);
    service_free(service);
    service_free(old);
    state_free(state);
}

static inline void policy_check_cases(const struct policy_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        print_message("    %s\n", cases[i].name);
        policy_check_case(&cases[i]);
    }
}

#endif
