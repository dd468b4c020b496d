//go:build !wasm

package host

// So that packages of a plugin, and their tests, compile for the machine they are written on.

func GetMethod() int64                                              { panic(outside) }
func GetPath() int64                                                { panic(outside) }
func GetQuery() int64                                               { panic(outside) }
func GetScheme() int64                                              { panic(outside) }
func GetHost() int64                                                { panic(outside) }
func GetClientAddress() int64                                       { panic(outside) }
func GetRequestID() int64                                           { panic(outside) }
func GetUpgrade() int64                                             { panic(outside) }
func GetTenantID() int64                                            { panic(outside) }
func GetSiteID() int64                                              { panic(outside) }
func GetUser() int64                                                { panic(outside) }
func GetHeader(side int32, name string) int64                       { panic(outside) }
func GetHeaders(side int32) int64                                   { panic(outside) }
func SetHeader(side int32, name, value string) int32                { panic(outside) }
func AppendHeader(side int32, name, value string) int32             { panic(outside) }
func RemoveHeader(side int32, name string) int32                    { panic(outside) }
func SetPath(path string) int32                                     { panic(outside) }
func SetQuery(query string) int32                                   { panic(outside) }
func SetMethod(method string) int32                                 { panic(outside) }
func SetTenantID(id string) int32                                   { panic(outside) }
func SetSiteID(id string) int32                                     { panic(outside) }
func SetUser(json string) int32                                     { panic(outside) }
func GetExtension(key string) int64                                 { panic(outside) }
func SetExtension(key, value string) int32                          { panic(outside) }
func GetBodySize(side int32) int32                                  { panic(outside) }
func ReadBody(side, offset int32, buffer *byte, length int32) int32 { panic(outside) }
func SetBody(side int32, bytes string) int32                        { panic(outside) }
func GetStatus() int32                                              { panic(outside) }
func SetStatus(status int32) int32                                  { panic(outside) }
func Respond(status int32, headers, body string) int32              { panic(outside) }
func IsLeader() int32                                               { panic(outside) }
func GetConfig(key string) int64                                    { panic(outside) }
func GetSecret(name string) int64                                   { panic(outside) }
func Log(level, message string)                                     { panic(outside) }
func EmitMetric(name string, value float64, tagsJSON string)        { panic(outside) }
func StorageGet(key string) int64                                   { panic(outside) }
func StorageSet(key, value string) int32                            { panic(outside) }
func StorageSetTTL(key, value string, ttlMs int64) int32            { panic(outside) }
func StorageDelete(key string) int32                                { panic(outside) }
func StorageKeys(prefix string, limit int32) int64                  { panic(outside) }
func StorageIncr(key string, by, ttlMs int64, value *int64) int32   { panic(outside) }
func StorageCAS(key string, expected *byte, expectedLength int32, value string, ttlMs int64) int32 {
	panic(outside)
}
func StorageFlush() int32                                                          { panic(outside) }
func QueuePush(queue, json, key string, delayMs int64) int64                       { panic(outside) }
func HTTPFetch(requestJSON string) int64                                           { panic(outside) }
func HTTPFetchBody() int64                                                         { panic(outside) }
func ClockNow() int64                                                              { panic(outside) }
func ClockMonotonic() int64                                                        { panic(outside) }
func Random(buffer *byte, length int32) int32                                      { panic(outside) }
func SHA256(bytes string, out *[32]byte) int32                                     { panic(outside) }
func HMACSHA256(key, bytes string, out *[32]byte) int32                            { panic(outside) }
func Ed25519Verify(publicKey *[32]byte, signature *[64]byte, message string) int32 { panic(outside) }
func LastError() int64                                                             { panic(outside) }
func Fail(message string)                                                          { panic(outside) }

const outside = "bext: a function of the host was called outside of bext"
