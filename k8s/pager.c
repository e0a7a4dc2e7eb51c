/* Page after page, each asked for when the one before has been told, so that a list that is ended
 * early costs no more than what was looked at. */
#include "k8s/pager.h"

#include "k8s/client_private.h"
#include "k8s/page.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pager {
    struct k8s_client *client;
    char *path;
    char *query; /* NULL: none */
    int64_t deadline;
    k8s_pager_object on_object;
    k8s_pager_done on_done;
    void *context;

    /* Api thread only, once the first page has been asked for. */
    unsigned int page_size;
    unsigned int page_most; /* objects that were asked for at first */
    char *token;            /* of the page that is due; NULL: the first */
    struct k8s_page page;
};

static void free_pager(struct pager *pager)
{
    k8s_page_clear(&pager->page);
    free(pager->token);
    free(pager->path);
    free(pager->query);
    free(pager);
}

static void end_list(struct pager *pager, const struct error *error)
{
    pager->on_done(pager->context, error);
    free_pager(pager);
}

static void on_page(void *context, const struct k8s_response *response);

static int ask_for_page(struct pager *pager, struct error *error)
{
    struct buffer query _cleanup_buffer_;
    buffer_init(&query, K8S_BODY_MAXIMUM);
    k8s_page_query(&query, pager->page_size, pager->token, pager->query);
    if (buffer_failed(&query))
        return error_no_memory(error);
    struct k8s_request request = {
        .verb = K8S_LIST,
        .path = pager->path,
        .query = query.data,
        .deadline = pager->deadline,
        .retry = true,
    };
    return k8s_submit(pager->client, &request, on_page, pager, error);
}

static void ask_or_end(struct pager *pager)
{
    struct error error;
    if (ask_for_page(pager, &error) != 0)
        end_list(pager, &error);
}

/* Returns false when the list ends here: nobody wants more, or error is set. */
static bool tell_objects(struct pager *pager, struct error *error)
{
    struct k8s_page *page = &pager->page;
    const struct json_view *view;
    const struct json_node *object;
    const struct json_node *item = NULL;
    while ((item = k8s_page_next(page, item)) != NULL) {
        if (k8s_page_open(page, item, &view, &object, error) != 0 ||
            !pager->on_object(pager->context, view, object))
            return false;
    }
    return true;
}

static void on_page(void *context, const struct k8s_response *response)
{
    struct pager *pager = context;
    struct error error = response->error;
    unsigned int smaller = k8s_page_smaller(pager->page_size);
    if (error.code == -EMSGSIZE && smaller < pager->page_size) {
        pager->page_size = smaller;
        ask_or_end(pager);
        return;
    }
    if (error.code == 0)
        error.code =
            k8s_page_read(&pager->page, pager->path, response->body, response->body_length, &error);
    if (error.code != 0 || !tell_objects(pager, &error) || pager->page.token == NULL) {
        end_list(pager, &error);
        return;
    }
    free(pager->token);
    pager->token = pager->page.token;
    pager->page.token = NULL;
    pager->page_size = k8s_page_larger(pager->page_size, pager->page_most);
    ask_or_end(pager);
}

int k8s_list_pages(struct k8s_client *client, const char *path, const char *query,
                   unsigned int page_size, int64_t deadline, k8s_pager_object on_object,
                   k8s_pager_done on_done, void *context, struct error *error)
{
    struct pager *pager = calloc(1, sizeof(*pager));
    if (pager == NULL)
        return error_no_memory(error);
    k8s_page_init(&pager->page);
    pager->client = client;
    pager->path = strdup(path);
    pager->query = query != NULL ? strdup(query) : NULL;
    pager->page_size = page_size > 0 ? page_size : K8S_PAGE_SIZE;
    pager->page_most = pager->page_size;
    pager->deadline = deadline;
    pager->on_object = on_object;
    pager->on_done = on_done;
    pager->context = context;
    bool copied = pager->path != NULL && (query == NULL || pager->query != NULL);
    int result = copied ? ask_for_page(pager, error) : error_no_memory(error);
    if (result != 0)
        free_pager(pager);
    return result;
}
