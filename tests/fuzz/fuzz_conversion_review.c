/* Any text as a ConversionReview: no answer, or one that has as many objects as were asked for, or
 * none and the reason. */
#include "server/base/json_view.h"
#include "server/conversion/conversion_review.h"

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

#define ANSWER_MOST (64U << 20)
/* Deeper than this the text of a review is passed on unread. */
#define DEPTH 3

static void check_answer(const char *data, size_t size, const struct buffer *answer,
                         const struct conversion_report *report)
{
    struct json_view asked;
    struct json_view view;
    struct error error;
    json_view_init(&asked);
    json_view_init(&view);
    REQUIRE(json_view_parse(&asked, data, size, DEPTH, &error) == 0);
    REQUIRE(json_view_parse(&view, answer->data, answer->length, DEPTH, &error) == 0);
    const struct json_node *request = json_view_member(&asked, json_view_root(&asked), "request");
    const struct json_node *response = json_view_member(&view, json_view_root(&view), "response");
    const struct json_node *objects = json_view_member(&asked, request, "objects");
    const struct json_node *converted = json_view_member(&view, response, "convertedObjects");
    REQUIRE(json_view_same(&asked, json_view_member(&asked, request, "uid"), &view,
                           json_view_member(&view, response, "uid")));
    if (report->failed[0] != '\0')
        REQUIRE(converted == NULL);
    else
        REQUIRE(json_view_count(converted) ==
                (json_view_is_array(objects) ? json_view_count(objects) : 0));
    json_view_clear(&asked);
    json_view_clear(&view);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer answer;
    struct conversion_report report;
    struct error error = {0};
    buffer_init(&answer, ANSWER_MOST);
    if (conversion_review_answer((const char *)data, size, &answer, &report, &error) == 0)
        check_answer((const char *)data, size, &answer, &report);
    else
        REQUIRE(error.text[0] != '\0');
    buffer_clear(&answer);
    return 0;
}
