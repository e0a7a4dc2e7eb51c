//go:build tools

// Package tools is never built: its import makes `go mod tidy` keep the requirements and the
// checksums of the program that ../build makes.
package tools

import _ "go.etcd.io/etcd/server/v3"
