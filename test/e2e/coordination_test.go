package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/test/testenv/etcdserver"
)

const policyKey = "/dougong/breaker/policies/inference"

// inForce is the revision of the live policy that /statusz says is in force, and why a later one was refused.
func (p *process) inForce() (revision int64, refused string, connected bool) {
	p.t.Helper()
	_, body := p.get(p.admin + "/statusz")
	var doc struct {
		Coordination struct {
			Connected bool `json:"connected"`
			Keys      []struct {
				Key      string `json:"key"`
				Revision int64  `json:"revision"`
				Error    string `json:"error"`
			} `json:"keys"`
		} `json:"coordination"`
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		p.t.Fatal(err, body)
	}
	for _, k := range doc.Coordination.Keys {
		if k.Key == policyKey {
			revision, refused = k.Revision, k.Error
		}
	}
	return revision, refused, doc.Coordination.Connected
}

// A policy is put into a real etcd, takes effect in the running binary, and stays when etcd is killed, also for
// the next process.
func TestPoliciesOfEtcdAreInForceAlsoWhenEtcdIsAway(t *testing.T) {
	server := etcdserver.New(t)
	server.Start()
	client := server.Client()
	put := func(value string) int64 {
		t.Helper()
		r, err := client.Put(t.Context(), policyKey, value)
		if err != nil {
			t.Fatal(err)
		}
		return r.Header.Revision
	}
	env := []string{"DOUGONG_COORDINATION_URL=" + strings.Replace(server.Endpoint(), "http://", "etcd://", 1), "DOUGONG_COORDINATION_CACHE=" + filepath.Join(t.TempDir(), "policies.cache")}
	p := up(t, env...)
	p.eventually("etcd reached", func() bool { _, _, connected := p.inForce(); return connected })

	good := put(`{"conditions": [{"above": 0.2, "over": "20s"}]}`)
	p.eventually("the policy", func() bool { revision, _, _ := p.inForce(); return revision == good })
	put(`{"conditions": [{"above": 20, "over": "20s"}]}`)
	p.eventually("refusal", func() bool { _, refused, _ := p.inForce(); return strings.Contains(refused, "conditions[0].above") })
	if revision, _, _ := p.inForce(); revision != good {
		t.Errorf("revision %d is in force, want %d", revision, good)
	}
	if status, metrics := p.get(p.admin + "/metrics"); status != 200 || !strings.Contains(metrics, "dougong_coordination_refused_total 1") || !strings.Contains(metrics, `dougong_coordination_connected{engine="etcd"} 1`) {
		t.Error("the metrics do not tell of it")
	}

	server.Kill()
	p.eventually("etcd away", func() bool { _, _, connected := p.inForce(); return !connected })
	if revision, _, _ := p.inForce(); revision != good {
		t.Errorf("revision %d is in force after etcd was killed, want %d", revision, good)
	}
	if status, body := p.predict(`{"model":"loan-mini","input":[0.1,0.9]}`); status != 200 {
		t.Errorf("%d %s while etcd is away", status, body)
	}
	p.cmd.Process.Kill()
	<-p.ended

	next := up(t, env...) // serves without waiting for etcd
	next.eventually("the policy from the cache", func() bool { revision, _, _ := next.inForce(); return revision == good })
}

func TestCoordinationThatCannotBeIsRefused(t *testing.T) {
	for url, fault := range map[string]string{
		"redis://127.0.0.1:1":       "neither etcd://HOST:PORT",
		"etcd://user:secret@host:1": "users, passwords and prefixes have keys of their own",
		"etcd://":                   "neither etcd://HOST:PORT",
	} {
		code, _, stderr := run(t, []string{"DOUGONG_COORDINATION_URL=" + url}, "up")
		if code != 2 || !strings.Contains(stderr, fault) || strings.Contains(stderr, "secret") {
			t.Errorf("%s: %d %s", url, code, stderr)
		}
	}
}
