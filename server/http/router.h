/* Which handler serves which path. Exact paths only; the table is built before the listener starts.
 * Not for paths that are secret: how long a comparison takes may tell how much of a guess was right
 * (certificates_route() is for those). */
#ifndef IPWARDEN_HTTP_ROUTER_H
#define IPWARDEN_HTTP_ROUTER_H

#include "server/http/listener.h"

struct http_router;

struct http_router *http_router_new(void); /* NULL when out of memory */
void http_router_free(struct http_router *router);
/* method is "GET" (serves HEAD, too) or "POST", a literal; path is compared with what is sent, byte
 * for byte, and copied. Returns 0 or -ENOMEM. */
must_check int http_router_add(struct http_router *router, const char *method, const char *path,
                               http_handler handler, void *context);
/* An http_judge and an http_handler; context is the router. An unknown path is refused with 404, a
 * known one with another method with 405 and Allow. Any thread. */
const struct http_refusal *http_router_judge(void *context, struct http_request *request);
/* Only for what http_router_judge() wants. */
void http_router_handle(void *context, struct http_request *request);

#endif
