/* Two replicas, each with its own state, and a server that stores ranges and requests; everything
 * happens in any order, late, twice or never: watches that lag, writes that arrive long after their
 * sender lost the lead, answers that get lost, restarts. After every step no two requests have
 * overlapping sub-networks in the server, and each replica's memory keeps its rules; at the end,
 * with everything delivered and one leader, every request has what it can have.
 *
 * The steps of a leader are those of server/reconcile/range_reconcile.c, in few lines.
 * IPWARDEN_SEED=N replays a run. */
#include "tests/unit/ipam_fixture.h"

#define RANGES 2
#define REQUESTS 14
#define REPLICAS 2
#define LOG_MOST 200000
#define FLIGHTS 24
#define RUNS 20
#define STEPS 20000
#define TEXT_MOST 3000

static uint64_t chance;

/* xorshift64* */
static unsigned int below(unsigned int limit)
{
    chance ^= chance >> 12;
    chance ^= chance << 25;
    chance ^= chance >> 27;
    return (unsigned int)((chance * UINT64_C(2685821657736338717) >> 33) % limit);
}

/* --- the server --- */

struct stored_range {
    bool exists;
    unsigned int uid;
    unsigned int version;
    long long epoch;
    char pending[TEXT_MOST]; /* ",'pending':[...]" and roundRobin, as last written */
};

struct stored_request {
    bool exists;
    unsigned int uid;
    unsigned int version;
    unsigned int range;
    unsigned int created;
    const char *wish;
    char cidr[CIDR_TEXT_SIZE]; /* "": none */
};

struct event {
    bool range;
    bool removed;
    unsigned int index;
    char *json; /* in double quotes */
    char uid[16];
};

static struct stored_range ranges[RANGES];
static struct stored_request requests[REQUESTS];
static struct event events[LOG_MOST];
static size_t event_count;
static unsigned int next_number = 1;

static unsigned int number_of(const char *text)
{
    return (unsigned int)strtoul(text, NULL, 10);
}

static char *copy(const char *text)
{
    char *made = strdup(Q(text));
    assert_non_null(made);
    return made;
}

static char *encode_range(unsigned int index)
{
    const struct stored_range *range = &ranges[index];
    char json[QUOTES_SIZE];
    snprintf(json, sizeof(json),
             "{'metadata':{'namespace':'a','name':'r%u','uid':'%u','resourceVersion':'%u'},'spec':{"
             "'mode':'%s','ranges':['10.%u.0.0/26','10.%u.0.96-10.%u.0.127']},'status':{'epoch':"
             "%lld%s}}",
             index, range->uid, range->version, index == 0 ? "FirstMatch" : "RoundRobin", index,
             index, index, range->epoch, range->pending);
    return copy(json);
}

static char *encode_request(unsigned int index)
{
    const struct stored_request *request = &requests[index];
    char json[QUOTES_SIZE];
    snprintf(json, sizeof(json),
             "{'metadata':{'namespace':'a','name':'n%u','uid':'%u','resourceVersion':'%u',"
             "'creationTimestamp':'1970-01-01T00:00:%02uZ'},'spec':{'range':{'name':'r%u'},"
             "'request':'%s'},'status':{%s%s%s}}",
             index, request->uid, request->version, request->created, request->range, request->wish,
             *request->cidr != '\0' ? "'cidr':'" : "", request->cidr,
             *request->cidr != '\0' ? "'" : "");
    return copy(json);
}

static void record(bool range, unsigned int index, bool removed)
{
    struct event *event = &events[event_count++];
    assert_true(event_count < LOG_MOST);
    *event = (struct event){.range = range, .removed = removed, .index = index};
    snprintf(event->uid, sizeof(event->uid), "%u", range ? ranges[index].uid : requests[index].uid);
    if (!removed)
        event->json = range ? encode_range(index) : encode_request(index);
}

/* What users see, and the one thing that must never be. */
static void check_server(void)
{
    struct cidr cidrs[REQUESTS];
    for (size_t i = 0; i < REQUESTS; i++)
        if (requests[i].exists && *requests[i].cidr != '\0')
            assert_int_equal(cidr_parse(requests[i].cidr, &cidrs[i], NULL), 0);
    for (size_t i = 0; i < REQUESTS; i++)
        for (size_t j = i + 1; j < REQUESTS; j++)
            if (requests[i].exists && requests[j].exists && *requests[i].cidr != '\0' &&
                *requests[j].cidr != '\0' && requests[i].range == requests[j].range &&
                cidr_overlaps(&cidrs[i], &cidrs[j]))
                fail_msg("n%zu has %s and n%zu has %s of r%u", i, requests[i].cidr, j,
                         requests[j].cidr, requests[i].range);
}

