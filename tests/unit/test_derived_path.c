/* The secret path segment moves, and all replicas know each that is called. */
#include "server/derived_path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/certificates_fixture.h"

#define STEP (7 * CLOCK_SECOND)

/* The segment that API servers are told to call. */
static void called(char ret_segment[CERTS_PATH_LENGTH + 1])
{
    char *call = stored(MUTATING, "webhooks|0|clientConfig|service|path");
    assert_non_null(call);
    assert_int_equal(strlen(call), 1 + CERTS_PATH_LENGTH + strlen("/mutate"));
    snprintf(ret_segment, CERTS_PATH_LENGTH + 1, "%s", call + 1);
    free(call);
}

static void assert_good(const struct replica *replica, const char *segment)
{
    char request[64];
    snprintf(request, sizeof(request), "/%s/mutate", segment);
    assert_string_equal(certificates_route(replica->certificates, request), "/mutate");
}

static void assert_bad(const struct replica *replica, const char *segment)
{
    char request[64];
    snprintf(request, sizeof(request), "/%s/mutate", segment);
    assert_null(certificates_route(replica->certificates, request));
}

/* Runs both, and checks all the while that both know what is called. */
static void run_called(int64_t duration)
{
    for (int64_t passed = 0; passed < duration; passed += STEP) {
        char segment[CERTS_PATH_LENGTH + 1];
        (void)certificates_tick(one.certificates);
        called(segment);
        assert_good(&one, segment);
        assert_good(&two, segment);
        (void)certificates_tick(two.certificates);
        called(segment);
        assert_good(&one, segment);
        assert_good(&two, segment);
        clock_fake_advance(&fake, STEP);
    }
}

/* A directory without a file path: replicas with one key agree on a segment that moves. */
static void test_directory_derives_the_path(void **state)
{
    struct certs_bundle bundle;
    struct certs_bundle renewed;
    char first[CERTS_PATH_LENGTH + 1];
    char second[CERTS_PATH_LENGTH + 1];
    (void)state;
    make_bundle(&bundle, NULL);
    bundle.path[0] = '\0';
    write_directory(&bundle);
    struct certificates_options options = options_of(&one);
    options.tls_dir = directory;
    options.path_period = 400 * CLOCK_SECOND;
    open_replica(&one, &options);
    options.identity = "pod-2";
    options.context = &two;
    open_replica(&two, &options);
    called(first);
    assert_null(certificates_route(two.certificates, "/mutate"));
    run_called(410 * CLOCK_SECOND);
    called(second);
    assert_string_not_equal(first, second);
    assert_good(&one, first);
    /* Another key: others may still have the one before for some minutes. */
    make_bundle(&renewed, &bundle);
    renewed.path[0] = '\0';
    write_directory(&renewed);
    (void)certificates_tick(one.certificates);
    called(first);
    assert_string_equal(first, second);
    run_called(310 * CLOCK_SECOND);
    called(first);
    assert_string_not_equal(first, second);
    run_called(700 * CLOCK_SECOND);
    assert_bad(&one, second);
    assert_bad(&two, second);
    certs_bundle_clear(&renewed);
    certs_bundle_clear(&bundle);
}

static void call(const char *path)
{
    json_t *configuration = fake_objects_get(&cluster, MUTATING);
    json_t *first = json_array_get(json_object_get(configuration, "webhooks"), 0);
    json_t *service = json_object_get(json_object_get(first, "clientConfig"), "service");
    json_object_set_new(service, "path", json_string(path));
    fake_objects_put(&cluster, MUTATING, configuration);
}

/* Replicas of a version that had no segment may still run: for some minutes they go on being
 * called. */
static void test_directory_goes_on_without_a_segment(void **state)
{
    struct certs_bundle bundle;
    char segment[CERTS_PATH_LENGTH + 1];
    (void)state;
    call("/mutate");
    make_bundle(&bundle, NULL);
    bundle.path[0] = '\0';
    write_directory(&bundle);
    struct certificates_options options = options_of(&one);
    options.tls_dir = directory;
    options.path_period = 3600 * CLOCK_SECOND;
    options.validating_name = "";
    open_replica(&one, &options);
    assert_string_equal(certificates_route(one.certificates, "/mutate"), "/mutate");
    for (int i = 0; i < 29; i++) {
        clock_fake_advance(&fake, 10 * CLOCK_SECOND);
        (void)certificates_tick(one.certificates);
        assert_stored(MUTATING, "webhooks|0|clientConfig|service|path", "/mutate");
        assert_string_equal(certificates_route(one.certificates, "/mutate"), "/mutate");
    }
    clock_fake_advance(&fake, 20 * CLOCK_SECOND);
    (void)certificates_tick(one.certificates);
    called(segment);
    assert_good(&one, segment);
    assert_null(certificates_route(one.certificates, "/mutate"));
    certs_bundle_clear(&bundle);
}

/* Two replicas move the segment of the Secret; both know what is called at each moment, and what is
 * called no more is forgotten. */
static void test_path_moves(void **state)
{
    char first[CERTS_PATH_LENGTH + 1];
    char second[CERTS_PATH_LENGTH + 1];
    (void)state;
    struct certificates_options options = options_of(&one);
    options.path_period = 400 * CLOCK_SECOND;
    open_replica(&one, &options);
    options = options_of(&two);
    options.path_period = 400 * CLOCK_SECOND;
    open_replica(&two, &options);
    run(30 * CLOCK_SECOND);
    called(first);
    run_called(430 * CLOCK_SECOND);
    called(second);
    assert_string_not_equal(first, second);
    assert_good(&one, first);
    assert_good(&two, first);
    run_called(350 * CLOCK_SECOND);
    assert_bad(&one, first);
    assert_bad(&two, first);
    assert_good(&one, second);
}

/* What configurations say is good at once, though the Secret says something else: it was lost and
 * made again by somebody who couldn't know. */
static void test_called_path_is_good(void **state)
{
    static const char elsewhere[] = "0123456789abcdef0123456789abcdef";
    (void)state;
    const struct certificates_options options = options_of(&one);
    open_replica(&one, &options);
    run(5 * CLOCK_SECOND);
    assert_bad(&one, elsewhere);
    char path[64];
    snprintf(path, sizeof(path), "/%s/mutate", elsewhere);
    call(path);
    (void)certificates_tick(one.certificates);
    assert_good(&one, elsewhere);
    run(60 * CLOCK_SECOND);
    assert_published(MUTATING, "/mutate");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_directory_derives_the_path),
        CASE(test_directory_goes_on_without_a_segment),
        CASE(test_path_moves),
        CASE(test_called_path_is_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
