/* The index by address: what makes an address busy, when it is free again, and the choices that answers have named. */
#include "tests/unit/state_world.h"

#define BLUE "'addresses':['192.0.2.0/24']"
#define ADDRESS "192.0.2.1"

/* --- what makes busy --- */

static void by_claim(bool begin)
{
    if (begin)
        put_claim("c1", ADDRESS, "");
    else
        state_remove(world, STATE_CLAIMS, "c1", NULL);
}

static void by_older_claim(bool begin)
{
    if (begin)
        put_claim("older-name", ADDRESS, "");
    else
        state_remove(world, STATE_CLAIMS, "older-name", NULL);
}

static void by_external(bool begin)
{
    put_service("web", "u-1", begin ? "'" ADDRESS "'" : "");
}

static void by_removed_service(bool begin)
{
    if (begin)
        put_service("short", "u-2", "'" ADDRESS "'");
    else
        state_remove(world, STATE_SERVICES, "a/short", NULL);
}

static void by_ingress(bool begin)
{
    fixture_put_service(world, begin ? Q("{'metadata':{'namespace':'a','name':'balancer'},'status':"
                                         "{'loadBalancer':{'ingress':[{'ip':'" ADDRESS "'}]}}}")
                                     : Q("{'metadata':{'namespace':'a','name':'balancer'}}"));
}

static void by_claiming(bool begin)
{
    struct address address = fixture_address(ADDRESS);
    mutex_guard(&world->mutex);
    if (begin)
        assert_int_equal(state_claiming_begin(world, &address), 0);
    else
        state_claiming_end(world, &address);
}

static void by_choice(bool begin)
{
    struct address address = fixture_address(ADDRESS);
    mutex_guard(&world->mutex);
    if (begin)
        state_note_choice(world, &address);
    else
        state_forget_choice(world, &address);
}

static const struct {
    const char *name;
    void (*change)(bool begin);
} reasons[] = {
    {"claim", by_claim},
    {"older claim", by_older_claim},
    {"externalIPs", by_external},
    {"a Service that goes", by_removed_service},
    {"ingress", by_ingress},
    {"claiming", by_claiming},
    {"claiming, twice", by_claiming},
};
#define REASONS (sizeof(reasons) / sizeof(reasons[0]))

/* The book and the index agree, and room is told of exactly when there is some. */
static void check(size_t first, size_t second, bool busy, bool room)
{
    if (is_busy(ADDRESS) != busy || used_of("blue") != busy || was_told("room/") != room)
        fail_msg("%s, %s: busy %d, used %d, room %d", reasons[first].name, reasons[second].name,
                 is_busy(ADDRESS), (int)used_of("blue"), was_told("room/"));
    told[0] = '\0';
}

static void an_address_is_busy_until_its_last_reason_is_gone(void **state)
{
    (void)state;
    for (size_t i = 0; i < REASONS; i++)
        for (size_t j = 0; j < REASONS; j++) {
            bool twice = reasons[i].change != reasons[j].change || reasons[i].change == by_claiming;
            if (!twice)
                continue;
            fixture_synced(world);
            put_pool("blue", 1, 1, BLUE);
            told[0] = '\0';
            reasons[i].change(true);
            check(i, j, true, false);
            reasons[j].change(true);
            check(i, j, true, false);
            reasons[i].change(false);
            check(i, j, true, false);
            reasons[j].change(false);
            check(i, j, false, true);
            start_over();
        }
}

/* It is passed over when one is picked, and counts as free all the while. */
static void a_choice_is_known_and_not_busy(void **state)
{
    (void)state;
    fixture_synced(world);
    put_pool("blue", 1, 1, BLUE);
    told[0] = '\0';
    by_choice(true);
    assert_true(is_busy(ADDRESS));
    assert_false(used_of("blue"));
    by_choice(false);
    assert_false(is_busy(ADDRESS));
    assert_false(was_told("room/"));
}

static void an_address_that_stays_never_looks_free(void **state)
{
    (void)state;
    fixture_synced(world);
    put_pool("blue", 1, 1, BLUE);
    put_service("web", "1", "'192.0.2.1','192.0.2.2'");
    told[0] = '\0';
    put_service("web", "1", "'192.0.2.2','192.0.2.1'");
    put_service("web", "2", "'192.0.2.1','192.0.2.2'");
    assert_true(was_told("services/a/web"));
    assert_false(was_told("room/"));
    assert_false(was_told("ipclaimpools/blue"));
    put_claim("c1", "192.0.2.1", ENTRY("web", "2"));
    put_claim("c1", "192.0.2.1", ENTRY("web", "2"));
    assert_false(was_told("room/"));
    put_service("web", "2", "'192.0.2.1'");
    assert_true(was_told("room/"));
    assert_true(was_told("ipclaimpools/blue"));
}

/* Shown in two places it is one address. */
static void a_service_that_lists_an_address_twice_counts_once(void **state)
{
    (void)state;
    struct address address = fixture_address(ADDRESS);
    static const struct {
        const char *spec;
        const char *ingress;
        bool busy;
    } table[] = {
        {"'" ADDRESS "'", "{'ip':'" ADDRESS "'}", true},
        {"'" ADDRESS "'", "", true},
        {"", "{'ip':'" ADDRESS "'}", true},
        {"'" ADDRESS "'", "{'ip':'" ADDRESS "'}", true},
        {"", "", false},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char json[512];
        snprintf(json, sizeof(json),
                 "{'metadata':{'namespace':'a','name':'web','uid':'u'},'spec':{'externalIPs':[%s]},"
                 "'status':{'loadBalancer':{'ingress':[%s]}}}",
                 table[i].spec, table[i].ingress);
        fixture_put_service(world, Q(json));
        mutex_guard(&world->mutex);
        const struct state_address *entry = state_address(world, &address);
        assert_int_equal(entry != NULL ? entry->service_count : 0, table[i].busy);
    }
}

