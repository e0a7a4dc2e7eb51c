/* Who tells whom: the loop's messages go to claims, neighbours and heartbeat; what these learn goes
 * to the loop and to the program. All of it on the api thread. */
#include "server/agent/agent.h"

#include "server/agent/agent_claims.h"
#include "server/agent/agent_heartbeat.h"
#include "server/agent/agent_neighbours.h"
#include "server/agent/agent_simple.h"
#include "server/base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

struct agent {
    struct agent_options options;
    struct agent_messages *messages;
    struct agent_claims *claims;
    struct agent_heartbeat *heartbeat;
    struct agent_neighbours *neighbours;
    struct agent_simple *simple;
    _Atomic size_t leaving; /* agent_leave was called and not carried out */
};

/* --- from the loop --- */

static void log_report(const struct agent_report *report)
{
    static const char *const words[] = {
        [AGENT_PROBING] = "probing",   [AGENT_BOUND] = "bound",         [AGENT_IN_USE] = "in use",
        [AGENT_RELEASED] = "released", [AGENT_LINK_DOWN] = "link down",
    };
    char address[ADDRESS_TEXT_SIZE];
    address_format(report->address, address);
    if (report->state == AGENT_IN_USE)
        log_warning("an address is in use by somebody else", "address", address, "link",
                    report->link);
    else
        log_debug("an address", "address", address, "is", words[report->state], "link",
                  report->link);
}

static void take_report(void *context, const struct agent_report *report)
{
    const struct agent *agent = context;
    log_report(report);
    if (agent->claims != NULL)
        agent_claims_report(agent->claims, report);
}

static void take_takeover(void *context, const char *claim, const char *from_node)
{
    const struct agent *agent = context;
    if (agent->claims != NULL)
        agent_claims_taken_over(agent->claims, claim, from_node);
}

static void take_wanted(void *context, const char *name)
{
    const struct agent *agent = context;
    if (agent->neighbours != NULL)
        agent_neighbours_wanted(agent->neighbours, name);
}

static void take_heard(void *context, const char *name, bool answers, bool ever)
{
    const struct agent *agent = context;
    log_info(answers ? "a watched node answers" : "a watched node doesn't answer", "node", name,
             "answered before", ever ? "yes" : "no");
    if (agent->neighbours != NULL)
        agent_neighbours_heard(agent->neighbours, name, ever);
}

static void take_links(void *context, const struct agent_link *links, size_t count)
{
    const struct agent *agent = context;
    if (agent->heartbeat != NULL)
        agent_heartbeat_links(agent->heartbeat, links, count);
}

static const struct agent_messages_reader reader = {
    .report = take_report,
    .taken_over = take_takeover,
    .neighbour_wanted = take_wanted,
    .neighbour_heard = take_heard,
    .links_changed = take_links,
};

/* --- among the parts --- */

static void viewed(void *context)
{
    const struct agent *agent = context;
    agent->options.viewed(agent->options.context);
}

static void healthy(void *context, bool is_healthy, const char *reason)
{
    const struct agent *agent = context;
    (void)reason;
    agent_heartbeat_watches(agent->heartbeat, is_healthy);
}

static void fresh(void *context, bool is_fresh)
{
    const struct agent *agent = context;
    log_info(is_fresh ? "what the API server says is known" : "the API server is out of sight");
    agent->options.loop.view(agent->options.loop.loop, is_fresh);
    agent->options.fresh(agent->options.context, is_fresh);
}

static bool matters(void *context, const char *name)
{
    const struct agent *agent = context;
    return agent_claims_mention(agent->claims, name);
}

static void silent(void *context, const char *names)
{
    const struct agent *agent = context;
    agent_heartbeat_silent(agent->heartbeat, names);
}

/* --- the whole --- */

int agent_new(const struct agent_options *options, struct agent **ret_agent, struct error *error)
{
    struct agent *agent = calloc(1, sizeof(*agent));
    if (agent == NULL)
        return error_no_memory(error);
    agent->options = *options;
    agent->messages = agent_messages_new(options->client, &reader, agent);
    if (agent->messages == NULL) {
        agent_free(agent);
        return error_no_memory(error);
    }
    *ret_agent = agent;
    return 0;
}

struct agent_messages *agent_messages(struct agent *agent)
{
    return agent->messages;
}

void agent_set_loop(struct agent *agent, void *loop)
{
    agent->options.loop.loop = loop;
}

static int start_simple(struct agent *agent, struct error *error)
{
    struct agent_simple_options options = {.client = agent->options.client,
                                           .self = agent->options.self,
                                           .loop = &agent->options.loop,
                                           .viewed = viewed,
                                           .context = agent};
    return agent_simple_start(&options, &agent->simple, error);
}

/* The parts come into being in the order in which they are told of each other. The messages are read
 * from the first of them on, so nothing may have been said before: the loop doesn't run yet. */
int agent_start(struct agent *agent, struct error *error)
{
    struct agent_heartbeat_options heartbeat = {.client = agent->options.client,
                                                .self = agent->options.self,
                                                .least_interval = agent->options.heartbeat,
                                                .fresh = fresh,
                                                .context = agent};
    struct agent_neighbours_options neighbours = {.client = agent->options.client,
                                                  .loop = &agent->options.loop,
                                                  .matters = matters,
                                                  .silent = silent,
                                                  .context = agent};
    struct agent_claims_options claims = {.client = agent->options.client,
                                          .self = agent->options.self,
                                          .loop = &agent->options.loop,
                                          .viewed = viewed,
                                          .healthy = healthy,
                                          .context = agent};
    if (agent->options.simple)
        return start_simple(agent, error);
    agent->neighbours = agent_neighbours_new(&neighbours);
    if (agent->neighbours == NULL)
        return error_no_memory(error);
    int result = agent_heartbeat_start(&heartbeat, &agent->heartbeat, error);
    if (result == 0)
        result = agent_claims_start(&claims, &agent->claims, error);
    return result;
}

static void leave(void *context)
{
    struct agent *agent = context;
    agent_heartbeat_stopping(agent->heartbeat);
    atomic_store(&agent->leaving, 0);
}

void agent_leave(struct agent *agent)
{
    if (agent->heartbeat == NULL)
        return;
    atomic_store(&agent->leaving, 1);
    if (k8s_after(agent->options.client, 0, leave, agent) < 0)
        atomic_store(&agent->leaving, 0);
}

size_t agent_pending(const struct agent *agent)
{
    size_t pending = agent_messages_pending(agent->messages) + atomic_load(&agent->leaving);
    if (agent->heartbeat != NULL)
        pending += agent_heartbeat_pending(agent->heartbeat);
    return pending + (agent->claims != NULL ? agent_claims_pending(agent->claims) : 0);
}

void agent_stop(struct agent *agent)
{
    if (agent == NULL)
        return;
    agent_simple_stop(agent->simple);
    agent->simple = NULL;
    agent_claims_stop(agent->claims);
}

void agent_free(struct agent *agent)
{
    if (agent == NULL)
        return;
    agent_claims_free(agent->claims);
    agent_heartbeat_free(agent->heartbeat);
    agent_neighbours_free(agent->neighbours);
    agent_messages_free(agent->messages);
    free(agent);
}
