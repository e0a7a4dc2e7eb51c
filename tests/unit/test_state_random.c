/* Services, claims, pools, writes under way and choices come and go at random, lists break off and are made again; after
 * each step state is compared with a model so simple that it can't be wrong: sets of 40 addresses as bits. Invariant I4 of the
 * address books: total = used + free, and used is exactly what is busy.
 *
 * The seed is printed; IPWARDEN_SEED=<number> runs that one alone. */
#include "server/state/state_addresses.h"
#include "server/state/state_claims.h"
#include "server/state/state_pool_claims.h"
#include "tests/unit/pools_model.h"
#include "tests/unit/single_quotes.h"

#include <stdio.h>
#include <time.h>

#define SERVICES 8
#define CLAIMS (2 * ADDRESSES) /* claim i is of address i % ADDRESSES */
#define POOLS 5
#define RUNS 12
#define STEPS 400

struct model_service {
    bool there;
    unsigned int uid;
    uint64_t external;
    uint64_t ingress;
};

struct model_claim {
    bool there;
    unsigned int uid;
    unsigned int pool; /* that it names; POOLS: none; POOLS + 1: one that never was */
    size_t count;
    struct {
        unsigned int service;
        unsigned int uid; /* 0: none, as in the older version */
    } entries[2];
};

struct model_pool {
    bool there;
    unsigned int spec;
    unsigned int created;
    unsigned int generation;
    int priority;
};

static struct {
    struct model_service services[SERVICES];
    struct model_claim claims[CLAIMS];
    struct model_pool pools[POOLS];
    unsigned int claiming[ADDRESSES];
    unsigned int chosen[ADDRESSES]; /* when; 0: not, or not any more */
    unsigned int next_choice;
    unsigned int next_uid;
} model;

static struct state *world;
static uint64_t random_state;

static unsigned int any(unsigned int below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned int)((random_state >> 33) % below);
}

static void append_list(char *text, size_t size, const char *before, const char *after,
                        uint64_t set)
{
    size_t length = strlen(text);
    const char *separator = "";
    for (unsigned int i = 0; i < ADDRESSES; i++) {
        char one[ADDRESS_TEXT_SIZE];
        struct address address = address_of(i);
        if ((set >> i & 1) == 0)
            continue;
        address_format(&address, one);
        length += (size_t)snprintf(text + length, size - length, "%s%s%s%s", separator, before, one,
                                   after);
        separator = ",";
    }
}

static void append(char *text, size_t size, const char *more)
{
    size_t length = strlen(text);
    snprintf(text + length, size - length, "%s", more);
}

static uint64_t few_addresses(void)
{
    uint64_t set = 0;
    for (unsigned int count = any(4); count > 0; count--)
        set |= UINT64_C(1) << any(ADDRESSES);
    return set;
}

static void send_service(unsigned int i)
{
    const struct model_service *service = &model.services[i];
    char json[QUOTES_SIZE];
    snprintf(json, sizeof(json),
             "{'metadata':{'namespace':'a','name':'s%u','uid':'u%u'},'spec':{'externalIPs':[", i,
             service->uid);
    append_list(json, sizeof(json), "'", "'", service->external);
    append(json, sizeof(json), "]},'status':{'loadBalancer':{'ingress':[");
    append_list(json, sizeof(json), "{'ip':'", "'}", service->ingress);
    append(json, sizeof(json), "]}}}");
    fixture_put_service(world, Q(json));
}

struct pool_name {
    char text[16];
};

static struct pool_name pool_name(unsigned int i)
{
    struct pool_name name = {""};
    if (i != POOLS)
        snprintf(name.text, sizeof(name.text), i < POOLS ? "p%u" : "gone%u", i);
    return name;
}

static void send_claim(unsigned int i)
{
    const struct model_claim *claim = &model.claims[i];
    char json[QUOTES_SIZE];
    char text[ADDRESS_TEXT_SIZE];
    struct address address = address_of(i % ADDRESSES);
    address_format(&address, text);
    snprintf(json, sizeof(json),
             "{'metadata':{'name':'c%u','uid':'cu%u'},'spec':{'cidr':'%s','pool':'%s','services':[",
             i, claim->uid, text, pool_name(claim->pool).text);
    for (size_t j = 0; j < claim->count; j++) {
        char entry[128];
        char uid[32] = "";
        if (claim->entries[j].uid != 0)
            snprintf(uid, sizeof(uid), "u%u", claim->entries[j].uid);
        snprintf(entry, sizeof(entry), "%s{'namespace':'a','name':'s%u','uid':'%s'}",
                 j > 0 ? "," : "", claim->entries[j].service, uid);
        append(json, sizeof(json), entry);
    }
    append(json, sizeof(json), "]}}");
    fixture_put_claim(world, Q(json));
}

