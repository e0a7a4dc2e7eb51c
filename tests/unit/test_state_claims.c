/* What is noted about the entries of claims: whether their Service was stored and listed the address, since when it hasn't, how
 * the claims are counted, and what the namespaces hold that isn't stored. */
#include "server/state/state.h"
#include "tests/unit/state_world.h"

/* --- stories of one claim and its Service --- */

#define NEVER (-1)

/* The claim c1 of 192.0.2.1 and the Service a/web, step by step: "claim UID SINCE" ("-" for none), "service UID .2" lists
 * 192.0.2.2, "hidden UID" can't be read, "gone" is a removal, "unlisted" a full list without it, "relisted UID" one in which it can't
 * be read, "wait" ten seconds. */
static const struct {
    const char *name;
    const char *steps;
    bool stored;
    bool listed;
    int absent; /* seconds after the beginning; NEVER: it lists the address */
    enum state_claim_class class;
} stories[] = {
    {"a claim alone", "claim u-1 then", false, false, 0, STATE_CLAIM_UNSTORED},
    {"written again, the time goes on", "claim u-1 then, wait, claim u-1 then", false, false, 0,
     STATE_CLAIM_UNSTORED},
    {"the Service comes", "claim u-1 then, wait, service u-1 .1", true, true, NEVER,
     STATE_CLAIM_HELD},
    {"the Service was there first", "service u-1 .1, wait, claim u-1 then", true, true, NEVER,
     STATE_CLAIM_HELD},
    {"the Service lists another address", "claim u-1 then, wait, service u-1 .2", true, false, 0,
     STATE_CLAIM_HELD},
    {"the Service goes", "claim u-1 then, service u-1 .1, wait, gone", true, true, 10,
     STATE_CLAIM_UNSTORED},
    {"the Service isn't listed any more", "claim u-1 then, service u-1 .1, wait, unlisted", true,
     true, 10, STATE_CLAIM_UNSTORED},
    {"the Service stops listing the address",
     "claim u-1 then, service u-1 .1, wait, service u-1 .2, wait", true, true, 10,
     STATE_CLAIM_HELD},
    {"and goes after that", "claim u-1 then, service u-1 .1, wait, service u-1 .2, wait, gone",
     true, true, 10, STATE_CLAIM_UNSTORED},
    {"what was seen outlives a new version of the claim",
     "claim u-1 then, service u-1 .1, wait, service u-1 .2, wait, claim u-1 then", true, true, 10,
     STATE_CLAIM_HELD},
    {"renewed: it isn't known to list the address, and the time begins again",
     "claim u-1 then, service u-1 .1, wait, service u-1 .2, wait, claim u-1 now", true, false, 20,
     STATE_CLAIM_HELD},
    {"renewed, and listed again",
     "claim u-1 then, service u-1 .2, claim u-1 now, wait, service u-1 .1, wait, service u-1 .2",
     true, true, 20, STATE_CLAIM_HELD},
    {"renewed for a Service that is gone: that it was there stays true",
     "claim u-1 then, service u-1 .1, gone, wait, claim u-1 now", true, false, 10,
     STATE_CLAIM_UNSTORED},
    {"a namesake is another Service", "claim u-1 then, wait, service u-2 .1", false, false, 0,
     STATE_CLAIM_UNSTORED},
    {"a namesake takes the place of the Service",
     "claim u-1 then, service u-1 .1, wait, service u-2 .1", true, true, 10, STATE_CLAIM_UNSTORED},
    {"named anew, what was seen of the first doesn't count",
     "claim u-1 then, service u-1 .1, wait, claim u-2 then", false, false, 10,
     STATE_CLAIM_UNSTORED},
    {"the Service came and went before the claim was seen",
     "service u-1 .1, gone, wait, claim u-1 then", true, false, 10, STATE_CLAIM_UNSTORED},
    {"or before a list of the Services", "service u-1 .1, unlisted, wait, claim u-1 then", true,
     false, 10, STATE_CLAIM_UNSTORED},
    {"another of that name came and went", "service u-2 .1, gone, wait, claim u-1 then", false,
     false, 10, STATE_CLAIM_UNSTORED},
    {"an entry of the older version goes by the name", "claim - -, wait, service u-1 .1", true,
     true, NEVER, STATE_CLAIM_HELD},
    {"and knows no uid that could have gone", "service u-1 .1, gone, wait, claim - -", false, false,
     10, STATE_CLAIM_UNSTORED},
    {"the Service is there and can't be read", "claim u-1 then, wait, hidden u-1, wait", false,
     false, NEVER, STATE_CLAIM_HELD},
    {"nor can its uid", "claim u-1 then, wait, hidden -, wait", false, false, NEVER,
     STATE_CLAIM_HELD},
    {"what can't be read is a namesake", "claim u-1 then, wait, hidden u-2", false, false, 0,
     STATE_CLAIM_UNSTORED},
    {"it can't be read any more", "claim u-1 then, service u-1 .1, wait, hidden u-1, wait", true,
     true, NEVER, STATE_CLAIM_HELD},
    {"whatever it listed before", "claim u-1 then, service u-1 .2, wait, hidden u-1, wait", true,
     false, NEVER, STATE_CLAIM_HELD},
    {"it is listed, and still can't be read",
     "claim u-1 then, service u-1 .1, wait, relisted u-1, wait", true, true, NEVER,
     STATE_CLAIM_HELD},
    {"it can be read again", "claim u-1 then, hidden u-1, wait, service u-1 .2, wait", true, false,
     10, STATE_CLAIM_HELD},
    {"it goes without having been read", "claim u-1 then, hidden u-1, wait, gone, wait", false,
     false, 10, STATE_CLAIM_UNSTORED},
    {"or isn't listed any more", "claim u-1 then, hidden u-1, wait, unlisted, wait", false, false,
     10, STATE_CLAIM_UNSTORED},
    {"it goes having been read", "claim u-1 then, service u-1 .1, hidden u-1, wait, gone", true,
     true, 10, STATE_CLAIM_UNSTORED},
    {"it is made anew and can't be read", "claim u-1 then, service u-1 .1, wait, hidden u-2, wait",
     true, true, 10, STATE_CLAIM_UNSTORED},
};

