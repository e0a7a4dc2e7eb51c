/* The claims of an adoption, as they are shown in the plan of either migration. */
#ifndef IPWARDEN_MIGRATE_ADOPTION_OUTPUT_H
#define IPWARDEN_MIGRATE_ADOPTION_OUTPUT_H

#include "server/base/buffer.h"
#include "server/base/json_writer.h"
#include "server/migrate/adoption.h"
#include "server/objects/texts.h"

/* Appends a table of the claims that are to be written, if any: the address, the pool, what is done,
 * and the Services, or what nobody says where there are none. What is there already isn't listed: it
 * may be a thousand lines that say nothing. address and action are the headings of these columns.
 * Returns 0 or -ENOMEM. */
must_check int adoption_print(const struct adoption *adoption, const char *address,
                              const char *action, const char *nobody, struct buffer *buffer);
/* Writes the member "claims": all of them. */
void adoption_put(struct json_writer *writer, const struct adoption *adoption);
/* Appends texts with the separator between them. */
void adoption_join(const struct texts *texts, const char *separator, struct buffer *buffer);
/* Writes a member that is a list of texts. */
void adoption_put_texts(struct json_writer *writer, const char *name, const struct texts *texts);

#endif
