/* Any text as a Node: refused, or read within its bounds. */
#include "server/objects/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "failed: %s\n", #condition);                                           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_view view;
    struct node *object = NULL;
    struct error error = {0};
    json_view_init(&view);
    if (json_view_parse(&view, (const char *)data, size, JSON_VIEW_DEPTH, NULL) == 0 &&
        node_decode(&view, json_view_root(&view), &object, &error) == 0) {
        REQUIRE(strlen(object->meta.key) > 0);
        REQUIRE(node_says_the_same(object, object));
        for (size_t i = 0; i < object->labels.count; i++)
            REQUIRE(labels_get(&object->labels, object->labels.items[i].key) != NULL);
        node_free(object);
    }
    json_view_clear(&view);
    return 0;
}
