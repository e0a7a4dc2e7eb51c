/* The rows, by kind. */
#include "server/state/kinds.h"

static const struct state_kind_row *const rows[STATE_KINDS] = {
#define X(upper, lower) &state_kind_##lower,
    STATE_KIND_TABLE(X)
#undef X
};

const struct state_kind_row *state_kind(enum state_kind kind)
{
    return rows[kind];
}
