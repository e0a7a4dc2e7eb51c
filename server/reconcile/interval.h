/* How often something may be written, so that a busy object isn't written at every change. Any
 * thread. */
#ifndef IPWARDEN_RECONCILE_INTERVAL_H
#define IPWARDEN_RECONCILE_INTERVAL_H

#include "server/reconcile/work.h"

/* Nanoseconds until the item may be written again; 0: now, and that is noted. */
int64_t interval_left(struct reconciler *reconciler, struct queue_item item, int64_t interval);
void interval_forget(struct reconciler *reconciler, struct queue_item item);
void interval_free_all(struct reconciler *reconciler);

#endif