static void send_pool(unsigned int i)
{
    const struct model_pool *pool = &model.pools[i];
    char json[1024];
    snprintf(json, sizeof(json),
             "{'metadata':{'name':'p%u','uid':'pu%u','generation':%u,"
             "'creationTimestamp':'1970-01-01T00:00:%02uZ'},'spec':{'priority':%d,%s}}",
             i, i, pool->generation, pool->created, pool->priority, specs[pool->spec].text);
    fixture_put_pool(world, Q(json));
}

static void change_service(void)
{
    unsigned int i = any(SERVICES);
    struct model_service *service = &model.services[i];
    if (!service->there || any(4) == 0)
        service->uid = ++model.next_uid;
    service->there = true;
    service->external = few_addresses();
    service->ingress = few_addresses();
    send_service(i);
}

static void remove_service(void)
{
    unsigned int i = any(SERVICES);
    char key[32];
    char uid[32];
    bool right = any(3) > 0;
    snprintf(key, sizeof(key), "a/s%u", i);
    snprintf(uid, sizeof(uid), "u%u", right ? model.services[i].uid : 999999);
    state_remove(world, STATE_SERVICES, key, uid);
    if (right)
        model.services[i].there = false;
}

static void change_claim(void)
{
    unsigned int i = any(CLAIMS);
    struct model_claim *claim = &model.claims[i];
    if (!claim->there)
        claim->uid = ++model.next_uid;
    /* A claim that is new has what was chosen. */
    if (!claim->there)
        model.chosen[i % ADDRESSES] = 0;
    claim->there = true;
    claim->pool = any(POOLS + 2);
    claim->count = any(3);
    for (size_t j = 0; j < claim->count; j++) {
        unsigned int service = any(SERVICES);
        claim->entries[j].service = service;
        claim->entries[j].uid = any(2) == 0 ? 0 : any(3) == 0 ? 1 : model.services[service].uid;
    }
    send_claim(i);
}

static void remove_claim(void)
{
    unsigned int i = any(CLAIMS);
    char name[32];
    snprintf(name, sizeof(name), "c%u", i);
    state_remove(world, STATE_CLAIMS, name, NULL);
    model.claims[i].there = false;
}

static void change_pool(void)
{
    unsigned int i = any(POOLS);
    struct model_pool *pool = &model.pools[i];
    if (!pool->there)
        pool->created = any(3);
    pool->there = true;
    if (any(3) > 0) { /* else only its status has changed */
        pool->generation++;
        pool->spec = any(SPECS);
        pool->priority = (int)any(3);
    }
    send_pool(i);
}

static void remove_pool(void)
{
    unsigned int i = any(POOLS);
    char name[32];
    snprintf(name, sizeof(name), "p%u", i);
    state_remove(world, STATE_POOLS, name, NULL);
    model.pools[i].there = false;
}

static void begin_or_end_claiming(void)
{
    unsigned int i = any(ADDRESSES);
    struct address address = address_of(i);
    mutex_guard(&world->mutex);
    if (model.claiming[i] > 0 && any(3) > 0) {
        state_claiming_end(world, &address);
        model.claiming[i]--;
    } else {
        assert_int_equal(state_claiming_begin(world, &address), 0);
        model.claiming[i]++;
    }
}

/* What is begun is ended, before state goes. */
static void end_all_claiming(void)
{
    mutex_guard(&world->mutex);
    for (unsigned int i = 0; i < ADDRESSES; i++) {
        struct address address = address_of(i);
        for (; model.claiming[i] > 0; model.claiming[i]--)
            state_claiming_end(world, &address);
    }
}

static void choose(void)
{
    unsigned int i = any(ADDRESSES);
    struct address address = address_of(i);
    mutex_guard(&world->mutex);
    state_note_choice(world, &address);
    model.chosen[i] = ++model.next_choice;
}

static void forget_choice(void)
{
    unsigned int i = any(ADDRESSES);
    struct address address = address_of(i);
    mutex_guard(&world->mutex);
    state_forget_choice(world, &address);
    model.chosen[i] = 0;
}

static unsigned int oldest_choice(void)
{
    unsigned int oldest = ADDRESSES;
    for (unsigned int i = 0; i < ADDRESSES; i++)
        if (model.chosen[i] != 0 && (oldest == ADDRESSES || model.chosen[i] < model.chosen[oldest]))
            oldest = i;
    return oldest;
}

