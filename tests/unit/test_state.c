/* The container: objects of every kind come, go and are listed; who is told; and which of two streams wins. What the kinds
 * make of their objects is in test_state_addresses.c, test_state_claims.c, test_state_pools.c and test_state_ranges.c. */
#include "server/state/state.h"
#include "tests/unit/state_world.h"

/* --- every kind --- */

static const struct {
    const char *name; /* of the row */
    const char *key;
    const char *meta; /* of its metadata, what isn't the same for all */
    const char *spec;
} samples[STATE_KINDS] = {
    [STATE_SERVICES] = {"services", "a/one", ",'namespace':'a'", "'externalIPs':['192.0.2.1']"},
    [STATE_CLAIMS] = {"ipclaims", "one", "", "'cidr':'192.0.2.1/32'"},
    [STATE_POOLS] = {"ipclaimpools", "one", "", "'addresses':['192.0.2.0/24']"},
    [STATE_RANGES] = {"ipamranges", "a/one", ",'namespace':'a'", "'ranges':['10.0.0.0/24']"},
    [STATE_REQUESTS] = {"ipamrequests", "a/one",
                        ",'namespace':'a','creationTimestamp':'2026-01-01T00:00:00Z'",
                        "'range':{'name':'lan'},'request':'28'"},
    [STATE_IP_NODES] = {"ipnodes", "one", "", "'nodeName':'one'"},
    [STATE_NODES] = {"nodes", "one", "", "'unschedulable':true"},
    [STATE_ENDPOINT_SLICES] = {"endpointslices", "a/one", ",'namespace':'a'", ""},
};

static void *sample(enum state_kind kind, const char *name, const char *uid, const char *version)
{
    char json[1024];
    struct json_view view;
    void *object = NULL;
    snprintf(json, sizeof(json),
             "{'metadata':{'name':'%s','uid':'%s','resourceVersion':'%s'%s},'spec':{%s}}", name,
             uid, version, samples[kind].meta, samples[kind].spec);
    const char *text = Q(json);
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, text, strlen(text), JSON_VIEW_DEPTH, NULL), 0);
    assert_int_equal(state_kind(kind)->decode(&view, json_view_root(&view), &object, NULL), 0);
    json_view_clear(&view);
    return object;
}

static void put_sample(enum state_kind kind, const char *name, const char *uid)
{
    assert_int_equal(state_put(world, kind, sample(kind, name, uid, "1")), 0);
}

/* Its resourceVersion; "" when it isn't there. */
static const char *version_of(enum state_kind kind, const char *key)
{
    mutex_guard(&world->mutex);
    const struct state_object *object = state_find(world, kind, key);
    return object != NULL && object->meta != NULL ? object->meta->resource_version : "";
}

static bool is_there(enum state_kind kind, const char *key)
{
    return *version_of(kind, key) != '\0';
}

static size_t count_of(enum state_kind kind)
{
    size_t position = 0;
    size_t count = 0;
    mutex_guard(&world->mutex);
    for (const struct state_object *object; (object = state_next(world, kind, &position)) != NULL;)
        count += object->meta != NULL;
    return count;
}

/* "services/a/one" */
static bool sample_was_told(enum state_kind kind)
{
    char what[128];
    snprintf(what, sizeof(what), "%s/%s", samples[kind].name, samples[kind].key);
    return was_told(what);
}

static bool is_hidden(enum state_kind kind, const char *uid)
{
    mutex_guard(&world->mutex);
    return state_is_unreadable(world, kind, samples[kind].key, uid);
}

static size_t count_hidden(enum state_kind kind)
{
    mutex_guard(&world->mutex);
    return state_unreadable_count(world, kind);
}

/* As the feed does it. */
static bool put_hidden(enum state_kind kind, const char *uid)
{
    struct object_meta *meta = sample(kind, "one", uid, "9");
    bool news = state_put_unreadable(world, kind, meta);
    state_kind(kind)->free(meta);
    return news;
}

