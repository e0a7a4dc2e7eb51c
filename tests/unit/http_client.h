/* A small HTTP client for tests, and certificates made on the spot. It is on raw sockets and GnuTLS
 * and not on libcurl, because the tests need what a library hides: bytes that come one at a time,
 * clients that vanish, and whether it really was the same connection. Include after cmocka.h. */
#ifndef IPWARDEN_TESTS_HTTP_CLIENT_H
#define IPWARDEN_TESTS_HTTP_CLIENT_H

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENT_DEADLINE_SECONDS 60

/* Everything below fails the test by abort: it is called from threads other than cmocka's too. */
#define client_check(condition)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: failed: %s (errno %d)\n", __FILE__, __LINE__, #condition,      \
                    errno);                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct pair {
    gnutls_x509_crt_t certificate;
    gnutls_x509_privkey_t key;
    char *certificate_pem;
    char *key_pem;
};

static inline char *datum_text(gnutls_datum_t *datum)
{
    char *text = strndup((const char *)datum->data, datum->size);
    gnutls_free(datum->data);
    client_check(text != NULL);
    return text;
}

/* purpose: GNUTLS_KP_TLS_WWW_SERVER or _CLIENT; NULL: an authority. issuer NULL: self-signed. */
static inline void pair_make(struct pair *ret_pair, const char *name, const char *purpose,
                             const struct pair *issuer)
{
    static _Atomic unsigned char next_serial = 1;
    unsigned char serial = next_serial++;
    gnutls_datum_t pem;
    client_check(gnutls_x509_privkey_init(&ret_pair->key) == 0);
    client_check(gnutls_x509_privkey_generate(ret_pair->key, GNUTLS_PK_ECDSA,
                                              GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
                                              0) == 0);
    gnutls_x509_crt_t crt;
    client_check(gnutls_x509_crt_init(&crt) == 0);
    client_check(gnutls_x509_crt_set_version(crt, 3) == 0);
    client_check(gnutls_x509_crt_set_serial(crt, &serial, 1) == 0);
    client_check(gnutls_x509_crt_set_key(crt, ret_pair->key) == 0);
    client_check(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                               (unsigned int)strlen(name)) == 0);
    client_check(gnutls_x509_crt_set_activation_time(crt, time(NULL) - 3600) == 0);
    client_check(gnutls_x509_crt_set_expiration_time(crt, time(NULL) + 3600) == 0);
    client_check(gnutls_x509_crt_set_basic_constraints(crt, purpose == NULL, -1) == 0);
    if (purpose != NULL) {
        static const unsigned char loopback[4] = {127, 0, 0, 1};
        client_check(gnutls_x509_crt_set_key_purpose_oid(crt, purpose, 0) == 0);
        client_check(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, loopback, 4,
                                                          GNUTLS_FSAN_SET) == 0);
    } else {
        client_check(gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_KEY_CERT_SIGN) == 0);
    }
    client_check(gnutls_x509_crt_sign2(crt, issuer != NULL ? issuer->certificate : crt,
                                       issuer != NULL ? issuer->key : ret_pair->key,
                                       GNUTLS_DIG_SHA256, 0) == 0);
    ret_pair->certificate = crt;
    client_check(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem) == 0);
    ret_pair->certificate_pem = datum_text(&pem);
    client_check(gnutls_x509_privkey_export2_pkcs8(ret_pair->key, GNUTLS_X509_FMT_PEM, NULL,
                                                   GNUTLS_PKCS_PLAIN, &pem) == 0);
    ret_pair->key_pem = datum_text(&pem);
}

static inline void pair_free(struct pair *pair)
{
    gnutls_x509_crt_deinit(pair->certificate);
    gnutls_x509_privkey_deinit(pair->key);
    free(pair->certificate_pem);
    free(pair->key_pem);
}

struct client {
    int socket;
    bool tls;
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    size_t have; /* bytes read and not yet taken */
    char buffer[16384];
};

struct client_options {
    bool tls;
    const struct pair *authority; /* the server must be signed by it; NULL: anyone */
    const struct pair *identity;  /* shown to the server */
};

