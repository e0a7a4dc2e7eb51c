/* Log lines for people and for machines. Every line is built whole and leaves with one write(2), so
 * that lines of several threads never mix and nothing waits for a lock. */
#include "server/base/log.h"

#include "server/base/buffer.h"
#include "server/base/clock.h"
#include "server/base/json_writer.h"
#include "server/base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAXIMUM (1024 * 1024) /* bytes; only a longer line is replaced by a complaint */
#define TEXT_MAXIMUM (4 * 1024)    /* bytes of one message or value; the rest is cut off */

static _Atomic int configured_format = LOG_FORMAT_TEXT;
static _Atomic int configured_level = LOG_LEVEL_INFO;

static const struct {
    const char *word;
    const char *column; /* in text lines, all of one width */
} levels[] = {
    [LOG_LEVEL_DEBUG] = {"debug", "DEBUG"},
    [LOG_LEVEL_INFO] = {"info", "INFO "},
    [LOG_LEVEL_WARNING] = {"warning", "WARN "},
    [LOG_LEVEL_ERROR] = {"error", "ERROR"},
};

void log_configure(enum log_format format, enum log_level lowest)
{
    atomic_store_explicit(&configured_format, (int)format, memory_order_relaxed);
    atomic_store_explicit(&configured_level, (int)lowest, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&configured_level, memory_order_relaxed);
}

/* The length of text that is printed, cut at a character's border. */
static size_t printed_length(const char *text)
{
    size_t length = strnlen(text, TEXT_MAXIMUM + 1);
    if (length <= TEXT_MAXIMUM)
        return length;
    length = TEXT_MAXIMUM;
    while (length > TEXT_MAXIMUM - 3 && ((unsigned char)text[length] & 0xC0) == 0x80)
        length--;
    return length;
}

static void put_text(struct json_writer *writer, const char *name, const char *text)
{
    json_name(writer, name);
    if (text == NULL)
        json_put_null(writer);
    else
        json_put_bytes(writer, text, printed_length(text));
}

/* Whether text reads unambiguously without quotes: printable, and none of the characters in
 * special. */
static bool is_bare(const char *text, size_t length, const char *special)
{
    for (size_t at = 0, sequence; at < length; at += sequence) {
        sequence = utf8_sequence(text + at, length - at);
        unsigned int code = sequence > 0 ? utf8_code_point(text + at, sequence) : 0;
        if (code < 0x20 || (code >= 0x7F && code <= 0x9F) || code == 0x2028 || code == 0x2029)
            return false;
        if (code < 0x7F && strchr(special, (int)code) != NULL)
            return false;
    }
    return length > 0;
}

static void append_bare(struct buffer *line, const char *text, const char *special)
{
    size_t length = printed_length(text);
    if (is_bare(text, length, special))
        buffer_append(line, text, length);
    else
        buffer_append_json_bytes(line, text, length);
}

/* Now, in RFC 3339 with milliseconds. */
static void format_time(char ret_text[CLOCK_RFC3339_SIZE])
{
    clock_format_rfc3339_micro(clock_wall(clock_system()), ret_text);
    size_t length = strlen(ret_text) - strlen("000Z");
    memcpy(ret_text + length, "Z", 2);
}

static void build_text(struct buffer *line, enum log_level level, const char *message,
                       va_list pairs)
{
    char time[CLOCK_RFC3339_SIZE];
    format_time(time);
    buffer_printf(line, "%s %s ", time, levels[level].column);
    append_bare(line, message, "");
    for (const char *name; (name = va_arg(pairs, const char *)) != NULL;) {
        const char *value = va_arg(pairs, const char *);
        buffer_append_char(line, ' ');
        append_bare(line, name, " =\"\\");
        buffer_append_char(line, '=');
        if (value == NULL)
            buffer_append_string(line, "null");
        else if (strcmp(value, "null") == 0)
            buffer_append_string(line, "\"null\"");
        else
            append_bare(line, value, " =\"\\");
    }
    buffer_append_char(line, '\n');
}

static void build_json(struct buffer *line, enum log_level level, const char *message,
                       va_list pairs)
{
    char time[CLOCK_RFC3339_SIZE];
    struct json_writer writer;
    format_time(time);
    json_writer_init(&writer, line);
    json_begin_object(&writer);
    json_member_string(&writer, "time", time);
    json_member_string(&writer, "level", levels[level].word);
    put_text(&writer, "message", message);
    for (const char *name; (name = va_arg(pairs, const char *)) != NULL;)
        put_text(&writer, name, va_arg(pairs, const char *));
    json_end_object(&writer);
    buffer_append_char(line, '\n');
}

/* Writes the line with one write(2), or more when a pipe is full. When standard error itself is
 * gone, there is nobody left to tell. */
static void write_line(const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, data, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        data += written;
        length -= (size_t)written;
    }
}

void log_event(enum log_level level, const char *message, ...)
{
    static void (*const builders[])(struct buffer *, enum log_level, const char *, va_list) = {
        [LOG_FORMAT_TEXT] = build_text,
        [LOG_FORMAT_JSON] = build_json,
    };
    static const char *const complaints[] = {
        [LOG_FORMAT_TEXT] = "- ERROR a log line was lost: out of memory, or it was too long\n",
        [LOG_FORMAT_JSON] =
            "{\"level\":\"error\",\"message\":\"a log line was lost: out of memory, "
            "or it was too long\"}\n",
    };
    if (!log_enabled(level))
        return;
    int saved_errno = errno;
    int format = atomic_load_explicit(&configured_format, memory_order_relaxed);
    struct buffer line _cleanup_buffer_;
    buffer_init(&line, LINE_MAXIMUM);
    va_list pairs;
    va_start(pairs, message);
    builders[format](&line, level, message, pairs);
    va_end(pairs);
    if (buffer_failed(&line))
        write_line(complaints[format], strlen(complaints[format]));
    else
        write_line(line.data, line.length);
    errno = saved_errno;
}
