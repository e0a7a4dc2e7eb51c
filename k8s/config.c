/* Choosing where the configuration comes from, the in-cluster service account, and the checks
 * that every configuration passes whatever its source. The kubeconfig format itself is in
 * kubeconfig.c. */
#include "k8s/config.h"

#include "k8s/config_private.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"
#define READ_STEP 4096

/* Reads until the end rather than st_size bytes: projected volumes swap files while they are
 * read. */
static int read_all(int file, size_t maximum, char **ret_text, size_t *ret_length)
{
    char *text = NULL;
    size_t length = 0;
    size_t capacity = 0;
    for (;;) {
        if (capacity - length < 2) {
            size_t wanted = capacity + (capacity > READ_STEP ? capacity : READ_STEP);
            char *grown = realloc(text, wanted);
            if (grown == NULL) {
                free(text);
                return -ENOMEM;
            }
            text = grown;
            capacity = wanted;
        }
        ssize_t got = read(file, text + length, capacity - length - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 || length + (size_t)got > maximum) {
            int code = got < 0 ? -errno : -EFBIG;
            free(text);
            return code;
        }
        if (got == 0)
            break;
        length += (size_t)got;
    }
    text[length] = '\0';
    *ret_text = text;
    *ret_length = length;
    return 0;
}

int k8s_file_read(const char *path, size_t maximum, char **ret_text, size_t *ret_length,
                  struct error *error)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return error_set(error, -errno, "%s: %s", path, strerror(errno));
    int result = read_all(file, maximum, ret_text, ret_length);
    close(file);
    if (result == -EFBIG)
        return error_set(error, result, "%s: larger than %zu bytes", path, maximum);
    if (result != 0)
        return error_set(error, result, "%s: %s", path, strerror(-result));
    return 0;
}

void k8s_config_free(struct k8s_config *config)
{
    if (config == NULL)
        return;
    free(config->server);
    free(config->ca_pem);
    free(config->client_cert_pem);
    if (config->client_key_pem != NULL)
        explicit_bzero(config->client_key_pem, strlen(config->client_key_pem));
    free(config->client_key_pem);
    if (config->token != NULL)
        explicit_bzero(config->token, strlen(config->token));
    free(config->token);
    free(config->token_file);
    free(config->tls_server_name);
    free(config->namespace_name);
    free(config);
}

static int check_server(char *server, const char *where, struct error *error)
{
    const char *rest = strstr(server, "://");
    size_t scheme = rest != NULL ? (size_t)(rest - server) : 0;
    bool known = (scheme == 4 && strncmp(server, "http", 4) == 0) ||
                 (scheme == 5 && strncmp(server, "https", 5) == 0);
    if (!known)
        return error_set(error, -EINVAL, "%s: server: \"%s\" must begin with https:// (or http://)",
                         where, server);
    for (const char *at = server; *at != '\0'; at++) {
        if (*at <= ' ' || *at >= 0x7F || strchr("?#@\"\\", *at) != NULL)
            return error_set(error, -EINVAL, "%s: server: not a plain URL of host, port and path",
                             where);
    }
    size_t length = strlen(server);
    while (length > scheme + 3 && server[length - 1] == '/')
        server[--length] = '\0';
    if (length == scheme + 3 || server[scheme + 3] == '/' || server[scheme + 3] == ':')
        return error_set(error, -EINVAL, "%s: server: \"%s\" names no host", where, server);
    return 0;
}

int k8s_config_check(struct k8s_config *config, const char *where, struct error *error)
{
    if (config->server == NULL)
        return error_set(error, -EINVAL, "%s: server: missing", where);
    int result = check_server(config->server, where, error);
    if (result != 0)
        return result;
    if (config->client_cert_pem != NULL && config->client_key_pem == NULL)
        return error_set(error, -EINVAL, "%s: client-certificate without a client-key", where);
    if (config->client_key_pem != NULL && config->client_cert_pem == NULL)
        return error_set(error, -EINVAL, "%s: client-key without a client-certificate", where);
    if (config->insecure && config->ca_pem != NULL)
        return error_set(
            error, -EINVAL,
            "%s: insecure-skip-tls-verify and certificate-authority exclude each other", where);
    if (config->namespace_name == NULL && (config->namespace_name = strdup("default")) == NULL)
        return error_no_memory(error);
    return 0;
}

