/* The bytes below TLS: what GnuTLS reads and writes through, instead of the socket itself. It saves
 * system calls, and it sees when a handshake has to wait. Only for server/http. */
#ifndef IPWARDEN_HTTP_TRANSPORT_H
#define IPWARDEN_HTTP_TRANSPORT_H

#include "server/http/handshake.h"
#include "server/http/tls.h"

struct transport;

/* Puts a transport below a session that hasn't shaken hands yet. The transport serves the
 * certificate, whose reference is taken over, also when this fails. NULL when out of memory: then the
 * session fails at once. To transport_free() after the session's end. */
struct transport *transport_new(gnutls_session_t session, struct MHD_Connection *connection,
                                struct tls_certificate *certificate_take,
                                struct handshakes *handshakes);
/* NULL is fine. */
void transport_free(struct transport *transport);
/* The next record is kept back and leaves together with the one behind it: an answer's headers and
 * body, which libmicrohttpd writes one after the other. There must be a second one. */
void transport_hold(struct transport *transport);

/* The gnutls_certificate_retrieve_function2 that serves the transport's certificate. */
int transport_retrieve(gnutls_session_t session, const gnutls_datum_t *request, int request_length,
                       const gnutls_pk_algorithm_t *algorithms, int algorithms_length,
                       gnutls_pcert_st **ret_chain, unsigned int *ret_length,
                       gnutls_privkey_t *ret_key);

#endif
