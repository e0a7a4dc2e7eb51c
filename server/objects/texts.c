/* Lists of texts. */
#include "server/objects/texts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int texts_decode(const struct json_view *view, const struct json_node *list, const char *except,
                 struct texts *ret_texts)
{
    size_t most = json_view_is_array(list) ? json_view_count(list) : 0;
    *ret_texts = (struct texts){0};
    if (most == 0)
        return 0;
    ret_texts->items = calloc(most, sizeof(*ret_texts->items));
    if (ret_texts->items == NULL)
        return -ENOMEM;
    for (const struct json_node *item = json_view_first(view, list); item != NULL;
         item = json_view_after(view, list, item)) {
        if (!json_view_is_string(item) || (except != NULL && json_view_equals(view, item, except)))
            continue;
        ret_texts->items[ret_texts->count] = json_view_copy(view, item);
        if (ret_texts->items[ret_texts->count] == NULL)
            return -ENOMEM;
        ret_texts->count++;
    }
    if (ret_texts->count == 0)
        texts_clear(ret_texts);
    return 0;
}

int texts_copy(const struct texts *texts, struct texts *ret_copy)
{
    *ret_copy = (struct texts){0};
    if (texts->count == 0)
        return 0;
    ret_copy->items = calloc(texts->count, sizeof(*ret_copy->items));
    if (ret_copy->items == NULL)
        return -ENOMEM;
    for (; ret_copy->count < texts->count; ret_copy->count++)
        if ((ret_copy->items[ret_copy->count] = strdup(texts->items[ret_copy->count])) == NULL)
            return -ENOMEM;
    return 0;
}

int texts_add(struct texts *texts, const char *text)
{
    char *copy = strdup(text);
    char **items = realloc(texts->items, (texts->count + 1) * sizeof(*items));
    if (items != NULL)
        texts->items = items;
    if (copy == NULL || items == NULL) {
        free(copy);
        return -ENOMEM;
    }
    texts->items[texts->count++] = copy;
    return 0;
}

bool texts_have(const struct texts *texts, const char *text)
{
    for (size_t i = 0; i < texts->count; i++)
        if (strcmp(texts->items[i], text) == 0)
            return true;
    return false;
}

bool texts_are_equal(const struct texts *left, const struct texts *right)
{
    if (left->count != right->count)
        return false;
    for (size_t i = 0; i < left->count; i++)
        if (strcmp(left->items[i], right->items[i]) != 0)
            return false;
    return true;
}

void texts_clear(struct texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        free(texts->items[i]);
    free(texts->items);
    *texts = (struct texts){0};
}
