/* Kubeconfig files and the in-cluster account: what is read from where, and that errors name file
 * and field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "k8s/config.h"
#include "k8s/config_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD "apiVersion: v1\nkind: Config\ncurrent-context: here\n"
#define CONTEXTS                                                                                   \
    "contexts:\n- name: here\n  context: {cluster: c, user: u}\n"                                  \
    "- name: there\n  context: {cluster: d, user: u, namespace: prod}\n"
#define CLUSTERS                                                                                   \
    "clusters:\n- {name: c, cluster: {server: 'https://10.0.0.1:6443/'}}\n"                        \
    "- {name: d, cluster: {server: 'http://[::1]:8080/prefix//', tls-server-name: kubernetes}}\n"
#define USERS "users:\n- {name: u, user: {token: abc}}\n"

static char folder[] = "/tmp/ipwarden-test-config-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[4][256];
    static unsigned int at;
    char *text = path[at++ % 4];
    snprintf(text, sizeof(path[0]), "%s/%s", folder, name);
    return text;
}

static const char *write_file(const char *name, const char *text)
{
    const char *path = path_of(name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return path;
}

static int set_up(void **state)
{
    (void)state;
    unsetenv("KUBECONFIG");
    unsetenv("KUBERNETES_SERVICE_HOST");
    if (mkdtemp(folder) == NULL)
        return -1;
    return setenv("HOME", folder, 1);
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {
        "config", "ca.pem", "cert.pem", "key.pem", "token", "ca.crt", "namespace", ".kube/config",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(path_of(names[i]));
    rmdir(path_of(".kube"));
    return rmdir(folder);
}

static struct k8s_config *load(const char *path, const char *context)
{
    struct k8s_config *config;
    struct error error;
    if (k8s_config_load(path, context, &config, &error) != 0)
        fail_msg("%s", error.text);
    return config;
}

static void test_contexts(void **state)
{
    (void)state;
    const char *path = write_file("config", HEAD CONTEXTS CLUSTERS USERS);
    struct k8s_config *config = load(path, NULL);
    assert_string_equal(config->server, "https://10.0.0.1:6443");
    assert_string_equal(config->token, "abc");
    assert_string_equal(config->namespace_name, "default");
    assert_null(config->ca_pem);
    assert_null(config->tls_server_name);
    assert_false(config->insecure);
    k8s_config_free(config);
    config = load(path, "there");
    assert_string_equal(config->server, "http://[::1]:8080/prefix");
    assert_string_equal(config->namespace_name, "prod");
    assert_string_equal(config->tls_server_name, "kubernetes");
    k8s_config_free(config);
    k8s_config_free(NULL);
}

static void test_credentials(void **state)
{
    (void)state;
    write_file("ca.pem", "CA FILE\n");
    write_file("cert.pem", "CERT FILE\n");
    write_file("key.pem", "KEY FILE\n");
    const char *path = write_file(
        "config", HEAD CONTEXTS
        "clusters:\n- name: c\n  cluster: {server: 'https://a', certificate-authority: ca.pem}\n"
        "users:\n- name: u\n  user: {client-certificate: ./cert.pem, client-key: key.pem,"
        " tokenFile: sub/token}\n");
    struct k8s_config *config = load(path, NULL);
    assert_string_equal(config->ca_pem, "CA FILE\n");
    assert_string_equal(config->client_cert_pem, "CERT FILE\n");
    assert_string_equal(config->client_key_pem, "KEY FILE\n");
    assert_string_equal(config->token_file, path_of("sub/token"));
    k8s_config_free(config);
    /* Inline data wins over the file, which isn't even looked at; folded base64 is fine. */
    path = write_file(
        "config", HEAD CONTEXTS
        "clusters:\n- name: c\n  cluster:\n    server: https://a\n"
        "    certificate-authority: nowhere\n    certificate-authority-data: >\n"
        "      SGVsbG8s\n      IHdvcmxkIQ==\n"
        "users:\n- name: u\n  user: {client-certificate-data: YQ==, client-key-data: YWI=}\n");
    config = load(path, NULL);
    assert_string_equal(config->ca_pem, "Hello, world!");
    assert_string_equal(config->client_cert_pem, "a");
    assert_string_equal(config->client_key_pem, "ab");
    k8s_config_free(config);
}

