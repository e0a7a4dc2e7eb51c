/* A list read once, live and in pages: a quorum read, so it shows everything that was stored before
 * the call. The informer is for those who want to be told of changes, too. */
#ifndef IPWARDEN_K8S_PAGER_H
#define IPWARDEN_K8S_PAGER_H

#include "k8s/client.h"
#include "server/base/json_view.h"

#include <stdbool.h>
#include <stdint.h>

/* Told of each object of the list, on the api thread. View and object live during the call only;
 * the object may lack apiVersion and kind. Returning false ends the list. */
typedef bool (*k8s_pager_object)(void *context, const struct json_view *view,
                                 const struct json_node *object);
/* Told once of the end, on the api thread. error->code is 0 when all objects have been told, or
 * when on_object wanted no more; otherwise it is a code of client.h, -ESTALE when the server forgot
 * the list midway (after some minutes), or -EBADMSG when an answer was no list: what was told so
 * far is only a part then. */
typedef void (*k8s_pager_done)(void *context, const struct error *error);

/* Lists path ("/api/v1/services") with query (a selector, escaped, or NULL) in pages of page_size
 * objects (0: 500; fewer when pages come out too large). The deadline is one for all pages, in
 * monotonic nanoseconds of k8s_client_clock(); 0: each page has the client's request_timeout. Pages
 * are asked for again as client.h says for `retry`. Any thread, never blocks; path and query are
 * copied. on_done is called if 0 was returned (perhaps before that), and not when an error was:
 * -EINVAL, -ENOMEM, -ECANCELED. */
must_check int k8s_list_pages(struct k8s_client *client, const char *path, const char *query,
                              unsigned int page_size, int64_t deadline, k8s_pager_object on_object,
                              k8s_pager_done on_done, void *context, struct error *error);

#endif
