/* Certificates: replaced under load, refused when they can't be used, asked of clients. */
#include "server/http/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/http_fixture.h"

/* ---- certificates ---- */

/* The name in the certificate that a new handshake gets. */
static void serving_name(const struct http_listener *listener, char ret_name[64])
{
    struct client client;
    unsigned int count = 0;
    size_t size = 64;
    gnutls_x509_crt_t crt;
    client_open(&client, http_listener_port(listener), &trusting);
    const gnutls_datum_t *list = gnutls_certificate_get_peers(client.session, &count);
    client_check(count == 1 && gnutls_x509_crt_init(&crt) == 0);
    client_check(gnutls_x509_crt_import(crt, &list[0], GNUTLS_X509_FMT_DER) == 0);
    client_check(gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, ret_name,
                                               &size) == 0);
    gnutls_x509_crt_deinit(crt);
    client_close(&client);
}

static void test_certificate_is_replaced(void **state)
{
    const struct http_certificate second = {second_pair.certificate_pem, second_pair.key_pem};
    const struct {
        struct http_certificate pem;
        const char *text; /* in the error */
    } bad[] = {
        {{second_pair.certificate_pem, server_pair.key_pem}, "does not belong"},
        {{"", second_pair.key_pem}, "empty"},
        {{NULL, second_pair.key_pem}, "empty"},
        {{second_pair.certificate_pem, NULL}, "empty"},
        {{"nonsense", second_pair.key_pem}, "certificate chain"},
        {{second_pair.certificate_pem, "nonsense"}, "private key"},
        {{second_pair.key_pem, second_pair.key_pem}, "certificate chain"},
        {{second_pair.certificate_pem, second_pair.certificate_pem}, "private key"},
    };
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    struct client old;
    struct answer answer;
    char name[64];
    (void)state;
    client_open(&old, http_listener_port(listener), &trusting);
    serving_name(listener, name);
    assert_string_equal(name, "first");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error error = {.text = ""};
        assert_int_equal(http_listener_set_certificate(listener, &bad[i].pem, &error), -EINVAL);
        assert_non_null(strstr(error.text, bad[i].text));
        serving_name(listener, name);
        assert_string_equal(name, "first");
    }
    assert_int_equal(http_listener_set_certificate(listener, &second, NULL), 0);
    serving_name(listener, name);
    assert_string_equal(name, "second");
    client_ask(&old, "GET", "/still", NULL, NULL, 0, &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    client_close(&old);
    stop_when_quiet(listener);
}

static void test_bad_first_certificate(void **state)
{
    struct http_listener_options options = tls_options();
    struct http_listener *listener = NULL;
    struct error error = {.text = ""};
    (void)state;
    options.certificate.key_pem = second_pair.key_pem;
    assert_int_equal(http_listener_start(&options, &listener, &error), -EINVAL);
    assert_non_null(strstr(error.text, "does not belong"));
    assert_null(listener);
}

static atomic_bool rotating;

static void *rotate(void *listener)
{
    const struct http_certificate certificates[] = {
        {second_pair.certificate_pem, second_pair.key_pem},
        {server_pair.certificate_pem, server_pair.key_pem}};
    for (unsigned int i = 0; atomic_load(&rotating); i++)
        client_check(http_listener_set_certificate(listener, &certificates[i % 2], NULL) == 0);
    return NULL;
}

static void *connect_many(void *context)
{
    for (int i = 0; i < 60; i++) {
        struct asker once = *(struct asker *)context;
        once.times = 2;
        ask_many(&once);
    }
    return NULL;
}

/* Certificates change all the time while clients connect and ask: not one request fails. */
static void test_rotation_under_load(void **state)
{
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    struct asker asker = {.port = http_listener_port(listener),
                          .options = &trusting,
                          .target = "/echo",
                          .times = 500};
    pthread_t rotator;
    pthread_t threads[3];
    (void)state;
    atomic_store(&rotating, true);
    client_check(pthread_create(&rotator, NULL, rotate, listener) == 0);
    for (size_t i = 0; i < 3; i++)
        client_check(pthread_create(&threads[i], NULL, i == 0 ? ask_many : connect_many, &asker) ==
                     0);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&rotating, false);
    pthread_join(rotator, NULL);
    stop_when_quiet(listener);
}

static void test_client_authority(void **state)
{
    struct pair good;
    struct pair foreign;
    struct pair wrong_purpose;
    pair_make(&good, "client", GNUTLS_KP_TLS_WWW_CLIENT, &authority);
    pair_make(&foreign, "foreign", GNUTLS_KP_TLS_WWW_CLIENT, &other_authority);
    pair_make(&wrong_purpose, "server", GNUTLS_KP_TLS_WWW_SERVER, &authority);
    const struct {
        const struct pair *identity;
        unsigned int status;
    } cases[] = {{NULL, 403}, {&foreign, 403}, {&wrong_purpose, 403}, {&good, 200}};
    struct http_listener_options options = tls_options();
    options.client_ca_pem = authority.certificate_pem;
    struct http_listener *listener = start(&options);
    unsigned int before = atomic_load(&world.handled);
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client_options client_options = trusting;
        struct client client;
        client_options.identity = cases[i].identity;
        client_open(&client, http_listener_port(listener), &client_options);
        for (int times = cases[i].status == 200 ? 2 : 1; times > 0; times--) {
            struct answer answer;
            client_ask(&client, "POST", "/echo", NULL, "body", 4, &answer);
            assert_int_equal(answer.status, cases[i].status);
            if (answer.status == 403)
                assert_non_null(strstr(answer.body, "\"reason\":\"Forbidden\""));
            answer_free(&answer);
        }
        assert_true(cases[i].status == 200 || client_at_end(&client));
        client_close(&client);
    }
    assert_int_equal(atomic_load(&world.handled), before + 2);
    stop_when_quiet(listener);
    pair_free(&good);
    pair_free(&foreign);
    pair_free(&wrong_purpose);
}

static void test_old_tls_is_refused(void **state)
{
    static const struct {
        const char *priorities;
        bool accepted;
    } cases[] = {{"NORMAL:-VERS-ALL:+VERS-TLS1.1", false},
                 {"NORMAL:-VERS-ALL:+VERS-TLS1.2", true},
                 {"NORMAL:-VERS-ALL:+VERS-TLS1.3", true}};
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client client;
        client_open(&client, http_listener_port(listener), NULL);
        client.tls = true;
        client_tls(&client, &trusting);
        client_check(gnutls_priority_set_direct(client.session, cases[i].priorities, NULL) == 0);
        assert_int_equal(gnutls_handshake(client.session) == 0, cases[i].accepted);
        client_close(&client);
    }
    http_listener_stop(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_certificate_is_replaced),
        cmocka_unit_test(test_bad_first_certificate),
        cmocka_unit_test(test_rotation_under_load),
        cmocka_unit_test(test_client_authority),
        cmocka_unit_test(test_old_tls_is_refused),
    };
    return cmocka_run_group_tests(tests, make_pairs, free_pairs);
}
