/* The table of paths. It is built before the first request and read without a lock. */
#include "server/http/router.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct route {
    char *path;
    size_t length;
    const char *method;
    http_handler handler;
    void *context;
};

struct http_router {
    struct route *routes;
    size_t count;
};

/* What a route's method allows, for the Allow header of a 405. */
static const struct {
    const char *method;
    const char *allow;
} methods[] = {{"GET", "GET, HEAD"}, {"POST", "POST"}};

struct http_router *http_router_new(void)
{
    return calloc(1, sizeof(struct http_router));
}

void http_router_free(struct http_router *router)
{
    if (router == NULL)
        return;
    for (size_t i = 0; i < router->count; i++)
        free(router->routes[i].path);
    free(router->routes);
    free(router);
}

int http_router_add(struct http_router *router, const char *method, const char *path,
                    http_handler handler, void *context)
{
    struct route *routes = reallocarray(router->routes, router->count + 1, sizeof(*routes));
    if (routes == NULL)
        return -ENOMEM;
    router->routes = routes;
    char *copy = strdup(path);
    if (copy == NULL)
        return -ENOMEM;
    routes[router->count++] = (struct route){
        .path = copy,
        .length = strlen(copy),
        .method = method,
        .handler = handler,
        .context = context,
    };
    return 0;
}

static bool has_path(const struct route *route, const char *path, size_t length)
{
    return route->length == length && memcmp(route->path, path, length) == 0;
}

static bool has_method(const struct route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

/* The Allow header of a path: every method that some route of it has. */
static void add_allow(const struct http_router *router, struct http_request *request,
                      const char *path, size_t length)
{
    char allow[32] = "";
    size_t used = 0;
    for (size_t m = 0; m < sizeof(methods) / sizeof(methods[0]); m++) {
        bool found = false;
        for (size_t i = 0; i < router->count && !found; i++)
            found = has_path(&router->routes[i], path, length) &&
                    strcmp(router->routes[i].method, methods[m].method) == 0;
        if (!found)
            continue;
        const char *parts[] = {used > 0 ? ", " : "", methods[m].allow};
        for (size_t p = 0; p < 2; p++) {
            size_t part = strlen(parts[p]);
            memcpy(allow + used, parts[p], part + 1);
            used += part;
        }
    }
    http_request_add_header(request, "Allow", allow);
}

/* The route of a request, or NULL. *ret_known: another method's route has the path. */
static const struct route *find_route(const struct http_router *router,
                                      const struct http_request *request, bool *ret_known)
{
    const char *method = http_request_method(request);
    const char *path = http_request_path(request);
    size_t length = strlen(path);
    *ret_known = false;
    for (size_t i = 0; i < router->count; i++) {
        const struct route *route = &router->routes[i];
        if (!has_path(route, path, length))
            continue;
        if (has_method(route, method))
            return route;
        *ret_known = true;
    }
    return NULL;
}

const struct http_refusal *http_router_judge(void *context, struct http_request *request)
{
    static const struct http_refusal unknown = {404, "NotFound", "no such path here"};
    static const struct http_refusal other = {405, "MethodNotAllowed",
                                              "this path does not serve that method"};
    const struct http_router *router = context;
    bool known;
    if (find_route(router, request, &known) != NULL)
        return NULL;
    if (!known)
        return &unknown;
    add_allow(router, request, http_request_path(request), strlen(http_request_path(request)));
    return &other;
}

void http_router_handle(void *context, struct http_request *request)
{
    bool known;
    const struct route *route = find_route(context, request, &known);
    assert(route != NULL);
    route->handler(route->context, request);
}
