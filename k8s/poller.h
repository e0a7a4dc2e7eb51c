/* What the api thread sleeps on: curl's sockets and timers, and a bell that any thread can ring. By
 * epoll, so that whatever became ready costs what it needs itself, and not a look at every request
 * and every watch that is open. */
#ifndef IPWARDEN_K8S_POLLER_H
#define IPWARDEN_K8S_POLLER_H

#include "server/base/error.h"

#include <curl/curl.h>
#include <stdint.h>

struct k8s_poller {
    CURLM *multi;
    int epoll;
    int bell;          /* an eventfd */
    int64_t timer_due; /* system's monotonic nanoseconds; INT64_MAX: curl waits for no time */
};

/* Makes the poller responsible for multi, which is borrowed. On failure there is nothing to close. */
must_check int k8s_poller_open(struct k8s_poller *poller, CURLM *multi, struct error *error);
/* When multi is gone. */
void k8s_poller_close(struct k8s_poller *poller);

/* Lets k8s_poller_wait return, the next time if it isn't waiting now. Any thread. */
void k8s_poller_ring(struct k8s_poller *poller);

/* Lets curl do what it has to do by now, such as to begin transfers that were added. */
void k8s_poller_run_timers(struct k8s_poller *poller);
/* Sleeps for that many milliseconds at most, and lets curl work on the sockets that are ready. */
void k8s_poller_wait(struct k8s_poller *poller, int milliseconds);

#endif
