package bext

import (
	"errors"

	"bext/internal/host"
)

// Error is a refusal of the host. Returned by a handler, it fails the call with its code.
type Error = host.Error

// Code is the code of the refusal in err's tree, such as "E_PERMISSION"; "" when there is none.
func Code(err error) string {
	var refusal *Error
	if errors.As(err, &refusal) {
		return refusal.Code()
	}
	return ""
}
