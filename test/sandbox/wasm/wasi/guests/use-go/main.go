// What Go's runtime and library ask of WASI, from a handler of the http-wasm ABI. Reports on standard output.
package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"time"
	"unsafe"
)

//go:wasmimport http_handler get_uri
func getURI(buffer unsafe.Pointer, limit uint32) uint32

func main() {}

//go:wasmexport handle_request
func handleRequest() int64 {
	var uri [64]byte
	switch path := string(uri[:getURI(unsafe.Pointer(&uri[0]), uint32(len(uri)))]); path {
	case "/exit":
		os.Exit(4)
	case "/panic":
		panic("on purpose")
	}
	fmt.Println("arguments:", len(os.Args), "environment:", len(os.Environ()))
	fmt.Println("year:", time.Now().UTC().Year(), "part of a millisecond:", time.Now().Nanosecond()%1000000)
	var random [16]byte
	rand.Read(random[:])
	fmt.Println("random:", strings.Count(string(random[:]), "\x00") < 8)
	_, err := os.Open("/etc/passwd")
	fmt.Println("open:", err)
	n, err := os.Stdin.Read(random[:])
	fmt.Println("stdin:", n, err)
	done := make(chan int)
	go func() { done <- 7 }()
	fmt.Println("goroutine:", <-done)
	before := time.Now()
	time.Sleep(3 * time.Millisecond)
	fmt.Println("slept:", time.Since(before) >= 3*time.Millisecond)
	fmt.Fprint(os.Stderr, "a warning without an end")
	return 1
}

//go:wasmexport handle_response
func handleResponse(context, isError uint32) {}
