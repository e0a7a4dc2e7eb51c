// The client of the benchmarks on a real API server: it carries out a plan, read as JSON from
// standard input, and prints what it took as JSON. A plan is a list of requests that each of so many
// clients sends one after the other for each item: the claim, then the Service, say. Bodies are
// templates that are parsed once, and nothing of an answer is parsed but what is asked for, because
// client and API server share the machine. HTTP/1.1 with a connection per client, as from as many
// programs.
package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Plan says what to do; README.md and bench_create.py show plans.
type Plan struct {
	Server      string `json:"server"`
	CA          string `json:"ca"`
	Certificate string `json:"certificate"` // and Key: of the client; without them steps have tokens
	Key         string `json:"key"`
	Clients     int    `json:"clients"`
	Count       int64  `json:"count"`   // items for all clients together; 0: until Seconds are over
	Seconds     int    `json:"seconds"` // no item is begun later; 0: no such limit
	First       int64  `json:"first"`   // the number of the first item
	Address     string `json:"address"` // of item 0; the next ones follow it
	Steps       []Step `json:"steps"`
	Followers   int    `json:"followers"` // who send the steps that are left for later

	Settling *Settling `json:"settling"` // what to watch in the end, if anything
}

// Step is one request. Path and body may contain @i@, the item's number; @address@; @dashed@, the
// address as in a claim's name; @uid@, the uid of what the step before this one answered.
type Step struct {
	Method string   `json:"method"`
	Path   string   `json:"path"`
	Body   string   `json:"body"`
	Tokens []string `json:"tokens"` // client n uses the n-th, modulo their number
	Later  bool     `json:"later"`  // sent by a follower, while the client goes on

	path, body template
}

// Result is what is printed. Latencies are those of steps that succeeded, retries included.
type Result struct {
	Seconds   float64      `json:"seconds"`
	Done      int          `json:"done"`
	Failed    int          `json:"failed"`
	Throttled int          `json:"throttled"` // answers 429, each of which was tried again
	Messages  []Message    `json:"messages"`
	Steps     []Percentile `json:"steps"`
	Settled   float64      `json:"settled"` // seconds from the end of the creates to the last write
	Writes    int          `json:"writes"`  // that came after the creates
}

// carry is what the clients of a run share.
type carry struct {
	plan     *Plan
	first    netip.Addr
	next     atomic.Int64
	deadline time.Time
	later    chan followUp
}

// followUp is a step that a client has left for later.
type followUp struct {
	step   int
	values values
}

// How many steps can be left for later before clients have to wait.
const maxFollowUps = 1 << 16

func main() {
	if len(os.Args) > 1 {
		fmt.Fprintln(os.Stderr, "usage: client < PLAN.json")
		os.Exit(2)
	}
	result, err := run()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run() (*Result, error) {
	plan := &Plan{Address: "0.0.0.0"}
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(plan); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	if plan.Clients < 1 || plan.Count <= 0 && plan.Seconds <= 0 {
		return nil, fmt.Errorf("plan: clients, and count or seconds, must be above 0")
	}
	for i := range plan.Steps {
		step := &plan.Steps[i]
		step.path, step.body = parseTemplate(step.Path), parseTemplate(step.Body)
	}
	first, err := netip.ParseAddr(plan.Address)
	if err != nil || !first.Is4() {
		return nil, fmt.Errorf("plan: address %q: IPv4 is meant", plan.Address)
	}
	shared := &carry{plan: plan, first: first, later: make(chan followUp, maxFollowUps)}
	return shared.run()
}

// run connects everybody, starts all at once, and waits for the last client and for what follows.
func (c *carry) run() (*Result, error) {
	clients, err := newClients(c.plan, c.plan.Clients, timeout)
	if err != nil {
		return nil, err
	}
	followers, err := newClients(c.plan, c.plan.Followers, timeout)
	if err != nil {
		return nil, err
	}
	var watchers []*client
	if c.plan.Settling != nil {
		watchers, err = newClients(c.plan, len(c.plan.Settling.Paths), 0)
		if err != nil {
			return nil, err
		}
	}
	everybody := slices.Concat(clients, followers, watchers)
	inParallel(everybody, (*client).connect).Wait()
	began := time.Now()
	if c.plan.Seconds > 0 {
		c.deadline = began.Add(time.Duration(c.plan.Seconds) * time.Second)
	}
	following := inParallel(followers, func(one *client) { one.follow(c) })
	inParallel(clients, func(one *client) { one.work(c) }).Wait()
	ended := time.Now()
	close(c.later)
	var settled float64
	var writes int
	if c.plan.Settling != nil {
		settled, writes, err = settle(c.plan.Settling, watchers, latest(clients), ended)
	}
	following.Wait()
	result := collect(everybody, len(c.plan.Steps), ended.Sub(began))
	result.Settled, result.Writes = settled, writes
	return result, err
}

func inParallel(clients []*client, do func(*client)) *sync.WaitGroup {
	var group sync.WaitGroup
	for _, one := range clients {
		group.Go(func() { do(one) })
	}
	return &group
}

func latest(clients []*client) uint64 {
	var version uint64
	for _, one := range clients {
		version = max(version, one.version)
	}
	return version
}

// take gives the number of the next item, or false when there is none.
func (c *carry) take() (int64, bool) {
	if !c.deadline.IsZero() && time.Now().After(c.deadline) {
		return 0, false
	}
	number := c.next.Add(1) - 1
	if c.plan.Count > 0 && number >= c.plan.Count {
		return 0, false
	}
	return c.plan.First + number, true
}
