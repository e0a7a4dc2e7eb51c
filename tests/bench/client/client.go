// One client: a connection of its own, the requests of one item after another, and what it saw.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
)

const (
	// How often a request is sent again that the API server turned away with 429, as client-go does.
	retries = 10
	timeout = 60 * time.Second
)

type client struct {
	http      *http.Client
	server    string
	number    int
	failures  []string
	latencies [][]time.Duration // of each step
	done      int
	throttled int
	version   uint64 // the latest that an object was created with
	scratch   bytes.Buffer
}

// newClients makes that many clients; without a time limit they can watch.
func newClients(plan *Plan, count int, limit time.Duration) ([]*client, error) {
	authority, err := os.ReadFile(plan.CA)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s: no certificate in it", plan.CA)
	}
	if plan.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(plan.Certificate, plan.Key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	clients := make([]*client, count)
	for i := range clients {
		clients[i] = &client{
			http: &http.Client{
				Timeout: limit,
				Transport: &http.Transport{
					TLSClientConfig:    config,
					DisableCompression: true,
					// Not nil, so HTTP/2 isn't offered.
					TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
				},
			},
			server:    plan.Server,
			number:    i,
			latencies: make([][]time.Duration, len(plan.Steps)),
		}
	}
	return clients, nil
}

// connect makes the connection before time counts. A failure shows again in the first request.
func (c *client) connect() {
	answer, err := c.http.Get(c.server + "/version")
	if err == nil {
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
}

func (c *client) work(shared *carry) {
	for {
		number, ok := shared.take()
		if !ok {
			return
		}
		if err := c.item(shared, number); err != nil {
			c.failures = append(c.failures, err.Error())
		} else {
			c.done++
		}
	}
}

// item sends the requests of one item, or leaves them to a follower; the first failure ends it.
func (c *client) item(shared *carry, number int64) error {
	values := valuesOf(number, shared.first)
	for i := range shared.plan.Steps {
		if shared.plan.Steps[i].Later {
			shared.later <- followUp{i, values}
			continue
		}
		answer, err := c.step(shared, i, &values)
		if err != nil {
			return err
		}
		values.uid = uidOf(answer)
		c.version = max(c.version, versionOf(answer))
	}
	return nil
}

// follow sends what others have left for later, until there comes no more.
func (c *client) follow(shared *carry) {
	for one := range shared.later {
		if _, err := c.step(shared, one.step, &one.values); err != nil {
			c.failures = append(c.failures, err.Error())
		}
	}
}

func (c *client) step(shared *carry, number int, values *values) ([]byte, error) {
	began := time.Now()
	answer, err := c.send(&shared.plan.Steps[number], values)
	if err == nil {
		c.latencies[number] = append(c.latencies[number], time.Since(began))
	}
	return answer, err
}

// send sends one request until it isn't turned away any more, and returns the body of the answer.
func (c *client) send(step *Step, values *values) ([]byte, error) {
	path := string(step.path.fill(nil, values))
	body := step.body.fill(nil, values)
	for attempt := 0; ; attempt++ {
		status, after, answer, err := c.once(step, path, body)
		switch {
		case err != nil:
			return nil, err
		case status == http.StatusTooManyRequests && attempt < retries:
			c.throttled++
			time.Sleep(after)
		case status >= 300:
			return nil, refusal(status, answer)
		default:
			return answer, nil
		}
	}
}

// once returns the status, how long a 429 asks to wait, and the body, which the next call reuses.
func (c *client) once(step *Step, path string, body []byte) (int, time.Duration, []byte, error) {
	request, err := http.NewRequest(step.Method, c.server+path, bytes.NewReader(body))
	if err != nil {
		return 0, 0, nil, err
	}
	request.Header.Set("Accept", "application/json")
	if step.Method == http.MethodPatch {
		request.Header.Set("Content-Type", "application/merge-patch+json")
	} else if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	if len(step.Tokens) > 0 {
		token := step.Tokens[c.number%len(step.Tokens)]
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return 0, 0, nil, err
	}
	defer answer.Body.Close()
	c.scratch.Reset()
	if _, err := c.scratch.ReadFrom(answer.Body); err != nil {
		return 0, 0, nil, err
	}
	after := time.Second
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil {
		after = time.Duration(seconds) * time.Second
	}
	return answer.StatusCode, after, c.scratch.Bytes(), nil
}

func refusal(status int, answer []byte) error {
	var said struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(answer, &said) == nil && said.Message != "" {
		return fmt.Errorf("%d %s", status, said.Message)
	}
	return errors.New(strconv.Itoa(status) + " " + string(answer[:min(len(answer), 200)]))
}

var uidKey = []byte(`"uid":"`)

// uidOf finds the uid in an object's metadata: the first one in its text.
func uidOf(answer []byte) string {
	_, rest, found := bytes.Cut(answer, uidKey)
	if !found {
		return ""
	}
	uid, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(uid)
}
