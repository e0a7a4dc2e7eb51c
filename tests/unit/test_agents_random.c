/* Several agents on one segment, an API that some of them see, and a leader, through random faults
 * from a seed. Whatever happens: two that can hear each other never both have an address for longer
 * than a second, nothing that others have set is touched, and when all is well again every address is
 * on exactly the node that its claim names.
 *
 * What no agent can help is left out: a kernel that goes on answering without its agent, on a link
 * that was away meanwhile. And the second begins when a node that lost the API knows it: until then,
 * three heartbeats, only those that it took from or gave to disturb its belief. */
#include "tests/unit/fake_segment.h"

#define NODES 4
#define CLAIMS 10
#define SLICE (5 * MS)
#define ROUND (15 * CLOCK_SECOND)
#define ROUNDS 12
#define TOGETHER_MOST (1000 * MS)
#define DEAD_AFTER (4 * CLOCK_SECOND)
#define STALE_AFTER (6 * CLOCK_SECOND)

struct claim {
    char name[24];
    char address[24];
    int node;
    int standby;
    int bound;
    int64_t together; /* for how long it has been on two */
};

static struct segment segment;
static struct claim claims[CLAIMS];
static bool api_up;
static struct {
    bool connected;
    bool was_connected;
    bool complete;
    bool dead; /* as the leader says */
    int64_t contact;
    int64_t deliver_at[CLAIMS]; /* 0: nothing is to be delivered */
    bool knows[CLAIMS];
    bool takes[CLAIMS]; /* a takeover to be written */
    bool writes[CLAIMS];
    enum agent_state state[CLAIMS];
    int64_t answer_at[NODES + 1];
    int64_t restart_at;
    int64_t go_on_at;
} nodes[NODES + 1];
static char history[64 * 1024];
static bool verbose;

static int64_t now(void)
{
    return segment_now(&segment);
}

static bool chance(unsigned int of_thousand)
{
    return segment_random(&segment, 1000) < of_thousand;
}

static int some_node(void)
{
    return 1 + (int)segment_random(&segment, NODES);
}

static void remember(const char *what, int node, int detail)
{
    size_t length = strlen(history);
    snprintf(history + length, sizeof(history) - length, "%.3f %s h%d %d\n",
             (double)(now() - 1000 * CLOCK_SECOND) / 1e9, what, node, detail);
    if (verbose)
        fputs(history + length, stderr);
}

static int number_of(const char *name)
{
    return atoi(name + 1);
}

/* --- the API --- */

static bool sees(int node)
{
    return api_up && nodes[node].connected && segment.hosts[node].core != NULL &&
           !segment.hosts[node].stopped;
}

static void changed(int claim)
{
    for (int node = 1; node <= NODES; node++) {
        if (nodes[node].deliver_at[claim] == 0)
            nodes[node].deliver_at[claim] =
                now() + (int64_t)(1 + segment_random(&segment, 30)) * MS;
    }
}

static const char *name_of(int node)
{
    return node == 0 ? "" : segment.hosts[node].name;
}

static void deliver_claim(int node, int index)
{
    struct host *host = &segment.hosts[node];
    const struct claim *claim = &claims[index];
    nodes[node].deliver_at[index] = 0;
    if (claim->node == node || claim->standby == node) {
        nodes[node].knows[index] = true;
        wish(host, claim->name, claim->address, claim->node == node ? AGENT_HOLD : AGENT_STAND_BY,
             name_of(claim->node), name_of(claim->standby), name_of(claim->bound));
        nodes[node].writes[index] |=
            claim->node == node && claim->bound != node; /* says it again */
    } else if (nodes[node].knows[index]) {
        nodes[node].knows[index] = false;
        agent_core_drop(host->core, claim->name);
    }
}

