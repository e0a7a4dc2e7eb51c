/* Any bytes as an agent's record: either nothing is known afterwards, or what is known can be written
 * and read again. */
#include "netlink/agent_record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

static struct agent_record *make(void)
{
    struct agent_record *record = NULL;
    expect(agent_record_new(NULL, "this", &record, NULL) == 0);
    return record;
}

static void count_node(void *context, const struct agent_neighbour *node)
{
    size_t *count = context;
    expect(node->mac_count > 0 && node->mac_count <= AGENT_RECORD_NODE_MACS);
    expect(node->name[0] != '\0');
    (*count)++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error error = {0};
    struct agent_record *record = make();
    size_t nodes = 0;
    int result = agent_record_parse(record, (const char *)data, size, &error);
    agent_record_nodes(record, count_node, &nodes);
    if (result != 0) {
        expect(result == error.code && error.text[0] != '\0');
        expect(agent_record_count(record) == 0 && nodes == 0);
        agent_record_free(record);
        return 0;
    }
    size_t length = 0;
    char *text = agent_record_format(record, &length);
    struct agent_record *again = make();
    size_t nodes_again = 0;
    expect(text != NULL && agent_record_parse(again, text, length, NULL) == 0);
    agent_record_nodes(again, count_node, &nodes_again);
    expect(agent_record_count(again) == agent_record_count(record) && nodes_again == nodes);
    free(text);
    agent_record_free(again);
    agent_record_free(record);
    return 0;
}
