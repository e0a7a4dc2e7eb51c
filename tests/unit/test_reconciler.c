/* Who leads, and who may act: nobody else writes anything. */
#include "tests/unit/reconcile_fixture.h"

static void who_does_not_lead_keeps_still(void **state)
{
    (void)state;
    fixture_put_pool(world, Q(BLUE));
    put_claim_everywhere(ONE, CLAIM(ENTRY));
    fixture_put_service(world, Q(WEB("u-1", "")));
    state_remove(world, STATE_SERVICES, "a/web", NULL);
    assert_int_equal(reconciler_queue_length(reconciler), 0);
    /* Leading by name only: the lease says no. */
    may_act = false;
    lead();
    await_passes(passes >= 2);
    reconciler_lead(reconciler, false);
    assert_int_equal(reconciler_queue_length(reconciler), 0);
    may_act = true;
    fixture_put_service(world, Q(WEB("u-1", "")));
    assert_int_equal(reconciler_queue_length(reconciler), 0);
    assert_requests("");
}

/* What was dropped meanwhile is looked at by whoever leads next. */
static void who_leads_again_looks_at_everything(void **state)
{
    (void)state;
    lead();
    reconciler_lead(reconciler, false);
    put_claim_everywhere(ONE, CLAIM(ENTRY));
    fixture_put_service(world, Q(WEB("u-1", "")));
    state_remove(world, STATE_SERVICES, "a/web", "u-1");
    lead();
    await_requests("DELETE/" ONE);
}

static void leadership_lost_during_a_look_takes_nothing(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(ENTRY));
    clock_fake_advance(&clock_now, GRACE);
    answers_held = true;
    lead();
    assert_true(fake_api_wait(cluster->api, 1));
    may_act = false;
    answers_held = false;
    await_pass(0);
    assert_requests("GET" WEB_PATH);
    assert_true(knows_claim(ONE));
}

static void nothing_is_judged_before_everything_is_known(void **state)
{
    (void)state;
    mutex_lock(&world->mutex);
    world->synced[STATE_POOLS] = false;
    mutex_unlock(&world->mutex);
    put_claim_everywhere(ONE, CLAIM(ENTRY));
    fixture_put_service(world, Q(SERVICE("other", "u-9", "192.0.2.2", "")));
    clock_fake_advance(&clock_now, 10 * GRACE);
    lead();
    assert_int_equal(reconciler_queue_length(reconciler), 0);
    assert_int_equal(passes, 0);
    /* What came by before is looked at then. */
    state_replace_end(world, STATE_POOLS);
    assert_true(fake_api_wait(cluster->api, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_does_not_lead_keeps_still),
        TEST(who_leads_again_looks_at_everything),
        TEST(leadership_lost_during_a_look_takes_nothing),
        TEST(nothing_is_judged_before_everything_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
