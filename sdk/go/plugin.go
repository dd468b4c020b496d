package bext

import (
	"time"

	"bext/internal/host"
)

// Level is how much a line of the log matters.
type Level string

const (
	Debug Level = "debug"
	Info  Level = "info"
	Warn  Level = "warn"
	// Severe is the level "error".
	Severe Level = "error"
)

// Log writes one line, which is cut at 8 KiB. What is printed to the standard output is logged as well.
func Log(level Level, message string) { host.Log(string(level), message) }

// Config is the value of a key of the plugin's configuration: a string as it is, anything else as JSON. False: no such key.
func Config(key string) (value string, ok bool) { return mayBe(host.GetConfig(key)) }

// ConfigJSON is the plugin's whole configuration, with the defaults of its schema.
func ConfigJSON() string { return must(host.GetConfig("")) }

// Secret is what the operator mapped to the name (E_PERMISSION).
func Secret(name string) (string, error) {
	secret, _, err := host.TakeText(host.GetSecret(name))
	return secret, err
}

// Leader is true in exactly one process of the server.
func Leader() bool { return host.IsLeader() == 1 }

// Metric records one sample. Names and tags that metrics cannot have are dropped and warned about once.
func Metric(name string, value float64, tags map[string]string) {
	json := []byte{'{'}
	for key, tag := range tags {
		json = append(host.AppendQuoted(json, key), ':')
		json = append(host.AppendQuoted(json, tag), ',')
	}
	json = append(json, '}')
	if len(tags) > 0 {
		json = append(json[:len(json)-2], '}')
	}
	host.EmitMetric(name, value, host.Text(json))
}

// PushOptions say when a message is due.
type PushOptions struct {
	// Key, when not "": messages of one queue with the same key are handled one at a time, in the order of their pushes.
	Key string
	// Delay is at most 30 days, in whole milliseconds.
	Delay time.Duration
}

// QueuePush puts a message, any JSON of at most 256 KiB, into a queue that plugin.toml lists. It waits until the message is on
// disk. Errors: E_PERMISSION, E_QUEUE_MESSAGE, E_LIMIT_QUEUE, E_STATE_UNAVAILABLE.
func QueuePush(queue, json string, options PushOptions) (id string, err error) {
	id, _, err = host.TakeText(host.QueuePush(queue, json, options.Key, options.Delay.Milliseconds()))
	return id, err
}

// SHA256 is computed by the host.
func SHA256(bytes []byte) (digest [32]byte) {
	host.SHA256(host.Text(bytes), &digest)
	return digest
}

// HMACSHA256 is computed by the host. Compare what you got with hmac.Equal or subtle.ConstantTimeCompare.
func HMACSHA256(key, bytes []byte) (mac [32]byte) {
	host.HMACSHA256(host.Text(key), host.Text(bytes), &mac)
	return mac
}

// Ed25519Verify says whether the signature of the message is the key's.
func Ed25519Verify(publicKey [32]byte, signature [64]byte, message []byte) bool {
	return host.Ed25519Verify(&publicKey, &signature, host.Text(message)) == 1
}
