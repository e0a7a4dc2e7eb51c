/* The kubeconfig format: three lists of named entries (clusters, users, contexts), of which the
 * chosen context picks one each. Read through libyaml's document form, where an alias is just the
 * same node again, so nothing can be blown up by nesting aliases. */
#include "k8s/config_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* Where we are: the file and the entry that errors name. */
struct source {
    yaml_document_t *document;
    const char *file;
    char entry[128]; /* "users[admin].user" */
};

/* NULL values, and plain null, ~ and nothing, are as good as absent. */
static bool is_absent(const yaml_node_t *node)
{
    if (node == NULL)
        return true;
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    const char *text = (const char *)node->data.scalar.value;
    return text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0 ||
           strcmp(text, "Null") == 0 || strcmp(text, "NULL") == 0;
}

static yaml_node_t *member(const struct source *source, yaml_node_t *mapping, const char *name)
{
    if (mapping == NULL || mapping->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
         pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(source->document, pair->key);
        if (key != NULL && key->type == YAML_SCALAR_NODE &&
            strcmp((const char *)key->data.scalar.value, name) == 0) {
            yaml_node_t *value = yaml_document_get_node(source->document, pair->value);
            return is_absent(value) ? NULL : value;
        }
    }
    return NULL;
}

static int field_error(const struct source *source, const char *field, const char *what,
                       struct error *error)
{
    return error_set(error, -EINVAL, "%s: %s%s%s: %s", source->file, source->entry,
                     source->entry[0] != '\0' ? "." : "", field, what);
}

/* The text of a scalar member; *ret_text stays NULL when it is absent or empty. Borrowed from the
 * document. */
static int text_field(const struct source *source, yaml_node_t *mapping, const char *field,
                      const char **ret_text, struct error *error)
{
    const yaml_node_t *node = member(source, mapping, field);
    *ret_text = NULL;
    if (node == NULL)
        return 0;
    if (node->type != YAML_SCALAR_NODE)
        return field_error(source, field, "must be a string", error);
    const char *text = (const char *)node->data.scalar.value;
    if (strlen(text) != node->data.scalar.length)
        return field_error(source, field, "holds a NUL character", error);
    if (text[0] != '\0')
        *ret_text = text;
    return 0;
}

static int copy_field(const struct source *source, yaml_node_t *mapping, const char *field,
                      char **ret_copy, struct error *error)
{
    const char *text;
    int result = text_field(source, mapping, field, &text, error);
    if (result != 0 || text == NULL)
        return result;
    char *copy = strdup(text);
    if (copy == NULL)
        return error_no_memory(error);
    *ret_copy = copy;
    return 0;
}

