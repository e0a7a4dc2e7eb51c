/* Readiness as a list of named checks with reasons: whoever looks at a pod that gets no traffic
 * should read why. The list is small and fixed, so that telling "not ready" never needs memory. */
#include "server/http/health.h"

#include "server/base/buffer.h"
#include "server/base/mutex.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHECKS_MOST 32
#define REASON_SIZE 201
#define TEXT_MAXIMUM ((size_t)16 * 1024)

struct check {
    const char *name;
    bool ok;
    char reason[REASON_SIZE];
};

struct health {
    struct mutex mutex;
    bool (*alive)(void *context);
    void *alive_context;
    size_t count;
    struct check checks[CHECKS_MOST];
};

struct health *health_new(void)
{
    struct health *health = calloc(1, sizeof(*health));
    if (health != NULL)
        mutex_init(&health->mutex);
    return health;
}

void health_free(struct health *health)
{
    if (health == NULL)
        return;
    mutex_destroy(&health->mutex);
    free(health);
}

/* With the mutex held. */
static struct check *find_check(struct health *health, const char *name)
{
    for (size_t i = 0; i < health->count; i++) {
        if (strcmp(health->checks[i].name, name) == 0)
            return &health->checks[i];
    }
    assert(health->count < CHECKS_MOST);
    struct check *check = &health->checks[health->count++];
    check->name = name;
    return check;
}

/* Copies a reason as one line, cut at a character's border. */
static void copy_reason(char ret_reason[REASON_SIZE], const char *reason)
{
    size_t length = strnlen(reason, REASON_SIZE - 1);
    while (length > 0 && reason[length] != '\0' && ((unsigned char)reason[length] & 0xC0) == 0x80)
        length--;
    for (size_t i = 0; i < length; i++)
        ret_reason[i] = (unsigned char)reason[i] < 0x20 || reason[i] == 0x7F ? ' ' : reason[i];
    ret_reason[length] = '\0';
}

void health_set(struct health *health, const char *name, bool ok, const char *reason)
{
    mutex_guard(&health->mutex);
    struct check *check = find_check(health, name);
    check->ok = ok;
    copy_reason(check->reason, reason != NULL ? reason : "not ready");
}

/* With the mutex held. */
static bool all_ok(const struct health *health)
{
    for (size_t i = 0; i < health->count; i++) {
        if (!health->checks[i].ok)
            return false;
    }
    return true;
}

/* Appends a line for each failing check, or for every check when verbose. Returns whether all are
 * ok. */
static bool describe(struct health *health, bool verbose, struct buffer *buffer)
{
    mutex_guard(&health->mutex);
    bool ready = all_ok(health);
    for (size_t i = 0; i < health->count; i++) {
        const struct check *check = &health->checks[i];
        if (!check->ok)
            buffer_printf(buffer, "[-] %s: %s\n", check->name, check->reason);
        else if (verbose)
            buffer_printf(buffer, "[+] %s: ok\n", check->name);
    }
    if (ready)
        buffer_append_string(buffer, "ok\n");
    return ready;
}

void health_set_alive(struct health *health, bool (*alive)(void *context), void *context)
{
    health->alive = alive;
    health->alive_context = context;
}

static void answer_alive(void *context, struct http_request *request)
{
    const struct health *health = context;
    if (health->alive == NULL || health->alive(health->alive_context))
        http_request_answer_text(request, 200, "ok\n");
    else
        http_request_answer_text(request, 503, "not alive\n");
}

static void answer_ready(void *context, struct http_request *request)
{
    struct buffer text;
    size_t length = 0;
    buffer_init(&text, TEXT_MAXIMUM);
    bool ready = describe(context, http_request_query(request, "verbose") != NULL, &text);
    char *body = buffer_steal(&text, &length);
    /* Without memory for the reasons the status alone must still be right. */
    http_request_answer(request, ready ? 200 : 503, "text/plain; charset=utf-8", body, length);
}

int health_routes(struct health *health, struct http_router *router)
{
    int result = http_router_add(router, "GET", "/healthz", answer_alive, health);
    if (result < 0)
        return result;
    return http_router_add(router, "GET", "/readyz", answer_ready, health);
}