static void what_can_not_be_read_is_known_to_be_there(void **state)
{
    (void)state;
    for (int i = 0; i < STATE_KINDS; i++) {
        enum state_kind kind = (enum state_kind)i;
        const char *key = samples[i].key;
        fixture_synced(world);
        /* Told once, and counted once. */
        assert_true(put_hidden(kind, "u-1"));
        assert_false(put_hidden(kind, "u-1"));
        assert_true(is_hidden(kind, "u-1") && is_hidden(kind, "") && !is_hidden(kind, "u-2"));
        assert_int_equal(count_hidden(kind), 1);
        state_put_unnamed(world, kind);
        assert_int_equal(count_hidden(kind), 2);
        /* An object that was known stays, also through a list. */
        put_sample(kind, "one", "u-1");
        assert_false(is_hidden(kind, "u-1"));
        assert_true(put_hidden(kind, "u-1"));
        state_replace_begin(world, kind);
        assert_false(put_hidden(kind, "u-1"));
        state_replace_end(world, kind);
        assert_true(is_there(kind, key) && is_hidden(kind, "u-1"));
        assert_int_equal(count_hidden(kind), 1);
        /* Not one that was made anew. */
        assert_true(put_hidden(kind, "u-2"));
        assert_true(is_hidden(kind, "u-2") && !is_there(kind, key));
        state_remove(world, kind, key, "u-1");
        assert_true(is_hidden(kind, "u-2"));
        state_remove_answer(world, kind, key, 0);
        assert_true(is_hidden(kind, "u-2"));
        state_remove_answer(world, kind, key, state_sequence(world));
        assert_false(is_hidden(kind, ""));
        /* What a list doesn't show is gone. */
        put_sample(kind, "one", "u-3");
        put_hidden(kind, "u-3");
        state_replace_begin(world, kind);
        state_replace_end(world, kind);
        assert_true(!is_there(kind, key) && !is_hidden(kind, ""));
        assert_int_equal(count_hidden(kind), 0);
        put_hidden(kind, "u-4"); /* and is freed with the state */
        start_over();
    }
}

static void every_kind_has_its_row(void **state)
{
    (void)state;
    for (int i = 0; i < STATE_KINDS; i++) {
        const struct state_kind_row *row = state_kind((enum state_kind)i);
        assert_string_equal(row->name, samples[i].name);
        assert_string_equal(strrchr(row->path, '/') + 1, row->name);
        assert_non_null(strstr(row->path, row->api_version));
    }
}

static void every_kind_comes_and_goes(void **state)
{
    (void)state;
    for (int i = 0; i < STATE_KINDS; i++) {
        enum state_kind kind = (enum state_kind)i;
        const char *key = samples[i].key;
        fixture_synced(world);
        put_sample(kind, "one", "u-1");
        assert_true(is_there(kind, key) && sample_was_told(kind));
        assert_int_equal(count_of(kind), 1);
        assert_int_equal(state_put(world, kind, sample(kind, "one", "u-1", "2")), 0);
        assert_string_equal(version_of(kind, key), "2");
        assert_int_equal(count_of(kind), 1);
        /* Only the object that is meant is removed. */
        state_remove(world, kind, key, "u-2");
        state_remove(world, kind, "a/none", NULL);
        assert_true(is_there(kind, key));
        told[0] = '\0';
        state_remove(world, kind, key, "u-1");
        assert_false(is_there(kind, key));
        assert_true(sample_was_told(kind));
        put_sample(kind, "one", "u-2");
        state_remove(world, kind, key, NULL);
        assert_int_equal(count_of(kind), 0);
        start_over();
    }
}

