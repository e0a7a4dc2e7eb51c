/* One page after the other. */
#include "k8s/live_list.h"

#include "k8s/page.h"

#include <stdlib.h>
#include <string.h>

#define QUERY_MOST 65536

static int tell_objects(struct k8s_page *page, live_list_object on_object, void *context,
                        struct error *error)
{
    const struct json_node *item = NULL;
    while ((item = k8s_page_next(page, item)) != NULL) {
        const struct json_view *view;
        const struct json_node *object;
        int code = k8s_page_open(page, item, &view, &object, error);
        if (code == 0)
            code = on_object(context, view, object, error);
        if (code != 0)
            return code;
    }
    return 0;
}

static int list_page(struct k8s_client *client, const char *path, const char *query,
                     int64_t deadline, struct k8s_page *page, live_list_object on_object,
                     void *context, struct error *error)
{
    const struct k8s_request request = {
        .verb = K8S_LIST, .path = path, .query = query, .deadline = deadline, .retry = true};
    char *body = NULL;
    int code = k8s_call(client, &request, &body, error);
    if (code == 0)
        code = k8s_page_read(page, path, body, strlen(body), error);
    if (code == 0)
        code = tell_objects(page, on_object, context, error);
    free(body);
    return code;
}

int live_list(struct k8s_client *client, const char *path, const char *selector_name,
              const char *selector_value, int64_t deadline, live_list_object on_object,
              void *context, struct error *error)
{
    struct k8s_page page;
    struct buffer query;
    struct buffer selector;
    unsigned int size = K8S_PAGE_SIZE;
    bool again;
    int code;
    k8s_page_init(&page);
    buffer_init(&query, QUERY_MOST);
    buffer_init(&selector, QUERY_MOST);
    if (selector_name != NULL)
        k8s_page_append(&selector, selector_name, selector_value);
    do {
        unsigned int asked = size;
        buffer_reset(&query);
        k8s_page_query(&query, size, page.token, selector.length > 0 ? selector.data + 1 : NULL);
        if (buffer_failed(&selector) || buffer_failed(&query))
            code = error_no_memory(error);
        else
            code = list_page(client, path, query.data, deadline, &page, on_object, context, error);
        size = code == -EMSGSIZE ? k8s_page_smaller(size) : size;
        again = code == -EMSGSIZE ? size < asked : code == 0 && page.token != NULL;
    } while (again);
    buffer_clear(&selector);
    buffer_clear(&query);
    k8s_page_clear(&page);
    return code;
}
