/* The heartbeat's timer and its four requests: read or make the IpNode, beat, say what changed, and
 * count the nodes. Each is under way at most once; what fails is done again at the next beat. */
#include "server/agent/agent_heartbeat.h"

#include "k8s/backoff.h"
#include "server/agent/agent_self.h"
#include "server/base/buffer.h"
#include "server/base/json_view.h"
#include "server/base/log.h"
#include "server/objects/ip_node.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST ((size_t)1024 * 1024)
/* For each node there is: 18 writes a second by all of them, and 20 with what is uneven. */
#define SHARE (55 * CLOCK_MILLISECOND)
#define COUNT_PERIOD (30 * CLOCK_SECOND)
#define INTERVALS_FRESH 3

struct agent_heartbeat {
    struct agent_heartbeat_options options;
    const struct clock *clock;
    struct agent_self self; /* what the status says but for the heartbeat */
    char *stored;           /* the status as it was last seen, JSON */
    bool known;             /* the IpNode is there */
    bool finding, beating, telling, counting;
    bool changed; /* what it says differs from what was told */
    bool stopping;
    bool failing; /* the last heartbeat did */
    uint64_t revision;
    int64_t interval;
    int64_t sent_at;     /* monotonic: when the last heartbeat was */
    int64_t accepted_at; /* monotonic: when the last accepted heartbeat was sent; 0: none was */
    int64_t counted_at;
    bool apart; /* it beats at another time than those who started with it */
    bool watches_work;
    bool fresh;
    bool judging; /* a judgement of freshness has been asked for */
    _Atomic size_t pending;
};

static int64_t now(const struct agent_heartbeat *heartbeat)
{
    return clock_monotonic(heartbeat->clock);
}

int64_t agent_heartbeat_interval(int64_t least, uint64_t nodes)
{
    uint64_t most = INT64_MAX / CLOCK_SECOND;
    int64_t wanted = (int64_t)(nodes < most ? nodes : most) * SHARE;
    return wanted > least ? wanted : least;
}

/* --- freshness --- */

static void judge_again(void *context);

/* When what is known now becomes stale, unless another heartbeat is accepted. */
static int64_t stale_at(const struct agent_heartbeat *heartbeat)
{
    return heartbeat->accepted_at + INTERVALS_FRESH * heartbeat->interval;
}

static void judge(struct agent_heartbeat *heartbeat)
{
    int64_t left = heartbeat->accepted_at != 0 ? stale_at(heartbeat) - now(heartbeat) : 0;
    /* One that was refused or not answered is reason enough: another node may have been told that
     * this one is dead, and whoever believes in a stale claim doesn't give way. */
    bool fresh = heartbeat->watches_work && left > 0 && !heartbeat->failing;
    if (left > 0 && !heartbeat->judging)
        heartbeat->judging =
            k8s_after(heartbeat->options.client, left, judge_again, heartbeat) == 0;
    if (fresh == heartbeat->fresh)
        return;
    heartbeat->fresh = fresh;
    heartbeat->options.fresh(heartbeat->options.context, fresh);
}

static void judge_again(void *context)
{
    struct agent_heartbeat *heartbeat = context;
    heartbeat->judging = false;
    judge(heartbeat);
}

/* --- requests --- */

static int submit(struct agent_heartbeat *heartbeat, const struct k8s_request *what,
                  struct buffer *body, k8s_callback callback)
{
    struct k8s_request request = *what;
    if (body != NULL && buffer_failed(body))
        return -ENOMEM;
    if (body != NULL) {
        request.body = body->data;
        request.body_length = body->length;
    }
    request.deadline =
        now(heartbeat) + (heartbeat->interval > CLOCK_SECOND ? heartbeat->interval : CLOCK_SECOND);
    return k8s_submit(heartbeat->options.client, &request, callback, heartbeat, NULL);
}

static void tell(struct agent_heartbeat *heartbeat);
static void find(struct agent_heartbeat *heartbeat);
static void beat(struct agent_heartbeat *heartbeat);

static void keep_stored(struct agent_heartbeat *heartbeat, const struct ip_node *node)
{
    char *copy = strdup(node->status != NULL ? node->status : "");
    if (copy == NULL)
        return;
    free(heartbeat->stored);
    heartbeat->stored = copy;
}

static void note_failure(struct agent_heartbeat *heartbeat, const struct error *error)
{
    if (!heartbeat->failing && error->code != -ECANCELED)
        log_warning("the heartbeat isn't accepted", "error", error->text);
    heartbeat->failing = true;
}

