package bext

import "bext/internal/host"

const (
	requestSide  = 0
	responseSide = 1
)

// Request is the request a hook is called for. Its fields are asked for when they are read. Changes take effect when the call
// succeeds.
type Request struct {
	// Headers are the fields that this plugin may see: Cookie, Authorization and the like only when plugin.toml lists them.
	Headers Headers
	// Body needs [sandbox] body = "request" or "both" in plugin.toml.
	Body Body

	answered bool
}

// Field is one header field.
type Field struct{ Name, Value string }

func newRequest() *Request {
	return &Request{Headers: Headers{requestSide}, Body: Body{side: requestSide}}
}

// Method is the method as sent, such as "GET".
func (r *Request) Method() string { return must(host.GetMethod()) }

// Path is absolute, percent-decoded once, and has no dot segments and no "//".
func (r *Request) Path() string { return must(host.GetPath()) }

// Query is what follows "?", as sent; "" when there is none.
func (r *Request) Query() string { return must(host.GetQuery()) }

// Scheme is "http" or "https".
func (r *Request) Scheme() string { return must(host.GetScheme()) }

// Host is the authority in lower case, with the port if the client sent one.
func (r *Request) Host() string { return must(host.GetHost()) }

// ClientAddress is the client's IP address, after trusted proxies.
func (r *Request) ClientAddress() string { return must(host.GetClientAddress()) }

// ID is the request's id, which the log has as well.
func (r *Request) ID() string { return must(host.GetRequestID()) }

// Upgrade is "websocket" when the client asks for one, otherwise "".
func (r *Request) Upgrade() string { return must(host.GetUpgrade()) }

// User is who the request speaks for, as JSON: {"id": …, "claims": {…}}. False: nobody.
func (r *Request) User() (json string, ok bool) { return mayBe(host.GetUser()) }

// TenantID is the tenant the request is for. False: none.
func (r *Request) TenantID() (id string, ok bool) { return mayBe(host.GetTenantID()) }

// SiteID is the site the request is for. False: none.
func (r *Request) SiteID() (id string, ok bool) { return mayBe(host.GetSiteID()) }

// Extension is what a plugin left on the request under "plugin.key". False: nothing.
func (r *Request) Extension(key string) (value string, ok bool) { return mayBe(host.GetExtension(key)) }

// SetExtension leaves text of at most 8 KiB for other plugins, under "this-plugin.key"; at most 32 of them.
func (r *Request) SetExtension(key, value string) error {
	return host.Check(host.SetExtension(key, value))
}

// SetPath needs rewrite_path; the path must be absolute and normalised (E_PATH_REWRITE).
func (r *Request) SetPath(path string) error { return host.Check(host.SetPath(path)) }

// SetQuery needs rewrite_path; the query is percent-encoded and without "?" (E_QUERY_REWRITE).
func (r *Request) SetQuery(query string) error { return host.Check(host.SetQuery(query)) }

// SetMethod needs rewrite_method; the method is in upper case (E_METHOD_REWRITE). A request that becomes GET or HEAD has
// no content any more.
func (r *Request) SetMethod(method string) error { return host.Check(host.SetMethod(method)) }

// SetUser says who the request speaks for, as JSON {"id": …, "claims": {…}} or null. Needs identity.
func (r *Request) SetUser(json string) error { return host.Check(host.SetUser(json)) }

// SetTenantID needs identity.
func (r *Request) SetTenantID(id string) error { return host.Check(host.SetTenantID(id)) }

// SetSiteID needs identity.
func (r *Request) SetSiteID(id string) error { return host.Check(host.SetSiteID(id)) }

// Respond answers the request in place of the app, in on_request only. The status is 200 to 599 (E_STATUS_INVALID).
func (r *Request) Respond(status int, body []byte, headers ...Field) error {
	err := host.Check(host.Respond(int32(status), pairs(headers), host.Text(body)))
	r.answered = r.answered || err == nil
	return err
}

// RespondText is Respond with text and its content type.
func (r *Request) RespondText(status int, text string, headers ...Field) error {
	plain := Field{"content-type", "text/plain; charset=utf-8"}
	return r.Respond(status, []byte(text), append([]Field{plain}, headers...)...)
}

// Response is the response on its way out. Changes take effect when the call succeeds.
type Response struct {
	Headers Headers
	// Body needs [sandbox] body = "response" or "both" in plugin.toml.
	Body Body
	// Request is what the response answers. It is history: what changes it is refused.
	Request *Request
}

func newResponse() *Response {
	return &Response{Headers: Headers{responseSide}, Body: Body{side: responseSide}, Request: newRequest()}
}

// Status is the response's status, such as 200.
func (r *Response) Status() int { return int(host.GetStatus()) }

// SetStatus takes 200 to 599 (E_STATUS_INVALID).
func (r *Response) SetStatus(status int) error { return host.Check(host.SetStatus(int32(status))) }

// must is for what the host refuses in no hook that has a request.
func must(result int64) string {
	text, _ := mayBe(result)
	return text
}

// mayBe is for what the host refuses only outside of the hooks that have a request.
func mayBe(result int64) (string, bool) {
	text, ok, err := host.TakeText(result)
	if err != nil {
		panic(err)
	}
	return text, ok
}
