/* Requests against an API server: nothing is told before it stands in the range, who waits is told
 * why, and what pools consist of is kept. */
#include "tests/unit/ipam_reconcile_fixture.h"

#include "server/state/ledger.h"

/* --- grants --- */

static void nothing_is_told_before_it_stands_in_the_range(void **state)
{
    (void)state;
    put_lan();
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    fake_ipam_put(&ipam, REQUEST_PATH("two"), NET("two", "2", "27"));
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28") &&
          shows(REQUEST_PATH("two"), "cidr", "10.0.0.32/27"));
    /* Each of them stood in a write of the range that came before. */
    static const char *const pending[] = {
        "{'namespace':'a','name':'one','uid':'u-one','cidr':'10.0.0.0/28'}",
        "{'namespace':'a','name':'two','uid':'u-two','cidr':'10.0.0.32/27'}"};
    static const char *const writes[] = {NET_STATUS("one"), NET_STATUS("two")};
    for (size_t i = 0; i < 2; i++) {
        unsigned int ahead = 0;
        while (strstr(body_of(LAN_STATUS, ahead), Q(pending[i])) == NULL)
            ahead++;
        assert_true(index_of(LAN_STATUS, ahead) < index_of(writes[i], 0));
        assert_in(body_of(LAN_STATUS, ahead), "'resourceVersion'");
        assert_int_equal(count_of(writes[i]), 1);
    }
    const char *body = body_of(NET_STATUS("one"), 0);
    assert_in(body, "{'metadata':{'uid':'u-one'},'status':{'cidr':'10.0.0.0/28',");
    assert_in(body, "'type':'Ready','status':'True','reason':'Ready'");
    assert_in(body, "10.0.0.0/28 of range a/lan");
    /* And goes from there once it is told. */
    clock_fake_advance(&clock_now, 2 * CLOCK_SECOND);
    until(*fake_ipam_status(&ipam, RANGE_PATH("lan"), "pending") == '\0');
    until(shows(RANGE_PATH("lan"), "used", "48") && shows(RANGE_PATH("lan"), "requests", "2"));
}

static bool knows_stored(const char *key)
{
    mutex_guard(&world->mutex);
    const struct state_request *request = state_request(world, key);
    return request != NULL && ledger_is_stored(request);
}

static void the_server_s_answer_is_enough(void **state)
{
    (void)state;
    put_lan();
    ipam.blind = true;
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    fixture_put_request(world, Q(NET("one", "1", "28")));
    fake_until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
    fake_until(knows_stored("a/one")); /* without the watch */
}

static void a_conflict_on_the_range_gives_nothing_out(void **state)
{
    (void)state;
    put_lan();
    ipam.blind = true;
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    fake_ipam_touch(&ipam, RANGE_PATH("lan")); /* unseen */
    unsigned int before = count_of(LAN_STATUS);
    fixture_put_request(world, Q(NET("one", "1", "28")));
    fake_until(count_of(LAN_STATUS) > before + 1); /* tried, and tried again */
    assert_in(body_of(LAN_STATUS, before), "'name':'one'");
    assert_int_equal(count_of(NET_STATUS("one")), 0);
    assert_string_equal(fake_ipam_status(&ipam, REQUEST_PATH("one"), "cidr"), "");
    ipam.blind = false;
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
    assert_int_equal(lists_wanted, 0); /* it is still the same epoch */
    assert_string_equal(fake_ipam_status(&ipam, RANGE_PATH("lan"), "epoch"), "1");
}

#define OTHER "{\"metadata\":{\"namespace\":\"a\",\"name\":\"lan\",\"uid\":\"r-9\"}}"

