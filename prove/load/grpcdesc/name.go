package grpcdesc

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// splitName reads "pkg.Service/Method", "/pkg.Service/Method" and "pkg.Service.Method".
func splitName(name string) (service protoreflect.FullName, method protoreflect.Name, err error) {
	s, m, slash := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	if !slash {
		at := strings.LastIndexByte(s, '.')
		if at >= 0 {
			s, m = s[:at], s[at+1:]
		}
	}
	service, method = protoreflect.FullName(s), protoreflect.Name(m)
	if !service.IsValid() || !method.IsValid() {
		return "", "", fmt.Errorf("method %q is not of the form package.Service/Method", name)
	}
	return service, method, nil
}

// listed joins names for an error message, the first few of them.
func listed[T ~string](names []T) string {
	const shown = 20
	var b strings.Builder
	for i, name := range names {
		if i == shown {
			fmt.Fprintf(&b, " and %d more", len(names)-shown)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(name))
	}
	return b.String()
}