static int bool_field(const struct source *source, yaml_node_t *mapping, const char *field,
                      bool *ret_value, struct error *error)
{
    const char *text;
    int result = text_field(source, mapping, field, &text, error);
    if (result != 0)
        return result;
    if (text != NULL && strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return field_error(source, field, "must be true or false", error);
    *ret_value = text != NULL && text[0] == 't';
    return 0;
}

static int base64_value(char character)
{
    if (character >= 'A' && character <= 'Z')
        return character - 'A';
    if (character >= 'a' && character <= 'z')
        return character - 'a' + 26;
    if (character >= '0' && character <= '9')
        return character - '0' + 52;
    return character == '+' ? 62 : character == '/' ? 63 : -1;
}

/* RFC 4648 section 4. White space is skipped (folded YAML scalars have it); padding must be right.
 * The result is text: a NUL byte in it is refused. */
static bool decode_base64(const char *text, char *ret_text)
{
    unsigned int bits = 0;
    size_t digits = 0;
    size_t padding = 0;
    for (; *text != '\0'; text++) {
        int value = base64_value(*text);
        if (strchr(" \t\r\n", *text) != NULL)
            continue;
        if (*text == '=') {
            padding++;
            continue;
        }
        if (value < 0 || padding > 0)
            return false;
        bits = (bits << 6 | (unsigned int)value) & 0xFFFFFF;
        if (digits++ % 4 == 0)
            continue;
        char byte = (char)(bits >> (6 - 2 * ((digits - 1) % 4)) & 0xFF);
        if (byte == '\0')
            return false;
        *ret_text++ = byte;
    }
    *ret_text = '\0';
    return (digits + padding) % 4 == 0 && padding < 3 && digits % 4 != 1;
}

static int decode_field(const struct source *source, const char *field, const char *text,
                        char **ret_text, struct error *error)
{
    char *decoded = malloc(strlen(text) + 1);
    if (decoded == NULL)
        return error_no_memory(error);
    if (!decode_base64(text, decoded)) {
        free(decoded);
        return field_error(source, field, "not base64 of a text", error);
    }
    *ret_text = decoded;
    return 0;
}

/* path as seen from the kubeconfig's folder, to free(); NULL when out of memory. */
static char *resolve_path(const struct source *source, const char *path)
{
    const char *slash = strrchr(source->file, '/');
    char *resolved;
    if (path[0] == '/' || slash == NULL)
        return strdup(path);
    if (asprintf(&resolved, "%.*s/%s", (int)(slash - source->file), source->file, path) < 0)
        return NULL;
    return resolved;
}

static int read_path(const struct source *source, const char *field, const char *path,
                     char **ret_text, struct error *error)
{
    size_t length;
    char *resolved = resolve_path(source, path);
    if (resolved == NULL)
        return error_no_memory(error);
    int result = k8s_file_read(resolved, K8S_CREDENTIAL_FILE_MAXIMUM, ret_text, &length, error);
    free(resolved);
    if (result != 0)
        return error_prefix(error, "%s: %s.%s", source->file, source->entry, field);
    return 0;
}

/* PEM given inline as <field>-data (wins, as in kubectl) or in the file that <field> names. */
static int pem_field(const struct source *source, yaml_node_t *mapping, const char *field,
                     char **ret_pem, struct error *error)
{
    char data_field[64];
    const char *data;
    const char *path;
    snprintf(data_field, sizeof(data_field), "%s-data", field);
    int result = text_field(source, mapping, data_field, &data, error);
    if (result != 0)
        return result;
    if (data != NULL)
        return decode_field(source, data_field, data, ret_pem, error);
    result = text_field(source, mapping, field, &path, error);
    if (result != 0 || path == NULL)
        return result;
    return read_path(source, field, path, ret_pem, error);
}

/* Finds the entry of list whose name is name and gives its member body; two of one name are
 * refused. */
static int find_entry(struct source *source, const char *list, const char *body, const char *name,
                      yaml_node_t **ret_body, struct error *error)
{
    source->entry[0] = '\0';
    yaml_node_t *entries = member(source, yaml_document_get_root_node(source->document), list);
    if (entries != NULL && entries->type != YAML_SEQUENCE_NODE)
        return field_error(source, list, "must be a list", error);
    bool found = false;
    yaml_node_item_t *item = entries != NULL ? entries->data.sequence.items.start : NULL;
    for (; entries != NULL && item < entries->data.sequence.items.top; item++) {
        yaml_node_t *entry = yaml_document_get_node(source->document, *item);
        const char *entry_name;
        int result = text_field(source, entry, "name", &entry_name, error);
        if (result != 0)
            return error_prefix(error, "%s", list);
        if (entry_name == NULL || strcmp(entry_name, name) != 0)
            continue;
        if (found)
            return error_set(error, -EINVAL, "%s: %s: two entries are named \"%s\"", source->file,
                             list, name);
        found = true;
        *ret_body = member(source, entry, body);
    }
    if (!found)
        return error_set(error, -EINVAL, "%s: %s: no entry is named \"%s\"", source->file, list,
                         name);
    snprintf(source->entry, sizeof(source->entry), "%s[%s].%s", list, name, body);
    if (*ret_body != NULL && (*ret_body)->type != YAML_MAPPING_NODE)
        return error_set(error, -EINVAL, "%s: %s: must be a mapping", source->file, source->entry);
    return 0;
}

/* Fields that would change who we are or how we get there: ignoring one would be worse than
 * refusing it. */
struct unsupported {
    const char *field;
    const char *what;
};

static int refuse_unsupported(const struct source *source, yaml_node_t *mapping,
                              const struct unsupported *fields, struct error *error)
{
    for (; fields->field != NULL; fields++) {
        if (member(source, mapping, fields->field) != NULL)
            return field_error(source, fields->field, fields->what, error);
    }
    return 0;
}

static int read_cluster(struct source *source, const char *name, struct k8s_config *config,
                        struct error *error)
{
    static const struct unsupported refused[] = {
        {"proxy-url", "proxies are not supported; use a server that is reached directly"},
        {NULL, NULL},
    };
    yaml_node_t *cluster = NULL;
    int result = find_entry(source, "clusters", "cluster", name, &cluster, error);
    if (result == 0)
        result = refuse_unsupported(source, cluster, refused, error);
    if (result == 0)
        result = copy_field(source, cluster, "server", &config->server, error);
    if (result == 0 && config->server == NULL)
        result = field_error(source, "server", "missing", error);
    if (result == 0)
        result = pem_field(source, cluster, "certificate-authority", &config->ca_pem, error);
    if (result == 0)
        result = bool_field(source, cluster, "insecure-skip-tls-verify", &config->insecure, error);
    if (result == 0)
        result = copy_field(source, cluster, "tls-server-name", &config->tls_server_name, error);
    return result;
}

static int read_user(struct source *source, const char *name, struct k8s_config *config,
                     struct error *error)
{
#define SUPPORTED                                                                                  \
    "not supported; use client-certificate and client-key (or their -data), token or tokenFile"
    static const struct unsupported refused[] = {
        {"exec", SUPPORTED},
        {"auth-provider", SUPPORTED},
        {"username", SUPPORTED},
        {"password", SUPPORTED},
        {"as", SUPPORTED},
        {"as-uid", SUPPORTED},
        {"as-groups", SUPPORTED},
        {"as-user-extra", SUPPORTED},
        {NULL, NULL},
    };
#undef SUPPORTED
    yaml_node_t *user = NULL;
    const char *token_file = NULL;
    int result = find_entry(source, "users", "user", name, &user, error);
    if (result == 0)
        result = refuse_unsupported(source, user, refused, error);
    if (result == 0)
        result = pem_field(source, user, "client-certificate", &config->client_cert_pem, error);
    if (result == 0)
        result = pem_field(source, user, "client-key", &config->client_key_pem, error);
    if (result == 0)
        result = copy_field(source, user, "token", &config->token, error);
    if (result == 0)
        result = text_field(source, user, "tokenFile", &token_file, error);
    if (result == 0 && token_file != NULL) {
        config->token_file = resolve_path(source, token_file);
        result = config->token_file != NULL ? 0 : error_no_memory(error);
    }
    return result;
}

static int read_document(struct source *source, const char *context, struct k8s_config *config,
                         struct error *error)
{
    yaml_node_t *root = yaml_document_get_root_node(source->document);
    if (root == NULL || root->type != YAML_MAPPING_NODE)
        return error_set(error, -EINVAL, "%s: not a kubeconfig: no mapping", source->file);
    int result = 0;
    if (context == NULL)
        result = text_field(source, root, "current-context", &context, error);
    if (result != 0)
        return result;
    if (context == NULL)
        return field_error(source, "current-context", "missing, and no context was named", error);
    yaml_node_t *body = NULL;
    result = find_entry(source, "contexts", "context", context, &body, error);
    if (result != 0)
        return result;
    const char *cluster;
    const char *user;
    result = text_field(source, body, "cluster", &cluster, error);
    if (result == 0 && cluster == NULL)
        result = field_error(source, "cluster", "missing", error);
    if (result == 0)
        result = text_field(source, body, "user", &user, error);
    if (result == 0)
        result = copy_field(source, body, "namespace", &config->namespace_name, error);
    if (result == 0)
        result = read_cluster(source, cluster, config, error);
    if (result == 0 && user != NULL)
        result = read_user(source, user, config, error);
    return result;
}

int k8s_kubeconfig_parse(const char *text, size_t length, const char *file, const char *context,
                         struct k8s_config *config, struct error *error)
{
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser))
        return error_no_memory(error);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    if (!yaml_parser_load(&parser, &document)) {
        int result = parser.error == YAML_MEMORY_ERROR
                         ? error_no_memory(error)
                         : error_set(error, -EINVAL, "%s: line %zu: not YAML: %s", file,
                                     parser.problem_mark.line + 1,
                                     parser.problem != NULL ? parser.problem : "unreadable");
        yaml_parser_delete(&parser);
        return result;
    }
    struct source source = {.document = &document, .file = file};
    int result = read_document(&source, context, config, error);
    if (result == 0)
        result = k8s_config_check(config, file, error);
    yaml_document_delete(&document);
    yaml_parser_delete(&parser);
    return result;
}
