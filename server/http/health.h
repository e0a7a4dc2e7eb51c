/* Liveness and readiness with reasons: named checks, each ok or not with a text. Any thread. */
#ifndef IPWARDEN_HTTP_HEALTH_H
#define IPWARDEN_HTTP_HEALTH_H

#include "server/http/router.h"

#include <stdbool.h>

struct health;

/* Without checks the answer is "ready". NULL when out of memory. */
struct health *health_new(void);
/* NULL is fine. */
void health_free(struct health *health);
/* Sets a readiness check; a new name appears as a new check (at most 32). name is a literal. reason
 * is copied (cut at 200 bytes; control characters become spaces) and shown when not ok; NULL is
 * "not ready". */
void health_set(struct health *health, const char *name, bool ok, const char *reason);
/* Has /healthz ask whether the process does what it is for, and not only answers. Before the listener
 * starts; any thread calls alive. */
void health_set_alive(struct health *health, bool (*alive)(void *context), void *context);
/* Adds GET /healthz (200 while the process answers, unless health_set_alive knows better) and GET /readyz (200, or 503 with one
 * line a failing check; ?verbose lists all). Returns 0 or -ENOMEM. */
must_check int health_routes(struct health *health, struct http_router *router);

#endif