static void a_full_list_drops_what_is_not_in_it(void **state)
{
    (void)state;
    for (int i = 0; i < STATE_KINDS; i++) {
        enum state_kind kind = (enum state_kind)i;
        put_sample(kind, "one", "u-1");
        put_sample(kind, "kept", "u-2");
        told[0] = '\0';
        state_replace_begin(world, kind);
        put_sample(kind, "kept", "u-2");
        assert_int_equal(count_of(kind), 2);
        state_replace_end(world, kind);
        assert_int_equal(count_of(kind), 1);
        assert_false(is_there(kind, samples[i].key));
        assert_true(sample_was_told(kind));
        start_over();
    }
}

static void a_list_that_broke_off_counts_for_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < STATE_KINDS; i++) {
        enum state_kind kind = (enum state_kind)i;
        put_sample(kind, "old", "u-1");
        state_replace_begin(world, kind);
        put_sample(kind, "old", "u-1");
        put_sample(kind, "vanished", "u-2");
        state_replace_begin(world, kind);
        put_sample(kind, "one", "u-3");
        state_replace_end(world, kind);
        assert_int_equal(count_of(kind), 1);
        assert_true(is_there(kind, samples[i].key));
        start_over();
    }
}

static void a_write_of_ours_during_a_list_stays(void **state)
{
    (void)state;
    for (int i = 0; i < STATE_KINDS; i++) {
        enum state_kind kind = (enum state_kind)i;
        state_replace_begin(world, kind);
        uint64_t since = state_sequence(world);
        assert_int_equal(state_put_answer(world, kind, sample(kind, "one", "u-1", "1"), since), 0);
        state_replace_end(world, kind);
        assert_true(is_there(kind, samples[i].key));
    }
}

/* --- being synced --- */

static void is_synced_when_all_kinds_were_listed(void **state)
{
    (void)state;
    for (int kind = 0; kind < STATE_KINDS; kind++) {
        assert_false(state_is_synced(world));
        state_replace_begin(world, (enum state_kind)kind);
        assert_false(state_is_synced(world));
        assert_false(was_told("everything/"));
        state_replace_end(world, (enum state_kind)kind);
    }
    assert_true(state_is_synced(world));
    assert_true(was_told("everything/"));
    told[0] = '\0';
    state_replace_begin(world, STATE_CLAIMS);
    assert_true(state_is_synced(world));
    state_replace_end(world, STATE_CLAIMS);
    assert_false(was_told("everything/")); /* that is news only once */
}

/* Without the kinds that say where addresses can live. */
static void books_need_only_theirs(void **state)
{
    static const enum state_kind books[] = {STATE_SERVICES, STATE_CLAIMS, STATE_POOLS, STATE_RANGES,
                                            STATE_REQUESTS};
    (void)state;
    world->options.books_only = true;
    for (size_t i = 0; i < sizeof(books) / sizeof(books[0]); i++) {
        assert_false(state_is_synced(world));
        assert_true(state_watches(world, books[i]));
        state_replace_begin(world, books[i]);
        state_replace_end(world, books[i]);
    }
    assert_true(state_is_synced(world));
    assert_false(state_watches(world, STATE_NODES));
    world->options.books_only = false;
    assert_false(state_is_synced(world));
    assert_true(state_watches(world, STATE_NODES));
}

static void a_round_is_complete_when_its_list_has_ended(void **state)
{
    (void)state;
    state_replace_begin(world, STATE_REQUESTS);
    state_replace_begin(world, STATE_REQUESTS);
    assert_int_equal(world->completed[STATE_REQUESTS], 0);
    state_replace_end(world, STATE_REQUESTS);
    assert_int_equal(world->completed[STATE_REQUESTS], 2);
    assert_int_equal(world->completed[STATE_CLAIMS], 0);
}

/* --- the watch and the answers to requests are two streams: neither may undo what the other brought later --- */

static void answer(enum state_kind kind, const char *uid, const char *version, uint64_t since)
{
    assert_int_equal(state_put_answer(world, kind, sample(kind, "one", uid, version), since), 0);
}

