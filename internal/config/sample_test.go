package config_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// sample is what the fixtures in testdata are decoded into: each kind of field once, with
// sections that validate themselves.
type sample struct {
	HTTP     httpSection           `json:"http" doc:"The shared HTTP listener."`
	TLS      *tlsSection           `json:"tls" doc:"Certificates; without this section the listener speaks plain HTTP."`
	Log      slog.Level            `json:"log" doc:"Least level that is logged."`
	Rooms    []room                `json:"rooms" doc:"Rooms with limits of their own."`
	Tenants  map[string]room       `json:"tenants" doc:"Limits of each tenant."`
	Weights  []float64             `json:"weights" null:"nan" doc:"Weights, in the order of the features. A missing cell is null."`
	Table    [][]float64           `json:"table" doc:"Rows of a table."`
	Cells    []*float64            `json:"cells" doc:"Cells that may be missing."`
	Labels   map[string]string     `json:"labels" doc:"Labels of this process."`
	Groups   map[string][]string   `json:"groups" doc:"Members of each group."`
	Peers    []string              `json:"peers" doc:"Addresses of the other processes."`
	Ratio    float32               `json:"ratio" unit:"requests/s" doc:"A share."`
	Small    int8                  `json:"small" doc:"A small number."`
	Count    uint16                `json:"count" doc:"A count."`
	Address  netip.Addr            `json:"address" doc:"An address."`
	Optional *int                  `json:"optional" doc:"A number that may be absent."`
	Secrets  map[string]string     `json:"secrets" secret:"true" doc:"Passwords by name."`
	Rules    []rule                `json:"rules" doc:"A tree of rules."`
	Steps    map[string]*time.Time `json:"steps" doc:"When each step began."`
	Internal func()                `json:"-"`
}

type httpSection struct {
	Listen            string        `json:"listen" doc:"Address and port to listen on. Without a host it listens on every interface, which off loopback needs a token in front of all but the metrics and health."`
	ReadHeaderTimeout time.Duration `json:"read_header_timeout" doc:"How long a client may take to send its headers."`
	MaxBody           int64         `json:"max_body" unit:"bytes" doc:"Longest body."`
	Token             string        `json:"token" secret:"true" doc:"Bearer token."`
	Debug             bool          `json:"debug" doc:"Serve /debug/pprof.\nOff by default."`
}

func (h httpSection) Validate() error {
	var errs []error
	if h.Listen == "" {
		errs = append(errs, errors.New("listen: must not be empty"))
	}
	if h.ReadHeaderTimeout <= 0 {
		errs = append(errs, errors.New("read_header_timeout: must be positive"))
	}
	if h.Token == h.Listen {
		errs = append(errs, fmt.Errorf("token: %q must not be the address", h.Token))
	}
	return errors.Join(errs...)
}

type tlsSection struct {
	CertFile string `json:"cert_file" doc:"Certificate, in PEM."`
	KeyFile  string `json:"key_file" doc:"Key, in PEM."`
}

func (t *tlsSection) Validate() error {
	if (t.CertFile == "") != (t.KeyFile == "") {
		return errors.New("cert_file and key_file go together")
	}
	return nil
}

type room struct {
	Name  string  `json:"name" doc:"Name of the room."`
	Limit float64 `json:"limit" unit:"messages/s" doc:"Messages that pass."`
}

var errLimit = errors.New("must not be negative")

func (r room) Validate() error {
	if r.Limit < 0 {
		return fmt.Errorf("limit: %w", errLimit)
	}
	return nil
}

type rule struct {
	If  string `json:"if" doc:"Condition."`
	All []rule `json:"all" doc:"Conditions that must all hold."`
}

func (s *sample) Validate() error {
	var errs []error
	if len(s.Peers) > 3 {
		errs = append(errs, errors.New("peers: at most 3"))
	}
	if s.Count > 10 && s.Ratio == 0 {
		errs = append(errs, errors.New("count over 10 needs a ratio"))
	}
	for name, v := range s.Labels {
		if v == "bad" {
			errs = append(errs, fmt.Errorf("labels.%s: must not be bad", name))
		}
	}
	// A parent that repeats a section's faults is tolerated.
	for i, r := range s.Rooms {
		if err := r.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("rooms[%d].%w", i, err))
		}
	}
	return errors.Join(errs...)
}

func defaultSample() sample {
	return sample{
		HTTP:  httpSection{Listen: "127.0.0.1:8080", ReadHeaderTimeout: 5 * time.Second, MaxBody: 8 << 20},
		Peers: []string{"a:1", "b:2"},
		Ratio: 0.25,
		// slog.Level's zero value is INFO.
	}
}
