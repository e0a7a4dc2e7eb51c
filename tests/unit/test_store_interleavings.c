/* The certificate store under random interleavings: two or three replicas tick in seeded random
 * order, other ticks happen in the middle of their operations, operations fail before or after
 * having worked, replicas die at any point and come back, operators rotate, and things get lost.
 * The world checks the promise after every change (tests/unit/certs_world.h); in the end, left
 * alone, everything must come to rest. A failure prints its seed: run with
 * IPWARDEN_SEED=<seed> to see it again, IPWARDEN_ROUNDS=<n> to look at more seeds. */
#include "tests/unit/certs_world.h"

#define DEPTH 3 /* ticks within ticks */

struct mix {
    unsigned int fail;   /* of 1000 operations */
    unsigned int kill;   /* of 1000 operations */
    unsigned int nest;   /* of 1000 operations: somebody else ticks meanwhile */
    unsigned int rotate; /* of 1000 steps, as all below */
    unsigned int renew;
    unsigned int reset;  /* somebody applies the webhook configurations again */
    unsigned int blind;  /* a replica can't read the Secret for up to a minute, but lives */
    unsigned int damage; /* the Secret is deleted or loses a value */
};

static uint64_t seed;
static const struct mix *mix;
static int64_t blind_until[WORLD_REPLICAS]; /* world time */
static unsigned int depth;
static unsigned int kills;
static unsigned int rotations;
static unsigned int damages;

/* xorshift64*: the same sequence everywhere. */
static unsigned int random_below(unsigned int bound)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (unsigned int)((seed * UINT64_C(2685821657736338717)) >> 33) % bound;
}

static bool chance(unsigned int of_thousand)
{
    return random_below(1000) < of_thousand;
}

/* Any replica that is alive and not inside a tick, or NULL. */
static struct world_replica *pick(void)
{
    unsigned int first = random_below(WORLD_REPLICAS);
    for (unsigned int i = 0; i < WORLD_REPLICAS; i++) {
        struct world_replica *replica = &world.replicas[(first + i) % WORLD_REPLICAS];
        if (replica->alive && !replica->ticking)
            return replica;
    }
    return NULL;
}

static void tick_somebody(void)
{
    struct world_replica *replica = pick();
    if (replica == NULL)
        return;
    depth++;
    (void)world_tick(replica, NULL);
    depth--;
}

static int disturb(struct world_replica *replica, enum world_operation operation, bool after)
{
    if (operation == LOAD && world.now < blind_until[replica - world.replicas])
        return -ETIMEDOUT;
    while (depth < DEPTH && chance(mix->nest)) {
        tick_somebody();
        if (chance(100))
            world_advance((int64_t)random_below(1000) * CLOCK_MILLISECOND);
    }
    if (chance(mix->kill)) {
        kills++;
        world_kill(replica);
        return -ECANCELED;
    }
    /* Afterwards: done, but nobody knows. */
    (void)after;
    return chance(mix->fail) ? -ECONNRESET : 0;
}

/* As many as there are from now on; dead ones come back as newcomers. */
static void start_somebody(void)
{
    struct world_replica *replica = &world.replicas[random_below(WORLD_REPLICAS)];
    if (!replica->alive && replica->store == NULL)
        world_start(replica);
}

static void renew_leaf(void)
{
    static const struct certs_lifetimes defaults = {0};
    struct clock_fake clock;
    struct certs_bundle bundle;
    struct certs_condition condition = world_condition();
    if (!certs_rotation_is_whole(&condition) || condition.phase == CERTS_PHASE_DISTRIBUTING)
        return;
    clock_fake_init(&clock, 0, WORLD_START + world.now);
    assert_int_equal(certs_bundle_copy(&world.secret, &bundle, NULL), 0);
    assert_int_equal(certs_rotation_extend(&bundle, NULL, &clock.clock, &defaults, NULL), 0);
    world_write(&bundle);
    certs_bundle_clear(&bundle);
}

