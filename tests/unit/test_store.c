/* The certificate store, one situation at a time. test_store_interleavings.c mixes them at
 * random. */
#include "tests/unit/certs_world.h"

static struct world_replica *const one = &world.replicas[0];
static struct world_replica *const two = &world.replicas[1];
static struct world_replica *const three = &world.replicas[2];

static int begin(void **state)
{
    (void)state;
    world_begin(WORLD_ENTRIES);
    return 0;
}

static int end(void **state)
{
    (void)state;
    world_end();
    return 0;
}

static void start_settled(size_t replicas)
{
    for (size_t i = 0; i < replicas; i++)
        world_start(&world.replicas[i]);
    world_run(20 * CLOCK_SECOND);
    world_assert_settled();
}

static void test_first_start(void **state)
{
    static const char *const steps[] = {"create", "announce", "serve", "publish"};
    int64_t delay = -1;
    (void)state;
    world_start(one);
    assert_null(certs_store_serving(one->store));
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        assert_int_equal(world_tick(one, &delay), 0);
        assert_non_null(certs_store_last_step(one->store));
        assert_string_equal(certs_store_last_step(one->store), steps[i]);
        assert_int_equal(delay, 0);
    }
    assert_int_equal(world_tick(one, &delay), 0);
    assert_null(certs_store_last_step(one->store));
    assert_int_equal(delay, 5 * CLOCK_SECOND);
    world_assert_settled();
    assert_string_equal(certs_store_serving(one->store)->chain_pem, world.secret.chain_pem);
    assert_string_equal(certs_store_bundle(one->store)->path, world.secret.path);
    assert_int_equal(world.writes, 1);
}

/* Two on an empty cluster: the second one's creation comes too late. */
static int other_first(struct world_replica *replica, enum world_operation operation, bool after)
{
    if (replica == one && operation == SAVE && !after && !world.present)
        assert_int_equal(world_tick(two, NULL), 0);
    return 0;
}

static void test_simultaneous_start(void **state)
{
    (void)state;
    world_start(one);
    world_start(two);
    world.disturb = other_first;
    int64_t delay = 0;
    assert_int_equal(world_tick(one, &delay), 0);
    assert_true(delay > 0 && delay <= CLOCK_SECOND);
    assert_int_equal(world.writes, 1);
    world_run(20 * CLOCK_SECOND);
    world_assert_settled();
    assert_int_equal(world.writes, 1);
}

static void test_renewal(void **state)
{
    (void)state;
    start_settled(2);
    char *before = world_copy(world.secret.chain_pem);
    char *authority = world_copy(world.secret.ca_pem);
    world_advance(60 * CERTS_DAY - 150 * CLOCK_SECOND);
    world_run(10 * CLOCK_SECOND);
    assert_string_equal(world.secret.chain_pem, before);
    world_advance(60 * CLOCK_SECOND);
    world_run(10 * CLOCK_SECOND);
    assert_string_not_equal(world.secret.chain_pem, before);
    assert_string_equal(world.secret.ca_pem, authority);
    world_assert_settled();
    assert_int_equal(world.writes, 2);
    free(before);
    free(authority);
}

static void test_rotation(void **state)
{
    (void)state;
    start_settled(3);
    char *old_ca = world_copy(world.secret.ca_pem);
    char *old_leaf = world_copy(world.secret.chain_pem);
    assert_true(world_rotate());
    assert_int_equal(world_condition().phase, CERTS_PHASE_DISTRIBUTING);
    /* Published soon, but used only after the settling time. */
    world_run(5 * CLOCK_SECOND);
    assert_string_equal(world.entries[0].ca_pem, world.secret.ca_pem);
    assert_string_equal(world.secret.chain_pem, old_leaf);
    world_run(8 * CLOCK_SECOND);
    assert_int_equal(world_condition().phase, CERTS_PHASE_SWITCHED);
    assert_string_not_equal(one->serving_pem, old_leaf);
    /* The old authority stays for as long again. */
    assert_true(certs_list_contains(world.entries[1].ca_pem, old_ca));
    world_run(15 * CLOCK_SECOND);
    world_assert_settled();
    assert_false(certs_list_contains(world.entries[1].ca_pem, old_ca));
    assert_int_equal(world.writes, 4);
    free(old_ca);
    free(old_leaf);
}

