/* Where an address lives: tables for each rule, and a random test of what has to hold whatever happens to
 * the nodes. */
#include "server/decide/placement.h"

#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include <stdio.h>

/* --- tables --- */

/* A node as a word: its name, how many addresses it has, and letters: - may have none, s not selected;
 * digits behind '@' say how many endpoints there are. "a3", "b0-", "c1s@2" */
static struct placement_node parse_node(char *word)
{
    char *at = strchr(word, '@');
    struct placement_node node = {.name = word, .fine = true, .selected = true};
    if (at != NULL) {
        *at = '\0';
        node.endpoints = (size_t)atoi(at + 1);
    }
    for (char *letter = word + 1; *letter != '\0'; letter++) {
        node.fine = node.fine && *letter != '-';
        node.selected = node.selected && *letter != 's';
    }
    node.addresses = (size_t)atoi(word + 1);
    word[1] = '\0';
    node.hash = (uint64_t)(unsigned char)word[0] * UINT64_C(0x9e3779b97f4a7c15);
    return node;
}

static size_t parse_nodes(char *text, struct placement_node *nodes)
{
    size_t count = 0;
    char *rest;
    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
        nodes[count++] = parse_node(word);
    return count;
}

static const struct {
    const char *what;
    const char *nodes;
    const char *now;    /* "node/standby"; NULL: a new claim */
    const char *wanted; /* "node/standby"; '?': any */
    size_t local;
    enum state_node_choice choice;
} rows[] = {
    {"nobody", "", NULL, "/", 0, STATE_NODE_FAIR},
    {"one node, nobody to stand by", "a0", NULL, "a/", 0, STATE_NODE_FAIR},
    {"two nodes", "a1 b0", NULL, "b/a", 0, STATE_NODE_FAIR},
    {"as many: by name", "a1 b1", NULL, "a/b", 0, STATE_NODE_FAIR},
    {"first alive", "a9- b5 c0", NULL, "b/c", 0, STATE_NODE_FIRST_ALIVE},
    {"nobody may", "a0- b0s", NULL, "/", 0, STATE_NODE_FAIR},
    {"it stays, however unfair", "a9 b0", "a/b", "a/b", 0, STATE_NODE_FAIR},
    {"it doesn't jump back", "a0 b9", "b/a", "b/a", 0, STATE_NODE_FIRST_ALIVE},
    {"the standby is first", "a0- b9 c0", "a/b", "b/c", 0, STATE_NODE_FAIR},
    {"both are gone", "a0- b0- c1 d0", "a/b", "d/c", 0, STATE_NODE_FAIR},
    {"names that nobody has", "c1 d0", "x/y", "d/c", 0, STATE_NODE_FAIR},
    {"nobody may: it stays", "a0- b0-", "a/b", "a/", 0, STATE_NODE_FAIR},
    {"nobody is there: it stays", "", "a/b", "a/", 0, STATE_NODE_FAIR},
    {"a missing standby is found", "a0 b0", "a/", "a/b", 0, STATE_NODE_FAIR},
    {"a standby is never the node", "a0 b0-", "a/a", "a/", 0, STATE_NODE_FAIR},
    {"a standby that may not", "a0 b0- c0", "a/b", "a/c", 0, STATE_NODE_FAIR},
    {"not selected any more", "a0s b0 c0", "a/b", "b/c", 0, STATE_NODE_FAIR},
    {"a standby that isn't selected", "a0 b0s c0", "a/b", "a/c", 0, STATE_NODE_FAIR},
    {"where the endpoint is", "a0@0 b5@1", NULL, "b/", 1, STATE_NODE_FAIR},
    {"endpoints don't matter", "a0@0 b5@1", NULL, "a/b", 0, STATE_NODE_FAIR},
    {"no endpoint: nowhere", "a0@0 b5@0", NULL, "/", 1, STATE_NODE_FAIR},
    {"no endpoint any more: it stays", "a0@0 b5@0", "a/b", "a/", 1, STATE_NODE_FAIR},
    {"the endpoint moves", "a0@0 b5@1 c0@1", "a/", "c/b", 1, STATE_NODE_FAIR},
    {"to the standby, if it has one", "a0@0 b5@1 c0@1", "a/b", "b/c", 1, STATE_NODE_FAIR},
    {"all of two Services", "a0@1 b5@2 c0@1", NULL, "b/", 2, STATE_NODE_FAIR},
    {"most of three Services", "a0@1 b5@2 c6@2", NULL, "b/c", 3, STATE_NODE_FAIR},
    {"an endpoint on a dead node", "a0-@1 b5@0", NULL, "/", 1, STATE_NODE_FAIR},
    {"more on a dead node than elsewhere", "a0-@2 b5@1", NULL, "b/", 2, STATE_NODE_FAIR},
};