/* --- replicas --- */

struct lead {
    long long epoch; /* 0: not taken over */
    unsigned int uid;
    size_t fence; /* events of requests up to here must have been seen */
    bool honoured;
};

struct replica {
    struct state *state;
    unsigned int life;     /* one more after each restart */
    size_t range_position; /* events seen, by kind: two watches */
    size_t request_position;
    bool stalled[2]; /* whether a watch brings nothing for a while: requests, ranges */
    bool leads;
    struct lead leads_of[RANGES];
};

static struct replica replicas[REPLICAS];

enum flight_kind { NO_FLIGHT, WRITE_EPOCH, WRITE_STATUS, WRITE_REQUEST };

/* A write that was sent. */
struct flight {
    enum flight_kind kind;
    unsigned int replica;
    unsigned int life;
    unsigned int index;
    unsigned int uid;
    unsigned int version; /* precondition of writes of ranges */
    long long epoch;
    uint64_t since;
    uint64_t sequence;
    char text[TEXT_MOST];
};

static struct flight flights[FLIGHTS];

static struct flight *new_flight(void)
{
    for (size_t i = 0; i < FLIGHTS; i++)
        if (flights[i].kind == NO_FLIGHT)
            return &flights[i];
    return NULL;
}

static bool is_under_way(enum flight_kind kind, unsigned int replica, unsigned int index)
{
    for (size_t i = 0; i < FLIGHTS; i++)
        if (flights[i].kind == kind && flights[i].replica == replica && flights[i].index == index &&
            flights[i].life == replicas[replica].life)
            return true;
    return false;
}

/* Shows the next event of one watch. */
static void deliver(struct replica *replica, bool range)
{
    size_t *position = range ? &replica->range_position : &replica->request_position;
    char key[16];
    while (*position < event_count && events[*position].range != range)
        ++*position;
    if (*position == event_count)
        return;
    const struct event *event = &events[(*position)++];
    snprintf(key, sizeof(key), "a/%c%u", range ? 'r' : 'n', event->index);
    if (event->removed && range)
        state_remove(replica->state, STATE_RANGES, key, event->uid);
    else if (event->removed)
        state_remove(replica->state, STATE_REQUESTS, key, event->uid);
    else if (range)
        assert_int_equal(state_put(replica->state, STATE_RANGES, fixture_range(event->json, NULL)),
                         0);
    else
        assert_int_equal(
            state_put(replica->state, STATE_REQUESTS, fixture_request(event->json, NULL)), 0);
}

static void watch(struct replica *replica, bool range)
{
    if (!replica->stalled[range])
        deliver(replica, range);
}

static void list(struct replica *replica, bool range)
{
    enum state_kind kind = range ? STATE_RANGES : STATE_REQUESTS;
    state_replace_begin(replica->state, kind);
    for (unsigned int i = 0; i < (range ? RANGES : REQUESTS); i++) {
        if (!(range ? ranges[i].exists : requests[i].exists))
            continue;
        char *json = range ? encode_range(i) : encode_request(i);
        if (range)
            assert_int_equal(state_put(replica->state, STATE_RANGES, fixture_range(json, NULL)), 0);
        else
            assert_int_equal(state_put(replica->state, STATE_REQUESTS, fixture_request(json, NULL)),
                             0);
        free(json);
    }
    state_replace_end(replica->state, kind);
    *(range ? &replica->range_position : &replica->request_position) = event_count;
}

static void restart(struct replica *replica)
{
    state_free(replica->state);
    replica->state = state_new(NULL);
    assert_non_null(replica->state);
    replica->life++;
    replica->leads = false;
    memset(replica->leads_of, 0, sizeof(replica->leads_of));
    fixture_synced(replica->state);
    list(replica, false);
    list(replica, true);
}

static void lead(struct replica *replica, bool leads)
{
    replica->leads = leads;
    memset(replica->leads_of, 0, sizeof(replica->leads_of));
}

/* --- a leader's steps --- */

