/* Plans by hand, and many small random ones beside the best of all that there are. */
#include "server/rebalance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define NODES_MOST 4
#define ITEMS_MOST 7
#define GROUPS_MOST 3

/* A problem as text: a digit for the node of each item of a group; capitals A, B, C are nodes 0, 1, 2
 * of items that can't move; after a slash the nodes that are allowed. Groups are separated by
 * blanks. */
struct board {
    struct rebalance_item items[4096];
    bool allowed[16 * 64];
    struct rebalance_problem problem;
    size_t result[4096];
};

static void set_up(struct board *board, size_t nodes, const char *text)
{
    memset(board, 0, sizeof(*board));
    board->problem = (struct rebalance_problem){
        .node_count = nodes, .group_count = 1, .items = board->items, .allowed = board->allowed};
    bool after_slash = false;
    for (const char *at = text; *at != '\0'; at++) {
        size_t group = board->problem.group_count - 1;
        if (*at == ' ') {
            board->problem.group_count++;
            after_slash = false;
        } else if (*at == '/') {
            after_slash = true;
        } else if (after_slash) {
            board->allowed[group * nodes + (size_t)(*at - '0')] = true;
        } else {
            bool fixed = *at >= 'A';
            board->items[board->problem.item_count++] = (struct rebalance_item){
                .group = group, .node = (size_t)(*at - (fixed ? 'A' : '0')), .movable = !fixed};
        }
    }
}

static void run(struct board *board)
{
    assert_int_equal(rebalance_plan(&board->problem, board->result, NULL), 0);
}

static size_t count_moves(const struct board *board)
{
    size_t moves = 0;
    for (size_t i = 0; i < board->problem.item_count; i++)
        moves += board->result[i] != board->items[i].node;
    return moves;
}

static void count_loads(const struct board *board, const size_t *places, size_t *ret_loads)
{
    memset(ret_loads, 0, board->problem.node_count * sizeof(*ret_loads));
    for (size_t i = 0; i < board->problem.item_count; i++)
        ret_loads[places[i]]++;
}

static const struct {
    const char *name;
    size_t nodes;
    const char *problem;
    const char *loads;
    size_t moves;
} cases[] = {
    {"nothing", 3, "/012", "000", 0},
    {"one node", 1, "0000/0", "4", 0},
    {"even", 3, "001122/012", "222", 0},
    {"differ by one", 2, "00011/01", "32", 0},
    {"differ by two", 2, "000011/01", "33", 1},
    {"a new node", 3, "000111/012", "222", 2},
    {"two new nodes", 4, "00001111/0123", "2222", 4},
    {"all on one", 4, "000000000/0123", "3222", 6},
    {"one more may stay anywhere", 3, "0000111/012", "232", 2},
    {"not allowed there", 3, "000000/01", "330", 3},
    {"nothing is allowed", 2, "0000/", "40", 0},
    {"fixed ones count", 2, "AAA1111/01", "34", 0},
    {"fixed ones stay", 2, "AAAA/01", "40", 0},
    {"around the fixed", 3, "AAAA00/012", "411", 2},
    {"over a third", 3, "000/01 11/12", "221", 2},
    {"two pools, one count", 2, "00/01 00/01", "22", 2},
    {"two pools that make up for each other", 2, "000/01 111/01", "33", 0},
    {"separate pools", 4, "0000/01 2222/23", "2222", 4},
    {"a pool that has only one node", 2, "0000/0 0011/01", "44", 2},
    {"from a node that isn't allowed", 2, "0000/1", "22", 2},
};

static void test_table(void **state)
{
    (void)state;
    static struct board board;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t loads[8];
        char text[8] = "";
        set_up(&board, cases[i].nodes, cases[i].problem);
        run(&board);
        count_loads(&board, board.result, loads);
        for (size_t j = 0; j < cases[i].nodes; j++)
            text[j] = (char)('0' + loads[j]);
        if (strcmp(text, cases[i].loads) != 0 || count_moves(&board) != cases[i].moves)
            fail_msg("%s: %s with %zu moves", cases[i].name, text, count_moves(&board));
    }
}

/* --- beside all plans that there are --- */

static unsigned int seed;

