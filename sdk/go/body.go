package bext

import (
	"io"

	"bext/internal/host"
)

// Body is the buffered body of a request or a response. Reading it leaves it as it is for the app. Every method fails with
// E_BODY_NOT_DECLARED unless plugin.toml asks for this side.
type Body struct{ side int32 }

// Size is the number of bytes.
func (b Body) Size() (int, error) {
	size := host.GetBodySize(b.side)
	return int(size), host.Check(size)
}

// Bytes is a copy of the whole body.
func (b Body) Bytes() ([]byte, error) {
	size, err := b.Size()
	if err != nil {
		return nil, err
	}
	bytes := make([]byte, size)
	n, err := io.ReadFull(b.Reader(), bytes)
	if err == io.EOF {
		err = nil
	}
	return bytes[:n], err
}

// Reader reads the body from its beginning, for one that is too large to hold twice.
func (b Body) Reader() io.Reader { return &bodyReader{side: b.side} }

// Set replaces the body; ETag, Digest, Content-Encoding and Accept-Ranges go with the old one.
func (b Body) Set(bytes []byte) error { return host.Check(host.SetBody(b.side, host.Text(bytes))) }

type bodyReader struct{ side, offset int32 }

func (r *bodyReader) Read(into []byte) (int, error) {
	if len(into) == 0 {
		return 0, nil
	}
	n := host.ReadBody(r.side, r.offset, &into[0], int32(len(into)))
	if n < 0 {
		return 0, host.Check(n)
	}
	if n == 0 {
		return 0, io.EOF
	}
	r.offset += n
	return int(n), nil
}
