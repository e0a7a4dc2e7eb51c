/* Ranges against an API server: the finalizer, the epoch, what a lost lead means, how often a
 * status is written, and the end. */
#include "tests/unit/ipam_reconcile_fixture.h"

/* --- a new range --- */

static void a_new_range_gets_its_finalizer_first(void **state)
{
    (void)state;
    fake_ipam_put(&ipam, RANGE_PATH("lan"), LAN(""));
    lead(true);
    until(shows(RANGE_PATH("lan"), "conditions", "Serving"));
    const char *first = fake_api_request(ipam.objects.api, 0)->line;
    assert_string_equal(first, "PATCH " RANGE_PATH("lan") APPLY);
    const char *body = fake_api_request(ipam.objects.api, 0)->body;
    assert_in(body, "'kind':'IPAMRange'");
    assert_in(body, "'name':'lan','namespace':'a','uid':'r-1'");
    assert_in(body, FINALIZED);
    assert_int_equal(count_of("PATCH " RANGE_PATH("lan") "?"), 1);
}

static void the_epoch_is_raised_for_exactly_this_object(void **state)
{
    (void)state;
    put_lan();
    assert_string_equal(body_of(LAN_STATUS, 0), Q("{'metadata':{'uid':'r-1','resourceVersion':'1'},"
                                                  "'status':{'epoch':1}}"));
    assert_string_equal(fake_ipam_status(&ipam, RANGE_PATH("lan"), "epoch"), "1");
    assert_int_equal(lists_wanted, 0); /* nobody has granted from it before */
    const char *status = body_of(LAN_STATUS, 1);
    assert_in(status, "{'metadata':{'uid':'r-1','resourceVersion':'2'}");
    assert_in(status, "'observedGeneration':3");
    assert_in(status, "'type':'Ready','status':'True','reason':'Serving'");
    assert_in(status, "'total':64,'used':0,'free':64,'requests':0");
    assert_not_in(status, "'epoch'");
    /* Said once. */
    clock_fake_advance(&clock_now, 10 * CLOCK_SECOND);
    fake_ipam_touch(&ipam, RANGE_PATH("lan"));
    rest();
    assert_int_equal(count_of(LAN_STATUS), 2);
}

static void an_epoch_that_another_raised_meanwhile_is_raised_again(void **state)
{
    (void)state;
    fake_ipam_put(&ipam, RANGE_PATH("lan"), LAN("," FINALIZED));
    (void)pump(&ipam);
    ipam.blind = true;
    fake_ipam_put(&ipam, RANGE_PATH("lan"),
                  "{'metadata':{'namespace':'a','name':'lan','uid':'r-1'," FINALIZED
                  "},'spec':{'ranges':['10.0.0.0/26']},'status':{'epoch':7}}");
    lead(true);
    until(count_of(LAN_STATUS) >= 1);
    assert_string_equal(fake_ipam_status(&ipam, RANGE_PATH("lan"), "epoch"), "7"); /* 409 */
    ipam.blind = false;
    until(shows(RANGE_PATH("lan"), "epoch", "8"));
}

/* Two replicas believe that they lead: each steps back as soon as it sees the other's epoch, and
 * lists before it goes on. */
static void an_epoch_of_another_ends_ours(void **state)
{
    (void)state;
    put_lan();
    fake_ipam_put(&ipam, RANGE_PATH("lan"),
                  "{'metadata':{'namespace':'a','name':'lan','uid':'r-1'," FINALIZED
                  "},'spec':{'ranges':['10.0.0.0/26']},'status':{'epoch':9}}");
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    until(shows(RANGE_PATH("lan"), "epoch", "10"));
    until(lists_wanted == 1);
    tell_lan();
    rest();
    assert_int_equal(count_of(NET_STATUS("one")), 0);
    fake_ipam_list(&ipam, STATE_REQUESTS);
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
}

/* --- leading --- */

