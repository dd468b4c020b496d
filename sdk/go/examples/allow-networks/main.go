// Allow-networks lets only clients of some networks in: a plugin that is a static program of its own.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
)

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// call is a line of the host. Those without an id want no answer.
type call struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	ID     *uint64         `json:"id"`
}

// answer is a line of this program. What is not set is left out.
type answer struct {
	ID       uint64            `json:"id"`
	OK       bool              `json:"ok,omitempty"`
	Error    string            `json:"error,omitempty"`
	Protocol int               `json:"protocol,omitempty"`
	Hooks    []string          `json:"hooks,omitempty"`
	Action   string            `json:"action,omitempty"`
	Status   int               `json:"status,omitempty"`
	Headers  map[string]string `json:"headers,omitempty"`
	Body     string            `json:"body,omitempty"`
}

// serve answers line by line until the host closes its end. Answers are written when there is nothing left to read, so that
// many calls at once take few writes.
func serve(from io.Reader, to io.Writer) error {
	reader := bufio.NewReaderSize(from, 64*1024)
	writer := bufio.NewWriterSize(to, 64*1024)
	encoder := json.NewEncoder(writer)
	var allowed []netip.Prefix
	for {
		line, err := reader.ReadBytes('\n')
		if err == io.EOF {
			return writer.Flush()
		}
		if err != nil {
			return err
		}
		var c call
		if err := json.Unmarshal(line, &c); err != nil {
			return err
		}
		if c.ID == nil {
			continue
		}
		var a answer
		switch c.Method {
		case "hello":
			allowed, a = begin(c.Params)
		case "onRequest":
			a = check(c.Params, allowed)
		default:
			a = answer{OK: true}
		}
		a.ID = *c.ID
		if err := encoder.Encode(a); err != nil {
			return err
		}
		if reader.Buffered() == 0 {
			if err := writer.Flush(); err != nil {
				return err
			}
		}
	}
}

func begin(params json.RawMessage) ([]netip.Prefix, answer) {
	var hello struct {
		Config struct {
			Networks []string `json:"networks"`
		} `json:"config"`
	}
	if err := json.Unmarshal(params, &hello); err != nil {
		return nil, answer{Error: err.Error()}
	}
	var allowed []netip.Prefix
	for _, text := range hello.Config.Networks {
		prefix, err := parseNetwork(text)
		if err != nil {
			// The plugin does not load, and the log says why.
			return nil, answer{Error: fmt.Sprintf("networks: %q is neither an address nor a range", text)}
		}
		allowed = append(allowed, prefix)
	}
	return allowed, answer{OK: true, Protocol: 1, Hooks: []string{"onRequest"}}
}

func parseNetwork(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	return prefix.Masked(), err
}

func check(params json.RawMessage, allowed []netip.Prefix) answer {
	var request struct {
		ClientAddress string `json:"client_address"`
	}
	if err := json.Unmarshal(params, &request); err != nil {
		return answer{Error: err.Error()}
	}
	address, err := netip.ParseAddr(request.ClientAddress)
	if err != nil {
		return answer{Error: err.Error()}
	}
	// "::ffff:192.0.2.7" is a client of IPv4.
	address = address.Unmap().WithZone("")
	for _, network := range allowed {
		if network.Contains(address) {
			return answer{OK: true}
		}
	}
	return answer{
		OK:      true,
		Action:  "respond",
		Status:  403,
		Headers: map[string]string{"cache-control": "no-store"},
		Body:    "Not from here.\n",
	}
}
