// Package bext is for plugins of bext written in Go and compiled to WebAssembly.
//
//	package main
//
//	import "bext"
//
//	//go:wasmexport on_request
//	func onRequest() int32 {
//		return bext.HandleRequest(func(r *bext.Request) error {
//			if r.Path() != "/hello" {
//				return nil // on to the next plugin, and the app
//			}
//			return r.RespondText(200, "Hello!")
//		})
//	}
//
//	func main() {}
//
// A hook is an exported function of package main (//go:wasmexport and its name) that passes what it is given to one of the
// Handle functions here. A module exports the hooks of the capabilities in its plugin.toml and no others: this is why they
// are not here. main is never called; package-level variables and init functions are run once, when the plugin is loaded.
//
// Build it with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -trimpath -o plugin.wasm .
//
// One call runs at a time. By default one instance handles all requests, and what variables hold stays there, until the
// plugin is reloaded or a call is stopped half-way; with instance = "fresh" every request sees them as they were when the
// plugin became ready. A panic in a handler fails that call and nothing else. Goroutines work within a call; one that is
// left behind goes on when the plugin is called again. There are no files, sockets or environment variables. What is
// printed to the standard output and error becomes lines of the log.
//
// What the host refuses is an *Error; its code says why.
package bext