struct answer {
    unsigned int status;
    char head[8192]; /* status line and headers */
    char *body;
    size_t length;
};

static inline void client_tls(struct client *client, const struct client_options *options)
{
    client_check(gnutls_certificate_allocate_credentials(&client->credentials) == 0);
    if (options->authority != NULL)
        client_check(gnutls_certificate_set_x509_trust(
                         client->credentials,
                         (gnutls_x509_crt_t[]){options->authority->certificate}, 1) == 1);
    if (options->identity != NULL)
        client_check(gnutls_certificate_set_x509_key(
                         client->credentials, (gnutls_x509_crt_t[]){options->identity->certificate},
                         1, options->identity->key) >= 0);
    /* Whatever authorities the server asks for: the test decides what is shown. */
    client_check(gnutls_init(&client->session, GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT) == 0);
    client_check(gnutls_set_default_priority(client->session) == 0);
    client_check(
        gnutls_credentials_set(client->session, GNUTLS_CRD_CERTIFICATE, client->credentials) == 0);
    if (options->authority != NULL)
        gnutls_session_set_verify_cert(client->session, NULL, 0);
    gnutls_transport_set_int(client->session, client->socket);
}

/* Returns 0 or a GnuTLS error of the handshake. */
static inline int client_try(struct client *client, unsigned int port,
                             const struct client_options *options)
{
    memset(client, 0, sizeof(*client));
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    struct timeval deadline = {.tv_sec = CLIENT_DEADLINE_SECONDS};
    client->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    client_check(client->socket >= 0);
    client_check(setsockopt(client->socket, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline)) ==
                 0);
    client_check(setsockopt(client->socket, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof(deadline)) ==
                 0);
    client_check(setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) == 0);
    client_check(connect(client->socket, (struct sockaddr *)&address, sizeof(address)) == 0);
    client->tls = options != NULL && options->tls;
    if (!client->tls)
        return 0;
    client_tls(client, options);
    int result;
    do {
        result = gnutls_handshake(client->session);
    } while (result < 0 && !gnutls_error_is_fatal(result));
    return result;
}

static inline void client_open(struct client *client, unsigned int port,
                               const struct client_options *options)
{
    client_check(client_try(client, port, options) == 0);
}

static inline void client_close(struct client *client)
{
    if (client->tls) {
        gnutls_deinit(client->session);
        gnutls_certificate_free_credentials(client->credentials);
    }
    close(client->socket);
}

/* Returns false when the server has closed. */
static inline bool client_send_some(struct client *client, const void *data, size_t length)
{
    const char *at = data;
    while (length > 0) {
        ssize_t sent = client->tls ? gnutls_record_send(client->session, at, length)
                                   : send(client->socket, at, length, MSG_NOSIGNAL);
        if (sent == GNUTLS_E_INTERRUPTED && client->tls)
            continue;
        if (sent <= 0)
            return false;
        at += sent;
        length -= (size_t)sent;
    }
    return true;
}

static inline void client_send(struct client *client, const void *data, size_t length)
{
    client_check(client_send_some(client, data, length));
}

static inline void client_send_text(struct client *client, const char *text)
{
    client_send(client, text, strlen(text));
}

/* Bytes of the stream, 0 at its end (also when it was reset). */
static inline size_t client_receive(struct client *client, void *data, size_t size)
{
    ssize_t got;
    do {
        got = client->tls ? gnutls_record_recv(client->session, data, size)
                          : recv(client->socket, data, size, 0);
    } while (client->tls && (got == GNUTLS_E_INTERRUPTED || got == GNUTLS_E_AGAIN));
    client_check(client->tls || got >= 0 || errno == ECONNRESET);
    return got > 0 ? (size_t)got : 0;
}

