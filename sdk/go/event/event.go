// Package event has the events of capability lifecycle as Go values.
//
//	//go:wasmexport on_request_complete
//	func onRequestComplete(json string) int32 {
//		return event.Handle(json, func(e event.RequestComplete) error { … })
//	}
//
// on_server_start is given the plugin's configuration: a struct of the plugin's own, or json.RawMessage. The events of
// on_server_stop, on_reload and cleanup say nothing: bext.HandleEvent does.
package event

import (
	"encoding/json"

	"bext"
)

// Handle decodes the event of a hook and passes it to the handler.
func Handle[Event any](text string, handler func(Event) error) int32 {
	return bext.HandleEvent(text, func(text string) error {
		var event Event
		if err := json.Unmarshal([]byte(text), &event); err != nil {
			return err
		}
		return handler(event)
	})
}

// RequestComplete is one finished request, the event of on_request_complete.
type RequestComplete struct {
	RequestID string `json:"request_id"`
	Method    string `json:"method"`
	Path      string `json:"path"`
	Status    int    `json:"status"`
	// CacheStatus is "hit", "stale", "miss" or nil.
	CacheStatus *string `json:"cache_status"`
	// RenderTimeUs is how many microseconds the handler took.
	RenderTimeUs float64 `json:"render_time_us"`
	// DurationMs is how many milliseconds there were from accept to the end of the response.
	DurationMs float64 `json:"duration_ms"`
	TenantID   *string `json:"tenant_id"`
	SiteID     *string `json:"site_id"`
	// Encoding is the content coding of the response, nil for none.
	Encoding *string `json:"encoding"`
	IsBot    bool    `json:"is_bot"`
}

// QueueMessage is one delivery of a message, the event of on_queue_message. Without an error it is done; with one it is
// delivered again later.
type QueueMessage struct {
	// ID is the same for every delivery of this message.
	ID    string `json:"id"`
	Queue string `json:"queue"`
	// Value is what was pushed, by whoever may push to the queue: check it.
	Value json.RawMessage `json:"value"`
	Key   *string         `json:"key"`
	// Attempt counts the deliveries, this one included.
	Attempt int `json:"attempt"`
	// PushedAtMs is in milliseconds since 1970.
	PushedAtMs float64 `json:"pushedAtMs"`
	TenantID   *string `json:"tenantId"`
}

// CacheInvalidate says that pages were invalidated, the event of on_cache_invalidate.
type CacheInvalidate struct {
	Pattern string
	// Count is the number of pages that were stored.
	Count int
}

// UnmarshalJSON reads [pattern, count].
func (e *CacheInvalidate) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&e.Pattern, &e.Count})
}