static void put_hidden(const char *uid)
{
    char key[] = "a/web";
    char namespace_name[] = "a";
    char copy[16];
    char version[] = "";
    snprintf(copy, sizeof(copy), "%s", *uid == '-' ? "" : uid);
    struct object_meta meta = {.key = key,
                               .namespace_name = namespace_name,
                               .name = key + 2,
                               .uid = copy,
                               .resource_version = version};
    (void)state_put_unreadable(world, STATE_SERVICES, &meta);
}

static void put_dated_claim(const char *uid, const char *since)
{
    char entry[256];
    snprintf(entry, sizeof(entry), "{'namespace':'a','name':'web','uid':'%s','since':'%s'}", uid,
             since);
    put_claim("c1", "192.0.2.1", entry);
}

static void take_step(const char *step)
{
    char what[16] = "";
    char uid[16] = "";
    char text[16] = "";
    char address[32];
    sscanf(step, "%15s %15s %15s", what, uid, text);
    if (strcmp(what, "claim") == 0) {
        put_dated_claim(*uid == '-' ? "" : uid, *text == '-' ? "" : text);
    } else if (strcmp(what, "service") == 0) {
        snprintf(address, sizeof(address), "'192.0.2%s'", text);
        put_service("web", uid, address);
    } else if (strcmp(what, "gone") == 0) {
        state_remove(world, STATE_SERVICES, "a/web", NULL);
    } else if (strcmp(what, "unlisted") == 0) {
        state_replace_begin(world, STATE_SERVICES);
        state_replace_end(world, STATE_SERVICES);
    } else if (strcmp(what, "hidden") == 0) {
        put_hidden(uid);
    } else if (strcmp(what, "relisted") == 0) {
        state_replace_begin(world, STATE_SERVICES);
        put_hidden(uid);
        state_replace_end(world, STATE_SERVICES);
    } else if (strcmp(what, "wait") == 0) {
        clock_fake_advance(&clock_now, 10 * CLOCK_SECOND);
    } else {
        fail_msg("%s", step);
    }
}