static size_t below(size_t most)
{
    return (size_t)rand_r(&seed) % most;
}

static void make_random(struct board *board)
{
    size_t nodes = 1 + below(NODES_MOST);
    memset(board, 0, sizeof(*board));
    board->problem = (struct rebalance_problem){.node_count = nodes,
                                                .group_count = 1 + below(GROUPS_MOST),
                                                .items = board->items,
                                                .item_count = below(ITEMS_MOST + 1),
                                                .allowed = board->allowed};
    for (size_t i = 0; i < board->problem.group_count * nodes; i++)
        board->allowed[i] = below(3) > 0;
    for (size_t i = 0; i < board->problem.item_count; i++)
        board->items[i] = (struct rebalance_item){.group = below(board->problem.group_count),
                                                  .node = below(2) > 0 ? 0 : below(nodes),
                                                  .movable = below(5) > 0};
}

/* Squares times a hundred, plus moves; -1 when an item is where it may not be. */
static long cost_of(const struct board *board, const size_t *places)
{
    size_t loads[NODES_MOST];
    long cost = 0;
    for (size_t i = 0; i < board->problem.item_count; i++) {
        const struct rebalance_item *item = &board->items[i];
        if (places[i] == item->node)
            continue;
        if (!item->movable || !board->allowed[item->group * board->problem.node_count + places[i]])
            return -1;
        cost++;
    }
    count_loads(board, places, loads);
    for (size_t i = 0; i < board->problem.node_count; i++)
        cost += (long)(100 * loads[i] * loads[i]);
    return cost;
}

static long best_cost(const struct board *board)
{
    size_t places[ITEMS_MOST] = {0};
    long best = -1;
    for (;;) {
        long cost = cost_of(board, places);
        best = cost >= 0 && (best < 0 || cost < best) ? cost : best;
        size_t i = 0;
        while (i < board->problem.item_count && ++places[i] == board->problem.node_count)
            places[i++] = 0;
        if (i == board->problem.item_count)
            return best;
    }
}

/* Carried out, a plan leaves nothing to do. */
static void expect_no_second(struct board *board)
{
    for (size_t i = 0; i < board->problem.item_count; i++)
        board->items[i].node = board->result[i];
    run(board);
    assert_int_equal(count_moves(board), 0);
}

static void expect_best(unsigned int number)
{
    static struct board board;
    seed = number;
    make_random(&board);
    long best = best_cost(&board);
    run(&board);
    if (cost_of(&board, board.result) != best)
        fail_msg("seed %u: %ld instead of %ld", number, cost_of(&board, board.result), best);
    expect_no_second(&board);
}

static void test_random(void **state)
{
    (void)state;
    unsigned int first = (unsigned int)time(NULL);
    for (unsigned int i = 0; i < 2000; i++)
        expect_best(first + i);
}

/* An address had left a node where it may stay, but may not go, and didn't come back to it when
 * another could move instead. */
static void test_back_home(void **state)
{
    (void)state;
    expect_best(1795966364);
}

/* Whether an address could still move to a node that has two fewer. */
static bool is_uneven(const struct board *board)
{
    static size_t loads[64];
    count_loads(board, board->result, loads);
    for (size_t i = 0; i < board->problem.item_count; i++)
        for (size_t to = 0; to < board->problem.node_count; to++)
            if (board->items[i].movable &&
                board->allowed[board->items[i].group * board->problem.node_count + to] &&
                loads[board->result[i]] >= loads[to] + 2)
                return true;
    return false;
}

static void test_large(void **state)
{
    (void)state;
    static struct board board;
    seed = (unsigned int)time(NULL);
    memset(&board, 0, sizeof(board));
    board.problem = (struct rebalance_problem){.node_count = 40,
                                               .group_count = 8,
                                               .items = board.items,
                                               .item_count = 1000,
                                               .allowed = board.allowed};
    for (size_t i = 0; i < 8UL * 40; i++)
        board.allowed[i] = below(2) > 0;
    for (size_t i = 0; i < 1000; i++)
        board.items[i] =
            (struct rebalance_item){.group = below(8), .node = below(10), .movable = true};
    run(&board);
    if (is_uneven(&board))
        fail_msg("uneven");
    expect_no_second(&board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_back_home),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
