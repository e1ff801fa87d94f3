package grpcmw

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
)

func TestPresetsAreValidAndGoTogether(t *testing.T) {
	for _, client := range Presets() {
		c, ok := ClientPreset(client)
		if err := c.Validate(); !ok || err != nil {
			t.Error(client, err)
		}
		for _, server := range Presets() {
			s, ok := ServerPreset(server)
			if err := s.Validate(); !ok || err != nil {
				t.Error(server, err)
			}
			if s.MinPingInterval >= minPing || s.MinPingInterval >= c.PingAfter || c.PingIdle && !s.PingIdle {
				t.Errorf("%s would send %s away: pings every %v, at most every %v", server, client, c.PingAfter, s.MinPingInterval)
			}
		}
	}
	if _, ok := ClientPreset("none"); ok {
		t.Error("there is a preset none")
	}
	if _, ok := ServerPreset("none"); ok {
		t.Error("there is a preset none")
	}
}

func TestEveryFaultIsReported(t *testing.T) {
	fields := func(err error) (all []string) {
		for line := range strings.Lines(err.Error()) {
			field, _, _ := strings.Cut(line, ": ")
			all = append(all, field)
		}
		return all
	}
	client := ClientConfig{ConnectDelay: -1, ConnectJitter: 2, ConnectDelayMost: -2, IdleTimeout: -1}
	if got, want := fields(client.Validate()), []string{"connect_delay", "connect_factor", "connect_jitter", "connect_delay_most", "connect_at_least_for", "ping_after", "ping_timeout", "idle_timeout", "max_receive_bytes", "max_send_bytes"}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	server := ServerConfig{MaxConnAge: -1, MaxConnAgeGrace: -1}
	if got, want := fields(server.Validate()), []string{"min_ping_interval", "ping_after", "ping_timeout", "max_conn_age", "max_conn_age_grace", "handshake_timeout", "max_streams", "max_receive_bytes", "max_send_bytes"}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if _, err := client.DialOptions(); err == nil {
		t.Error("was taken")
	}
	if _, err := server.ServerOptions(); err == nil {
		t.Error("was taken")
	}
}

func TestConfiguredConnectionsCarryCalls(t *testing.T) {
	for _, preset := range Presets() {
		c, _ := ClientPreset(preset)
		s, _ := ServerPreset(preset)
		c.MaxReceiveBytes = 1000
		client, err := c.DialOptions()
		if err != nil {
			t.Fatal(err)
		}
		server, err := s.ServerOptions()
		if err != nil {
			t.Fatal(err)
		}
		f := &flaky{}
		conn := serving(t, handlers{unary: f.unary}, server, client...)
		if got, err := call(t.Context(), conn, "x"); got != "x!" || err != nil {
			t.Error(got, err)
		}
		if _, err := call(t.Context(), conn, strings.Repeat("x", 2000)); err == nil {
			t.Error("took more than max_receive_bytes")
		}
	}
}

// TestServerThatIsBackIsFoundWithinTheLongestWait counts what the connection parameters make of a server that is away.
func TestServerThatIsBackIsFoundWithinTheLongestWait(t *testing.T) {
	c := DefaultClientConfig()
	c.ConnectDelay, c.ConnectDelayMost, c.ConnectAtLeastFor = 10*time.Millisecond, 40*time.Millisecond, 20*time.Millisecond
	options, err := c.DialOptions()
	if err != nil {
		t.Fatal(err)
	}
	dials := make(chan time.Time, 100)
	conn := serving(t, handlers{}, nil, append(options, grpc.WithContextDialer(failingDial(dials)))...)
	conn.Connect()
	var last time.Time
	for i := range 8 {
		select {
		case at := <-dials:
			if wait := at.Sub(last); i > 0 && wait > time.Second {
				t.Errorf("wait %d was %v", i, wait)
			}
			last = at
		case <-time.After(10 * time.Second):
			t.Fatal("no further dial")
		}
		conn.Connect()
	}
}