static void take_steps(const char *steps)
{
    char copy[512];
    char *rest = copy;
    snprintf(copy, sizeof(copy), "%s", steps);
    for (const char *step; (step = strsep(&rest, ",")) != NULL;)
        take_step(step);
}

/* A copy; its lists lead nowhere. */
static struct state_claim_entry entry_of(const char *name, size_t index)
{
    mutex_guard(&world->mutex);
    const struct state_claim *claim = state_claim(world, name);
    assert_non_null(claim);
    return claim->entries[index];
}

static enum state_claim_class class_of(const char *name)
{
    mutex_guard(&world->mutex);
    return state_claim(world, name)->class;
}

static void an_entry_notes_what_became_of_its_service(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(stories) / sizeof(stories[0]); i++) {
        fixture_synced(world);
        take_steps(stories[i].steps);
        struct state_claim_entry entry = entry_of("c1", 0);
        int absent = entry.absent_since == 0
                         ? NEVER
                         : (int)((entry.absent_since - WORLD_BEGINS) / CLOCK_SECOND);
        if (entry.was_stored != stories[i].stored || entry.was_listed != stories[i].listed ||
            absent != stories[i].absent || class_of("c1") != stories[i].class)
            fail_msg("%s: stored %d, listed %d, absent %d, class %d", stories[i].name,
                     entry.was_stored, entry.was_listed, absent, (int)class_of("c1"));
        start_over();
    }
}

static void absence_counts_from_the_full_list_of_services(void **state)
{
    (void)state;
    put_claim("c1", "192.0.2.1", ENTRY("web", "1"));
    clock_fake_advance(&clock_now, 60 * CLOCK_SECOND);
    assert_int_equal(entry_of("c1", 0).absent_since, 0);
    assert_int_equal(class_of("c1"), STATE_CLAIM_HELD);
    state_replace_begin(world, STATE_SERVICES);
    put_service("other", "2", "");
    assert_int_equal(entry_of("c1", 0).absent_since, 0);
    state_replace_end(world, STATE_SERVICES);
    assert_int_equal(entry_of("c1", 0).absent_since, WORLD_BEGINS + 60 * CLOCK_SECOND);
    assert_int_equal(class_of("c1"), STATE_CLAIM_UNSTORED);
    assert_true(was_told("ipclaims/c1"));
}

static void a_claim_of_the_same_name_is_another_when_its_address_is(void **state)
{
    (void)state;
    fixture_synced(world);
    put_service("web", "u-1", "'192.0.2.1'");
    put_claim("c1", "192.0.2.1", ENTRY("web", "u-1"));
    assert_true(entry_of("c1", 0).was_listed);
    put_claim("c1", "192.0.2.2", ENTRY("web", "u-1"));
    assert_false(entry_of("c1", 0).was_listed);
    assert_true(is_busy("192.0.2.2"));
    state_remove(world, STATE_CLAIMS, "c1", NULL);
    assert_false(is_busy("192.0.2.2"));
}

/* Each of two has its own. */
static void the_entries_of_a_claim_are_told_apart(void **state)
{
    (void)state;
    fixture_synced(world);
    put_claim("c1", "192.0.2.1", ENTRY("one", "u-1") "," ENTRY("two", "u-2"));
    put_service("two", "u-2", "'192.0.2.1'");
    assert_false(entry_of("c1", 0).was_stored);
    assert_true(entry_of("c1", 1).was_stored);
    assert_int_equal(class_of("c1"), STATE_CLAIM_UNSTORED);
    put_claim("c1", "192.0.2.1", ENTRY("two", "u-2") "," ENTRY("one", "u-1"));
    assert_true(entry_of("c1", 0).was_stored);
    assert_false(entry_of("c1", 1).was_stored);
    put_service("one", "u-1", "'192.0.2.1'");
    assert_int_equal(class_of("c1"), STATE_CLAIM_HELD);
    state_remove(world, STATE_SERVICES, "a/two", NULL);
    assert_int_equal(class_of("c1"), STATE_CLAIM_UNSTORED);
    put_claim("c1", "192.0.2.1", ENTRY("one", "u-1"));
    assert_int_equal(class_of("c1"), STATE_CLAIM_HELD);
}

