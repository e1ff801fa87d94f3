package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Config says what Up starts.
type Config struct {
	Dir    string   `json:"dir" doc:"folder of its state; made by Up and removed by Down; one cluster a folder"`
	Nodes  int      `json:"nodes" doc:"how many nodes, 1 to 9"`
	Port   int      `json:"port" doc:"port of 127.0.0.1 at which the API answers; 0 takes a free one"`
	Images []string `json:"images" doc:"tar files (OCI layout) of the images that pods can use"`

	Progress io.Writer `json:"-"` // lines that say what is done; none if nil
	// Tied ends the cluster when the process that called Up ends, however it does.
	Tied bool `json:"tied"`
}

// DefaultConfig has two nodes and the folder that DefaultDir names.
func DefaultConfig() Config { return Config{Dir: DefaultDir(), Nodes: 2, Port: 16443} }

// DefaultDir is the folder that the commands use when no other is named.
func DefaultDir() string {
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "dougong", "cluster")
}

// hidden are the folders that the cluster has of its own: what the machine has there cannot be seen within.
var hidden = []string{"/run", "/var/run", "/var/lib", "/var/log", "/proc", "/sys", "/dev"}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	fault := func(field, format string, args ...any) {
		faults = append(faults, fmt.Errorf(field+": "+format, args...))
	}
	if err := checkDir(c.Dir); err != nil {
		faults = append(faults, err)
	}
	if c.Nodes < 1 || c.Nodes > 9 {
		fault("nodes", "%d, want 1 to 9", c.Nodes)
	}
	if c.Port < 0 || c.Port > 65535 || (c.Port > 0 && c.Port < 1024) {
		fault("port", "%d, want 0 or 1024 to 65535", c.Port)
	}
	for _, image := range c.Images {
		if info, err := os.Stat(image); err != nil || !info.Mode().IsRegular() {
			fault("images", "%s is no file that can be read; build it first", image)
		}
	}
	return errors.Join(faults...)
}

func checkDir(dir string) error {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || dir == "/" {
		return fmt.Errorf("dir: %q is no absolute and clean path of a folder of its own", dir)
	}
	for _, h := range hidden {
		if dir == h || strings.HasPrefix(dir, h+"/") {
			return fmt.Errorf("dir: %s is in %s, of which the cluster has its own; take another", dir, h)
		}
	}
	return nil
}
