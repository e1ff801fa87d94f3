package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// tools are Debian's programs, by the package that brings them.
var tools = []struct{ program, from string }{
	{"containerd", "containerd"},
	{"ctr", "containerd"},
	{"containerd-shim-runc-v2", "containerd"},
	{"runc", "runc"},
	{"/usr/lib/cni/ptp", "containernetworking-plugins"},
	{"/usr/lib/cni/host-local", "containernetworking-plugins"},
	{"nft", "nftables"},
	{"ip", "iproute2"},
	{"nsenter", "util-linux"},
}

// possible says all that is missing at once.
func possible() error {
	_, err := hierarchies()
	return missing(os.Geteuid(), exec.LookPath, err)
}

func missing(user int, look func(string) (string, error), cgroups error) error {
	var faults []error
	if user != 0 {
		faults = append(faults, errors.New("not root: namespaces, cgroups and mounts need it"))
	}
	absent := map[string][]string{}
	var order []string
	for _, t := range tools {
		if _, err := look(t.program); err != nil {
			if absent[t.from] == nil {
				order = append(order, t.from)
			}
			absent[t.from] = append(absent[t.from], t.program)
		}
	}
	for _, from := range order {
		faults = append(faults, fmt.Errorf("no %s: run test/cluster/install.sh, or install %s", strings.Join(absent[from], ", "), from))
	}
	if cgroups != nil {
		faults = append(faults, cgroups)
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w:\n%w", ErrImpossible, errors.Join(faults...))
}