/* The answer got lost: whether it was stored isn't known before it is seen, or written again. */
static void a_write_of_unknown_fate_gives_nothing_out(void **state)
{
    (void)state;
    static const struct fake_answer faults[] = {
        {.request = LAN_STATUS, .status = 500, .body = "{}", .times = 3},
        {.request = LAN_STATUS, .status = 504, .body = "{}", .times = 3},
        {.request = LAN_STATUS, .ending = FAKE_CLOSE, .times = 3},
        {.request = LAN_STATUS, .status = 403, .body = "{}", .times = 2},
        {.request = LAN_STATUS, .status = 422, .body = "{}", .times = 2},
        {.request = LAN_STATUS, .body = "<html>", .times = 2},
        {.request = LAN_STATUS, .body = "{}", .times = 2},
        {.request = LAN_STATUS, .body = OTHER, .times = 2},
    };
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        put_lan();
        unsigned int before = count_of(LAN_STATUS);
        fake_api_answer(ipam.objects.api, &faults[i]);
        fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
        until(count_of(LAN_STATUS) >= before + faults[i].times);
        until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
        assert_true(index_of(LAN_STATUS, before + faults[i].times) <
                    index_of(NET_STATUS("one"), 0));
        tear_down(state);
        set_up(state);
    }
}

/* Whatever stands between us and the API server: only an answer that shows what was written
 * counts. */
static void an_answer_that_shows_something_else_is_none(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "<html>",
        "",
        "{}",
        "{'metadata':{'uid':'u-one'}}",
        "{'metadata':{'uid':'u-one'},'status':{'cidr':'10.0.0.16/28'}}",
        "{'metadata':{'uid':'u-other'},'status':{'cidr':'10.0.0.0/28'}}",
        "{'metadata':{'namespace':'a','name':'one','uid':'u-one'},'status':{'cidr':'10.0.0.0/28'}}",
        ("{'metadata':{'namespace':'a','name':'two','uid':'u-one'},'spec':{'range':{'name':'lan'}},"
         "'status':{'cidr':'10.0.0.0/28'}}"),
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        put_lan();
        fake_api_answer(
            ipam.objects.api,
            &(struct fake_answer){.request = NET_STATUS("one"), .body = Q(answers[i]), .times = 2});
        fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
        until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
        assert_int_equal(count_of(NET_STATUS("one")), 3);
        tear_down(state);
        set_up(state);
    }
}

#define SEEN(name, version, status)                                                                \
    "{'metadata':{'namespace':'a','name':'" name "','uid':'u-" name                                \
    "','resourceVersion':'" version                                                                \
    "','creationTimestamp':'1970-01-01T00:00:01Z'},'spec':{'range':{'name':'lan','namespace':"     \
    "'a'},'request':'28'},'status':{" status "}}"

/* The watch has brought a later version, in which somebody has written another CIDR. */
static void an_answer_that_was_overtaken_hides_nothing(void **state)
{
    (void)state;
    put_lan();
    ipam.blind = true;
    fake_api_answer(ipam.objects.api,
                    &(struct fake_answer){.request = NET_STATUS("one"),
                                          .body = Q(SEEN("one", "5", "'cidr':'10.0.0.0/28'")),
                                          .times = 1});
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    fixture_put_request(world, Q(SEEN("one", "9", "")));
    fake_until(count_of(NET_STATUS("one")) == 1);
    rest();
    assert_false(knows_stored("a/one"));
}

static void a_waiting_request_is_told_why_and_served_later(void **state)
{
    (void)state;
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "26"));
    lead(true);
    until(shows(REQUEST_PATH("one"), "conditions", "RangeNotFound"));
    const char *body = body_of(NET_STATUS("one"), 0);
    assert_in(body, "'uid':'u-one','resourceVersion':'1'");
    assert_in(body, "'status':'False'");
    assert_not_in(body, "'cidr'");
    fake_ipam_put(&ipam, RANGE_PATH("lan"), LAN("," FINALIZED));
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/26"));
    fake_ipam_put(&ipam, REQUEST_PATH("two"), NET("two", "2", "28"));
    fake_ipam_put(&ipam, REQUEST_PATH("odd"), NET("odd", "3", "8"));
    until(shows(REQUEST_PATH("two"), "conditions", "Busy"));
    until(shows(REQUEST_PATH("odd"), "conditions", "Invalid"));
    rest();
    assert_int_equal(count_of(NET_STATUS("two")), 1); /* said once */
    fake_ipam_delete(&ipam, REQUEST_PATH("one"));
    until(shows(REQUEST_PATH("two"), "cidr", "10.0.0.0/28"));
    assert_true(shows(REQUEST_PATH("two"), "conditions", "'True'"));
}

