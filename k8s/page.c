/* Queries and answers of lists in pages. */
#include "k8s/page.h"

#include "k8s/client_private.h"
#include "k8s/url.h"
#include "k8s/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define JSON_DEPTH 1024 /* custom resources nest deeper than requests to us may */

void k8s_page_init(struct k8s_page *page)
{
    *page = (struct k8s_page){.items = NULL};
    json_view_init(&page->view);
    buffer_init(&page->scratch, K8S_LIST_MAXIMUM);
}

void k8s_page_clear(struct k8s_page *page)
{
    json_view_clear(&page->view);
    buffer_clear(&page->scratch);
    free(page->version);
    free(page->token);
    page->version = NULL;
    page->token = NULL;
    page->items = NULL;
}

/* --- asking --- */

void k8s_page_append(struct buffer *query, const char *name, const char *value)
{
    char *escaped = malloc(K8S_URL_ESCAPED(strlen(value)) + 1);
    if (escaped == NULL) {
        query->failed = true;
        return;
    }
    k8s_url_escape_value(escaped, value);
    buffer_printf(query, "&%s=%s", name, escaped);
    free(escaped);
}

void k8s_page_query(struct buffer *query, unsigned int size, const char *token,
                    const char *selector)
{
    buffer_printf(query, "limit=%u", size);
    if (token != NULL)
        k8s_page_append(query, "continue", token);
    if (selector != NULL)
        buffer_printf(query, "&%s", selector);
}

unsigned int k8s_page_smaller(unsigned int size)
{
    if (size <= 1)
        return size;
    return size / 4 > 0 ? size / 4 : 1;
}

/* --- reading --- */

int k8s_page_parse(struct k8s_page *page, const char *text, size_t length, struct error *error)
{
    const char *clean = k8s_watch_clean(text, length, &page->scratch);
    if (clean == NULL)
        return error_no_memory(error);
    return json_view_parse(&page->view, clean, length, JSON_DEPTH, error);
}

int k8s_page_copy_metadata(const struct k8s_page *page, const struct json_node *object,
                           const char *name, char **ret_text)
{
    const struct json_node *node = json_view_path(&page->view, object, "metadata", name, NULL);
    *ret_text = NULL;
    if (!json_view_is_string(node) || json_view_equals(&page->view, node, ""))
        return 0;
    *ret_text = json_view_copy(&page->view, node);
    return *ret_text != NULL ? 0 : -ENOMEM;
}

int k8s_page_read(struct k8s_page *page, const char *path, const char *text, size_t length,
                  struct error *error)
{
    free(page->version);
    free(page->token);
    page->version = NULL;
    page->token = NULL;
    page->items = NULL;
    int result = k8s_page_parse(page, text, length, error);
    if (result != 0)
        return error_prefix(error, "list %s", path);
    const struct json_node *root = json_view_root(&page->view);
    const struct json_node *items = json_view_member(&page->view, root, "items");
    if (k8s_page_copy_metadata(page, root, "resourceVersion", &page->version) != 0 ||
        k8s_page_copy_metadata(page, root, "continue", &page->token) != 0)
        return error_no_memory(error);
    if (page->version == NULL || !(json_view_is_array(items) || json_view_is_null(items)))
        return error_set(error, -EBADMSG, "list %s: the answer is not a list", path);
    page->items = items;
    return 0;
}

const struct json_node *k8s_page_next(const struct k8s_page *page, const struct json_node *previous)
{
    const struct json_node *item = previous;
    do
        item = item == NULL ? json_view_first(&page->view, page->items)
                            : json_view_after(&page->view, page->items, item);
    while (item != NULL && !json_view_is_object(item));
    return item;
}