static void every_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct placement_node nodes[8];
        struct claim_placement now = {0};
        struct claim_placement found;
        char words[128];
        char before[16] = "";
        char result[600];
        snprintf(words, sizeof(words), "%s", rows[i].nodes);
        struct placement_request request = {.nodes = nodes,
                                            .count = parse_nodes(words, nodes),
                                            .address = fixture_address("192.0.2.7"),
                                            .announce = CLAIM_ANNOUNCE_LAYER2,
                                            .link = "eth0",
                                            .local = rows[i].local,
                                            .choice = rows[i].choice};
        if (rows[i].now != NULL) {
            snprintf(before, sizeof(before), "%s", rows[i].now);
            char *slash = strchr(before, '/');
            *slash = '\0';
            struct claim_placement_parts parts = {
                .announce = CLAIM_ANNOUNCE_LAYER2, .node = before, .standby = slash + 1};
            assert_int_equal(claim_placement_make(&parts, &now), 0);
            request.now = &now;
        }
        assert_int_equal(placement_decide(&request, &found), 0);
        snprintf(result, sizeof(result), "%s/%s", found.node, found.standby);
        if (strcmp(result, rows[i].wanted) != 0)
            fail_msg("%s: %s, not %s", rows[i].what, result, rows[i].wanted);
        assert_string_equal(found.link, *found.node != '\0' ? "eth0" : "");
        assert_int_equal(found.announce,
                         *found.node != '\0' ? CLAIM_ANNOUNCE_LAYER2 : CLAIM_ANNOUNCE_NONE);
        claim_placement_clear(&found);
        claim_placement_clear(&now);
    }
}

static const struct {
    const char *nodes;
    const char *wanted; /* joined */
    size_t local;
    bool known; /* it was on node x before */
} all_rows[] = {
    {"a0 b0- c0s d0", "ad", 0, false}, {"a0@1 b0@0 c0@2", "ac", 2, false},
    {"a0@0 b0@0", "", 1, false},       {"a0- b0-", "", 0, false},
    {"a0- b0-", "x", 0, true},         {"", "x", 0, true},
    {"a0s b0-", "", 0, true},
};

static void all_nodes_that_may(void **state)
{
    (void)state;
    const char *x = "x";
    for (size_t i = 0; i < sizeof(all_rows) / sizeof(all_rows[0]); i++) {
        struct placement_node nodes[8];
        struct claim_placement now;
        struct claim_placement found;
        char words[128];
        char result[16] = "";
        struct claim_placement_parts parts = {
            .announce = CLAIM_ANNOUNCE_ALL_NODES, .nodes = &x, .node_count = 1};
        snprintf(words, sizeof(words), "%s", all_rows[i].nodes);
        assert_int_equal(claim_placement_make(&parts, &now), 0);
        struct placement_request request = {.nodes = nodes,
                                            .count = parse_nodes(words, nodes),
                                            .address = fixture_address("192.0.2.7"),
                                            .announce = CLAIM_ANNOUNCE_ALL_NODES,
                                            .local = all_rows[i].local,
                                            .now = all_rows[i].known ? &now : NULL};
        assert_int_equal(placement_decide(&request, &found), 0);
        for (size_t j = 0; j < found.node_count; j++)
            snprintf(result + j, sizeof(result) - j, "%s", found.nodes[j]);
        if (strcmp(result, all_rows[i].wanted) != 0)
            fail_msg("%s: \"%s\", not \"%s\"", all_rows[i].nodes, result, all_rows[i].wanted);
        assert_string_equal(found.node, "");
        claim_placement_clear(&found);
        claim_placement_clear(&now);
    }
}

static void nowhere_when_the_pool_says_so(void **state)
{
    (void)state;
    struct placement_node node = {.name = "a", .fine = true, .selected = true};
    struct placement_request request = {.nodes = &node, .count = 1, .link = "eth0"};
    struct claim_placement found;
    assert_int_equal(placement_decide(&request, &found), 0);
    assert_true(claim_placement_is_none(&found));
    assert_string_equal(found.link, "");
}

/* --- at random --- */

#define NODES 24
#define ADDRESSES 240

