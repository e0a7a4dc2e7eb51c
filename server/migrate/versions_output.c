/* The plan as tables, or as one JSON document. */
#include "server/migrate/versions_output.h"

#include "server/migrate/adoption_output.h"
#include "server/migrate/columns.h"
#include "server/migrate/crew.h"

#include <stdio.h>
#include <string.h>

#define TEXT_MOST (1U << 20)

static const char *const kind_actions[] = {"not there", "current", "rewrite", "blocked"};

/* --- for people --- */

/* What the API server can tell is in the last two columns: which versions there may be, and how many
 * objects nobody has written in the current one. */
static int print_kinds(const struct versions_facts *facts, struct buffer *buffer)
{
    struct columns columns;
    _cleanup_buffer_ struct buffer stored;
    buffer_init(&stored, TEXT_MOST);
    columns_init(&columns, 5);
    columns_add(&columns, "KIND", "ACTION", "OBJECTS", "MAY BE STORED AS", "WRITTEN IN OLDER ONLY");
    for (size_t i = 0; i < VERSIONS_KINDS; i++) {
        const struct versions_state *state = &facts->kinds[i];
        char objects[CREW_NUMBER_SIZE];
        char older[CREW_NUMBER_SIZE];
        crew_format_number(state->objects, objects);
        crew_format_number(state->only_older, older);
        buffer_reset(&stored);
        adoption_join(&state->stored, ",", &stored);
        columns_add(&columns, state->kind->crd, kind_actions[state->action], objects,
                    stored.length > 0 ? stored.data : "-", older);
    }
    int code = columns_print(&columns, buffer);
    columns_clear(&columns);
    return code;
}

static int print_claims(const struct versions_plan *plan, struct buffer *buffer)
{
    if (plan->adoption.changes > 0)
        buffer_append_char(buffer, '\n');
    return adoption_print(&plan->adoption, "UNCOVERED", "CLAIM",
                          "none: held back, as spec.allocated has it", buffer);
}

static int print_conflicts(const struct versions_plan *plan, struct buffer *buffer)
{
    if (versions_plan_conflicts(plan) > 0)
        buffer_append_string(buffer, "\nCONFLICTS\n");
    for (size_t i = 0; i < plan->conflicts.count; i++)
        buffer_printf(buffer, "%s\n", plan->conflicts.items[i]);
    for (size_t i = 0; i < plan->adoption.conflict_count; i++) {
        const struct adoption_conflict *conflict = &plan->adoption.conflicts[i];
        char text[ADDRESS_TEXT_SIZE];
        address_format(&conflict->address, text);
        if (*conflict->service != '\0')
            buffer_printf(buffer, "Service %s, %s: %s\n", conflict->service, text, conflict->text);
        else
            buffer_printf(buffer, "%s in spec.allocated: %s\n", text, conflict->text);
    }
    if (plan->notes.count > 0)
        buffer_append_string(buffer, "\nNOTES\n");
    for (size_t i = 0; i < plan->notes.count; i++)
        buffer_printf(buffer, "%s\n", plan->notes.items[i]);
    return 0;
}

int versions_text(const struct versions_facts *facts, const struct versions_plan *plan,
                  struct buffer *buffer, struct error *error)
{
    int code = print_kinds(facts, buffer);
    if (code == 0)
        code = print_claims(plan, buffer);
    if (code == 0)
        code = print_conflicts(plan, buffer);
    return code < 0 || buffer_failed(buffer) ? error_no_memory(error) : 0;
}

/* --- for programs --- */

static void put_kinds(struct json_writer *writer, const struct versions_facts *facts)
{
    json_member_array(writer, "kinds");
    for (size_t i = 0; i < VERSIONS_KINDS; i++) {
        const struct versions_state *state = &facts->kinds[i];
        json_begin_object(writer);
        json_member_string(writer, "crd", state->kind->crd);
        json_member_string(writer, "action", kind_actions[state->action]);
        json_member_integer(writer, "objects", (int64_t)state->objects);
        json_member_integer(writer, "writtenInOlderOnly", (int64_t)state->only_older);
        adoption_put_texts(writer, "storedVersions", &state->stored);
        json_end_object(writer);
    }
    json_end_array(writer);
}

int versions_json(const struct versions_facts *facts, const struct versions_plan *plan,
                  struct buffer *buffer, struct error *error)
{
    struct json_writer writer;
    json_writer_init(&writer, buffer);
    json_begin_object(&writer);
    put_kinds(&writer, facts);
    adoption_put(&writer, &plan->adoption);
    json_member_integer(&writer, "allocated", (int64_t)plan->allocated_count);
    json_member_array(&writer, "conflicts");
    for (size_t i = 0; i < plan->conflicts.count; i++)
        json_put_string(&writer, plan->conflicts.items[i]);
    for (size_t i = 0; i < plan->adoption.conflict_count; i++) {
        char text[ADDRESS_TEXT_SIZE];
        address_format(&plan->adoption.conflicts[i].address, text);
        json_put_format(&writer, "%s %s: %s", text, plan->adoption.conflicts[i].service,
                        plan->adoption.conflicts[i].text);
    }
    json_end_array(&writer);
    adoption_put_texts(&writer, "notes", &plan->notes);
    json_end_object(&writer);
    bool done = json_writer_done(&writer);
    buffer_append_char(buffer, '\n');
    return !done || buffer_failed(buffer) ? error_no_memory(error) : 0;
}
