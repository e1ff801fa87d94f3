package report_test

import (
	"bytes"
	"context"
	"image"
	"image/png"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dougong-io/dougong/prove/load"
	"github.com/dougong-io/dougong/prove/report"
)

// view is a page as Chromium showed it.
type view struct {
	dom     string
	picture image.Image
}

// render writes r as a page, with a script of the test's own at its end.
func render(t *testing.T, r *load.Result, probe string) string {
	t.Helper()
	var page bytes.Buffer
	if err := report.WriteHTML(&page, r); err != nil {
		t.Fatal(err)
	}
	text := page.String()
	if probe != "" {
		text = strings.Replace(text, "</body>", "<script>"+probe+"</script></body>", 1)
	}
	return text
}

// show opens a page from a file, at fragment, in a window of the size given.
func show(t *testing.T, page, fragment string, width, height int) view {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	address := url.URL{Scheme: "file", Path: file, Fragment: fragment}
	return open(t, address.String(), width, height)
}

// open lets headless Chromium load an address and waits for it. A page is looked at after its scripts ran.
func open(t *testing.T, address string, width, height int, flags ...string) view {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("chromium is needed to look at reports: %v; run make deps", err)
	}
	// Not t.TempDir: a process of the browser may outlive it by a moment and write there while it is removed.
	home, err := os.MkdirTemp("", "report")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	shot := filepath.Join(home, "shot.png")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args := append([]string{
		"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
		"--user-data-dir=" + filepath.Join(home, "profile"), "--window-size=" + strconv.Itoa(width) + "," + strconv.Itoa(height),
		"--dump-dom", "--screenshot=" + shot,
	}, flags...)
	cmd := exec.CommandContext(ctx, program, append(args, address)...)
	cmd.Env = append(os.Environ(), "HOME="+home)
	cmd.WaitDelay = 5 * time.Second
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, messages.String())
	}
	file, err := os.Open(shot)
	if err != nil {
		t.Fatalf("chromium took no picture: %v\n%s", err, messages.String())
	}
	defer file.Close()
	picture, err := png.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	return view{out.String(), picture}
}

// drawn fails unless the whole report was drawn without an error.
func (v view) drawn(t *testing.T, charts int) {
	t.Helper()
	tag := regexp.MustCompile(`<html[^>]*>`).FindString(v.dom)
	if strings.Contains(tag, "data-error") || !strings.Contains(tag, `data-drawn="`+strconv.Itoa(charts)+`"`) {
		t.Errorf("want %d charts without an error: %s", charts, tag)
	}
}

// figure is the markup of a chart.
func (v view) figure(t *testing.T, id string) string {
	t.Helper()
	_, rest, ok := strings.Cut(v.dom, ` id="`+id+`"><figcaption>`)
	figure, _, end := strings.Cut(rest, "</figure>")
	if !ok || !end {
		t.Fatalf("no chart %s in the page", id)
	}
	return figure
}

var pathPattern = regexp.MustCompile(`<path[^>]* d="([^"]*)"[^>]*? data-series="([^"]*)"`)

// paths are the lines of a chart by series; of a series with an area and a line, both.
func (v view) paths(t *testing.T, id string) map[string]string {
	t.Helper()
	paths := map[string]string{}
	for _, match := range pathPattern.FindAllStringSubmatch(v.figure(t, id), -1) {
		paths[match[2]] += match[1]
	}
	return paths
}

// text is what the element with a data-key says.
func (v view) text(t *testing.T, key string) string {
	t.Helper()
	_, rest, ok := strings.Cut(v.dom, `data-key="`+key+`"`)
	if !ok {
		t.Fatalf("the page has no %s", key)
	}
	_, rest, _ = strings.Cut(rest, ">")
	return plain(rest[:regexp.MustCompile(`</(td|dd)>`).FindStringIndex(rest)[0]])
}

func plain(markup string) string {
	text := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(markup, "")
	return strings.NewReplacer("&nbsp;", " ", "\u00a0", " ", "&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(text)
}
