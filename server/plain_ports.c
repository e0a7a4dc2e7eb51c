/* Listeners, routes, and the file of the ports. */
#include "server/plain_ports.h"

#include "server/base/buffer.h"
#include "server/base/json_writer.h"
#include "server/http/listener.h"
#include "server/http/router.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS 256
#define IDLE_SECONDS 60
#define METRICS_MOST (64U * 1024 * 1024)

static void handle_metrics(void *context, struct http_request *request)
{
    struct metrics *metrics = context;
    struct buffer body;
    size_t length;
    buffer_init(&body, METRICS_MOST);
    metrics_render(metrics, &body);
    char *text = buffer_steal(&body, &length);
    if (text == NULL)
        http_request_answer_text(request, 500, "out of memory\n");
    else
        http_request_answer(request, 200, METRICS_CONTENT_TYPE, text, length);
}

/* A listener without TLS and without bodies: one of the two that anybody in the cluster reaches. */
static int start_listener(const struct plain_ports_options *options, const char *address,
                          struct http_router *router, struct http_listener **ret_listener,
                          struct error *error)
{
    struct http_listener_options listener = {
        .address = address,
        .threads = 1,
        .connection_most = options->connection_most > 0 ? options->connection_most : CONNECTIONS,
        .idle_seconds = IDLE_SECONDS,
        .clock = options->clock,
        .judge = http_router_judge,
        .handler = http_router_handle,
        .context = router,
    };
    return http_listener_start(&listener, ret_listener, error);
}

int plain_ports_start(struct plain_ports *ports, const struct plain_ports_options *options,
                      void (*prepare)(struct health *health), struct error *error)
{
    *ports = (struct plain_ports){.health = health_new(),
                                  .health_router = http_router_new(),
                                  .metrics_router = http_router_new()};
    if (ports->health == NULL || ports->health_router == NULL || ports->metrics_router == NULL ||
        health_routes(ports->health, ports->health_router) < 0 ||
        health_routes(ports->health, ports->metrics_router) < 0 ||
        http_router_add(ports->metrics_router, "GET", "/metrics", handle_metrics,
                        options->metrics) < 0)
        return error_no_memory(error);
    health_set_alive(ports->health, options->alive, options->context);
    if (prepare != NULL)
        prepare(ports->health);
    int result = start_listener(options, options->health_listen, ports->health_router,
                                &ports->health_listener, error);
    if (result < 0)
        return error_prefix(error, "--health-listen");
    result = start_listener(options, options->metrics_listen, ports->metrics_router,
                            &ports->metrics_listener, error);
    return result < 0 ? error_prefix(error, "--metrics-listen") : 0;
}

void plain_ports_stop(struct plain_ports *ports)
{
    http_listener_stop(ports->health_listener);
    http_listener_stop(ports->metrics_listener);
    ports->health_listener = NULL;
    ports->metrics_listener = NULL;
}

void plain_ports_free(struct plain_ports *ports)
{
    plain_ports_stop(ports);
    http_router_free(ports->health_router);
    http_router_free(ports->metrics_router);
    health_free(ports->health);
    *ports = (struct plain_ports){0};
}

void plain_ports_bound(const struct plain_ports *ports, struct plain_port ret_ports[2])
{
    ret_ports[0] = (struct plain_port){"metrics", http_listener_port(ports->metrics_listener)};
    ret_ports[1] = (struct plain_port){"health", http_listener_port(ports->health_listener)};
}

/* To free(); NULL when out of memory. */
static char *file_text(const struct plain_port *ports, size_t count)
{
    struct buffer text;
    struct json_writer writer;
    buffer_init(&text, 1024);
    json_writer_init(&writer, &text);
    json_begin_object(&writer);
    for (size_t i = 0; i < count; i++)
        json_member_integer(&writer, ports[i].name, ports[i].port);
    json_end_object(&writer);
    buffer_append_char(&text, '\n');
    return buffer_steal(&text, NULL);
}

int plain_ports_write_file(const char *path, const struct plain_port *ports, size_t count,
                           struct error *error)
{
    char temporary[4096];
    if (path == NULL)
        return 0;
    char *text = file_text(ports, count);
    if (text == NULL)
        return error_no_memory(error);
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    FILE *file = fopen(temporary, "we");
    if (file == NULL) {
        free(text);
        return error_set(error, -errno, "--ports-file: %s: %s", temporary, strerror(errno));
    }
    fputs(text, file);
    free(text);
    if (fclose(file) != 0 || rename(temporary, path) != 0)
        return error_set(error, -errno, "--ports-file: %s: %s", path, strerror(errno));
    return 0;
}
