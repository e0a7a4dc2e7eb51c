/* Paths of the Kubernetes API: checking and escaping them, and what they are about. Pure; any
 * thread. */
#ifndef IPWARDEN_K8S_URL_H
#define IPWARDEN_K8S_URL_H

#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* The most bytes that escaping makes of length bytes, without a NUL. */
#define K8S_URL_ESCAPED(length) ((length)*3)

/* Checks that path is absolute and that no segment is empty, ".", ".." or has '?', '#', '%' or a
 * control character: a name that a user chose must not lead the request elsewhere. */
must_check int k8s_url_check_path(const char *path, struct error *error);
/* Checks an escaped query: visible ASCII without '#'. */
must_check int k8s_url_check_query(const char *query, struct error *error);
/* Appends path escaped, NUL-terminated; returns the end. Room: K8S_URL_ESCAPED(strlen(path)) +
 * 1. */
char *k8s_url_escape_path(char *ret_text, const char *path);
/* Appends a query value escaped, likewise. */
char *k8s_url_escape_value(char *ret_text, const char *value);
/* The plural a path is about ("services"; with a subresource "services/status"), cut to size; ""
 * for paths that are no resource's. */
void k8s_url_resource(const char *path, char *ret_resource, size_t size);

#endif
