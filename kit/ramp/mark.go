package ramp

// Marked reports whether a request carries x-ai-test: true, which marks test traffic. It takes the header of an
// HTTP request and the metadata of a gRPC call alike. Who may send the mark is for the caller to decide: it
// buys no more than one of the few places of a test.
func Marked(header map[string][]string) bool {
	for _, name := range []string{"X-Ai-Test", "x-ai-test"} { // as net/http and as gRPC spell it
		if values := header[name]; len(values) == 1 && values[0] == "true" {
			return true
		}
	}
	return false
}
