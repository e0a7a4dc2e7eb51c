/* A network segment that isn't there: hosts with a kernel's table of addresses and most of them with
 * an agent, frames that take their time or get lost, and a clock that goes from event to event. */
#ifndef IPWARDEN_TESTS_FAKE_SEGMENT_H
#define IPWARDEN_TESTS_FAKE_SEGMENT_H

#include "netlink/agent_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOSTS 8
#define LINK 2 /* the index of each host's link "eth0"; "lo" has 1 */
#define LOOPBACK 1
#define MS CLOCK_MILLISECOND

struct segment;

/* What was reported last of a claim. */
struct told {
    char claim[24];
    enum agent_state state;
    uint8_t mac[AGENT_MAC_SIZE];
    unsigned int reports;
};

struct host {
    struct segment *segment;
    int number; /* also the last byte of its MAC, and of its own address 192.0.2.x and 2001:db8::x */
    char name[16];
    struct links *links;
    struct agent_core *core; /* NULL: a host without an agent */
    bool stopped;            /* the agent; its kernel goes on */
    bool api;                /* what neighbour_wanted asks for is answered */
    bool asked[HOSTS];
    bool dead[HOSTS]; /* what was told of others last */
    bool forgets;     /* a kernel that keeps no marks: the agent's records have them */
    struct told told[64];
    size_t told_count;
    char log[8192]; /* of reports: "a probing; a bound; " and "taken a from h2; " */
    unsigned int wanted;
    unsigned int probes;
    unsigned int announcements;
    unsigned int solicitations;
    unsigned int batches;
    int bind_result; /* for the next batch */
    int group;       /* hosts of different groups don't hear each other */
    void (*wrote)(struct host *host, const char *claim, enum agent_state state);
    void (*took)(struct host *host, const char *claim);
    void (*wants)(struct host *host, const char *name);
};

struct flying {
    int64_t at;
    uint64_t order;
    int from;
    int to;
    struct frame frame;
    bool for_kernel; /* a question that its kernel answers */
};

struct segment {
    struct clock_fake clock;
    struct host hosts[HOSTS]; /* number 0 isn't used */
    struct flying *flying;
    size_t flying_count;
    size_t flying_capacity;
    uint64_t order;
    uint64_t random;
    unsigned int loss; /* of 1000 frames */
    int64_t delay_most;
    void (*watch)(struct segment *segment); /* after each event */
};

static inline uint64_t segment_random(struct segment *segment, uint64_t below)
{
    segment->random ^= segment->random << 13;
    segment->random ^= segment->random >> 7;
    segment->random ^= segment->random << 17;
    return (segment->random >> 11) % below;
}

static inline struct address make_address(const char *text)
{
    struct address address;
    assert_int_equal(address_parse(text, &address, NULL), 0);
    return address;
}

static inline void host_mac(int number, uint8_t ret_mac[AGENT_MAC_SIZE])
{
    memcpy(ret_mac, (uint8_t[]){2, 0, 0, 0, 0, (uint8_t)number}, AGENT_MAC_SIZE);
}

static inline int64_t segment_now(const struct segment *segment)
{
    return clock_monotonic(&segment->clock.clock);
}

/* --- a host's kernel --- */

static inline bool host_runs(const struct host *host)
{
    const struct link *link = links_by_index(host->links, LINK);
    return link != NULL && link->up && link->carrier;
}

static inline bool host_has(const struct host *host, const struct address *address)
{
    return links_find(host->links, LINK, address) != NULL;
}

static inline bool host_serves(const struct host *host, const char *address)
{
    struct address parsed = make_address(address);
    return host_runs(host) && host_has(host, &parsed);
}

static inline void host_put_link(struct host *host, int index, bool runs)
{
    struct link link = {.index = index, .up = runs, .carrier = runs};
    link.ethernet = index != LOOPBACK;
    link.loopback = index == LOOPBACK;
    (void)snprintf(link.name, sizeof(link.name), "%s", index == LOOPBACK ? "lo" : "eth0");
    if (link.ethernet)
        host_mac(host->number, link.mac);
    assert_int_equal(links_put(host->links, &link, NULL), 0);
}

static inline void host_put_address(struct host *host, int link, const char *text, uint8_t length,
                                    bool ours)
{
    struct link_address address = {
        .link = link, .address = make_address(text), .prefix_length = length, .ours = ours};
    assert_int_equal(links_put_address(host->links, &address, NULL), 0);
}

