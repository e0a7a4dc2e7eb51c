/* One object through a ConversionReview, and tables of what each version says. */
#ifndef IPWARDEN_TESTS_UNIT_CONVERSION_FIXTURE_H
#define IPWARDEN_TESTS_UNIT_CONVERSION_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/json_view.h"
#include "server/base/json_writer.h"
#include "server/conversion/conversion_kind.h"
#include "server/conversion/conversion_review.h"
#include "tests/unit/single_quotes.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ANSWER_MOST ((size_t)1 << 30)

static inline enum conversion_version other(enum conversion_version version)
{
    return version == CONVERSION_OLDER ? CONVERSION_CURRENT : CONVERSION_OLDER;
}

/* A review of texts, separated by commas; to free(). */
static inline char *make_review(const char *desired, const char *objects)
{
    char *text = NULL;
    assert_true(
        asprintf(&text,
                 "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1\","
                 "\"request\":{\"uid\":\"5-a\",\"desiredAPIVersion\":\"%s\",\"objects\":[%s]}}",
                 desired, objects) > 0);
    return text;
}

/* The answer to it, parsed. */
struct answered {
    struct buffer text;
    struct json_view view;
    struct conversion_report report;
    const struct json_node *response;
    const struct json_node *objects;
};

static inline void answer_review(const char *text, size_t length, struct answered *answered)
{
    struct error error = {0};
    /* An exact copy without a NUL: a read beyond the end is caught by the sanitizer. */
    char *copy = malloc(length);
    assert_non_null(copy);
    memcpy(copy, text, length);
    buffer_init(&answered->text, ANSWER_MOST);
    json_view_init(&answered->view);
    if (conversion_review_answer(copy, length, &answered->text, &answered->report, &error) < 0)
        fail_msg("%s", error.text);
    free(copy);
    if (json_view_parse(&answered->view, answered->text.data, answered->text.length,
                        JSON_VIEW_DEPTH, &error) < 0)
        fail_msg("%s: %s", answered->text.data, error.text);
    answered->response =
        json_view_member(&answered->view, json_view_root(&answered->view), "response");
    answered->objects = json_view_member(&answered->view, answered->response, "convertedObjects");
}

static inline void answered_clear(struct answered *answered)
{
    buffer_clear(&answered->text);
    json_view_clear(&answered->view);
}

/* The object in the other version; to free(). */
static inline char *convert(const struct conversion_kind *kind, enum conversion_version to,
                            const char *object)
{
    char desired[128];
    struct answered answered;
    size_t length = 0;
    snprintf(desired, sizeof(desired), "%s/%s", kind->group, kind->versions[to]);
    char *review = make_review(desired, object);
    answer_review(review, strlen(review), &answered);
    if (answered.report.failed[0] != '\0')
        fail_msg("%s\n%s", answered.report.failed, object);
    assert_int_equal(json_view_count(answered.objects), 1);
    const char *raw =
        json_view_raw(&answered.view, json_view_first(&answered.view, answered.objects), &length);
    char *copy = strndup(raw, length);
    assert_non_null(copy);
    free(review);
    answered_clear(&answered);
    return copy;
}

/* Whether two texts are the same in canonical JSON. */
static inline bool same_json(const char *left, const char *right)
{
    struct json_view one;
    struct json_view two;
    json_view_init(&one);
    json_view_init(&two);
    assert_int_equal(json_view_parse(&one, left, strlen(left), JSON_VIEW_DEPTH, NULL), 0);
    assert_int_equal(json_view_parse(&two, right, strlen(right), JSON_VIEW_DEPTH, NULL), 0);
    bool same = json_view_same(&one, json_view_root(&one), &two, json_view_root(&two));
    json_view_clear(&one);
    json_view_clear(&two);
    return same;
}

static inline void assert_same_json(const char *got, const char *expected)
{
    if (!same_json(got, expected))
        fail_msg("\n     got %s\nexpected %s", got, expected);
}

/* What one version says: the members beside metadata, without their braces; members of metadata beside
 * its name, likewise; conversion data, NULL for none. In single quotes. */
struct said {
    const char *body;
    const char *metadata;
    const char *data;
};

/* The whole object; to free(). */
static inline char *make_object(const struct conversion_kind *kind, enum conversion_version version,
                                const struct said *said)
{
    struct buffer text;
    buffer_init(&text, ANSWER_MOST);
    buffer_printf(&text, "{\"apiVersion\":\"%s/%s\",\"kind\":\"%s\",\"metadata\":{\"name\":\"x\"",
                  kind->group, kind->versions[version], kind->kind);
    if (said->metadata != NULL)
        buffer_printf(&text, ",%s", Q(said->metadata));
    if (said->data != NULL) {
        buffer_printf(&text, ",\"annotations\":{\"%s/conversion-data\":", kind->group);
        buffer_append_json_string(&text, Q(said->data));
        buffer_append_string(&text, "}");
    }
    buffer_printf(&text, "}%s%s}", said->body[0] != '\0' ? "," : "", Q(said->body));
    char *object = buffer_steal(&text, NULL);
    assert_non_null(object);
    return object;
}

static inline void check_converts(const struct conversion_kind *kind, enum conversion_version to,
                                  const struct said *from, const struct said *expected)
{
    char *object = make_object(kind, other(to), from);
    char *wanted = make_object(kind, to, expected);
    char *got = convert(kind, to, object);
    assert_same_json(got, wanted);
    free(object);
    free(wanted);
    free(got);
}

/* Rows that say the same in both versions: each is made of the other. */
struct pair {
    struct said older;
    struct said current;
};

static inline void check_pairs(const struct conversion_kind *kind, const struct pair *pairs,
                               size_t count)
{
    for (size_t i = 0; i < count; i++) {
        check_converts(kind, CONVERSION_CURRENT, &pairs[i].older, &pairs[i].current);
        check_converts(kind, CONVERSION_OLDER, &pairs[i].current, &pairs[i].older);
    }
}

/* Rows for one direction: what was edited, or is damaged. */
struct step {
    struct said from;
    struct said expected;
};

static inline void check_steps(const struct conversion_kind *kind, enum conversion_version to,
                               const struct step *steps, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_converts(kind, to, &steps[i].from, &steps[i].expected);
}

#endif
