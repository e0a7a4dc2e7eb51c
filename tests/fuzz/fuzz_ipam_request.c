/* Any JSON as an IPAMRequest, judged against one range of each family: a request without a fault has a wish that can be read; one
 * that a range could serve gets something of it while the range is empty, and one that it couldn't gets nothing. */
#include "allocator/request_spec.h"
#include "server/decide/range_grant.h"

#include <errno.h>
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

static const char *const lists[] = {
    "{\"metadata\":{\"name\":\"four\"},\"spec\":{\"defaultPrefixLength\":28,\"ranges\":["
    "\"10.0.0.0/16\",\"10.1.0.7-10.1.0.200\"]}}",
    "{\"metadata\":{\"name\":\"six\"},\"spec\":{\"mode\":\"RoundRobin\",\"ranges\":[\"::/0\"]}}",
};

static void check_wish(const struct ipam_request *request, const struct ipam_range *range)
{
    struct error error = {0};
    struct cidr cidr;
    _cleanup_blocks_ struct blocks *blocks = blocks_new(range->ranges, range->mode, NULL);
    int judged = range_grant_check(request, range, &error);
    REQUIRE(judged == 0 || judged == -EINVAL || judged == -ERANGE);
    REQUIRE(judged == 0 || (error.code == judged && error.text[0] != '\0'));
    if (blocks == NULL)
        return;
    int result = *request->spec != '\0'
                     ? request_spec_apply(request->spec, blocks, &cidr, NULL)
                     : blocks_allocate(blocks, range->prefix_length, &cidr, NULL);
    REQUIRE(result == judged || result == -ENOMEM);
    REQUIRE(result != 0 || ranges_covers(range->ranges, &cidr));
}

static void check(const struct ipam_request *request, const struct field_errors *errors)
{
    REQUIRE((request->invalid == NULL) == (field_errors_total(errors) == 0));
    REQUIRE(request->range != NULL && strchr(request->range, '/') != NULL);
    REQUIRE(strlen(request->spec) <= IPAM_REQUEST_SPEC_MOST);
    REQUIRE(ipam_verdict_name(request->told)[0] != '\0');
    for (size_t i = 0; i < errors->count; i++)
        REQUIRE(strncmp(errors->items[i].field, "spec.", 5) == 0 &&
                errors->items[i].text[0] != '\0');
    for (size_t i = 0; request->invalid == NULL && i < 2; i++) {
        struct ipam_range *range = NULL;
        if (ipam_range_decode_text(lists[i], strlen(lists[i]), &range, NULL) == 0)
            check_wish(request, range);
        ipam_range_free(range);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_view view;
    struct field_errors errors = {0};
    struct ipam_request *request = NULL;
    struct error error = {0};
    json_view_init(&view);
    if (json_view_parse(&view, (const char *)data, size, JSON_VIEW_DEPTH, NULL) == 0 &&
        ipam_request_decode(&view, json_view_root(&view), "default", &errors, &request, &error) ==
            0)
        check(request, &errors);
    else
        REQUIRE(request == NULL);
    field_errors_clear(&errors);
    ipam_request_free(request);
    json_view_clear(&view);
    return 0;
}
