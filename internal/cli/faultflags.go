package cli

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/dougong-io/dougong/kit/problem"
)

// flagOf is the flag of 'fault set' that says a field of a rule.
var flagOf = map[string]string{
	"id": "ID", "expires": "--for", "effect": "the effect",
	"delay.fixed": "--delay", "delay.jitter": "--jitter", "delay.min": "--delay-min", "delay.max": "--delay-max", "delay.distribution": "--distribution",
	"error": "--error", "error.cause": "--cause", "error.message": "--message", "error.http_status": "--http-status", "error.grpc_status": "--grpc-status",
	"error.retry_after": "--retry-after", "panic.message": "--message", "truncate.after": "--truncate",
	"corrupt.offset": "--corrupt-offset", "corrupt.length": "--corrupt-length", "corrupt.mode": "--corrupt",
	"burn.cpu": "--burn", "memory.bytes": "--memory", "goroutines.count": "--goroutines", "skew.by": "--skew",
}

// asFlag names the flag of a field: that of the table, or the one that is called so.
func asFlag(field string) string {
	if flag, ok := flagOf[field]; ok {
		return flag
	}
	first, _, _ := strings.Cut(field, ".")
	return "--" + first
}

// inFlags says the faults of a rule in the words of who wrote flags. Of a delay that is negative it says no more than
// that: what else is wrong with it follows.
func inFlags(err error) []error {
	var all []error
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		joined = errors.Join(err).(interface{ Unwrap() []error })
	}
	negative := map[string]bool{}
	isNegative := func(what string) bool { return strings.HasPrefix(what, "is negative") }
	for _, err := range joined.Unwrap() {
		field, what, _ := strings.Cut(err.Error(), ": ")
		effect, _, below := strings.Cut(field, ".")
		negative[effect] = negative[effect] || below && isNegative(what)
	}
	for _, err := range joined.Unwrap() {
		field, what, _ := strings.Cut(err.Error(), ": ")
		effect, _, _ := strings.Cut(field, ".")
		if field == "for" || negative[effect] && !isNegative(what) {
			continue // it is said already
		}
		all = append(all, fmt.Errorf("%s: %s", asFlag(field), what))
	}
	return all
}

var ruleField = regexp.MustCompile(`rules\[\d+\]\.([a-z_.]+): (?:is (\S+) away)?`)

// beyondCeiling says what the ceiling of a process forbids in the words of who wrote flags.
func beyondCeiling(err error) error {
	var p *problem.Problem
	if !errors.As(err, &p) || p.Code != "beyond_ceiling" {
		return err
	}
	said := p.Detail
	if _, after, ok := strings.Cut(said, "beyond the ceiling: "); ok {
		said = after
	}
	said = ruleField.ReplaceAllStringFunc(said, func(found string) string {
		parts := ruleField.FindStringSubmatch(found)
		text := asFlag(parts[1]) + ": "
		if parts[2] != "" {
			text += "is " + parts[2]
		}
		return text
	})
	return fmt.Errorf("the rule is beyond the ceiling of the process, faults.ceiling in its configuration:\n%s", said)
}