static inline void segment_send(struct segment *segment, int from, int to,
                                const struct frame *frame, bool for_kernel)
{
    struct host *sender = &segment->hosts[from];
    if (!host_runs(sender))
        return;
    for (int number = 1; number < HOSTS; number++) {
        struct host *host = &segment->hosts[number];
        if (number == from || (to != 0 && to != number) || host->links == NULL ||
            host->group != sender->group || segment_random(segment, 1000) < segment->loss)
            continue;
        if (segment->flying_count == segment->flying_capacity) {
            segment->flying_capacity = segment->flying_capacity * 2 + 64;
            segment->flying =
                realloc(segment->flying, segment->flying_capacity * sizeof(*segment->flying));
            assert_non_null(segment->flying);
        }
        int64_t delay = MS / 10;
        if (segment->delay_most > 0)
            delay += (int64_t)segment_random(segment, (uint64_t)segment->delay_most);
        segment->flying[segment->flying_count++] = (struct flying){
            .at = segment_now(segment) + delay,
            .order = segment->order++,
            .from = from,
            .to = number,
            .frame = *frame,
            .for_kernel = for_kernel,
        };
    }
}

static inline struct frame make_frame(enum frame_kind kind, int mac)
{
    struct frame frame = {.kind = kind, .override = true};
    host_mac(mac, frame.sender_mac);
    host_mac(mac, frame.source_mac);
    return frame;
}

/* A frame from a host, or from somebody who says it is one. */
static inline void segment_claim(struct segment *segment, int from, const char *address)
{
    struct frame frame = make_frame(FRAME_ANNOUNCEMENT, from);
    frame.sender = make_address(address);
    frame.target = frame.sender;
    segment_send(segment, from, 0, &frame, false);
}

static inline void deliver(struct segment *segment, const struct flying *flying)
{
    struct host *host = &segment->hosts[flying->to];
    if (!host_runs(host) || host->group != segment->hosts[flying->from].group)
        return;
    if (host->core != NULL && !host->stopped)
        agent_core_heard(host->core, LINK, &flying->frame);
    if (flying->for_kernel && host_has(host, &flying->frame.target)) {
        struct frame reply = make_frame(FRAME_REPLY, host->number);
        reply.sender = flying->frame.target;
        reply.target = flying->frame.sender;
        segment_send(segment, host->number, flying->from, &reply, false);
    }
}

/* --- what the agent does to it --- */

static inline bool net_recorded(void *context, int link, const struct address *address)
{
    struct host *host = context;
    const struct link_address *present = links_find(host->links, link, address);
    return present != NULL && host->forgets && present->prefix_length == 32;
}

static inline void net_bind(void *context, struct agent_binding *bindings, size_t count)
{
    struct host *host = context;
    host->batches++;
    for (size_t i = 0; i < count; i++) {
        const struct link_address *present =
            links_find(host->links, bindings[i].link, &bindings[i].address);
        bindings[i].result = host->bind_result;
        if (host->bind_result != 0)
            continue;
        if (present != NULL) {
            bindings[i].result = present->ours ? -EALREADY : -EEXIST;
            continue;
        }
        struct link_address added = {.link = bindings[i].link,
                                     .address = bindings[i].address,
                                     .prefix_length = bindings[i].prefix_length,
                                     .ours = true};
        bindings[i].result = links_put_address(host->links, &added, NULL);
    }
    host->bind_result = 0;
}

static inline void net_unbind(void *context, struct agent_binding *bindings, size_t count)
{
    struct host *host = context;
    host->batches++;
    for (size_t i = 0; i < count; i++) {
        const struct link_address *present =
            links_find(host->links, bindings[i].link, &bindings[i].address);
        bindings[i].result = 0;
        if (present == NULL)
            continue;
        assert_true(present->ours || host->forgets); /* never what others have set */
        struct link_address gone = *present;
        assert_true(links_remove_address(host->links, &gone));
    }
}

static inline void net_probe(void *context, int link, const struct address *address)
{
    struct host *host = context;
    assert_int_equal(link, LINK);
    struct frame frame = make_frame(FRAME_PROBE, host->number);
    frame.target = *address;
    host->probes++;
    segment_send(host->segment, host->number, 0, &frame, true);
}

static inline void net_announce(void *context, int link, const struct address *address)
{
    struct host *host = context;
    assert_int_equal(link, LINK);
    struct frame frame = make_frame(FRAME_ANNOUNCEMENT, host->number);
    frame.sender = *address;
    frame.target = *address;
    host->announcements++;
    segment_send(host->segment, host->number, 0, &frame, false);
}

