/* The sockets of the client's connections: how they notice a dead peer, and closing one that a peer
 * has stopped answering on. Api thread only. */
#ifndef IPWARDEN_K8S_SOCKETS_H
#define IPWARDEN_K8S_SOCKETS_H

#include <curl/curl.h>
#include <stddef.h>
#include <stdint.h>

struct k8s_sockets {
    curl_socket_t *open;
    size_t count;
    size_t capacity;
};

/* Makes curl tell sockets of what easy opens and closes. sockets must outlive the connections. */
CURLcode k8s_sockets_watch(struct k8s_sockets *sockets, CURL *easy);
/* After something has waited in vain on the connection from this local port: breaks the
 * connection off when nothing at all came over it for silence nanoseconds. With HTTP/2 everybody
 * shares it, and would go on queueing behind a dead peer; a timeout alone ends a stream, not its
 * connection. */
void k8s_sockets_distrust(struct k8s_sockets *sockets, int local_port, int64_t silence);
/* After all connections have been closed. */
void k8s_sockets_clear(struct k8s_sockets *sockets);

#endif
