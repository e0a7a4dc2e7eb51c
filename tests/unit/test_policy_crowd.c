/* The limit on claims without a stored Service: a namespace can't hold a shared pool by creates that fail. */
#include "tests/unit/policy_fixture.h"

struct crowd_case {
    const char *name;
    size_t most;
    size_t claims; /* in namespace default, without a stored Service */
    enum { CREATES, UPDATES, CHOOSES, IS_STORED } asks;
    bool elsewhere; /* the one who asks is in another namespace */
    bool forged;    /* the edit, of a Service that isn't stored */
    bool young;     /* the claims are younger than POLICY_UNSTORED_AGE */
    bool stored;    /* their Services are stored after all */
    bool crowded;   /* expected */
};

static const struct crowd_case crowds[] = {
    {.name = "fewer than the limit", .most = 3, .claims = 2},
    {.name = "the limit", .most = 3, .claims = 3},
    {.name = "one more than the limit", .most = 2, .claims = 3, .crowded = true},
    {.name = "more than the limit", .most = 2, .claims = 5, .crowded = true},
    {.name = "no limit", .most = 0, .claims = 5},
    {.name = "young: their creates may still end well", .most = 2, .claims = 3, .young = true},
    {.name = "their Services are stored", .most = 2, .claims = 3, .stored = true},
    {.name = "another namespace", .most = 2, .claims = 3, .elsewhere = true},
    {.name = "an edit", .most = 2, .claims = 3, .asks = UPDATES},
    {.name = "an edit of what isn't stored",
     .most = 2,
     .claims = 3,
     .asks = UPDATES,
     .forged = true,
     .crowded = true},
    {.name = "the mutating call claims nothing", .most = 2, .claims = 3, .asks = CHOOSES},
    {.name = "the reconciler", .most = 2, .claims = 3, .asks = IS_STORED},
};

static void put_unstored(struct state *state, size_t index, bool stored)
{
    char text[512];
    snprintf(text, sizeof(text),
             CLAIM("192-0-2-1%zu-32", "192.0.2.1%zu/32",
                   "{'namespace':'default','name':'s%zu','uid':'u-s%zu'}"),
             index, index, index, index, index);
    fixture_put_claim(state, Q(text));
    snprintf(text, sizeof(text),
             "{'metadata':{'namespace':'default','name':'s%zu','uid':'u-s%zu'}}", index, index);
    if (stored)
        fixture_put_service(state, Q(text));
}

static void decide(const struct crowd_case *row, struct state *state, struct policy_plan *ret_plan)
{
    static const enum policy_stage stages[] = {POLICY_CLAIM, POLICY_CLAIM, POLICY_CHOOSE,
                                               POLICY_STORED};
    const char *namespace_name = row->elsewhere ? "other" : "default";
    char before[512];
    char after[512];
    snprintf(before, sizeof(before), "{'metadata':{'namespace':'%s','name':'web','uid':'u'}}",
             namespace_name);
    snprintf(after, sizeof(after),
             "{'metadata':{'namespace':'%s','name':'web','uid':'u'" AUTO "}" SPEC("%s"),
             namespace_name, row->asks == CHOOSES ? "" : EXTERNAL("'198.51.100.1'"));
    struct service *service = fixture_service_request(Q(after));
    struct service *old = row->asks == UPDATES ? fixture_service(Q(before)) : NULL;
    /* Anybody can say that it is one. */
    if (old != NULL && !row->forged)
        fixture_put_service(state, Q(before));
    struct policy_request request = {.stage = stages[row->asks], .service = service, .old = old};
    policy_make(state, &request, ret_plan);
    service_free(service);
    service_free(old);
}

static void check(const struct crowd_case *row)
{
    struct clock_fake clock;
    clock_fake_init(&clock, 100 * CLOCK_SECOND, 0);
    struct state_options options = {.clock = &clock.clock, .unstored_most = row->most};
    struct state *state = state_new(&options);
    struct policy_plan plan;
    fixture_put_pool(state, Q(POOL("red", "198.51.100.0/24", "")));
    fixture_synced(state);
    for (size_t i = 0; i < row->claims; i++)
        put_unstored(state, i, row->stored);
    clock_fake_advance(&clock, POLICY_UNSTORED_AGE - (row->young ? 1 : 0));
    decide(row, state, &plan);
    assert_int_equal(plan.crowded, row->crowded);
    assert_int_equal(plan.outcome, row->crowded ? POLICY_RETRY : POLICY_GRANTED);
    assert_int_equal(plan.step_count, row->crowded || row->asks == CHOOSES ? 0 : 1);
    if (row->crowded)
        assert_non_null(strstr(plan.text, "namespace default holds more than 2 addresses"));
    policy_plan_clear(&plan);
    state_free(state);
}

static void a_crowded_namespace_has_to_wait(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof(crowds) / sizeof(crowds[0]); i++) {
        print_message("    %s\n", crowds[i].name);
        check(&crowds[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crowded_namespace_has_to_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
