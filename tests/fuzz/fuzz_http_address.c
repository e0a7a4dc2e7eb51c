/* Listening addresses. Whatever is accepted has one of the two families, a port that stands at the
 * text's end, and is dual only when no address was named. */
#include "server/http/http_address.h"

#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long port_of(const struct http_address *address)
{
    return ntohs(address->socket.ss_family == AF_INET6
                     ? ((const struct sockaddr_in6 *)&address->socket)->sin6_port
                     : ((const struct sockaddr_in *)&address->socket)->sin_port);
}

/* Whether anything but zeros and punctuation stands before the port. */
static bool names_host(const char *text)
{
    return text + strcspn(text, "123456789abcdefABCDEF") < strrchr(text, ':');
}

static void check(const char *text, const struct http_address *address)
{
    int family = address->socket.ss_family;
    if (family != AF_INET && family != AF_INET6)
        abort();
    if (strtoul(strrchr(text, ':') + 1, NULL, 10) != port_of(address))
        abort();
    if (address->dual && (family != AF_INET6 || names_host(text)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_address address;
    struct error error;
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (http_address_parse(text, &address, &error) == 0)
        check(text, &address);
    else if (error.code >= 0 || error.text[0] == '\0')
        abort();
    free(text);
    return 0;
}