/* --- who is told, who is named --- */

static void who_loses_a_claim_is_looked_at(void **state)
{
    (void)state;
    fixture_synced(world);
    put_service("web", "u-1", "'192.0.2.1'");
    put_service("friend", "u-2", "'192.0.2.1'");
    put_claim("c1", "192.0.2.1", ENTRY("web", "u-1") "," ENTRY("friend", "u-2"));
    told[0] = '\0';
    put_claim("c1", "192.0.2.1", ENTRY("web", "u-1"));
    assert_true(was_told("services/a/friend"));
    assert_false(was_told("services/a/web"));
    told[0] = '\0';
    state_remove(world, STATE_CLAIMS, "c1", "c-c1");
    assert_true(was_told("services/a/web"));
    assert_true(was_told("ipclaims/c1"));
}

static void a_claim_is_told_when_its_service_changes(void **state)
{
    (void)state;
    fixture_synced(world);
    put_claim("c1", "192.0.2.1", ENTRY("web", "u-1"));
    put_claim("c2", "192.0.2.2", ENTRY("other", "u-2"));
    static const char *const steps[] = {"service u-1 .1", "service u-1 .3", "gone"};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        told[0] = '\0';
        take_step(steps[i]);
        assert_true(was_told("ipclaims/c1"));
        assert_false(was_told("ipclaims/c2"));
    }
}

static size_t claims_of(const char *key)
{
    size_t count;
    mutex_guard(&world->mutex);
    (void)state_claims_of(world, key, &count);
    return count;
}

static void the_claims_of_a_service_are_known(void **state)
{
    (void)state;
    assert_int_equal(claims_of("a/web"), 0);
    put_claim("c1", "192.0.2.1", ENTRY("web", "u-1") "," ENTRY("web", "u-2"));
    put_claim("c2", "192.0.2.2", ENTRY("web", "u-1") "," ENTRY("friend", "u-3"));
    assert_int_equal(claims_of("a/web"), 2);
    assert_int_equal(claims_of("a/friend"), 1);
    put_claim("c2", "192.0.2.2", ENTRY("friend", "u-3"));
    assert_int_equal(claims_of("a/web"), 1);
    state_remove(world, STATE_CLAIMS, "c1", NULL);
    assert_int_equal(claims_of("a/web"), 0);
    assert_int_equal(claims_of("a/friend"), 1);
}

/* --- totals --- */

static void assert_totals(size_t held, size_t unstored, size_t hold)
{
    mutex_guard(&world->mutex);
    assert_int_equal(world->claim_totals[STATE_CLAIM_HELD], held);
    assert_int_equal(world->claim_totals[STATE_CLAIM_UNSTORED], unstored);
    assert_int_equal(world->claim_totals[STATE_CLAIM_HOLD], hold);
}

static void claims_are_counted_by_what_they_are(void **state)
{
    (void)state;
    fixture_synced(world);
    put_claim("hold", "192.0.2.9", "");
    assert_totals(0, 0, 1);
    put_claim("c1", "192.0.2.1", ENTRY("web", "u-1"));
    put_claim("c2", "192.0.2.2", ENTRY("web", "u-1"));
    put_claim("c3", "192.0.2.3", ENTRY("other", "u-2"));
    assert_totals(0, 3, 1);
    put_service("web", "u-1", "'192.0.2.1'"); /* both name it, whatever it lists */
    assert_totals(2, 1, 1);
    put_claim("c2", "192.0.2.2", "");
    assert_totals(1, 1, 2);
    put_claim("hold", "192.0.2.9", ENTRY("web", "u-1"));
    assert_totals(2, 1, 1);
    state_remove(world, STATE_SERVICES, "a/web", NULL);
    assert_totals(0, 3, 1);
    state_remove(world, STATE_CLAIMS, "c1", NULL);
    state_remove(world, STATE_CLAIMS, "c2", NULL);
    assert_totals(0, 2, 0);
    state_replace_begin(world, STATE_CLAIMS);
    state_replace_end(world, STATE_CLAIMS);
    assert_totals(0, 0, 0);
}

