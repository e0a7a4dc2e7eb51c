/* Which handler serves which path. Exact paths only; built once, before the listener starts. */
#ifndef IPWARDEN_HTTP_ROUTER_H
#define IPWARDEN_HTTP_ROUTER_H

#include "server/http/listener.h"

struct http_router;

struct http_router *http_router_new(void); /* NULL when out of memory */
void http_router_free(struct http_router *router);
/* method "GET" (serves HEAD too) or "POST", a literal; path as sent, compared in constant time when
 * secret; copied. Returns 0 or -ENOMEM. */
must_check int http_router_add(struct http_router *router, const char *method, const char *path,
                               bool secret, http_handler handler, void *context);
/* An http_handler: context is the router. Unknown path 404, known path with another method 405 with
 * Allow; both with a metav1.Status. Any thread. */
void http_router_handle(void *context, struct http_request *request);

#endif
