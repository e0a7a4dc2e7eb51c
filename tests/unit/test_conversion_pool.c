/* IpClaimPool in v1 and v2. */
#include "tests/unit/conversion_fixture.h"

static const struct conversion_kind *const kind = &conversion_pool;

static void says_the_same_in_both(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        {{.body = "'spec':{'cidr':'10.0.0.0/24'}"},
         {.body = "'spec':{'addresses':['10.0.0.0/24']}"}},
        {{.body = "'spec':{'cidr':'2001:db8::/120'}"},
         {.body = "'spec':{'addresses':['2001:db8::/120']}"}},
        {{.body = "'spec':{'cidr':'10.0.0.0/24','allocated':{'10.0.0.2':'10-0-0-2-24'}}"},
         {.body = "'spec':{'addresses':['10.0.0.0/24'],'allocated':{'10.0.0.2':'10-0-0-2-24'}}"}},
        /* The network that v1 would be shown for these, and so nothing is carried. */
        {{.body = "'spec':{'cidr':'10.0.0.0/28','ranges':[['10.0.0.2','10.0.0.9']]}"},
         {.body = "'spec':{'addresses':['10.0.0.2-10.0.0.9']}"}},
        {{.body = "'spec':{'cidr':'10.0.0.0/24','ranges':[['10.0.0.2','10.0.0.9'],['10.0.0.11',"
                  "'10.0.0.11']]}"},
         {.body = "'spec':{'addresses':['10.0.0.2-10.0.0.9','10.0.0.11']}",
          .data = "{'v1':{'spec':{'cidr':'10.0.0.0/24'}}}"}},
        /* A network that is written by one of its addresses. */
        {{.body = "'spec':{'cidr':'10.0.0.7/24'}"},
         {.body = "'spec':{'addresses':['10.0.0.0/24']}",
          .data = "{'v1':{'spec':{'cidr':'10.0.0.7/24'}}}"}},
        {{.body = "'spec':{'cidr':'10.0.0.0/24'}",
          .data = "{'v2':{'spec':{'addresses':['10.0.0.0/24','2001:db8::/120']}}}"},
         {.body = "'spec':{'addresses':['10.0.0.0/24','2001:db8::/120']}"}},
        {{.body = "'spec':{'cidr':'10.0.0.0/23','ranges':[['10.0.0.1','10.0.0.254'],['10.0.1.7',"
                  "'10.0.1.7']]}",
          .data = "{'v2':{'spec':{'addresses':['10.0.0.0/24','10.0.1.7'],'priority':1.10}}}"},
         {.body = "'spec':{'addresses':['10.0.0.0/24','10.0.1.7'],'priority':1.10}"}},
        {{.body = "'spec':{'cidr':'10.0.0.0/24','ranges':[['10.0.0.0','10.0.0.255']]}",
          .data = "{'v2':{'spec':{'addresses':['10.0.0.0/24'],'useNetworkAndBroadcast':true}}}"},
         {.body = "'spec':{'addresses':['10.0.0.0/24'],'useNetworkAndBroadcast':true}"}},
        /* v1's network stays when v2 adds what v1 doesn't see. */
        {{.body = "'spec':{'cidr':'10.0.0.0/16','ranges':[['10.0.0.2','10.0.0.9']]}",
          .data = "{'v2':{'spec':{'addresses':['10.0.0.2-10.0.0.9','2001:db8::/120']}}}"},
         {.body = "'spec':{'addresses':['10.0.0.2-10.0.0.9','2001:db8::/120']}",
          .data = "{'v1':{'spec':{'cidr':'10.0.0.0/16'}}}"}},
        /* Pools as v2 had them before it had a list. */
        {{.body = "'spec':{'cidr':'10.0.0.0/24'}",
          .data = "{'v2':{'spec':{'addresses':null,'cidr':'10.0.0.0/24'}}}"},
         {.body = "'spec':{'cidr':'10.0.0.0/24'}"}},
        {{.body = "'spec':{'cidr':'10.0.0.0/24','ranges':[['10.0.0.4','10.0.0.7'],['10.0.0.9',"
                  "'10.0.0.12']]}",
          .data = "{'v2':{'spec':{'addresses':null,'cidr':'10.0.0.0/24','ranges':['10.0.0.4/30',"
                  "'10.0.0.9-10.0.0.12']}}}"},
         {.body = "'spec':{'cidr':'10.0.0.0/24','ranges':['10.0.0.4/30','10.0.0.9-10.0.0.12']}"}},
        /* From a request that has no sub-network yet, and one that has. */
        {{.body = "'spec':{'cidr':'0.0.0.0/32'}",
          .data = "{'v2':{'spec':{'addresses':null,'fromRequest':{'name':'n','namespace':'s'}}}}"},
         {.body = "'spec':{'fromRequest':{'name':'n','namespace':'s'}}"}},
        {{.body = "'spec':{'cidr':'10.4.0.0/24'},'status':{'request':{'cidr':'10.4.0.0/24'}}",
          .data = "{'v2':{'spec':{'addresses':null,'fromRequest':{'name':'n','namespace':'s'}},"
                  "'status.request.cidr':'10.4.0.0/24'}}"},
         {.body = "'spec':{'fromRequest':{'name':'n','namespace':'s'}},"
                  "'status':{'request':{'cidr':'10.4.0.0/24'}}"}},
        /* What only one version has. */
        {{.body = "'spec':{'cidr':'10.0.0.0/24'}",
          .data = "{'v2':{'spec':{'mode':'RoundRobin','quota':12345678901234567890}}}"},
         {.body = "'spec':{'addresses':['10.0.0.0/24'],'mode':'RoundRobin',"
                  "'quota':12345678901234567890}"}},
        {{.body = "'spec':{'cidr':'10.0.0.0/24','old':[1.0]},'extra':7"},
         {.body = "'spec':{'addresses':['10.0.0.0/24']}",
          .data = "{'v1':{'spec':{'old':[1.0]},'extra':7}}"}},
        {{.body = "'spec':{'cidr':'10.0.0.0/24'},'status':{'ipv4':{'used':3}}"},
         {.body = "'spec':{'addresses':['10.0.0.0/24']},'status':{'ipv4':{'used':3}}"}},
    };
    check_pairs(kind, pairs, COUNT(pairs));
}

