// Command hello-header greets in both directions: the app in a request header, the client in a response header.
package main

import "bext"

var (
	greeting       = setting("greeting")
	requestHeader  = setting("request_header")
	responseHeader = setting("response_header")
)

//go:wasmexport on_request
func onRequest() int32 {
	return bext.HandleRequest(func(r *bext.Request) error {
		return r.Headers.Set(requestHeader, "bext says "+greeting)
	})
}

//go:wasmexport on_response
func onResponse() int32 {
	return bext.HandleResponse(func(r *bext.Response) error {
		name := r.Request.Headers.Get("x-name")
		if name == "" || len(name) > 64 {
			name = "world"
		}
		return r.Headers.Set(responseHeader, greeting+", "+name)
	})
}

// setting is always there: config.schema.json has the defaults.
func setting(key string) string {
	value, _ := bext.Config(key)
	return value
}

func main() {}