static void write_claim(int node, int index)
{
    struct claim *claim = &claims[index];
    if (nodes[node].takes[index]) {
        nodes[node].takes[index] = false;
        if (claim->standby == node) {
            claim->node = node;
            claim->standby = 0;
            remember("wrote takeover", node, index);
            changed(index);
        }
    }
    if (!nodes[node].writes[index])
        return;
    nodes[node].writes[index] = false;
    int bound = claim->bound;
    if (nodes[node].state[index] != AGENT_BOUND && bound == node)
        bound = 0;
    else if (nodes[node].state[index] == AGENT_BOUND && claim->node == node)
        bound = node;
    if (bound != claim->bound) {
        claim->bound = bound;
        changed(index);
    }
}

static void serve_node(int node)
{
    struct host *host = &segment.hosts[node];
    if (host->core == NULL || host->stopped)
        return;
    if (!sees(node)) {
        nodes[node].was_connected = false;
        agent_core_view(host->core, now() - nodes[node].contact < STALE_AFTER);
        return;
    }
    if (!nodes[node].was_connected) {
        nodes[node].was_connected = true;
        for (int i = 0; i < CLAIMS; i++)
            deliver_claim(node, i);
        if (!nodes[node].complete)
            agent_core_replaced(host->core);
        nodes[node].complete = true;
        for (int other = 1; other <= NODES; other++)
            host_meet(host, other, nodes[other].dead);
    }
    nodes[node].contact = now();
    agent_core_view(host->core, true);
    for (int i = 0; i < CLAIMS; i++) {
        if (nodes[node].deliver_at[i] != 0 && nodes[node].deliver_at[i] <= now())
            deliver_claim(node, i);
        write_claim(node, i);
    }
    for (int other = 1; other <= NODES; other++) {
        if (nodes[node].answer_at[other] != 0 && nodes[node].answer_at[other] <= now()) {
            nodes[node].answer_at[other] = 0;
            host_meet(host, other, nodes[other].dead);
        }
    }
}

static int index_of(const char *claim)
{
    return atoi(claim + 1);
}

static void on_wrote(struct host *host, const char *claim, enum agent_state state)
{
    int index = index_of(claim);
    nodes[host->number].state[index] = state;
    nodes[host->number].writes[index] = true;
    if (state != AGENT_BOUND)
        nodes[host->number].takes[index] = false;
    if (verbose)
        fprintf(stderr, "%.3f %s says %s %d\n", (double)(now() - 1000 * CLOCK_SECOND) / 1e9,
                host->name, claim, (int)state);
}

static void on_took(struct host *host, const char *claim)
{
    remember("took over", host->number, index_of(claim));
    nodes[host->number].takes[index_of(claim)] = true;
}

static void on_wants(struct host *host, const char *name)
{
    nodes[host->number].answer_at[number_of(name)] =
        now() + (int64_t)(1 + segment_random(&segment, 20)) * MS;
}

/* --- the leader --- */

static bool qualifies(int node)
{
    return !nodes[node].dead && host_runs(&segment.hosts[node]);
}

/* Another one that qualifies; 0: there is none. */
static int choose(int but)
{
    int first = some_node();
    for (int i = 0; i < NODES; i++) {
        int node = 1 + (first + i) % NODES;
        if (node != but && qualifies(node))
            return node;
    }
    return 0;
}

static void lead(void)
{
    if (!api_up)
        return;
    for (int node = 1; node <= NODES; node++) {
        bool dead = now() - nodes[node].contact > DEAD_AFTER;
        if (dead == nodes[node].dead)
            continue;
        nodes[node].dead = dead;
        remember(dead ? "is called dead" : "is called alive", node, 0);
        for (int other = 1; other <= NODES; other++)
            nodes[other].answer_at[node] = now() + 10 * MS;
    }
    for (int i = 0; i < CLAIMS; i++) {
        struct claim *claim = &claims[i];
        int node = claim->node;
        int standby = claim->standby;
        if (!qualifies(node)) {
            int chosen = standby != 0 && qualifies(standby) ? standby : choose(0);
            node = chosen != 0 ? chosen : node;
        }
        if (standby == node || standby == 0 || !qualifies(standby))
            standby = choose(node);
        if (node == claim->node && standby == claim->standby)
            continue;
        if (node != claim->node)
            remember("is given", node, i);
        claim->node = node;
        claim->standby = standby;
        changed(i); /* status.boundNode is only its node's to clear: it is the proof */
    }
}

