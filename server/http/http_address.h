/* Where a listener listens: the text of an address option, parsed, and the socket made from it. */
#ifndef IPWARDEN_HTTP_HTTP_ADDRESS_H
#define IPWARDEN_HTTP_HTTP_ADDRESS_H

#include "server/base/error.h"

#include <stdbool.h>
#include <sys/socket.h>

struct http_address {
    struct sockaddr_storage socket; /* AF_INET or AF_INET6, with the port */
    bool dual;                      /* [::] and the empty host: IPv4 clients are served too */
};

/* Parses "192.0.2.1:8443", "[2001:db8::1]:8443" and ":8443" (every address of both families). The
 * host is a literal address, never a name: what is listened on must not depend on a resolver. Port
 * 0 is any free port. Returns 0 or -EINVAL. Pure. */
must_check int http_address_parse(const char *text, struct http_address *ret_address,
                                  struct error *error);

/* Binds and listens; the socket is non-blocking and closed on exec. A dual address becomes 0.0.0.0
 * on a host without IPv6. *ret_port is the port that was bound. Returns 0 or -errno of the call
 * that failed (-EADDRINUSE, -EACCES, ...). */
must_check int http_address_listen(const struct http_address *address, bool reuse_port,
                                   int *ret_socket, unsigned int *ret_port, struct error *error);

#endif