static void a_leader_that_comes_back_lists_before_it_gives(void **state)
{
    (void)state;
    put_lan();
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
    rest();
    lead(false);
    unsigned int before = fake_api_count(ipam.objects.api);
    fake_ipam_put(&ipam, REQUEST_PATH("two"), NET("two", "2", "28"));
    rest();
    assert_int_equal(fake_api_count(ipam.objects.api), before); /* who doesn't lead keeps still */
    /* Another one led, and gave; this replica hasn't seen it. */
    ipam.blind = true;
    fake_ipam_put(&ipam, REQUEST_PATH("three"),
                  "{'metadata':{'namespace':'a','name':'three','uid':'u-three'},'spec':{'range':{"
                  "'name':'lan','namespace':'a'}},'status':{'cidr':'10.0.0.16/28'}}");
    lead(true);
    fake_until(lists_wanted == 1);
    fake_until(shows(RANGE_PATH("lan"), "epoch", "2"));
    assert_in(body_of(LAN_STATUS, count_of(LAN_STATUS) - 1), "'resourceVersion'");
    unsigned int writes = count_of(LAN_STATUS);
    tell_lan(); /* looked at, but not served */
    fixture_put_request(world, Q(NET("two", "2", "28")));
    rest();
    assert_int_equal(count_of(LAN_STATUS), writes);
    assert_int_equal(count_of(NET_STATUS("two")), 0);
    fake_ipam_list(&ipam, STATE_REQUESTS);
    ipam.blind = false;
    until(shows(REQUEST_PATH("two"), "cidr", "10.0.0.32/28"));
    assert_string_equal(fake_ipam_status(&ipam, REQUEST_PATH("three"), "cidr"), "'10.0.0.16/28'");
    assert_int_equal(lists_wanted, 1);
}

/* The write-ahead was stored, but its answer finds another term: what is pending is the next
 * leader's to honour. */
static void an_answer_after_the_lead_was_lost_tells_nothing(void **state)
{
    (void)state;
    put_lan();
    ipam.blind = true;
    ipam.held = LAN_STATUS;
    unsigned int before = count_of(LAN_STATUS);
    fixture_put_request(world, Q(NET("one", "1", "28")));
    fake_until(count_of(LAN_STATUS) > before);
    lead(false);
    ipam.held = NULL;
    fake_until(shows(RANGE_PATH("lan"), "pending", "'u-one'"));
    rest();
    mutex_guard(&world->mutex);
    assert_true(state_request(world, "a/one")->held.address.family != 0);
    assert_false(state_request(world, "a/one")->announced);
}

static void what_was_pending_is_honoured_by_the_next(void **state)
{
    (void)state;
    fake_ipam_put(&ipam, RANGE_PATH("lan"),
                  "{'metadata':{'namespace':'a','name':'lan','uid':'r-1'," FINALIZED
                  "},'spec':{'ranges':['10.0.0.0/26']},'status':{'epoch':4,'pending':[{'namespace':"
                  "'a','name':'one','uid':'u-one','cidr':'10.0.0.48/28'}]}}");
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "9", "28"));
    fake_ipam_put(&ipam, REQUEST_PATH("two"), NET("two", "1", "28"));
    (void)pump(&ipam);
    lead(true);
    until(lists_wanted == 1);
    tell_lan();
    rest();
    assert_int_equal(count_of(NET_STATUS("")), 0);
    fake_ipam_list(&ipam, STATE_REQUESTS);
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.48/28"));
    until(shows(REQUEST_PATH("two"), "cidr", "10.0.0.0/28"));
    assert_string_equal(fake_ipam_status(&ipam, RANGE_PATH("lan"), "epoch"), "5");
}

static void the_lease_is_asked_before_every_step(void **state)
{
    (void)state;
    put_lan();
    may_act = false;
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    unsigned int before = fake_api_count(ipam.objects.api);
    rest();
    assert_int_equal(fake_api_count(ipam.objects.api), before);
}

static void nothing_is_given_before_everything_is_known(void **state)
{
    (void)state;
    mutex_lock(&world->mutex);
    world->synced[STATE_SERVICES] = false;
    mutex_unlock(&world->mutex);
    fake_ipam_put(&ipam, RANGE_PATH("lan"), LAN(""));
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    (void)pump(&ipam);
    may_act = false; /* what is taken from the queue would come back to it */
    lead(true);
    assert_int_equal(reconciler_queue_length(reconciler), 0);
    assert_int_equal(passes, 0);
    may_act = true;
    /* What came by before is looked at then. */
    state_replace_end(world, STATE_SERVICES);
    assert_true(fake_api_wait(ipam.objects.api, 1));
}

