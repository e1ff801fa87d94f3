package cluster

import (
	"reflect"
	"strings"
	"testing"
)

const someMounts = `22 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
30 22 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
31 22 0:27 / /sys/fs/cgroup/cpuset rw,relatime shared:10 master:3 - cgroup cgroup rw,cpuset
32 22 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 22 0:29 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices
34 22 0:30 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
35 22 0:31 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
36 22 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
37 22 0:33 /sub /mnt/a\040b rw - tmpfs tmpfs rw
`

func TestMountsAreRead(t *testing.T) {
	mounts, err := parseMounts(someMounts)
	if err != nil || len(mounts) != 9 {
		t.Fatal(err, mounts)
	}
	if want := (mount{root: "/sub", point: "/mnt/a b", fsType: "tmpfs", options: []string{"rw"}}); !reflect.DeepEqual(mounts[8], want) {
		t.Errorf("%+v", mounts[8])
	}
	for _, bad := range []string{"22 1 254:0 / /", "22 1 254:0 / / rw - ext4", `22 1 254:0 / /a\04 rw - x x x`, `22 1 254:0 / /a\999 rw - x x x`} {
		if _, err := parseMounts(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzMounts(f *testing.F) {
	f.Add(someMounts)
	f.Add(`1 2 3:4 / /\ rw - a b c`)
	f.Fuzz(func(t *testing.T, text string) {
		mounts, err := parseMounts(text)
		if err == nil && len(mounts) > strings.Count(text, "\n")+1 {
			t.Errorf("%d mounts of %q", len(mounts), text)
		}
	})
}

func TestHierarchiesAreFound(t *testing.T) {
	mounts, err := parseMounts(someMounts)
	if err != nil {
		t.Fatal(err)
	}
	v1, err := findHierarchies(mounts)
	if err != nil || len(v1) != 6 || v1[0].unified {
		t.Errorf("version 1: %v, %v", v1, err)
	}
	v2, err := findHierarchies([]mount{{root: "/", point: "/sys/fs/cgroup", fsType: "cgroup2"}})
	if err != nil || len(v2) != 1 || !v2[0].unified {
		t.Errorf("version 2: %v, %v", v2, err)
	}
	if _, err := findHierarchies(mounts[:4]); err == nil || !strings.Contains(err.Error(), "no cgroup for devices, freezer, pids") {
		t.Error(err)
	}
	if _, err := findHierarchies(mounts[:1]); err == nil || !strings.Contains(err.Error(), "no cgroups") {
		t.Error(err)
	}
}

func TestOnlyTheClustersFirstProcessIsFirst(t *testing.T) {
	for status, want := range map[string]bool{
		"Name:\tx\nNSpid:\t4711\t1\n":    true,
		"Name:\tx\nNSpid:\t4711\t17\n":   false, // another of the cluster's
		"Name:\tx\nNSpid:\t4711\t9\t1\n": false, // a pod's first
		"Name:\tx\nNSpid:\t1\n":          false, // the machine's
		"Name:\tx\n":                     false,
	} {
		if isFirst([]byte(status)) != want {
			t.Errorf("%q: want %v", status, want)
		}
	}
}
