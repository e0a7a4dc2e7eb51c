/* "192.0.2.1,2001:db8::1": lists of addresses as tests compare them. */
#ifndef IPWARDEN_TESTS_ADDRESSES_TEXT_H
#define IPWARDEN_TESTS_ADDRESSES_TEXT_H

#include "server/objects/service.h"

#include <stdio.h>

static inline void addresses_text(const struct service_addresses *list,
                                  char ret_text[SERVICE_ADDRESSES_TEXT_SIZE])
{
    size_t length = 0;
    ret_text[0] = '\0';
    for (size_t i = 0; i < list->count; i++) {
        char address[ADDRESS_TEXT_SIZE];
        address_format(&list->items[i], address);
        length += (size_t)snprintf(ret_text + length, SERVICE_ADDRESSES_TEXT_SIZE - length, "%s%s",
                                   i > 0 ? "," : "", address);
    }
}

#endif
