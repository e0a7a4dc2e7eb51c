/* The stored Services that want an address and have none. Any thread. */
#ifndef IPWARDEN_RECONCILE_WAITING_H
#define IPWARDEN_RECONCILE_WAITING_H

#include "server/reconcile/work.h"

/* Notes whether the Service waits. created orders those that do. Without memory the next look at
 * everything finds it. */
enum waiting_change { WAITING_BEGINS, WAITING_ENDS };
void waiting_note(struct reconciler *reconciler, const char *key, enum waiting_change change,
                  int64_t created);
void waiting_free_all(struct reconciler *reconciler);

#endif