/* --- status --- */

static void a_status_is_written_at_most_once_a_second(void **state)
{
    (void)state;
    put_lan();
    clock_fake_advance(&clock_now, 2 * CLOCK_SECOND);
    unsigned int before = count_of(LAN_STATUS);
    for (int i = 1; i < 9; i++) {
        char path[256];
        char json[512];
        snprintf(path, sizeof(path), REQUEST_PATH("n%d"), i);
        snprintf(json, sizeof(json),
                 "{'metadata':{'namespace':'a','name':'n%d','uid':'u-%d'},'spec':{'range':{'name':"
                 "'lan','namespace':'a'}},'status':{'cidr':'10.0.0.%d/32','conditions':[{'type':"
                 "'Ready','status':'True','reason':'Ready'}]}}",
                 i, i, i);
        fake_ipam_put(&ipam, path, json);
        rest();
    }
    assert_int_equal(count_of(LAN_STATUS), before + 1);
    assert_true(shows(RANGE_PATH("lan"), "used", "1"));
    /* The rest is said when its time has come, all at once. */
    clock_fake_advance(&clock_now, CLOCK_SECOND);
    until(shows(RANGE_PATH("lan"), "used", "8"));
    assert_int_equal(count_of(LAN_STATUS), before + 2);
}

static void a_range_that_can_not_be_used_says_why(void **state)
{
    (void)state;
    fake_ipam_put(&ipam, RANGE_PATH("lan"),
                  "{'metadata':{'namespace':'a','name':'lan','uid':'r-1'," FINALIZED
                  "},'spec':{'mode':'RoundRobin','ranges':['10.0.0.0/33']},'status':{'roundRobin':["
                  "'10.0.0.0/28'],'used':7}}");
    lead(true);
    until(shows(RANGE_PATH("lan"), "conditions", "'Invalid'"));
    assert_true(shows(RANGE_PATH("lan"), "conditions", "spec.ranges[0]"));
    assert_string_equal(fake_ipam_status(&ipam, RANGE_PATH("lan"), "used"), "0");
    rest();
    /* Once. */
    unsigned int before = count_of(LAN_STATUS);
    for (int i = 0; i < 3; i++) {
        clock_fake_advance(&clock_now, 2 * CLOCK_SECOND);
        fake_ipam_touch(&ipam, RANGE_PATH("lan"));
        rest();
    }
    assert_int_equal(count_of(LAN_STATUS), before);
}

static void round_robin_pointers_are_remembered(void **state)
{
    (void)state;
    fake_ipam_put(&ipam, RANGE_PATH("lan"),
                  "{'metadata':{'namespace':'a','name':'lan','uid':'r-1'," FINALIZED
                  "},'spec':{'mode':'RoundRobin','ranges':['10.0.0.0/26']}}");
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    (void)pump(&ipam);
    lead(true);
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
    until(shows(RANGE_PATH("lan"), "roundRobin", "['10.0.0.16/28']"));
    fake_ipam_delete(&ipam, REQUEST_PATH("one"));
    fake_ipam_put(&ipam, REQUEST_PATH("two"), NET("two", "1", "28"));
    until(shows(REQUEST_PATH("two"), "cidr", "10.0.0.16/28"));
}

/* --- the end --- */