/* --- what a namespace holds without having it stored --- */

#define AGE (5 * CLOCK_SECOND)

static size_t unstored(const char *namespace_name, size_t most)
{
    mutex_guard(&world->mutex);
    return state_tenant_unstored(world, namespace_name, AGE, most);
}

/* Claim c<i> of address 192.0.2.<i> for a/s<i>. */
static void put_numbered(int i)
{
    char name[16];
    char address[32];
    char entry[128];
    snprintf(name, sizeof(name), "c%d", i);
    snprintf(address, sizeof(address), "192.0.2.%d", i);
    snprintf(entry, sizeof(entry), "{'namespace':'a','name':'s%d','uid':'u-%d'}", i, i);
    put_claim(name, address, entry);
}

static void what_is_old_and_not_stored_is_counted(void **state)
{
    (void)state;
    fixture_synced(world);
    for (int i = 1; i <= 4; i++)
        put_numbered(i);
    put_claim("hold", "192.0.2.200", "");
    assert_int_equal(unstored("a", 3), 0); /* too young */
    clock_fake_advance(&clock_now, AGE - 1);
    put_numbered(5);
    assert_int_equal(unstored("a", 3), 0);
    clock_fake_advance(&clock_now, 1);
    assert_int_equal(unstored("a", 3), 3); /* no further */
    assert_int_equal(unstored("a", 4), 4);
    assert_int_equal(unstored("a", 5), 4);
    assert_int_equal(unstored("a", 6), 4);
    assert_int_equal(unstored("b", 1), 0);
    put_service("s1", "u-1", "");
    assert_int_equal(unstored("a", 4), 3);
    state_remove(world, STATE_CLAIMS, "c2", NULL);
    assert_int_equal(unstored("a", 3), 2);
    /* Gone again: its entry is a young one. */
    state_remove(world, STATE_SERVICES, "a/s1", NULL);
    assert_int_equal(unstored("a", 4), 2);
    clock_fake_advance(&clock_now, AGE);
    assert_int_equal(unstored("a", 4), 4);
}

static void a_new_version_of_a_claim_keeps_its_age(void **state)
{
    (void)state;
    fixture_synced(world);
    put_numbered(1);
    put_numbered(2);
    put_numbered(3);
    clock_fake_advance(&clock_now, AGE);
    /* From the beginning, the middle and the end of the list. */
    for (int i = 1; i <= 3; i++) {
        put_numbered(i);
        assert_int_equal(unstored("a", 3), 3);
    }
    /* For another Service it is a new one. */
    put_claim("c2", "192.0.2.2", ENTRY("s2", "u-other"));
    assert_int_equal(unstored("a", 3), 2);
    put_claim("c1", "192.0.2.1", "");
    assert_int_equal(unstored("a", 1), 1);
    state_remove(world, STATE_CLAIMS, "c3", NULL);
    assert_int_equal(unstored("a", 1), 0);
    state_remove(world, STATE_CLAIMS, "c2", NULL);
    assert_int_equal(map_count(world->tenants), 0);
}

static void nothing_counts_before_the_services_are_known(void **state)
{
    (void)state;
    put_numbered(1);
    clock_fake_advance(&clock_now, 2 * AGE);
    assert_int_equal(unstored("a", 1), 0);
    state_replace_begin(world, STATE_SERVICES);
    state_replace_end(world, STATE_SERVICES);
    assert_int_equal(unstored("a", 1), 0);
    clock_fake_advance(&clock_now, AGE);
    assert_int_equal(unstored("a", 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_entry_notes_what_became_of_its_service),
        TEST(absence_counts_from_the_full_list_of_services),
        TEST(a_claim_of_the_same_name_is_another_when_its_address_is),
        TEST(the_entries_of_a_claim_are_told_apart),
        TEST(who_loses_a_claim_is_looked_at),
        TEST(a_claim_is_told_when_its_service_changes),
        TEST(the_claims_of_a_service_are_known),
        TEST(claims_are_counted_by_what_they_are),
        TEST(what_is_old_and_not_stored_is_counted),
        TEST(a_new_version_of_a_claim_keeps_its_age),
        TEST(nothing_counts_before_the_services_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
