/* The table and the JSON of `ipwarden certs show`, from one walk over the certificates. */
#include "server/certs_table.h"

#include "certs/certificate.h"
#include "certs/rotation.h"
#include "server/base/clock.h"
#include "server/base/json_writer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROW "%-10s %-34s %-21s %-21s %6s  %-16s %-5s  "

/* One certificate of the bundle. */
struct line {
    const char *kind; /* "Leaf", "Authority" */
    struct certs_description description;
    bool signs;
    long long days_left; /* rounded down; negative when expired */
    char not_before[CLOCK_RFC3339_SIZE];
    char not_after[CLOCK_RFC3339_SIZE];
};

static long long whole_days(int64_t nanoseconds)
{
    return nanoseconds / CERTS_DAY - (nanoseconds % CERTS_DAY < 0);
}

/* Fills a line. -EINVAL when the certificate can't be read. */
static int fill(struct line *line, const char *kind, const char *pem,
                const struct certs_condition *condition, int64_t wall)
{
    int code = certs_describe(pem, &line->description, NULL);
    if (code != 0)
        return code;
    line->kind = kind;
    line->signs = strcmp(line->description.fingerprint, condition->signer_fingerprint) == 0;
    line->days_left = whole_days(line->description.not_after - wall);
    clock_format_rfc3339(line->description.not_before, line->not_before);
    clock_format_rfc3339(line->description.not_after, line->not_after);
    return 0;
}

typedef void (*visitor)(const struct line *line, void *context);

/* Visits the leaf and each authority that can be read. */
static int walk(const struct certs_bundle *bundle, const struct certs_condition *condition,
                int64_t wall, visitor visit, void *context, struct error *error)
{
    char **authorities = NULL;
    size_t count = 0;
    struct line line;
    int code = certs_list_salvage(bundle->ca_pem, &authorities, &count, error);
    if (code != 0)
        return code;
    for (size_t i = 0; code == 0 && i <= count; i++) {
        code = i == 0 ? fill(&line, "Leaf", bundle->chain_pem, condition, wall)
                      : fill(&line, "Authority", authorities[i - 1], condition, wall);
        if (code == 0) {
            visit(&line, context);
            certs_description_clear(&line.description);
        }
        /* A certificate that can't be read is left out: it is what the problem is about. */
        code = code == -EINVAL ? 0 : code;
    }
    certs_list_free(authorities, count);
    return code != 0 ? error_no_memory(error) : 0;
}

static void append_names(char *const *names, size_t count, size_t before, struct buffer *buffer)
{
    for (size_t i = 0; i < count; i++) {
        if (before + i > 0)
            buffer_append_char(buffer, ',');
        buffer_append_string(buffer, names[i]);
    }
}

static void write_row(const struct line *line, void *context)
{
    struct buffer *buffer = context;
    char days[24];
    const struct certs_description *description = &line->description;
    snprintf(days, sizeof(days), "%lld", line->days_left);
    buffer_printf(buffer, "%-10s %-34s %-21s %-21s %6s  %-16.16s %-5s  ", line->kind,
                  description->subject, line->not_before, line->not_after, days,
                  description->fingerprint, line->signs ? "yes" : "");
    append_names(description->dns, description->dns_count, 0, buffer);
    append_names(description->ip, description->ip_count, description->dns_count, buffer);
    while (buffer->length > 0 && buffer->data[buffer->length - 1] == ' ')
        buffer->data[--buffer->length] = '\0';
    buffer_append_char(buffer, '\n');
}

/* What each phase means to the reader. */
static const char *explain(enum certs_phase phase)
{
    static const char *const texts[] = {
        [CERTS_PHASE_STABLE] = "",
        [CERTS_PHASE_DISTRIBUTING] = ": a new authority is being made known, not used yet",
        [CERTS_PHASE_SWITCHED] =
            ": the new authority is used; the old one stays until all replicas serve the new leaf",
    };
    return texts[phase];
}

int certs_table_text(const struct certs_bundle *bundle, int64_t wall, struct buffer *buffer,
                     struct error *error)
{
    struct certs_condition condition;
    int code = certs_rotation_examine(bundle, NULL, &condition, error);
    if (code != 0)
        return code;
    buffer_printf(buffer, ROW "%s\n", "KIND", "SUBJECT", "NOT BEFORE", "NOT AFTER", "DAYS",
                  "FINGERPRINT", "SIGNS", "NAMES");
    code = walk(bundle, &condition, wall, write_row, buffer, error);
    if (code != 0)
        return code;
    if (condition.leaf_good)
        buffer_printf(buffer, "rotation: %s%s\n", certs_phase_name(condition.phase),
                      explain(condition.phase));
    if (condition.problem[0] != '\0')
        buffer_printf(buffer, "problem: %s\n", condition.problem);
    return buffer_failed(buffer) ? error_no_memory(error) : 0;
}

static void put_names(struct json_writer *writer, char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        json_put_string(writer, names[i]);
}

static void write_object(const struct line *line, void *context)
{
    struct json_writer *writer = context;
    const struct certs_description *description = &line->description;
    json_begin_object(writer);
    json_member_string(writer, "kind", line->kind);
    json_member_string(writer, "subject", description->subject);
    json_member_string(writer, "issuer", description->issuer);
    json_member_string(writer, "serial", description->serial);
    json_member_string(writer, "notBefore", line->not_before);
    json_member_string(writer, "notAfter", line->not_after);
    json_member_string(writer, "fingerprint", description->fingerprint);
    json_member_integer(writer, "daysLeft", line->days_left);
    json_member_bool(writer, "signs", line->signs);
    json_member_array(writer, "names");
    put_names(writer, description->dns, description->dns_count);
    put_names(writer, description->ip, description->ip_count);
    json_end_array(writer);
    json_end_object(writer);
}

int certs_table_json(const struct certs_bundle *bundle, int64_t wall, struct buffer *buffer,
                     struct error *error)
{
    struct certs_condition condition;
    int code = certs_rotation_examine(bundle, NULL, &condition, error);
    if (code != 0)
        return code;
    struct json_writer writer;
    json_writer_init(&writer, buffer);
    json_begin_object(&writer);
    json_member_string(&writer, "phase", certs_phase_name(condition.phase));
    json_member_string(&writer, "problem", condition.problem);
    json_member_array(&writer, "certificates");
    code = walk(bundle, &condition, wall, write_object, &writer, error);
    if (code != 0)
        return code;
    json_end_array(&writer);
    json_end_object(&writer);
    bool done = json_writer_done(&writer);
    buffer_append_char(buffer, '\n');
    return !done || buffer_failed(buffer) ? error_no_memory(error) : 0;
}