/* A replica that is alive but doesn't reload holds the old authority; once dead, it doesn't. */
static void test_rotation_waits_for_all(void **state)
{
    (void)state;
    start_settled(2);
    char *old_ca = world_copy(world.secret.ca_pem);
    assert_true(world_rotate());
    for (int i = 0; i < 60; i++) {
        two->alive = false;
        world_run(CLOCK_SECOND);
        two->alive = true;
        two->announced_at = world.now; /* its heart beats, no more */
    }
    assert_int_equal(world_condition().phase, CERTS_PHASE_SWITCHED);
    assert_true(certs_list_contains(world.entries[0].ca_pem, old_ca));
    world_kill(two);
    world_run(35 * CLOCK_SECOND);
    assert_true(certs_list_contains(world.entries[0].ca_pem, old_ca));
    world_run(20 * CLOCK_SECOND);
    assert_false(certs_list_contains(world.entries[0].ca_pem, old_ca));
    world_assert_settled();
    free(old_ca);
}

/* Begun with nobody there, carried through by whoever comes. */
static void test_rotation_resumes(void **state)
{
    (void)state;
    start_settled(1);
    for (int phase = 0; phase < 3; phase++) {
        assert_true(phase > 0 || world_rotate());
        world_kill(one);
        world_advance(60 * CLOCK_SECOND);
        world_start(phase % 2 == 0 ? two : three);
        world_run(phase < 2 ? 11 * CLOCK_SECOND : 60 * CLOCK_SECOND);
        if (phase < 2)
            world_kill(phase % 2 == 0 ? two : three);
    }
    world_assert_settled();
}

static void test_authority_renewal(void **state)
{
    (void)state;
    start_settled(2);
    char *old_ca = world_copy(world.secret.ca_pem);
    world.timeless = true;
    world_advance(2434 * CERTS_DAY); /* two thirds of ten years */
    world_run(60 * CLOCK_SECOND);
    assert_false(certs_list_contains(world.secret.ca_pem, old_ca));
    world_assert_settled();
    free(old_ca);
}

static void test_expired_at_start(void **state)
{
    static const int64_t ages[] = {91 * CERTS_DAY, 3651 * CERTS_DAY};
    (void)state;
    for (size_t i = 0; i < sizeof(ages) / sizeof(ages[0]); i++) {
        world_start(one);
        world_run(20 * CLOCK_SECOND);
        char *path = world_copy(world.secret.path);
        world_kill(one);
        world_advance(ages[i]);
        world_start(two);
        world_start(three);
        world_run(60 * CLOCK_SECOND);
        world_assert_settled();
        assert_string_equal(world.secret.path, path);
        free(path);
        world_kill(two);
        world_kill(three);
    }
}

/* Half a rotation, then nobody for longer than the leaf lives: its authority's key is gone. */
static void test_expired_while_distributing(void **state)
{
    (void)state;
    start_settled(1);
    assert_true(world_rotate());
    world_kill(one);
    world_advance(91 * CERTS_DAY);
    world_start(two);
    world_run(60 * CLOCK_SECOND);
    world_assert_settled();
}

struct damage {
    const char *what;
    size_t offset; /* of the text that is damaged */
    const char *instead;
    bool keeps_leaf;
};

static char **secret_text(size_t offset)
{
    return (char **)(void *)((char *)&world.secret + offset);
}

