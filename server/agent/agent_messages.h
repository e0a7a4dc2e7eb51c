/* From the loop's thread to the api thread: what the loop says is copied here, and handed on in the
 * same order over there. So nothing else of the agent needs a lock. */
#ifndef IPWARDEN_AGENT_AGENT_MESSAGES_H
#define IPWARDEN_AGENT_AGENT_MESSAGES_H

#include "k8s/client.h"
#include "netlink/agent_types.h"

#include <stddef.h>

struct agent_messages;

/* Who is told, on the api thread; the words are those of agent_upcalls. */
struct agent_messages_reader {
    void (*report)(void *context, const struct agent_report *report);
    void (*taken_over)(void *context, const char *claim, const char *from_node);
    void (*neighbour_wanted)(void *context, const char *name);
    void (*neighbour_heard)(void *context, const char *name, bool answers, bool ever);
    void (*links_changed)(void *context, const struct agent_link *links, size_t count);
};

/* client, reader and context are borrowed. NULL when out of memory. */
struct agent_messages *agent_messages_new(struct k8s_client *client,
                                          const struct agent_messages_reader *reader,
                                          void *context);
/* After the client has been freed. NULL is fine. */
void agent_messages_free(struct agent_messages *messages);

/* For agent_loop_new, with the messages as context. Any thread; what can't be copied for want of memory
 * is counted and lost, and said again with the next change. */
extern const struct agent_upcalls agent_messages_upcalls;
/* How many messages haven't been handed on yet. Any thread. */
size_t agent_messages_pending(const struct agent_messages *messages);
/* How many have been lost. Any thread. */
size_t agent_messages_lost(const struct agent_messages *messages);

#endif