/* As the convention has it: another reason isn't another status. */
static void a_condition_is_as_old_as_its_status(void **state)
{
    (void)state;
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "26"));
    lead(true);
    until(shows(REQUEST_PATH("one"), "conditions", "RangeNotFound"));
    assert_true(shows(REQUEST_PATH("one"), "conditions", "1970-01-01T01:23:20Z"));
    clock_fake_advance(&clock_now, 60 * CLOCK_SECOND);
    fake_ipam_put(
        &ipam, REQUEST_PATH("all"),
        "{'metadata':{'namespace':'a','name':'all','uid':'u-all'},'spec':{'range':{'name':"
        "'lan','namespace':'a'}},'status':{'cidr':'10.0.0.0/26'}}");
    fake_ipam_put(&ipam, RANGE_PATH("lan"), LAN("," FINALIZED));
    until(shows(REQUEST_PATH("one"), "conditions", "Busy"));
    assert_true(shows(REQUEST_PATH("one"), "conditions", "1970-01-01T01:23:20Z"));
    fake_ipam_delete(&ipam, REQUEST_PATH("all"));
    until(shows(REQUEST_PATH("one"), "conditions", "'True'"));
    assert_true(shows(REQUEST_PATH("one"), "conditions", "1970-01-01T01:24:20Z"));
}

static void what_somebody_wiped_is_written_again(void **state)
{
    (void)state;
    put_lan();
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
    rest();
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    assert_string_equal(fake_ipam_status(&ipam, REQUEST_PATH("one"), "cidr"), "");
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
}

static void a_request_that_is_gone_ends_it(void **state)
{
    (void)state;
    put_lan();
    ipam.blind = true;
    fixture_put_request(world, Q(NET("one", "1", "28"))); /* it was there a moment ago */
    fake_until(count_of(NET_STATUS("one")) >= 1);
    state_remove(world, STATE_REQUESTS, "a/one", "u-one");
    ipam.blind = false;
    rest();
    unsigned int count = count_of(NET_STATUS("one"));
    clock_fake_advance(&clock_now, 2 * CLOCK_SECOND); /* for the status of the range */
    until(reconciler_queue_length(reconciler) == 0);
    rest();
    assert_int_equal(count_of(NET_STATUS("one")), count);
    /* What it would have had is free. */
    fake_ipam_put(&ipam, REQUEST_PATH("two"), NET("two", "2", "26"));
    until(shows(REQUEST_PATH("two"), "cidr", "10.0.0.0/26"));
}

static void another_of_its_name_gets_nothing_of_it(void **state)
{
    (void)state;
    put_lan();
    fake_ipam_put(&ipam, REQUEST_PATH("one"),
                  "{'metadata':{'namespace':'a','name':'one','uid':'u-again'},'spec':{'range':{"
                  "'name':'elsewhere'}}}");
    ipam.blind = true;
    fixture_put_request(world, Q(NET("one", "1", "28"))); /* the one before */
    fake_until(count_of(NET_STATUS("one")) >= 1);
    assert_string_equal(fake_ipam_status(&ipam, REQUEST_PATH("one"), "cidr"), "");
    state_remove(world, STATE_REQUESTS, "a/one", "u-one");
}

/* --- the request of a pool --- */

static void the_request_of_a_pool_is_kept(void **state)
{
    (void)state;
    put_lan();
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
    rest();
    assert_int_equal(count_of("PATCH " REQUEST_PATH("one") "?"), 0);
    fixture_put_pool(world,
                     Q("{'metadata':{'name':'blue','uid':'p-1','finalizers':['" POOL_FINALIZER
                       "']},'spec':{'fromRequest':{'namespace':'a','name':'one'}}}"));
    until(count_of("PATCH " REQUEST_PATH("one") APPLY) == 1);
    const char *body = body_of("PATCH " REQUEST_PATH("one") APPLY, 0);
    assert_in(body, "'kind':'IPAMRequest'");
    assert_in(body, "'uid':'u-one'");
    assert_in(body, "'finalizers':['" IPAM_REQUEST_FINALIZER "']");
    rest();
    fake_ipam_delete(&ipam, REQUEST_PATH("one"));
    rest();
    assert_true(fake_ipam_exists(&ipam, REQUEST_PATH("one")));
    state_remove(world, STATE_POOLS, "blue", NULL);
    until(!fake_ipam_exists(&ipam, REQUEST_PATH("one")));
    assert_not_in(body_of("PATCH " REQUEST_PATH("one") APPLY, 1), "finalizers");
}