static void test_json_and_nulls(void **state)
{
    (void)state;
    const char *path = write_file(
        "config",
        "{\"current-context\":\"x\",\"contexts\":[{\"name\":\"x\",\"context\":{\"cluster\":\"c\","
        "\"user\":\"\"}}],\"clusters\":[{\"name\":\"c\",\"cluster\":{\"server\":\"https://h\","
        "\"proxy-url\":null,\"insecure-skip-tls-verify\":true}}],\"users\":null}");
    struct k8s_config *config = load(path, NULL);
    assert_true(config->insecure);
    assert_null(config->token);
    k8s_config_free(config);
}

/* Each is a whole file; the error must hold all of the words and the file's name. */
static const struct bad {
    const char *text;
    const char *words[3];
} bad_files[] = {
    {"", {"no mapping"}},
    {"- a\n", {"no mapping"}},
    {"a: [\n", {"not YAML", "line"}},
    {"a: *nowhere\n", {"not YAML"}},
    {"kind: Config\n", {"current-context", "missing"}},
    {"current-context: [a]\n", {"current-context", "must be a string"}},
    {HEAD, {"contexts", "\"here\""}},
    {HEAD "contexts: 7\n", {"contexts", "must be a list"}},
    {HEAD "contexts: [{name: here, context: 7}]\n", {"contexts[here]", "mapping"}},
    {HEAD "contexts: [{name: here, context: {}}]\n", {"contexts[here]", "cluster", "missing"}},
    {HEAD "contexts: [{name: here, context: {cluster: c}}]\n", {"clusters", "\"c\""}},
    {HEAD CONTEXTS CLUSTERS, {"users", "\"u\""}},
    {HEAD CONTEXTS CLUSTERS USERS "- {name: u}\n", {"users", "two", "\"u\""}},
    {HEAD CONTEXTS "clusters: [{name: c, cluster: {}}]\n", {"clusters[c]", "server", "missing"}},
    {HEAD CONTEXTS USERS "clusters: [{name: c, cluster: {server: 'ftp://x'}}]\n",
     {"server", "https://"}},
    {HEAD CONTEXTS USERS "clusters: [{name: c, cluster: {server: 'localhost:80'}}]\n",
     {"server", "https://"}},
    {HEAD CONTEXTS USERS "clusters: [{name: c, cluster: {server: 'https://'}}]\n",
     {"server", "host"}},
    {HEAD CONTEXTS USERS "clusters: [{name: c, cluster: {server: 'https:///x'}}]\n",
     {"server", "host"}},
    {HEAD CONTEXTS USERS "clusters: [{name: c, cluster: {server: 'https://u:p@x'}}]\n",
     {"server", "URL"}},
    {HEAD CONTEXTS USERS "clusters: [{name: c, cluster: {server: 'https://x?a'}}]\n",
     {"server", "URL"}},
    {HEAD CONTEXTS "clusters: [{name: c, cluster: {server: 'https://x', proxy-url: 'http://y'}}]\n",
     {"clusters[c]", "proxy-url", "not supported"}},
    {HEAD CONTEXTS
     "clusters: [{name: c, cluster: {server: 'https://x', certificate-authority: gone}}]\n",
     {"clusters[c]", "certificate-authority", "gone: No such file"}},
    {HEAD CONTEXTS
     "clusters: [{name: c, cluster: {server: 'https://x', certificate-authority-data: '@'}}]\n",
     {"clusters[c]", "certificate-authority-data", "base64"}},
    {HEAD CONTEXTS USERS
     "clusters: [{name: c, cluster: {server: 'https://x', certificate-authority-data: YQ==,"
     " insecure-skip-tls-verify: true}}]\n",
     {"insecure-skip-tls-verify", "certificate-authority"}},
    {HEAD CONTEXTS
     "clusters: [{name: c, cluster: {server: 'https://x', insecure-skip-tls-verify: 1}}]\n",
     {"clusters[c]", "insecure-skip-tls-verify", "true or false"}},
    {HEAD CONTEXTS CLUSTERS "users: [{name: u, user: {exec: {command: x}}}]\n",
     {"users[u]", "exec", "token or tokenFile"}},
    {HEAD CONTEXTS CLUSTERS "users: [{name: u, user: {auth-provider: {name: x}}}]\n",
     {"users[u]", "auth-provider", "token or tokenFile"}},
    {HEAD CONTEXTS CLUSTERS "users: [{name: u, user: {username: x}}]\n",
     {"users[u]", "username", "not supported"}},
    {HEAD CONTEXTS CLUSTERS "users: [{name: u, user: {token: x, as: admin}}]\n",
     {"users[u]", "as", "not supported"}},
    {HEAD CONTEXTS CLUSTERS "users: [{name: u, user: {client-certificate-data: YQ==}}]\n",
     {"client-certificate", "client-key"}},
    {HEAD CONTEXTS CLUSTERS "users: [{name: u, user: {client-key-data: YQ==}}]\n",
     {"client-certificate", "client-key"}},
    {HEAD CONTEXTS CLUSTERS "users: [{name: u, user: {token: \"a\\0b\"}}]\n",
     {"users[u]", "token", "NUL"}},
};

