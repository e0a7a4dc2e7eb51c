/* IPAMRange and IPAMRequest in v1alpha1 and v1beta1. */
#include "tests/unit/conversion_fixture.h"

#define READY(status, reason) "{'type':'Ready','status':'" status "','reason':'" reason "'}"
#define SAYS(status, reason, message)                                                              \
    "{'type':'Ready','status':'" status "','reason':'" reason "','message':'" message "'}"
#define TIMED(status, reason)                                                                      \
    "{'type':'Ready','status':'" status "','reason':'" reason                                      \
    "','lastTransitionTime':'2026-01-01T00:00:00Z','message':''}"

static void ranges_say_the_same_in_both(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        {{.body = "'spec':{'ranges':['10.0.0.0/16'],'mode':'RoundRobin','chunkSize':24}"},
         {.body =
              "'spec':{'ranges':['10.0.0.0/16'],'mode':'RoundRobin','defaultPrefixLength':24}"}},
        {{.body = "'spec':{'ranges':['10.0.0.0/16']},'status':{'state':'Ready','roundRobin':"
                  "['10.0.0.1/32']}"},
         {.body = "'spec':{'ranges':['10.0.0.0/16']},'status':{'conditions':[" READY(
              "True", "Serving") "],'roundRobin':['10.0.0.1/32']}"}},
        {{.body = "'status':{'state':'Invalid','message':'no'}"},
         {.body = "'status':{'conditions':[" SAYS("False", "Invalid", "no") "]}"}},
        {{.body = "'status':{'state':'Deleting'}"},
         {.body = "'status':{'conditions':[" READY("False", "Deleting") "]}"}},
        /* What v1alpha1 has no word for is shown as it is. */
        {{.body = "'status':{'state':'Ready','conditions':[" TIMED("True", "Serving") "],'total':"
                                                                                      "65536,"
                                                                                      "'epoch':3}"},
         {.body =
              "'status':{'conditions':[" TIMED("True", "Serving") "],'total':65536,'epoch':3}"}},
        {{.body = "'status':{'state':'Ready','conditions':[" READY("True", "Else") "]}"},
         {.body = "'status':{'conditions':[" READY("True", "Else") "]}"}},
        {{.body = "'status':{'state':'Error','conditions':[" READY("False", "Else") "]}"},
         {.body = "'status':{'conditions':[" READY("False", "Else") "]}"}},
        {{.body = "'status':{'conditions':[" READY("Unknown", "Else") "]}"},
         {.body = "'status':{'conditions':[" READY("Unknown", "Else") "]}"}},
        {{.body = "'status':{'conditions':[{'type':'Other','status':'True'}]}"},
         {.body = "'status':{'conditions':[{'type':'Other','status':'True'}]}"}},
        {{.body = "'status':{}"}, {.body = "'status':{}"}},
        /* A state that is none. */
        {{.body = "'status':{'state':'Up','message':'m'}"},
         {.body = "", .data = "{'v1alpha1':{'status':{'state':'Up','message':'m'}}}"}},
        {{.body = "'spec':{'chunkSize':'x','ranges':7}"},
         {.body = "'spec':{'defaultPrefixLength':'x','ranges':7}"}},
        {{.body = "'spec':null"}, {.body = "'spec':null"}},
        {{.body = ""}, {.body = ""}},
    };
    check_pairs(&conversion_ipam_range, pairs, COUNT(pairs));
}

