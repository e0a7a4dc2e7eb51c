/* MAC addresses as texts. */
#include "netlink/frame.h"

#include <stdio.h>
#include <string.h>

void frame_mac_format(const uint8_t mac[FRAME_MAC_SIZE], char ret_text[FRAME_MAC_TEXT_SIZE])
{
    (void)snprintf(ret_text, FRAME_MAC_TEXT_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
                   mac[2], mac[3], mac[4], mac[5]);
}

/* -1: not a hexadecimal digit. */
static int digit(char character)
{
    if (character >= '0' && character <= '9')
        return character - '0';
    if (character >= 'a' && character <= 'f')
        return character - 'a' + 10;
    return character >= 'A' && character <= 'F' ? character - 'A' + 10 : -1;
}

int frame_mac_parse(const char *text, uint8_t ret_mac[FRAME_MAC_SIZE])
{
    if (strlen(text) != FRAME_MAC_TEXT_SIZE - 1)
        return -EINVAL;
    uint8_t mac[FRAME_MAC_SIZE];
    for (size_t i = 0; i < FRAME_MAC_SIZE; i++) {
        const int high = digit(text[i * 3]);
        const int low = digit(text[i * 3 + 1]);
        if (high < 0 || low < 0 || text[i * 3 + 2] != (i == FRAME_MAC_SIZE - 1 ? '\0' : ':'))
            return -EINVAL;
        mac[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(ret_mac, mac, sizeof(mac));
    return 0;
}
