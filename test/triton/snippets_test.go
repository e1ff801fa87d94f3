package triton

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var fence = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// TestSnippetsOfTheManualRun runs each fenced block of the section "Clients" and compares what it prints with the block
// that follows it. Only the ports differ.
func TestSnippetsOfTheManualRun(t *testing.T) {
	page, err := os.ReadFile("../../docs/inference.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n### Clients\n")
	if !found {
		t.Fatal("the section is gone")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := fence.FindAllStringSubmatch(section, -1)
	if strings.Count(section, "```") != 2*len(blocks) || len(blocks)%2 != 0 {
		t.Fatalf("%d blocks that do not go in pairs", len(blocks))
	}
	s := up(t)
	ports := strings.NewReplacer("127.0.0.1:8080", s.http, "127.0.0.1:8081", s.grpc)
	seen := map[string]int{}
	for ; len(blocks) > 0; blocks = blocks[2:] {
		language, text, want := blocks[0][1], blocks[0][2], blocks[1][2]
		seen[language]++
		dir := t.TempDir()
		file := filepath.Join(dir, "main."+map[string]string{"sh": "sh", "python": "py", "go": "go"}[language])
		if err := os.WriteFile(file, []byte(ports.Replace(text)), 0o600); err != nil {
			t.Fatal(err)
		}
		var command []string
		switch language {
		case "sh":
			command = []string{"bash", "-eu"}
		case "python":
			command = []string{filepath.Join(clients(t), "bin", "python")}
		case "go":
			command = []string{"go", "run"}
		default:
			t.Fatalf("who runs %s?\n%s", language, text)
		}
		if got := run(t, dir, nil, command[0], append(command[1:], file)...); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s\nprints\n%s\nand should\n%s", text, got, want)
		}
	}
	if seen["sh"] < 1 || seen["python"] < 2 || seen["go"] < 1 {
		t.Errorf("not all languages: %v", seen)
	}
}
