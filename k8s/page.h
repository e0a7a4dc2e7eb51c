/* One page of a list: asking for it and reading it, for the informer and the pager. Pure; one
 * thread. Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ (retrieving large
 * results sets in chunks); metav1.ListMeta. */
#ifndef IPWARDEN_K8S_PAGE_H
#define IPWARDEN_K8S_PAGE_H

#include "server/base/buffer.h"
#include "server/base/error.h"
#include "server/base/json_view.h"

#include <stddef.h>

#define K8S_PAGE_SIZE 500U /* objects, where nobody says otherwise */

struct k8s_page {
    struct json_view view;   /* of the page; of a large one, down to its objects */
    struct json_view object; /* of an object of a large page */
    bool large;
    const struct json_node *items; /* an array, or null */
    char *version;                 /* metadata.resourceVersion, never empty */
    char *token;                   /* metadata.continue; NULL: this is the last page */
};

void k8s_page_init(struct k8s_page *page);
/* Frees everything; the page can be read into again. */
void k8s_page_clear(struct k8s_page *page);

/* Appends name=value behind what query has, the value escaped. Look at buffer_failed(). */
void k8s_page_append(struct buffer *query, const char *name, const char *value);
/* Writes the query for a page of so many objects: the first one when token is NULL. query is empty;
 * selector is escaped already, or NULL. Look at buffer_failed(). */
void k8s_page_query(struct buffer *query, unsigned int size, const char *token,
                    const char *selector);
/* The size to try after an answer was too large; size itself when that can't be helped. */
unsigned int k8s_page_smaller(unsigned int size);
/* The size to try after an answer that wasn't, so that some large objects don't make all pages small
 * for ever: at most the one that was asked for at first. */
unsigned int k8s_page_larger(unsigned int size, unsigned int most);

/* Parses an answer to a list and sets items, version and token, whose old texts are freed. path is
 * named in errors. -EBADMSG when the answer is no list, -EINVAL when it is no JSON, or -ENOMEM. */
must_check int k8s_page_read(struct k8s_page *page, const char *path, const char *text,
                             size_t length, struct error *error);
/* The item after previous in the page, or the first when previous is NULL; NULL at the end. What is
 * no JSON object among the items is passed over. */
const struct json_node *k8s_page_next(const struct k8s_page *page,
                                      const struct json_node *previous);
/* Looks into an item: gives its view and the object in it, until the next call. Of a large page the
 * objects are parsed one at a time, so that the nodes of all never are in memory together. 0,
 * -EINVAL when the item is no JSON, or -ENOMEM. */
must_check int k8s_page_open(struct k8s_page *page, const struct json_node *item,
                             const struct json_view **ret_view, const struct json_node **ret_object,
                             struct error *error);
/* Copies a member of an object's metadata, to free(); NULL when it is absent or empty. -ENOMEM when
 * there is no memory for it. */
must_check int k8s_page_copy_metadata(const struct json_view *view, const struct json_node *object,
                                      const char *name, char **ret_text);

#endif
