/* Lists that a command reads once and waits for: page by page, live. For the main thread of a
 * command; what serves requests uses pager.h and never waits. */
#ifndef IPWARDEN_K8S_LIVE_LIST_H
#define IPWARDEN_K8S_LIVE_LIST_H

#include "k8s/client.h"
#include "server/base/error.h"
#include "server/base/json_view.h"

#include <stdint.h>

/* Told of each object. Anything but 0 ends the list, which returns it. */
typedef int (*live_list_object)(void *context, const struct json_view *view,
                                const struct json_node *object, struct error *error);

/* Lists path ("/api/v1/services") with a selector ("labelSelector" or "fieldSelector" and its
 * value, not escaped; both NULL: everything). deadline in nanoseconds of the client's clock. Returns
 * 0, what on_object returned, a code of client.h, -EBADMSG when an answer is no list, -ENOMEM. */
must_check int live_list(struct k8s_client *client, const char *path, const char *selector_name,
                         const char *selector_value, int64_t deadline, live_list_object on_object,
                         void *context, struct error *error);

#endif