/* Reads until the text is in the buffer; returns a pointer behind it, or NULL at the end. */
static inline char *client_read_until(struct client *client, const char *text)
{
    for (;;) {
        char *found = memmem(client->buffer, client->have, text, strlen(text));
        if (found != NULL)
            return found + strlen(text);
        client_check(client->have < sizeof(client->buffer));
        size_t got = client_receive(client, client->buffer + client->have,
                                    sizeof(client->buffer) - client->have);
        if (got == 0)
            return NULL;
        client->have += got;
    }
}

static inline void client_take(struct client *client, size_t length)
{
    memmove(client->buffer, client->buffer + length, client->have - length);
    client->have -= length;
}

/* The value of a header of the answer, copied into a static area of the thread, or NULL. */
static inline const char *answer_header(const struct answer *answer, const char *name)
{
    static _Thread_local char value[512];
    for (const char *line = strstr(answer->head, "\r\n"); line != NULL;
         line = strstr(line + 2, "\r\n")) {
        size_t length = strlen(name);
        if (strncasecmp(line + 2, name, length) != 0 || line[2 + length] != ':')
            continue;
        const char *start = line + 2 + length + 1 + strspn(line + 2 + length + 1, " ");
        snprintf(value, sizeof(value), "%.*s", (int)strcspn(start, "\r"), start);
        return value;
    }
    return NULL;
}

/* Reads one answer; false when the stream ended before it was whole. with_body false: to a HEAD. */
static inline bool client_read(struct client *client, struct answer *ret_answer, bool with_body)
{
    memset(ret_answer, 0, sizeof(*ret_answer));
    char *end = client_read_until(client, "\r\n\r\n");
    if (end == NULL)
        return false;
    size_t head = (size_t)(end - client->buffer);
    client_check(head < sizeof(ret_answer->head));
    memcpy(ret_answer->head, client->buffer, head);
    client_take(client, head);
    client_check(sscanf(ret_answer->head, "HTTP/1.1 %u", &ret_answer->status) == 1);
    const char *length_text = answer_header(ret_answer, "Content-Length");
    ret_answer->length =
        with_body && length_text != NULL ? (size_t)strtoul(length_text, NULL, 10) : 0;
    ret_answer->body = malloc(ret_answer->length + 1);
    client_check(ret_answer->body != NULL);
    size_t have = client->have < ret_answer->length ? client->have : ret_answer->length;
    memcpy(ret_answer->body, client->buffer, have);
    client_take(client, have);
    while (have < ret_answer->length) {
        size_t got = client_receive(client, ret_answer->body + have, ret_answer->length - have);
        if (got == 0) {
            free(ret_answer->body);
            return false;
        }
        have += got;
    }
    ret_answer->body[have] = '\0';
    return true;
}

static inline void answer_free(struct answer *answer)
{
    free(answer->body);
}

/* Whether the server has nothing more to say and closed the stream. */
static inline bool client_at_end(struct client *client)
{
    char byte;
    return client->have == 0 && client_receive(client, &byte, 1) == 0;
}

/* One request with a body (NULL: none) and its answer. */
static inline void client_ask(struct client *client, const char *method, const char *target,
                              const char *headers, const void *body, size_t length,
                              struct answer *ret_answer)
{
    char head[2048];
    int size = snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nHost: test\r\n%s", method, target,
                        headers != NULL ? headers : "");
    if (body != NULL)
        size +=
            snprintf(head + size, sizeof(head) - (size_t)size, "Content-Length: %zu\r\n", length);
    size += snprintf(head + size, sizeof(head) - (size_t)size, "\r\n");
    client_check((size_t)size < sizeof(head));
    client_send(client, head, (size_t)size);
    if (body != NULL)
        client_send(client, body, length);
    client_check(client_read(client, ret_answer, strcmp(method, "HEAD") != 0));
}

/* Waits for a condition that another thread brings about, with a deadline. */
#define wait_until(condition)                                                                      \
    do {                                                                                           \
        time_t wait_end = time(NULL) + CLIENT_DEADLINE_SECONDS;                                    \
        while (!(condition)) {                                                                     \
            client_check(time(NULL) < wait_end);                                                   \
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);                               \
        }                                                                                          \
    } while (0)

#endif