static void forget_oldest_choices(void)
{
    size_t count = any(4);
    size_t expected = 0;
    for (; expected < count && oldest_choice() != ADDRESSES; expected++)
        model.chosen[oldest_choice()] = 0;
    mutex_guard(&world->mutex);
    assert_int_equal(state_forget_oldest_choices(world, count), expected);
}

/* A list, perhaps after one that broke off, in which some of what was there is missing. */
static void list_again(void)
{
    enum state_kind kind = (enum state_kind)any(STATE_KINDS);
    if (any(3) == 0) {
        state_replace_begin(world, kind);
        unsigned int i = any(SERVICES);
        if (kind == STATE_SERVICES && model.services[i].there)
            send_service(i);
    }
    state_replace_begin(world, kind);
    for (unsigned int i = 0; kind == STATE_SERVICES && i < SERVICES; i++) {
        model.services[i].there = model.services[i].there && any(4) > 0;
        if (model.services[i].there)
            send_service(i);
    }
    for (unsigned int i = 0; kind == STATE_CLAIMS && i < CLAIMS; i++) {
        model.claims[i].there = model.claims[i].there && any(4) > 0;
        if (model.claims[i].there)
            send_claim(i);
    }
    for (unsigned int i = 0; kind == STATE_POOLS && i < POOLS; i++) {
        model.pools[i].there = model.pools[i].there && any(4) > 0;
        if (model.pools[i].there)
            send_pool(i);
    }
    state_replace_end(world, kind);
}

/* --- what must hold --- */

static uint64_t busy_addresses(void)
{
    uint64_t busy = 0;
    for (unsigned int i = 0; i < SERVICES; i++)
        if (model.services[i].there)
            busy |= model.services[i].external | model.services[i].ingress;
    for (unsigned int i = 0; i < CLAIMS; i++)
        if (model.claims[i].there)
            busy |= UINT64_C(1) << (i % ADDRESSES);
    for (unsigned int i = 0; i < ADDRESSES; i++)
        if (model.claiming[i] > 0)
            busy |= UINT64_C(1) << i;
    return busy;
}

static uint64_t chosen_addresses(void)
{
    uint64_t chosen = 0;
    for (unsigned int i = 0; i < ADDRESSES; i++)
        if (model.chosen[i] != 0)
            chosen |= UINT64_C(1) << i;
    return chosen;
}

static bool is_older(unsigned int i, unsigned int j)
{
    return model.pools[i].created != model.pools[j].created
               ? model.pools[i].created < model.pools[j].created
               : i < j;
}

static bool has_conflict(unsigned int i)
{
    for (unsigned int j = 0; j < POOLS; j++)
        if (j != i && model.pools[j].there && is_older(j, i) &&
            (specs[model.pools[i].spec].offered & specs[model.pools[j].spec].offered) != 0)
            return true;
    return false;
}

static void check_pools(uint64_t busy)
{
    size_t count = 0;
    for (unsigned int i = 0; i < POOLS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "p%u", i);
        const struct state_pool *pool = state_pool(world, name);
        assert_int_equal(pool != NULL, model.pools[i].there);
        if (pool == NULL)
            continue;
        count++;
        uint64_t offered = specs[model.pools[i].spec].offered;
        assert_int_equal(pool->pool->invalid == NULL, offered != 0);
        assert_int_equal(pool->conflict != NULL, has_conflict(i));
        if (offered != 0)
            check_books(pool, offered, busy | specs[model.pools[i].spec].allocated);
    }
    assert_int_equal(world->pool_count, count);
    for (size_t i = 1; i < count; i++)
        assert_true(pool_compare(world->pools[i - 1]->pool, world->pools[i]->pool) < 0);
}

static bool is_pool_there(unsigned int i)
{
    return i < POOLS && model.pools[i].there;
}

static bool is_usable(unsigned int i)
{
    return is_pool_there(i) && specs[model.pools[i].spec].offered != 0 && !has_conflict(i);
}

/* Whether another pool than this can give the address. */
static bool is_given_by_another(unsigned int pool, unsigned int address)
{
    for (unsigned int i = 0; i < POOLS; i++)
        if (i != pool && is_usable(i) && (specs[model.pools[i].spec].offered >> address & 1) != 0)
            return true;
    return false;
}

