//go:build wasm

package host

// The functions of docs/wasm-abi.md, as they are. A string is an address and a length. Only those that a plugin reaches become
// imports of its module.

//go:wasmimport bext get_method
func GetMethod() int64

//go:wasmimport bext get_path
func GetPath() int64

//go:wasmimport bext get_query
func GetQuery() int64

//go:wasmimport bext get_scheme
func GetScheme() int64

//go:wasmimport bext get_host
func GetHost() int64

//go:wasmimport bext get_client_address
func GetClientAddress() int64

//go:wasmimport bext get_request_id
func GetRequestID() int64

//go:wasmimport bext get_upgrade
func GetUpgrade() int64

//go:wasmimport bext get_tenant_id
func GetTenantID() int64

//go:wasmimport bext get_site_id
func GetSiteID() int64

//go:wasmimport bext get_user
func GetUser() int64

//go:wasmimport bext get_header
func GetHeader(side int32, name string) int64

//go:wasmimport bext get_headers
func GetHeaders(side int32) int64

//go:wasmimport bext set_header
func SetHeader(side int32, name, value string) int32

//go:wasmimport bext append_header
func AppendHeader(side int32, name, value string) int32

//go:wasmimport bext remove_header
func RemoveHeader(side int32, name string) int32

//go:wasmimport bext set_path
func SetPath(path string) int32

//go:wasmimport bext set_query
func SetQuery(query string) int32

//go:wasmimport bext set_method
func SetMethod(method string) int32

//go:wasmimport bext set_tenant_id
func SetTenantID(id string) int32

//go:wasmimport bext set_site_id
func SetSiteID(id string) int32

//go:wasmimport bext set_user
func SetUser(json string) int32

//go:wasmimport bext get_extension
func GetExtension(key string) int64

//go:wasmimport bext set_extension
func SetExtension(key, value string) int32

//go:wasmimport bext get_body_size
func GetBodySize(side int32) int32

//go:wasmimport bext read_body
func ReadBody(side, offset int32, buffer *byte, length int32) int32

//go:wasmimport bext set_body
func SetBody(side int32, bytes string) int32

//go:wasmimport bext get_status
func GetStatus() int32

//go:wasmimport bext set_status
func SetStatus(status int32) int32

//go:wasmimport bext respond
func Respond(status int32, headers, body string) int32

//go:wasmimport bext is_leader
func IsLeader() int32

//go:wasmimport bext get_config
func GetConfig(key string) int64

//go:wasmimport bext get_secret
func GetSecret(name string) int64

//go:wasmimport bext log
func Log(level, message string)

//go:wasmimport bext emit_metric
func EmitMetric(name string, value float64, tagsJSON string)

//go:wasmimport bext storage_get
func StorageGet(key string) int64

//go:wasmimport bext storage_set
func StorageSet(key, value string) int32

//go:wasmimport bext storage_set_ttl
func StorageSetTTL(key, value string, ttlMs int64) int32

//go:wasmimport bext storage_delete
func StorageDelete(key string) int32

//go:wasmimport bext storage_keys
func StorageKeys(prefix string, limit int32) int64

//go:wasmimport bext storage_incr
func StorageIncr(key string, by, ttlMs int64, value *int64) int32

//go:wasmimport bext storage_cas
func StorageCAS(key string, expected *byte, expectedLength int32, value string, ttlMs int64) int32

//go:wasmimport bext storage_flush
func StorageFlush() int32

//go:wasmimport bext queue_push
func QueuePush(queue, json, key string, delayMs int64) int64

//go:wasmimport bext http_fetch
func HTTPFetch(requestJSON string) int64

//go:wasmimport bext http_fetch_body
func HTTPFetchBody() int64

//go:wasmimport bext clock_now
func ClockNow() int64

//go:wasmimport bext clock_monotonic
func ClockMonotonic() int64

//go:wasmimport bext random
func Random(buffer *byte, length int32) int32

//go:wasmimport bext sha256
func SHA256(bytes string, out *[32]byte) int32

//go:wasmimport bext hmac_sha256
func HMACSHA256(key, bytes string, out *[32]byte) int32

//go:wasmimport bext ed25519_verify
func Ed25519Verify(publicKey *[32]byte, signature *[64]byte, message string) int32

//go:wasmimport bext last_error
func LastError() int64

//go:wasmimport bext fail
func Fail(message string)