/* status.pending and status.roundRobin as they shall be. */
static void encode_status(const struct state_range *home, char *ret_text)
{
    struct cidr next[BLOCKS_ROUND_ROBIN_MAXIMUM];
    char text[CIDR_TEXT_SIZE];
    size_t length = 0;
    *ret_text = '\0';
    for (size_t i = 0; i < home->unstored_count; i++) {
        const struct state_request *request = home->unstored[i];
        cidr_format(&request->held, text);
        length += (size_t)snprintf(ret_text + length, TEXT_MOST - length,
                                   "%s{'namespace':'a','name':'%s','uid':'%s','cidr':'%s'}%s",
                                   i == 0 ? ",'pending':[" : ",", request->object.meta->name,
                                   request->object.meta->uid, text,
                                   i + 1 == home->unstored_count ? "]" : "");
    }
    size_t count = blocks_round_robin_export(home->blocks, next);
    for (size_t i = 0; i < count; i++) {
        cidr_format(&next[i], text);
        length +=
            (size_t)snprintf(ret_text + length, TEXT_MOST - length, "%s'%s'%s",
                             i == 0 ? ",'roundRobin':[" : ",", text, i + 1 == count ? "]" : "");
    }
    assert_true(length < TEXT_MOST);
}

static void range_flight(unsigned int number, unsigned int index, enum flight_kind kind,
                         const struct state_range *home, long long epoch)
{
    struct flight *flight = new_flight();
    if (flight == NULL)
        return;
    *flight = (struct flight){.kind = kind,
                              .replica = number,
                              .life = replicas[number].life,
                              .index = index,
                              .uid = number_of(home->range->meta.uid),
                              .version = number_of(home->range->meta.resource_version),
                              .epoch = epoch,
                              .since = replicas[number].state->sequence,
                              .sequence = replicas[number].state->sequence};
    if (kind == WRITE_STATUS)
        encode_status(home, flight->text);
}

static bool has_unannounced(const struct state_range *home)
{
    for (size_t i = 0; i < home->unstored_count; i++)
        if (!home->unstored[i]->announced)
            return true;
    return false;
}

static bool is_ours(const struct lead *lead, const struct ipam_range *range)
{
    return lead->epoch != 0 && lead->epoch == range->epoch &&
           lead->uid == number_of(range->meta.uid);
}

static void look_at_range(unsigned int number, unsigned int index)
{
    struct replica *replica = &replicas[number];
    struct lead *lead = &replica->leads_of[index];
    char key[16];
    bool more;
    snprintf(key, sizeof(key), "a/r%u", index);
    mutex_guard(&replica->state->mutex);
    struct state_range *home = state_range(replica->state, key);
    if (home == NULL || is_under_way(WRITE_EPOCH, number, index) ||
        is_under_way(WRITE_STATUS, number, index))
        return; /* one pass over an object at a time */
    if (home->range == NULL) {
        assert_int_equal(range_grant_batch(replica->state, home, 0, &more), 0);
        return;
    }
    if (!is_ours(lead, home->range)) {
        range_flight(number, index, WRITE_EPOCH, home, home->range->epoch + 1);
        return;
    }
    if (replica->request_position < lead->fence)
        return;
    if (!lead->honoured) {
        assert_int_equal(range_grant_take_over(replica->state, home), 0);
        lead->honoured = true;
    }
    assert_true(range_grant_batch(replica->state, home, 1 + below(4), &more) >= 0);
    if (has_unannounced(home) || below(3) == 0)
        range_flight(number, index, WRITE_STATUS, home, 0);
}

static void look_at_request(unsigned int number, unsigned int index)
{
    struct replica *replica = &replicas[number];
    char key[16];
    snprintf(key, sizeof(key), "a/n%u", index);
    mutex_guard(&replica->state->mutex);
    const struct state_request *request = state_request(replica->state, key);
    struct flight *flight = new_flight();
    if (request == NULL || flight == NULL || request->held.address.family == 0 ||
        ledger_is_stored(request) || !request->announced ||
        is_under_way(WRITE_REQUEST, number, index))
        return;
    *flight = (struct flight){.kind = WRITE_REQUEST,
                              .replica = number,
                              .life = replica->life,
                              .index = index,
                              .uid = number_of(request->object.meta->uid),
                              .since = replica->state->sequence};
    cidr_format(&request->held, flight->text);
}

/* --- writes arriving --- */