static void test_bad_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_files) / sizeof(bad_files[0]); i++) {
        const char *path = write_file("config", bad_files[i].text);
        struct k8s_config *config;
        struct error error;
        int result = k8s_config_load(path, NULL, &config, &error);
        if (result == 0)
            fail_msg("accepted: %s", bad_files[i].text);
        assert_int_equal(result, error.code);
        if (strstr(error.text, path) == NULL)
            fail_msg("no file name in: %s", error.text);
        for (size_t w = 0; w < 3 && bad_files[i].words[w] != NULL; w++) {
            if (strstr(error.text, bad_files[i].words[w]) == NULL)
                fail_msg("no \"%s\" in: %s", bad_files[i].words[w], error.text);
        }
    }
}

static void test_base64(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        const char *text; /* NULL: refused */
    } cases[] = {
        {"YQ==", "a"},   {"YWI=", "ab"},       {"YWJj", "abc"}, {"YWJjZA==", "abcd"},
        {"Pj4+", ">>>"}, {"Pz8/Pw==", "????"}, {"YQ=", NULL},   {"YQ", NULL},
        {"Y", NULL},     {"YQ===", NULL},      {"YWJj=", NULL}, {"Y=Q=", NULL},
        {"AA==", NULL},  {"YQ-_", NULL},       {"====", NULL},  {"YQ==YQ==", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[1024];
        snprintf(text, sizeof(text),
                 HEAD CONTEXTS CLUSTERS "users: [{name: u, user: {client-certificate-data: '%s', "
                                        "client-key-data: YQ==}}]\n",
                 cases[i].data);
        struct k8s_config config = {0};
        struct error error;
        struct k8s_config *copy = malloc(sizeof(*copy));
        int result = k8s_kubeconfig_parse(text, strlen(text), "f", NULL, &config, &error);
        assert_int_equal(result, cases[i].text != NULL ? 0 : -EINVAL);
        if (cases[i].text != NULL)
            assert_string_equal(config.client_cert_pem, cases[i].text);
        assert_non_null(copy);
        *copy = config;
        k8s_config_free(copy);
    }
}

