package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dougong-io/dougong/prove/load/grpcdesc"
	"github.com/dougong-io/dougong/prove/load/script"
)

// scenario and step are those of the plan, with their templates compiled.
type scenario struct {
	name   string
	weight float64
	steps  []*step
}

type step struct {
	name    string
	think   time.Duration
	method  string
	path    *script.Template
	headers []header
	body    *script.Template
	checks  []*script.Check
	judged  bool // a check looks at the status
	saves   []save
	looks   bool // checks or saves look into the answer
	replays bool // may be sent twice: the method is idempotent (RFC 9110, 9.2.2)

	fixed []byte // HTTP/1.1: the whole request, when nothing in it varies

	binary bool
	expect int
	grpc   *grpcdesc.Method
}

type header struct {
	name  string
	value *script.Template
}

type save struct {
	variable int
	path     script.Path
}

const (
	maxRows     = 1 << 30
	maxBodyFile = 64 << 20
)

// compile reads the files of the plan and compiles its templates. Every fault is reported at once.
func (r *run) compile() error {
	p := r.plan
	r.table = new(script.Table)
	if p.Rows.File != "" {
		table, err := readRows(p.Rows.File)
		if err != nil {
			return fmt.Errorf("%w: rows: %w", ErrPlan, err)
		}
		r.table = table
	}
	var faults []error
	total := 0.0
	for i, s := range p.Scenarios {
		c := &scenario{name: s.Name, weight: s.Weight}
		if c.weight == 0 {
			c.weight = 1
		}
		var vars []string // saved by the steps before
		for k := range s.Steps {
			step, err := r.compileStep(&s.Steps[k], &vars)
			if err != nil {
				faults = append(faults, fmt.Errorf("scenarios[%d].steps[%d]: %w", i, k, err))
				continue
			}
			c.steps = append(c.steps, step)
			r.steps = append(r.steps, step)
		}
		r.variables = max(r.variables, len(vars))
		total += c.weight
		r.scenarios = append(r.scenarios, c)
		r.weights = append(r.weights, total)
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("%w:\n%w", ErrPlan, err)
	}
	return nil
}

func readRows(file string) (*script.Table, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return script.ReadTable(f, file, maxRows)
}

