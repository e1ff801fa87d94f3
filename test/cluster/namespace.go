package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// sysctls are what a kubelet wants them to be. They are the machine's and stay as they are: the kubelet is shown these.
var sysctls = map[string]string{
	"/proc/sys/vm/overcommit_memory":      "1",
	"/proc/sys/vm/panic_on_oom":           "0",
	"/proc/sys/kernel/panic":              "10",
	"/proc/sys/kernel/panic_on_oops":      "1",
	"/proc/sys/kernel/keys/root_maxkeys":  "1000000",
	"/proc/sys/kernel/keys/root_maxbytes": "25000000",
}

// mountAll makes the mount namespace ours: nothing of it reaches the machine's, what programs write to the folders of the
// system goes to memory, and the cluster's folder is at a short path.
func mountAll(dir string) error {
	type step struct {
		source, target, fsType string
		flags                  uintptr
		options                string
	}
	steps := []step{
		{"", "/", "", syscall.MS_REC | syscall.MS_PRIVATE, ""}, // before all else
		{"proc", "/proc", "proc", syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC, ""},
	}
	for _, target := range []string{"/run", "/var/lib", "/var/log"} {
		steps = append(steps, step{"tmpfs", target, "tmpfs", 0, "mode=755"})
	}
	for _, s := range steps {
		if err := syscall.Mount(s.source, s.target, s.fsType, s.flags, s.options); err != nil {
			return fmt.Errorf("mount %s in the cluster's namespace: %w", s.target, err)
		}
	}
	if err := bind(dir, inside, true); err != nil {
		return err
	}
	for path, value := range sysctls {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			continue // a kernel without
		}
		file := "/run/sysctl/" + filepath.Base(path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("make the kubelets' sysctls: %w", err)
		}
		if err := write(file, []byte(value+"\n")); err != nil {
			return err
		}
		if err := bind(file, path, false); err != nil {
			return err
		}
	}
	return nil
}

func bind(from, to string, folder bool) error {
	if folder {
		if err := os.MkdirAll(to, 0o755); err != nil {
			return fmt.Errorf("bind %s: %w", to, err)
		}
	}
	if err := syscall.Mount(from, to, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", from, to, err)
	}
	return nil
}

// network gives the network namespace the addresses of the API server and of the nodes, and a way to services, which
// kube-proxy's rules then turn into one to a pod.
func (f *first) network() error {
	commands := []string{"link set lo up", "addr add " + apiAddress + "/32 dev lo"}
	for n := range f.Nodes {
		commands = append(commands, "addr add "+nodeAddress(n)+"/32 dev lo")
	}
	commands = append(commands, "route add "+serviceCIDR+" dev lo src "+apiAddress)
	for _, c := range commands {
		if err := f.reaper.do(f.log, "ip", strings.Fields(c)...); err != nil {
			return fmt.Errorf("set up the cluster's network: %w", err)
		}
	}
	// Of this network namespace alone, as all below net/ipv4.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return fmt.Errorf("let the cluster's network forward: %w", err)
	}
	return nil
}