static void answer_range(const struct flight *flight)
{
    struct replica *replica = &replicas[flight->replica];
    struct lead *lead = &replica->leads_of[flight->index];
    char key[16];
    char *json = encode_range(flight->index);
    snprintf(key, sizeof(key), "a/r%u", flight->index);
    assert_int_equal(
        state_put_answer(replica->state, STATE_RANGES, fixture_range(json, NULL), flight->since),
        0);
    free(json);
    mutex_guard(&replica->state->mutex);
    struct state_range *home = state_range(replica->state, key);
    if (flight->kind == WRITE_EPOCH) {
        *lead = (struct lead){.epoch = flight->epoch,
                              .uid = flight->uid,
                              .fence = flight->epoch > 1 ? event_count : 0};
        return;
    }
    if (home != NULL && home->range != NULL && lead->honoured && is_ours(lead, home->range))
        range_grant_announced(replica->state, home, flight->sequence);
}

static bool store_range(const struct flight *flight)
{
    struct stored_range *range = &ranges[flight->index];
    if (!range->exists || range->uid != flight->uid || range->version != flight->version)
        return false;
    range->version = next_number++;
    if (flight->kind == WRITE_EPOCH)
        range->epoch = flight->epoch;
    else
        snprintf(range->pending, sizeof(range->pending), "%s", flight->text);
    record(true, flight->index, false);
    return true;
}

static bool store_request(const struct flight *flight)
{
    struct stored_request *request = &requests[flight->index];
    if (!request->exists || request->uid != flight->uid)
        return false;
    request->version = next_number++;
    snprintf(request->cidr, sizeof(request->cidr), "%.49s", flight->text);
    record(false, flight->index, false);
    return true;
}

/* A write arrives; its answer too, or it gets lost. */
static void land(struct flight *flight)
{
    struct replica *replica = &replicas[flight->replica];
    bool stored = flight->kind == WRITE_REQUEST ? store_request(flight) : store_range(flight);
    if (stored && replica->life == flight->life && replica->leads && below(8) > 0) {
        if (flight->kind != WRITE_REQUEST) {
            answer_range(flight);
        } else {
            char *json = encode_request(flight->index);
            assert_int_equal(state_put_answer(replica->state, STATE_REQUESTS,
                                              fixture_request(json, NULL), flight->since),
                             0);
            free(json);
        }
    }
    flight->kind = NO_FLIGHT;
}

/* One of those under way, the oldest as likely as the newest. */
static void land_any(void)
{
    unsigned int first = below(FLIGHTS);
    for (unsigned int i = 0; i < FLIGHTS; i++) {
        struct flight *flight = &flights[(first + i) % FLIGHTS];
        if (flight->kind == NO_FLIGHT)
            continue;
        land(flight);
        return;
    }
}

/* --- users --- */

static void edit_request(unsigned int index)
{
    static const char *const wishes[] = {"28", "28", "29", "27",       "26",          "32",
                                         "30", "25", "",   "10.0.0.8", "10.1.0.0/28", "1/28"};
    struct stored_request *request = &requests[index];
    if (request->exists) {
        request->exists = false;
        record(false, index, true);
        if (below(3) > 0)
            return;
    }
    *request = (struct stored_request){.exists = true,
                                       .uid = next_number,
                                       .version = next_number,
                                       .range = below(RANGES),
                                       .created = 1 + below(3), /* many of one second */
                                       .wish = wishes[below(sizeof(wishes) / sizeof(wishes[0]))]};
    next_number++;
    record(false, index, false);
}

/* Its finalizer keeps a range while requests refer to it. */
static void edit_range(unsigned int index)
{
    struct stored_range *range = &ranges[index];
    for (size_t i = 0; i < REQUESTS; i++)
        if (range->exists && requests[i].exists && requests[i].range == index)
            return;
    bool removed = range->exists;
    if (!removed)
        *range = (struct stored_range){.uid = next_number, .version = next_number};
    next_number++;
    range->exists = !removed;
    record(true, index, removed);
}

/* --- the run --- */

static void check_replica(const struct replica *replica)
{
    world = replica->state;
    check_rules();
}

