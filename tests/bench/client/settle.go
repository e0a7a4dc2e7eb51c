// What is still written once everything has been created: watched from the last create on, so that
// watching costs nothing while it is timed.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Settling says which lists to watch, as whom, and how long nothing may be written to them.
type Settling struct {
	Paths   []string `json:"paths"`
	Token   string   `json:"token"`
	Quiet   float64  `json:"quiet"` // seconds
	Longest float64  `json:"longest"`
}

// settle returns how long after the end of the creates the last write came, and how many came.
//
// version is the latest that a create was answered: watches begin there, and what was written
// before they were open comes at once.
func settle(
	plan *Settling, clients []*client, version uint64, ended time.Time,
) (float64, int, error) {
	written := make(chan time.Time, 1024)
	broken := make(chan error, len(plan.Paths))
	for i, path := range plan.Paths {
		go func() { broken <- clients[i].watch(path, plan.Token, version, written) }()
	}
	last, count := ended, 0
	quiet := time.Duration(plan.Quiet * float64(time.Second))
	longest := time.After(time.Duration(plan.Longest * float64(time.Second)))
	silence := time.NewTimer(quiet)
	for {
		select {
		case last = <-written:
			count++
			silence.Reset(quiet)
		case <-silence.C:
			return last.Sub(ended).Seconds(), count, nil
		case err := <-broken:
			return 0, 0, fmt.Errorf("a watch ended: %w", err)
		case <-longest:
			return 0, 0, fmt.Errorf("after %g s there still are writes", plan.Longest)
		}
	}
}

// watch tells when each event came, for as long as the API server goes on.
func (c *client) watch(path, token string, version uint64, written chan<- time.Time) error {
	url := fmt.Sprintf("%s%s?watch=1&resourceVersion=%d", c.server, path, version)
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(answer.Body)
		return refusal(answer.StatusCode, said)
	}
	lines := bufio.NewReader(answer.Body)
	for {
		_, isPrefix, err := lines.ReadLine()
		if err != nil {
			return err
		}
		if !isPrefix {
			written <- time.Now()
		}
	}
}

var versionKey = []byte(`"resourceVersion":"`)

// versionOf finds the resourceVersion in an object's metadata: the first one in its text.
func versionOf(answer []byte) uint64 {
	_, rest, _ := bytes.Cut(answer, versionKey)
	text, _, _ := bytes.Cut(rest, []byte(`"`))
	version, _ := strconv.ParseUint(string(text), 10, 64)
	return version
}
