/* Deciding and writing where this replica's memory lags behind: others are faster, and what a no would rest on is read first. */
#include "tests/unit/grant_fixture.h"

/* --- choosing --- */

static void choose(const char *service, const char *expected)
{
    struct outcome outcome;
    begin(&(struct ask){.service = service, .stage = ASK_CHOOSE}, &outcome);
    assert_int_equal(outcome.calls, 1);
    assert_granted(&outcome, expected);
    assert_string_equal(outcome.external, expected);
}

static void what_was_chosen_is_not_chosen_again_for_a_while(void **state)
{
    (void)state;
    choose(CHOSEN("one", ""), "192.0.2.1");
    choose(CHOSEN("two", ""), "192.0.2.2");
    clock_fake_advance(&stands_still, STATE_CHOICE_LASTS - 1);
    choose(CHOSEN("three", ""), "192.0.2.3");
    clock_fake_advance(&stands_still, 1);
    choose(CHOSEN("four", ""), "192.0.2.1");
    assert_requests("");
}

static void a_choice_that_is_asked_about_again_is_kept(void **state)
{
    (void)state;
    choose(CHOSEN("one", ""), "192.0.2.1");
    choose(CHOSEN("one", "'192.0.2.1'"), "192.0.2.1");
    choose(CHOSEN("two", ""), "192.0.2.2");
}

static void when_nothing_else_is_free_the_oldest_choice_is_given_again(void **state)
{
    (void)state;
    fixture_put_pool(world,
                     Q("{'metadata':{'name':'blue'},'spec':{'addresses':['192.0.2.0/30']}}"));
    choose(CHOSEN("one", ""), "192.0.2.1");
    choose(CHOSEN("two", ""), "192.0.2.2");
    choose(CHOSEN("three", ""), "192.0.2.1");
    choose(CHOSEN("four", ""), "192.0.2.2");
    assert_requests("");
}

static void a_choice_is_claimed_by_whoever_comes_first(void **state)
{
    (void)state;
    struct outcome outcome;
    choose(CHOSEN("one", ""), "192.0.2.1");
    ask(&(struct ask){.service = CHOSEN("one", "'192.0.2.1'")}, &outcome);
    assert_granted(&outcome, "192.0.2.1");
    ask(&(struct ask){.service = CHOSEN("two", "'192.0.2.1'")}, &outcome);
    assert_outcome(&outcome, POLICY_RETRY);
    assert_requests("POST GET/" ONE);
    choose(CHOSEN("two", ""), "192.0.2.2");
}

/* --- another replica was faster --- */

static void a_taken_address_is_learnt_and_another_is_taken(void **state)
{
    (void)state;
    struct outcome outcome;
    fixture_put_pool(world,
                     Q("{'metadata':{'name':'blue'},'spec':{'addresses':['192.0.2.0/30']}}"));
    fake_cluster_put(cluster, CLAIM_PATH "/" ONE, CLAIM(ONE, "192.0.2.1", "other"));
    ask_for_web(&outcome);
    assert_granted(&outcome, "192.0.2.2");
    assert_requests("POST GET/" ONE " POST");
    assert_true(knows_claim(ONE) && knows_claim(TWO));
}

static void a_post_that_had_succeeded_before_is_found_to_be_ours(void **state)
{
    (void)state;
    struct outcome outcome;
    fake_cluster_put(cluster, CLAIM_PATH "/" ONE, CLAIM(ONE, "192.0.2.1", "web"));
    ask_for_web(&outcome);
    assert_granted(&outcome, "192.0.2.1");
    assert_requests("POST GET/" ONE);
}

static void what_went_meanwhile_is_tried_again(void **state)
{
    (void)state;
    struct outcome outcome;
    fixture_put_pool(world, Q(TINY));
    answer("POST", 409, "{'kind':'Status','reason':'AlreadyExists','code':409}");
    ask_for_web(&outcome);
    assert_granted(&outcome, "192.0.2.1");
    assert_requests("POST GET/" ONE " POST");
}

/* Who would be told no is told so by what the server has. */
static void the_last_address_may_be_gone(void **state)
{
    (void)state;
    struct outcome outcome;
    fixture_put_pool(world, Q(STRICT));
    fake_cluster_put(cluster, POOL_PATH "/blue", STRICT);
    fake_cluster_put(cluster, CLAIM_PATH "/" ONE, CLAIM(ONE, "192.0.2.1", "other"));
    ask_for_web(&outcome);
    assert_outcome(&outcome, POLICY_REFUSED);
    assert_non_null(strstr(outcome.text, "1 of 1"));
    assert_memory_equal(fake_cluster_requests(cluster, 0), "POST GET/" ONE " ",
                        strlen("POST GET/" ONE " "));
    assert_listed(2);
}

