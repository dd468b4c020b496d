// Command image-resize-url gives resized images short addresses. The images come from imgproxy, whose own addresses it signs.
package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"bext"
)

type settings struct {
	Prefix        string `json:"prefix"`
	ServicePrefix string `json:"service_prefix"`
	Source        string `json:"source"`
	MaxWidth      int    `json:"max_width"`
	MaxHeight     int    `json:"max_height"`
}

var config = readSettings()

//go:wasmexport on_request
func onRequest() int32 {
	return bext.HandleRequest(func(r *bext.Request) error {
		rest, ok := strings.CutPrefix(r.Path(), config.Prefix)
		if !ok {
			return nil
		}
		if method := r.Method(); method != "GET" && method != "HEAD" {
			return r.RespondText(405, "use GET or HEAD\n", bext.Field{Name: "allow", Value: "GET, HEAD"})
		}
		wanted, ok := parse(rest)
		if !ok {
			return r.RespondText(400, "use "+config.Prefix+"w=300,h=200,fit=fill/path/of/image\n")
		}
		path, err := signed(wanted.target())
		if err != nil {
			return err
		}
		return r.SetPath(config.ServicePrefix + path)
	})
}

func readSettings() (read settings) {
	if err := json.Unmarshal([]byte(bext.ConfigJSON()), &read); err != nil {
		panic(err)
	}
	return read
}

type image struct {
	width, height int
	fit           string
	path          string
}

// parse reads what follows the prefix: "w=300,h=200,fit=fill/photos/cat.jpg".
func parse(rest string) (wanted image, ok bool) {
	options, path, ok := strings.Cut(rest, "/")
	if !ok || path == "" || len(path) > 1024 {
		return image{}, false
	}
	wanted.path = path
	for _, option := range strings.Split(options, ",") {
		name, value, _ := strings.Cut(option, "=")
		switch {
		case name == "w" && wanted.width == 0:
			wanted.width, ok = pixels(value)
		case name == "h" && wanted.height == 0:
			wanted.height, ok = pixels(value)
		case name == "fit" && wanted.fit == "":
			wanted.fit, ok = value, value == "fit" || value == "fill"
		default:
			ok = false
		}
		if !ok {
			return image{}, false
		}
	}
	return wanted, wanted.width > 0 || wanted.height > 0
}

// pixels reads 1 to 5 digits that are not 0.
func pixels(digits string) (int, bool) {
	if len(digits) > 5 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return int(n), err == nil && n > 0
}

// target is imgproxy's address of the image, without its signature.
func (wanted image) target() string {
	fit := wanted.fit
	if fit == "" {
		fit = "fit"
	}
	width, height := min(wanted.width, config.MaxWidth), min(wanted.height, config.MaxHeight)
	source := base64.RawURLEncoding.EncodeToString([]byte(config.Source + wanted.path))
	return "/rs:" + fit + ":" + strconv.Itoa(width) + ":" + strconv.Itoa(height) + "/" + source
}

// signed puts the signature in front (https://docs.imgproxy.net/usage/signing_url).
func signed(target string) (string, error) {
	key, err := hexSecret("IMAGE_KEY")
	if err != nil {
		return "", err
	}
	salt, err := hexSecret("IMAGE_SALT")
	if err != nil {
		return "", err
	}
	signature := bext.HMACSHA256(key, append(salt, target...))
	return "/" + base64.RawURLEncoding.EncodeToString(signature[:]) + target, nil
}

func hexSecret(name string) ([]byte, error) {
	secret, err := bext.Secret(name)
	if err != nil {
		return nil, err
	}
	bytes, err := hex.DecodeString(secret)
	if err != nil || len(bytes) == 0 {
		return nil, errors.New(name + " is not hexadecimal, or empty")
	}
	return bytes, nil
}

func main() {}