static const struct damage damages[] = {
    {"no leaf", offsetof(struct certs_bundle, chain_pem), "", false},
    {"broken leaf", offsetof(struct certs_bundle, chain_pem),
     "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", false},
    {"no key", offsetof(struct certs_bundle, key_pem), "", false},
    {"broken key", offsetof(struct certs_bundle, key_pem), "a key", false},
    {"no authorities", offsetof(struct certs_bundle, ca_pem), "", true},
    {"broken authorities", offsetof(struct certs_bundle, ca_pem), "-----BEGIN CERTIFICATE-----\n",
     true},
    {"no authority key", offsetof(struct certs_bundle, ca_key_pem), "", true},
};

static void damage_secret(const struct damage *damage)
{
    char **text = secret_text(damage->offset);
    free(*text);
    *text = world_copy(damage->instead);
    world.version++;
}

/* A damaged Secret, with replicas running that remember a good one. */
static void test_damage_while_running(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        start_settled(2);
        char *path = world_copy(world.secret.path);
        char *ca = world_copy(world.secret.ca_pem);
        char *leaf = world_copy(world.secret.chain_pem);
        damage_secret(&damages[i]);
        world_run(60 * CLOCK_SECOND);
        world_assert_settled();
        assert_string_equal(world.secret.path, path);
        assert_string_equal(world.secret.ca_pem, ca);
        if (damages[i].keeps_leaf)
            assert_string_equal(world.secret.chain_pem, leaf);
        free(path);
        free(ca);
        free(leaf);
        world_end();
        world_begin(WORLD_ENTRIES);
    }
}

/* The same with nobody there who remembers. */
static void test_damage_before_start(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        start_settled(1);
        char *path = world_copy(world.secret.path);
        world_kill(one);
        world_advance(60 * CLOCK_SECOND);
        damage_secret(&damages[i]);
        world_start(two);
        world_run(60 * CLOCK_SECOND);
        world_assert_settled();
        assert_string_equal(world.secret.path, path);
        free(path);
        world_end();
        world_begin(WORLD_ENTRIES);
    }
}

static void delete_secret(void)
{
    certs_bundle_clear(&world.secret);
    world.present = false;
}

static void test_deleted_while_running(void **state)
{
    (void)state;
    start_settled(2);
    char *ca = world_copy(world.secret.ca_pem);
    char *path = world_copy(world.secret.path);
    delete_secret();
    world_run(60 * CLOCK_SECOND);
    world_assert_settled();
    assert_string_equal(world.secret.ca_pem, ca);
    assert_string_equal(world.secret.path, path);
    free(ca);
    free(path);
}

/* A newcomer makes the Secret again before those who serve the old certificate notice that it
 * has gone. */
static void test_deleted_and_made_by_newcomer(void **state)
{
    (void)state;
    start_settled(1);
    char *ca = world_copy(world.secret.ca_pem);
    char *path = world_copy(world.secret.path);
    delete_secret();
    world_start(two);
    assert_int_equal(world_tick(two, NULL), 0);
    assert_string_not_equal(world.secret.ca_pem, ca);
    assert_string_equal(world.secret.path, path); /* from the webhook configurations */
    world_run(5 * CLOCK_SECOND);
    assert_true(certs_list_contains(world.entries[0].ca_pem, ca));
    world_run(60 * CLOCK_SECOND);
    world_assert_settled();
    free(ca);
    free(path);
}

static void test_path_repaired(void **state)
{
    (void)state;
    start_settled(1);
    char *path = world_copy(world.secret.path);
    world.secret.path[0] = '\0';
    world.version++;
    world_run(20 * CLOCK_SECOND);
    assert_string_equal(world.secret.path, path);
    world_assert_settled();
    free(path);
}

/* Another path is called only when every replica has had time to learn of it. */
static void test_path_changed(void **state)
{
    (void)state;
    start_settled(2);
    char *path = world_copy(world.secret.path);
    assert_int_equal(certs_path_create(world.secret.path, NULL), 0);
    world.version++;
    world_run(9 * CLOCK_SECOND);
    assert_string_equal(world.entries[0].path, path);
    assert_string_equal(certs_store_bundle(two->store)->path, world.secret.path);
    world_run(10 * CLOCK_SECOND);
    world_assert_settled();
    free(path);
}

