/* What the agent's loop waits for: files to become readable and a moment to come. One thread. */
#ifndef IPWARDEN_NETLINK_AGENT_POLL_H
#define IPWARDEN_NETLINK_AGENT_POLL_H

#include "server/base/error.h"

#include <stdint.h>

/* Called when its file is readable; lives as long as the file is polled, and to the end of the turn
 * in which it is taken out. */
struct agent_source {
    void (*ready)(void *context);
    void *context;
};

struct agent_poll {
    int epoll;
    int timer;
    int64_t until; /* what the timer is set to */
};

#define AGENT_POLL_INITIALIZER                                                                     \
    {                                                                                              \
        .epoll = -1, .timer = -1                                                                   \
    }

must_check int agent_poll_open(struct agent_poll *poll, struct error *error);
void agent_poll_close(struct agent_poll *poll);
must_check int agent_poll_add(struct agent_poll *poll, int fd, struct agent_source *source,
                              struct error *error);
void agent_poll_remove(struct agent_poll *poll, int fd);
/* Waits until something is readable or the moment (CLOCK_MONOTONIC, nanoseconds; INT64_MAX: none)
 * has come, and calls whatever is ready. Returns 0 or a negative errno. */
must_check int agent_poll_wait(struct agent_poll *poll, int64_t until, struct error *error);

#endif
