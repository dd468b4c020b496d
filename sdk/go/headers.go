package bext

import (
	"iter"
	"strings"

	"bext/internal/host"
)

// Headers are the header fields of a request or a response, asked for when they are read. Names in any case.
type Headers struct{ side int32 }

// Get is the value of a field, "" when it is absent or hidden from this plugin. Repeated fields are joined by ", ".
func (h Headers) Get(name string) string { return must(host.GetHeader(h.side, name)) }

// Lookup is Get that tells an empty field from none.
func (h Headers) Lookup(name string) (value string, ok bool) {
	return mayBe(host.GetHeader(h.side, name))
}

// All are the fields in order, names in lower case.
func (h Headers) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		list := must(host.GetHeaders(h.side))
		for list != "" {
			var name, value string
			name, list, _ = strings.Cut(list, "\x00")
			value, list, _ = strings.Cut(list, "\x00")
			if !yield(name, value) {
				return
			}
		}
	}
}

// Set replaces the fields of that name. Errors: E_HEADER_FORBIDDEN, E_HEADER_INVALID.
func (h Headers) Set(name, value string) error {
	return host.Check(host.SetHeader(h.side, name, value))
}

// Add keeps the fields of that name. Errors as for Set.
func (h Headers) Add(name, value string) error {
	return host.Check(host.AppendHeader(h.side, name, value))
}

// Del removes the fields of that name. Errors as for Set.
func (h Headers) Del(name string) error { return host.Check(host.RemoveHeader(h.side, name)) }

// pairs is the ABI's list of fields.
func pairs(fields []Field) string {
	var list strings.Builder
	for _, field := range fields {
		// A NUL would begin another field.
		list.WriteString(strings.ReplaceAll(field.Name, "\x00", "\ufffd"))
		list.WriteByte(0)
		list.WriteString(strings.ReplaceAll(field.Value, "\x00", "\ufffd"))
		list.WriteByte(0)
	}
	return list.String()
}