static struct placement_node fleet[NODES];
static char fleet_names[NODES][8];
static struct claim_placement lives[ADDRESSES];
static uint64_t seed = 1;

static uint64_t next_random(void)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return seed >> 33;
}

static struct address address_of(size_t index)
{
    struct address address = fixture_address("192.0.2.0");
    assert_true(address_add(&address, index, &address));
    return address;
}

static struct placement_node *node_named(const char *name)
{
    for (size_t i = 0; i < NODES; i++)
        if (strcmp(fleet[i].name, name) == 0)
            return &fleet[i];
    return NULL;
}

/* Decides again; returns whether the node has changed. */
static bool decide_again(size_t index, bool fresh)
{
    struct claim_placement found;
    struct placement_request request = {.nodes = fleet,
                                        .count = NODES,
                                        .address = address_of(index),
                                        .announce = CLAIM_ANNOUNCE_LAYER2,
                                        .link = "",
                                        .now = fresh ? NULL : &lives[index]};
    assert_int_equal(placement_decide(&request, &found), 0);
    bool moved = !fresh && strcmp(found.node, lives[index].node) != 0;
    struct placement_node *before = fresh ? NULL : node_named(lives[index].node);
    struct placement_node *after = node_named(found.node);
    if (before != after) {
        if (before != NULL)
            before->addresses--;
        after->addresses++;
    }
    if (!fresh)
        claim_placement_clear(&lives[index]);
    lives[index] = found;
    return moved;
}

static void check_fleet(void)
{
    for (size_t i = 0; i < NODES; i++) {
        const char *watchers[STATE_WATCHERS + 1];
        size_t count = 0;
        for (size_t j = 0; j < ADDRESSES; j++) {
            bool known = false;
            if (strcmp(lives[j].node, fleet[i].name) != 0)
                continue;
            assert_true(fleet[i].fine);
            assert_string_not_equal(lives[j].standby, lives[j].node);
            assert_true(node_named(lives[j].standby)->fine);
            for (size_t k = 0; k < count; k++)
                known = known || strcmp(watchers[k], lives[j].standby) == 0;
            if (!known)
                watchers[count++] = lives[j].standby;
            assert_true(count <= STATE_WATCHERS);
        }
    }
}

static void few_move_and_few_watch(void **state)
{
    (void)state;
    size_t standbys_changed = 0;
    size_t changes = 0;
    for (size_t i = 0; i < NODES; i++) {
        snprintf(fleet_names[i], sizeof(fleet_names[i]), "n%02zu", i);
        uint64_t hash = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
        fleet[i] = (struct placement_node){
            .name = fleet_names[i], .hash = hash ^ (hash >> 29), .fine = true, .selected = true};
    }
    for (size_t i = 0; i < ADDRESSES; i++)
        assert_false(decide_again(i, true));
    /* Fair within one. */
    for (size_t i = 0; i < NODES; i++)
        assert_int_equal(fleet[i].addresses, ADDRESSES / NODES);
    check_fleet();
    for (int step = 0; step < 1000; step++) {
        struct placement_node *node = &fleet[next_random() % NODES];
        size_t alive = 0;
        for (size_t i = 0; i < NODES; i++)
            alive += fleet[i].fine;
        if (node->fine && alive <= 4)
            continue;
        node->fine = !node->fine;
        size_t had = node->addresses;
        size_t moved = 0;
        for (size_t i = 0; i < ADDRESSES; i++) {
            char before[8];
            char standby[8];
            snprintf(before, sizeof(before), "%s", lives[i].node);
            snprintf(standby, sizeof(standby), "%s", lives[i].standby);
            bool goes = decide_again(i, false);
            moved += goes;
            /* Who stood by has it. */
            if (goes)
                assert_string_equal(lives[i].node, standby);
            else if (strcmp(lives[i].standby, standby) != 0)
                standbys_changed++;
        }
        /* Only what has to; what returns takes nothing. */
        assert_int_equal(moved, node->fine ? 0 : had);
        changes++;
        check_fleet();
    }
    /* A node that comes or goes is a watcher of three others on the average. */
    double share = (double)standbys_changed / (double)changes / ADDRESSES;
    if (share > 0.3)
        fail_msg("a change of one node changes the standbys of %.2f of all addresses", share);
    for (size_t i = 0; i < ADDRESSES; i++)
        claim_placement_clear(&lives[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule),
        cmocka_unit_test(all_nodes_that_may),
        cmocka_unit_test(nowhere_when_the_pool_says_so),
        cmocka_unit_test(few_move_and_few_watch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