static void a_late_answer_does_not_undo_what_the_watch_brought(void **state)
{
    (void)state;
    for (int i = 0; i < STATE_KINDS; i++) {
        enum state_kind kind = (enum state_kind)i;
        const char *key = samples[i].key;
        answer(kind, "u-1", "1", state_sequence(world));
        assert_string_equal(version_of(kind, key), "1");
        uint64_t since = state_sequence(world);
        assert_int_equal(state_put(world, kind, sample(kind, "one", "u-1", "3")), 0);
        answer(kind, "u-1", "2", since);
        assert_string_equal(version_of(kind, key), "3");
        answer(kind, "u-1", "4", state_sequence(world));
        assert_string_equal(version_of(kind, key), "4");
    }
}

/* A watch that lags brings earlier versions, and the end of an earlier object, while the answer is under way: the answer counts. */
static void an_answer_is_good_whatever_earlier_things_the_watch_brings(void **state)
{
    (void)state;
    for (int i = 0; i < STATE_KINDS; i++) {
        enum state_kind kind = (enum state_kind)i;
        const char *key = samples[i].key;
        put_sample(kind, "one", "u-1");
        uint64_t since = state_sequence(world);
        assert_int_equal(state_put(world, kind, sample(kind, "one", "u-1", "2")), 0);
        answer(kind, "u-2", "9", since);
        assert_string_equal(version_of(kind, key), "9");
        start_over();
        put_sample(kind, "one", "u-1");
        since = state_sequence(world);
        state_remove(world, kind, key, "u-1");
        answer(kind, "u-2", "9", since);
        assert_string_equal(version_of(kind, key), "9");
        start_over();
    }
}

static void a_late_answer_does_not_bring_back_what_is_gone(void **state)
{
    (void)state;
    for (int i = 0; i < STATE_KINDS; i++) {
        enum state_kind kind = (enum state_kind)i;
        const char *key = samples[i].key;
        put_sample(kind, "one", "u-1");
        uint64_t since = state_sequence(world);
        state_remove(world, kind, key, NULL);
        answer(kind, "u-1", "2", since);
        assert_false(is_there(kind, key));
        /* Made again after that: it is there. */
        answer(kind, "u-2", "3", state_sequence(world));
        assert_true(is_there(kind, key));
        start_over();
    }
}

/* Another removal is none of its business. */
static void an_answer_survives_the_removal_of_another(void **state)
{
    (void)state;
    put_sample(STATE_CLAIMS, "other", "u-1");
    uint64_t since = state_sequence(world);
    state_remove(world, STATE_CLAIMS, "other", NULL);
    answer(STATE_CLAIMS, "u-2", "1", since);
    assert_true(is_there(STATE_CLAIMS, "one"));
}

/* --- what went is remembered, as far as there is room --- */

static bool is_known_removed(const char *uid)
{
    mutex_guard(&world->mutex);
    return state_is_known_removed(world, uid);
}

static void a_removed_uid_is_remembered(void **state)
{
    (void)state;
    put_sample(STATE_SERVICES, "one", "u-1");
    assert_false(is_known_removed("u-1"));
    state_remove(world, STATE_SERVICES, "a/one", "u-0"); /* removes nothing */
    assert_false(is_known_removed("u-0"));
    state_remove(world, STATE_SERVICES, "a/one", "u-1");
    assert_true(is_known_removed("u-1"));
    assert_false(is_known_removed("u-2"));
    /* What a full list doesn't show any more is gone as well. */
    put_sample(STATE_SERVICES, "one", "u-2");
    state_replace_begin(world, STATE_SERVICES);
    state_replace_end(world, STATE_SERVICES);
    assert_true(is_known_removed("u-2"));
}

/* An object makes two marks: its key and its uid. */
static void remove_many(size_t marks)
{
    for (size_t i = 0; i < marks / 2; i++) {
        put_sample(STATE_CLAIMS, "passing", "u-passing");
        state_remove(world, STATE_CLAIMS, "passing", NULL);
    }
}

