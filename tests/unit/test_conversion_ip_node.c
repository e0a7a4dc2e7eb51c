/* IpNode in v1 and v2. */
#include "tests/unit/conversion_fixture.h"

static const struct conversion_kind *const kind = &conversion_ip_node;

static void says_the_same_in_both(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        {{.body = "'revision':'17'"},
         {.body = "'spec':{'nodeName':'x'},'status':{'revision':'17'}"}},
        {{.body = ""}, {.body = "'spec':{'nodeName':'x'}"}},
        {{.body = "'revision':17"}, {.body = "'spec':{'nodeName':'x'},'status':{'revision':17}"}},
        /* A host name with dots, of which the older system made dashes. */
        {{.body = "", .data = "{'v2':{'spec':{'nodeName':'x.example.com'}}}"},
         {.body = "'spec':{'nodeName':'x.example.com'}"}},
        {{.body = "'revision':'18','status':{'addresses':['10.0.0.1'],'heartbeatInterval':'2s'}"},
         {.body = "'spec':{'nodeName':'x'},'status':{'revision':'18','addresses':['10.0.0.1'],"
                  "'heartbeatInterval':'2s'}"}},
        {{.body = "'status':{}"}, {.body = "'spec':{'nodeName':'x'},'status':{}"}},
        {{.body = "'spec':{'a':1},'more':[]"},
         {.body = "'spec':{'nodeName':'x'}", .data = "{'v1':{'spec':{'a':1},'more':[]}}"}},
        {{.body = "", .data = "{'v2':{'spec':{'nodeName':null,'zone':'a'}}}"},
         {.body = "'spec':{'zone':'a'}"}},
    };
    check_pairs(kind, pairs, COUNT(pairs));
}

static void counts_the_beats_of_an_older_agent(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {{.body = "'revision':'19','status':{'addresses':['10.0.0.1'],'heartbeatInterval':'2s'}",
          .data = "{'v2':{'spec':{'nodeName':'x.example.com','zone':'a'}}}"},
         {.body = "'spec':{'nodeName':'x.example.com','zone':'a'},'status':{'revision':'19',"
                  "'addresses':['10.0.0.1'],'heartbeatInterval':'2s'}"}},
        /* A revision beside the older version's own is none. */
        {{.body = "'revision':'19','status':{'revision':'99'}"},
         {.body = "'spec':{'nodeName':'x'},'status':{'revision':'19'}"}},
    };
    check_steps(kind, CONVERSION_CURRENT, steps, COUNT(steps));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_the_same_in_both),
        cmocka_unit_test(counts_the_beats_of_an_older_agent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