static void a_choice_that_is_lost_has_to_be_made_again(void **state)
{
    (void)state;
    struct outcome outcome;
    fake_cluster_put(cluster, CLAIM_PATH "/" ONE, CLAIM(ONE, "192.0.2.1", "other"));
    ask(&(struct ask){.service = CHOSEN("web", "'192.0.2.1'")}, &outcome);
    assert_outcome(&outcome, POLICY_RETRY);
    assert_requests("POST GET/" ONE " GET/" ONE);
    choose(CHOSEN("web", ""), "192.0.2.2");
}

static void what_is_listed_by_hand_and_taken_is_refused(void **state)
{
    (void)state;
    struct outcome outcome;
    fake_cluster_put(cluster, CLAIM_PATH "/" ONE,
                     "{'metadata':{'name':'" ONE "','uid':'c','resourceVersion':'7'},'spec':{"
                     "'cidr':'192.0.2.1','services':[{'namespace':'b','name':'x','uid':'u'}]}}");
    ask(&(struct ask){.service = LISTS("web", "'192.0.2.1'")}, &outcome);
    assert_outcome(&outcome, POLICY_REFUSED);
    assert_non_null(strstr(outcome.text, "belongs to Service b/x"));
}

/* --- a no that rests on memory --- */

/* What this replica knows, and the server doesn't any more, or not yet. */
struct memory_case {
    const char *name;
    const char *pool;    /* known; NULL: none */
    const char *claim;   /* known */
    const char *service; /* known */
    const char *served;  /* a pool that the server has */
    struct ask ask;
    const char *external;
    const char *given;
};

static const struct memory_case memories[] = {
    {.name = "the claim is gone",
     .pool = BLUE,
     .claim = CLAIM(ONE, "192.0.2.1", "other"),
     .ask = {.service = CHOSEN("web", "'192.0.2.1'")},
     .external = "192.0.2.1",
     .given = "192.0.2.1"},
    {.name = "the Service that lists it is gone",
     .pool = BLUE,
     .service = LISTS("other", "'192.0.2.1'"),
     .ask = {.service = LISTS("web", "'192.0.2.1'")},
     .external = "192.0.2.1",
     .given = ""},
    {.name = "the pool is new",
     .served = BLUE,
     .ask = {.service = WEB},
     .external = "",
     .given = "192.0.2.1"},
    {.name = "the pool is new, for the mutating call",
     .served = BLUE,
     .ask = {.service = CHOSEN("web", ""), .stage = ASK_CHOOSE},
     .external = "192.0.2.1",
     .given = "192.0.2.1"},
    {.name = "the pool isn't full any more",
     .pool = STRICT,
     .claim = CLAIM(ONE, "192.0.2.1", "other"),
     .served = STRICT,
     .ask = {.service = CHOSEN("web", ""), .stage = ASK_CHOOSE},
     .external = "192.0.2.1",
     .given = "192.0.2.1"},
    {.name = "the pool isn't full any more: a dry run is told the truth as well",
     .pool = STRICT,
     .claim = CLAIM(ONE, "192.0.2.1", "other"),
     .served = STRICT,
     .ask = {.service = WEB, .dry_run = true},
     .external = "",
     .given = "192.0.2.1"},
};

static void a_no_is_read_live_before_it_is_said(void **state)
{
    for (size_t i = 0; i < sizeof(memories) / sizeof(memories[0]); i++) {
        const struct memory_case *row = &memories[i];
        struct outcome outcome;
        print_message("    %s\n", row->name);
        state_remove(world, STATE_POOLS, "blue", NULL);
        if (row->pool != NULL)
            fixture_put_pool(world, Q(row->pool));
        if (row->claim != NULL)
            fixture_put_claim(world, Q(row->claim));
        if (row->service != NULL)
            fixture_put_service(world, Q(row->service));
        if (row->served != NULL)
            fake_cluster_put(cluster, POOL_PATH "/blue", row->served);
        ask(&row->ask, &outcome);
        assert_granted(&outcome, row->given);
        assert_string_equal(outcome.external, row->external);
        tear_down(state);
        set_up(state);
    }
}