/* --- events --- */

/* Whether an event was recorded on the object, with this reason and text. */
static bool was_told(const char *kind, const char *name, const char *reason, const char *text)
{
    char parts[4][160];
    snprintf(parts[0], sizeof(parts[0]), "'kind':'%s'", kind);
    snprintf(parts[1], sizeof(parts[1]), "'name':'%s'", name);
    snprintf(parts[2], sizeof(parts[2]), "'reason':'%s'", reason);
    snprintf(parts[3], sizeof(parts[3]), "%s", text);
    for (unsigned int i = 0; i < fake_api_count(ipam.objects.api); i++) {
        const struct fake_request *request = fake_api_request(ipam.objects.api, i);
        bool matches = strncmp(request->line, "POST ", 5) == 0 &&
                       strstr(request->line, "/namespaces/a/events") != NULL;
        for (size_t j = 0; j < 4; j++)
            matches = matches && strstr(request->body, Q(parts[j])) != NULL;
        if (matches)
            return true;
    }
    return false;
}

static void what_is_given_and_given_back_is_told(void **state)
{
    (void)state;
    fake_ipam_put(&ipam, RANGE_PATH("lan"), LAN("," FINALIZED));
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "26"));
    fake_ipam_put(&ipam, REQUEST_PATH("two"), NET("two", "2", "26"));
    fake_ipam_put(&ipam, REQUEST_PATH("odd"), NET("odd", "3", "8"));
    lead(true);
    until(was_told("IPAMRequest", "one", "Allocated", "10.0.0.0/26 of range a/lan"));
    until(was_told("IPAMRange", "lan", "Allocated", "10.0.0.0/26 to request a/one"));
    until(was_told("IPAMRequest", "two", "Busy", "'type':'Warning'"));
    until(was_told("IPAMRequest", "odd", "Invalid", "'type':'Warning'"));
    assert_false(was_told("IPAMRange", "lan", "Released", ""));
    assert_false(was_told("IPAMRequest", "two", "Allocated", ""));
    fake_ipam_delete(&ipam, REQUEST_PATH("one"));
    until(was_told("IPAMRange", "lan", "Released", "'message':'10.0.0.0/26'"));
    until(was_told("IPAMRange", "lan", "Allocated", "10.0.0.0/26 to request a/two"));
}

/* Events come in the order in which they were recorded: what two hears of its own comes behind all
 * that was said of one. */
static void a_grant_is_told_when_it_is_written(void **state)
{
    (void)state;
    fake_ipam_put(&ipam, RANGE_PATH("lan"), LAN("," FINALIZED));
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    ipam.held = NET_STATUS("one");
    lead(true);
    until(count_of(NET_STATUS("one")) == 1);
    fake_ipam_put(&ipam, REQUEST_PATH("two"), NET("two", "2", "28"));
    until(was_told("IPAMRequest", "two", "Allocated", "10.0.0.16/28 of range a/lan"));
    assert_false(was_told("IPAMRequest", "one", "Allocated", ""));
    assert_false(was_told("IPAMRange", "lan", "Allocated", "to request a/one"));
    ipam.held = NULL;
    until(was_told("IPAMRequest", "one", "Allocated", "10.0.0.0/28 of range a/lan"));
    until(was_told("IPAMRange", "lan", "Allocated", "10.0.0.0/28 to request a/one"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_told_before_it_stands_in_the_range),
        TEST(the_server_s_answer_is_enough),
        TEST(a_conflict_on_the_range_gives_nothing_out),
        TEST(a_write_of_unknown_fate_gives_nothing_out),
        TEST(an_answer_that_shows_something_else_is_none),
        TEST(an_answer_that_was_overtaken_hides_nothing),
        TEST(a_waiting_request_is_told_why_and_served_later),
        TEST(a_condition_is_as_old_as_its_status),
        TEST(what_somebody_wiped_is_written_again),
        TEST(a_request_that_is_gone_ends_it),
        TEST(another_of_its_name_gets_nothing_of_it),
        TEST(the_request_of_a_pool_is_kept),
        cmocka_unit_test_setup_teardown(a_grant_is_told_when_it_is_written, set_up_events,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_given_and_given_back_is_told, set_up_events,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
