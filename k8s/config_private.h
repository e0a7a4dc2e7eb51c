/* What config.c, kubeconfig.c and their tests share: reading of credential files and the two
 * sources of a configuration. Main thread. */
#ifndef IPWARDEN_K8S_CONFIG_PRIVATE_H
#define IPWARDEN_K8S_CONFIG_PRIVATE_H

#include "k8s/config.h"

#include <stddef.h>

/* Bytes; larger files are refused. */
#define K8S_CONFIG_FILE_MAXIMUM (16U * 1024 * 1024)
#define K8S_CREDENTIAL_FILE_MAXIMUM (1024U * 1024)

/* Reads a whole file. *ret_text is NUL-terminated, to free(). -EFBIG beyond maximum bytes. Any
 * thread. */
must_check int k8s_file_read(const char *path, size_t maximum, char **ret_text, size_t *ret_length,
                             struct error *error);

/* Reads a kubeconfig from text. file names it in errors and is what relative paths in it are
 * relative to. Fields of *config (zeroed by the caller) are set as they are found, also when it
 * fails: free them with k8s_config_free. */
must_check int k8s_kubeconfig_parse(const char *text, size_t length, const char *file,
                                    const char *context, struct k8s_config *config,
                                    struct error *error);

/* The service account mounted at folder, for the API server at host (a name, an IPv4 or a bare IPv6
 * address) and port. */
must_check int k8s_config_in_cluster(const char *folder, const char *host, const char *port,
                                     struct k8s_config *config, struct error *error);

/* Checks and normalises config->server, and the combination of the other fields. where names the
 * source in errors. */
must_check int k8s_config_check(struct k8s_config *config, const char *where, struct error *error);

#endif