static inline void net_solicit(void *context, int link, const struct address *address,
                               const uint8_t *mac)
{
    struct host *host = context;
    char own[32];
    assert_int_equal(link, LINK);
    (void)snprintf(own, sizeof(own),
                   address->family == ADDRESS_IPV4 ? "192.0.2.%d" : "2001:db8::%d", host->number);
    struct frame frame = make_frame(FRAME_REQUEST, host->number);
    frame.sender = make_address(own);
    frame.target = *address;
    host->solicitations++;
    segment_send(host->segment, host->number, mac != NULL ? mac[5] : 0, &frame, true);
}

static const struct agent_network segment_network = {
    .recorded = net_recorded,
    .bind = net_bind,
    .unbind = net_unbind,
    .probe = net_probe,
    .announce = net_announce,
    .solicit = net_solicit,
};

/* --- what it says --- */

static inline struct told *told_of(struct host *host, const char *claim)
{
    for (size_t i = 0; i < host->told_count; i++) {
        if (strcmp(host->told[i].claim, claim) == 0)
            return &host->told[i];
    }
    if (host->told_count == sizeof(host->told) / sizeof(host->told[0]))
        return NULL;
    struct told *told = &host->told[host->told_count++];
    memset(told, 0, sizeof(*told));
    (void)snprintf(told->claim, sizeof(told->claim), "%s", claim);
    return told;
}

static inline void note(struct host *host, const char *format, const char *one, const char *other)
{
    size_t length = strlen(host->log);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(host->log + length, sizeof(host->log) - length, format, one, other);
#pragma GCC diagnostic pop
}

static inline void up_report(void *context, const struct agent_report *report)
{
    static const char *const names[] = {"probing", "bound", "in-use", "released", "link-down"};
    struct host *host = context;
    struct told *told = told_of(host, report->claim);
    assert_true((report->mac != NULL) ==
                (report->state == AGENT_IN_USE ||
                 (report->state == AGENT_BOUND && strcmp(report->link, "lo") != 0)));
    if (told != NULL) {
        told->state = report->state;
        told->reports++;
        if (report->mac != NULL)
            memcpy(told->mac, report->mac, sizeof(told->mac));
    }
    note(host, "%s %s; ", report->claim, names[report->state]);
    if (host->wrote != NULL)
        host->wrote(host, report->claim, report->state);
}

static inline void up_taken_over(void *context, const char *claim, const char *from)
{
    struct host *host = context;
    note(host, "taken %s from %s; ", claim, from);
    if (host->took != NULL)
        host->took(host, claim);
}

static inline void up_wanted(void *context, const char *name)
{
    struct host *host = context;
    host->wanted++;
    host->asked[atoi(name + 1)] = true;
    if (host->wants != NULL)
        host->wants(host, name);
}

static inline void up_heard(void *context, const char *name, bool answers, bool ever)
{
    struct host *host = context;
    note(host, answers ? "%s answers%s; " : ever ? "%s silent%s; " : "%s never%s; ", name, "");
}

static inline void host_start(struct host *host, const struct agent_settings *settings)
{
    static const struct agent_upcalls upcalls = {.report = up_report,
                                                 .taken_over = up_taken_over,
                                                 .neighbour_wanted = up_wanted,
                                                 .neighbour_heard = up_heard};
    struct agent_settings defaults;
    agent_settings_default(&defaults);
    struct agent_core_options options = {.clock = &host->segment->clock.clock,
                                         .node = host->name,
                                         .links = host->links,
                                         .network = &segment_network,
                                         .network_context = host,
                                         .settings = settings != NULL ? settings : &defaults,
                                         .upcalls = &upcalls,
                                         .upcall_context = host};
    assert_int_equal(agent_core_new(&options, &host->core, NULL), 0);
    agent_core_look(host->core, LINK);
}

static inline void host_kill(struct host *host)
{
    agent_core_free(host->core);
    host->core = NULL;
}

static inline void host_add(struct segment *segment, int number)
{
    struct host *host = &segment->hosts[number];
    char own[32];
    host->segment = segment;
    host->number = number;
    host->links = links_new();
    assert_non_null(host->links);
    (void)snprintf(host->name, sizeof(host->name), "h%d", number);
    host_put_link(host, LOOPBACK, true);
    host_put_link(host, LINK, true);
    (void)snprintf(own, sizeof(own), "192.0.2.%d", number);
    host_put_address(host, LINK, own, 24, false);
    (void)snprintf(own, sizeof(own), "2001:db8::%d", number);
    host_put_address(host, LINK, own, 64, false);
}

