// Templates of paths and bodies: cut up once, put together for each item.
package main

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// values is what an item puts into templates.
type values struct {
	number  string
	address string
	dashed  string
	uid     string
}

func valuesOf(number int64, first netip.Addr) values {
	address := first.As4()
	n := uint32(address[0])<<24 | uint32(address[1])<<16 | uint32(address[2])<<8 | uint32(address[3])
	n += uint32(number)
	text := netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}).String()
	return values{
		number:  strconv.FormatInt(number, 10),
		address: text,
		dashed:  strings.ReplaceAll(text, ".", "-"),
	}
}

// template is literal text and, after each piece of it but the last, the name of a value.
type template struct {
	literals []string
	names    []string
}

var placeholder = regexp.MustCompile("@(i|address|dashed|uid)@")

func parseTemplate(text string) template {
	var parsed template
	last := 0
	for _, at := range placeholder.FindAllStringSubmatchIndex(text, -1) {
		parsed.literals = append(parsed.literals, text[last:at[0]])
		parsed.names = append(parsed.names, text[at[2]:at[3]])
		last = at[1]
	}
	parsed.literals = append(parsed.literals, text[last:])
	return parsed
}

// fill appends the text for one item.
func (t *template) fill(to []byte, values *values) []byte {
	for i, name := range t.names {
		to = append(to, t.literals[i]...)
		switch name {
		case "i":
			to = append(to, values.number...)
		case "address":
			to = append(to, values.address...)
		case "dashed":
			to = append(to, values.dashed...)
		case "uid":
			to = append(to, values.uid...)
		}
	}
	return append(to, t.literals[len(t.literals)-1]...)
}
