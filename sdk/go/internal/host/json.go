package host

import "unicode/utf8"

// AppendQuoted appends text as a JSON string. What is not UTF-8 becomes U+FFFD.
func AppendQuoted(json []byte, text string) []byte {
	const hex = "0123456789abcdef"
	json = append(json, '"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			json = append(json, '\\', byte(r))
		case r < ' ':
			json = append(json, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			json = utf8.AppendRune(json, r)
		}
	}
	return append(json, '"')
}