static void do_damage(void)
{
    char **texts[] = {&world.secret.chain_pem, &world.secret.key_pem, &world.secret.ca_pem,
                      &world.secret.ca_key_pem};
    unsigned int which = random_below(6);
    damages++;
    if (which == 5) {
        certs_bundle_clear(&world.secret);
        world.present = false;
    } else if (which == 4) {
        world.secret.path[0] = '\0';
        world.version++;
    } else {
        (*texts[which])[random_below((unsigned int)strlen(*texts[which]) + 1)] = '\0';
        world.version++;
    }
}

static void step(void)
{
    if (chance(mix->rotate))
        rotations += world_rotate() ? 1 : 0;
    else if (chance(mix->renew) && world.present)
        renew_leaf();
    else if (chance(mix->reset))
        world_set_entry(random_below(WORLD_ENTRIES), "", "");
    else if (chance(mix->blind))
        blind_until[random_below(WORLD_REPLICAS)] =
            world.now + (int64_t)random_below(60) * CLOCK_SECOND;
    else if (chance(mix->damage) && world.present)
        do_damage();
    else if (chance(30))
        start_somebody();
    if (chance(300))
        world_advance((int64_t)random_below(3000) * CLOCK_MILLISECOND);
    tick_somebody();
    /* A replica that is alive renews its Lease in time: nobody is left out for long. */
    for (size_t i = 0; i < WORLD_REPLICAS; i++) {
        struct world_replica *replica = &world.replicas[i];
        if (replica->alive && replica->leased &&
            world.now - replica->announced_at > 15 * CLOCK_SECOND)
            (void)world_tick(replica, NULL);
    }
}

static void run(const struct mix *chosen, unsigned int steps, uint64_t first_seed)
{
    mix = chosen;
    seed = first_seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    depth = 0;
    memset(blind_until, 0, sizeof(blind_until));
    world_begin(WORLD_ENTRIES);
    print_message("seed %llu\r", (unsigned long long)first_seed);
    for (size_t i = 0; i < 2; i++)
        world_start(&world.replicas[i]);
    world.disturb = disturb;
    for (unsigned int i = 0; i < steps; i++)
        step();
    world.disturb = NULL;
    start_somebody();
    for (size_t i = 0; pick() == NULL && i < WORLD_REPLICAS; i++)
        world_start(&world.replicas[i]);
    /* Leases of the dead run out, what is half done is finished, twice the settling time. */
    world_run(150 * CLOCK_SECOND);
    world_assert_settled();
    /* The exclusion in world_check() must stay the exception. */
    assert_true(world.outside <= world.checks / 10 + 20);
    world_end();
}

static void run_many(const struct mix *chosen, unsigned int rounds, unsigned int steps)
{
    const char *only = getenv("IPWARDEN_SEED");
    const char *more = getenv("IPWARDEN_ROUNDS");
    if (more != NULL)
        rounds = (unsigned int)strtoul(more, NULL, 10);
    kills = rotations = damages = 0;
    if (only != NULL)
        run(chosen, steps, strtoull(only, NULL, 10));
    for (unsigned int i = 1; only == NULL && i <= rounds; i++)
        run(chosen, steps, i);
    print_message("%u kills, %u rotations, %u damages\n", kills, rotations, damages);
}

static void test_rotations(void **state)
{
    static const struct mix calm = {.nest = 60, .rotate = 10, .renew = 10, .blind = 10};
    (void)state;
    run_many(&calm, 4, 300);
}

static void test_crashes_and_failures(void **state)
{
    static const struct mix rough = {
        .fail = 20, .kill = 8, .nest = 60, .rotate = 10, .renew = 5, .reset = 5, .blind = 8};
    (void)state;
    run_many(&rough, 5, 300);
}

static void test_lost_and_damaged(void **state)
{
    static const struct mix brutal = {.fail = 20,
                                      .kill = 5,
                                      .nest = 60,
                                      .rotate = 10,
                                      .renew = 5,
                                      .reset = 3,
                                      .blind = 5,
                                      .damage = 15};
    (void)state;
    run_many(&brutal, 5, 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rotations),
        cmocka_unit_test(test_crashes_and_failures),
        cmocka_unit_test(test_lost_and_damaged),
    };
    return cmocka_run_group_tests_name("store_interleavings", tests, NULL, NULL);
}