static void what_may_be_forgotten_is_taken_for_gone(void **state)
{
    (void)state;
    uint64_t begin = state_sequence(world);
    put_sample(STATE_CLAIMS, "one", "u-1");
    state_remove(world, STATE_CLAIMS, "one", NULL);
    remove_many(STATE_REMOVED - 2);
    assert_true(is_known_removed("u-1"));
    uint64_t middle = state_sequence(world);
    remove_many(2);
    assert_false(is_known_removed("u-1"));
    /* Whether it went since then isn't known any more. */
    answer(STATE_CLAIMS, "u-1", "1", begin);
    assert_false(is_there(STATE_CLAIMS, "one"));
    answer(STATE_CLAIMS, "u-1", "1", middle);
    assert_true(is_there(STATE_CLAIMS, "one"));
}

/* --- the look at everything --- */

#define SERVICE_WITH(annotations, spec, status)                                                    \
    "{'metadata':{'namespace':'a','name':'one','uid':'u','annotations':{" annotations "}},"        \
    "'spec':{" spec "},'status':{" status "}}"
#define CONDITION                                                                                  \
    "'conditions':[{'type':'ipcontroller.ext/"                                                     \
    "AddressAssigned','status':'False','reason':'NoPool'}]"

static void only_services_with_something_to_do_are_looked_at(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        bool told;
    } table[] = {
        {SERVICE_WITH("", "", ""), false},
        {SERVICE_WITH("", "'type':'NodePort'", ""), false},
        {SERVICE_WITH("'external-ip':'auto'", "", ""), true},
        {SERVICE_WITH("", "'externalIPs':['192.0.2.1']", ""), true},
        {SERVICE_WITH("", "'type':'LoadBalancer'", ""), true},
        {SERVICE_WITH("", "", "'loadBalancer':{'ingress':[{'ip':'192.0.2.1'}]}"), true},
        {SERVICE_WITH("", "", CONDITION), true},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        fixture_put_service(world, Q(table[i].json));
        told[0] = '\0';
        mutex_lock(&world->mutex);
        state_tell_all(world);
        mutex_unlock(&world->mutex);
        if (sample_was_told(STATE_SERVICES) != table[i].told)
            fail_msg("%s", table[i].json);
    }
}

static void all_other_kinds_are_looked_at(void **state)
{
    (void)state;
    for (int i = 0; i < STATE_KINDS; i++)
        put_sample((enum state_kind)i, "one", "u-1");
    told[0] = '\0';
    mutex_lock(&world->mutex);
    state_tell_all(world);
    mutex_unlock(&world->mutex);
    /* Of Nodes and EndpointSlices those are told that have to do with them. */
    for (int i = 0; i < STATE_KINDS; i++)
        assert_int_equal(sample_was_told((enum state_kind)i),
                         i != STATE_NODES && i != STATE_ENDPOINT_SLICES);
    /* The range that the request asks for isn't there. */
    assert_false(was_told("ipamranges/a/lan"));
}

/* --- activity --- */

static int64_t last_activity(void)
{
    return atomic_load(&world->last_activity);
}

static void only_what_is_new_is_activity(void **state)
{
    (void)state;
    state_note_activity(world);
    assert_int_equal(last_activity(), WORLD_BEGINS);
    for (enum state_kind kind = STATE_SERVICES; kind <= STATE_CLAIMS; kind++) {
        clock_fake_advance(&clock_now, CLOCK_SECOND);
        int64_t now = clock_monotonic(&clock_now.clock);
        put_sample(kind, "one", "u-1");
        assert_int_equal(last_activity(), now);
        clock_fake_advance(&clock_now, CLOCK_SECOND);
        put_sample(kind, "one", "u-1");
        assert_int_equal(last_activity(), now);
    }
    clock_fake_advance(&clock_now, CLOCK_SECOND);
    put_sample(STATE_SERVICES, "one", "u-2");
    assert_int_equal(last_activity(), clock_monotonic(&clock_now.clock));
}

/* --- options --- */

