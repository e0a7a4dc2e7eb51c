/* A text as the tests of json_view parse it. */
#ifndef IPWARDEN_TESTS_UNIT_JSON_VIEW_FIXTURE_H
#define IPWARDEN_TESTS_UNIT_JSON_VIEW_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/base/json_view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A review as an API server sends it, shortened. */
static const char review[] __attribute__((unused)) =
    "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{\"uid\":"
    "\"8f6d\",\"resource\":{\"group\":\"\",\"version\":\"v1\",\"resource\":\"services\"},\"name\":"
    "\"shop\",\"namespace\":\"sales\",\"operation\":\"CREATE\",\"userInfo\":{\"username\":\"jane\","
    "\"groups\":[\"staff\",\"system:authenticated\"]},\"object\":{\"metadata\":{\"name\":\"shop\","
    "\"annotations\":{\"note\":\"line 1\\nline \\u0032 \\ud83d\\ude00\",\"plain\":\"Gr\xC3\xBC\xC3"
    "\x9F"
    "e\"},\"managedFields\":[{\"fieldsV1\":{\"f:ports\":{\"k:{\\\"port\\\":80}\":{\".\":{}}}"
    "}}]},\"spec\":{\"ports\":[{\"port\":80,\"targetPort\":\"http\"},{\"port\":443}],"
    "\"externalTrafficPolicy\":\"Local\",\"sessionAffinityConfig\":null}},\"oldObject\":null,"
    "\"dryRun\":true}}";

struct parsed {
    struct json_view view;
    char *text; /* an exact copy without a NUL: a read beyond the end is caught by the sanitizer */
};

static int parse(struct parsed *parsed, const char *text, size_t length, struct error *error)
{
    json_view_init(&parsed->view);
    parsed->text = malloc(length > 0 ? length : 1);
    assert_non_null(parsed->text);
    memcpy(parsed->text, text, length);
    return json_view_parse(&parsed->view, parsed->text, length, JSON_VIEW_DEPTH, error);
}

static void parse_good(struct parsed *parsed, const char *text)
{
    struct error error = {0};
    int result = parse(parsed, text, strlen(text), &error);
    if (result != 0)
        fail_msg("%s: %s", text, error.text);
}

static void release(struct parsed *parsed)
{
    json_view_clear(&parsed->view);
    free(parsed->text);
}

#endif