static void a_range_goes_with_the_last_request_for_it(void **state)
{
    (void)state;
    put_lan();
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
    rest();
    clock_fake_advance(&clock_now, 2 * CLOCK_SECOND);
    fake_ipam_delete(&ipam, RANGE_PATH("lan"));
    until(shows(RANGE_PATH("lan"), "conditions", "'Deleting'"));
    fake_ipam_put(&ipam, REQUEST_PATH("two"), NET("two", "2", "28"));
    until(shows(REQUEST_PATH("two"), "conditions", "'Deleting'"));
    fake_ipam_delete(&ipam, REQUEST_PATH("one"));
    rest();
    assert_true(fake_ipam_exists(&ipam, RANGE_PATH("lan")));
    assert_int_equal(count_of("PATCH " RANGE_PATH("lan") "?"), 0);
    assert_string_equal(fake_ipam_status(&ipam, REQUEST_PATH("two"), "cidr"), "");
    fake_ipam_delete(&ipam, REQUEST_PATH("two"));
    until(!fake_ipam_exists(&ipam, RANGE_PATH("lan")));
    const char *body = body_of("PATCH " RANGE_PATH("lan") APPLY, 0);
    assert_in(body, "'uid':'r-1'");
    assert_not_in(body, "finalizers");
    rest();
    /* One that comes then is another. */
    fake_ipam_put(&ipam, RANGE_PATH("lan"),
                  "{'metadata':{'namespace':'a','name':'lan','uid':'r-2'," FINALIZED
                  "},'spec':{'ranges':['10.0.0.0/26']}}");
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
    assert_string_equal(fake_ipam_status(&ipam, RANGE_PATH("lan"), "epoch"), "1");
}

#define KEPT_BY_OTHERS(status)                                                                     \
    "{'metadata':{'namespace':'a','name':'lan','uid':'r-1','finalizers':['other'],"                \
    "'deletionTimestamp':'1970-01-01T00:00:10Z'},'spec':{'ranges':['10.0.0.0/26']},'status':"      \
    "" status "}"

/* Until it goes, what refers to it is told, and is told what was granted before. */
static void a_range_that_somebody_else_keeps_is_judged_on(void **state)
{
    (void)state;
    fake_ipam_put(&ipam, RANGE_PATH("lan"),
                  KEPT_BY_OTHERS("{'epoch':4,'pending':[{'namespace':'a','name':'one','uid':"
                                 "'u-one','cidr':'10.0.0.0/28'}]}"));
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    fake_ipam_put(&ipam, REQUEST_PATH("two"), NET("two", "2", "28"));
    (void)pump(&ipam);
    lead(true);
    until(lists_wanted == 1);
    fake_ipam_list(&ipam, STATE_REQUESTS);
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
    until(shows(REQUEST_PATH("two"), "conditions", "'Deleting'"));
    until(shows(RANGE_PATH("lan"), "conditions", "'Deleting'"));
    assert_string_equal(fake_ipam_status(&ipam, REQUEST_PATH("two"), "cidr"), "");
    fake_ipam_delete(&ipam, REQUEST_PATH("one"));
    fake_ipam_delete(&ipam, REQUEST_PATH("two"));
    rest();
    clock_fake_advance(&clock_now, 2 * CLOCK_SECOND);
    until(shows(RANGE_PATH("lan"), "conditions", "a finalizer that isn"));
    /* Its finalizers are none of ours. */
    assert_int_equal(count_of("PATCH " RANGE_PATH("lan") "?"), 0);
    rest();
    unsigned int before = count_of(LAN_STATUS);
    fake_ipam_touch(&ipam, RANGE_PATH("lan"));
    rest();
    assert_int_equal(count_of(LAN_STATUS), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_range_gets_its_finalizer_first),
        TEST(the_epoch_is_raised_for_exactly_this_object),
        TEST(an_epoch_that_another_raised_meanwhile_is_raised_again),
        TEST(an_epoch_of_another_ends_ours),
        TEST(a_leader_that_comes_back_lists_before_it_gives),
        TEST(an_answer_after_the_lead_was_lost_tells_nothing),
        TEST(what_was_pending_is_honoured_by_the_next),
        TEST(the_lease_is_asked_before_every_step),
        TEST(nothing_is_given_before_everything_is_known),
        TEST(a_status_is_written_at_most_once_a_second),
        TEST(a_range_that_can_not_be_used_says_why),
        TEST(round_robin_pointers_are_remembered),
        TEST(a_range_goes_with_the_last_request_for_it),
        TEST(a_range_that_somebody_else_keeps_is_judged_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