static void step(void)
{
    unsigned int number = below(REPLICAS);
    struct replica *replica = &replicas[number];
    unsigned int dice = below(1000);
    if (dice < 60)
        edit_request(below(REQUESTS));
    else if (dice < 63)
        edit_range(below(RANGES));
    else if (dice < 560)
        watch(replica, dice < 300);
    else if (dice < 564)
        replica->stalled[dice % 2] = !replica->stalled[dice % 2];
    else if (dice < 570)
        list(replica, below(2) == 0);
    else if (dice < 571)
        restart(replica);
    else if (dice < 575)
        lead(replica, !replica->leads); /* who believes to lead; there may be two, or none */
    else if (dice < 720 && replica->leads)
        look_at_range(number, below(RANGES));
    else if (dice < 860 && replica->leads)
        look_at_request(number, below(REQUESTS));
    else
        land_any();
    check_server();
    check_replica(replica);
}

/* Everything arrives, one leads, and has the time to. */
static void come_to_rest(void)
{
    for (size_t i = 0; i < FLIGHTS; i++)
        if (flights[i].kind != NO_FLIGHT)
            land(&flights[i]);
    for (unsigned int i = 0; i < RANGES; i++)
        if (!ranges[i].exists)
            edit_range(i);
    lead(&replicas[0], true);
    lead(&replicas[1], false);
    for (int round = 0; round < 200; round++) {
        for (unsigned int i = 0; i < RANGES; i++)
            look_at_range(0, i);
        for (unsigned int i = 0; i < REQUESTS; i++)
            look_at_request(0, i);
        for (size_t i = 0; i < FLIGHTS; i++)
            if (flights[i].kind != NO_FLIGHT)
                land(&flights[i]);
        for (unsigned int i = 0; i < REPLICAS; i++)
            while (replicas[i].range_position < event_count ||
                   replicas[i].request_position < event_count) {
                deliver(&replicas[i], true);
                deliver(&replicas[i], false);
            }
        check_server();
    }
}

static void assert_at_rest(const struct replica *replica)
{
    check_replica(replica);
    for (unsigned int i = 0; i < REQUESTS; i++) {
        char name[16];
        char text[CIDR_TEXT_SIZE] = "";
        snprintf(name, sizeof(name), "n%u", i);
        const struct state_request *request = request_of(name);
        assert_int_equal(request != NULL, requests[i].exists);
        if (request == NULL)
            continue;
        if (request->held.address.family != 0)
            cidr_format(&request->held, text);
        if (strcmp(text, requests[i].cidr) != 0)
            fail_msg("%s holds \"%s\" in memory and has \"%s\"", name, text, requests[i].cidr);
        if (replica != &replicas[0] || *text != '\0')
            continue;
        if (request->verdict != IPAM_BUSY && request->verdict != IPAM_INVALID)
            fail_msg("%s waits as %s", name, ipam_verdict_name(request->verdict));
        if (request->verdict == IPAM_BUSY && strcmp(requests[i].wish, "32") == 0)
            assert_int_equal(used_of_range(requests[i].range == 0 ? "r0" : "r1"), 96);
    }
}

static void run(uint64_t seed)
{
    chance = (seed + 1) * UINT64_C(0x9E3779B97F4A7C15) | 1;
    memset(ranges, 0, sizeof(ranges));
    memset(requests, 0, sizeof(requests));
    memset(flights, 0, sizeof(flights));
    memset(replicas, 0, sizeof(replicas));
    event_count = 0;
    for (unsigned int i = 0; i < RANGES; i++)
        edit_range(i);
    for (unsigned int i = 0; i < REPLICAS; i++)
        restart(&replicas[i]);
    lead(&replicas[0], true);
    for (int i = 0; i < STEPS; i++)
        step();
    come_to_rest();
    for (unsigned int i = 0; i < REPLICAS; i++)
        assert_at_rest(&replicas[i]);
    for (unsigned int i = 0; i < REPLICAS; i++)
        state_free(replicas[i].state);
    while (event_count > 0)
        free(events[--event_count].json);
}

static void nothing_is_given_twice(void **state)
{
    (void)state;
    const char *wanted = getenv("IPWARDEN_SEED");
    uint64_t seed = wanted != NULL ? strtoull(wanted, NULL, 10)
                                   : (uint64_t)clock_wall(clock_system()) / CLOCK_MILLISECOND;
    for (uint64_t i = 0; i < (wanted != NULL ? 1 : RUNS); i++) {
        print_message("seed %llu\n", (unsigned long long)(seed + i));
        run(seed + i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_given_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