/* Whether the claim counts for the pool. */
static bool is_claim_of(const struct model_claim *claim, unsigned int address, unsigned int pool)
{
    return claim->there && (claim->pool == pool ||
                            (!is_pool_there(claim->pool) && !is_given_by_another(pool, address)));
}

/* Whether the address is busy without a claim, and this pool is the one that offers it. */
static bool is_unclaimed(const struct state_pool *pool, unsigned int address, uint64_t busy)
{
    struct address value = address_of(address);
    return (busy >> address & 1) != 0 && !model.claims[address].there &&
           !model.claims[address + ADDRESSES].there && state_pool_offering(world, &value) == pool;
}

static void check_use_of(const struct state_pool *pool, unsigned int i, uint64_t busy)
{
    struct state_pool_claims_walk walk = {0};
    uint64_t offered = specs[model.pools[i].spec].offered;
    struct blocks_counts ipv4;
    struct blocks_counts ipv6;
    size_t found = 0;
    size_t expected = 0;
    size_t named = 0;
    bool in_use = false;
    while (state_pool_claims_next(world, pool->object.meta->name, &walk) != NULL)
        found++;
    for (unsigned int j = 0; j < CLAIMS; j++) {
        bool counts_here = is_claim_of(&model.claims[j], j % ADDRESSES, i);
        named += model.claims[j].there && model.claims[j].pool == i;
        expected += counts_here;
        in_use = in_use || (counts_here && (offered >> (j % ADDRESSES) & 1) != 0);
    }
    for (unsigned int j = 0; j < ADDRESSES; j++)
        in_use = in_use || is_unclaimed(pool, j, busy);
    assert_int_equal(found, expected);
    assert_int_equal(state_pool_is_in_use(world, pool), in_use || named > 0);
    if (offered != 0)
        return;
    state_pool_counts(world, pool, ADDRESS_IPV4, &ipv4);
    state_pool_counts(world, pool, ADDRESS_IPV6, &ipv6);
    assert_int_equal(ipv4.used.low + ipv6.used.low, named);
    assert_int_equal(ipv4.total.low + ipv6.total.low, named);
}

/* Claims, by the pool that they name. */
static void check_uses(uint64_t busy)
{
    size_t listed = 0;
    size_t position = 0;
    size_t there = 0;
    for (unsigned int i = 0; i < POOLS; i++)
        if (model.pools[i].there)
            check_use_of(state_pool(world, pool_name(i).text), i, busy);
    for (unsigned int i = 0; i < CLAIMS; i++)
        there += model.claims[i].there;
    for (const struct state_pool_claims *list;
         (list = map_next(world->pool_claims, &position)) != NULL;) {
        assert_non_null(list->first);
        listed += list->ipv4 + list->ipv6;
    }
    assert_int_equal(listed, there);
}

static void check_addresses(uint64_t busy, uint64_t chosen)
{
    uint64_t known = busy | chosen;
    assert_int_equal(map_count(world->addresses), bits(known));
    for (unsigned int i = 0; i < ADDRESSES; i++) {
        struct address address = address_of(i);
        const struct state_address *entry = state_address(world, &address);
        size_t claims = 0;
        size_t services = 0;
        assert_int_equal(entry != NULL, known >> i & 1);
        if (entry == NULL)
            continue;
        for (const struct state_claim *claim = entry->claims; claim != NULL; claim = claim->next)
            claims++;
        assert_int_equal(claims, model.claims[i].there + model.claims[i + ADDRESSES].there);
        for (unsigned int j = 0; j < SERVICES; j++)
            services += model.services[j].there &&
                        ((model.services[j].external | model.services[j].ingress) >> i & 1) != 0;
        assert_int_equal(entry->service_count, services);
        assert_int_equal(entry->claiming, model.claiming[i]);
        assert_int_equal(entry->chosen_until != 0, model.chosen[i] != 0);
        assert_int_equal(entry->busy, busy >> i & 1);
    }
}

/* Whether the Service that the entry names is stored. */
static bool is_stored(const struct model_claim *claim, size_t entry)
{
    const struct model_service *service = &model.services[claim->entries[entry].service];
    return service->there &&
           (claim->entries[entry].uid == 0 || claim->entries[entry].uid == service->uid);
}

/* ... and lists the address of the claim. */
static bool lists(const struct model_claim *claim, size_t entry, unsigned int address)
{
    const struct model_service *service = &model.services[claim->entries[entry].service];
    return is_stored(claim, entry) && ((service->external | service->ingress) >> address & 1) != 0;
}