/* --- whose claim --- */

static void the_claim_of_a_service_is_found_among_others(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *uid;
        const char *claim; /* NULL: none */
    } table[] = {
        {"web", "u-1", "c1"},         {"friend", "u-2", "c1"},
        {"old", "u-9", "older-name"}, /* an entry without a uid goes by the name */
        {"web", "u-3", NULL},         /* a namesake */
        {"nobody", "u-4", NULL},
    };
    struct address address = fixture_address(ADDRESS);
    struct address other = fixture_address("192.0.2.2");
    put_claim("c1", ADDRESS, ENTRY("web", "u-1") "," ENTRY("friend", "u-2"));
    put_claim("older-name", ADDRESS, ENTRY("old", ""));
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char json[256];
        snprintf(json, sizeof(json), "{'metadata':{'namespace':'a','name':'%s','uid':'%s'}}",
                 table[i].name, table[i].uid);
        _cleanup_service_ struct service *service = fixture_service(Q(json));
        mutex_guard(&world->mutex);
        const struct state_claim *claim = state_claim_for(world, &address, service);
        assert_int_equal(claim != NULL, table[i].claim != NULL);
        if (claim != NULL)
            assert_string_equal(claim->object.meta->name, table[i].claim);
        assert_null(state_claim_for(world, &other, service));
    }
}

/* --- choices --- */

static void choose(const char *text)
{
    struct address address = fixture_address(text);
    mutex_guard(&world->mutex);
    state_note_choice(world, &address);
}

static void expire(void)
{
    mutex_guard(&world->mutex);
    state_expire_choices(world);
}

static size_t forget_oldest(size_t count)
{
    mutex_guard(&world->mutex);
    return state_forget_oldest_choices(world, count);
}

static void a_choice_lasts_its_time(void **state)
{
    (void)state;
    choose("192.0.2.1");
    clock_fake_advance(&clock_now, STATE_CHOICE_LASTS - 1);
    choose("192.0.2.2");
    expire();
    assert_true(is_busy("192.0.2.1") && is_busy("192.0.2.2"));
    clock_fake_advance(&clock_now, 1);
    expire();
    assert_true(!is_busy("192.0.2.1") && is_busy("192.0.2.2"));
    clock_fake_advance(&clock_now, STATE_CHOICE_LASTS);
    expire();
    assert_false(is_busy("192.0.2.2"));
}

static void a_choice_named_again_lasts_anew(void **state)
{
    (void)state;
    choose("192.0.2.1");
    choose("192.0.2.2");
    clock_fake_advance(&clock_now, STATE_CHOICE_LASTS / 2);
    choose("192.0.2.1");
    clock_fake_advance(&clock_now, STATE_CHOICE_LASTS / 2);
    expire();
    assert_true(is_busy("192.0.2.1") && !is_busy("192.0.2.2"));
}

static void the_oldest_choices_are_forgotten_first(void **state)
{
    (void)state;
    choose("192.0.2.1");
    choose("192.0.2.2");
    choose("192.0.2.3");
    choose("192.0.2.4");
    choose("192.0.2.2"); /* the youngest now */
    assert_int_equal(forget_oldest(2), 2);
    assert_true(!is_busy("192.0.2.1") && !is_busy("192.0.2.3"));
    assert_true(is_busy("192.0.2.2") && is_busy("192.0.2.4"));
    assert_int_equal(forget_oldest(5), 2);
    assert_int_equal(forget_oldest(5), 0);
    assert_int_equal(map_count(world->addresses), 0);
}

/* From the middle, from the end and from the beginning: the others stay in order. */
static void a_forgotten_choice_leaves_the_others(void **state)
{
    (void)state;
    static const char *const forgotten[] = {"192.0.2.1", "192.0.2.2", "192.0.2.3"};
    for (size_t i = 0; i < 3; i++) {
        struct address address = fixture_address(forgotten[i]);
        for (size_t j = 0; j < 3; j++)
            choose(forgotten[j]);
        mutex_lock(&world->mutex);
        state_forget_choice(world, &address);
        state_forget_choice(world, &address); /* there is none any more */
        mutex_unlock(&world->mutex);
        assert_false(is_busy(forgotten[i]));
        assert_int_equal(forget_oldest(1), 1);
        assert_false(is_busy(forgotten[i == 0 ? 1 : 0]));
        assert_true(is_busy(forgotten[i == 2 ? 1 : 2]));
        assert_int_equal(forget_oldest(2), 1);
    }
}

/* The choice has come to what it was for: when the claim goes, nothing is left of it. */
static void a_claim_ends_the_choice(void **state)
{
    (void)state;
    choose("192.0.2.1");
    put_claim("c1", "192.0.2.1", ENTRY("web", "u-1"));
    assert_int_equal(forget_oldest(1), 0);
    state_remove(world, STATE_CLAIMS, "c1", NULL);
    assert_false(is_busy("192.0.2.1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_address_is_busy_until_its_last_reason_is_gone),
        TEST(a_choice_is_known_and_not_busy),
        TEST(an_address_that_stays_never_looks_free),
        TEST(a_service_that_lists_an_address_twice_counts_once),
        TEST(the_claim_of_a_service_is_found_among_others),
        TEST(a_choice_lasts_its_time),
        TEST(a_choice_named_again_lasts_anew),
        TEST(the_oldest_choices_are_forgotten_first),
        TEST(a_forgotten_choice_leaves_the_others),
        TEST(a_claim_ends_the_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