/* Where the namespace can't be read it is "default", as everywhere else. */
static int read_namespace(const char *folder, struct k8s_config *config)
{
    char path[PATH_MAX];
    size_t length;
    struct error ignored;
    snprintf(path, sizeof(path), "%s/namespace", folder);
    int result = k8s_file_read(path, K8S_CREDENTIAL_FILE_MAXIMUM, &config->namespace_name, &length,
                               &ignored);
    if (result != 0)
        return result == -ENOMEM ? result : 0;
    config->namespace_name[strcspn(config->namespace_name, " \t\r\n")] = '\0';
    if (config->namespace_name[0] == '\0') {
        free(config->namespace_name);
        config->namespace_name = NULL;
    }
    return 0;
}

int k8s_config_in_cluster(const char *folder, const char *host, const char *port,
                          struct k8s_config *config, struct error *error)
{
    char path[PATH_MAX];
    size_t length;
    bool bare_ipv6 = strchr(host, ':') != NULL && host[0] != '[';
    if (asprintf(&config->server, bare_ipv6 ? "https://[%s]:%s" : "https://%s:%s", host, port) <
        0) {
        config->server = NULL;
        return error_no_memory(error);
    }
    if (asprintf(&config->token_file, "%s/token", folder) < 0) {
        config->token_file = NULL;
        return error_no_memory(error);
    }
    /* Read once here, so that a pod without a token fails at its start and says so. */
    int result = k8s_file_read(config->token_file, K8S_CREDENTIAL_FILE_MAXIMUM, &config->token,
                               &length, error);
    if (result != 0)
        return error_prefix(error, "in-cluster service account");
    config->token[strcspn(config->token, " \t\r\n")] = '\0';
    snprintf(path, sizeof(path), "%s/ca.crt", folder);
    result = k8s_file_read(path, K8S_CREDENTIAL_FILE_MAXIMUM, &config->ca_pem, &length, error);
    if (result != 0)
        return error_prefix(error, "in-cluster service account");
    if (read_namespace(folder, config) != 0)
        return error_no_memory(error);
    return k8s_config_check(config, "in-cluster (KUBERNETES_SERVICE_HOST)", error);
}

static int load_file(const char *path, const char *context, struct k8s_config *config,
                     struct error *error)
{
    char *text = NULL;
    size_t length = 0;
    int result = k8s_file_read(path, K8S_CONFIG_FILE_MAXIMUM, &text, &length, error);
    if (result != 0)
        return result;
    assert(text != NULL);
    result = k8s_kubeconfig_parse(text, length, path, context, config, error);
    explicit_bzero(text, length);
    free(text);
    return result;
}

/* The first file of the colon-separated list that exists. */
static int load_list(const char *list, const char *context, struct k8s_config *config,
                     struct error *error)
{
    char path[PATH_MAX];
    while (*list != '\0') {
        size_t length = strcspn(list, ":");
        if (length > 0 && length < sizeof(path)) {
            memcpy(path, list, length);
            path[length] = '\0';
            if (access(path, F_OK) == 0)
                return load_file(path, context, config, error);
        }
        list += length + (list[length] == ':');
    }
    return error_set(error, -ENOENT, "KUBECONFIG: none of its files exists");
}

static int load_any(const char *path, const char *context, struct k8s_config *config,
                    struct error *error)
{
    if (path != NULL)
        return load_file(path, context, config, error);
    const char *list = getenv("KUBECONFIG");
    if (list != NULL && list[0] != '\0')
        return load_list(list, context, config, error);
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    if (host != NULL && host[0] != '\0' && port != NULL && port[0] != '\0')
        return k8s_config_in_cluster(SERVICE_ACCOUNT, host, port, config, error);
    const char *home = getenv("HOME");
    char default_path[PATH_MAX];
    if (home == NULL || home[0] == '\0')
        return error_set(error, -ENOENT,
                         "no kubeconfig: neither KUBECONFIG, KUBERNETES_SERVICE_HOST nor HOME is "
                         "set");
    snprintf(default_path, sizeof(default_path), "%s/.kube/config", home);
    return load_file(default_path, context, config, error);
}

int k8s_config_load(const char *path, const char *context, struct k8s_config **ret_config,
                    struct error *error)
{
    struct k8s_config *config = calloc(1, sizeof(*config));
    if (config == NULL)
        return error_no_memory(error);
    int result = load_any(path, context, config, error);
    if (result != 0) {
        k8s_config_free(config);
        return result;
    }
    *ret_config = config;
    return 0;
}
