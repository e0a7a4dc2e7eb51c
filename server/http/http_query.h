/* The query of a request, which isn't left to libmicrohttpd: 0.9.75 puts every argument into the
 * connection's memory, and when that is full it never answers. Only for server/http. */
#ifndef IPWARDEN_HTTP_HTTP_QUERY_H
#define IPWARDEN_HTTP_HTTP_QUERY_H

#include "server/base/error.h"

/* Copies what is behind the "?" of a request's target, to free(); NULL when there is nothing. For the
 * callback of MHD_OPTION_URI_LOG_CALLBACK: libmicrohttpd, which owns the target, finds an empty
 * query afterwards. Returns 0 or -ENOMEM. */
must_check int http_query_take(const char *uri, char **ret_query);
/* The decoded value of the first argument with the name, in scratch, which is as large as the query
 * with its NUL; "" for one without a value; NULL when there is none. */
const char *http_query_find(const char *query, const char *name, char *scratch);

#endif
