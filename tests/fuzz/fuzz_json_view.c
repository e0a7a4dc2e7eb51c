/* Any bytes through json_view: the parser, and every reader over what it accepted. What it
 * accepts is then written out anew with all strings unescaped and escaped again; that text must
 * parse, too, and mean the same. */
#include "server/base/json_view_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "failed: %s\n", #condition);                                           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void append_string(struct buffer *buffer, char *text)
{
    REQUIRE(text != NULL);
    buffer_append_json_string(buffer, text);
    free(text);
}

static char *copy_name(const struct json_view *view, const struct json_node *node)
{
    size_t length;
    char *copy = json_view_string_copy(json_view_string_name(view, node), &length);
    REQUIRE(copy != NULL && strlen(copy) == length);
    return copy;
}

static void check_readers(const struct json_view *view, const struct json_node *node)
{
    char small[8];
    int64_t number;
    size_t length;
    ptrdiff_t written = json_view_text(view, node, small, sizeof(small));
    REQUIRE(written == (written < 0 ? -1 : (ptrdiff_t)strlen(small)));
    REQUIRE(written < 0 || json_view_equals(view, node, small));
    (void)json_view_plain(view, node, &length);
    if (json_view_int64(view, node, &number))
        REQUIRE(json_view_type(node) == JSON_VIEW_NUMBER);
}

static void write_before(struct buffer *buffer, const struct json_view *view,
                         const struct json_node *parent, const struct json_node *node)
{
    if (node != json_view_first(view, parent))
        buffer_append_char(buffer, ',');
    if (!json_view_is_object(parent))
        return;
    char *name = copy_name(view, node);
    /* Of equal names the last one counts. */
    const struct json_node *member = json_view_member(view, parent, name);
    REQUIRE(member == node || (member > node && (parent->flags & JSON_VIEW_REPEATS) != 0));
    append_string(buffer, name);
    buffer_append_char(buffer, ':');
}

/* Writes a value by walking down and along with the public functions only; json_view_after needs
 * the parent, so these are kept. */
static void rewrite(struct buffer *buffer, const struct json_view *view)
{
    const struct json_node *parents[JSON_VIEW_DEPTH + 1] = {NULL};
    size_t level = 0;
    const struct json_node *node = json_view_root(view);
    while (node != NULL) {
        bool container = json_view_is_object(node) || json_view_is_array(node);
        size_t length = 0;
        if (level > 0)
            write_before(buffer, view, parents[level], node);
        check_readers(view, node);
        const char *raw = json_view_raw(view, node, &length);
        if ((node->flags & JSON_VIEW_CLOSED) != 0)
            container = false; /* written as it is */
        if (container)
            buffer_append_char(buffer, *raw);
        else if (json_view_is_string(node))
            append_string(buffer, json_view_copy(view, node));
        else
            buffer_append(buffer, raw, length);
        const struct json_node *next = json_view_first(view, node);
        if (next != NULL) {
            parents[++level] = node;
            node = next;
            continue;
        }
        if (container)
            buffer_append_char(buffer, json_view_is_object(node) ? '}' : ']');
        while (level > 0 && (next = json_view_after(view, parents[level], node)) == NULL) {
            node = parents[level--];
            buffer_append_char(buffer, json_view_is_object(node) ? '}' : ']');
        }
        node = next;
    }
}

/* Looks at all that is left of a text with a fault. */
static void walk(const struct json_view *view)
{
    const struct json_node *root = json_view_remains(view);
    size_t length;
    for (size_t i = 0; root != NULL && i < view->count; i++) {
        const struct json_node *node = &root[i];
        const char *raw = json_view_raw(view, node, &length);
        REQUIRE(raw >= view->text && raw + length <= view->text + view->length);
        size_t children = 0;
        for (const struct json_node *child = json_view_first(view, node); child != NULL;
             child = json_view_after(view, node, child))
            children++;
        REQUIRE(children == json_view_count(node));
        check_readers(view, node);
        (void)json_view_member(view, node, "uid");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_view view, again;
    struct error error = {0};
    struct buffer buffer _cleanup_buffer_;
    json_view_init(&view);
    json_view_init(&again);
    buffer_init(&buffer, 16 * size + 64);
    /* Small, so that values which are passed over come by often. */
    unsigned int depth = size > 0 ? data[size - 1] % 8 : 0;
    if (json_view_parse(&view, (const char *)data, size, depth, &error) != 0) {
        REQUIRE(strncmp(error.text, "at byte ", 8) == 0);
        REQUIRE(json_view_root(&view) == NULL);
        walk(&view);
    } else {
        rewrite(&buffer, &view);
        REQUIRE(!buffer_failed(&buffer));
        REQUIRE(json_view_parse(&again, buffer.data, buffer.length, depth, NULL) == 0);
        /* Objects with a name twice are compared by their text. */
        bool clear = json_view_require_unique(&view, "but", NULL) == 0 && view.repeated == 0;
        bool same = json_view_same(&view, json_view_root(&view), &again, json_view_root(&again));
        REQUIRE(same || !clear);
        REQUIRE(json_view_same(&again, json_view_root(&again), &view, json_view_root(&view)) ==
                same);
    }
    json_view_clear(&view);
    json_view_clear(&again);
    return 0;
}
