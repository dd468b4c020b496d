// Package fetch requests URLs that plugin.toml lists ([permissions] allowed_urls) and the operator has granted. The plugin waits
// for the answer; meanwhile nothing else runs in its instance.
package fetch

import (
	"encoding/base64"
	"encoding/json"

	"bext"
	"bext/internal/host"
)

// Request is what is asked for. Only URL is needed.
type Request struct {
	URL string
	// Method is "GET" by default.
	Method  string
	Headers []bext.Field
	Body    []byte
	// Redirect is "follow" (the default; each hop must be allowed as well), "manual" or "error".
	Redirect string
}

// Response is the answer, whatever its status.
type Response struct {
	// URL is where redirects led.
	URL     string
	Status  int
	Headers []bext.Field
	Body    []byte
}

// Get is Do with a URL.
func Get(url string) (*Response, error) { return Do(Request{URL: url}) }

// Do sends the request. No headers are added, and private addresses are refused. Errors: E_FETCH_FORBIDDEN, E_LIMIT_FETCH,
// E_FETCH_FAILED, E_LIMIT_MESSAGE, E_PERMISSION.
func Do(request Request) (*Response, error) {
	head, _, err := host.Take(host.HTTPFetch(string(encode(request))))
	if err != nil {
		return nil, err
	}
	var answer struct {
		URL     string
		Status  int
		Headers [][2]string
	}
	if err := json.Unmarshal(head, &answer); err != nil {
		return nil, err
	}
	body, _, err := host.Take(host.HTTPFetchBody())
	if err != nil {
		return nil, err
	}
	response := &Response{URL: answer.URL, Status: answer.Status, Body: body}
	for _, field := range answer.Headers {
		response.Headers = append(response.Headers, bext.Field{Name: field[0], Value: field[1]})
	}
	return response, nil
}

func encode(request Request) []byte {
	json := host.AppendQuoted([]byte(`{"url":`), request.URL)
	member := func(name, value string) {
		if value != "" {
			json = host.AppendQuoted(append(json, `,"`+name+`":`...), value)
		}
	}
	member("method", request.Method)
	member("redirect", request.Redirect)
	member("body_base64", base64.StdEncoding.EncodeToString(request.Body))
	if len(request.Headers) > 0 {
		json = append(json, `,"headers":[`...)
		for i, field := range request.Headers {
			if i > 0 {
				json = append(json, ',')
			}
			json = host.AppendQuoted(append(json, '['), field.Name)
			json = append(host.AppendQuoted(append(json, ','), field.Value), ']')
		}
		json = append(json, ']')
	}
	return append(json, '}')
}
