/* Where the API server is and how to prove who we are: a kubeconfig file (clusters, users,
 * contexts; files and inline data; client certificates, tokens, token files) or the in-cluster
 * service account. */
#ifndef IPWARDEN_K8S_CONFIG_H
#define IPWARDEN_K8S_CONFIG_H

#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct k8s_config {
    char *server;          /* "https://10.0.0.1:443", no trailing slash; may have a path */
    char *ca_pem;          /* certificates to trust, PEM; NULL: the system's */
    char *client_cert_pem; /* PEM, or NULL */
    char *client_key_pem;  /* PEM, or NULL */
    char *token;           /* bearer token, or NULL */
    char *token_file;      /* read again every minute and after a 401; wins over token; or NULL */
    char *tls_server_name; /* name to expect in the server's certificate, or NULL */
    char *namespace_name;  /* the context's or the pod's namespace; "default" when unknown */
    bool insecure;         /* insecure-skip-tls-verify */
};

/* Loads path; NULL: $KUBECONFIG (the first existing file of the list; it is an error when it is set
 * and none exists), else the in-cluster account, else ~/.kube/config. context NULL:
 * current-context. Relative paths in a kubeconfig are relative to its folder. What would change who
 * we are and isn't supported (exec and auth-provider plugins, basic authentication, impersonation,
 * proxies) is refused, not ignored. Errors name the file and the field. Main thread. Source:
 * k8s.io/client-go/tools/clientcmd/api/v1 Config. */
must_check int k8s_config_load(const char *path, const char *context,
                               struct k8s_config **ret_config, struct error *error);
void k8s_config_free(struct k8s_config *config); /* NULL is fine */

#endif