/* --- faults --- */

static bool is_whole(int node)
{
    const struct host *host = &segment.hosts[node];
    return host->core != NULL && !host->stopped && host_runs(host) && host->group == 0;
}

/* A kernel that answers without its agent is only looked at while it is where it was. */
static bool may_pause(int node)
{
    return is_whole(node) && sees(node);
}

static bool all_run(void)
{
    for (int node = 1; node <= NODES; node++) {
        if (segment.hosts[node].core == NULL || segment.hosts[node].stopped)
            return false;
    }
    return true;
}

static void kill_agent(int node)
{
    remember("is killed", node, 0);
    host_kill(&segment.hosts[node]);
    nodes[node].was_connected = false;
    nodes[node].complete = false;
    memset(nodes[node].knows, 0, sizeof(nodes[node].knows));
    memset(nodes[node].takes, 0, sizeof(nodes[node].takes));
    memset(nodes[node].writes, 0, sizeof(nodes[node].writes));
    for (int i = 0; i < CLAIMS; i++)
        nodes[node].state[i] = AGENT_RELEASED;
    nodes[node].restart_at = now() + (int64_t)segment_random(&segment, 2000) * MS;
}

static void start_agent(int node)
{
    struct host *host = &segment.hosts[node];
    nodes[node].restart_at = 0;
    host->wrote = on_wrote;
    host->took = on_took;
    host->wants = on_wants;
    host_start(host, NULL);
    /* From its record. */
    for (int other = 1; other <= NODES; other++)
        host_meet(host, other, false);
}

static void fault(void)
{
    int node = some_node();
    struct host *host = &segment.hosts[node];
    bool agent = host->core != NULL && !host->stopped;
    switch (segment_random(&segment, 8)) {
    case 0:
    case 1:
        if (!agent)
            break;
        remember(host_runs(host) ? "link down" : "link up", node, 0);
        host_set_link(host, !host_runs(host));
        break;
    case 2:
        if (!all_run())
            break;
        host->group = (int)segment_random(&segment, 3);
        remember("group", node, host->group);
        break;
    case 3:
        if (!agent)
            break;
        nodes[node].connected = !nodes[node].connected;
        remember("API", node, nodes[node].connected);
        break;
    case 4:
        if (all_run() && chance(300)) {
            api_up = !api_up;
            remember("API for all", 0, api_up);
        }
        break;
    case 5:
        if (agent && may_pause(node))
            kill_agent(node);
        break;
    case 6:
        if (agent && may_pause(node)) {
            host->stopped = true;
            nodes[node].go_on_at = now() + (int64_t)segment_random(&segment, 3000) * MS;
            remember("is stopped", node, 0);
        }
        break;
    default: { /* a planned move */
        int i = (int)segment_random(&segment, CLAIMS);
        int other = choose(claims[i].node);
        if (api_up && other != 0) {
            remember("is given as planned", other, i);
            claims[i].standby = claims[i].node;
            claims[i].node = other;
            changed(i);
        }
        break;
    }
    }
}

static void heal(void)
{
    remember("all is well again", 0, 0);
    api_up = true;
    for (int node = 1; node <= NODES; node++) {
        struct host *host = &segment.hosts[node];
        nodes[node].connected = true;
        host->group = 0;
        if (host->stopped)
            nodes[node].go_on_at = now();
        if (!host_runs(host))
            host_set_link(host, true);
    }
}

static void go_on(int node)
{
    if (nodes[node].restart_at != 0 && nodes[node].restart_at <= now())
        start_agent(node);
    if (nodes[node].go_on_at != 0 && nodes[node].go_on_at <= now()) {
        nodes[node].go_on_at = 0;
        segment.hosts[node].stopped = false;
        remember("goes on", node, 0);
    }
}

/* --- what must hold --- */

/* How many of one group have it. */
static int most_together(const char *address)
{
    int most = 0;
    for (int group = 0; group < 3; group++) {
        int count = 0;
        for (int node = 1; node <= NODES; node++) {
            const struct host *host = &segment.hosts[node];
            count += host->group == group && host_serves(host, address);
        }
        most = count > most ? count : most;
    }
    return most;
}