static void check_entry(const struct state_claim *claim, const struct model_claim *expected,
                        size_t entry, unsigned int address)
{
    const struct state_claim_entry *noted = &claim->entries[entry];
    bool stored = is_stored(expected, entry);
    bool listed = lists(expected, entry, address);
    assert_ptr_equal(noted->claim, claim);
    assert_ptr_equal(noted->service, &claim->claim->services[entry]);
    assert_int_equal(state_claim_service(world, noted->service) != NULL, stored);
    assert_int_equal(noted->tenant == NULL, stored);
    assert_int_equal(noted->absent_since == 0, listed);
    assert_true(noted->was_stored || !stored);
    assert_true(noted->was_listed || !listed);
}

/* All entries of one namespace: those without their Service, the oldest first. */
static void check_tenant(size_t expected)
{
    const struct state_tenant *tenant = map_get_string(world->tenants, "a");
    size_t count = 0;
    int64_t since = 0;
    assert_int_equal(tenant != NULL, expected > 0);
    if (tenant == NULL)
        return;
    for (const struct state_claim_entry *entry = tenant->first; entry != NULL;
         entry = entry->next) {
        assert_ptr_equal(entry->tenant, tenant);
        assert_true(entry->unstored_since >= since);
        since = entry->unstored_since;
        count++;
    }
    assert_int_equal(count, expected);
    assert_int_equal(tenant->count, expected);
}

static enum state_claim_class class_of(const struct model_claim *claim)
{
    for (size_t i = 0; i < claim->count; i++)
        if (!is_stored(claim, i))
            return STATE_CLAIM_UNSTORED;
    return claim->count > 0 ? STATE_CLAIM_HELD : STATE_CLAIM_HOLD;
}

static void check_claims(void)
{
    size_t count = 0;
    size_t unstored = 0;
    size_t totals[STATE_CLAIM_CLASSES] = {0};
    size_t named[SERVICES] = {0};
    for (unsigned int i = 0; i < CLAIMS; i++) {
        const struct model_claim *expected = &model.claims[i];
        char name[32];
        snprintf(name, sizeof(name), "c%u", i);
        const struct state_claim *claim = state_claim(world, name);
        assert_int_equal(claim != NULL, expected->there);
        if (claim == NULL)
            continue;
        count++;
        totals[class_of(expected)]++;
        for (size_t j = 0; j < expected->count; j++) {
            check_entry(claim, expected, j, i % ADDRESSES);
            unstored += !is_stored(expected, j);
            if (j == 0 || expected->entries[0].service != expected->entries[1].service)
                named[expected->entries[j].service]++;
        }
    }
    assert_int_equal(map_count(world->objects[STATE_CLAIMS]), count);
    assert_memory_equal(world->claim_totals, totals, sizeof(totals));
    check_tenant(unstored);
    for (unsigned int i = 0; i < SERVICES; i++) {
        char key[32];
        size_t found;
        snprintf(key, sizeof(key), "a/s%u", i);
        state_claims_of(world, key, &found);
        assert_int_equal(found, named[i]);
    }
}

static void check_everything(void)
{
    mutex_guard(&world->mutex);
    uint64_t busy = busy_addresses();
    check_addresses(busy, chosen_addresses());
    check_pools(busy);
    check_uses(busy);
    check_claims();
}

/* --- runs --- */

static void run(uint64_t seed)
{
    static void (*const steps[])(void) = {
        change_service, change_service, change_service,        remove_service,
        change_claim,   change_claim,   change_claim,          remove_claim,
        change_pool,    remove_pool,    begin_or_end_claiming, begin_or_end_claiming,
        choose,         choose,         forget_choice,         forget_oldest_choices,
        list_again,
    };
    memset(&model, 0, sizeof(model));
    random_state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    world = state_new(NULL);
    assert_non_null(world);
    fixture_synced(world);
    for (int i = 0; i < STEPS; i++) {
        steps[any(sizeof(steps) / sizeof(steps[0]))]();
        check_everything();
    }
    end_all_claiming();
    state_free(world);
}

static void books_agree_with_what_is_busy(void **state)
{
    (void)state;
    const char *fixed = getenv("IPWARDEN_SEED");
    uint64_t first = fixed != NULL ? strtoull(fixed, NULL, 10) : (uint64_t)time(NULL) % 1000000;
    for (uint64_t seed = first; seed < first + (fixed != NULL ? 1 : RUNS); seed++) {
        print_message("IPWARDEN_SEED=%llu\n", (unsigned long long)seed);
        run(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(books_agree_with_what_is_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
