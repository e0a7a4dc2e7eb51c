/* What an answer of the API server, or the lack of one, means in the error codes of client.h. Any
 * thread. */
#ifndef IPWARDEN_K8S_ANSWER_H
#define IPWARDEN_K8S_ANSWER_H

#include "server/base/error.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>

struct json_node;
struct json_view;

/* Judges a whole answer: error->code 0 for 2xx; otherwise the code for its HTTP status and Status
 * document, whose message is the text. body may be anything, also no JSON. */
void k8s_answer_judge(int status, const char *body, size_t length, struct error *error);

/* The same for a parsed metav1.Status that came without an HTTP status of its own (a watch's ERROR
 * event); its code field is taken. *ret_status may be NULL. */
void k8s_answer_judge_status(const struct json_view *view, const struct json_node *status,
                             int *ret_status, struct error *error);

/* Judges a transfer that brought no whole answer. sent: whether any of the request may have left;
 * detail: curl's own text, may be empty. */
void k8s_answer_judge_failure(CURLcode failure, bool sent, const char *detail, struct error *error);

#endif
