/* Deriving the secret path segment. A replica never takes back what one with a faster clock has told
 * API servers already, and leaves alone for some time what it can't explain: that may be of replicas
 * which haven't seen a new key yet. */
#include "server/derived_path.h"

#include "certs/bundle.h"

#include <string.h>

#define OLD 24 /* periods for which everybody may have been away */

static void see(const struct derived_path *path, const unsigned char *key,
                struct segments *segments)
{
    int64_t now = clock_monotonic(path->clock);
    int64_t period = clock_wall(path->clock) / path->period;
    for (int64_t i = -1; i <= 1; i++) {
        char segment[CERTS_PATH_LENGTH + 1];
        certs_path_derive(key, period + i, segment);
        segments_see(segments, segment, now);
    }
}

void derived_path_update(struct derived_path *path, const char *key_pem, struct segments *segments)
{
    unsigned char key[CERTS_PATH_KEY];
    int64_t now = clock_monotonic(path->clock);
    certs_path_key(key_pem, key);
    if (path->keys == 0 || memcmp(path->key[0], key, sizeof(key)) != 0) {
        memcpy(path->key[1], path->key[0], sizeof(key));
        memcpy(path->key[0], key, sizeof(key));
        path->keys = path->keys == 0 ? 1 : 2;
        path->changed_at = now;
    }
    if (path->keys > 1 && now - path->changed_at < path->overlap)
        see(path, path->key[1], segments);
    see(path, path->key[0], segments);
}

/* Whether the segment may go on being called: its own period isn't over yet, nor the time that one
 * of unknown origin is given. */
static bool may_stay(struct derived_path *path, const char *segment)
{
    int64_t now = clock_monotonic(path->clock);
    int64_t period = clock_wall(path->clock) / path->period;
    char derived[CERTS_PATH_LENGTH + 1];
    for (int64_t i = 1; i >= -OLD; i--) {
        certs_path_derive(path->key[0], period + i, derived);
        if (strcmp(segment, derived) == 0)
            return i >= 0;
    }
    if (!path->has_foreign || strcmp(path->foreign, segment) != 0) {
        path->has_foreign = true;
        memcpy(path->foreign, segment, sizeof(path->foreign));
        path->foreign_since = now;
    }
    return now - path->foreign_since < path->overlap;
}

void derived_path_choose(struct derived_path *path, const struct certs_published *published,
                         char ret_segment[CERTS_PATH_LENGTH + 1])
{
    path->is_rooted = false;
    for (size_t i = 0; i < published->count; i++) {
        const struct certs_published_entry *entry = &published->entries[i];
        if (!entry->misdirected && !entry->is_open && may_stay(path, entry->path)) {
            path->is_rooted = entry->path[0] == '\0';
            memcpy(ret_segment, entry->path, CERTS_PATH_LENGTH + 1);
            return;
        }
    }
    certs_path_derive(path->key[0], clock_wall(path->clock) / path->period, ret_segment);
}
