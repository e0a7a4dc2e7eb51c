/* Any text as a kubeconfig: it is refused with a text or gives a configuration that passes its own
 * checks. The file is said to lie in a folder that doesn't exist, so that nothing of the machine is
 * read. */
#undef NDEBUG /* the assertions are what this is for, in every build */

#include "k8s/config_private.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct k8s_config *config = calloc(1, sizeof(*config));
    struct error error = {0};
    if (config == NULL)
        return 0;
    int result = k8s_kubeconfig_parse((const char *)data, size, "/nonexistent/folder/config", NULL,
                                      config, &error);
    if (result == 0) {
        assert(config->server != NULL && strncmp(config->server, "http", 4) == 0);
        assert(config->namespace_name != NULL);
        assert((config->client_cert_pem == NULL) == (config->client_key_pem == NULL));
        assert(k8s_config_check(config, "again", &error) == 0);
    } else {
        assert(result < 0 && error.code == result && error.text[0] != '\0');
    }
    k8s_config_free(config);
    return 0;
}
