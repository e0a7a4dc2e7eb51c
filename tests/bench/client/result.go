// What the clients saw, put together.
package main

import (
	"cmp"
	"regexp"
	"slices"
	"time"
)

// Message is what a failure said; those that differ in numbers only count as one.
type Message struct {
	Text  string `json:"text"`
	Count int    `json:"count"`
}

// Percentile has the latencies of a step, in milliseconds.
type Percentile struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

var digits = regexp.MustCompile("[0-9]+")

func collect(clients []*client, steps int, took time.Duration) *Result {
	result := &Result{
		Seconds:  took.Seconds(),
		Messages: []Message{},
		Steps:    make([]Percentile, steps),
	}
	kinds := map[string]*Message{}
	for _, one := range clients {
		result.Done += one.done
		result.Failed += len(one.failures)
		result.Throttled += one.throttled
		for _, text := range one.failures {
			kind := digits.ReplaceAllString(text, "#")
			if kinds[kind] == nil {
				kinds[kind] = &Message{Text: text}
			}
			kinds[kind].Count++
		}
	}
	for _, message := range kinds {
		result.Messages = append(result.Messages, *message)
	}
	slices.SortFunc(result.Messages, func(a, b Message) int {
		return cmp.Or(b.Count-a.Count, cmp.Compare(a.Text, b.Text))
	})
	for i := range result.Steps {
		var all []time.Duration
		for _, one := range clients {
			all = append(all, one.latencies[i]...)
		}
		result.Steps[i] = percentiles(all)
	}
	return result
}

func percentiles(durations []time.Duration) Percentile {
	if len(durations) == 0 {
		return Percentile{}
	}
	slices.Sort(durations)
	at := func(permille int) float64 {
		index := (len(durations)*permille+999)/1000 - 1
		return float64(durations[max(index, 0)].Microseconds()) / 1000
	}
	return Percentile{P50: at(500), P99: at(990), Max: at(1000)}
}