func (r *run) compileStep(s *Step, vars *[]string) (*step, error) {
	c := &step{name: s.Name, think: time.Duration(s.Think), method: s.Method, binary: s.Binary, expect: s.Expect}
	var faults []error
	compile := func(field, text string) *script.Template {
		t, err := script.Compile(text, r.table, *vars)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", field, err))
		}
		return t
	}
	body := s.Body
	if s.File != "" {
		text, err := readLimited(s.File, maxBodyFile)
		if err != nil {
			faults = append(faults, fmt.Errorf("file: %w", err))
		}
		body = string(text)
	}
	if c.method == "" {
		if c.method = "GET"; body != "" {
			c.method = "POST"
		}
	}
	if r.proto != GRPC && !isMethod(c.method) {
		faults = append(faults, fmt.Errorf("method: %q is no HTTP method", c.method))
	}
	c.replays = slices.Contains([]string{"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"}, c.method)
	path, err := r.fullPath(s.Path)
	if err != nil {
		faults = append(faults, fmt.Errorf("path: %w", err))
	}
	c.path = compile("path", path)
	c.body = compile("body", body)
	for _, name := range sortedKeys(s.Headers) {
		if !isHeaderName(name) {
			faults = append(faults, fmt.Errorf("headers: %q is no name of a header field", name))
			continue
		}
		switch strings.ToLower(name) {
		case "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade":
			faults = append(faults, fmt.Errorf("headers: %s is for the generator to set", name))
		}
		c.headers = append(c.headers, header{name, compile("headers: "+name, s.Headers[name])})
	}
	for _, text := range s.Checks {
		check, err := script.CompileCheck(text, r.table, *vars)
		if err != nil {
			faults = append(faults, fmt.Errorf("check: %w", err))
			continue
		}
		c.checks = append(c.checks, check)
		c.judged = c.judged || check.IsStatus()
		c.looks = c.looks || !check.IsStatus()
	}
	for _, name := range sortedKeys(s.Save) {
		path, err := script.ParsePath(s.Save[name])
		if err != nil {
			faults = append(faults, fmt.Errorf("save: %s: %w", name, err))
			continue
		}
		at := slices.Index(*vars, name)
		if at < 0 {
			at = len(*vars)
			*vars = append(*vars, name)
		}
		c.saves = append(c.saves, save{at, path})
		c.looks = true
	}
	if c.name == "" {
		c.name = strings.TrimSpace(c.method + " " + s.Path)
		if r.proto == WebSocket {
			c.name = "message"
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if r.proto == HTTP1 {
		c.fix(r)
	}
	return c, nil
}

// fullPath joins the path of the target and that of a step.
func (r *run) fullPath(path string) (string, error) {
	base := r.target.EscapedPath()
	if r.target.RawQuery != "" {
		base += "?" + r.target.RawQuery
	}
	switch {
	case path == "":
		return base, nil
	case !strings.HasPrefix(path, "/"):
		return "", fmt.Errorf("%q does not begin with /", path)
	}
	return strings.TrimSuffix(r.target.EscapedPath(), "/") + path, nil
}

func readLimited(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", file, limit)
	}
	return text, err
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func isMethod(s string) bool {
	if s == "CONNECT" {
		return false
	}
	for _, c := range s {
		if (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return s != ""
}

func isHeaderName(s string) bool {
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", c)) {
			return false
		}
	}
	return s != ""
}

// fix writes the request once, if nothing in it varies.
func (s *step) fix(r *run) {
	templates := []*script.Template{s.path, s.body}
	for _, h := range s.headers {
		templates = append(templates, h.value)
	}
	for _, t := range templates {
		if _, ok := t.Static(); !ok {
			return
		}
	}
	if request, _, err := s.appendHTTP1(nil, nil, r.target, new(script.Context)); err == nil {
		s.fixed = request
	}
}

// errField says that a rendered value would break the request apart.
var errField = errors.New("a rendered path or header holds a control character")

// fieldValue tells whether a rendered value may stand in a header or in metadata.
func fieldValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// appendHTTP1 renders the request to dst; scratch is for its body and is returned grown.
func (s *step) appendHTTP1(dst, scratch []byte, target *url.URL, c *script.Context) (request, grown []byte, err error) {
	if s.fixed != nil {
		return append(dst, s.fixed...), scratch, nil
	}
	dst = append(dst, s.method...)
	dst = append(dst, ' ')
	at := len(dst)
	dst = s.path.Append(dst, c)
	if bytes.ContainsAny(dst[at:], " \r\n\t\x00") {
		return dst, scratch, errField
	}
	dst = append(dst, " HTTP/1.1\r\n"...)
	host, agent, kind := false, false, false
	for _, h := range s.headers {
		host = host || strings.EqualFold(h.name, "host")
		agent = agent || strings.EqualFold(h.name, "user-agent")
		kind = kind || strings.EqualFold(h.name, "content-type")
	}
	if !host {
		dst = append(dst, "Host: "...)
		dst = append(dst, target.Host...)
		dst = append(dst, "\r\n"...)
	}
	if !agent {
		dst = append(dst, "User-Agent: dougong-load\r\n"...)
	}
	for _, h := range s.headers {
		dst = append(dst, h.name...)
		dst = append(dst, ": "...)
		at := len(dst)
		dst = h.value.Append(dst, c)
		if bytes.ContainsAny(dst[at:], "\r\n\x00") {
			return dst, scratch, errField
		}
		dst = append(dst, "\r\n"...)
	}
	scratch = s.body.Append(scratch[:0], c)
	if len(scratch) > 0 || s.method == "POST" || s.method == "PUT" || s.method == "PATCH" {
		if !kind && len(scratch) > 0 {
			dst = append(dst, "Content-Type: "...)
			dst = append(dst, contentType(scratch)...)
			dst = append(dst, "\r\n"...)
		}
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, int64(len(scratch)), 10)
		dst = append(dst, "\r\n"...)
	}
	dst = append(dst, "\r\n"...)
	return append(dst, scratch...), scratch, nil
}

// contentType guesses, as most bodies are JSON; a plan can say better.
func contentType(body []byte) string {
	if body[0] == '{' || body[0] == '[' {
		return "application/json"
	}
	return "text/plain; charset=utf-8"
}

// judge holds the checks against an answer, and takes what later steps need from it.
func (s *step) judge(u *user, a *script.Answer) (Class, error) {
	if !s.judged {
		if a.StatusName == "" && a.Status >= 400 {
			return ClassStatus, fmt.Errorf("status %d", a.Status)
		}
		if a.StatusName != "" && a.StatusName != "OK" {
			return ClassStatus, fmt.Errorf("status %s", a.StatusName)
		}
	}
	for _, check := range s.checks {
		if err := check.Judge(&u.vars, a); err != nil {
			if check.IsStatus() {
				return ClassStatus, err
			}
			return ClassCheck, err
		}
	}
	for _, save := range s.saves {
		value, err := script.Extract(save.path, a.Body)
		if err != nil {
			return ClassCheck, fmt.Errorf("nothing to save: %w", err)
		}
		u.vars.Vars[save.variable] = append(u.vars.Vars[save.variable][:0], value...)
	}
	u.marked = u.run.mark != nil && u.run.mark(a)
	return "", nil
}