static void test_where_from(void **state)
{
    (void)state;
    struct k8s_config *config;
    struct error error;
    char list[512];
    write_file("config", HEAD CONTEXTS CLUSTERS USERS);
    snprintf(list, sizeof(list), ":%s/nowhere::%s/config:%s/other", folder, folder, folder);
    setenv("KUBECONFIG", list, 1);
    config = load(NULL, NULL);
    assert_string_equal(config->server, "https://10.0.0.1:6443");
    k8s_config_free(config);
    setenv("KUBECONFIG", "/nowhere/at:/all", 1);
    assert_int_equal(k8s_config_load(NULL, NULL, &config, &error), -ENOENT);
    assert_non_null(strstr(error.text, "KUBECONFIG"));
    unsetenv("KUBECONFIG");
    assert_int_equal(k8s_config_load(NULL, NULL, &config, &error), -ENOENT);
    assert_non_null(strstr(error.text, path_of(".kube/config")));
    assert_int_equal(mkdir(path_of(".kube"), 0700), 0);
    write_file(".kube/config", HEAD CONTEXTS CLUSTERS USERS);
    config = load(NULL, "there");
    assert_string_equal(config->namespace_name, "prod");
    k8s_config_free(config);
    unsetenv("HOME");
    assert_int_equal(k8s_config_load(NULL, NULL, &config, &error), -ENOENT);
    assert_int_equal(k8s_config_load("/", NULL, &config, &error), -EISDIR);
    setenv("HOME", folder, 1);
}

static int in_cluster(const char *host, struct k8s_config **ret_config, struct error *error)
{
    *ret_config = calloc(1, sizeof(**ret_config));
    assert_non_null(*ret_config);
    return k8s_config_in_cluster(folder, host, "443", *ret_config, error);
}

static void test_in_cluster(void **state)
{
    (void)state;
    struct k8s_config *config;
    struct error error;
    unlink(path_of("token"));
    assert_int_equal(in_cluster("10.0.0.1", &config, &error), -ENOENT);
    assert_non_null(strstr(error.text, "token"));
    k8s_config_free(config);
    write_file("token", "secret\n");
    assert_int_equal(in_cluster("10.0.0.1", &config, &error), -ENOENT);
    assert_non_null(strstr(error.text, "ca.crt"));
    k8s_config_free(config);
    write_file("ca.crt", "CA");
    assert_int_equal(in_cluster("10.0.0.1", &config, &error), 0);
    assert_string_equal(config->server, "https://10.0.0.1:443");
    assert_string_equal(config->token, "secret");
    assert_string_equal(config->token_file, path_of("token"));
    assert_string_equal(config->ca_pem, "CA");
    assert_string_equal(config->namespace_name, "default");
    k8s_config_free(config);
    write_file("namespace", "kube-system\n");
    assert_int_equal(in_cluster("fd00::1", &config, &error), 0);
    assert_string_equal(config->server, "https://[fd00::1]:443");
    assert_string_equal(config->namespace_name, "kube-system");
    k8s_config_free(config);
}

static void test_file_read(void **state)
{
    (void)state;
    char *text;
    size_t length;
    struct error error;
    char *large = malloc(100001);
    assert_non_null(large);
    memset(large, 'x', 100000);
    large[100000] = '\0';
    const char *path = write_file("config", large);
    assert_int_equal(k8s_file_read(path, 100000, &text, &length, &error), 0);
    assert_int_equal(length, 100000);
    assert_string_equal(text, large);
    free(text);
    assert_int_equal(k8s_file_read(path, 99999, &text, &length, &error), -EFBIG);
    free(large);
    path = write_file("config", "");
    assert_int_equal(k8s_file_read(path, 10, &text, &length, &error), 0);
    assert_string_equal(text, "");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contexts),       cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_json_and_nulls), cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_base64),         cmocka_unit_test(test_where_from),
        cmocka_unit_test(test_in_cluster),     cmocka_unit_test(test_file_read),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
