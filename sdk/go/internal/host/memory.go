package host

import "unsafe"

// Everything unsafe is in this file.

// allocated holds what the host has asked for and nobody has taken over yet: to Go's collector it would be garbage.
var allocated = map[uint32][]byte{}

// alloc gives the host memory to write into. Go moves nothing that is allocated by itself, only stacks.
//
//go:wasmexport bext_alloc
func alloc(size int32) unsafe.Pointer {
	if size <= 0 {
		return nil
	}
	buffer := make([]byte, size)
	pointer := unsafe.Pointer(unsafe.SliceData(buffer))
	allocated[address(pointer)] = buffer
	return pointer
}

// Take makes Go's what a function of the host returned. The second result is whether there was anything.
func Take(result int64) ([]byte, bool, error) {
	at, low := uint32(result>>32), int32(result)
	if at != 0 {
		buffer := allocated[at][:uint32(low)]
		delete(allocated, at)
		return buffer, true, nil
	}
	return nil, false, Check(low)
}

// TakeText is Take for text.
func TakeText(result int64) (string, bool, error) {
	bytes, ok, err := Take(result)
	return Text(bytes), ok, err
}

// Own makes Go's what the host passed to a hook. The string keeps its memory from now on.
func Own(parameter string) string {
	delete(allocated, address(unsafe.Pointer(unsafe.StringData(parameter))))
	return parameter
}

// Text is the bytes as a string, without a copy: nobody may change them as long as the string is in use.
func Text(bytes []byte) string {
	return unsafe.String(unsafe.SliceData(bytes), len(bytes))
}

// Bytes is where the bytes of a string are.
func Bytes(text string) *byte {
	return unsafe.StringData(text)
}

// returned keeps the last result of a hook in memory until the host has read it.
var returned = []byte{0}

// Return is the result of a hook that returns text.
func Return(text string) int64 {
	// An empty value has an address as well: address 0 means that there is none.
	returned = append(append(returned[:0], text...), 0)
	return int64(address(unsafe.Pointer(unsafe.SliceData(returned))))<<32 | int64(len(text))
}

func address(pointer unsafe.Pointer) uint32 {
	return uint32(uintptr(pointer))
}
