// Package host holds what the host offers, as the bext ABI has it, and what makes Go values of it.
package host

import "strings"

// Error is a refusal of the host.
type Error struct {
	// Result is the negative number by which the ABI knows it.
	Result int32
	code   string
	text   string
}

// Code is the refusal's code, such as E_PERMISSION. `bext explain CODE` describes each.
func (e *Error) Code() string { return e.code }

// Error is the code and what happened: "E_PERMISSION: …".
func (e *Error) Error() string { return e.text }

// Check makes an error of a negative result.
func Check(result int32) error {
	if result >= 0 {
		return nil
	}
	// Not by Check's own means: while the module is being loaded, this is refused as well.
	last := LastError()
	if last>>32 == 0 {
		return &Error{Result: result, code: "E_PERMISSION", text: "E_PERMISSION: not while the plugin is being loaded"}
	}
	text, _, _ := TakeText(last)
	code, _, _ := strings.Cut(text, ":")
	return &Error{Result: result, code: code, text: text}
}
