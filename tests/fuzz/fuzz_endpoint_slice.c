/* Any text as an EndpointSlice: refused, or read within its bounds. */
#include "server/objects/endpoint_slice.h"

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
    struct endpoint_slice *object = NULL;
    struct error error = {0};
    json_view_init(&view);
    if (json_view_parse(&view, (const char *)data, size, JSON_VIEW_DEPTH, NULL) == 0 &&
        endpoint_slice_decode(&view, json_view_root(&view), &object, &error) == 0) {
        REQUIRE(strlen(object->meta.key) > 0);
        const char *before = "";
        for (const char *node = endpoint_slice_node(object, NULL); node != NULL;
             node = endpoint_slice_node(object, node)) {
            REQUIRE(strcmp(before, node) < 0);
            before = node;
        }
        REQUIRE(endpoint_slice_says_the_same(object, object));
        endpoint_slice_free(object);
    }
    json_view_clear(&view);
    return 0;
}
