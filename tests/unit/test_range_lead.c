/* How far a leader has taken over a range: only the object and the epoch that it has noted are its
 * own, a list of the requests comes first where others granted before, and what is pending comes
 * next. */
#include "tests/unit/ipam_fixture.h"

#include "server/reconcile/range_lead.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct reconciler reconciler;

enum step {
    NO_STEP,
    NOTE_OPEN,   /* the epoch of a/lan, uid r-1, has been raised to 2; nobody granted before */
    NOTE_LISTED, /* the same; others have granted */
    NOTE_OTHER,  /* that of a/wan, with a list */
    ASK,         /* for the next list, which is the fence then */
    BEGIN,       /* a list begins */
    END,         /* and ends */
    HONOUR,
    HONOUR_OTHER,
    FORGET,
    FORGET_OTHER,
    FORGET_ALL,
};

static void take(enum step step)
{
    switch (step) {
    case NO_STEP:
        break;
    case NOTE_OPEN:
    case NOTE_LISTED:
        assert_int_equal(range_lead_note(&reconciler, "a/lan", "r-1", 2,
                                         step == NOTE_OPEN ? RANGE_LEAD_OPEN : RANGE_LEAD_LISTED),
                         0);
        break;
    case NOTE_OTHER:
        assert_int_equal(range_lead_note(&reconciler, "a/wan", "r-9", 2, RANGE_LEAD_LISTED), 0);
        break;
    case ASK:
        range_leads_set_fence(&reconciler, world->round[STATE_REQUESTS] + 1);
        break;
    case BEGIN:
        state_replace_begin(world, STATE_REQUESTS);
        break;
    case END:
        state_replace_end(world, STATE_REQUESTS);
        break;
    case HONOUR:
        range_lead_note_honoured(&reconciler, "a/lan");
        break;
    case HONOUR_OTHER:
        range_lead_note_honoured(&reconciler, "a/wan");
        break;
    case FORGET:
        range_lead_forget(&reconciler, "a/lan");
        break;
    case FORGET_OTHER:
        range_lead_forget(&reconciler, "a/wan");
        break;
    case FORGET_ALL:
        range_leads_forget(&reconciler);
        break;
    }
}

static enum range_lead_state state_now(const char *uid, int epoch)
{
    char status[32];
    snprintf(status, sizeof(status), "'epoch':%d", epoch);
    put_range_with("lan", uid, "", "'ranges':['10.0.0.0/24']", status);
    mutex_guard(&world->mutex);
    return range_lead_state(&reconciler, state_range(world, "a/lan")->range);
}

static void a_range_is_taken_over_step_by_step(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        enum step steps[8];
        const char *uid; /* of the range as it is known; NULL: r-1 */
        int epoch;       /* likewise; 0: 2 */
        enum range_lead_state expected;
    } cases[] = {
        {"nothing was noted", {NO_STEP}, NULL, 0, RANGE_LEAD_NONE},
        {"another range was",
         {NOTE_OTHER, ASK, BEGIN, END, HONOUR_OTHER},
         NULL,
         0,
         RANGE_LEAD_NONE},
        {"a first leader needs no list", {NOTE_OPEN}, NULL, 0, RANGE_LEAD_NEW},
        {"and is ready when it has honoured", {NOTE_OPEN, HONOUR}, NULL, 0, RANGE_LEAD_READY},
        {"another was honoured", {NOTE_OPEN, NOTE_OTHER, HONOUR_OTHER}, NULL, 0, RANGE_LEAD_NEW},
        {"no list was asked for", {NOTE_LISTED}, NULL, 0, RANGE_LEAD_FENCED},
        {"a list that nobody asked for", {NOTE_LISTED, BEGIN, END}, NULL, 0, RANGE_LEAD_FENCED},
        {"a list that had begun", {BEGIN, NOTE_LISTED, ASK, END}, NULL, 0, RANGE_LEAD_FENCED},
        {"the list hasn't begun", {NOTE_LISTED, ASK}, NULL, 0, RANGE_LEAD_FENCED},
        {"the list hasn't ended", {NOTE_LISTED, ASK, BEGIN}, NULL, 0, RANGE_LEAD_FENCED},
        {"the list has ended", {NOTE_LISTED, ASK, BEGIN, END}, NULL, 0, RANGE_LEAD_NEW},
        {"a later one has", {NOTE_LISTED, ASK, BEGIN, BEGIN, END}, NULL, 0, RANGE_LEAD_NEW},
        {"honoured behind its fence",
         {NOTE_LISTED, ASK, BEGIN, END, HONOUR},
         NULL,
         0,
         RANGE_LEAD_READY},
        {"asked for before it was noted",
         {ASK, NOTE_LISTED, BEGIN, END},
         NULL,
         0,
         RANGE_LEAD_FENCED},
        {"the next list is another's",
         {NOTE_LISTED, ASK, NOTE_OTHER, BEGIN, ASK, END},
         NULL,
         0,
         RANGE_LEAD_NEW},
        {"another leader's epoch", {NOTE_OPEN, HONOUR}, NULL, 3, RANGE_LEAD_NONE},
        {"an epoch from before", {NOTE_OPEN, HONOUR}, NULL, 1, RANGE_LEAD_NONE},
        {"another object of that name", {NOTE_OPEN, HONOUR}, "r-2", 0, RANGE_LEAD_NONE},
        {"noted anew", {NOTE_OPEN, HONOUR, NOTE_LISTED}, NULL, 0, RANGE_LEAD_FENCED},
        {"noted anew, and honoured", {NOTE_LISTED, NOTE_OPEN, HONOUR}, NULL, 0, RANGE_LEAD_READY},
        {"forgotten", {NOTE_OPEN, HONOUR, FORGET}, NULL, 0, RANGE_LEAD_NONE},
        {"another was forgotten",
         {NOTE_OPEN, NOTE_OTHER, HONOUR, FORGET_OTHER},
         NULL,
         0,
         RANGE_LEAD_READY},
        {"a new term", {NOTE_OPEN, NOTE_OTHER, HONOUR, FORGET_ALL}, NULL, 0, RANGE_LEAD_NONE},
        {"honoured, but not noted", {HONOUR, FORGET, ASK}, NULL, 0, RANGE_LEAD_NONE},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        take(FORGET_ALL);
        for (size_t j = 0; j < COUNT(cases[i].steps); j++)
            take(cases[i].steps[j]);
        enum range_lead_state found = state_now(cases[i].uid != NULL ? cases[i].uid : "r-1",
                                                cases[i].epoch != 0 ? cases[i].epoch : 2);
        if (found != cases[i].expected)
            fail_msg("%s: %d, not %d", cases[i].what, found, cases[i].expected);
    }
}

static int lead_set_up(void **state)
{
    ipam_set_up(state);
    reconciler = (struct reconciler){.options = {.state = world}, .leads = map_new()};
    assert_non_null(reconciler.leads);
    mutex_init(&reconciler.mutex);
    return 0;
}

static int lead_tear_down(void **state)
{
    range_leads_forget(&reconciler);
    assert_int_equal(map_count(reconciler.leads), 0);
    map_free(reconciler.leads);
    mutex_destroy(&reconciler.mutex);
    return ipam_tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_range_is_taken_over_step_by_step, lead_set_up,
                                        lead_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
