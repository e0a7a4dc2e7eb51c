/* Only in builds for tests. */
#include "server/reconcile/test_hook.h"

#ifdef IPWARDEN_TEST_HOOKS
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void test_hook(const char *name)
{
    char path[4096];
    const char *directory = getenv("IPWARDEN_STOP_AT");
    if (directory == NULL)
        return;
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    if (unlink(path) == 0)
        raise(SIGSTOP);
}
#else
/* ISO C forbids an empty file. */
extern int test_hook_is_absent;
#endif
