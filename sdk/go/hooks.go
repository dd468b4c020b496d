package bext

import (
	"errors"
	"runtime"
	"strconv"
	"strings"

	"bext/internal/host"
)

const (
	next     = 0
	answered = 1
	// failed is no refusal of the host: those begin at -2.
	failed = -1
)

// HandleRequest is for on_request (capability middleware): runs before the app, and may answer in its place.
//
//	//go:wasmexport on_request
//	func onRequest() int32 { return bext.HandleRequest(func(r *bext.Request) error { … }) }
//
// When the handler returns an error, or panics, the call has failed and what it changed is dropped.
func HandleRequest(handler func(*Request) error) int32 {
	request := newRequest()
	result := run(func() error { return handler(request) })
	if result == next && request.answered {
		return answered
	}
	return result
}

// HandleResponse is for on_response (capability middleware): runs on the way out, and may change the response.
//
//	//go:wasmexport on_response
//	func onResponse() int32 { return bext.HandleResponse(func(r *bext.Response) error { … }) }
func HandleResponse(handler func(*Response) error) int32 {
	response := newResponse()
	return run(func() error { return handler(response) })
}

// HandleEvent is for the hooks of capability lifecycle: on_server_start, on_server_stop, on_request_complete,
// on_cache_invalidate, on_reload, on_queue_message and cleanup. The event is JSON. Package event has them as Go values.
//
//	//go:wasmexport on_server_stop
//	func onServerStop(json string) int32 {
//		return bext.HandleEvent(json, func(json string) error { … })
//	}
func HandleEvent(json string, handler func(json string) error) int32 {
	host.Own(json)
	return run(func() error { return handler(json) })
}

// HandleCacheWrite is for on_cache_write (capability lifecycle): runs after a page was stored. The tags are a JSON array of
// strings.
//
//	//go:wasmexport on_cache_write
//	func onCacheWrite(key, tagsJSON string) int32 {
//		return bext.HandleCacheWrite(key, tagsJSON, func(key, tagsJSON string) error { … })
//	}
func HandleCacheWrite(key, tagsJSON string, handler func(key, tagsJSON string) error) int32 {
	host.Own(key)
	host.Own(tagsJSON)
	return run(func() error { return handler(key, tagsJSON) })
}

// HandleTransform is for transform: the handler returns the new text of a source file, or the one it was given.
//
//	//go:wasmexport transform
//	func transform(source, path, envJSON string) int64 {
//		return bext.HandleTransform(source, path, envJSON, func(source, path, envJSON string) (string, error) { … })
//	}
func HandleTransform(
	source, path, envJSON string, handler func(source, path, envJSON string) (string, error),
) int64 {
	host.Own(source)
	host.Own(path)
	host.Own(envJSON)
	return runReturning(func() (string, bool, error) {
		text, err := handler(source, path, envJSON)
		return text, text != source, err
	})
}

// HandleCache is for the hooks of capability cache_backend. Parameters and result are JSON; "" stands for no result.
//
//	//go:wasmexport cache_get
//	func cacheGet(params string) int64 {
//		return bext.HandleCache(params, func(params string) (string, error) { … })
//	}
func HandleCache(params string, handler func(params string) (string, error)) int64 {
	host.Own(params)
	return runReturning(func() (string, bool, error) {
		json, err := handler(params)
		return json, json != "", err
	})
}

func runReturning(handler func() (string, bool, error)) int64 {
	var text string
	var there bool
	result := run(func() (err error) {
		text, there, err = handler()
		return err
	})
	if result != next {
		return int64(uint32(result))
	}
	if !there {
		return 0
	}
	return host.Return(text)
}

// run is the result of a handler as the ABI has it.
func run(handler func() error) (result int32) {
	defer func() {
		if value := recover(); value != nil {
			host.Fail("panic: " + describe(value) + position())
			err, _ := value.(error)
			result = resultOf(err)
		}
	}()
	err := handler()
	if err == nil {
		return next
	}
	host.Fail(err.Error())
	return resultOf(err)
}

func resultOf(err error) int32 {
	var refusal *Error
	if errors.As(err, &refusal) {
		return refusal.Result
	}
	return failed
}

func describe(value any) string {
	switch value := value.(type) {
	case error:
		return value.Error()
	case string:
		return value
	case interface{ String() string }:
		return value.String()
	case int:
		return strconv.Itoa(value)
	default:
		return "a value that is neither an error nor text"
	}
}

// position is where the panic was raised: " at NAME (FILE:LINE)".
func position() string {
	callers := make([]uintptr, 16)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)])
	for {
		frame, more := frames.Next()
		if frame.Function != "" && !strings.HasPrefix(frame.Function, "runtime.") {
			return " at " + frame.Function + " (" + frame.File + ":" + strconv.Itoa(frame.Line) + ")"
		}
		if !more {
			return ""
		}
	}
}