/* The IpNode is there: go on from the revision that it has. */
static void found(struct agent_heartbeat *heartbeat, const struct k8s_response *response)
{
    _cleanup_ip_node_ struct ip_node *node = NULL;
    struct error error;
    if (ip_node_decode_text(response->body, response->body_length, &node, &error) < 0) {
        log_warning("this node's IpNode can't be read", "error", error.text);
        return;
    }
    keep_stored(heartbeat, node);
    heartbeat->known = true;
    uint64_t revision = strtoull(node->revision, NULL, 10);
    if (revision > heartbeat->revision)
        heartbeat->revision = revision;
    /* What an earlier agent said holds until the links are known: its node wasn't down meanwhile. */
    heartbeat->changed = heartbeat->self.node != NULL || node->ready == IP_NODE_UNKNOWN;
    tell(heartbeat);
    beat(heartbeat);
}

static void made(void *context, const struct k8s_response *response)
{
    struct agent_heartbeat *heartbeat = context;
    heartbeat->finding = false;
    if (response->error.code == 0)
        found(heartbeat, response);
    else
        note_failure(heartbeat, &response->error);
}

static void make(struct agent_heartbeat *heartbeat)
{
    _cleanup_buffer_ struct buffer body;
    struct k8s_request request = {.verb = K8S_CREATE, .path = IP_NODE_PATH};
    buffer_init(&body, BODY_MOST);
    ip_node_encode(&body, heartbeat->options.self);
    heartbeat->finding = submit(heartbeat, &request, &body, made) == 0;
}

static void read_answered(void *context, const struct k8s_response *response)
{
    struct agent_heartbeat *heartbeat = context;
    heartbeat->finding = false;
    if (response->error.code == 0)
        found(heartbeat, response);
    else if (response->error.code == -ENOENT)
        make(heartbeat);
    else
        note_failure(heartbeat, &response->error);
}

static void find(struct agent_heartbeat *heartbeat)
{
    struct object_path path = object_path(IP_NODE_PATH, heartbeat->options.self, "");
    struct k8s_request request = {.verb = K8S_GET, .path = path.text};
    if (!heartbeat->finding)
        heartbeat->finding = submit(heartbeat, &request, NULL, read_answered) == 0;
}

/* Somebody has deleted it. */
static void lost(struct agent_heartbeat *heartbeat)
{
    heartbeat->known = false;
    find(heartbeat);
}

/* --- what it says --- */

static void told(void *context, const struct k8s_response *response)
{
    struct agent_heartbeat *heartbeat = context;
    _cleanup_ip_node_ struct ip_node *node = NULL;
    heartbeat->telling = false;
    if (response->error.code == 0) {
        if (ip_node_decode_text(response->body, response->body_length, &node, NULL) == 0)
            keep_stored(heartbeat, node);
    } else {
        heartbeat->changed = true;
    }
    if (response->error.code == -ENOENT)
        lost(heartbeat);
    else if (response->error.code == 0 && heartbeat->changed)
        tell(heartbeat);
    /* At the end it is said once; nobody waits for a better moment. */
    if (heartbeat->stopping && !heartbeat->telling)
        atomic_store(&heartbeat->pending, 0);
}

static void tell(struct agent_heartbeat *heartbeat)
{
    _cleanup_buffer_ struct buffer body;
    struct object_path path = object_path(IP_NODE_PATH, heartbeat->options.self, "/status");
    struct k8s_request request = {
        .verb = K8S_APPLY_PATCH, .path = path.text, .query = IP_NODE_APPLY_QUERY};
    buffer_init(&body, BODY_MOST);
    if (heartbeat->telling || !heartbeat->known || !heartbeat->changed)
        return;
    agent_self_encode(&heartbeat->self, &body, heartbeat->options.self, heartbeat->stored,
                      heartbeat->clock);
    heartbeat->telling = submit(heartbeat, &request, &body, told) == 0;
    heartbeat->changed = !heartbeat->telling;
}

/* --- the beat --- */

static void accepted(void *context, const struct k8s_response *response)
{
    struct agent_heartbeat *heartbeat = context;
    heartbeat->beating = false;
    if (response->error.code == -ENOENT) {
        lost(heartbeat);
    } else if (response->error.code < 0) {
        note_failure(heartbeat, &response->error);
    } else {
        if (heartbeat->failing)
            log_info("the heartbeat is accepted again");
        heartbeat->failing = false;
        heartbeat->accepted_at = heartbeat->sent_at;
    }
    judge(heartbeat);
}

static void beat(struct agent_heartbeat *heartbeat)
{
    _cleanup_buffer_ struct buffer body;
    struct object_path path = object_path(IP_NODE_PATH, heartbeat->options.self, "/status");
    struct k8s_request request = {.verb = K8S_MERGE_PATCH, .path = path.text};
    struct ip_node_heartbeat says = {.revision = heartbeat->revision + 1,
                                     .time = clock_wall(heartbeat->clock),
                                     .interval = heartbeat->interval};
    buffer_init(&body, BODY_MOST);
    if (heartbeat->beating || heartbeat->stopping)
        return;
    ip_node_encode_heartbeat(&body, &says);
    heartbeat->beating = submit(heartbeat, &request, &body, accepted) == 0;
    if (!heartbeat->beating)
        return;
    heartbeat->revision = says.revision;
    heartbeat->sent_at = now(heartbeat);
}

