/* Reading and renewing the bearer token. The kubelet replaces a service account's token long before
 * it ends, so reading it once a minute is enough; the reading after a 401 is for a file that was
 * replaced by hand. */
#include "k8s/token.h"

#include "k8s/config_private.h"
#include "server/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_PERIOD (60 * CLOCK_SECOND)
#define RENEW_PERIOD CLOCK_SECOND

static void forget(char *secret)
{
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

/* A token goes into a header line: anything but printable ASCII could forge another one. */
static int set_token(struct k8s_token *token, char *text, const char *where, struct error *error)
{
    size_t length = strlen(text);
    while (length > 0 && strchr(" \t\r\n", text[length - 1]) != NULL)
        text[--length] = '\0';
    for (size_t i = 0; i < length; i++) {
        if (text[i] <= ' ' || text[i] > '~')
            return error_set(error, -EACCES, "%s: not a bearer token", where);
    }
    if (length == 0)
        return error_set(error, -EACCES, "%s: empty", where);
    char *header;
    if (asprintf(&header, "Authorization: Bearer %s", text) < 0)
        return error_no_memory(error);
    if (token->header != NULL && strcmp(token->header, header) == 0) {
        forget(header);
        return 0;
    }
    forget(token->header);
    token->header = header;
    token->generation++;
    return 0;
}

static int read_token(struct k8s_token *token, const struct k8s_config *config, int64_t now,
                      struct error *error)
{
    char *text;
    size_t length;
    token->read_at = now;
    int result =
        k8s_file_read(config->token_file, K8S_CREDENTIAL_FILE_MAXIMUM, &text, &length, error);
    if (result != 0) {
        error_prefix(error, "token");
        return result == -ENOMEM ? result : error_set(error, -EACCES, "%s", error->text);
    }
    result = set_token(token, text, config->token_file, error);
    forget(text);
    return result;
}

int k8s_token_refresh(struct k8s_token *token, const struct k8s_config *config, int64_t now,
                      struct error *error)
{
    if (config->token_file != NULL) {
        if (token->header != NULL && now - token->read_at < READ_PERIOD)
            return 0;
        int result = read_token(token, config, now, error);
        return token->header != NULL ? 0 : result;
    }
    if (config->token == NULL || token->header != NULL)
        return 0;
    char *copy = strdup(config->token);
    if (copy == NULL)
        return error_no_memory(error);
    int result = set_token(token, copy, "token", error);
    forget(copy);
    return result;
}

bool k8s_token_renew(struct k8s_token *token, const struct k8s_config *config, int64_t now,
                     unsigned int generation)
{
    struct error ignored;
    if (config->token_file == NULL)
        return false;
    if (generation == token->generation && now - token->read_at >= RENEW_PERIOD &&
        read_token(token, config, now, &ignored) != 0)
        return false;
    return generation != token->generation;
}

void k8s_token_clear(struct k8s_token *token)
{
    forget(token->header);
    token->header = NULL;
}