/* The segment moves by itself: nobody is called by one that a living replica doesn't know, and each
 * stays good for a while after it was called last. */
static void test_path_moves(void **state)
{
    const int64_t period = 600 * CLOCK_SECOND;
    unsigned int moves = 0;
    (void)state;
    world.path_period = period;
    start_settled(2);
    char *path = world_copy(world.secret.path);
    for (int64_t end = world.now + 4 * period; world.now < end;) {
        world_run(CLOCK_SECOND);
        if (strcmp(world.secret.path, path) != 0) {
            moves++;
            free(path);
            path = world_copy(world.secret.path);
            /* It is called only later. */
            assert_string_not_equal(world.entries[0].path, path);
        }
        for (size_t k = 0; k < world.entry_count; k++) {
            if (strcmp(world.entries[k].path, path) != 0)
                continue;
            assert_string_equal(certs_store_bundle(one->store)->path, path);
            assert_string_equal(certs_store_bundle(two->store)->path, path);
        }
    }
    assert_in_range(moves, 3, 4);
    free(path);
    world_run(60 * CLOCK_SECOND);
    world_assert_settled();
}

/* It moves with the certificate, too, and doesn't while nobody can say so to API servers. */
static void test_path_moves_with_the_certificate(void **state)
{
    (void)state;
    world.path_period = 3600 * CLOCK_SECOND;
    start_settled(2);
    char *path = world_copy(world.secret.path);
    assert_true(world_rotate());
    world_run(60 * CLOCK_SECOND);
    world_assert_settled();
    assert_string_not_equal(world.secret.path, path);
    free(path);
    path = world_copy(world.secret.path);
    world.refusal = -EACCES;
    world_run(2 * 3600 * CLOCK_SECOND);
    assert_string_equal(world.secret.path, path);
    world.refusal = 0;
    world_run(2 * 3600 * CLOCK_SECOND);
    assert_string_not_equal(world.secret.path, path);
    free(path);
}

static void test_publication_reset(void **state)
{
    (void)state;
    start_settled(2);
    world_set_entry(0, "", "");
    world_set_entry(1, world.secret.ca_pem, "");
    world_run(10 * CLOCK_SECOND);
    world_assert_settled();
}

/* What others set there stays while it might be needed, and goes when it can't be. */
static void test_foreign_authority(void **state)
{
    (void)state;
    struct certs_pair foreign;
    struct clock_fake clock;
    clock_fake_init(&clock, 0, WORLD_START);
    assert_int_equal(certs_authority_create(&clock.clock, CERTS_AUTHORITY_LIFETIME, &foreign, NULL),
                     0);
    world_set_entry(0, foreign.certificate_pem, "");
    world_start(one);
    world_run(8 * CLOCK_SECOND);
    assert_null(one->serving_pem); /* not before all API servers know the new authority */
    world_run(6 * CLOCK_SECOND);
    assert_non_null(one->serving_pem);
    assert_true(certs_list_contains(world.entries[0].ca_pem, foreign.certificate_pem));
    world_run(30 * CLOCK_SECOND);
    assert_false(certs_list_contains(world.secret.ca_pem, foreign.certificate_pem));
    world_assert_settled();
    certs_pair_clear(&foreign);
}

static void test_no_webhook_configurations(void **state)
{
    (void)state;
    world.entry_count = 0;
    start_settled(2);
    assert_true(world_rotate());
    world_run(60 * CLOCK_SECOND);
    world_assert_settled();
    world.entry_count = WORLD_ENTRIES; /* applied at last */
    world_run(20 * CLOCK_SECOND);
    world_assert_settled();
}

/* Without the right to see the webhook configurations certificates are served and renewed,
 * authorities stay. */
