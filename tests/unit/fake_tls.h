/* The certificates of the fake API server, for fake_api.c. */
#ifndef IPWARDEN_TESTS_UNIT_FAKE_TLS_H
#define IPWARDEN_TESTS_UNIT_FAKE_TLS_H

#include "tests/unit/fake_api.h"

#include <openssl/ssl.h>

/* A new reference to the server's context. Aborts when it can't. */
SSL_CTX *fake_tls_context(const struct fake_tls *tls, bool require_client);

#endif
