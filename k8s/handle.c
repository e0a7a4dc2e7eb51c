/* curl easy handles: set up once with what never changes (trust, credentials, protocol) and reused,
 * so that a request on a warm connection costs no more than its URL, its body and its headers. */
#include "k8s/client_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_KEPT (256U * 1024) /* bytes of memory that a spare handle keeps */
#define CONNECT_TIMEOUT_MS 5000L
#define KEEPALIVE_IDLE_SECONDS 15L
#define KEEPALIVE_INTERVAL_SECONDS 5L

/* For data that outlives the handle; curl reads it and doesn't copy. */
static CURLcode set_blob(CURL *easy, CURLoption option, char *text)
{
    struct curl_blob blob = {.data = text, .len = strlen(text), .flags = CURL_BLOB_NOCOPY};
    return curl_easy_setopt(easy, option, &blob);
}

static CURLcode set_transport(struct k8s_client *client, CURL *easy)
{
    /* Requests wait for the first connection's handshake to tell whether they can share it. Without
     * TLS there is none, and they would wait for the first answer instead, which may be long in
     * coming. */
    bool wait_for_handshake = strncmp(client->base_url, "https:", strlen("https:")) == 0;
    const struct {
        CURLoption option;
        long value;
    } numbers[] = {
        {CURLOPT_NOSIGNAL, 1},
        {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS},
        {CURLOPT_PIPEWAIT, wait_for_handshake},
        {CURLOPT_PATH_AS_IS, 1},
        {CURLOPT_FOLLOWLOCATION, 0},
        {CURLOPT_TCP_NODELAY, 1},
        {CURLOPT_TCP_KEEPALIVE, 1},
        {CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS},
        {CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS},
        {CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS},
        {CURLOPT_SSL_VERIFYPEER, client->config->insecure ? 0 : 1},
        {CURLOPT_SSL_VERIFYHOST, client->config->insecure ? 0 : 2},
        {CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2},
        /* Here and never again: libcurl refuses to change it on a handle that has been used. */
        {CURLOPT_BUFFERSIZE, 32768},
        {CURLOPT_UPLOAD_BUFFERSIZE, 16384},
    };
    CURLcode code = CURLE_OK;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && code == CURLE_OK; i++)
        code = curl_easy_setopt(easy, numbers[i].option, numbers[i].value);
    if (code == CURLE_OK)
        code = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    /* The environment's proxies are not for the API server; a configured one is refused when the
     * configuration is read. */
    if (code == CURLE_OK)
        code = curl_easy_setopt(easy, CURLOPT_PROXY, "");
    if (code == CURLE_OK)
        code = curl_easy_setopt(easy, CURLOPT_USERAGENT, client->user_agent);
    if (code == CURLE_OK)
        code = curl_easy_setopt(easy, CURLOPT_CONNECT_TO, client->connect_to);
    if (code == CURLE_OK)
        code = k8s_sockets_watch(&client->sockets, easy);
    return code;
}

static CURLcode set_credentials(const struct k8s_config *config, CURL *easy)
{
    CURLcode code = CURLE_OK;
    if (config->ca_pem != NULL) {
        /* The built-in file and folder would be trusted beside ours. */
        code = curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
        if (code == CURLE_OK)
            code = curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
        if (code == CURLE_OK)
            code = set_blob(easy, CURLOPT_CAINFO_BLOB, config->ca_pem);
    }
    if (code == CURLE_OK && config->client_cert_pem != NULL)
        code = set_blob(easy, CURLOPT_SSLCERT_BLOB, config->client_cert_pem);
    if (code == CURLE_OK && config->client_key_pem != NULL)
        code = set_blob(easy, CURLOPT_SSLKEY_BLOB, config->client_key_pem);
    return code;
}

static void free_handle(struct k8s_handle *handle)
{
    if (handle->easy != NULL)
        curl_easy_cleanup(handle->easy);
    buffer_clear(&handle->body);
    free(handle);
}

static struct k8s_handle *new_handle(struct k8s_client *client)
{
    struct k8s_handle *handle = calloc(1, sizeof(*handle));
    if (handle == NULL)
        return NULL;
    buffer_init(&handle->body, K8S_BODY_MAXIMUM);
    handle->easy = curl_easy_init();
    if (handle->easy == NULL || set_transport(client, handle->easy) != CURLE_OK ||
        set_credentials(client->config, handle->easy) != CURLE_OK ||
        curl_easy_setopt(handle->easy, CURLOPT_ERRORBUFFER, handle->error) != CURLE_OK) {
        free_handle(handle);
        return NULL;
    }
    return handle;
}

struct k8s_handle *k8s_handle_take(struct k8s_client *client)
{
    struct k8s_handle *handle = client->spare;
    if (handle == NULL)
        return new_handle(client);
    client->spare = handle->next;
    client->spare_count--;
    return handle;
}

void k8s_handle_give(struct k8s_client *client, struct k8s_handle *handle)
{
    if (client->spare_count >= client->spare_most) {
        free_handle(handle);
        return;
    }
    if (handle->body.capacity > BODY_KEPT)
        buffer_clear(&handle->body);
    buffer_reset(&handle->body);
    handle->next = client->spare;
    client->spare = handle;
    client->spare_count++;
}

void k8s_handle_free_all(struct k8s_client *client)
{
    struct k8s_handle *handle;
    while ((handle = client->spare) != NULL) {
        client->spare = handle->next;
        free_handle(handle);
    }
}

/* "https://NAME:port/path" and the instruction to connect to the real host for it, so that the name
 * is the one that goes into SNI and that the certificate is checked for. */
static int rename_target(struct k8s_client *client, CURLU *url, struct error *error)
{
    char *host = NULL;
    char *port = NULL;
    char *rule = NULL;
    int result = -EINVAL;
    if (curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
        curl_url_set(url, CURLUPART_HOST, client->config->tls_server_name, 0) == CURLUE_OK &&
        asprintf(&rule, "%s:%s:%s:%s", client->config->tls_server_name, port, host, port) > 0) {
        client->connect_to = curl_slist_append(NULL, rule);
        result = client->connect_to != NULL ? 0 : -ENOMEM;
        free(rule);
    }
    curl_free(host);
    curl_free(port);
    return result == 0 ? 0
                       : error_set(error, result, "tls-server-name: can't be used with server %s",
                                   client->config->server);
}

int k8s_handle_target(struct k8s_client *client, struct error *error)
{
    char *text = NULL;
    int result = 0;
    CURLU *url = curl_url();
    if (url == NULL)
        return error_no_memory(error);
    if (curl_url_set(url, CURLUPART_URL, client->config->server, 0) != CURLUE_OK)
        result = error_set(error, -EINVAL, "server: \"%s\" is no URL", client->config->server);
    if (result == 0 && client->config->tls_server_name != NULL)
        result = rename_target(client, url, error);
    if (result == 0 && curl_url_get(url, CURLUPART_URL, &text, 0) != CURLUE_OK)
        result = error_no_memory(error);
    curl_url_cleanup(url);
    if (result != 0)
        return result;
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == '/')
        text[--length] = '\0';
    client->base_url = strdup(text);
    curl_free(text);
    return client->base_url != NULL ? 0 : error_no_memory(error);
}