static void carries_nonsense(void **state)
{
    (void)state;
    static const struct said older[] = {
        {.body = ""},
        {.body = "'spec':{}"},
        {.body = "'spec':{'cidr':7}"},
        {.body = "'spec':{'cidr':['10.0.0.0/24'],'ranges':'all'}"},
        {.body = "'spec':{'cidr':'elsewhere','ranges':[]}"},
        {.body = "'spec':{'cidr':'10.0.0.0/24','ranges':[['10.0.0.2']]}"},
        {.body =
             "'spec':{'cidr':'10.0.0.0/24','ranges':[['10.0.0.2','10.0.0.3','10.0.0.4'],7,{}]}"},
        {.body = "'spec':{'cidr':'10.0.0.0/24','ranges':[['10.0.0.9','10.0.0.3']]}"},
        {.body = "'spec':{'cidr':'10.0.0.0/24','allocated':[1e400]}"},
        {.body = "'status':[]"},
        {.body = "'status':{}"},
        {.body = "'spec':[]"},
        {.body = "'spec':null"},
    };
    static const struct said current[] = {
        {.body = "'spec':{}"},
        {.body = "'spec':{'addresses':7}"},
        {.body = "'spec':{'addresses':[7,'x','10.0.0.1-2001:db8::','10.0.0.9-10.0.0.1','10.0.0.0/"
                 "64']}"},
        {.body = "'spec':{'addresses':['10.0.0.0/24'],'useNetworkAndBroadcast':'yes'}"},
        {.body = "'spec':{'addresses':['0.0.0.0-255.255.255.255','::-ffff::']}"},
        {.body = "'spec':{'addresses':['::/0','0.0.0.0/0']}"},
        {.body = "'spec':{'addresses':[],'cidr':{},'ranges':{'a':1}}"},
        {.body = "'spec':{'fromRequest':1},'status':{'request':{'cidr':{}}}"},
    };
    for (size_t i = 0; i < COUNT(older) + COUNT(current); i++) {
        bool is_older = i < COUNT(older);
        enum conversion_version version = is_older ? CONVERSION_OLDER : CONVERSION_CURRENT;
        char *object =
            make_object(kind, version, is_older ? &older[i] : &current[i - COUNT(older)]);
        char *there = convert(kind, other(version), object);
        char *back = convert(kind, version, there);
        assert_same_json(back, object);
        free(object);
        free(there);
        free(back);
    }
}

