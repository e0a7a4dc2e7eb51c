/* The secret path segments that are good at the moment. */
#include "server/segments.h"

#include <openssl/crypto.h>
#include <string.h>

void segments_init(struct segments *segments)
{
    *segments = (struct segments){.is_rooted = false};
    mutex_init(&segments->mutex);
}

void segments_destroy(struct segments *segments)
{
    mutex_destroy(&segments->mutex);
}

void segments_see(struct segments *segments, const char *segment, int64_t now)
{
    size_t oldest = 0;
    if (segment[0] == '\0')
        return;
    mutex_guard(&segments->mutex);
    for (size_t i = 0; i < SEGMENTS_MOST; i++) {
        if (strcmp(segments->list[i].text, segment) == 0) {
            segments->list[i].seen = now;
            return;
        }
        if (segments->list[oldest].text[0] != '\0' &&
            (segments->list[i].text[0] == '\0' ||
             segments->list[i].seen < segments->list[oldest].seen))
            oldest = i;
    }
    memcpy(segments->list[oldest].text, segment, CERTS_PATH_LENGTH + 1);
    segments->list[oldest].seen = now;
}

void segments_forget(struct segments *segments, int64_t before)
{
    mutex_guard(&segments->mutex);
    for (size_t i = 0; i < SEGMENTS_MOST; i++) {
        if (segments->list[i].seen < before)
            segments->list[i].text[0] = '\0';
    }
}

void segments_set_rooted(struct segments *segments, bool is_rooted)
{
    mutex_guard(&segments->mutex);
    segments->is_rooted = is_rooted;
}

const char *segments_route(struct segments *segments, const char *request_path)
{
    size_t length = strlen(request_path);
    if (request_path[0] != '/')
        return NULL;
    mutex_guard(&segments->mutex);
    bool may_match = length > CERTS_PATH_LENGTH + 1 && request_path[CERTS_PATH_LENGTH + 1] == '/';
    /* In constant time: the segment is a secret that could be guessed digit by digit. */
    for (size_t i = 0; i < SEGMENTS_MOST && may_match; i++) {
        if (segments->list[i].text[0] != '\0' &&
            CRYPTO_memcmp(request_path + 1, segments->list[i].text, CERTS_PATH_LENGTH) == 0)
            return request_path + CERTS_PATH_LENGTH + 1;
    }
    return segments->is_rooted ? request_path : NULL;
}