/* --- how many nodes there are --- */

static void counted(void *context, const struct k8s_response *response)
{
    struct agent_heartbeat *heartbeat = context;
    struct json_view view;
    int64_t more = 0;
    heartbeat->counting = false;
    if (response->error.code < 0)
        return;
    heartbeat->counted_at = now(heartbeat);
    json_view_init(&view);
    if (json_view_parse(&view, response->body, response->body_length, 4, NULL) == 0) {
        const struct json_node *root = json_view_root(&view);
        size_t shown = json_view_count(json_view_member(&view, root, "items"));
        (void)!json_view_int64(
            &view, json_view_path(&view, root, "metadata", "remainingItemCount", NULL), &more);
        heartbeat->interval = agent_heartbeat_interval(heartbeat->options.least_interval,
                                                       shown + (uint64_t)(more > 0 ? more : 0));
    }
    json_view_clear(&view);
}

static void count(struct agent_heartbeat *heartbeat)
{
    struct k8s_request request = {.verb = K8S_LIST, .path = IP_NODE_PATH, .query = "limit=1"};
    bool due = heartbeat->counted_at == 0 || now(heartbeat) - heartbeat->counted_at >= COUNT_PERIOD;
    if (due && !heartbeat->counting)
        heartbeat->counting = submit(heartbeat, &request, NULL, counted) == 0;
}

/* --- time --- */

/* Agents that start together, as in a rollout, would beat together for ever: the API server would have
 * all of them to answer at once. */
static int64_t pause_before_next(struct agent_heartbeat *heartbeat)
{
    int64_t interval = heartbeat->interval;
    if (heartbeat->apart || interval == heartbeat->options.least_interval)
        return k8s_jitter(interval - interval / 16, 1.0 / 15);
    heartbeat->apart = true;
    return k8s_jitter(interval / 8, 7);
}

static void tick(void *context)
{
    struct agent_heartbeat *heartbeat = context;
    if (heartbeat->stopping)
        return;
    (void)!k8s_after(heartbeat->options.client, pause_before_next(heartbeat), tick, heartbeat);
    if (heartbeat->known)
        beat(heartbeat);
    else
        find(heartbeat);
    tell(heartbeat);
    count(heartbeat);
    judge(heartbeat);
}

/* --- for others --- */

void agent_heartbeat_links(struct agent_heartbeat *heartbeat, const struct agent_link *links,
                           size_t link_count)
{
    if (agent_self_set_links(&heartbeat->self, links, link_count)) {
        heartbeat->changed = true;
        tell(heartbeat);
    }
}

void agent_heartbeat_silent(struct agent_heartbeat *heartbeat, const char *names)
{
    if (agent_self_set_silent(&heartbeat->self, names)) {
        heartbeat->changed = true;
        tell(heartbeat);
    }
}

void agent_heartbeat_watches(struct agent_heartbeat *heartbeat, bool healthy)
{
    heartbeat->watches_work = healthy;
    judge(heartbeat);
}

void agent_heartbeat_stopping(struct agent_heartbeat *heartbeat)
{
    heartbeat->stopping = true;
    agent_self_set_stopping(&heartbeat->self);
    heartbeat->changed = true;
    tell(heartbeat);
    atomic_store(&heartbeat->pending, heartbeat->telling);
}

size_t agent_heartbeat_pending(const struct agent_heartbeat *heartbeat)
{
    return atomic_load(&heartbeat->pending);
}

int agent_heartbeat_start(const struct agent_heartbeat_options *options,
                          struct agent_heartbeat **ret_heartbeat, struct error *error)
{
    struct agent_heartbeat *heartbeat = calloc(1, sizeof(*heartbeat));
    if (heartbeat == NULL || (heartbeat->stored = strdup("")) == NULL) {
        agent_heartbeat_free(heartbeat);
        return error_no_memory(error);
    }
    heartbeat->options = *options;
    heartbeat->clock = k8s_client_clock(options->client);
    heartbeat->interval = options->least_interval;
    int result = k8s_after(options->client, 0, tick, heartbeat);
    if (result < 0) {
        agent_heartbeat_free(heartbeat);
        return error_set(error, result, "the heartbeat can't be started");
    }
    *ret_heartbeat = heartbeat;
    return 0;
}

void agent_heartbeat_free(struct agent_heartbeat *heartbeat)
{
    if (heartbeat == NULL)
        return;
    agent_self_clear(&heartbeat->self);
    free(heartbeat->stored);
    free(heartbeat);
}
