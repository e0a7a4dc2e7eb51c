/* The call of the conversion webhook: an HTTP request with a ConversionReview. */
#ifndef IPWARDEN_SERVER_CONVERSION_CALL_H
#define IPWARDEN_SERVER_CONVERSION_CALL_H

#include "server/base/clock.h"
#include "server/http/listener.h"
#include "server/http/metrics.h"

#include <stdatomic.h>

#define CONVERSION_PATH "/convert"
/* Bytes of a review: ten thousand objects at once and more. Half of what all bodies may have together,
 * since whoever reaches the port may send one. */
#define CONVERSION_MAXIMUM ((size_t)32 * 1024 * 1024)

enum conversion_warning { CONVERSION_FAILED, CONVERSION_DAMAGED, CONVERSION_DROPPED };
#define CONVERSION_WARNINGS 3

/* What all calls share. Lives as long as the listener. */
struct conversion_calls {
    const struct clock *clock;       /* the listener's */
    struct metrics_family *requests; /* result */
    struct metrics_family *objects;  /* no labels */
    struct metrics_family *duration; /* no labels */
    /* Monotonic: when each of these was last said in the log; 0: never. */
    _Atomic int64_t warned[CONVERSION_WARNINGS];
};

/* The http_handler of CONVERSION_PATH; context is the struct conversion_calls. Answers at once, on the
 * http thread, whatever else this replica does or knows. */
void conversion_call_handle(void *context, struct http_request *request);

#endif
