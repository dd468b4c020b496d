// Command jwt-claims-to-headers lets requests through that carry a valid token (JWT, RFC 7519, signed with HS256) and tells the
// app about its claims.
package main

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"bext"
)

type settings struct {
	Claims        []string `json:"claims"`
	HeaderPrefix  string   `json:"header_prefix"`
	Issuer        *string  `json:"issuer"`
	Audience      *string  `json:"audience"`
	LeewaySeconds int64    `json:"leeway_seconds"`
}

var config = readSettings()

//go:wasmexport on_request
func onRequest() int32 {
	return bext.HandleRequest(func(r *bext.Request) error {
		for name := range r.Headers.All() {
			if strings.HasPrefix(name, config.HeaderPrefix) {
				if err := r.Headers.Del(name); err != nil {
					return err
				}
			}
		}
		secret, err := bext.Secret("JWT_SECRET")
		if err != nil {
			return err
		}
		if len(secret) < 32 {
			return errors.New("JWT_SECRET has less than 32 bytes (RFC 7518 §3.2)")
		}
		authorization, ok := r.Headers.Lookup("authorization")
		if !ok {
			return refuse(r, "Bearer", "a token is needed\n")
		}
		claims, ok := verify(bearer(authorization), []byte(secret))
		if !ok || !isCurrent(claims, time.Now()) || !isMeantForUs(claims) {
			return refuse(r, `Bearer error="invalid_token"`, "the token is not valid\n")
		}
		return tellApp(r, claims)
	})
}

func readSettings() (read settings) {
	if err := json.Unmarshal([]byte(bext.ConfigJSON()), &read); err != nil {
		panic(err)
	}
	return read
}

func refuse(r *bext.Request, challenge, text string) error {
	return r.RespondText(401, text,
		bext.Field{Name: "www-authenticate", Value: challenge},
		bext.Field{Name: "cache-control", Value: "no-store"})
}

// bearer is the token of an Authorization header, "" when there is none (RFC 6750 §2.1).
func bearer(authorization string) string {
	scheme, token, ok := strings.Cut(authorization, " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimLeft(token, " ")
}

// tellApp sets a header for each claim that a header can hold.
func tellApp(r *bext.Request, claims object) error {
	for _, claim := range config.Claims {
		value, ok := headerValue(claims[claim])
		if !ok {
			continue
		}
		name := config.HeaderPrefix + strings.ReplaceAll(strings.ToLower(claim), "_", "-")
		if err := r.Headers.Set(name, value); err != nil {
			return err
		}
	}
	return nil
}

func main() {}
