/* Queries and answers of lists in pages. */
#include "k8s/page.h"

#include "k8s/client_private.h"
#include "k8s/url.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of text from which a page counts as large. Nodes can take several times the room of their
 * text, and how large objects are is up to tenants. */
#define LARGE ((size_t)4 * 1024 * 1024)
#define LARGE_DEPTH 2 /* the list, its metadata and its items */

void k8s_page_init(struct k8s_page *page)
{
    *page = (struct k8s_page){.items = NULL};
    json_view_init(&page->view);
    json_view_init(&page->object);
}

void k8s_page_clear(struct k8s_page *page)
{
    json_view_clear(&page->view);
    json_view_clear(&page->object);
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

unsigned int k8s_page_larger(unsigned int size, unsigned int most)
{
    return size > most / 2 ? most : size * 2;
}

/* --- reading --- */

int k8s_page_copy_metadata(const struct json_view *view, const struct json_node *object,
                           const char *name, char **ret_text)
{
    const struct json_node *node = json_view_path(view, object, "metadata", name, NULL);
    *ret_text = NULL;
    if (!json_view_is_string(node) || json_view_equals(view, node, ""))
        return 0;
    *ret_text = json_view_copy(view, node);
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
    page->large = length > LARGE;
    int result = json_view_parse(&page->view, text, length,
                                 page->large ? LARGE_DEPTH : JSON_VIEW_DEPTH, error);
    if (result != 0)
        return error_prefix(error, "list %s", path);
    const struct json_node *root = json_view_root(&page->view);
    const struct json_node *items = json_view_member(&page->view, root, "items");
    if (k8s_page_copy_metadata(&page->view, root, "resourceVersion", &page->version) != 0 ||
        k8s_page_copy_metadata(&page->view, root, "continue", &page->token) != 0)
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

int k8s_page_open(struct k8s_page *page, const struct json_node *item,
                  const struct json_view **ret_view, const struct json_node **ret_object,
                  struct error *error)
{
    if (!page->large) {
        *ret_view = &page->view;
        *ret_object = item;
        return 0;
    }
    size_t length;
    const char *text = json_view_raw(&page->view, item, &length);
    int result = json_view_parse(&page->object, text, length, JSON_VIEW_DEPTH, error);
    *ret_view = &page->object;
    *ret_object = json_view_root(&page->object);
    return result;
}