static void requests_say_the_same_in_both(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        {{.body = "'spec':{'ipam':{'name':'lan','namespace':'net'},'size':24,'description':'d'}"},
         {.body = "'spec':{'range':{'name':'lan','namespace':'net'},'request':'24','description':"
                  "'d'}"}},
        {{.body = "'spec':{'ipam':{'name':'lan'}}"}, {.body = "'spec':{'range':{'name':'lan'}}"}},
        {{.body = "'spec':{'ipam':{'name':'lan'},'request':'10.1.2.0/24'}"},
         {.body = "'spec':{'range':{'name':'lan'},'request':'10.1.2.0/24'}"}},
        {{.body = "'spec':{'request':'5/24'}"}, {.body = "'spec':{'request':'5/24'}"}},
        {{.body = "'spec':{'request':'#300'}"}, {.body = "'spec':{'request':'#300'}"}},
        {{.body = "'spec':{'request':'%8'}"}, {.body = "'spec':{'request':'%8'}"}},
        {{.body = "'spec':{'request':'/24'}"}, {.body = "'spec':{'request':'/24'}"}},
        {{.body = "'spec':{'request':'024'}"}, {.body = "'spec':{'request':'024'}"}},
        /* The request wins over the size. */
        {{.body = "'spec':{'size':24,'request':'10.1.2.7'}"},
         {.body = "'spec':{'request':'10.1.2.7'}", .data = "{'v1alpha1':{'spec':{'size':24}}}"}},
        {{.body = "'spec':{'size':0}"},
         {.body = "'spec':{}", .data = "{'v1alpha1':{'spec':{'size':0}}}"}},
        {{.body = "'spec':{'size':-3,'request':''}"},
         {.body = "'spec':{}", .data = "{'v1alpha1':{'spec':{'size':-3,'request':''}}}"}},
        {{.body = "'spec':{'size':24.5}"},
         {.body = "'spec':{}", .data = "{'v1alpha1':{'spec':{'size':24.5}}}"}},
        {{.body = "'spec':{'size':99999999999999999999}"},
         {.body = "'spec':{}", .data = "{'v1alpha1':{'spec':{'size':99999999999999999999}}}"}},
        {{.body = "'spec':{'request':'', 'range':1}", .data = NULL},
         {.body = "'spec':{}", .data = "{'v1alpha1':{'spec':{'request':'','range':1}}}"}},
        {{.body = "'spec':{'request':'999999999999'}"},
         {.body = "'spec':{'request':'999999999999'}"}},
        {{.body = "'spec':{'size':24}", .data = "{'v1beta1':{'spec':{'more':1.10}}}"},
         {.body = "'spec':{'request':'24','more':1.10}"}},
        {{.body = "'status':{'cidr':'10.1.2.0/24','state':'Ready'}"},
         {.body = "'status':{'cidr':'10.1.2.0/24','conditions':[" READY("True", "Ready") "]}"}},
        {{.body = "'status':{'state':'Busy','message':'no room'}"},
         {.body = "'status':{'conditions':[" SAYS("False", "Busy", "no room") "]}"}},
        {{.body = "'status':{'state':'Busy','conditions':[" READY("False", "RangeNotFound") "]}"},
         {.body = "'status':{'conditions':[" READY("False", "RangeNotFound") "]}"}},
        {{.body = "'status':{'state':'Error','conditions':[" READY("False", "Conflict") "]}"},
         {.body = "'status':{'conditions':[" READY("False", "Conflict") "]}"}},
        {{.body = "'status':{'state':'Error'}"},
         {.body = "'status':{'conditions':[" READY("False", "Error") "]}"}},
    };
    check_pairs(&conversion_ipam_request, pairs, COUNT(pairs));
}

static void a_state_that_is_written_wins(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {{.body = "'status':{'state':'Busy','message':'now','conditions':[" TIMED(
              "True", "Ready") ",{'type':'Other','status':'True'}],'epoch':3}"},
         {.body = "'status':{'conditions':[" SAYS("False", "Busy", "now") ",{'type':'Other',"
                                                                          "'status':'True'}],"
                                                                          "'epoch':3}"}},
        /* An empty message is none. */
        {{.body =
              "'status':{'state':'Ready','message':'','conditions':[" TIMED("True", "Ready") "]}"},
         {.body = "'status':{'conditions':[" TIMED("True", "Ready") "]}",
          .data = "{'v1alpha1':{'status':{'message':''}}}"}},
    };
    check_steps(&conversion_ipam_request, CONVERSION_CURRENT, steps, COUNT(steps));
}

/* Whoever may write an object may write its annotations, but not its status. */
static void takes_no_status_from_conversion_data(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {{.body = "'status':{'state':'Busy'}",
          .data =
              "{'v1beta1':{'status':{'epoch':9,'pending':[{'cidr':'10.0.0.0/24'}],'conditions':["
              "{'type':'Ready','status':'True','reason':'Serving'}]}}}"},
         {.body = "'status':{'conditions':[" READY("False", "Busy") "]}"}},
    };
    check_steps(&conversion_ipam_range, CONVERSION_CURRENT, steps, COUNT(steps));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_say_the_same_in_both),
        cmocka_unit_test(requests_say_the_same_in_both),
        cmocka_unit_test(a_state_that_is_written_wins),
        cmocka_unit_test(takes_no_status_from_conversion_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