/* Tells an agent of another node. */
static inline void host_meet(struct host *host, int other, bool dead)
{
    char name[16];
    char own[2][32];
    uint8_t mac[1][AGENT_MAC_SIZE];
    host->dead[other] = dead;
    (void)snprintf(name, sizeof(name), "h%d", other);
    (void)snprintf(own[0], sizeof(own[0]), "192.0.2.%d", other);
    (void)snprintf(own[1], sizeof(own[1]), "2001:db8::%d", other);
    struct address addresses[2] = {make_address(own[0]), make_address(own[1])};
    host_mac(other, mac[0]);
    struct agent_neighbour neighbour = {.name = name,
                                        .addresses = addresses,
                                        .address_count = 2,
                                        .macs = mac,
                                        .mac_count = 1,
                                        .dead = dead};
    assert_int_equal(agent_core_neighbour(host->core, &neighbour, NULL), 0);
}

static inline void host_set_link(struct host *host, bool runs)
{
    host_put_link(host, LINK, runs);
    if (host->core != NULL && !host->stopped)
        agent_core_look(host->core, LINK);
}

static inline void segment_init(struct segment *segment, int hosts)
{
    memset(segment, 0, sizeof(*segment));
    clock_fake_init(&segment->clock, 1000 * CLOCK_SECOND, 5000 * CLOCK_SECOND);
    segment->random = 88172645463325252ULL;
    for (int number = 1; number <= hosts; number++)
        host_add(segment, number);
}

static inline void segment_clear(struct segment *segment)
{
    for (int number = 1; number < HOSTS; number++) {
        agent_core_free(segment->hosts[number].core);
        links_free(segment->hosts[number].links);
    }
    free(segment->flying);
    memset(segment, 0, sizeof(*segment));
}

/* --- time --- */

static inline size_t first_flying(const struct segment *segment)
{
    size_t first = SIZE_MAX;
    for (size_t i = 0; i < segment->flying_count; i++) {
        const struct flying *flying = &segment->flying[i];
        if (first == SIZE_MAX || flying->at < segment->flying[first].at ||
            (flying->at == segment->flying[first].at &&
             flying->order < segment->flying[first].order))
            first = i;
    }
    return first;
}

static inline void answer(struct host *host)
{
    for (int other = 1; other < HOSTS && host->api; other++) {
        if (host->asked[other])
            host_meet(host, other, host->dead[other]);
        host->asked[other] = false;
    }
}

static inline void settle(struct segment *segment)
{
    for (int number = 1; number < HOSTS; number++) {
        if (segment->hosts[number].core == NULL || segment->hosts[number].stopped)
            continue;
        answer(&segment->hosts[number]);
        agent_core_run(segment->hosts[number].core);
    }
    if (segment->watch != NULL)
        segment->watch(segment);
}

/* Lets nanoseconds pass. */
static inline void pass(struct segment *segment, int64_t nanoseconds)
{
    int64_t until = segment_now(segment) + nanoseconds;
    settle(segment);
    for (;;) {
        int64_t next = until;
        size_t first = first_flying(segment);
        for (int number = 1; number < HOSTS; number++) {
            const struct host *host = &segment->hosts[number];
            if (host->core != NULL && !host->stopped && agent_core_next(host->core) < next)
                next = agent_core_next(host->core);
        }
        bool frame = first != SIZE_MAX && segment->flying[first].at <= next;
        if (frame)
            next = segment->flying[first].at;
        if (next > segment_now(segment))
            clock_fake_advance(&segment->clock, next - segment_now(segment));
        if (frame) {
            struct flying flying = segment->flying[first];
            segment->flying[first] = segment->flying[--segment->flying_count];
            deliver(segment, &flying);
        } else if (next >= until) {
            settle(segment);
            break;
        }
        settle(segment);
    }
}

/* --- wishes --- */

static inline void wish(struct host *host, const char *claim, const char *address,
                        enum agent_role role, const char *holder, const char *standby,
                        const char *bound)
{
    struct agent_wish wished = {.claim = claim,
                                .address = make_address(address),
                                .role = role,
                                .link = "",
                                .holder = holder,
                                .standby = standby,
                                .bound_node = bound};
    assert_int_equal(agent_core_set(host->core, &wished, NULL), 0);
}

#endif