static void lets_an_edit_of_the_older_version_win(void **state)
{
    (void)state;
    static const struct step steps[] = {
        /* Another network: what v1 doesn't see stays. */
        {{.body = "'spec':{'cidr':'10.9.0.0/24'}",
          .data = "{'v2':{'spec':{'addresses':['10.0.0.0/24','2001:db8::/120'],'priority':4}}}"},
         {.body = "'spec':{'addresses':['10.9.0.0/24','2001:db8::/120'],'priority':4}"}},
        {{.body = "'spec':{'cidr':'2001:db8:9::/120'}",
          .data = "{'v2':{'spec':{'addresses':['2001:db8::/120','10.0.0.0/24'],"
                  "'useNetworkAndBroadcast':true}}}"},
         {.body = "'spec':{'addresses':['2001:db8:9::/120','10.0.0.0/24'],"
                  "'useNetworkAndBroadcast':true}"}},
        /* Of the other family: what v1 doesn't see would be taken for the edit. */
        {{.body = "'spec':{'cidr':'10.9.0.0/24'}",
          .data = "{'v2':{'spec':{'addresses':['2001:db8::/120','10.0.0.0/24']}}}"},
         {.body = "'spec':{'addresses':['10.9.0.0/24']}"}},
        /* Pairs are added. */
        {{.body = "'spec':{'cidr':'10.0.0.0/24','ranges':[['10.0.0.2','10.0.0.9']]}",
          .data = "{'v2':{'spec':{'addresses':['10.0.0.0/24'],'useNetworkAndBroadcast':true}}}"},
         {.body = "'spec':{'addresses':['10.0.0.2-10.0.0.9']}",
          .data = "{'v1':{'spec':{'cidr':'10.0.0.0/24'}}}"}},
        /* A pool of a request gets addresses of its own. */
        {{.body = "'spec':{'cidr':'10.9.0.0/24'}",
          .data = "{'v2':{'spec':{'addresses':null,'fromRequest':{'name':'n','namespace':'s'},"
                  "'mode':'RoundRobin'}}}"},
         {.body = "'spec':{'addresses':['10.9.0.0/24'],'mode':'RoundRobin'}"}},
    };
    check_steps(kind, CONVERSION_CURRENT, steps, COUNT(steps));
}

static void lets_an_edit_of_the_current_version_win(void **state)
{
    (void)state;
    static const struct step steps[] = {
        /* v1's network stays while it isn't touched. */
        {{.body = "'spec':{'addresses':['10.0.0.2-10.0.0.9','10.0.0.20']}",
          .data = "{'v1':{'spec':{'cidr':'10.0.0.0/16'}}}"},
         {.body = "'spec':{'cidr':'10.0.0.0/16','ranges':[['10.0.0.2','10.0.0.9'],['10.0.0.20',"
                  "'10.0.0.20']]}"}},
        /* What an API server fills in is no edit. */
        {{.body = "'spec':{'addresses':['10.0.0.0/24'],'useNetworkAndBroadcast':false}",
          .data = "{'v1':{'spec':{'cidr':'10.0.0.7/24'}}}"},
         {.body = "'spec':{'cidr':'10.0.0.7/24'}",
          .data = "{'v2':{'spec':{'useNetworkAndBroadcast':false}}}"}},
        {{.body = "'spec':{'addresses':['10.9.0.0/24']}",
          .data = "{'v1':{'spec':{'cidr':'10.0.0.0/16','old':true}}}"},
         {.body = "'spec':{'cidr':'10.9.0.0/24','old':true}"}},
    };
    check_steps(kind, CONVERSION_OLDER, steps, COUNT(steps));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_the_same_in_both),
        cmocka_unit_test(carries_nonsense),
        cmocka_unit_test(lets_an_edit_of_the_older_version_win),
        cmocka_unit_test(lets_an_edit_of_the_current_version_win),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
