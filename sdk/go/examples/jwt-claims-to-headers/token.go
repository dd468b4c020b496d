package main

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"bext"
)

// object keeps values as the token writes them. Unlike fields of a struct, its keys are exact.
type object map[string]json.RawMessage

var base64url = base64.RawURLEncoding.Strict()

// verify gives the claims of a token that the secret has signed (RFC 7515 §5.2).
func verify(token string, secret []byte) (object, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, false
	}
	header, ok := decode(parts[0])
	if !ok || text(header["alg"]) != "HS256" || header["crit"] != nil {
		return nil, false
	}
	signature, err := base64url.DecodeString(parts[2])
	if err != nil {
		return nil, false
	}
	mac := bext.HMACSHA256(secret, []byte(parts[0]+"."+parts[1]))
	if subtle.ConstantTimeCompare(mac[:], signature) != 1 {
		return nil, false
	}
	return decode(parts[1])
}

func decode(part string) (object, bool) {
	bytes, err := base64url.DecodeString(part)
	if err != nil {
		return nil, false
	}
	var decoded object
	err = json.Unmarshal(bytes, &decoded)
	return decoded, err == nil && decoded != nil
}

func isCurrent(claims object, now time.Time) bool {
	expires, ok := number(claims["exp"])
	if !ok || now.Unix() >= int64(expires)+config.LeewaySeconds {
		return false
	}
	if claims["nbf"] == nil {
		return true
	}
	begins, ok := number(claims["nbf"])
	return ok && now.Unix() >= int64(begins)-config.LeewaySeconds
}

func isMeantForUs(claims object) bool {
	if config.Issuer != nil && !isText(claims["iss"], *config.Issuer) {
		return false
	}
	if config.Audience == nil || isText(claims["aud"], *config.Audience) {
		return true
	}
	var list []json.RawMessage
	if json.Unmarshal(claims["aud"], &list) != nil {
		return false
	}
	for _, audience := range list {
		if isText(audience, *config.Audience) {
			return true
		}
	}
	return false
}

// headerValue is the claim as a header has it: text, a number or a boolean.
func headerValue(claim json.RawMessage) (string, bool) {
	if len(claim) == 0 {
		return "", false
	}
	switch claim[0] {
	case '"':
		value := text(claim)
		return value, isFieldValue(value)
	case '{', '[', 'n':
		return "", false
	default:
		return string(claim), true
	}
}

// isFieldValue says whether a value is visible ASCII with single spaces between.
func isFieldValue(value string) bool {
	if value == "" || len(value) > 1024 {
		return false
	}
	for _, word := range strings.Split(value, " ") {
		if word == "" || strings.ContainsFunc(word, func(r rune) bool { return r < '!' || r > '~' }) {
			return false
		}
	}
	return true
}

func text(value json.RawMessage) string {
	var decoded string
	if json.Unmarshal(value, &decoded) != nil {
		return ""
	}
	return decoded
}

func isText(value json.RawMessage, expected string) bool {
	return len(value) > 0 && value[0] == '"' && text(value) == expected
}

// number is what fits into a time: beyond, it is the end of all times or their beginning.
func number(value json.RawMessage) (float64, bool) {
	var decoded *float64
	if len(value) == 0 || json.Unmarshal(value, &decoded) != nil || decoded == nil {
		return 0, false
	}
	return max(-1e15, min(1e15, *decoded)), true
}