static void load_balancers_are_ours_by_option_and_class(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        bool served[3]; /* any, class, off */
    } table[] = {
        {"'type':'LoadBalancer'", {true, false, false}},
        {"'type':'LoadBalancer','loadBalancerClass':'ipcontroller.ext/ipwarden'",
         {true, true, false}},
        {"'type':'LoadBalancer','loadBalancerClass':'example.com/other'", {false, false, false}},
        {"'type':'NodePort'", {false, false, false}},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char json[256];
        snprintf(json, sizeof(json), "{'metadata':{'namespace':'a','name':'a'},'spec':{%s}}",
                 table[i].spec);
        _cleanup_service_ struct service *service = fixture_service(Q(json));
        for (int mode = 0; mode < 3; mode++) {
            world->options.load_balancer = (enum state_load_balancer)mode;
            if (state_serves_load_balancer(world, service) != table[i].served[mode])
                fail_msg("%s, mode %d", table[i].spec, mode);
        }
    }
}

static uint8_t primary_family(void)
{
    mutex_guard(&world->mutex);
    return state_primary_family(world);
}

static void the_family_is_that_of_the_cluster(void **state)
{
    (void)state;
    assert_int_equal(primary_family(), ADDRESS_IPV4);
    fixture_put_service(world, Q("{'metadata':{'namespace':'default','name':'kubernetes'},'spec':{"
                                 "'ipFamilies':['IPv6']}}"));
    assert_int_equal(primary_family(), ADDRESS_IPV6);
}

/* A live read overtakes the watch, which then brings what was before, be it another object of that name. What a full list
 * shows is taken as it is. */
static void an_older_version_decides_nothing(void **state)
{
    (void)state;
    for (enum state_kind kind = 0; kind < STATE_KINDS; kind++) {
        const char *key = samples[kind].key;
        for (int another = 0; another < 2; another++) {
            const char *uid = another ? "u-0" : "u-1";
            assert_int_equal(state_put(world, kind, sample(kind, "one", "u-1", "10")), 0);
            assert_int_equal(state_put(world, kind, sample(kind, "one", uid, "9")), 0);
            assert_string_equal(version_of(kind, key), "10");
            assert_int_equal(
                state_put_answer(world, kind, sample(kind, "one", uid, "8"), state_sequence(world)),
                0);
            assert_string_equal(version_of(kind, key), "10");
        }
        assert_int_equal(state_put(world, kind, sample(kind, "one", "u-1", "11")), 0);
        assert_string_equal(version_of(kind, key), "11");
        state_replace_begin(world, kind);
        assert_int_equal(state_put(world, kind, sample(kind, "one", "u-1", "3")), 0);
        state_replace_end(world, kind);
        assert_string_equal(version_of(kind, key), "3");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_can_not_be_read_is_known_to_be_there),
        TEST(every_kind_has_its_row),
        TEST(every_kind_comes_and_goes),
        TEST(a_full_list_drops_what_is_not_in_it),
        TEST(a_list_that_broke_off_counts_for_nothing),
        TEST(a_write_of_ours_during_a_list_stays),
        TEST(is_synced_when_all_kinds_were_listed),
        TEST(books_need_only_theirs),
        TEST(a_round_is_complete_when_its_list_has_ended),
        TEST(a_late_answer_does_not_undo_what_the_watch_brought),
        TEST(an_answer_is_good_whatever_earlier_things_the_watch_brings),
        TEST(a_late_answer_does_not_bring_back_what_is_gone),
        TEST(an_answer_survives_the_removal_of_another),
        TEST(a_removed_uid_is_remembered),
        TEST(an_older_version_decides_nothing),
        TEST(what_may_be_forgotten_is_taken_for_gone),
        TEST(only_services_with_something_to_do_are_looked_at),
        TEST(all_other_kinds_are_looked_at),
        TEST(only_what_is_new_is_activity),
        TEST(load_balancers_are_ours_by_option_and_class),
        TEST(the_family_is_that_of_the_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