/* One that has it takes its view for fresh, and it isn't. */
static bool believes_wrongly(const char *address)
{
    for (int node = 1; node <= NODES; node++) {
        if (host_serves(&segment.hosts[node], address) && !sees(node) &&
            now() - nodes[node].contact < STALE_AFTER)
            return true;
    }
    return false;
}

static void check(void)
{
    for (int i = 0; i < CLAIMS; i++) {
        struct claim *claim = &claims[i];
        if (most_together(claim->address) < 2)
            claim->together = 0;
        else if (!believes_wrongly(claim->address))
            claim->together += SLICE;
        if (claim->together <= TOGETHER_MOST)
            continue;
        for (int node = 1; node <= NODES; node++)
            fprintf(stderr, "h%d: %s, claim %s, view %s, group %d\n", node,
                    host_serves(&segment.hosts[node], claim->address) ? "has it" : "-",
                    claim->node == node      ? "names it"
                    : claim->standby == node ? "standby"
                                             : "-",
                    sees(node) ? "yes" : "no", segment.hosts[node].group);
        fail_msg("%s was on two nodes for too long, at %.3f:\n%s", claim->name,
                 (double)(now() - 1000 * CLOCK_SECOND) / 1e9, history);
    }
}

static void check_settled(void)
{
    for (int i = 0; i < CLAIMS; i++) {
        const struct claim *claim = &claims[i];
        for (int node = 1; node <= NODES; node++) {
            if (host_serves(&segment.hosts[node], claim->address) != (claim->node == node) ||
                claim->bound != claim->node)
                fail_msg("%s is named h%d, bound h%d, and %s on h%d:\n%s", claim->name, claim->node,
                         claim->bound,
                         host_serves(&segment.hosts[node], claim->address) ? "is" : "isn't", node,
                         history);
        }
    }
}

static void run_for(int64_t nanoseconds, unsigned int faults)
{
    for (int64_t passed = 0; passed < nanoseconds; passed += SLICE) {
        pass(&segment, SLICE);
        for (int node = 1; node <= NODES; node++) {
            go_on(node);
            serve_node(node);
        }
        if (passed % (100 * MS) == 0)
            lead();
        if (chance(faults))
            fault();
        check();
    }
}

static void run_seed(uint64_t seed)
{
    history[0] = '\0';
    memset(nodes, 0, sizeof(nodes));
    memset(claims, 0, sizeof(claims));
    segment_init(&segment, NODES);
    segment.random = seed * 0x9e3779b97f4a7c15ULL + 1;
    segment.loss = 5;
    segment.delay_most = 3 * MS;
    api_up = true;
    for (int node = 1; node <= NODES; node++) {
        nodes[node].connected = true;
        nodes[node].contact = now();
        host_put_address(&segment.hosts[node], LINK, "192.0.2.200", 32, false);
        start_agent(node);
    }
    for (int i = 0; i < CLAIMS; i++) {
        snprintf(claims[i].name, sizeof(claims[i].name), "c%d", i);
        snprintf(claims[i].address, sizeof(claims[i].address), "192.0.2.%d", 100 + i);
        claims[i].node = some_node();
    }
    for (unsigned int round = 0; round < ROUNDS; round++) {
        run_for(ROUND, round % 3 == 2 ? 15 : 5);
        heal();
        run_for(25 * CLOCK_SECOND, 0);
        check_settled();
        history[0] = '\0';
    }
    segment_clear(&segment);
}

static void test_random(void **state)
{
    (void)state;
    const char *only = getenv("SEED");
    const char *many = getenv("SEEDS");
    verbose = getenv("VERBOSE") != NULL;
    uint64_t first = only != NULL ? strtoull(only, NULL, 10) : 1;
    uint64_t count = many != NULL ? strtoull(many, NULL, 10) : only != NULL ? 1 : 6;
    for (uint64_t seed = first; seed < first + count; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        run_seed(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
