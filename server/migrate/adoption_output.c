/* The claims of an adoption, for people and for programs. */
#include "server/migrate/adoption_output.h"

#include "server/migrate/columns.h"

#define TEXT_MOST (1U << 20)

static const char *const actions[] = {"present", "create", "join", "conflict"};

static void add_claim(struct columns *columns, const struct adoption_claim *claim,
                      const char *nobody, struct buffer *services)
{
    char text[ADDRESS_TEXT_SIZE];
    buffer_reset(services);
    for (size_t i = 0; i < claim->service_count; i++)
        buffer_printf(services, "%s%s", i > 0 ? "," : "", claim->services[i].key);
    if (claim->service_count == 0)
        buffer_append_string(services, nobody);
    address_format(&claim->address, text);
    columns_add(columns, text, claim->pool != NULL ? claim->pool : "-", actions[claim->action],
                services->data);
}

int adoption_print(const struct adoption *adoption, const char *address, const char *action,
                   const char *nobody, struct buffer *buffer)
{
    struct columns columns;
    _cleanup_buffer_ struct buffer services;
    buffer_init(&services, TEXT_MOST);
    if (adoption->changes == 0)
        return 0;
    columns_init(&columns, 4);
    columns_add(&columns, address, "POOL", action, "SERVICES");
    for (size_t i = 0; i < adoption->claim_count; i++) {
        const struct adoption_claim *claim = &adoption->claims[i];
        if (claim->action == ADOPTION_CREATE || claim->action == ADOPTION_JOIN)
            add_claim(&columns, claim, nobody, &services);
    }
    int code = columns_print(&columns, buffer);
    columns_clear(&columns);
    return code;
}

void adoption_put(struct json_writer *writer, const struct adoption *adoption)
{
    json_member_array(writer, "claims");
    for (size_t i = 0; i < adoption->claim_count; i++) {
        const struct adoption_claim *claim = &adoption->claims[i];
        char text[ADDRESS_TEXT_SIZE];
        address_format(&claim->address, text);
        json_begin_object(writer);
        json_member_string(writer, "address", text);
        json_member_string(writer, "pool", claim->pool);
        json_member_string(writer, "action", actions[claim->action]);
        json_member_array(writer, "services");
        for (size_t j = 0; j < claim->service_count; j++)
            json_put_string(writer, claim->services[j].key);
        json_end_array(writer);
        json_end_object(writer);
    }
    json_end_array(writer);
}

void adoption_join(const struct texts *texts, const char *separator, struct buffer *buffer)
{
    for (size_t i = 0; i < texts->count; i++)
        buffer_printf(buffer, "%s%s", i > 0 ? separator : "", texts->items[i]);
}

void adoption_put_texts(struct json_writer *writer, const char *name, const struct texts *texts)
{
    json_member_array(writer, name);
    for (size_t i = 0; i < texts->count; i++)
        json_put_string(writer, texts->items[i]);
    json_end_array(writer);
}
