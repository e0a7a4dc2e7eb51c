/* The bearer token: fixed, or read from a file that somebody renews. Api thread only. */
#ifndef IPWARDEN_K8S_TOKEN_H
#define IPWARDEN_K8S_TOKEN_H

#include "k8s/config.h"

#include <stdbool.h>
#include <stdint.h>

struct k8s_token {
    char *header; /* "Authorization: Bearer ...", or NULL when there is no token */
    /* Counts changes, so that a request knows which token it was sent with. */
    unsigned int generation;
    int64_t read_at; /* monotonic nanoseconds of the last reading of the file */
};

/* Brings the token up to date: reads the file when that was not done for 60 s. A file that can't be
 * read leaves the token as it is, and is an error only when there is no token yet. */
must_check int k8s_token_refresh(struct k8s_token *token, const struct k8s_config *config,
                                 int64_t now, struct error *error);
/* After a 401 for a request sent with generation. Returns whether there is another token now, so
 * that it is worth asking once more. Reads the file, but at most once a second. */
bool k8s_token_renew(struct k8s_token *token, const struct k8s_config *config, int64_t now,
                     unsigned int generation);
void k8s_token_clear(struct k8s_token *token);

#endif