static void test_publishing_forbidden(void **state)
{
    (void)state;
    world.refusal = -EACCES;
    world_start(one);
    world_run(20 * CLOCK_SECOND);
    assert_non_null(one->serving_pem);
    world_advance(61 * CERTS_DAY);
    world_run(20 * CLOCK_SECOND);
    assert_int_equal(world.writes, 2);
    assert_string_equal(one->serving_pem, world.secret.chain_pem);
    assert_true(world_rotate());
    world_run(60 * CLOCK_SECOND);
    assert_int_equal(world_condition().phase, CERTS_PHASE_DISTRIBUTING);
    assert_string_equal(one->serving_pem, world.secret.chain_pem);
    world.refusal = 0;
    world_run(60 * CLOCK_SECOND);
    world_assert_settled();
}

static enum world_operation failing;
static int fail_one_kind(struct world_replica *replica, enum world_operation operation, bool after)
{
    (void)replica;
    return operation == failing && !after ? -ETIMEDOUT : 0;
}

/* Each operation in turn never answers: errors and growing delays, no harm, and recovery. */
static void test_outages(void **state)
{
    (void)state;
    for (int operation = INSPECT; operation <= SERVE; operation++) {
        int64_t delay = 0;
        start_settled(2);
        failing = (enum world_operation)operation;
        world.disturb = fail_one_kind;
        assert_true(world_rotate());
        world_run(25 * CLOCK_SECOND);
        if (operation != SERVING) {
            int code = world_tick(one, &delay);
            assert_true(code == -ETIMEDOUT || operation == SAVE || operation == SERVE ||
                        operation == ACKNOWLEDGE || operation == PUBLISH);
            assert_true(code == 0 || delay >= CLOCK_SECOND);
        }
        world.disturb = NULL;
        world_run(60 * CLOCK_SECOND);
        world_assert_settled();
        world_end();
        world_begin(WORLD_ENTRIES);
    }
}

static void set_wall(struct world_replica *replica, int64_t ahead)
{
    clock_fake_init(&replica->clock, clock_monotonic(&replica->clock.clock),
                    WORLD_START + world.now + ahead);
}

/* A replica whose clock jumps: whatever it issues, the others neither break nor write without
 * end. */
static void test_clock_jumps(void **state)
{
    static const int64_t jumps[] = {CERTS_DAY, -CERTS_DAY, 65 * CERTS_DAY, -65 * CERTS_DAY,
                                    400 * CERTS_DAY};
    (void)state;
    for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
        start_settled(2);
        /* What the jumping one itself serves may not be valid yet. */
        world.timeless = true;
        set_wall(two, jumps[i]);
        unsigned int writes = world.writes;
        for (int k = 0; k < 60; k++) {
            world_run(CLOCK_SECOND);
            assert_true(
                client_accepts(one->serving_pem, world.entries[0].ca_pem, WORLD_START + world.now));
        }
        assert_true(world.writes - writes <= 4);
        set_wall(two, 0);
        world_run(1300 * CLOCK_SECOND);
        world_assert_settled();
        world_end();
        world_begin(WORLD_ENTRIES);
    }
}

/* Replicas of two versions want different names: the certificate gets all, and stays. */
static void test_different_names(void **state)
{
    (void)state;
    world_start(one);
    world_run(5 * CLOCK_SECOND);
    world.names[0] = "ipwarden.other.svc";
    world_start(two);
    world_run(1200 * CLOCK_SECOND);
    assert_int_equal(world.writes, 2);
    const char *all[] = {"ipwarden.kube-system.svc", "ipwarden.other.svc"};
    struct certs_names both = {.dns = all, .dns_count = 2};
    assert_int_equal(certs_names_covered(world.secret.chain_pem, &both, NULL), 0);
    world_assert_settled();
}

static void test_bad_names(void **state)
{
    (void)state;
    struct certs_store_options options = world_options(one);
    struct certs_store *store = NULL;
    struct error error;
    options.names.dns_count = 0;
    assert_int_equal(certs_store_new(&options, &store, &error), -EINVAL);
    assert_null(store);
}

