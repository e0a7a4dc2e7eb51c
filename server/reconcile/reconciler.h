/* The background thread of the leader: reaps and releases claims, serves Services that
 * were left without an address, adopts what ran before, and keeps the status of Services and
 * pools. Level-triggered: every pass over an object looks at what is, makes at most one write, and
 * looks again. Every step is safe to repeat, and safe should a second leader wake up, since all
 * writes carry preconditions. */
#ifndef IPWARDEN_RECONCILE_RECONCILER_H
#define IPWARDEN_RECONCILE_RECONCILER_H

#include "k8s/client.h"
#include "k8s/events.h"
#include "server/base/clock.h"
#include "server/base/error.h"
#include "server/reconcile/reconcile_options.h"

#include <stdbool.h>

struct reconciler;

/* Starts the thread and takes over the state's listener. Options' pointers are borrowed. */
must_check int reconciler_start(const struct reconciler_options *options,
                                struct reconciler **ret_reconciler, struct error *error);
/* Leadership was gained (everything is looked at) or lost (all that waits is dropped). Any thread.
 */
void reconciler_lead(struct reconciler *reconciler, bool leader);
/* Objects that wait. Any thread. */
size_t reconciler_queue_length(struct reconciler *reconciler);
/* Stops the thread and waits for the writes under way. Before the client is freed. NULL is fine. */
void reconciler_stop(struct reconciler *reconciler);
/* For k8s_events: whether background writes may go now. */
bool reconciler_is_quiet(const struct state *state, const struct clock *clock);

#endif