/* The reconciler looks again whenever something changes. */
static void a_stored_service_waits_without_a_read(void **state)
{
    (void)state;
    struct outcome outcome;
    fixture_put_pool(world, Q(TINY));
    fixture_put_claim(world, Q(CLAIM(ONE, "192.0.2.1", "other")));
    begin(&(struct ask){.service = WEB, .stage = ASK_STORED}, &outcome);
    assert_int_equal(outcome.calls, 1);
    assert_outcome(&outcome, POLICY_WAITING);
    assert_requests("");
}

static void a_crowded_namespace_is_told_so_without_a_read(void **state)
{
    (void)state;
    struct outcome outcome;
    fixture_put_claim(world, Q(CLAIM(ONE, "192.0.2.1", "lost")));
    fixture_put_claim(world, Q(CLAIM(TWO, "192.0.2.2", "lost-too")));
    clock_fake_advance(&stands_still, POLICY_UNSTORED_AGE);
    begin(&(struct ask){.service = WEB}, &outcome);
    assert_int_equal(outcome.calls, 1);
    assert_outcome(&outcome, POLICY_RETRY);
    assert_true(outcome.crowded);
    assert_requests("");
}

/* --- claims that are shared --- */

static void a_patch_that_conflicts_is_made_from_what_is_there(void **state)
{
    (void)state;
    struct outcome outcome;
    fixture_put_claim(world, Q(CLAIM(ONE, "192.0.2.1", "first")));
    fake_cluster_put(cluster, CLAIM_PATH "/" ONE,
                     "{'metadata':{'name':'" ONE "','uid':'c-" ONE
                     "','resourceVersion':'8'},'spec':{'cidr':'192.0.2.1','services':[" ENTRY(
                         "first") ",{'namespace':'a','name':'friend','ports':['TCP/1']}]}}");
    ask(&(struct ask){.service = LISTS("web", "'192.0.2.1'")}, &outcome);
    assert_granted(&outcome, "");
    assert_requests("PATCH/" ONE " GET/" ONE " PATCH/" ONE);
    const char *claim = fake_cluster_get(cluster, CLAIM_PATH "/" ONE);
    assert_non_null(strstr(claim, "first"));
    assert_non_null(strstr(claim, "friend"));
    assert_non_null(strstr(claim, "web"));
}

static void a_shared_claim_that_is_gone_is_made_anew(void **state)
{
    (void)state;
    struct outcome outcome;
    fixture_put_claim(world, Q(CLAIM(ONE, "192.0.2.1", "first")));
    ask(&(struct ask){.service = LISTS("web", "'192.0.2.1'")}, &outcome);
    assert_granted(&outcome, "");
    assert_requests("PATCH/" ONE " GET/" ONE " POST");
}

/* An edit lists an address again whose claim may be on its way out: a write says whether it is. */
static void an_address_that_is_listed_again_is_renewed(void **state)
{
    (void)state;
    struct outcome outcome;
    fixture_put_claim(world, Q(CLAIM(ONE, "192.0.2.1", "web")));
    ask(&(struct ask){.service = LISTS("web", "'192.0.2.1'"), .old = LISTS("web", "")}, &outcome);
    assert_granted(&outcome, "");
    assert_requests("PATCH/" ONE " GET/" ONE " POST");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_chosen_is_not_chosen_again_for_a_while),
        TEST(a_choice_that_is_asked_about_again_is_kept),
        TEST(when_nothing_else_is_free_the_oldest_choice_is_given_again),
        TEST(a_choice_is_claimed_by_whoever_comes_first),
        TEST(a_taken_address_is_learnt_and_another_is_taken),
        TEST(a_post_that_had_succeeded_before_is_found_to_be_ours),
        TEST(what_went_meanwhile_is_tried_again),
        TEST(the_last_address_may_be_gone),
        TEST(a_choice_that_is_lost_has_to_be_made_again),
        TEST(what_is_listed_by_hand_and_taken_is_refused),
        TEST(a_no_is_read_live_before_it_is_said),
        TEST(a_stored_service_waits_without_a_read),
        TEST(a_crowded_namespace_is_told_so_without_a_read),
        TEST(a_patch_that_conflicts_is_made_from_what_is_there),
        TEST(a_shared_claim_that_is_gone_is_made_anew),
        TEST(an_address_that_is_listed_again_is_renewed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