/* A newcomer that loaded the old leaf and then slept through the whole rotation must not begin
 * to serve it. */
static bool slept;
static int sleep_through(struct world_replica *replica, enum world_operation operation, bool after)
{
    if (replica != two || operation != ACKNOWLEDGE || after || slept)
        return 0;
    slept = true;
    world.disturb = NULL;
    assert_true(world_rotate());
    for (int i = 0; i < 60; i++) {
        two->alive = false;
        world_run(CLOCK_SECOND);
    }
    two->alive = true;
    assert_int_equal(world_condition().phase, CERTS_PHASE_STABLE);
    return 0;
}

static void test_late_announcement(void **state)
{
    (void)state;
    start_settled(1);
    slept = false;
    world_start(two);
    world.disturb = sleep_through;
    world_run(20 * CLOCK_SECOND); /* the world checks the promise */
    assert_true(slept);
    world_assert_settled();
}

/* A publisher that read everything before a rotation and writes in its midst comes too late. */
static int publish_late(struct world_replica *replica, enum world_operation operation, bool after)
{
    if (replica != two || operation != PUBLISH || after || slept)
        return 0;
    slept = true;
    world.disturb = NULL;
    world_set_entry(0, world.secret.ca_pem, world.secret.path);
    assert_true(world_rotate());
    for (int i = 0; i < 16; i++) {
        two->alive = false;
        world_run(CLOCK_SECOND);
    }
    two->alive = true;
    two->announced_at = world.now;
    return 0;
}

static void test_late_publication(void **state)
{
    (void)state;
    start_settled(2);
    slept = false;
    world_set_entry(0, "", "");
    world.disturb = publish_late;
    assert_int_equal(world_tick(two, NULL), 0);
    assert_true(slept);
    assert_int_equal(world_condition().phase, CERTS_PHASE_SWITCHED);
    world_check();
    world_run(60 * CLOCK_SECOND);
    world_assert_settled();
}

/* A replica whose view of the Secret is old when it finds nothing published: the order of
 * reading saves it. */
static int go_stale(struct world_replica *replica, enum world_operation operation, bool after)
{
    if (replica != two || operation != LOAD || !after || slept)
        return 0;
    slept = true;
    world.disturb = NULL;
    assert_true(world_rotate());
    for (int i = 0; i < 16; i++) {
        two->alive = false;
        world_run(CLOCK_SECOND);
    }
    two->alive = true;
    two->announced_at = world.now;
    assert_int_equal(world_condition().phase, CERTS_PHASE_SWITCHED);
    for (size_t i = 0; i < WORLD_ENTRIES; i++)
        world_set_entry(i, "", "");
    return 0;
}

static void test_stale_secret(void **state)
{
    (void)state;
    start_settled(2);
    slept = false;
    world.disturb = go_stale;
    assert_int_equal(world_tick(two, NULL), 0);
    assert_true(slept);
    world_run(60 * CLOCK_SECOND);
    world_assert_settled();
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_first_start),
        CASE(test_simultaneous_start),
        CASE(test_renewal),
        CASE(test_rotation),
        CASE(test_rotation_waits_for_all),
        CASE(test_rotation_resumes),
        CASE(test_authority_renewal),
        CASE(test_expired_at_start),
        CASE(test_expired_while_distributing),
        CASE(test_damage_while_running),
        CASE(test_damage_before_start),
        CASE(test_deleted_while_running),
        CASE(test_deleted_and_made_by_newcomer),
        CASE(test_path_repaired),
        CASE(test_path_changed),
        CASE(test_path_moves),
        CASE(test_path_moves_with_the_certificate),
        CASE(test_publication_reset),
        CASE(test_foreign_authority),
        CASE(test_no_webhook_configurations),
        CASE(test_publishing_forbidden),
        CASE(test_outages),
        CASE(test_clock_jumps),
        CASE(test_different_names),
        CASE(test_bad_names),
        CASE(test_late_announcement),
        CASE(test_late_publication),
        CASE(test_stale_secret),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
