package bext

import (
	"strings"
	"time"

	"bext/internal/host"
)

// Keys and values of this plugin, and of the request's tenant, if it has one. Keys are 1 to 512 bytes without NUL, slash,
// backslash and ".." (E_STORAGE_KEY). What is written is bounded by the plugin's quota (E_LIMIT_STORAGE).

// StorageGet is the value of a key. False: absent or expired.
func StorageGet(key string) (value []byte, ok bool, err error) {
	return host.Take(host.StorageGet(key))
}

// StorageSet writes a value, which is seen at once and durable after StorageFlush.
// ttl: until the key disappears, in whole milliseconds; 0: never.
func StorageSet(key string, value []byte, ttl time.Duration) error {
	if ttl == 0 {
		return host.Check(host.StorageSet(key, host.Text(value)))
	}
	return host.Check(host.StorageSetTTL(key, host.Text(value), ttl.Milliseconds()))
}

// StorageDelete says whether the key was there.
func StorageDelete(key string) (bool, error) {
	result := host.StorageDelete(key)
	return result == 1, host.Check(result)
}

// StorageKeys are the keys that start with prefix, sorted, at most limit (1 to 1000).
func StorageKeys(prefix string, limit int) ([]string, error) {
	list, _, err := host.TakeText(host.StorageKeys(prefix, int32(limit)))
	if err != nil || list == "" {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(list, "\x00"), "\x00"), nil
}

// StorageIncrement adds to a counter, atomically across processes, and waits for it. An absent key counts as 0.
func StorageIncrement(key string, by int64, ttl time.Duration) (value int64, err error) {
	err = host.Check(host.StorageIncr(key, by, ttl.Milliseconds(), &value))
	return value, err
}

// StorageCompareAndSwap sets the value if the present one is as expected (nil: absent), atomically across processes, and waits
// for it. It says whether it was set.
func StorageCompareAndSwap(key string, expected, value []byte, ttl time.Duration) (bool, error) {
	length := int32(len(expected))
	if expected == nil {
		length = -1
	}
	result := host.StorageCAS(key, host.Bytes(host.Text(expected)), length, host.Text(value), ttl.Milliseconds())
	return result == 1, host.Check(result)
}

// StorageFlush waits until everything written so far is on disk.
func StorageFlush() error { return host.Check(host.StorageFlush()) }
