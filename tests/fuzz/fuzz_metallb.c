/* Any JSON as each of MetalLB's kinds: what is read of a pool becomes an IpClaimPool that can be read
 * back and has the same addresses, or a problem that is told. */
#include "server/migrate/metallb.h"
#include "server/migrate/metallb_pool.h"
#include "server/migrate/stored_pool.h"

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

/* The specification as it would be stored. */
static void check_spec(const struct metallb_translation *translation)
{
    struct json_view view;
    struct stored_pool *stored = NULL;
    char member[STORED_POOL_MEMBER_SIZE];
    char *text = NULL;
    json_view_init(&view);
    REQUIRE(asprintf(&text, "{\"metadata\":{\"name\":\"p\"},\"spec\":%s}", translation->spec) > 0);
    REQUIRE(json_view_parse(&view, text, strlen(text), JSON_VIEW_DEPTH, NULL) == 0);
    REQUIRE(stored_pool_decode(&view, json_view_root(&view), &stored, NULL) == 0);
    REQUIRE(stored_pool_says(stored, translation->spec, member, NULL) == 1);
    REQUIRE(address_set_covers_all(translation->addresses, stored->addresses));
    stored_pool_free(stored);
    json_view_clear(&view);
    free(text);
}

static void check_pool(const struct metallb_pool *pool,
                       struct metallb_advertisement *const *advertisements, size_t count)
{
    const struct metallb_surroundings surroundings = {.advertisements = advertisements,
                                                      .advertisement_count = count};
    struct metallb_translation translation;
    REQUIRE(pool->name != NULL && *pool->name != '\0' && pool->priority >= 0);
    REQUIRE(metallb_pool_translate(pool, &surroundings, &translation, NULL) == 0);
    REQUIRE((translation.spec == NULL) == (translation.problem != NULL));
    if (translation.spec != NULL)
        check_spec(&translation);
    metallb_translation_clear(&translation);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_view view;
    struct metallb_pool *pool = NULL;
    struct metallb_advertisement *advertisements[2] = {NULL, NULL};
    struct metallb_service *service = NULL;
    json_view_init(&view);
    if (json_view_parse(&view, (const char *)data, size, JSON_VIEW_DEPTH, NULL) == 0) {
        const struct json_node *root = json_view_root(&view);
        size_t count = metallb_advertisement_decode(&view, root, METALLB_LAYER2, &advertisements[0],
                                                    NULL) == 0 &&
                               metallb_advertisement_decode(&view, root, METALLB_BGP,
                                                            &advertisements[1], NULL) == 0
                           ? 2
                           : 0;
        if (metallb_pool_decode(&view, root, &pool, NULL) == 0) {
            check_pool(pool, advertisements, count);
            check_pool(pool, advertisements, count > 0 ? 1 : 0);
        }
        if (metallb_service_decode(&view, root, &service, NULL) == 0)
            REQUIRE(service->service != NULL);
    }
    metallb_pool_free(pool);
    metallb_advertisement_free(advertisements[0]);
    metallb_advertisement_free(advertisements[1]);
    metallb_service_free(service);
    json_view_clear(&view);
    return 0;
}
